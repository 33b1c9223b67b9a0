"""What currant adds to the output: the label before each line, and its own words on what happens.

Both are texts with fields, such as ``{name} | ``, checked when they are given and not when they are
first shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from string import Formatter
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from currant._values.lines import Batch
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant.sinks._colors import Palette, check_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = [
    "DEFAULT_PREFIX",
    "NO_TEXTS",
    "Event",
    "Labels",
    "check_prefix",
    "printable",
    "succeeded",
]

Event: TypeAlias = Literal[
    "started", "ready", "aborted", "exited", "restarting", "failed", "skipped", "dropped"
]

DEFAULT_PREFIX = "{name} | "

NO_TEXTS: Mapping[Event, str | None] = MappingProxyType({})

SHORT_FORMS = {"time": "%H:%M:%S", "elapsed": ".1f", "after": ".1f", "delay": ".1f"}
"""How a field is written that says nothing about it: the time of day, tenths of a second."""

FIELDS: dict[str, object] = {
    "name": "a",
    "pid": 1,
    "stream": "stdout",
    "attempt": 1,
    "time": datetime.now(UTC),
    "elapsed": 0.0,
}
"""The fields that every text may have, with examples."""

EVENT_FIELDS: dict[Event, dict[str, object]] = {
    "started": {},
    "ready": {"after": 0.1},
    "aborted": {"error": "is not ready"},
    "exited": {"exit": "exit code 3"},
    "restarting": {"delay": 0.1},
    "failed": {"error": "cannot start"},
    "skipped": {"error": "was skipped"},
    "dropped": {"lines": 1},
}
"""The fields that the text for an event may have besides."""

DEFAULT_TEXTS: dict[Event, str] = {
    "ready": "{name}: ready after {after} s",
    "aborted": "{error}",
    "exited": "{name}: {exit}",
    "restarting": "{name}: restarting in {delay} s",
    "failed": "{error}",
    "skipped": "{error}",
    "dropped": "{name}: lines that were discarded: {lines}",
}
"""What is said where nothing else is asked for; of starts, nothing."""


@dataclass(slots=True)
class _Shown:
    """How a command is shown, and what is known of its present attempt."""

    name: str
    style: str | None = None
    pid: int = 0
    attempt: int = 1
    started_at: float | None = None


class Labels:
    """Knows what to write before a line of output, and what to say of an event.

    Args:
        prefix: the template of the label before each line.
        timestamps: True for the time of day before that, or a format of `time.strftime`.
        texts: templates for events instead of the default ones; None to say nothing.
        in_color: whether styles are of use.

    Raises:
        ValueError: a template has a field that there is not, or cannot be read.
    """

    def __init__(
        self,
        prefix: str,
        timestamps: str | bool | None,
        texts: Mapping[Event, str | None],
        *,
        in_color: bool,
    ) -> None:
        self._prefix = check_prefix(prefix)
        if timestamps:
            form = SHORT_FORMS["time"] if timestamps is True else timestamps
            self._prefix = _checked("timestamps", f"{{time:{form}}} ", FIELDS) + self._prefix
        if unknown := set(texts) - set(get_args(Event)):
            raise ValueError(f"texts: {unknown.pop()!r} is none of {', '.join(get_args(Event))}")
        self._texts = {
            event: _checked(f"texts[{event!r}]", text, FIELDS | EVENT_FIELDS[event])
            for event, text in (DEFAULT_TEXTS | dict(texts)).items()
            if text is not None
        }
        self._tells_every_end = "exited" in texts
        self._in_color = in_color
        self._palette = Palette()
        self._shown: dict[str, _Shown] = {}
        self._width = 0
        self._commands: Mapping[str, Command] = {}
        self._met = 0

    def meet(self, commands: Mapping[str, Command]) -> None:
        """Give those of `commands` that are new a colour, and all a width that holds them.

        Raises:
            CommandError: the color of one is none that there is.
        """
        if self._commands is commands and self._met == len(commands):
            return
        self._commands, self._met = commands, len(commands)
        new = [name for name in commands if name not in self._shown]
        for name, following in zip_longest(new, new[1:]):
            own = commands[name].color
            if own is not None and self._in_color:
                check_style(own, name)
            next_own = None if following is None else commands[following].color
            self._meet(name, self._palette.next(own, next_own))

    def follow(self, started: Started) -> None:
        """Note that an attempt began."""
        shown = self._of(started.command)
        shown.pid, shown.attempt, shown.started_at = started.pid, started.attempt, started.time

    def label(self, batch: Batch) -> tuple[str, str | None]:
        """Return what to write before each line of `batch`, and in which style."""
        shown = self._of(batch.command)
        fields = self._fields(shown, batch.time) | {"stream": batch.stream}
        fields["name"] = shown.name + " " * (self._width - _cells(shown.name))
        return self._prefix.format_map(fields), shown.style

    def words(self, message: BatchMessage) -> str | None:  # noqa: C901 - a row for each message
        """Return what to say of an event; None for nothing."""
        event: Event
        more: dict[str, object] = {}
        match message:
            case Started():
                event = "started"
            case Ready(after=after):
                event, more = "ready", {"after": after}
            case Aborted(error=error):
                # Its last lines have been shown.
                event, more = "aborted", {"error": str(error).partition("\n")[0]}
            case Skipped(error=error):
                event, more = "skipped", {"error": error}
            case Exited(exit=end):
                expected = end.stopped or succeeded(message, self._commands)
                if expected and not self._tells_every_end:
                    return None
                event, more = "exited", {"exit": end}
            case Restarting(delay=delay):
                event, more = "restarting", {"delay": delay}
            case Failed(error=error):
                event, more = "failed", {"error": error}
            case Dropped(lines=lines):
                event, more = "dropped", {"lines": lines}
            case Batch():
                return None
        text = self._texts.get(event)
        if text is None:
            return None
        fields = self._fields(self._of(message.command), message.time)
        if not isinstance(message, Ready | Skipped | Dropped):
            fields["attempt"] = message.attempt
        return text.format_map(fields | {"stream": ""} | more)

    def _meet(self, name: str, style: str) -> _Shown:
        text = printable(name)
        self._shown[name] = shown = _Shown(text, style if self._in_color else None)
        self._width = max(self._width, _cells(text))
        return shown

    def _of(self, name: str) -> _Shown:
        return self._shown.get(name) or self._meet(name, self._palette.next(None))

    def _fields(self, shown: _Shown, time: float) -> dict[str, object]:
        began = time if shown.started_at is None else shown.started_at
        return {
            "name": shown.name,
            "pid": shown.pid,
            "attempt": shown.attempt,
            "time": datetime.fromtimestamp(time, UTC).astimezone(),
            "elapsed": max(0.0, time - began),
        }


def printable(name: str) -> str:
    """Return a name as it is shown: it may hold a newline, or an escape that a terminal obeys."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def succeeded(message: Exited, commands: Mapping[str, Command]) -> bool:
    """Tell whether an end that we did not bring about is a success."""
    command = commands.get(message.command)
    return message.exit.code in ((0,) if command is None else command.success_codes)


def check_prefix(template: str) -> str:
    """Return a template for the label before a line, its fields in their short forms.

    Raises:
        ValueError: it has a field that there is not, or cannot be read.
    """
    return _checked("prefix", template, FIELDS)


def _checked(what: str, template: str, examples: Mapping[str, object]) -> str:
    try:
        checked = "".join(_with_short_forms(template, examples))
        checked.format_map(examples)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{what} {template!r}: {error}") from None
    return checked


def _with_short_forms(template: str, known: Iterable[str]) -> Iterator[str]:
    for text, field, form, conversion in Formatter().parse(template):
        yield text.replace("{", "{{").replace("}", "}}")
        if field is None:
            continue
        if field not in known:
            fields = ", ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"there is no field {{{field}}}, there are {fields}")
        if conversion:
            yield f"{{{field}!{conversion}:{form}}}"
        else:
            yield f"{{{field}:{form or SHORT_FORMS.get(field, '')}}}"


def _cells(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if not text.isascii():
        try:
            from rich.cells import cell_len
        except ImportError:
            pass
        else:
            return cell_len(text)
    return len(text)
