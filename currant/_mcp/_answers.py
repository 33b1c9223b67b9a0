"""The answers of the tools: a text for the model, and the same as values."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from currant._values.printable import printable
from currant.stack._times import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant.stack._client import CommandInfo, Listing

__all__ = ["Answer", "answer_of"]

Values: TypeAlias = "Mapping[str, object]"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a tool.

    Attributes:
        text: what the model reads.
        values: the same for programs; None: there is no more than the text.  Some clients show a
            model only these, so nothing of the text may be missing here.
        is_error: whether the tool has failed.
    """

    text: str
    values: Values | None = None
    is_error: bool = False


def answer_of(listing: Listing, folder: str | None = None) -> Answer:
    """Return the states of commands, and what was wrong with them, as an answer.

    Args:
        listing: the commands.
        folder: the folder of the stack, if the model should know it.
    """
    now = time.time()
    problems = {name: _with_name(name, text) for name, text in listing.problems.items()}
    states = [_text_of(command, now) for command in listing.commands] or ["no commands"]
    lines = [*(f"problem: {each}" for each in problems.values()), *states]
    values: dict[str, object] = {
        "commands": [_values_of(command, now) for command in listing.commands],
        "problems": problems,
    }
    if folder is not None:
        lines.insert(0, f"stack of {printable(folder)}")
        values["folder"] = folder
    return Answer("\n".join(lines), values, bool(problems))


def _with_name(name: str, problem: str) -> str:
    return problem if name in problem else f"{printable(name)}: {problem}"


def _text_of(command: CommandInfo, now: float) -> str:
    """Return the state of a command in one line."""
    parts = [command.state]
    if command.pid is not None:
        parts += ["ready" if command.ready else "not ready", f"pid {command.pid}"]
    if command.host is not None:
        parts.append(f"host {printable(command.host)}")
    parts.append(f"restarts {command.restarts}")
    if command.started_at is not None:
        parts.append(f"uptime {duration(max(0.0, now - command.started_at))}")
    if end := _end_of(command):
        parts.append(f"end: {end}")
    return f"{printable(command.name)}: {', '.join(parts)}"


def _values_of(command: CommandInfo, now: float) -> Values:
    started = command.started_at
    return {
        "name": command.name,
        "state": command.state,
        "ready": command.ready,
        "pid": command.pid,
        "host": command.host,
        "restarts": command.restarts,
        "uptime": None if started is None else round(max(0.0, now - started), 1),
        "end": _end_of(command) or None,
    }


def _end_of(command: CommandInfo) -> str:
    """Return how the last process ended, or why there was none; empty if that is unknown."""
    end = command.error or ("" if command.exit is None else str(command.exit))
    return printable(end.partition("\n")[0])
