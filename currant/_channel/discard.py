"""`Discard`: the channel of a command whose messages nobody reads."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from currant._values.lines import Batch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from currant._values.messages import BatchMessage

__all__ = ["Discard"]


class Discard:
    """Takes the messages of a command, and forgets them."""

    async def send(self, message: BatchMessage) -> None:
        """Forget `message`; other tasks get a turn after each batch."""
        if isinstance(message, Batch):
            await checkpoint()

    def waiting(self) -> AbstractContextManager[None]:
        """Do nothing: no output is ever kept, so none can be in the way of a wait."""
        return nullcontext()
