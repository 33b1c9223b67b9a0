"""`Connection`: the driver's end of a link, from the greeting to the loss of the host.

The host may be hostile: any frame that breaks the protocol ends the connection.  A frame about a
process that was closed is dropped, because the frame may have crossed the CLOSE.
"""

from __future__ import annotations

import random
import re
import warnings
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from currant._agent.frames import FrameError, Kind, get, parse
from currant._agent.link import Link, read_some
from currant._agent.spec import encode_spec
from currant._remote.command_line import OLDEST
from currant._remote.credit import FIRST_WINDOW
from currant._remote.hold import Hold
from currant._remote.peer import Peer
from currant._remote.process import RemoteProcess
from currant._remote.shipment import Greeting, payload
from currant._remote.words import plain
from currant._synchronization import Notifier, keep_interrupts_out
from currant._values.errors import HostLostError, HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from currant._remote.streams import RemoteOutput
    from currant._remote.transport import Transport
    from currant._values.launch_spec import LaunchSpec

__all__ = ["Connection", "Heartbeat"]


VERSION = 1
"""The version of the protocol; both ends come from the same package."""

CONNECT_LIMIT = 15.0
"""Seconds until a host from which no agent has answered counts as unreachable."""

PAUSES = (0.3, 0.6, 1.2, 2.4)
"""Seconds, on average, before each further try to connect to a host that has turned us away.

An ssh server drops some of many logins at the same time (MaxStartups, 10 by default).
"""

MAX_IDENTITY = 100
"""The most characters of an identity (two numbers and a UUID), and of a Python version."""

GUARD_WARNING = re.compile(r"RuntimeWarning: (currant's orphan guard .*)")
"""What the agent writes to its stderr if it is not guarded."""

LAST_ERROR_LIMIT = 0.5
"""Seconds to wait for the last error text of a transport that has ended."""


class Heartbeat(NamedTuple):
    """How soon a driver and an agent notice each other's silence; all times in seconds.

    Attributes:
        interval: the time between two pings of the driver.
        lost: the time without a frame after which the host counts as lost.
        silence: the time without a frame after which the driver counts as gone.
    """

    interval: float = 2.0
    lost: float = 6.0
    silence: float = 30.0


class Connection:
    """The driver's end of a link.

    Args:
        host: the name of the host.
        transport: carries the bytes to the host.
        heartbeat: how soon driver and agent notice each other's silence.
        has_guard: whether the agent has an orphan guard.
        replaces: the identity of an earlier agent, which the new agent kills first if it still
            runs.
        on_change: called when the host is lost, before its processes learn that, and when the agent
            is about to end.

    Attributes:
        host: as given.
        peer: the agent, once `open` has returned.
        agent_pid: the pid of the agent.
        python: the version of the Python that runs the agent, such as ``"3.11.2"``.
        cpus: how many processors the host has.
        has_ended: whether the agent has reported that all its processes have ended, and that it
            exits.
        is_dying: whether the agent is about to end because it got a signal.
        identity: tells the agent apart from all other processes of the host; None if the host
            cannot tell.
        may_have_replaced: whether the agent was asked to kill an earlier one, and has not answered.
        is_held: whether the agent may still accept any silence of this program, because of `hold`.
            If the host is lost then, its processes may run until the agent sees the end of the
            link.
    """

    def __init__(
        self,
        host: str,
        transport: Transport,
        heartbeat: Heartbeat,
        *,
        has_guard: bool,
        replaces: str | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.host = host
        self.peer: Peer
        self._hold: Hold
        self._transport = transport
        self._heartbeat = heartbeat
        self._has_guard = has_guard
        self._replaces = replaces
        self._numbers = count(1)
        self._last_number = 0
        self._processes: dict[int, RemoteProcess] = {}
        self._is_welcome = anyio.Event()
        self._over = anyio.Event()  # no more frames will come
        self._stderr_ended = anyio.Event()
        self._sent_bye = False
        self._is_ending = False
        self._scopes: list[anyio.CancelScope] = []
        self._persisting = 0  # tasks
        self._change = Notifier()
        self._greeting = Greeting()
        self._banner = ""
        self._dying: str | None = None
        self._has_warned = False
        self.agent_pid = 0
        self.python = ""
        self.cpus = 1
        self.has_ended = False
        self._on_change = on_change or _do_nothing
        self.identity: str | None = None
        self.may_have_replaced = False

    @property
    def is_dying(self) -> bool:
        return self._dying is not None

    @property
    def is_held(self) -> bool:
        return self._hold.is_active

    # ---- from the greeting to the end ----

    async def open(self, tasks: TaskGroup) -> None:
        """Connect, and start an agent; the tasks of the link run in `tasks` until `close`.

        Raises:
            HostUnreachableError: no agent could be started.
        """
        self._tasks = tasks
        keep_interrupts_out(Connection._persist)  # The host would be lost.
        with anyio.move_on_after(CONNECT_LIMIT):
            link, rest = await self._reach(tasks)
            self.peer = Peer(self.host, link)
            self._hold = Hold(self.peer)
            tasks.start_soon(self._persist, link.write)
            tasks.start_soon(self._persist, self._read, rest)
            link.send_raw(payload())
            self.may_have_replaced = self._replaces is not None
            link.send(Kind.HELLO, 0, self._hello())
            await self._is_welcome.wait()
            if self.peer.lost is not None:
                raise HostUnreachableError(self.host, self.peer.lost)
            return
        reason = f"no agent has answered in {CONNECT_LIMIT:g} s"
        said = self._explain()
        raise HostUnreachableError(self.host, f"{reason}: {said}" if said else reason)

    def _hello(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "silence": self._heartbeat.silence,
            "guard": self._has_guard,
            "replaces": self._replaces,
        }

    async def close(self) -> None:
        """End all processes, and the agent."""
        self._sent_bye = True
        if self._is_welcome.is_set():
            self.peer.link.send(Kind.BYE)
            with self.peer.expecting():
                await self._over.wait()
        self._is_ending = True
        for scope in self._scopes:
            scope.cancel()
        # Only then: another connection may get the numbers of the files at once.
        await self._change.wait_for(lambda: not self._persisting)
        await self._transport.aclose()

    async def lost(self) -> HostLostError:
        """Wait until the host is lost, and return the error; after `close`, wait for ever.

        Cancellation: harmless.
        """
        await self._over.wait()
        if self.peer.lost is None or self._sent_bye:
            await anyio.sleep_forever()
        return HostLostError(self.host, str(self.peer.lost))

    async def hold(self) -> None:
        """Ask the agent to accept any silence, until this program has run for one more interval."""
        await self._hold.begin(self._heartbeat.interval)

    async def _reach(self, tasks: TaskGroup) -> tuple[Link, bytes]:
        """Open the transport, and again if the host turns us away; return the link.

        Return also the bytes that came after the greeting.
        """
        for pause in PAUSES:
            try:
                return await self._open_transport(tasks)
            except HostUnreachableError:
                if not self._transport.was_turned_away():
                    raise
            await self._transport.aclose()
            await anyio.sleep(pause * random.uniform(0.5, 1.5))
        return await self._open_transport(tasks)

    async def _open_transport(self, tasks: TaskGroup) -> tuple[Link, bytes]:
        try:
            read_fd, write_fd = self._transport.open()
        # A transport may need a thread, and the system may permit no more: a RuntimeError.
        except (OSError, RuntimeError) as error:
            raise HostUnreachableError(self.host, str(error)) from error
        self._stderr_ended = anyio.Event()
        tasks.start_soon(self._persist, self._listen)
        rest = await self._greet(read_fd)
        return Link(read_fd, write_fd), rest

    async def _greet(self, read_fd: int) -> bytes:
        """Wait for the greeting of the first program; return the bytes that came after it."""
        self._greeting = greeting = Greeting()
        try:
            while greeting.version is None:
                data = await read_some(read_fd)
                if not data:
                    await self._wait_for_last_error()
                    raise HostUnreachableError(
                        self.host, self._explain() or "it has closed the connection"
                    )
                greeting.feed(data)
        except ValueError as error:
            raise HostUnreachableError(self.host, str(error)) from error
        if greeting.version < OLDEST:
            found, needed = (".".join(map(str, each)) for each in (greeting.version, OLDEST))
            raise HostUnreachableError(
                self.host,
                f"Python {found} on {self.host} is too old: currant needs {needed} or newer; "
                "name another one by Host(python=...)",
            )
        return greeting.rest

    async def _persist(self, call: Callable[..., Awaitable[object]], *args: object) -> None:
        """Call a function, and call it again after each cancellation, until `close`.

        The tasks of a link must go on if the scope around them is cancelled, because without them
        no process on the host could be stopped.  A shield is not enough: at its end, `asyncio.run`
        cancels each task directly.
        """
        self._persisting += 1
        try:
            while not self._is_ending:
                try:
                    with anyio.CancelScope(shield=True) as scope:  # Bounded: by `close`.
                        self._scopes.append(scope)
                        await call(*args)
                    return  # noqa: TRY300 - also after `close`
                except anyio.get_cancelled_exc_class():
                    if self._is_ending:
                        raise
                    args = ()  # The first call has handled the bytes after the greeting.
        finally:
            self._persisting -= 1
            self._change.notify_all()

    async def _listen(self) -> None:
        stderr_ended = self._stderr_ended
        try:
            await self._transport.listen()
        finally:
            stderr_ended.set()

    async def _wait_for_last_error(self) -> None:
        with anyio.move_on_after(LAST_ERROR_LIMIT):
            await self._stderr_ended.wait()

    async def _read(self, rest: bytes = b"") -> None:
        try:
            self.peer.link.receive(rest, self._handle)
            await self.peer.link.read(self._handle)
        except FrameError as error:
            self._lose(plain(f"it does not keep to the protocol: {error}"))
            return
        if not self._over.is_set():
            await self._wait_for_last_error()
            self._lose(self._explain() or "the connection has ended")

    def _explain(self) -> str:
        """Return why the host is unreachable or lost, in its own words and those of the transport.

        What was said before the agent has answered, such as a banner, does not explain a loss.
        """
        said = self._transport.said().removeprefix(self._banner).strip()
        return plain("\n".join(filter(None, (self._greeting.noise, said))))

    async def _beat(self) -> None:
        """Ping the agent at each interval; the host is lost if the agent is silent for too long."""
        while not self._over.is_set():
            self.peer.ping()
            self._pass_on_warning()
            woken_at = anyio.current_time() + self._heartbeat.interval
            await anyio.sleep(self._heartbeat.interval)
            now = anyio.current_time()
            if self._hold.expire():
                self._tasks.start_soon(self._persist, self._hold.end)
            # A program that was suspended must first read the frames that came meanwhile.
            was_suspended = now > woken_at + self._heartbeat.interval
            if now > self.peer.link.heard_at + self._heartbeat.lost and not was_suspended:
                self._lose(f"it was silent for {self._heartbeat.lost:g} s")
            elif self.peer.is_overdue and not was_suspended:
                self._lose("it answers, but does not do what it is asked to")

    def _pass_on_warning(self) -> None:
        """Warn, once, if the agent has warned that no helper would end its commands."""
        if not self._has_warned and (warning := GUARD_WARNING.search(self._transport.said())):
            self._has_warned = True
            text = f"on {self.host}: {plain(warning[1])}"
            warnings.warn(text, RuntimeWarning, stacklevel=1)

    def _lose(self, reason: str) -> None:
        """Note that the host is lost, or that the agent has ended on request."""
        if self._over.is_set():
            return
        if self._dying is not None:
            reason = f"{self._dying}; {reason}"
        self.peer.lose(reason)
        self._on_change()
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.note_lost(reason)
        self._is_welcome.set()
        self._over.set()

    # ---- for processes ----

    def start(self, spec: LaunchSpec) -> RemoteProcess:
        """Ask the agent to start a command, and return the process at once.

        `RemoteProcess.started` is set when the process runs, or could not be started.
        """
        self._last_number = number = next(self._numbers)
        process = RemoteProcess(number, spec, self.peer)
        if self.peer.lost is not None:
            process.note_lost(self.peer.lost)
            return process
        self._processes[number] = process
        body = {"spec": encode_spec(spec), "window": FIRST_WINDOW}
        self.peer.link.send(Kind.START, number, body)
        return process

    # ---- frames ----

    def _handle(self, kind: Kind, number: int, body: bytes) -> None:
        if (process := self._processes.get(number)) is not None:
            self._handle_for(process, kind, body)
        elif kind == Kind.WELCOME:
            self._welcome(parse(body))
        elif kind == Kind.ANSWER:
            self.peer.take_answer(parse(body))
        elif kind == Kind.DYING:
            self._dying = plain(get(parse(body), "reason", str))
            self._on_change()
        elif kind == Kind.GONE:
            self.has_ended = True
            self._lose("the agent has ended")
        elif kind == Kind.PONG:
            self.peer.take_pong()
        elif not 0 < number <= self._last_number:
            raise FrameError(f"a {kind.name} about a process {number}")

    def _handle_for(self, process: RemoteProcess, kind: Kind, body: bytes) -> None:
        if kind in (Kind.OUT, Kind.ERR):
            self._stream_of(process, is_stderr=kind == Kind.ERR).feed(body)
        elif kind == Kind.EOF:
            self._stream_of(process, is_stderr=body == b"\1").end()
        elif kind == Kind.STARTED:
            process.note_started(get(parse(body), "pid", int))
        elif kind == Kind.FAILED:
            process.note_failed(plain(get(parse(body), "reason", str)))
            # Last: if the frame is invalid, the process is lost with the host.
            del self._processes[process.number]
        elif kind == Kind.EXIT:
            process.note_exit(parse(body))
        elif kind == Kind.CLOSED:
            process.note_closed(parse(body))
            del self._processes[process.number]
        elif kind in (Kind.TAKEN, Kind.UNREAD) and process.stdin is not None:
            if kind == Kind.UNREAD:
                process.stdin.break_off()
            else:
                process.stdin.note_taken(get(parse(body), "count", int))
        else:
            raise FrameError(f"a {kind.name} about a process")

    @staticmethod
    def _stream_of(process: RemoteProcess, *, is_stderr: bool) -> RemoteOutput:
        stream = process.stderr if is_stderr else process.stdout
        if stream is None:
            raise FrameError("output of a stream that is not read")
        return stream

    def _welcome(self, body: dict[str, Any]) -> None:
        if self._is_welcome.is_set():
            raise FrameError("a second WELCOME")
        self.agent_pid = get(body, "pid", int)
        self.python = plain(str(body.get("python", "")))[:MAX_IDENTITY]
        self.cpus = max(1, get(body, "cpus", int)) if "cpus" in body else 1
        if body.get("identity") is not None:
            self.identity = get(body, "identity", str)[:MAX_IDENTITY]
        self._banner = self._transport.said()
        self.may_have_replaced = False
        self._is_welcome.set()
        # From now on `close` waits for the agent, even if a cancellation of `open` comes next.
        self._tasks.start_soon(self._persist, self._beat)


def _do_nothing() -> None:
    pass
