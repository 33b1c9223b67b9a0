"""`Keys`: from the characters of a keyboard to requests, without a terminal.

A key is a request, or opens a prompt for a name or a text.  In a prompt, Enter
answers, Escape gives up, Tab completes a name, and Backspace and Ctrl-U erase.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._values.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["HELP", "Keys", "Request"]

HELP = (
    "r  restart a command",
    "s  show the output of one command only; s and Enter: of all",
    "f  show only lines that contain a text; f and Enter: all",
    "l  show the last failure again, with the output before it",
    "q  stop all commands, as Ctrl-C does; twice: kill them",
    "?  show this help",
)

Action: TypeAlias = Literal["restart", "solo", "filter", "last", "help", "quit", "unknown"]

PROMPTS: dict[str, Action] = {"r": "restart", "s": "solo", "f": "filter"}
PLAIN: dict[str, Action] = {"l": "last", "?": "help", "h": "help", "q": "quit"}

ESCAPE_OR_KEY = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|\[\[.)|.", re.DOTALL)
"""A key that sends a sequence, such as an arrow, or a single character."""

MAX_ANSWER = 200
"""The most characters of an answer; further characters are ignored."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a person.

    Attributes:
        action: the action; ``"unknown"``: report that there is no command `text`.
        text: the name of a command, or the text of a filter; empty: none.
    """

    action: Action
    text: str = ""


class Keys:
    """The open prompt, and the answer so far.

    Args:
        names: returns the names of the commands.
    """

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self._names = names
        self._asked: Action | None = None
        self._answer = ""

    @property
    def prompt(self) -> str | None:
        """The open prompt, with the answer so far; None if there is none."""
        if self._asked is None:
            return None
        if self._asked == "filter":
            return f"show lines with (Enter: all): {printable(self._answer)}_"
        question = "restart" if self._asked == "restart" else "show only (Enter: all)"
        found = [printable(name) for name in self._matches()]
        return f"{question}: {printable(self._answer)}_  {', '.join(found) or 'no such command'}"

    def feed(self, typed: str) -> Iterator[Request]:
        """Take the characters that were typed, and yield the requests."""
        for key in ESCAPE_OR_KEY.findall(typed):
            request = self._open(key) if self._asked is None else self._edit(key)
            if request is not None:
                yield request

    def _open(self, key: str) -> Request | None:
        names = self._names()
        if key == "r" and len(names) == 1:
            return Request("restart", names[0])
        if key in PLAIN:
            return Request(PLAIN[key])
        self._asked, self._answer = PROMPTS.get(key), ""
        return None

    def _edit(self, key: str) -> Request | None:
        match key:
            case "\r" | "\n":
                return self._finish()
            case "\x1b":
                self._asked = None
            case "\x7f" | "\x08":
                self._answer = self._answer[:-1]
            case "\x15":
                self._answer = ""
            case "\t" if self._asked != "filter":
                matches = self._matches()
                self._answer = matches[0] if matches else self._answer
            case _ if key.isprintable():
                self._answer = (self._answer + key)[:MAX_ANSWER]
            case _:
                pass
        return None

    def _finish(self) -> Request | None:
        asked, answer, matches = self._asked, self._answer, self._matches()
        self._asked = None
        if asked is None or (asked == "restart" and not answer):
            return None
        if asked == "filter" or not answer:
            return Request(asked, answer)
        return Request(asked, matches[0]) if matches else Request("unknown", answer)

    def _matches(self) -> list[str]:
        """Return the names that the answer may mean, the most likely first."""
        names, answer = self._names(), self._answer.casefold()
        begin = [name for name in names if name.casefold().startswith(answer)]
        inside = [name for name in names if answer in name.casefold() and name not in begin]
        exact = [name for name in begin if name == self._answer]
        return exact + [name for name in begin if name not in exact] + inside
