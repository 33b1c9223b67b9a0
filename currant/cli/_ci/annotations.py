"""`Annotations`: what GitHub Actions shows beside a run for each command that failed.

A step prints a line such as ``::error title=job 3%3A exit code 1::convert a.jpg``.  GitHub shows
ten errors of a step, and drops the others without a word.  Warnings are counted apart, so a
warning says how many other failures there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.cli._ci.result_texts import as_utf_8, end_in_a_line, last_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.results import Result

__all__ = ["Annotations", "is_on_github"]

MAX_ERRORS = 10
"""Errors of a step that GitHub shows."""

_MESSAGE_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY_ESCAPES = _MESSAGE_ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})


def is_on_github(environment: Mapping[str, str]) -> bool:
    """Return whether this is a step of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true"


class Annotations:
    """The annotations of one run: makes the lines to print, each with its newline.

    Args:
        subcommand: the title of the warning, such as ``"currant map"``.
        noun: what the warning counts: ``"job"`` or ``"command"``.
    """

    def __init__(self, subcommand: str, noun: str) -> None:
        self._subcommand, self._noun = subcommand, noun
        self._failed = 0

    def add(self, name: str, line: str, result: Result) -> str:
        """Return the line for a command; empty if it did not fail, or after ten failures.

        Args:
            name: the name of the command, for the title.
            line: the command as it is typed in a shell.
            result: how the command has ended.
        """
        if result.status != "failed":
            return ""
        self._failed += 1
        if self._failed > MAX_ERRORS:
            return ""
        message = "\n".join(filter(None, (line, last_lines(result))))
        return _command("error", f"{name}: {end_in_a_line(result)}", message)

    def finish(self) -> str:
        """Return the line that says how many more commands have failed; empty if none has."""
        more = self._failed - MAX_ERRORS
        if more <= 0:
            return ""
        noun = f"{self._noun} has" if more == 1 else f"{self._noun}s have"
        return _command("warning", self._subcommand, f"{more:,} more {noun} failed")


def _command(kind: str, title: str, message: str) -> str:
    title = as_utf_8(title).translate(_PROPERTY_ESCAPES)
    return f"::{kind} title={title}::{as_utf_8(message).translate(_MESSAGE_ESCAPES)}\n"
