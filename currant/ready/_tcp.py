"""`tcp` and `unix`: probes that connect to a server of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from currant._values.checks import check_flag
from currant._values.exchange import Request
from currant.ready._arguments import checked_address, checked_file
from currant.ready._server import ask
from currant.ready._waiting import PolledProbe

if TYPE_CHECKING:
    from currant._values.checks import StrOrPath
    from currant._values.probe import Probe, ProbeTarget

__all__ = ["tcp", "unix"]


def tcp(
    host: str,
    port: int,
    *,
    own: bool = True,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that connects to a TCP port of the command.

    Wait until a server accepts connections::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            listening = ready.tcp("127.0.0.1", 8000)
            await runner.start(Command.parse("python -m http.server 8000", ready=listening))
            runner.kill()

    On Linux, a port that belongs to another process of the host does not count, unless `own` is
    False.  If that process keeps the port for a second, the command cannot have the port, and the
    probe fails at once.  An earlier attempt and other commands of the Runner may take longer to
    give the port up, and a server that shares its port (``SO_REUSEPORT``) does no harm.

    Args:
        host: a host name or an address.  If a name has several addresses, one of them is enough.
        port: 1 to 65535.
        own: whether the port must be the command's own.  False: another process of this host may
            have opened the port on behalf of the command, as Docker and systemd do.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("tcp: own", own)
    server = checked_address("tcp", host, port)
    return _Connection(server, own, interval=interval, timeout=timeout)


def unix(
    path: StrOrPath,
    *,
    own: bool = True,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that connects to a Unix socket of the command.

    Wait until a server accepts connections::

        from currant import Command, Runner, ready

        serve = "import socketserver as s; s.UnixStreamServer('web.sock', None).serve_forever()"

        async with Runner() as runner:
            listening = ready.unix("web.sock")
            await runner.start(Command(["python", "-c", serve], ready=listening))
            runner.kill()

    The file that an earlier server has left behind accepts no connection, so it does not count.  On
    Linux, a server of another process does not count either, unless `own` is False.

    Args:
        path: the path of the socket on the host of the command, from its working directory on; its
            type is ``SOCK_STREAM``.
        own: whether the server must be the command's own.  False: another process may have opened
            the socket on behalf of the command, as systemd does.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("unix: own", own)
    server = checked_file("unix: path", path)
    return _Connection(server, own, interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Connection(PolledProbe):
    server: tuple[str, int] | str
    own: bool

    async def check(self, subject: ProbeTarget) -> None:
        await ask(subject, Request(self.server, own=self.own))
