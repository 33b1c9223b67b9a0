"""Structured concurrency for processes: a task group whose tasks are commands.

To read the package, follow the data: a `Command` (`_command`) is started by a launcher (`_launcher`
is the seam, `_local` this machine, with `_lookup`, `_pipes` and `_child`), its bytes become whole
lines (`_lines`) in batches, which a bounded channel (`_channel`) carries to readers and sinks.  One
command's life is `_job`, many commands are `_runner`.

How a process is ended is one page, `_stop`; process groups, and who in them is alive, are `_posix`;
what leaves its group is `_escapees`, and what ends all if this program dies is `_guard`.  The gate
that a kill throws is `_barrier`; what is kept of the output is `_output`.  The values (`_messages`,
`_restart`, `_errors`) are pure.
"""

from currant._barrier import KillBarrier
from currant._command import PIPE, Command
from currant._errors import (
    CannotStopError,
    CommandError,
    CommandFailed,
    CommandNotFoundError,
    CommandParseError,
    CurrantError,
    DuplicateNameError,
    EmptyCommandError,
    JobEndedError,
    LaunchError,
    StdinClosedError,
)
from currant._job import Job
from currant._launcher import Launcher, Process
from currant._local import LocalLauncher
from currant._messages import (
    Batch,
    BatchMessage,
    Dropped,
    Exit,
    Exited,
    Failed,
    Line,
    Message,
    Restarting,
    Result,
    Results,
    Started,
)
from currant._restart import RestartPolicy
from currant._run import run
from currant._runner import Runner, Sink

__all__ = [
    "PIPE",
    "Batch",
    "BatchMessage",
    "CannotStopError",
    "Command",
    "CommandError",
    "CommandFailed",
    "CommandNotFoundError",
    "CommandParseError",
    "CurrantError",
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
    "Process",
    "RestartPolicy",
    "Restarting",
    "Result",
    "Results",
    "Runner",
    "Sink",
    "Started",
    "StdinClosedError",
    "run",
]
