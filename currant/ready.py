"""Probes: how to tell that a command is ready, and that it is still alive.

    from currant import Command, Runner, ready

    db = Command(["postgres", "-D", "data"], ready=ready.tcp("127.0.0.1", 5432))
    web = Command(["serve"], ready=ready.http("http://127.0.0.1:8000/health"))

`Command.ready` takes one; `Command.alive` too, but for `line` and `delay`, which happen once.

Each has an `interval` and a `timeout`, in seconds.  Until a command is ready, it is looked at each
0.1 s, for at most 60 s, and one look may take 5 s.  Then, where it has a probe `alive`, it is
looked at after each 5 s, and one look may take 1 s.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from inspect import isawaitable
from ipaddress import ip_address
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast
from urllib.parse import unquote_to_bytes, urlsplit

import anyio
from anyio.abc import SocketAttribute

from currant._values.checks import check_seconds
from currant._values.command import Command, CommandLike, as_command
from currant._values.errors import CommandError
from currant._values.probe import READY_TIMEOUT, Probe, ProbeCommand, Unmet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import SocketStream

    from currant._values.lines import Line, StreamName
    from currant._values.probe import LineProbe, ProbeTarget

__all__ = ["Probe", "all_of", "any_of", "command", "delay", "http", "line", "tcp", "when"]

STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
LONGEST_STATUS_LINE = 1024

READY_INTERVAL = 0.1
"""Seconds between two looks at a command that is to become ready."""

READY_LOOK = 5.0
"""Seconds that one look may take at a command that is to become ready."""

ALIVE_LOOK = 1.0
"""The same at a command that is ready."""


def line(
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes],
    stream: StreamName | None = None,
    *,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe: a line of the output matches a regular expression.

    Args:
        pattern: searched in each line, as text (UTF-8, U+FFFD for what is not) or in its bytes.
        stream: ``"stdout"`` or ``"stderr"``; None: both.
        interval: of no effect: each line is looked at as it comes.
        timeout: seconds until then; None: 60.

    Raises:
        CommandError: an argument is wrong.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise CommandError(f"line: not a regular expression: {pattern!r} ({error})") from error
    if stream not in (None, "stdout", "stderr"):
        raise CommandError(f"line: stream must be 'stdout', 'stderr' or None, not {stream!r}")
    return _Line(compiled, stream, interval=interval, timeout=timeout)


def tcp(
    host: str, port: int, *, interval: float | None = None, timeout: float | None = None
) -> Probe:
    """Return a probe: a TCP port takes connections, and it is the command's.

    On Linux, a server on this machine that does not belong to the command does not count.

    Args:
        host: a name or address.
        port: from 1 to 65535.
        interval: seconds between two looks.
        timeout: seconds until then; None: 60.

    Raises:
        CommandError: an argument is wrong.
    """
    return _Tcp(*_checked_address("tcp", host, port), interval=interval, timeout=timeout)


def http(
    url: str,
    status: int | Collection[int] = 200,
    *,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe: a GET is answered with that status, by the command.

    On Linux, a server on this machine that does not belong to the command does not count.
    Redirects are not followed.

    Args:
        url: begins with ``http://``; a name and password in it (``http://name:word@host``) are sent
            (RFC 7617).
        status: the status code, or several.
        interval: seconds between two looks.
        timeout: seconds until then; None: 60.

    Raises:
        CommandError: an argument is wrong.
    """
    codes = tuple(status) if isinstance(status, Collection) else (status,)
    if not codes or not all(code in range(100, 600) for code in codes):
        raise CommandError(f"http: status must be from 100 to 599, not {status!r}")
    try:
        parts = urlsplit(str(url))
        port = 80 if parts.port is None else parts.port
    except ValueError as error:
        raise CommandError(f"http: not a URL: {url!r} ({error})") from error
    plain = (
        isinstance(cast("object", url), str)
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )
    if parts.scheme != "http" or not parts.hostname or not plain:
        raise CommandError(f"http: a URL begins with http:// and a host, and is ASCII, not {url!r}")
    host, port = _checked_address("http", parts.hostname, port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Http(
        host,
        port,
        parts.netloc.rpartition("@")[2],
        _credentials(parts.netloc),
        target,
        codes,
        interval=interval,
        timeout=timeout,
    )


def command(
    argv: CommandLike, *, interval: float | None = None, timeout: float | None = None
) -> Probe:
    """Return a probe: another command succeeds, run where the command runs, with its variables.

    Args:
        argv: as a Runner takes a command: words, a text, or a `Command` of which only `argv`,
            `cwd`, `env` and `success_codes` may be given.
        interval: seconds between two runs.
        timeout: seconds until then; None: 60.

    Raises:
        CommandError: an argument is wrong.
    """
    given = as_command(argv)
    _check_only_what_a_probe_takes(given)
    asked = ProbeCommand(given.argv, given.cwd, dict(given.env), given.success_codes)
    return _Command(asked, interval=interval, timeout=timeout)


def when(
    check: Callable[[], object],
    *,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe: an async function returns something true.

    Args:
        check: is called without arguments.  An exception means: not yet.  It has to end when it is
            cancelled: a thread that cannot be is waited for.  A function that is not async may do
            as well, if it returns at once.
        interval: seconds between two calls.
        timeout: seconds until then; None: 60.

    Raises:
        CommandError: an argument is wrong.
    """
    if not callable(check):
        raise CommandError(f"when: takes an async function, not {check!r}")
    return _When(check, interval=interval, timeout=timeout)


def delay(seconds: float, *, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe: so many seconds have passed.

    Args:
        seconds: since the command was started.
        interval: of no effect.
        timeout: seconds until it has failed; None: never.

    Raises:
        CommandError: an argument is wrong.
    """
    check_seconds("delay: seconds", seconds, optional=False)
    return _Delay(seconds, interval=interval, timeout=timeout)


def all_of(*probes: Probe, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe: all of these answer yes; each is asked in its own interval and time.

    Args:
        probes: at least one.
        interval: seconds between two looks at a command that is ready.
        timeout: seconds until all have; None: what each has.

    Raises:
        CommandError: an argument is wrong.
    """
    return _AllOf(_checked_probes("all_of", probes), interval=interval, timeout=timeout)


def any_of(*probes: Probe, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe: one of these answers yes; each is asked in its own interval and time.

    Args:
        probes: at least one.
        interval: seconds between two looks at a command that is ready.
        timeout: seconds until one has; None: what each has.

    Raises:
        CommandError: an argument is wrong.
    """
    return _AnyOf(_checked_probes("any_of", probes), interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Polled(Probe):
    """A probe that looks again and again."""

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        """Look until the answer is yes, and return None; or what it was when the time was up.

        Cancellation: harmless.
        """
        problem: Exception = Unmet("no answer")
        with anyio.move_on_after(READY_TIMEOUT if self.timeout is None else self.timeout):
            while True:
                answer = await self._look_within(READY_LOOK, subject)
                if answer is None:
                    return None
                problem = answer
                await anyio.sleep(READY_INTERVAL if self.interval is None else self.interval)
                problem = Unmet(f"no answer to the last look; to the one before: {answer}")
        return problem

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        """Look once, and return None if the answer is yes; else what it is.

        Cancellation: harmless.
        """
        return await self._look_within(
            ALIVE_LOOK if self.timeout is None else self.timeout, subject
        )

    async def _look_within(self, seconds: float, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(seconds):
            try:
                await self.look(subject)
            except anyio.get_cancelled_exc_class():
                if anyio.current_effective_deadline() == -inf:
                    raise
                return Unmet("it was cancelled")  # something that it awaited
            except Exception as raised:  # whatever the code of others raises: not yet
                return raised
            return None
        return Unmet(f"no answer within {seconds:g} s")

    @abstractmethod
    async def look(self, subject: ProbeTarget) -> None:
        """Look once, and return if the answer is yes.

        Raises:
            Exception: it is not; the text says what is so instead.
        """


class _Once(Probe):
    """A probe of what happens once: a single look waits for it."""

    __slots__ = ()

    repeats: ClassVar[bool] = False

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(self._limit()):
            await self.look(subject)
            return None
        return Unmet(self._missed())

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        return await self.wait_until_met(subject)  # never asked of a command that is ready

    @abstractmethod
    async def look(self, subject: ProbeTarget) -> None:
        """Wait until it has happened."""

    def _limit(self) -> float:
        return READY_TIMEOUT if self.timeout is None else self.timeout

    @abstractmethod
    def _missed(self) -> str:
        """Return what has not happened."""


@dataclass(frozen=True, slots=True)
class _Line(_Once):
    pattern: re.Pattern[Any]  # of text or of bytes
    stream: StreamName | None

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        return (self,)

    async def look(self, subject: ProbeTarget) -> None:
        await subject.line(self)

    def _missed(self) -> str:
        return f"no line matches {self.pattern.pattern!r}"

    def matches(self, line: Line) -> bool:
        if self.stream not in (None, line.stream):
            return False
        is_text = isinstance(self.pattern.pattern, str)
        return self.pattern.search(line.text if is_text else line.data) is not None


@dataclass(frozen=True, slots=True)
class _Tcp(_Polled):
    host: str
    port: int

    async def look(self, subject: ProbeTarget) -> None:
        async with await _connected(self.host, self.port) as stream:
            ends = _ends_of(stream)
        await _check_is_its_own(subject, *ends)


@dataclass(frozen=True, slots=True)
class _Http(_Polled):
    host: str
    port: int
    authority: str
    credentials: str | None = field(repr=False)
    target: str
    codes: Collection[int]

    async def look(self, subject: ProbeTarget) -> None:
        request = (
            f"GET {self.target} HTTP/1.1\r\nHost: {self.authority}\r\n"
            "User-Agent: currant\r\nAccept: */*\r\nConnection: close\r\n"
        )
        if self.credentials is not None:
            request += f"Authorization: Basic {self.credentials}\r\n"
        answer = b""
        where = f"http://{self.authority}{self.target}"
        async with await _connected(self.host, self.port) as stream:
            ends = _ends_of(stream)
            try:
                await stream.send(f"{request}\r\n".encode())
                while b"\n" not in answer and len(answer) < LONGEST_STATUS_LINE:
                    answer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                raise Unmet(f"{where} closed the connection without an answer") from error
        status = STATUS_LINE.match(answer)
        if status is None:
            raise Unmet(f"{where} does not speak HTTP")
        if int(status[1]) not in self.codes:
            raise Unmet(f"{where} answers with status {status[1].decode()}")
        await _check_is_its_own(subject, *ends)


async def _connected(host: str, port: int) -> SocketStream:
    try:
        return await anyio.connect_tcp(host, port)
    except OSError as error:
        raise Unmet(f"nobody answers at {host}, port {port}: {error}") from error


End: TypeAlias = tuple[str, int]
"""An address and a port."""


def _ends_of(stream: SocketStream) -> tuple[End, End]:
    """Return our end of a connection, and the other one."""
    ours = stream.extra(SocketAttribute.local_address)  # noqa: S610 - not Django's
    theirs = stream.extra(SocketAttribute.remote_address)  # noqa: S610
    assert isinstance(ours, tuple)
    assert isinstance(theirs, tuple)
    return (ours[0], ours[1]), (theirs[0], theirs[1])


async def _check_is_its_own(subject: ProbeTarget, ours: End, theirs: End) -> None:
    """Check that it is the command who listens, as far as that can be told."""
    if ours == theirs:  # where nobody listens, a connection may happen to reach itself
        raise Unmet("nobody listens")
    address, port = theirs[0].partition("%")[0], theirs[1]
    is_here = ip_address(address).is_loopback or ours[0] == theirs[0]
    if is_here and await subject.listens(address, port) is False:
        raise Unmet(f"port {port} is that of another process")


@dataclass(frozen=True, slots=True)
class _Command(_Polled):
    command: ProbeCommand

    async def look(self, subject: ProbeTarget) -> None:
        end = await subject.run(self.command)
        if end.code not in self.command.success_codes:
            raise Unmet(f"{self.command}: {end}")


@dataclass(frozen=True, slots=True)
class _When(_Polled):
    check: Callable[[], object]

    async def look(self, subject: ProbeTarget) -> None:  # noqa: ARG002 - asks somebody else
        answer = self.check()
        if isawaitable(answer):
            answer = await answer
        if not answer:
            raise Unmet(f"{getattr(self.check, '__qualname__', self.check)} returned {answer!r}")


@dataclass(frozen=True, slots=True)
class _Delay(_Once):
    seconds: float

    async def look(self, subject: ProbeTarget) -> None:  # noqa: ARG002 - asks nobody
        await anyio.sleep(self.seconds)

    def _limit(self) -> float:
        return inf if self.timeout is None else self.timeout

    def _missed(self) -> str:
        return f"{self.seconds:g} s have not passed"


@dataclass(frozen=True, slots=True)
class _Several(Probe):
    probes: tuple[Probe, ...]

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        """Whether all of them can tell that a command is still alive."""
        return all(probe.repeats for probe in self.probes)

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        return tuple(chain.from_iterable(probe.line_probes for probe in self.probes))

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(inf if self.timeout is None else self.timeout):
            return await self._ask(lambda probe: probe.wait_until_met(subject))
        return Unmet(f"not within {self.timeout:g} s")

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        # Each of them has a limit of its own, too.
        with anyio.move_on_after(inf if self.timeout is None else self.timeout):
            return await self._ask(lambda probe: probe.check_once(subject))
        return Unmet(f"no answer within {self.timeout:g} s")

    async def _ask(self, ask: Callable[[Probe], Awaitable[Exception | None]]) -> Exception | None:
        """Ask all at the same time, until the answers decide; return None for yes."""
        decided: list[Exception | None] = []
        last: Exception | None = None

        async def ask_one(probe: Probe) -> None:
            nonlocal last
            last = await ask(probe)
            if self._decides(last):
                decided.append(last)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for probe in self.probes:
                tasks.start_soon(ask_one, probe)
        return decided[0] if decided else last

    @abstractmethod
    def _decides(self, problem: Exception | None) -> bool:
        """Tell whether the answer of one of them is that of all."""


@dataclass(frozen=True, slots=True)
class _AllOf(_Several):
    def _decides(self, problem: Exception | None) -> bool:
        return problem is not None


@dataclass(frozen=True, slots=True)
class _AnyOf(_Several):
    def _decides(self, problem: Exception | None) -> bool:
        return problem is None


def _checked_address(what: str, host: object, port: object) -> tuple[str, int]:
    if not isinstance(host, str) or not host:
        raise CommandError(f"{what}: host must be a text, not {host!r}")
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise CommandError(f"{what}: port must be from 1 to 65535, not {port!r}")
    return host, port


def _credentials(netloc: str) -> str | None:
    """Return the name and password of a URL as HTTP sends them; None where there are none."""
    user, has_user, _ = netloc.rpartition("@")
    return b64encode(unquote_to_bytes(user)).decode() if has_user else None


def _check_only_what_a_probe_takes(command: Command) -> None:
    """Check that no field is given that would be of no effect, or have the probe wait for ever."""
    its = {name: getattr(command, name) for name in ("cwd", "env", "success_codes")}
    plain = Command(command.argv, name=command.name, **its)
    for spec in fields(command):
        given = getattr(command, spec.name)
        if given != getattr(plain, spec.name):
            raise CommandError(
                "command: a probe's command takes argv, cwd, env and success_codes, "
                f"not {spec.name}={given!r}"
            )


def _checked_probes(what: str, probes: tuple[object, ...]) -> tuple[Probe, ...]:
    good = tuple(probe for probe in probes if isinstance(probe, Probe))
    if not good or good != probes:
        raise CommandError(f"{what}: takes probes, at least one, not {probes!r}")
    return good
