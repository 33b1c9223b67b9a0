"""`Tee`: a channel that passes each message to two others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._channel.discard import Discard

if TYPE_CHECKING:
    from currant._channel.channel import Channel
    from currant._values.messages import BatchMessage

__all__ = ["Tee"]


class Tee(Discard):
    """Passes each message to the channel to the sinks, and then to another channel.

    Args:
        sinks: the channel to the sinks.
        other: the other channel.  It always has room for a message that is no batch.
    """

    def __init__(self, sinks: Channel, other: Discard) -> None:
        self._sinks = sinks
        self._other = other

    async def send(self, message: BatchMessage) -> None:
        """Hand `message` to the sinks and to the other channel; wait for room in both."""
        await self._sinks.send(message)
        await self._other.send(message)

    def send_nowait(self, message: BatchMessage) -> bool:
        """Hand `message` to both, if the sinks have room now; return whether they have."""
        return self._sinks.send_nowait(message) and self._other.send_nowait(message)
