"""The exit status of `currant map`, as GNU parallel documents its own.

- 0: all jobs succeeded.
- 1 to 100: the number of jobs that failed.
- 101: more than 100 jobs failed.
- 1 is also the status if stdout or stderr cannot be written.
- 2 is also the status of bad input; then no job was started.
- 255: another error, such as a job log on a full disk.

With ``fail=1``, ``done=1`` or ``success=N`` in ``--halt``, the job that met the condition sets the
status: 0 if it succeeded, and its own exit status otherwise.  A job that currant stopped does not
count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from currant._values.errors import CurrantError
    from currant._values.results import Result

__all__ = ["OTHER_ERROR", "STATUS_NOT_FOUND", "exit_status", "launch_status", "status_of"]

MAX_COUNTED = 100
MANY_FAILED = 101
OTHER_ERROR = 255

STATUS_CANNOT_START = 126
"""The shell's exit status for a command that exists but cannot be started."""
STATUS_NOT_FOUND = 127
"""The shell's exit status for a command that does not exist."""


def exit_status(failed: int, halted_by: Result | None = None) -> int:
    """Return the exit status of a whole run.

    Args:
        failed: how many jobs failed.
        halted_by: the result of the job that halted the run, if one such job was enough (``fail=1``
            or ``done=1``) or if the run was to end with successes (``success=``).
    """
    if halted_by is not None:
        return status_of(halted_by)
    return failed if failed <= MAX_COUNTED else MANY_FAILED


def status_of(result: Result) -> int:
    """Return the exit status of one job, as a shell gives it; never 0 if the job failed.

    This is the exit code, or 128 + n for signal n, or 127 for a program that is missing, or 126 for
    another reason why the job could not be started.
    """
    if result.status != "failed":
        return 0
    if result.exit is None:
        return launch_status(result.error)
    if result.exit.signal is not None:
        return 128 + int(result.exit.signal)
    return result.exit.code or 1  # A job may exit with code 0 and have failed nevertheless.


def launch_status(error: CurrantError | None) -> int:
    """Return the shell's exit status for a command that could not be started."""
    is_missing = isinstance(error, FileNotFoundError) or (
        error is not None and isinstance(error.__cause__, FileNotFoundError)
    )
    return STATUS_NOT_FOUND if is_missing else STATUS_CANNOT_START
