"""`JUnitFile`: the report of ``--junit``, with a test case for each job.

A report may have a million cases, so each is written when its job has ended.  The totals stand at
the beginning of the format, but are known at the end.  So space is left for them, which spaces
fill up: XML allows them in a tag.

The report grows in a temporary file beside its place, and takes the place at the end.  So no
program reads half a report, and a run that breaks off leaves the report of the run before.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from currant._values.errors import CommandError, plain_text
from currant._values.escape_sequences import ESCAPE_SEQUENCE
from currant._values.results import end_of
from currant.cli._map.ended import LAST_LINES, OutputError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from currant.cli._map.ended import Ended

__all__ = ["JUnitFile"]

MAX_OUTPUT = 16 * 1024
"""Bytes of each output that a case has: the last ones."""

MAX_NAME = 1000
"""Characters of a command line in the name of a case."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 cannot hold."""

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n<testsuite name={} tests="{}" '
    'failures="{}" errors="{}" skipped="{}" time="{:.3f}"'
)
_END = b"</testsuite>\n</testsuites>\n"

_MOST = 10**15


class JUnitFile:
    """Writes a test case for each job; `finish` puts the report in its place.

    A job that failed is a failure, a job that could not be started is an error, and a job that
    currant stopped is skipped.  Leaving a ``with`` block without `finish` removes the temporary
    file.

    Args:
        path: the path of the report, which is replaced at the end.
        name: the name of the suite and the class of its cases: the template.

    Raises:
        CommandError: when built: the file cannot be written, or is not a regular file.
        OutputError: by the methods: the file cannot be written.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path: str = path
        self._name = _attribute(name)
        self._place = os.path.realpath(path)  # A symbolic link stays, and its target is replaced.
        self._draft = f"{self._place}.{os.urandom(4).hex()}.part"
        self._tests = self._failures = self._errors = self._skipped = 0
        try:
            if os.path.exists(self._place) and not stat.S_ISREG(os.stat(self._place).st_mode):
                raise CommandError(f"--junit {path}: not a regular file")
            self._file = open(self._draft, "xb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise CommandError(f"--junit {path}: {error.strerror}") from error
        most = _HEAD.format(self._name, *[_MOST] * 5)
        self._room = len(most.encode())
        self._write(b" " * self._room + b">\n")

    def add(self, ended: Ended) -> None:
        """Write the case of a job."""
        result = ended.result
        name = ended.line if len(ended.line) <= MAX_NAME else f"{ended.line[:MAX_NAME]}…"
        inner = self._outcome(ended)
        for tag, output in (("system-out", result.stdout), ("system-err", result.stderr)):
            if output:
                inner += f"<{tag}>{_text(_last(output))}</{tag}>\n"
        head = f'<testcase classname={self._name} name={_attribute(name)} time="'
        self._tests += 1
        self._write(f'{head}{result.duration:.3f}">{inner}</testcase>\n'.encode())

    def finish(self, seconds: float) -> None:
        """Write the totals, and put the report in its place.

        Args:
            seconds: how long all jobs took together.
        """
        totals = (self._tests, self._failures, self._errors, self._skipped, seconds)
        self._write(_END)
        try:
            self._file.seek(0)
            self._file.write(_HEAD.format(self._name, *totals).encode())
            self._file.close()
            os.replace(self._draft, self._place)
        except OSError as error:
            raise OutputError.of(error, "JUnit report", self.path) from error

    def close(self) -> None:
        """Close and remove the temporary file; after `finish`, this does nothing."""
        with suppress(OSError):  # The disk may be full.
            self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._draft)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _outcome(self, ended: Ended) -> str:
        """Return the element that says how the job ended, if it did not succeed; count it."""
        result = ended.result
        if result.status == "succeeded":
            return ""
        message = _attribute(str(end_of(result)))
        if result.status != "failed":
            self._skipped += 1
            return f"<skipped message={message}/>\n"
        tag = "failure"
        if result.exit is None:
            tag = "error"
            self._errors += 1
        else:
            self._failures += 1
        lines = "\n".join(map(plain_text, result.tail[-LAST_LINES:]))
        return f"<{tag} message={message}>{_text(lines)}</{tag}>\n"

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise OutputError.of(error, "JUnit report", self.path) from error


def _last(output: bytes) -> str:
    left_out = len(output) - MAX_OUTPUT
    text = ESCAPE_SEQUENCE.sub(b"", output[-MAX_OUTPUT:]).decode(errors="replace")
    return text if left_out <= 0 else f"[... {left_out:,} bytes omitted ...]\n{text}"


def _text(text: str) -> str:
    return escape(_valid(text), {"\r": "&#13;"})


def _attribute(text: str) -> str:
    return quoteattr(_valid(text))


def _valid(text: str) -> str:
    """Return a text without what XML cannot hold; U+FFFD replaces bytes that are not UTF-8."""
    decoded = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _FORBIDDEN.sub("", decoded)
