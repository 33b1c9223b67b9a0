"""Run commands without a Runner: `run_process` waits for one command, `run` needs no event loop."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

import anyio
from anyio.lowlevel import current_token

from currant._process.launcher import check_launcher, check_place
from currant._process.local import LocalLauncher
from currant._process.shared_guard import shared_guard
from currant._supervisor.run_alone import run_alone
from currant._supervisor.runner import Runner
from currant._system.groups import require_posix
from currant._values.command import PIPE, Command, as_command, single_command
from currant._values.errors import CommandError, RunningLoopError
from currant._values.plan import policies_of
from currant._values.policies import Policies
from currant._values.restart import RestartPolicy
from currant._values.results import CommandFailed
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextvars import Context

    from currant._process.launcher import Launcher
    from currant._supervisor.sink_tasks import Sink
    from currant._values.capture import CaptureLike
    from currant._values.checks import StrOrPath
    from currant._values.command import CommandLike, CommandOptions, ProcessOptions
    from currant._values.launch_spec import KillMode, Leftovers
    from currant._values.policies import KillOthersOn, OnExit
    from currant._values.restart import RestartWhen
    from currant._values.results import Result, Results

__all__ = ["RunnerOptions", "run", "run_process"]

_DEFAULTS = Policies(RestartPolicy("never"), None, ShutdownLimits().grace, capture=True)

# By default, trio raises KeyboardInterrupt in the task that is running at that moment, which might
# be a sink or a reader.  With this option, the main task gets it, as on asyncio.
_BACKEND_DEFAULTS = {"trio": {"restrict_keyboard_interrupt_to_checkpoints": True}}


class RunnerOptions(TypedDict, total=False):
    """The keyword arguments of `Runner`, for `run`."""

    restart: RestartWhen | RestartPolicy
    kill_others_on: KillOthersOn | None
    grace: float
    max_processes: int | None
    capture: CaptureLike
    buffer_size: int
    sinks: Iterable[Sink]
    launcher: Launcher | None
    orphan_guard: bool
    cgroup: bool | Literal["auto"]
    timeout: float | None
    keep_open: bool
    iterable: bool
    on_exit: OnExit
    kill_mode: KillMode
    leftovers: Leftovers
    wrap: Sequence[StrOrPath]
    unread: Literal["discard", "wait"]
    keep_results: int | None


async def run_process(
    command: CommandLike,
    *,
    input: bytes | None = None,  # noqa: A002 - as in anyio.run_process
    check: bool = True,
    timeout: float | None = None,  # noqa: ASYNC109 - a limit for the command, which fails
    capture: CaptureLike | None = None,
    launcher: Launcher | None = None,
    **command_options: Unpack[ProcessOptions],
) -> Result:
    """Run one command until it has ended, and return its result.

    Like `anyio.run_process`, but for the whole tree of processes: on return, no process is left of
    those that the command has started.  A process that the command leaves in the background is
    stopped, with the same grace::

        import currant

        result = await currant.run_process("uname -s", timeout=10)
        assert result.stdout is not None
        system = result.stdout.decode().strip()

    Args:
        command: a `Command`, a list of words, or a line for `Command.parse`.
        input: the bytes to write to stdin, followed by end-of-file; None: the option `stdin` says
            what the command reads, by default ``/dev/null``.
        check: whether to raise an error if the command fails.
        timeout: seconds after which the command is stopped and has failed; None: that of a
            `Command`, else no limit.
        capture: the part of the output that the result has; None: that of a `Command`, else all.
        launcher: starts the process; None: a `LocalLauncher`.
        command_options: as for `Command`; they replace those of a `Command`.

    Raises:
        CommandError: the command or an option is wrong, or both `input` and `stdin` are given.
        CommandNotFoundError: the program, the working directory or a file of the command is
            missing.
        CommandFailed: the command has failed, and `check` is set; the error carries the result.

    Cancellation: stops the command, with its grace.  The cancellation continues when no process is
    left, a few seconds after the grace at most.  A second Ctrl-C skips the rest of the grace.
    """
    require_posix()
    check_launcher(launcher)
    built = _process_command(command, input, timeout, capture, command_options)
    if launcher is None:
        launcher = LocalLauncher(_guard=await shared_guard(ShutdownLimits().guard_exit))
    check_place(built, launcher)
    result = await run_alone(built, policies_of(built, _DEFAULTS), launcher)
    if check and result.status == "failed":
        raise CommandFailed(result) from result.error
    return result


def _process_command(
    command: CommandLike,
    given_input: bytes | None,
    timeout: float | None,
    capture: CaptureLike | None,
    options: ProcessOptions,
) -> Command:
    """Return the command of `run_process`.

    Raises:
        CommandError: the command or an option is wrong, or needs a Runner.
    """
    if given_input is not None:
        if not isinstance(cast("object", given_input), bytes):  # A number would be a descriptor.
            name = as_command(command).name
            raise CommandError(
                f"command {name!r}: input must be bytes or None, not {given_input!r}"
            )
        # The PIPE of a `Command` leaves open what comes through it: `input` says so.
        own = command.stdin if isinstance(command, Command) and command.stdin != PIPE else None
        if options.get("stdin", own) is not None:
            raise CommandError("run_process takes either input or stdin, not both")
        options["stdin"] = given_input
    changes = cast("CommandOptions", {**options})
    if timeout is not None:
        changes["timeout"] = timeout
    if capture is not None:
        changes["capture"] = capture
    built = single_command("run_process", command, changes)
    if built.stdin == PIPE:
        raise CommandError(
            f"command {built.name!r}: nobody can write to the stdin=PIPE of run_process; "
            "use input=, or open_process"
        )
    return built


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
    options_of_loop = defaults | (backend_options or {})
    return _context_without_loop().run(
        lambda: anyio.run(main, backend=backend, backend_options=options_of_loop)
    )


def _require_no_event_loop() -> None:
    try:
        current_token()
    except RuntimeError:
        return
    raise RunningLoopError("currant.run")


def _context_without_loop() -> Context:
    """Return a copy of the context for a new event loop.

    The context of a thread of `asyncio.to_thread` is a copy of its task's.  It has a note of anyio
    to sniffio that an event loop runs, and `anyio.run` would take that for a loop of this thread.
    """
    context = copy_context()
    if (sniffio := sys.modules.get("sniffio")) is not None:
        context.run(sniffio.current_async_library_cvar.set, None)
    return context
