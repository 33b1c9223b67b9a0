"""The text that currant adds to the output: the label before each line, and texts for events.

Both are templates with fields, such as ``{name} | ``.  A template is checked when it is given, not
when it is first used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from string import Formatter
from types import MappingProxyType
from typing import TYPE_CHECKING, cast, get_args

from currant._values.command import Command
from currant._values.errors import CommandError
from currant._values.lines import Batch
from currant._values.messages import Dropped, HostLost, HostUp, Ready, Skipped, Started
from currant._values.printable import printable
from currant._values.shell_syntax import without_exec
from currant.sinks._colors import Palette, check_style
from currant.sinks._events import Event, describe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from currant.sinks._events import EventMessage

__all__ = ["DEFAULT_PREFIX", "NO_TEXTS", "THIS_MACHINE", "Templates", "label_columns", "line_of"]

DEFAULT_PREFIX = "{name} | "
"""The label before each line, unless `prefix` replaces it."""

NO_TEXTS: Mapping[Event, str | None] = MappingProxyType({})

DEFAULT_FORMATS = {
    "time": "%H:%M:%S",
    "elapsed": ".1f",
    "after": ".1f",
    "delay": ".1f",
    "command": ".10",
}
"""The format of a field that has none: the time of day, tenths of a second, ten characters."""

ELLIPSIS = ".."


class Shortened(str):
    """A text that loses its middle in a format with a length: ``echo..here`` in ``.10``."""

    __slots__ = ()

    def __format__(self, form: str) -> str:
        return format(self._shortened(form), form)

    def _shortened(self, form: str) -> str:
        length = form.rpartition(".")[2].removesuffix("s") if "." in form else ""
        if not length.isdecimal() or len(self) <= int(length):
            return str(self)
        kept = max(0, int(length) - len(ELLIPSIS))
        end = kept // 2
        return self[: kept - end] + ELLIPSIS + self[len(self) - end :]


MAX_FORGOTTEN = 1000
"""How many commands that a Runner has forgotten are remembered here."""

THIS_MACHINE = "local"
"""What ``{host}`` is for a command on this machine; `currant.hosts.LOCAL` has the same name."""

FIELDS: dict[str, object] = {
    "name": "a",
    "pid": 1,
    "stream": "stdout",
    "attempt": 1,
    "time": datetime.fromtimestamp(0, UTC),
    "elapsed": 0.0,
    "index": 0,
    "command": Shortened("a"),
    "host": "a",
}
"""The fields that every template may have, with examples."""

EVENT_FIELDS: dict[Event, dict[str, object]] = {
    "started": FIELDS,
    "ready": {**FIELDS, "after": 0.1},
    "aborted": {**FIELDS, "error": "is not ready"},
    "exited": {**FIELDS, "exit": "exit code 3"},
    "restarting": {**FIELDS, "delay": 0.1},
    "failed": {**FIELDS, "error": "cannot start"},
    "skipped": {**FIELDS, "error": "was skipped"},
    "dropped": {**FIELDS, "lines": 1},
    "host_up": {"time": FIELDS["time"], "host": "a"},
    "host_lost": {"time": FIELDS["time"], "host": "a", "error": "is lost"},
}
"""The fields that the template for an event may have."""

_HUGE = re.compile(r"[0-9]{6}")
"""A width in a format that is a mistake in any case."""


@dataclass(slots=True)
class _CommandStyle:
    """The name and style of a command, and facts about the current attempt."""

    name: str
    index: int
    line: Shortened
    style: str | None = None
    pid: int = 0
    attempt: int = 1
    started_at: float | None = None
    host: str = THIS_MACHINE


class Templates:
    """The label before each line of output, and the text for each event.

    Args:
        prefix: the template of the label.
        timestamps: True for the time of day before the label, or a format of `time.strftime`.
        texts: templates for events in place of the defaults; None for no text.
        in_color: whether labels are coloured.
        hidden: names of commands without a label, to which no label is padded.

    Raises:
        ValueError: a template has an unknown field, or cannot be read.
    """

    def __init__(
        self,
        prefix: str,
        timestamps: str | bool | None,
        texts: Mapping[Event, str | None],
        *,
        in_color: bool,
        hidden: Collection[str] = (),
    ) -> None:
        self._prefix = _checked("prefix", prefix, FIELDS)
        if not (timestamps is None or isinstance(cast("object", timestamps), (bool, str))):
            raise CommandError(f"timestamps must be True, False or a format, not {timestamps!r}")
        if not isinstance(cast("object", texts), Mapping):
            raise CommandError(f"texts must be a mapping from events to templates, not {texts!r}")
        self._stamp = ""
        if timestamps:
            form = DEFAULT_FORMATS["time"] if timestamps is True else timestamps
            self._stamp = _checked("timestamps", f"{{time:{form}}} ", FIELDS)
            self._prefix = self._stamp + self._prefix
        if unknown := set(texts) - set(get_args(Event)):
            raise ValueError(f"texts: {unknown.pop()!r} is not one of {', '.join(get_args(Event))}")
        self._texts = {
            event: None
            if text is None
            else _checked(f"texts[{event!r}]", text, EVENT_FIELDS[event])
            for event, text in texts.items()
        }
        self._in_color = in_color
        self._hidden = hidden
        self._palette = Palette()
        self._styles: dict[str, _CommandStyle] = {}
        self._width = 0
        self._host_width = 0
        self._commands: Mapping[str, Command] = {}
        self._known = 0

    def add_commands(self, commands: Mapping[str, Command]) -> None:
        """Give each new command a colour, and all names in labels the same width.

        Raises:
            CommandError: the color of a command is not a style of rich.
        """
        if self._commands is commands and self._known == len(commands):
            return
        self._commands, self._known = commands, len(commands)
        if len(self._styles) > 2 * len(commands) + MAX_FORGOTTEN:  # A Runner may forget commands.
            self._styles = {name: self._styles[name] for name in self._styles if name in commands}
        new = [name for name in commands if name not in self._styles]
        for name, following in zip_longest(new, new[1:]):
            own = commands[name].color
            if own is not None and self._in_color:
                check_style(own, name)
            next_own = None if following is None else commands[following].color
            self._add(name, self._palette.next(own, next_own))

    def started(self, message: Started) -> None:
        """Record the start of an attempt."""
        style = self._of(message.command)
        style.pid, style.attempt, style.started_at = message.pid, message.attempt, message.time
        self._set_host(style, message.host)

    def label(self, batch: Batch) -> tuple[str, str | None]:
        """Return the label for the lines of `batch`, and the style of the label."""
        shown = self._of(batch.command)
        fields = self._fields(shown, batch.time) | {"stream": batch.stream}
        fields["name"] = _padded(shown.name, self._width)
        fields["host"] = _padded(shown.host, self._host_width)
        return self._prefix.format_map(fields), shown.style

    def stamp(self, message: EventMessage) -> str:
        """Return the time before a text about an event; nothing without timestamps."""
        return self._stamp.format_map({"time": _local(message.time)})

    def event_text(self, message: EventMessage) -> str | None:
        """Return the text for an event; None if no text is to be shown."""
        described = describe(message, self._commands)
        fields = self._event_fields(message)
        if described.event not in self._texts:
            if not described.is_news:
                return None
            text = described.text
            return text if described.names_subject else f"{fields['name']}: {text}"
        template = self._texts[described.event]
        return None if template is None else template.format_map({**fields, **described.fields})

    def _event_fields(self, message: EventMessage) -> dict[str, object]:
        if isinstance(message, HostUp | HostLost):
            return {"time": _local(message.time)}
        fields = self._fields(self._of(message.command), message.time) | {"stream": ""}
        if not isinstance(message, Ready | Skipped | Dropped):
            fields["attempt"] = message.attempt
        return fields

    def _add(self, name: str, style: str) -> _CommandStyle:
        text = printable(name)
        line = Shortened(printable(line_of(self._commands.get(name))))
        shown = _CommandStyle(text, len(self._styles), line, style if self._in_color else None)
        self._styles[name] = shown
        if name not in self._hidden:
            self._width = max(self._width, _cells(text))
        command = self._commands.get(name)
        if command is not None and command.host is not None:
            self._set_host(shown, command.host)
        return shown

    def _set_host(self, shown: _CommandStyle, host: str | None) -> None:
        shown.host = THIS_MACHINE if host is None else printable(host)
        self._host_width = max(self._host_width, _cells(shown.host))

    def _of(self, name: str) -> _CommandStyle:
        return self._styles.get(name) or self._add(name, self._palette.next(None))

    def _fields(self, shown: _CommandStyle, time: float) -> dict[str, object]:
        began = time if shown.started_at is None else shown.started_at
        return {
            "name": shown.name,
            "pid": shown.pid,
            "attempt": shown.attempt,
            "time": _local(time),
            "elapsed": max(0.0, time - began),
            "index": shown.index,
            "command": shown.line,
            "host": shown.host,
        }


def _local(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC).astimezone()


def line_of(command: Command | None) -> str:
    """Return the line that a command was built from, as far as that is known."""
    match command:
        case None:
            return ""
        case Command(argv=("/bin/sh", "-c", script)):
            return without_exec(script)
        case _:
            return str(command)


def label_columns(
    prefix: str, commands: Mapping[str, Command], *, timestamps: str | bool | None
) -> int:
    """Return how many columns of a terminal the label before each line takes, more or less.

    Args:
        prefix: as for `Templates`.
        commands: all commands by name.
        timestamps: as for `Templates`.

    Raises:
        ValueError: as for `Templates`.
    """
    templates = Templates(prefix, timestamps, NO_TEXTS, in_color=False)
    templates.add_commands(commands)
    labels: list[str] = []
    for name in commands:
        # Other PIDs are about as long.
        templates.started(Started(name, os.getpid(), 1, 0.0, commands[name].host))
        labels.append(templates.label(Batch(name, "stdout", b"", 0.0))[0])
    return max((_cells(label.rpartition("\n")[2]) for label in labels), default=0)


def _checked(what: str, template: str, examples: Mapping[str, object]) -> str:
    """Return a template with the default formats of its fields.

    Raises:
        ValueError: the template has an unknown field, or cannot be read.
    """
    try:
        checked = "".join(_with_default_formats(template, examples))
        checked.format_map(examples)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{what} {template!r}: {error}") from None
    return checked


def _with_default_formats(template: str, known: Iterable[str]) -> Iterator[str]:
    for text, field, form, conversion in Formatter().parse(template):
        yield text.replace("{", "{{").replace("}", "}}")
        if field is None:
            continue
        if field not in known:
            fields = ", ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"unknown field {{{field}}}; the fields are {fields}")
        if form and _HUGE.search(form):  # Already the check would take all memory.
            raise ValueError(f"the format {form!r} has a number of more than five digits")
        if conversion:
            yield f"{{{field}!{conversion}:{form}}}"
        else:
            yield f"{{{field}:{form or DEFAULT_FORMATS.get(field, '')}}}"


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - _cells(text))


def _cells(text: str) -> int:
    """Return how many columns `text` takes on a terminal."""
    if not text.isascii():
        try:
            from rich.cells import cell_len
        except ImportError:
            pass
        else:
            return cell_len(text)
    return len(text)
