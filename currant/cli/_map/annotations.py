"""`Annotations`: what GitHub Actions shows beside a run for each job that failed.

A step prints a line such as ``::error title=job 3%3A exit code 1::convert a.jpg``.  GitHub shows
ten errors of a step, and drops the others without a word.  So a warning, which is counted apart,
says how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import plain_text
from currant._values.results import end_of
from currant.cli._map.ended import LAST_LINES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant.cli._map.ended import Ended

__all__ = ["Annotations", "is_on_github"]

MAX_ERRORS = 10
"""Errors of a step that GitHub shows."""

_MESSAGE_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY_ESCAPES = _MESSAGE_ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})


def is_on_github(environment: Mapping[str, str]) -> bool:
    """Return whether this is a step of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true"


class Annotations:
    """The annotations of one run: makes the lines to print, each with its newline."""

    def __init__(self) -> None:
        self._failed = 0

    def add(self, ended: Ended) -> str:
        """Return the line for a job; empty if it did not fail, or after ten failures."""
        result = ended.result
        if result.status != "failed":
            return ""
        self._failed += 1
        if self._failed > MAX_ERRORS:
            return ""
        lines = map(plain_text, result.tail[-LAST_LINES:])
        title = f"job {ended.number}: {end_of(result)}"
        return _command("error", title, "\n".join([_printable(ended.line), *lines]))

    def finish(self) -> str:
        """Return the line that says how many more jobs have failed; empty if none has."""
        more = self._failed - MAX_ERRORS
        if more <= 0:
            return ""
        noun = "job has" if more == 1 else "jobs have"
        return _command("warning", "currant map", f"{more:,} more {noun} failed")


def _command(kind: str, title: str, message: str) -> str:
    title = title.translate(_PROPERTY_ESCAPES)
    return f"::{kind} title={title}::{message.translate(_MESSAGE_ESCAPES)}\n"


def _printable(line: str) -> str:
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
