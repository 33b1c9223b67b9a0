"""`Discard`: the channel of a command whose messages nobody reads."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from currant._channel.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from currant._values.messages import BatchMessage

__all__ = ["Discard"]


class Discard:
    """Takes the messages of a command, and forgets them."""

    async def send(self, message: BatchMessage) -> None:
        """Forget `message`."""

    def send_nowait(self, message: BatchMessage) -> bool:  # noqa: ARG002 - for subclasses
        """Forget a message that is no batch; return True, for there is always room."""
        return True

    def new_transcript(self, command: str, may_go_on: Callable[[], bool]) -> Transcript:
        """Return the transcript of a life of `command`."""
        return Transcript(command, may_go_on=may_go_on)

    def end_transcript(self, transcript: Transcript) -> None:
        """End the transcript of a life."""
        transcript.end()

    def waiting(self) -> AbstractContextManager[None]:
        """Do nothing: no output is ever kept, so none can be in the way of a wait."""
        return nullcontext()
