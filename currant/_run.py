"""`run`: the synchronous entry point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import anyio
from anyio.lowlevel import current_token

from currant._supervisor.runner import Runner
from currant._values.errors import RunningLoopError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._process.launcher import Launcher
    from currant._supervisor.sink_tasks import Sink
    from currant._values.command import CommandLike
    from currant._values.launch_spec import KillMode
    from currant._values.policies import KillOthersOn, OnExit
    from currant._values.restart import RestartPolicy, RestartWhen
    from currant._values.results import Results

__all__ = ["RunnerOptions", "run"]

# By default, trio raises KeyboardInterrupt in the task that is running at that moment, which might
# be a sink or a reader.  With this option, the main task gets it, as on asyncio.
_BACKEND_DEFAULTS = {"trio": {"restrict_keyboard_interrupt_to_checkpoints": True}}


class RunnerOptions(TypedDict, total=False):
    """The keyword arguments of `Runner`, for `run`."""

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
    iterable: bool
    on_exit: OnExit
    kill_mode: KillMode
    unread: Literal["discard", "wait"]


def run(
    *commands: CommandLike | Mapping[str, CommandLike],
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    **options: Unpack[RunnerOptions],
) -> Results:
    """Run commands in a new event loop until all have ended, and return their results.

    Stop both commands if one fails::

        import currant

        results = currant.run("true", "python -c 'exit(3)'", kill_others_on="failure")
        for name, result in results.items():
            print(name, result.status, result.exit)
        assert not results.ok

    Output goes to the sinks and, if `capture` is set, into the results; otherwise it is discarded.
    Ctrl-C stops the commands, waits until the sinks have written all output, then raises
    `KeyboardInterrupt`.

    Args:
        commands: the commands, each as for `Runner`, or a single mapping from names to commands.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: as for `anyio.run`, such as ``{"use_uvloop": True}``.
        options: as for `Runner`.  The commands always run to their end, whatever `on_exit` is.

    Raises:
        CommandError, CommandNotFoundError: as for `Runner`.
        RunningLoopError: this thread already runs an event loop, as in a notebook.
    """
    options.setdefault("iterable", False)  # Nothing iterates over this Runner.
    if options.get("on_exit") == "stop":  # The body has no work that the commands stand beside.
        options["on_exit"] = "wait"
    _require_no_event_loop()
    if len(commands) == 1 and isinstance(commands[0], Mapping):
        runner = Runner(commands[0], **options)
    else:
        runner = Runner(commands, **options)  # type: ignore[arg-type]

    async def main() -> Results:
        async with runner:
            pass
        return runner.results

    defaults = _BACKEND_DEFAULTS.get(backend, {})
    return anyio.run(main, backend=backend, backend_options=defaults | (backend_options or {}))


def _require_no_event_loop() -> None:
    try:
        current_token()
    except RuntimeError:
        return
    raise RunningLoopError("currant.run")
