"""`JUnitFile`: the report of ``--junit``, with a test case for each command.

A report may have a million cases, so each is written when its command has ended.  The format has
the totals at the beginning, but they are known last.  So the file begins with spaces, over which
`finish` writes the totals; XML allows the spaces that remain in a tag.

The report is written to a temporary file beside its place, and takes its place at the end.  So no
program reads half a report.  The report of an earlier run is removed at the start: if this run
breaks off, a CI must not show the earlier report as that of this run.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from currant._values.errors import CommandError
from currant._values.escape_sequences import ESCAPE_SEQUENCE
from currant._values.results import end_of
from currant.cli._ci.result_texts import MAX_OUTPUT, as_utf_8, last_lines
from currant.cli._errors import OutputError

if TYPE_CHECKING:
    from currant._values.results import Result

__all__ = ["JUnitFile", "remove_report"]

MAX_NAME = 1000
"""Characters of a command line in the name of a case."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 cannot hold."""

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n<testsuite name={} tests="{}" '
    'failures="{}" errors="{}" skipped="{}" time="{:.3f}"'
)
_END = b"</testsuite>\n</testsuites>\n"

BYTES_OF_BEGIN = 4096
"""Bytes in which a file shows that it is a report."""

_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<[?!][^>]*>\s*)*<testsuites?[\s/>]")

_LARGEST = 10**15
"""Larger than any total: it measures the room for the totals."""


def remove_report(path: str) -> None:
    """Remove the report of an earlier run, if there is one.

    Raises:
        CommandError: the file is something else, which must not be lost.
    """
    place = os.path.realpath(path)
    try:
        if stat.S_ISREG(os.stat(place).st_mode):
            _check_is_report(path, place)
            os.unlink(place)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(f"--junit {path}: {error.strerror}") from error


def _check_is_report(path: str, place: str) -> None:
    """Check that a file is empty, or begins as the JUnit report of any program does.

    Raises:
        CommandError: it does not.
        OSError: the file cannot be read.
    """
    with open(place, "rb") as file:
        begin = file.read(BYTES_OF_BEGIN)
    if begin and not _BEGIN.match(begin):
        raise CommandError(f"--junit {path}: the file is not a JUnit report; use another file")


class JUnitFile:
    """Writes a test case for each command; `finish` puts the report in its place.

    A command that failed is a failure, a command that could not be started is an error, and a
    command that currant stopped is skipped.  `close` without `finish` removes the temporary file.

    Args:
        path: the path of the report; first, `remove_report` removes an earlier one.
        name: the name of the suite and the class of its cases.

    Raises:
        CommandError: when built: the file cannot be written, or must not be replaced.
        OutputError: by the methods: the file cannot be written.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path: str = path
        self._name = _attribute(name)
        self._place = os.path.realpath(path)  # A symbolic link stays, and its target is replaced.
        self._draft = f"{self._place}.{os.urandom(4).hex()}.part"
        self._tests = self._failures = self._errors = self._skipped = 0
        remove_report(path)
        try:
            if os.path.exists(self._place) and not stat.S_ISREG(os.stat(self._place).st_mode):
                raise CommandError(f"--junit {path}: not a regular file")
            self._file = open(self._draft, "xb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise CommandError(f"--junit {path}: {error.strerror}") from error
        most = _HEAD.format(self._name, *[_LARGEST] * 5)
        self._room = len(most.encode())
        self._write(b" " * self._room + b">\n")

    def add(self, name: str, result: Result) -> None:
        """Write the case of a command.

        Args:
            name: the name of the case; a long one is cut.
            result: how the command has ended, with the output that it has captured.
        """
        name = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"
        inner = self._outcome(result)
        for tag, output, omitted in (
            ("system-out", result.stdout, result.omitted.stdout),
            ("system-err", result.stderr, result.omitted.stderr),
        ):
            if output:
                inner += f"<{tag}>{_text(_last(output, omitted))}</{tag}>\n"
        head = f'<testcase classname={self._name} name={_attribute(name)} time="'
        self._tests += 1
        self._write(f'{head}{result.duration:.3f}">{inner}</testcase>\n'.encode())

    def finish(self, seconds: float) -> None:
        """Write the totals, and put the report in its place.

        Args:
            seconds: how long all commands took together.
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

    def _outcome(self, result: Result) -> str:
        """Return the element that says how the command ended, unless it succeeded; count it."""
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
        return f"<{tag} message={message}>{_text(last_lines(result))}</{tag}>\n"

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise OutputError.of(error, "JUnit report", self.path) from error


def _last(output: bytes, omitted: int) -> str:
    left_out = omitted + max(0, len(output) - MAX_OUTPUT)
    text = ESCAPE_SEQUENCE.sub(b"", output[-MAX_OUTPUT:]).decode(errors="replace")
    return text if not left_out else f"[... {left_out:,} bytes omitted ...]\n{text}"


def _text(text: str) -> str:
    return escape(_valid(text), {"\r": "&#13;"})


def _attribute(text: str) -> str:
    return quoteattr(_valid(text))


def _valid(text: str) -> str:
    """Return a text without what XML cannot hold; U+FFFD replaces bytes that are not UTF-8."""
    return _FORBIDDEN.sub("", as_utf_8(text))
