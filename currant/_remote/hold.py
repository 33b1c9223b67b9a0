"""`Hold`: whether an agent accepts any silence of this program, which is about to be suspended.

A program that is suspended, by Ctrl-Z for example, cannot tell when it goes on.  So a hold ends
when the program has run for some time.  If the program is suspended again before that, the hold
stays.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._agent.frames import Kind
from currant._values.errors import HostLostError

if TYPE_CHECKING:
    from currant._remote.peer import Peer

__all__ = ["Hold"]


class Hold:
    """The hold of one agent.

    Args:
        peer: the agent.

    Attributes:
        is_active: whether the agent may still accept any silence.
    """

    def __init__(self, peer: Peer) -> None:
        self.is_active = False
        self._peer = peer
        self._begun = 0  # calls of `begin`
        self._over = 0  # those of them after which this program has run for long enough
        self._over_at = inf

    async def begin(self, seconds: float) -> None:
        """Ask the agent to accept any silence, until this program has run for `seconds`.

        Cancellation: the agent may have been asked or not.
        """
        self.is_active = True
        self._begun += 1
        try:
            with suppress(HostLostError):
                await self._peer.ask(Kind.HOLD, 0, {"held": True}, dict)
        finally:
            self._over_at = anyio.current_time() + seconds

    def expire(self) -> bool:
        """If this program has run for long enough, return True, once: then call `end`."""
        if anyio.current_time() < self._over_at:
            return False
        self._over_at, self._over = inf, self._begun
        return True

    async def end(self) -> None:
        """Tell the agent that this program goes on, unless it is about to be suspended once more.

        Cancellation: the agent may have been told or not; call this again.
        """
        if self._over < self._begun:
            return
        with suppress(HostLostError):
            await self._peer.ask(Kind.HOLD, 0, {"held": False}, dict)
            self.is_active = self._over < self._begun
