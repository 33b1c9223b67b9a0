"""The whole kill path: ask, wait, force, reap.

One straight function over the four steps; what a group is and how one signals it, its caller knows.
Each caller has a clock of its own: the one whose grace is over first forces, and the others find
the group gone.  So hurrying is simply a second call with a shorter grace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from anyio import move_on_after, sleep

if TYPE_CHECKING:
    from currant._system.groups import ProcessGroup

__all__ = ["StopSpec", "Stoppable", "end_group", "until_vacant"]


class StopSpec(NamedTuple):
    """How the processes of one command are ended: asked with `signal`, killed after `grace` s."""

    signal: int
    grace: float


class Stoppable(Protocol):
    """A process group that can be ended."""

    def ask(self, signal: int, /) -> None:
        """Ask all of it to end; asking again is harmless."""
        ...

    def force(self) -> None:
        """End all of it at once."""
        ...

    async def gone(self) -> None:
        """Wait until nobody in the group is alive, and a leader that is ours has been reaped."""
        ...


async def until_vacant(group: ProcessGroup) -> None:
    """Wait until nobody is left in `group`; a leader that is ours has to be reaped by somebody."""
    pause = 0.001
    while not group.is_vacant_by_census():
        await sleep(pause)
        pause = min(pause * 2, 0.05)


async def end_group(group: Stoppable, signal: int, grace: float, reap_limit: float) -> bool:
    """End `group`: ask with `signal`, wait up to `grace` seconds, force, reap.

    Returns:
        Whether it is gone; False where something outlived SIGKILL for `reap_limit` seconds.

    Cancellation: leaves the group asked, but not forced.
    """
    group.ask(signal)
    with move_on_after(grace):
        await group.gone()
        return True
    group.force()
    with move_on_after(reap_limit):
        await group.gone()
        return True
    return False
