"""`LoggedJobs`: the jobs that a job log has, for ``--resume`` and the like.

A log may have a million lines, so the commands are not held in memory.  An array has, for each
number of a job, the place of its last line in the file: nine bytes for each job.

If the machine crashed, the last line may be torn.  Such a line is cut off.  Any other line that is
not a line of a job log is an error, because no crash explains it.
"""

from __future__ import annotations

import os
import re
from array import array
from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HEADER", "JobLogError", "LoggedJobs", "column_of"]

HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

_SECONDS = rb"\t *-?\d+(?:\.\d+)?"
_COUNT = rb"\t-?\d+"
_LINE = re.compile(
    rb"([1-9]\d{0,17})\t[^\t\n]*" + _SECONDS * 2 + _COUNT * 2 + rb"\t(-?\d+)\t(-?\d+)\t([^\n]*)\n"
)

MAX_GAP = 1_000_000
"""Numbers between two jobs that may be missing.

Memory grows by nine bytes for each, so a number with a wrong digit must not pass.  A real gap is
much smaller: it has the jobs that are still running, or whose values do not fit into the template.
"""

BYTES_AT_ONCE = 4096

MAX_SHOWN = 200
"""Characters of a command that an error shows."""

_ABSENT, _SUCCEEDED, _FAILED = range(3)


class JobLogError(CommandError):
    """A job log cannot be used: it is of another command, or another run writes to it.

    Attributes:
        path: the path of the job log.
        reason: what is wrong, and what to do about it.
    """

    _fields = ("path", "reason")

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"job log {path}: {reason}")
        self.path = path
        self.reason = reason


class LoggedJobs:
    """The jobs of an open job log.  If a job has several lines, the last one counts.

    Args:
        path: the path of the job log, for errors.
        fd: the file, open for reading.  It must stay open, and begins with the header, or with the
            part of the header that a crash has left.

    Attributes:
        size: the bytes of the header and of all complete lines.

    Raises:
        JobLogError: a line is not a line of a job log.
        OSError: the file cannot be read.
    """

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._states = bytearray(1)  # by number; the numbers begin with 1
        self._offsets = array("Q", (0,))
        self.size: int = self._read()

    @property
    def first(self) -> int | None:
        """The smallest number in the log; None if the log has no job."""
        for number, state in enumerate(self._states):
            if state != _ABSENT:
                return number
        return None

    def has(self, number: int, line: str) -> bool:
        """Return whether the log has a job, whose command must be `line`.

        Raises:
            JobLogError: the log has the number with another command.
        """
        return self._checked_state(number, line) != _ABSENT

    def has_success(self, number: int, line: str) -> bool:
        """Return whether the log has a job that succeeded, whose command must be `line`.

        Raises:
            JobLogError: the log has the number with another command.
        """
        return self._checked_state(number, line) == _SUCCEEDED

    def has_failure(self, number: int) -> bool:
        """Return whether the log has a job that failed."""
        return number < len(self._states) and self._states[number] == _FAILED

    def failed(self) -> Iterator[tuple[int, str]]:
        """Yield the numbers and the commands of the jobs that failed, in the order of the numbers.

        Lines that are added to the file in the meantime do not count.

        Raises:
            JobLogError: a job had bytes on stdin, which the log does not have.
        """
        for number, state in enumerate(self._states):
            if state == _FAILED:
                columns = self._columns(number)
                if int(columns[4]) != 0:
                    raise JobLogError(
                        self._path,
                        f"job {number} had {int(columns[4]):,} bytes on stdin, which the log does "
                        "not have; run the whole input again, with --stdin and the first command",
                    )
                yield number, os.fsdecode(columns[8].replace(b"\0", b"\n"))

    def _checked_state(self, number: int, line: str) -> int:
        state = self._states[number] if number < len(self._states) else _ABSENT
        if state == _ABSENT:
            return state
        found = self._columns(number)[8]
        if found != column_of(line):
            line_number = self._line_number(number)
            raise JobLogError(
                self._path,
                f"line {line_number} has another command for job {number}: expected "
                f"{_shown(column_of(line))}, found {_shown(found)}; resume with the command and "
                "the input of the first run, or use another job log",
            )
        return state

    def _read(self) -> int:
        """Read the lines, and return the size without a last line that a crash has torn."""
        size = os.fstat(self._fd).st_size
        offset = 0
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for line_number, line in enumerate(file, 1):
                is_complete = line == HEADER if line_number == 1 else self._note(line, offset)
                if not is_complete:
                    if offset + len(line) < size:
                        raise JobLogError(
                            self._path,
                            f"line {line_number} is not a line of a job log: {_shown(line)}; "
                            "repair or delete the line",
                        )
                    return offset
                offset += len(line)
        return offset

    def _note(self, line: bytes, offset: int) -> bool:
        """Take in a line; return False if it is not a line of a job log."""
        match = _LINE.fullmatch(line)
        if match is None:
            return False
        number = int(match[1])
        missing = number + 1 - len(self._states)
        if missing > MAX_GAP:
            return False
        if missing > 0:
            self._states.extend(bytes(missing))
            self._offsets.frombytes(bytes(missing * self._offsets.itemsize))
        has_failed = int(match[2]) != 0 or int(match[3]) != 0
        self._states[number] = _FAILED if has_failed else _SUCCEEDED
        self._offsets[number] = offset
        return True

    def _columns(self, number: int) -> list[bytes]:
        """Return the columns of the last line of a job, as they are in the file."""
        offset = self._offsets[number]
        line = os.pread(self._fd, BYTES_AT_ONCE, offset)
        while b"\n" not in line:
            more = os.pread(self._fd, len(line) + BYTES_AT_ONCE, offset + len(line))
            if not more:
                raise JobLogError(self._path, "another program has changed the file; start again")
            line += more
        return line[: line.index(b"\n")].split(b"\t", 8)

    def _line_number(self, number: int) -> int:
        """Return the line of the last entry of a job."""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            left = self._offsets[number]
            line_number = 1
            while left > 0:
                data = file.read(min(left, 1 << 20))
                if not data:
                    break
                line_number += data.count(b"\n")
                left -= len(data)
        return line_number


def column_of(line: str) -> bytes:
    """Return a command as the column of a job log; a newline becomes a NUL, as in parallel's."""
    return os.fsencode(line).replace(b"\n", b"\0")


def _shown(column: bytes) -> str:
    text = column.replace(b"\0", b"\n").decode(errors="replace")
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
