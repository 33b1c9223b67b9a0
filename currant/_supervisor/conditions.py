"""Waiting for other commands: until a dependency is met, or can never be met.

The graph is in `currant._values.dependencies`, and the questions are in `readiness`.  This module
asks them each time a command changes, so a command that can never start is skipped at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from currant._supervisor.readiness import is_met, why_impossible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._supervisor.lifecycle import Lifecycle
    from currant._values.dependencies import Dependencies
    from currant._values.links import Condition

__all__ = ["Conditions"]


class Conditions:
    """Lets commands wait for one another.

    Args:
        dependencies: which commands wait for which.
        lives: the current life of each command, by name; the mapping changes.
    """

    def __init__(self, dependencies: Dependencies, lives: Mapping[str, Lifecycle]) -> None:
        self._dependencies = dependencies
        self._lives = lives

    async def wait_for_needs(self, life: Lifecycle) -> str | None:
        """Wait until all dependencies of `life` are met; return None, or why they cannot be.

        If `life` is being stopped, this returns as soon as a dependency is being stopped too.
        Cancellation: harmless.
        """
        needs = list(self._dependencies[life.name].items())
        if len(needs) == 1:  # A task group of its own would cost 5.6 KiB for each waiting command.
            return await self.wait_for(life, *needs[0])
        reasons: list[str] = []

        async def wait_for(other: str, condition: Condition | None) -> None:
            reason = await self.wait_for(life, other, condition)
            if reason is not None:
                reasons.append(reason)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for need in needs:
                tasks.start_soon(wait_for, *need)
        return reasons[0] if reasons else None

    async def wait_for_dependents(self, name: str) -> None:
        """Wait until no process runs of the commands that need `name`, directly or indirectly.

        This does not wait for their output, since a kill never waits for a reader.
        Cancellation: harmless.
        """
        for other in self._dependencies.dependents(name):
            life = self._lives[other]
            while not life.is_gone:
                await life.context.change.wait()

    async def wait_for(
        self, waiting: Lifecycle, name: str, condition: Condition | None
    ) -> str | None:
        """Wait until the command meets `condition`; return None, or why the command cannot.

        Cancellation: harmless.
        """
        while True:
            life = self._lives[name]
            reason = await _wait_for_life(waiting, life, condition)
            if reason is None or self._lives[name] is life:
                return reason
            # The command was run again before this task noticed the end of the earlier life.


async def _wait_for_life(
    waiting: Lifecycle, life: Lifecycle, condition: Condition | None
) -> str | None:
    """Wait until a life meets `condition`; return None, or why it cannot."""
    if condition is None:
        condition = "started" if life.command.ready is None else "ready"
    times_ready = life.times_ready
    while not is_met(life, condition, times_ready):
        reason = why_impossible(life, condition, waiting_is_ending=waiting.is_ending)
        if reason is not None:
            return reason
        await life.context.change.wait()
    return None
