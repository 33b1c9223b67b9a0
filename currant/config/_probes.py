"""Probes as a configuration writes them: a text such as ``tcp:5432``, or a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from currant import ready
from currant._values.command import Command
from currant._values.errors import CommandError, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from currant._values.probe import Probe

__all__ = ["probe_from_table", "probe_from_text"]

LOCALHOST = "localhost"

SUCCESSFUL = tuple(range(200, 400))
"""The status codes of a server that works.  A redirect, such as to a login page, counts too."""

_SHORT_URL = re.compile(r"(?P<port>[0-9]+)(?P<target>/.*)?")

_WITH_OWNER = ("tcp", "unix", "http", "https")


def probe_from_text(
    text: str, *, timeout: float | None = None, own: bool = True, verify: bool = True
) -> Probe:
    """Return the probe that a text describes.

    Args:
        text: ``tcp:PORT`` or ``tcp:HOST:PORT``; ``unix:PATH``; ``http://...``, or
            ``http:PORT/PATH`` on this machine, and the same with ``https``; ``file:PATH``;
            ``line:PATTERN``; ``command:LINE``, a line for the shell; ``delay:SECONDS``.
        timeout: seconds that a command has to become ready, unless it is a delay; None: 60.
        own: whether a server must be the command's own; see `currant.ready.tcp`.
        verify: whether the certificate of a server must be valid; see `currant.ready.http`.

    Raises:
        CommandError: the text describes no probe.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("http", "https") and rest.startswith("//"):
        rest = text
    if not colon or not rest or kind not in _FROM_TEXT:
        raise CommandError(
            f"{text!r} is no probe, expected tcp:PORT, unix:PATH, http://URL, file:PATH, "
            "line:PATTERN, command:LINE or delay:SECONDS"
            f"{suggestion(kind, _FROM_TEXT) if colon and rest else ''}"
        )
    options: dict[str, Any] = {}
    if timeout is not None and kind != "delay":
        options["timeout"] = timeout
    if not own and kind in _WITH_OWNER:
        options["own"] = False
    if not verify and kind == "https":
        options["verify"] = False
    return probe_from_table({kind: rest, **options})


def probe_from_table(table: Mapping[str, Any]) -> Probe:
    """Return the probe that a table describes.

    Args:
        table: one of the keys ``tcp``, ``unix``, ``http``, ``file``, ``line``, ``command``,
            ``delay``, ``all`` and ``any``, and the options of that function in `currant.ready`.

    Raises:
        CommandError: a value is wrong.
    """
    options = dict(table)
    kind = next(key for key in _KINDS if key in options)
    value = options.pop(kind)
    return _KINDS[kind](value, options)


def _tcp(value: str | int, options: dict[str, Any]) -> Probe:
    host, _, port = str(value).rpartition(":")
    if not port.isdecimal() or not port.isascii():
        raise CommandError(f"tcp: {value!r} is neither a PORT nor a HOST:PORT")
    return ready.tcp(host.strip("[]") or LOCALHOST, int(port), **options)


def _unix(value: str, options: dict[str, Any]) -> Probe:
    return ready.unix(value, **options)


def _http(value: str, options: dict[str, Any], scheme: str = "http") -> Probe:
    if short := _SHORT_URL.fullmatch(value):
        value = f"{scheme}://{LOCALHOST}:{short['port']}{short['target'] or '/'}"
    options.setdefault("status", SUCCESSFUL)
    return ready.http(value, **options)


def _https(value: str, options: dict[str, Any]) -> Probe:
    return _http(value, options, "https")


def _file(value: str, options: dict[str, Any]) -> Probe:
    return ready.file(value, **options)


def _line(value: str, options: dict[str, Any]) -> Probe:
    return ready.line(value, **options)


def _command(value: str | list[str], options: dict[str, Any]) -> Probe:
    command = Command.shell(value) if isinstance(value, str) else Command(value)
    return ready.command(command, **options)


def _delay(value: str | float, options: dict[str, Any]) -> Probe:
    try:
        seconds = float(value)
    except ValueError:
        raise CommandError(f"delay: {value!r} is not a number of seconds") from None
    return ready.delay(seconds, **options)


def _all(value: list[str | Mapping[str, Any]], options: dict[str, Any]) -> Probe:
    return ready.all_of(*map(_part, value), **options)


def _any(value: list[str | Mapping[str, Any]], options: dict[str, Any]) -> Probe:
    return ready.any_of(*map(_part, value), **options)


def _part(value: str | Mapping[str, Any]) -> Probe:
    return probe_from_text(value) if isinstance(value, str) else probe_from_table(value)


_KINDS: Mapping[str, Callable[[Any, dict[str, Any]], Probe]] = {
    "tcp": _tcp,
    "unix": _unix,
    "http": _http,
    "https": _https,
    "file": _file,
    "line": _line,
    "command": _command,
    "delay": _delay,
    "all": _all,
    "any": _any,
}

_FROM_TEXT = ("tcp", "unix", "http", "https", "file", "line", "command", "delay")
