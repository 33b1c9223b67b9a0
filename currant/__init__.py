"""Structured concurrency for processes: a task group whose tasks are commands.

To read the package, follow the data: a `Command` (`_values`) is started by a launcher (`_process`,
where `launcher` is the seam and `local` this machine), its bytes become whole lines in batches,
which a bounded channel (`_channel`) carries to readers and sinks.  One command's life is a row of
attempts, and many commands are a `Runner` (`_supervisor`).  What the system knows of processes is
`_system`, and the gate that a kill throws is in `_synchronization`.  Each package says in its
`__init__` in which order to read it.
"""

from currant._process.launcher import Launcher, Process
from currant._process.local import LocalLauncher
from currant._run import run
from currant._supervisor.job import Job
from currant._supervisor.runner import Runner
from currant._supervisor.sink_tasks import Sink
from currant._synchronization import KillBarrier
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
    JobEndedError,
    LaunchError,
    NotReadyError,
    StdinClosedError,
    TimeLimitError,
    UnresponsiveError,
)
from currant._values.exit import Exit
from currant._values.launch_spec import Pty
from currant._values.lines import Batch, Line
from currant._values.messages import (
    Aborted,
    BatchMessage,
    Dropped,
    Exited,
    Failed,
    Message,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant._values.restart import RestartPolicy
from currant._values.results import CommandFailed, Result, Results

__all__ = [
    "PIPE",
    "Aborted",
    "Batch",
    "BatchMessage",
    "CannotStopError",
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
    "Exit",
    "Exited",
    "Failed",
    "Job",
    "JobEndedError",
    "KillBarrier",
    "LaunchError",
    "Launcher",
    "Line",
    "LocalLauncher",
    "Message",
    "NotReadyError",
    "Process",
    "Pty",
    "Ready",
    "RestartPolicy",
    "Restarting",
    "Result",
    "Results",
    "Runner",
    "Sink",
    "Skipped",
    "Started",
    "StdinClosedError",
    "TimeLimitError",
    "UnresponsiveError",
    "run",
]
