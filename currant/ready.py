"""Probes: checks of whether a command is ready, and whether it is still alive.

Pass a probe as `Command.ready`, or as `Command.alive`::

    from currant import Command, ready

    db = Command(["postgres", "-D", "data"], ready=ready.tcp("127.0.0.1", 5432))
    health = ready.http("http://127.0.0.1:8000/health")
    web = Command(["serve"], ready=health, alive=health, after="db")

`line` and `delay` happen once, so they cannot be `Command.alive`.

`interval` and `timeout` are in seconds.  By default, `Command.ready` is checked every 0.1 s for at
most 60 s, of which a single check may take 5 s.  Once the command is ready, `Command.alive` is
checked every 5 s, and a single check may take 1 s: in `Command.alive`, `timeout` limits a single
check.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from inspect import isawaitable
from ipaddress import ip_address
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, ClassVar, cast
from urllib.parse import unquote_to_bytes, urlsplit

import anyio

from currant._values.checks import check_count, check_flag, check_seconds
from currant._values.command import CommandLike, as_command, check_is_plain
from currant._values.errors import CommandError
from currant._values.line_pattern import LinePattern
from currant._values.probe import READY_TIMEOUT, Probe, ProbeCommand, Unmet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant._values.answer import Answer
    from currant._values.line_pattern import Lines
    from currant._values.lines import StreamName
    from currant._values.probe import LineProbe, ProbeTarget

__all__ = ["Probe", "all_of", "any_of", "command", "delay", "http", "line", "tcp", "when"]

STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
MAX_STATUS_LINE = 1024
"""Bytes after which a response without a line ending is not HTTP."""

READY_INTERVAL = 0.1
"""The default seconds between two checks of a command that is not ready yet."""

READY_CHECK_TIMEOUT = 5.0
"""Seconds that a single check may take of a command that is not ready yet."""

ALIVE_CHECK_TIMEOUT = 1.0
"""The default seconds that a single check may take of a command that is ready."""


def line(
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes],
    stream: StreamName | None = None,
    *,
    raw: bool = False,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that waits for a line of output that matches a regular expression.

    Wait until a server writes that it is running::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            serving = ready.line("^Serving HTTP", "stdout")
            await runner.start(Command.parse("python -u -m http.server 8000", ready=serving))
            runner.kill()

    Args:
        pattern: a regular expression, searched for in each line: in the text if it is a str (UTF-8;
            U+FFFD replaces invalid bytes), in the bytes if it is bytes.  An unfinished line, such
            as a prompt, counts too.  If a line of more than 8 KiB arrives in several parts, a match
            is found if it is not longer than that.
        stream: ``"stdout"`` or ``"stderr"``; None: both.
        raw: whether escape sequences (colours, cursor movements, hyperlinks) are searched too.  By
            default they are left out, so that a pattern matches what a person reads.
        interval: no effect, because each line is checked when it arrives.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise CommandError(f"line: {pattern!r} is not a regular expression: {error}") from error
    if stream not in (None, "stdout", "stderr"):
        raise CommandError(f"line: stream must be 'stdout', 'stderr' or None, not {stream!r}")
    check_flag("line: raw", raw)
    return _Line(LinePattern(compiled, raw), stream, interval=interval, timeout=timeout)


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

    On Linux, the probe fails if the port belongs to another process of this host, unless `own` is
    False.

    Args:
        host: a host name or an address.
        port: 1 to 65535.
        own: whether the port must be the command's own.  False: another process of this host may
            have opened the port on behalf of the command, as Docker and systemd do.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("tcp: own", own)
    address = _checked_address("tcp", host, port)
    return _Tcp(*address, own, interval=interval, timeout=timeout)


def http(
    url: str,
    status: int | Collection[int] = 200,
    *,
    own: bool = True,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that sends a GET request to the command and checks the status code.

    Wait until a server answers::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            healthy = ready.http("http://127.0.0.1:8000/", status=(200, 204))
            await runner.start(Command.parse("python -m http.server 8000", ready=healthy))
            runner.kill()

    On Linux, the probe fails if the port belongs to another process of this host, unless `own` is
    False.  Redirects are not followed.

    Args:
        url: a URL that starts with ``http://``; if it contains a user name and a password
            (``http://user:password@host``), both are sent (RFC 7617).
        status: the expected status code, or a collection of codes.
        own: whether the port must be the command's own.  False: another process of this host may
            have opened the port on behalf of the command, as Docker and systemd do.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("http: own", own)
    codes = tuple(status) if isinstance(status, Collection) else (status,)
    if not codes or not all(code in range(100, 600) for code in codes):
        raise CommandError(f"http: status must be an integer from 100 to 599, not {status!r}")
    try:
        parts = urlsplit(str(url))
        port = 80 if parts.port is None else parts.port
    except ValueError as error:
        raise CommandError(f"http: {url!r} is not a URL: {error}") from error
    if parts.scheme == "https":
        raise CommandError(
            f"http: url must start with http://, not {url!r}: https:// is not supported; "
            "use an http:// address of the server, ready.tcp for the port alone, or "
            "ready.command(['curl', '-fsS', 'https://...'])"
        )
    is_plain = (
        isinstance(cast("object", url), str)
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )
    if parts.scheme != "http" or not parts.hostname or not is_plain:
        raise CommandError(f"http: url must start with http:// and a host, in ASCII, not {url!r}")
    host, port = _checked_address("http", parts.hostname, port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Http(
        host,
        port,
        parts.netloc.rpartition("@")[2],
        _credentials(parts.netloc),
        target,
        codes,
        own,
        interval=interval,
        timeout=timeout,
    )


def command(
    argv: CommandLike, *, interval: float | None = None, timeout: float | None = None
) -> Probe:
    """Return a probe that runs another command and succeeds if that command does.

    Wait until a program has created a file::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            exists = ready.command("test -e started")
            await runner.start(Command.shell("touch started; sleep 60", ready=exists))
            runner.kill()

    The other command runs on the same host.  It has the working directory and the variables of the
    command that it checks, unless it sets others.

    Args:
        argv: a str, a sequence of words, or a `Command`, of which only `argv`, `cwd`, `env` and
            `success_codes` may be set.
        interval: seconds between two runs.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    given = as_command(argv)
    check_is_plain("command", given)
    checker = ProbeCommand(given.argv, given.cwd, dict(given.env), given.success_codes)
    return _Command(checker, interval=interval, timeout=timeout)


def when(
    check: Callable[[], object],
    *,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that calls a function of yours and succeeds if the result is true.

    Wait until a program has created a file::

        import anyio
        from currant import Command, Runner, ready

        async def exists() -> bool:
            return await anyio.Path("started").exists()

        async with Runner() as runner:
            await runner.start(Command.shell("touch started; sleep 60", ready=ready.when(exists)))
            runner.kill()

    Args:
        check: an async function without parameters.  An exception counts as a failure.  The
            function must end if it is cancelled; a check in a thread that cannot be cancelled
            delays the timeout until the thread ends.  A synchronous function works too, if it never
            blocks.
        interval: seconds between two calls.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    if not callable(check):
        raise CommandError(f"when: check must be an async function, not {check!r}")
    return _When(check, interval=interval, timeout=timeout)


def delay(seconds: float, *, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe that waits for a number of seconds.

    Give a program half a second if there is nothing to check::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            await runner.start(Command.parse("sleep 60", ready=ready.delay(0.5)))
            runner.kill()

    Args:
        seconds: the delay since the start of the command.
        interval: no effect.
        timeout: seconds after which the probe fails; None: never.

    Raises:
        CommandError: an argument is invalid.
    """
    check_seconds("delay: seconds", seconds, optional=False)
    return _Delay(seconds, interval=interval, timeout=timeout)


def all_of(*probes: Probe, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe that succeeds if all of its parts do.

    Wait until a server answers and has loaded its data::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            up = ready.all_of(ready.line("loaded"), ready.tcp("127.0.0.1", 8000))
            serve = Command.shell("echo loaded; exec python -m http.server 8000", ready=up)
            await runner.start(serve)
            runner.kill()

    Args:
        probes: at least one probe; each keeps its own interval and timeout.
        interval: seconds between two checks of a command that is ready.
        timeout: seconds until all must have succeeded; None: only the timeouts of the parts.

    Raises:
        CommandError: an argument is invalid.
    """
    return _AllOf(_checked_probes("all_of", probes), interval=interval, timeout=timeout)


def any_of(*probes: Probe, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe that succeeds if one of its parts does.

    Wait until a server answers, but no longer than ten seconds::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            up = ready.any_of(ready.tcp("127.0.0.1", 8000), ready.delay(10))
            await runner.start(Command.parse("python -m http.server 8000", ready=up))
            runner.kill()

    Args:
        probes: at least one probe; each keeps its own interval and timeout.
        interval: seconds between two checks of a command that is ready.
        timeout: seconds until one must have succeeded; None: only the timeouts of the parts.

    Raises:
        CommandError: an argument is invalid.
    """
    return _AnyOf(_checked_probes("any_of", probes), interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Polled(Probe):
    """A probe that repeats its check."""

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        """Repeat the check until it succeeds; return None, or the last failure at the timeout.

        Cancellation: harmless.
        """
        last: Exception = Unmet("no answer")
        with anyio.move_on_after(READY_TIMEOUT if self.timeout is None else self.timeout):
            while True:
                failure = await self._check_within(READY_CHECK_TIMEOUT, subject)
                if failure is None:
                    return None
                last = failure
                await anyio.sleep(READY_INTERVAL if self.interval is None else self.interval)
                last = Unmet(f"no answer to the last check; the check before: {failure}")
        return last

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        """Check once, and return None or the failure.

        Cancellation: harmless.
        """
        timeout = ALIVE_CHECK_TIMEOUT if self.timeout is None else self.timeout
        return await self._check_within(timeout, subject)

    async def _check_within(self, seconds: float, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(seconds):
            try:
                await self.check(subject)
            except anyio.get_cancelled_exc_class():
                if anyio.current_effective_deadline() == -inf:
                    raise
                return Unmet("the check was cancelled")  # by code that the check has called
            except Exception as raised:  # the caller's code may raise anything
                return raised
            return None
        return Unmet(f"no answer within {seconds:g} s")

    @abstractmethod
    async def check(self, subject: ProbeTarget) -> None:
        """Check once, and return if the check succeeds.

        Raises:
            Exception: the check failed; the message says what was found instead.
        """


class _Once(Probe):
    """A probe that waits for an event that happens once."""

    __slots__ = ()

    repeats: ClassVar[bool] = False

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(self._time_limit()):
            await self._wait(subject)
            return None
        return Unmet(self._missing())

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        return await self.wait_until_met(subject)  # `Command.alive` refuses this probe

    @abstractmethod
    async def _wait(self, subject: ProbeTarget) -> None:
        """Wait for the event."""

    def _time_limit(self) -> float:
        return READY_TIMEOUT if self.timeout is None else self.timeout

    @abstractmethod
    def _missing(self) -> str:
        """Return a description of the event that has not happened."""


@dataclass(frozen=True, slots=True)
class _Line(_Once):
    pattern: LinePattern
    stream: StreamName | None

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        return (self,)

    async def _wait(self, subject: ProbeTarget) -> None:
        await subject.line(self)

    def _missing(self) -> str:
        return f"no line matches {self.pattern.pattern.pattern!r}"

    def found_in(self, lines: Lines, stream: StreamName) -> bool | None:
        return self.stream in (None, stream) and self.pattern.found_in(lines)


@dataclass(frozen=True, slots=True)
class _Tcp(_Polled):
    host: str
    port: int
    own: bool

    async def check(self, subject: ProbeTarget) -> None:
        answer = await _exchange(subject, self.host, self.port)
        _check_owner(answer, self.port, own=self.own)


@dataclass(frozen=True, slots=True)
class _Http(_Polled):
    host: str
    port: int
    authority: str
    credentials: str | None = field(repr=False)
    target: str
    codes: Collection[int]
    own: bool

    async def check(self, subject: ProbeTarget) -> None:
        request = (
            f"GET {self.target} HTTP/1.1\r\nHost: {self.authority}\r\n"
            "User-Agent: currant\r\nAccept: */*\r\nConnection: close\r\n"
        )
        if self.credentials is not None:
            request += f"Authorization: Basic {self.credentials}\r\n"
        line = f"{request}\r\n".encode()
        answer = await _exchange(subject, self.host, self.port, line, MAX_STATUS_LINE)
        # The owner comes first: the server of another process explains any response.
        _check_owner(answer, self.port, own=self.own)
        self._check_response(answer.data)

    def _check_response(self, response: bytes) -> None:
        url = f"http://{self.authority}{self.target}"
        if b"\n" not in response and len(response) < MAX_STATUS_LINE:
            raise Unmet(f"{url} closed the connection without a response")
        status = STATUS_LINE.match(response)
        if status is None:
            raise Unmet(f"{url} sent a response that is not HTTP")
        if int(status[1]) not in self.codes:
            raise Unmet(f"{url} responded with status {status[1].decode()}")


async def _exchange(
    subject: ProbeTarget, host: str, port: int, request: bytes = b"", most: int = 0
) -> Answer:
    try:
        return await subject.exchange(host, port, request, most)
    except OSError as error:
        reason = error.strerror or error
        raise Unmet(f"cannot connect to {host}, port {port}: {reason}") from error


def _check_owner(answer: Answer, port: int, *, own: bool) -> None:
    """Check that the server is the command's, if `own`, and if the system can show the owner."""
    if own and answer.is_its_own is False:
        raise Unmet(
            f"port {port} belongs to another process; end that process, or if it opened the port "
            "on behalf of the command, pass own=False to the probe"
        )


@dataclass(frozen=True, slots=True)
class _Command(_Polled):
    command: ProbeCommand

    async def check(self, subject: ProbeTarget) -> None:
        outcome = await subject.run(self.command)
        if outcome.code not in self.command.success_codes:
            raise Unmet(f"{self.command}: {outcome}")


@dataclass(frozen=True, slots=True)
class _When(_Polled):
    function: Callable[[], object]

    async def check(self, subject: ProbeTarget) -> None:  # noqa: ARG002 - the function needs none
        result = self.function()
        if isawaitable(result):
            result = await result
        if not result:
            name = getattr(self.function, "__qualname__", self.function)
            raise Unmet(f"{name} returned {result!r}")


@dataclass(frozen=True, slots=True)
class _Delay(_Once):
    seconds: float

    async def _wait(self, subject: ProbeTarget) -> None:  # noqa: ARG002 - a clock is enough
        await anyio.sleep(self.seconds)

    def _time_limit(self) -> float:
        return inf if self.timeout is None else self.timeout

    def _missing(self) -> str:
        return f"{self.seconds:g} s have not passed"


@dataclass(frozen=True, slots=True)
class _Several(Probe):
    probes: tuple[Probe, ...]

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        """Whether all parts can be repeated."""
        return all(probe.repeats for probe in self.probes)

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        return tuple(chain.from_iterable(probe.line_probes for probe in self.probes))

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(inf if self.timeout is None else self.timeout):
            return await self._run_all(lambda probe: probe.wait_until_met(subject))
        return Unmet(f"not met within {self.timeout:g} s")

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        # Without a timeout here, the timeout of each part is the limit.
        with anyio.move_on_after(inf if self.timeout is None else self.timeout):
            return await self._run_all(lambda probe: probe.check_once(subject))
        return Unmet(f"no answer within {self.timeout:g} s")

    async def _run_all(
        self, run: Callable[[Probe], Awaitable[Exception | None]]
    ) -> Exception | None:
        """Run all parts concurrently until the outcome is decided; return None or a failure."""
        decisive: list[Exception | None] = []
        last: Exception | None = None

        async def run_one(probe: Probe) -> None:
            nonlocal last
            last = await run(probe)
            if self._is_decisive(last):
                decisive.append(last)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for probe in self.probes:
                tasks.start_soon(run_one, probe)
        return decisive[0] if decisive else last

    @abstractmethod
    def _is_decisive(self, failure: Exception | None) -> bool:
        """Return whether the outcome of one part decides the outcome of the whole."""


@dataclass(frozen=True, slots=True)
class _AllOf(_Several):
    def _is_decisive(self, failure: Exception | None) -> bool:
        return failure is not None


@dataclass(frozen=True, slots=True)
class _AnyOf(_Several):
    def _is_decisive(self, failure: Exception | None) -> bool:
        return failure is None


def _checked_address(what: str, host: object, port: object) -> tuple[str, int]:
    if not isinstance(host, str) or not host:
        raise CommandError(f"{what}: host must be a non-empty str, not {host!r}")
    if ":" in host and not _is_ip_address(host):
        raise CommandError(f"{what}: host must be a name or an address alone, not {host!r}")
    check_count(f"{what}: port", port, 65535)
    return host, cast("int", port)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _credentials(netloc: str) -> str | None:
    """Return the user name and password of a URL as HTTP sends them, or None if there are none."""
    user, has_user, _ = netloc.rpartition("@")
    return b64encode(unquote_to_bytes(user)).decode() if has_user else None


def _checked_probes(what: str, probes: tuple[object, ...]) -> tuple[Probe, ...]:
    checked = tuple(probe for probe in probes if isinstance(probe, Probe))
    if not checked or checked != probes:
        raise CommandError(f"{what}: arguments must be one or more probes, not {probes!r}")
    return checked
