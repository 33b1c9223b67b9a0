"""Structured concurrency for processes: a task group whose tasks are commands.

To read the package, follow the data.  A launcher starts the process of a `Command` (`_values`):
`_process.launcher` is the interface, `_process.local` starts processes on this host.  The output is
cut into batches of whole lines, and a bounded channel (`_channel`) carries the batches to readers
and sinks.  A `Runner` (`_supervisor`) runs many commands, each in one or more attempts.  `_system`
contains all calls about processes to the operating system, and `_synchronization` the barrier that
a kill throws.  The docstring of each package says in which order to read its modules.
"""

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
    "WrongLoopError",
    "WrongTaskError",
    "open_process",
    "run",
    "run_process",
]
