"""`run`: the synchronous door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import anyio

from currant._supervisor.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._process.launcher import Launcher
    from currant._supervisor.sink_tasks import Sink
    from currant._values.command import CommandLike
    from currant._values.policies import KillOthersOn
    from currant._values.restart import RestartPolicy, RestartWhen
    from currant._values.results import Results

__all__ = ["RunnerOptions", "run"]

# Trio raises KeyboardInterrupt in whichever task runs at that moment, where it would end a sink or
# a reader in the middle; so it is left to the main task, as asyncio does.
_BACKEND_DEFAULTS = {"trio": {"restrict_keyboard_interrupt_to_checkpoints": True}}


class RunnerOptions(TypedDict, total=False):
    """The keyword arguments of `Runner`."""

    restart: RestartWhen | RestartPolicy
    kill_others_on: KillOthersOn | None
    grace: float
    max_processes: int | None
    capture: bool | int
    buffer_size: int
    sinks: Iterable[Sink]
    launcher: Launcher | None
    orphan_guard: bool
    timeout: float | None
    keep_open: bool


def run(
    *commands: CommandLike | Mapping[str, CommandLike],
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    **options: Unpack[RunnerOptions],
) -> Results:
    """Run commands to their end in an event loop of its own, and return their results.

    Output goes to the sinks and, with ``capture=True``, into the results; or else it is lost.
    Ctrl-C stops the commands, shows their last words, then raises `KeyboardInterrupt`.

    Args:
        commands: what to run, each as for `Runner`; or one mapping from names to commands.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: as for `anyio.run`, such as ``{"use_uvloop": True}``.
        options: as for `Runner`.

    Raises:
        CommandError, CommandNotFoundError: as for `Runner`.
        RuntimeError: an event loop runs already in this thread; use `Runner` there.
    """
    if len(commands) == 1 and isinstance(commands[0], Mapping):
        runner = Runner(commands[0], iterable=False, **options)
    else:
        runner = Runner(commands, iterable=False, **options)  # type: ignore[arg-type]

    async def main() -> Results:
        async with runner:
            pass
        return runner.results

    defaults = _BACKEND_DEFAULTS.get(backend, {})
    return anyio.run(main, backend=backend, backend_options=defaults | (backend_options or {}))
