"""Structured concurrency for processes: a task group whose tasks are commands.

To read the package, follow the data: a `Command` (`_command`) is started by a launcher (`_launcher`
is the seam, `_local` this machine, with `_lookup`, `_pipes` and `_child`), its bytes become whole
lines (`_output`, `_lines`) in batches, which a bounded channel (`_channel`) carries to readers and
sinks.  One command's life is `_job`, a row of attempts (`_attempt`); `_health` sees that it gets
ready and stays alive, by the probes of `ready`.  Many commands are `_runner`, which of them wait
for which is `_dependencies`, and how they are called is `_names`.

How a process is ended is one page, `_stop`; process groups, and who in them is alive, are `_posix`;
what leaves its group is `_escapees`, and what ends all if this program dies is `_guard`.  The gate
that a kill throws is `_barrier`, and `_notice` wakes who waits for a change.  Pure values are
`_messages`, `_restart` and `_errors`.
"""

from currant._barrier import KillBarrier
from currant._command import PIPE, Command, Pty
from currant._errors import (
    CannotStopError,
    CommandError,
    CommandFailed,
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
from currant._job import Job
from currant._launcher import Launcher, Process
from currant._local import LocalLauncher
from currant._messages import (
    Aborted,
    Batch,
    BatchMessage,
    Dropped,
    Exit,
    Exited,
    Failed,
    Line,
    Message,
    Ready,
    Restarting,
    Result,
    Results,
    Skipped,
    Started,
)
from currant._restart import RestartPolicy
from currant._run import run
from currant._runner import Runner, Sink

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
