r"""`ResultsFolder`: the files of ``--results DIR``.

The layout is that of GNU parallel: a job with the values ``a`` and ``b`` has the folder
``DIR/1/a/2/b``.  If the columns have names, these stand in place of the numbers, and the columns
are sorted by name.  In the folder are

- ``stdout`` and ``stderr``: the output, byte for byte;
- ``seq``: the number of the job;
- ``exit``: the exit code, the name of the signal, or why there is neither;
- ``usage``: see `_usage`.

Only ``seq`` and the output exist while the job runs.

In names, ``/`` is written as ``\_``, a backslash as ``\\`` and a tab as ``\t``, and a name is cut
after 255 bytes, all as in parallel's folders.  The values ``.``, ``..`` and the empty one would
name a folder outside or that of another job, so here they are ``\.``, ``\..`` and ``\empty``.

The folder of a job may be inside that of another one, whose rows have fewer columns.  So the name
of a column that is the name of a file there, such as ``stdout``, is ``\stdout`` here, unless it is
the first column.

A path that would be too long, or too deep, has only the first values.

Two jobs may have the same values, or long values with the same beginning.  Then the second folder
ends with ``#`` and the number of the job, so that no output is lost.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import accumulate
from signal import Signals
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from currant.cli._errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._batch.rows import Row
    from currant._values.lines import StreamName
    from currant._values.results import Result
    from currant.cli._map.ended import Ended

__all__ = ["ResultsFolder"]

MAX_NAME = 255
"""Bytes of a file name on all usual file systems."""

MAX_DEPTH = 200
"""Folders inside of each other: `os.makedirs` is recursive."""

RESERVE = 100
"""Bytes of a path for a file in the folder of a job, and for the number of the job."""

FILES = frozenset(("stdout", "stderr", "seq", "exit", "usage"))
"""The files in the folder of a job."""

NO_VALUES = "\\0noarg"
EMPTY = "\\empty"

_ESCAPES = str.maketrans({"/": "\\_", "\\": "\\\\", "\t": "\\t", "\0": "\\0"})

_DIGITS = re.compile("[0-9]{1,4000}")  # Python makes no number of more than 4,300.

_AT_START = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_AT_END = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class ResultsFolder:
    """Writes the output of each job, and how it ended, into a folder of its own.

    The methods block, so call them in a worker thread, and one at a time.  Files are open only
    during a call: a thousand jobs at once need no thousand descriptors.

    Args:
        path: the folder, which is created if necessary.
        resumes: whether the jobs of earlier runs are kept, as with ``--resume``.  Otherwise a job
            replaces the files of a job with the same values that an earlier run has left.

    Raises:
        OutputError: when built, and by each method: a file cannot be written; the error names it.
    """

    def __init__(self, path: str, *, resumes: bool = False) -> None:
        self._path = os.fsencode(path)
        self._folders: dict[int, bytes] = {}  # of the jobs that run
        try:
            os.makedirs(self._path, exist_ok=True)
            self._room = os.pathconf(self._path, "PC_PATH_MAX") - RESERVE - len(self._path)
            self._begin = 0 if resumes else self._present()
        except OSError as error:
            raise _named(error, self._path) from error

    def begin(self, number: int, row: Row) -> None:
        """Create the folder of a job, with empty files for its output.

        Called again for the same job, this empties its files for the next attempt.
        """
        folder = self._folders[number] = self._create_folder(number, row)
        for name in (b"/stdout", b"/stderr"):
            _write(folder + name, _AT_START, b"")

    def write(self, number: int, stream: StreamName, data: bytes) -> None:
        """Append output of a job that has begun."""
        _write(self._folders[number] + b"/" + stream.encode(), _AT_END, data)

    def end(self, ended: Ended) -> None:
        """Write how a job ended; a job that never began gets its folder here."""
        if ended.number not in self._folders:
            self.begin(ended.number, ended.row)
        folder = self._folders.pop(ended.number)
        _write(folder + b"/exit", _AT_START, f"{_exit_of(ended.result)}\n".encode())
        _write(folder + b"/usage", _AT_START, _usage(ended.result).encode())

    def _present(self) -> int:
        """Return the time of the folder's file system, in nanoseconds.

        Its clock is not that of this machine if the folder is on a server.
        """
        with TemporaryFile(dir=self._path) as file:
            return os.fstat(file.fileno()).st_mtime_ns

    def _create_folder(self, number: int, row: Row) -> bytes:
        parents, name = self._place(row)
        suffix = b""
        while True:
            folder = parents + b"/" + name[: MAX_NAME - len(suffix)] + suffix
            try:
                is_new = _make_folder(folder)
                if is_new or not self._is_taken(folder, number):
                    if not is_new:  # The job may be killed before it gets files of its own.
                        _remove(folder + b"/exit")
                        _remove(folder + b"/usage")
                    _write(folder + b"/seq", _AT_START, b"%d" % number)
                    return folder
            except OSError as error:
                raise _named(error, folder) from error
            suffix += b"#%d" % number

    def _place(self, row: Row) -> tuple[bytes, bytes]:
        """Return the path of the parent folder of a job, and the name of its own folder."""
        numbers = map(str, range(len(row.names) + 1, len(row.values) + 1))
        columns = [*zip((*row.names, *numbers), row.values, strict=False)]
        if row.names:
            columns.sort(key=_order_of_column)
        parts = [_file_name(text) for column in columns for text in column]
        if not parts:
            parts = [b"1", os.fsencode(NO_VALUES)]
        for at in range(2, len(parts), 2):
            if columns[at // 2][0] in FILES:
                parts[at] = b"\\" + parts[at]
        lengths = accumulate(len(part) + 1 for part in parts[:MAX_DEPTH])
        fitting = sum(length <= self._room for length in lengths)
        parts = parts[: max(2, fitting - fitting % 2)]
        return b"/".join([self._path, *parts[:-1]]), parts[-1]

    def _is_taken(self, folder: bytes, number: int) -> bool:
        """Return whether a folder that exists is that of another job whose files must be kept."""
        try:
            with open(folder + b"/seq", "rb") as file:
                is_kept = os.fstat(file.fileno()).st_mtime_ns >= self._begin
                return is_kept and file.read(20) != b"%d" % number
        except FileNotFoundError:
            return False


def _order_of_column(column: tuple[str, str]) -> tuple[int, str]:
    """Return the sort key of a column: a number at the beginning of its name, then the name."""
    digits = _DIGITS.match(column[0])
    return int(digits[0]) if digits else 0, column[0]


def _file_name(text: str) -> bytes:
    """Return a value or the name of a column as the name of a folder."""
    if not text:
        name = EMPTY
    elif text in {".", ".."}:
        name = "\\" + text
    else:
        name = text.translate(_ESCAPES)
    return os.fsencode(name)[:MAX_NAME]


def _make_folder(path: bytes) -> bool:
    """Create a folder and its parents; return False if the folder exists already."""
    try:
        os.mkdir(path)
    except FileNotFoundError:
        os.makedirs(path)
    except FileExistsError:
        return False
    return True


def _remove(path: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _write(path: bytes, flags: int, data: bytes) -> None:
    try:
        file = os.open(path, flags, 0o666)
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)
    except OSError as error:
        raise _named(error, path) from error


def _named(error: OSError, path: bytes) -> OutputError:
    return OutputError.of(error, "results file", os.fsdecode(path))


def _exit_of(result: Result) -> str:
    end = result.exit
    if end is None or end.is_status_lost:
        return str(result.error or end or result.status)
    if end.signal is None:
        return str(end.code)
    return end.signal.name if isinstance(end.signal, Signals) else f"signal {end.signal}"


def _usage(result: Result) -> str:
    """Return the lines ``key=value`` of the file ``usage``.

    - ``started_at``: seconds since the epoch
    - ``duration``: seconds
    - ``attempts``: the number of starts
    - ``user``, ``system``: seconds of processor time
    - ``max_rss``: bytes of memory that the largest process held at its peak

    A value that is unknown has no line.
    """
    values: Sequence[tuple[str, object]] = [
        ("started_at", None if result.started_at is None else f"{result.started_at:.3f}"),
        ("duration", f"{result.duration:.3f}"),
        ("attempts", result.attempts),
    ]
    if result.usage is not None:
        values = [
            *values,
            ("user", f"{result.usage.user:.3f}"),
            ("system", f"{result.usage.system:.3f}"),
            ("max_rss", result.usage.peak_memory),
        ]
    return "".join(f"{key}={value}\n" for key, value in values if value is not None)
