"""`JobLog`: the file of ``--joblog``, with a line for each job that has ended.

The format is that of GNU parallel, so the tools that read its logs read this one.  The columns are
separated by tabs; a newline in the command is written as NUL, which no command can contain.

Each line is one write to the end of the file.  So the log has every job that has ended, even if
currant itself is killed.  Only a crash of the machine can lose or tear the last lines: a sync for
each line would take longer than most jobs.

A job that currant stopped (Ctrl-C, ``--halt now``) is not in the log, so that ``--resume`` runs the
job.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from currant._values.errors import CommandNotFoundError, LaunchError
from currant.cli._errors import OutputError
from currant.cli._map.exit_status import launch_status
from currant.cli._map.logged_jobs import HEADER, JobLogError, LoggedJobs, column_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from currant._values.results import Result
    from currant.cli._map.ended import Ended

__all__ = ["JobLog", "create_job_log", "logged_exit", "reopen_job_log"]

UNKNOWN = -1
"""The exit value of a job that did not end by itself: it timed out, or its host was lost."""

_READ_AND_ADD = os.O_RDWR | os.O_APPEND

NOT_LOGGED = ("stopped", "skipped")
"""The statuses of jobs that have to run again."""


class JobLog:
    """A job log that is open for writing, and locked for other runs.

    `create_job_log` and `reopen_job_log` open it, and `close` closes it.

    Attributes:
        path: the path of the file.
        logged: the jobs of earlier runs; None if the log was created anew.
        may_block: whether a write may have to wait, as for the reader of a pipe.
    """

    def __init__(self, path: str, fd: int, logged: LoggedJobs | None = None) -> None:
        self.path: str = path
        self.logged: LoggedJobs | None = logged
        self.may_block: bool = not _is_file(fd)
        self._fd = fd
        self._has_begun = False

    def begin(self) -> None:
        """Make a log ready for its next line; later calls do nothing.

        A log that was created anew is emptied, and gets its header.  Otherwise, a last line that a
        crash has torn is cut off.  Until then the file is as it was, also if the command line is
        wrong, and after a dry run.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self._has_begun:
            self._has_begun = True
            size = 0 if self.logged is None else self.logged.size
            if _is_file(self._fd):
                os.ftruncate(self._fd, size)
            if not size:
                _write(self.path, self._fd, HEADER)

    def add(self, ended: Ended) -> None:
        """Write the line of a job, unless currant stopped the job.

        Raises:
            OutputError: the file cannot be written; it has no part of the line then.
        """
        self.begin()
        result = ended.result
        if result.status in NOT_LOGGED:
            return
        code, signal = logged_exit(result)
        begin = (
            f"{ended.number}\t{result.host or ':'}\t{result.started_at or 0:10.3f}\t"
            f"{result.duration:10.3f}\t{ended.sent}\t{ended.received}\t{code}\t{signal}\t"
        )
        _write(self.path, self._fd, begin.encode() + column_of(ended.line) + b"\n")

    def close(self) -> None:
        """Close the file, and release the lock."""
        os.close(self._fd)


def create_job_log(path: str) -> JobLog:
    """Open a new job log; `JobLog.begin` empties an older one of that path.

    Raises:
        JobLogError: the file cannot be opened, another run writes to it, or it has contents that
            are not a job log.
        OutputError: the file cannot be written.
    """
    with _opened(path, _READ_AND_ADD | os.O_CREAT) as fd:
        log = JobLog(path, fd)
        if _is_file(fd):
            _has_header(path, fd)  # Raises if the file is something else.
        else:
            log.begin()  # A pipe or a device has nothing to lose.
        return log


def reopen_job_log(path: str, *, must_exist: bool = False, read_only: bool = False) -> JobLog:
    """Go on with a job log; `JobLog.logged` has its jobs.

    Args:
        path: the path of the file.
        must_exist: whether a missing file is an error, as for ``--retry-failed``.
        read_only: whether nothing is added to the log, as in a dry run, which needs no permission
            to write, and may look at the log of another run.

    Raises:
        JobLogError: the file cannot be opened or is not a regular file, another run writes to it,
            or a line is not a line of a job log.
    """
    flags = os.O_RDONLY if read_only else _READ_AND_ADD
    with _opened(path, flags if must_exist else flags | os.O_CREAT) as fd:
        if not _is_file(fd):
            raise JobLogError(path, "not a regular file, so no run can go on with it")
        _has_header(path, fd)  # Raises if the file is something else.
        return JobLog(path, fd, LoggedJobs(path, fd))


@contextmanager
def _opened(path: str, flags: int) -> Generator[int]:
    """Open a file, and lock it if it is for writing; close it only if an error leaves the block."""
    try:
        fd = _open_pipe(path) if _is_pipe(path) else os.open(path, flags, 0o666)
    except OSError as error:
        reason = "no program reads the pipe" if error.errno == errno.ENXIO else error.strerror
        raise JobLogError(path, f"cannot open the file: {reason}") from error
    try:
        if flags & os.O_RDWR and _is_file(fd):
            _lock(path, fd)
        yield fd
    except OSError as error:
        os.close(fd)
        raise JobLogError(path, f"cannot read the file: {error.strerror}") from error
    except BaseException:
        os.close(fd)
        raise


def _open_pipe(path: str) -> int:
    """Open a pipe for writing alone.

    A reader of its own would keep it open when the other reader is gone: the log would fill the
    pipe, and wait forever.
    """
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def _is_pipe(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISFIFO(os.stat(path).st_mode)
    return False


def _lock(path: str, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JobLogError(
            path, "another run of currant writes to the file; wait for its end, or use another file"
        ) from None
    except OSError:
        return  # This file system has no locks.


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _has_header(path: str, fd: int) -> bool:
    """Return whether a file begins with the header; an empty file or a torn header does not.

    Raises:
        JobLogError: the file is something else, which must not be lost.
    """
    begin = os.pread(fd, len(HEADER), 0)
    if not HEADER.startswith(begin):
        raise JobLogError(path, "the file is not a job log; use another file")
    return begin == HEADER


def _write(path: str, fd: int, line: bytes) -> None:
    written = 0
    try:
        while written < len(line):
            written += os.write(fd, line[written:] if written else line)
    except OSError as error:
        if written and _is_file(fd):
            # The next line would be joined to a part of this one.
            with suppress(OSError):
                os.ftruncate(fd, os.fstat(fd).st_size - written)
        raise OutputError.of(error, "job log", path) from error


def logged_exit(result: Result) -> tuple[int, int]:
    """Return the columns Exitval and Signal, which are as in parallel's log.

    - The job exited: its exit code and 0.
    - A signal ended the job: 0 and the number of the signal.
    - The job did not end by itself (a timeout, or too much output), or its exit is unknown: -1 and
      the number of the signal that ended it, or 0.
    - The job could not be started: 127 if its program is missing, 126 otherwise; and 0.

    At least one of both differs from 0 if the job failed.
    """
    end, error = result.exit, result.error
    if end is None and isinstance(error, (CommandNotFoundError, LaunchError)):
        return launch_status(error), 0
    if end is None or end.is_status_lost:
        return UNKNOWN, 0
    signal = int(end.signal or 0)
    is_success = end.code == 0  # A job may fail nevertheless: it handled the signal of a timeout.
    if result.status == "failed" and (error is not None or is_success):
        return UNKNOWN, signal
    return end.code or 0, signal
