"""Probes as words of the command line: ``tcp:5432``, ``http://localhost:8000/health``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant import ready
from currant._values.command import Command
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from currant.ready import Probe

__all__ = ["PROBE_FORMS", "parse_probe"]

PROBE_FORMS = (
    "tcp:PORT, tcp:HOST:PORT, http://HOST:PORT/PATH, http:PORT/PATH, line:REGEX, command:LINE or "
    "delay:SECONDS"
)

SUCCESSFUL = tuple(range(200, 400))
"""The status codes of a server that serves.  A redirect, as to a login page, is one of them."""


def parse_probe(text: str, *, timeout: float | None, own: bool) -> Probe:
    """Return the probe that `text` describes.

    Args:
        text: in one of `PROBE_FORMS`.
        timeout: seconds that the server has to become ready; None: 60.
        own: whether a port must be opened by the server itself; see `currant.ready.tcp`.

    Raises:
        CommandError: `text` describes no probe.
    """
    try:
        return _probe(text, timeout=timeout, own=own)
    except CommandError as error:
        raise CommandError(f"--ready {text}: {error}") from error


def _probe(text: str, *, timeout: float | None, own: bool) -> Probe:
    kind, _, rest = text.partition(":")
    match kind:
        case "tcp":
            host, _, port = rest.rpartition(":")
            number = int(port) if port.isdecimal() else 0
            host = host.removeprefix("[").removesuffix("]") or "localhost"
            return ready.tcp(host, number, own=own, timeout=timeout)
        case "http":
            url = text if rest.startswith("//") else f"http://localhost:{rest}"
            return ready.http(url, SUCCESSFUL, own=own, timeout=timeout)
        case "https":
            raise CommandError(f"https is not supported; use 'command:curl -fsS {text}'")
        case "line":
            return ready.line(rest, timeout=timeout)
        case "command":
            return ready.command(Command.shell(rest), timeout=timeout)
        case "delay":
            return ready.delay(_seconds(rest))
        case _:
            raise CommandError(f"a probe is {PROBE_FORMS}")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a number of seconds") from None
