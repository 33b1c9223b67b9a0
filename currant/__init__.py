"""Structured concurrency for processes: a task group whose tasks are commands.

To read the package, follow the data.  A launcher starts the process of a `Command` (`_values`):
`_process.launcher` is the interface, `_process.local` starts processes on this host.  The output is
cut into batches of whole lines, and a bounded channel (`_channel`) carries the batches to readers
and sinks.  A `Runner` (`_supervisor`) runs many commands, each in one or more attempts.  `_system`
contains all calls about processes to the operating system, and `_synchronization` the barrier that
a kill throws.

Everything else stands on top: `sinks` write the output, `ready` has probes, `hosts` runs commands
on other machines (`_remote`, `_agent`), `config` reads ``currant.toml``, `stack` lets other
programs talk to a Runner, `view` has the status line and the keys, and `cli` is the command line.
`blocking` is a Runner for code without an event loop, `pytest_plugin` has fixtures for tests, and
`testing` a launcher without processes.  `_mcp` has tools for agents, and `_timeline` a page from a
trace.
The docstring of each package says in which order to read its modules.

The modules are imported when their names are first used, so a program that only talks to a running
stack starts in half of the time.
"""

import typing as _typing

from currant._first_use import imported as _imported

if _typing.TYPE_CHECKING:
    from currant._batch.map import Map, map  # noqa: A004 - as the builtin
    from currant._open import open_process
    from currant._process.launcher import Launcher, Process
    from currant._process.local import LocalLauncher
    from currant._run import run, run_process
    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._supervisor.sink_tasks import Sink
    from currant._synchronization import KillBarrier
    from currant._values.capture import Capture, Omitted
    from currant._values.command import PIPE, Command
    from currant._values.errors import (
        CannotStopError,
        CommandError,
        CommandNotFoundError,
        CommandParseError,
        CurrantError,
        DependencyError,
        DuplicateNameError,
        EmptyCommandError,
        ExitStatusLostError,
        ExpectError,
        HostListError,
        HostLostError,
        HostUnreachableError,
        JobEndedError,
        LaunchError,
        MissingExtraError,
        NoCapacityError,
        NotCapturedError,
        NotPermittedError,
        NotReadyError,
        OutputDiscardedError,
        OutputLimitError,
        RunningLoopError,
        SpillError,
        StdinClosedError,
        TimeLimitError,
        UnknownNameError,
        UnknownOptionError,
        UnreadOutputWarning,
        UnresponsiveError,
        WrongLoopError,
        WrongTaskError,
    )
    from currant._values.excerpt import Excerpt
    from currant._values.exit import Exit
    from currant._values.launch_spec import Pty
    from currant._values.limits import Limits
    from currant._values.lines import Batch, Line
    from currant._values.messages import (
        Aborted,
        BatchMessage,
        Dropped,
        Exited,
        Failed,
        HostLost,
        HostUp,
        Message,
        Ready,
        Restarting,
        Skipped,
        Started,
    )
    from currant._values.restart import RestartPolicy
    from currant._values.results import CommandFailed, Result, Results
    from currant._values.usage import Usage
    from currant._values.watch import Watch

__all__ = [
    "PIPE",
    "Aborted",
    "Batch",
    "BatchMessage",
    "CannotStopError",
    "Capture",
    "Command",
    "CommandError",
    "CommandFailed",
    "CommandNotFoundError",
    "CommandParseError",
    "CurrantError",
    "DependencyError",
    "Dropped",
    "DuplicateNameError",
    "EmptyCommandError",
    "Excerpt",
    "Exit",
    "ExitStatusLostError",
    "Exited",
    "ExpectError",
    "Failed",
    "HostListError",
    "HostLost",
    "HostLostError",
    "HostUnreachableError",
    "HostUp",
    "Job",
    "JobEndedError",
    "KillBarrier",
    "LaunchError",
    "Launcher",
    "Limits",
    "Line",
    "LocalLauncher",
    "Map",
    "Message",
    "MissingExtraError",
    "NoCapacityError",
    "NotCapturedError",
    "NotPermittedError",
    "NotReadyError",
    "Omitted",
    "OutputDiscardedError",
    "OutputLimitError",
    "Process",
    "Pty",
    "Ready",
    "RestartPolicy",
    "Restarting",
    "Result",
    "Results",
    "Runner",
    "RunningLoopError",
    "Sink",
    "Skipped",
    "SpillError",
    "Started",
    "StdinClosedError",
    "TimeLimitError",
    "UnknownNameError",
    "UnknownOptionError",
    "UnreadOutputWarning",
    "UnresponsiveError",
    "Usage",
    "Watch",
    "WrongLoopError",
    "WrongTaskError",
    "map",
    "open_process",
    "run",
    "run_process",
]

_HOMES = {
    "Aborted": "currant._values.messages",
    "Batch": "currant._values.lines",
    "BatchMessage": "currant._values.messages",
    "CannotStopError": "currant._values.errors",
    "Capture": "currant._values.capture",
    "Command": "currant._values.command",
    "CommandError": "currant._values.errors",
    "CommandFailed": "currant._values.results",
    "CommandNotFoundError": "currant._values.errors",
    "CommandParseError": "currant._values.errors",
    "CurrantError": "currant._values.errors",
    "DependencyError": "currant._values.errors",
    "Dropped": "currant._values.messages",
    "DuplicateNameError": "currant._values.errors",
    "EmptyCommandError": "currant._values.errors",
    "Excerpt": "currant._values.excerpt",
    "Exit": "currant._values.exit",
    "ExitStatusLostError": "currant._values.errors",
    "Exited": "currant._values.messages",
    "ExpectError": "currant._values.errors",
    "Failed": "currant._values.messages",
    "HostListError": "currant._values.errors",
    "HostLost": "currant._values.messages",
    "HostLostError": "currant._values.errors",
    "HostUnreachableError": "currant._values.errors",
    "HostUp": "currant._values.messages",
    "Job": "currant._supervisor.job",
    "JobEndedError": "currant._values.errors",
    "KillBarrier": "currant._synchronization",
    "LaunchError": "currant._values.errors",
    "Launcher": "currant._process.launcher",
    "Limits": "currant._values.limits",
    "Line": "currant._values.lines",
    "LocalLauncher": "currant._process.local",
    "Map": "currant._batch.map",
    "Message": "currant._values.messages",
    "MissingExtraError": "currant._values.errors",
    "NoCapacityError": "currant._values.errors",
    "NotCapturedError": "currant._values.errors",
    "NotPermittedError": "currant._values.errors",
    "NotReadyError": "currant._values.errors",
    "Omitted": "currant._values.capture",
    "OutputDiscardedError": "currant._values.errors",
    "OutputLimitError": "currant._values.errors",
    "PIPE": "currant._values.command",
    "Process": "currant._process.launcher",
    "Pty": "currant._values.launch_spec",
    "Ready": "currant._values.messages",
    "RestartPolicy": "currant._values.restart",
    "Restarting": "currant._values.messages",
    "Result": "currant._values.results",
    "Results": "currant._values.results",
    "Runner": "currant._supervisor.runner",
    "RunningLoopError": "currant._values.errors",
    "Sink": "currant._supervisor.sink_tasks",
    "Skipped": "currant._values.messages",
    "SpillError": "currant._values.errors",
    "Started": "currant._values.messages",
    "StdinClosedError": "currant._values.errors",
    "TimeLimitError": "currant._values.errors",
    "UnknownNameError": "currant._values.errors",
    "UnknownOptionError": "currant._values.errors",
    "UnreadOutputWarning": "currant._values.errors",
    "UnresponsiveError": "currant._values.errors",
    "Usage": "currant._values.usage",
    "Watch": "currant._values.watch",
    "WrongLoopError": "currant._values.errors",
    "WrongTaskError": "currant._values.errors",
    "map": "currant._batch.map",
    "open_process": "currant._open",
    "run": "currant._run",
    "run_process": "currant._run",
}
"""The module of each public name; the imports above are for type checkers alone."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    return _imported(globals(), _HOMES, name)


def __dir__() -> list[str]:
    """Return the public names, used or not."""
    return sorted({*globals(), *__all__})
