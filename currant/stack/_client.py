"""`StackClient`: talk to a running stack, from any program."""

from __future__ import annotations

import base64
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio

from currant._values.errors import CurrantError
from currant._values.wire import decode, decode_exit
from currant.stack._configuration import Difference
from currant.stack._errors import NoStackError, ProtocolVersionError, RequestError, StackError
from currant.stack._folder import StackInfo, find_stack
from currant.stack._protocol import MAX_REQUEST, VERSION, LineBuffer, encode, parse_object
from currant.stack._stream import StackStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from typing import Self

    from currant._values.exit import Exit
    from currant._values.messages import Message
    from currant.stack._errors import ErrorKind

__all__ = ["Attachment", "CommandInfo", "Listing", "StackClient"]

MAX_ANSWER = 64 << 20
"""Bytes of a line from the stack: a list of very many commands, or a very long line of output."""

MAX_INPUT = MAX_REQUEST // 2
"""Bytes of input in one request.  Base64 turns three bytes into four."""


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """The state of a command of a stack.

    Attributes:
        name: the command's name.
        state: ``"queued"``, ``"running"``, ``"restarting"`` or ``"stopping"``; at the end
            ``"succeeded"``, ``"failed"``, ``"stopped"`` or ``"skipped"``.
        ready: whether the process runs and is ready.
        pid: the process; None while none runs.
        host: the host of the process; None: the machine of the stack.
        restarts: how often the command has been restarted.
        started_at: the start of the process, in seconds since the epoch; None while none runs.
        processes: how many processes the session of the command has, with their descendants; None
            if that is unknown.
        memory: the bytes of memory that these processes use.
        cpu: the seconds of CPU time that these processes have used.
        exit: how the last process ended; None if a process runs, or if no process has run.
        error: why the command has failed or was skipped, if the exit alone does not say so.
        command: the command line.
        failure: how the last attempt that has ended has failed, in a line; None if it has not, or
            if a client has started the command since then.  The command may be ready again.
    """

    name: str
    state: str
    ready: bool
    pid: int | None
    host: str | None
    restarts: int
    started_at: float | None
    processes: int | None
    memory: int | None
    cpu: float | None
    exit: Exit | None
    error: str | None
    command: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The commands that a request was about, and their problems.

    Attributes:
        commands: the commands that the request was about.
        problems: for each command that could not be started, stopped or waited for: the reason.
        started: the names of the commands that `StackClient.start` has started.
        is_ending: whether the stack was ending when it answered; False if the answer does not say
            so.
    """

    commands: tuple[CommandInfo, ...]
    problems: Mapping[str, str]
    started: tuple[str, ...] = ()
    is_ending: bool = False


class StackClient:
    """A client of the stack of a folder; each call makes a connection of its own.

    Restart a command, and read the output of another from then on::

        from currant.stack import StackClient

        async def main() -> None:
            stack = StackClient.find()
            await stack.restart(["web"])
            async for message in stack.logs(["worker"], last=0, follow=True):
                print(message)

    Every call may raise `NoStackError` if the stack has ended, `ProtocolVersionError`, and
    `RequestError` if the stack refuses the request.  ``web`` stands for ``web.1`` and ``web.2``,
    too.

    Args:
        folder: the folder of the stack, for errors.
        socket: the path of the socket.
    """

    def __init__(self, folder: str, socket: str) -> None:
        self.folder: str = folder
        self.socket: str = socket

    @classmethod
    def find(cls, folder: str | None = None) -> Self:
        """Return a client of the stack of a folder, or of the nearest parent with a stack.

        Args:
            folder: the folder; None: the current folder.

        Raises:
            NoStackError: no stack runs in the folder or its parents.
            StackFolderError: other users may enter the folder of the sockets.
        """
        paths = find_stack(folder)
        return cls(paths.folder, paths.socket)

    def __repr__(self) -> str:
        return f"<StackClient of {self.folder!r}>"

    async def info(self) -> StackInfo:
        """Return the process, the folder and the log of the stack.  Cancellation: harmless."""
        answer = await self._ask({"request": "list"})
        stack = cast("dict[str, Any]", answer["stack"])
        return StackInfo(stack["pid"], stack["folder"], stack["log"], stack["started_at"])

    async def list(self) -> Listing:
        """Return the state of all commands.  Cancellation: harmless."""
        return _listing(await self._ask({"request": "list"}))

    async def start(self, names: Sequence[str] = ()) -> Listing:
        """Start commands that have ended, with what they need, and wait until they are ready.

        Cancellation: the commands go on.

        Args:
            names: the commands; empty: all that have not succeeded.
        """
        return _listing(await self._ask({"request": "start", "names": list(names)}))

    async def stop(self, names: Sequence[str] = (), *, now: bool = False) -> Listing:
        """Stop commands, and wait until they have ended.

        Cancellation: the commands are stopped nevertheless.

        Args:
            names: the commands; empty: all.  The stack itself goes on.
            now: whether to skip the rest of the grace.
        """
        return _listing(await self._ask({"request": "stop", "names": list(names), "now": now}))

    async def restart(self, names: Sequence[str] = ()) -> Listing:
        """Restart commands, and wait until they are ready; without names, all that have not ended.

        Cancellation: the commands are restarted nevertheless.
        """
        return _listing(await self._ask({"request": "restart", "names": list(names)}))

    async def signal(
        self, signal: str | int, name: str, to: Literal["group", "leader"] = "group"
    ) -> int:
        """Send a signal to the process group of a command; return how many commands it reached.

        Cancellation: the signal may or may not have been sent.
        """
        request = {"request": "signal", "name": name, "signal": signal, "to": to}
        return cast("int", (await self._ask(request))["reached"])

    async def wait(
        self,
        names: Sequence[str] = (),
        until: Literal["ready", "ended"] = "ended",
        timeout: float | None = None,  # noqa: ASYNC109 - the stack's clock counts
    ) -> Listing:
        """Wait until commands are ready, or have ended.

        Cancellation: harmless.

        Args:
            names: the commands; empty: all.
            until: ``"ready"`` or ``"ended"``.
            timeout: seconds; None: no limit.
        """
        request = {"request": "wait", "names": list(names), "until": until, "timeout": timeout}
        return _listing(await self._ask(request))

    async def send(self, name: str, data: bytes) -> None:
        """Write to the stdin of a command, which needs ``stdin=PIPE`` or a `pty`.

        Cancellation: a part of the data may have been written.
        """
        for part in _parts_of(data):
            await self._ask({"request": "send", "name": name, "data": part})

    async def logs(
        self,
        names: Sequence[str] = (),
        *,
        last: int | None = None,
        since: float | None = None,
        follow: bool = False,
        events: bool = False,
    ) -> AsyncGenerator[Message]:
        """Iterate over the output that the stack keeps, and with `follow` over later output, too.

        A `Dropped` has the number of lines that are missing, because the loop was too slow.
        Use `contextlib.aclosing` if you may leave the loop early.
        Cancellation: harmless.

        Args:
            names: the commands; empty: all.
            last: the number of last lines to begin with; None: all lines that the stack keeps.
            since: the time of the first line, in seconds since the epoch; None: any.
            follow: whether to go on until the stack ends.
            events: whether to get the other messages, too.
        """
        request = {
            "request": "logs",
            "names": list(names),
            "last": last,
            "since": since,
            "follow": follow,
            "events": events,
        }
        async with self._connected() as connection:
            await connection.send(request)
            async with aclosing(connection.objects()) as objects:
                async for each in objects:
                    message = _message(each)
                    if message is not None:
                        yield message

    async def reload(self, *, apply: bool = True) -> tuple[Difference, Listing]:
        """Let the stack read its configuration again; return the difference and the new states.

        Cancellation: some commands may not have been started again.

        Args:
            apply: whether to start, stop and restart commands; False: return the difference alone.
        """
        async with aclosing(self.reloading(apply=apply)) as steps:
            change = await anext(steps)
            listing = await anext(steps)
        assert isinstance(change, Difference)
        assert isinstance(listing, Listing)
        return change, listing

    async def reloading(self, *, apply: bool = True) -> AsyncGenerator[Difference | Listing]:
        """Do the same as `reload`, but yield the difference before commands start or stop.

        Cancellation: some commands may not have been started again.
        """
        async with self._connected() as connection:
            await connection.send({"request": "reload", "apply": apply})
            async with aclosing(connection.objects()) as objects:
                async for each in objects:
                    yield _difference(each) if each["type"] == "difference" else _listing(each)

    async def down(self, *, now: bool = False) -> Listing:
        """Stop all commands and end the stack; return when the stack has ended.

        Cancellation: the stack ends nevertheless.

        Args:
            now: whether to skip the rest of the grace if the stack is ending already.
        """
        return _listing(await self._ask({"request": "down", "now": now}))

    @asynccontextmanager
    async def attach(
        self, name: str, rows: int | None = None, columns: int | None = None
    ) -> AsyncGenerator[Attachment]:
        """Connect to a command, to read its output and to type.

        Args:
            name: the command.
            rows: the rows of the terminal of this program; None: there is no terminal.
            columns: the columns of that terminal.
        """
        async with self._connected() as connection:
            request = {"request": "attach", "name": name, "rows": rows, "columns": columns}
            await connection.send(request)
            async with aclosing(connection.objects()) as objects:
                attached = await anext(objects)
                stdin = cast("Literal['terminal', 'pipe'] | None", attached["stdin"])
                yield Attachment(connection, objects, str(attached["name"]), stdin)

    async def _ask(self, request: Mapping[str, object]) -> dict[str, object]:
        """Send a request, and return the answer."""
        async with self._connected() as connection:
            await connection.send(request)
            async with aclosing(connection.objects()) as objects:
                async for each in objects:
                    if each["type"] == "answer":
                        return each
        raise StackError(f"the stack of {self.folder} has ended before it answered")

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[_Connection]:
        try:
            stream = await StackStream.connect(self.socket)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoStackError(self.folder) from error
        except OSError as error:
            raise StackError(f"cannot connect to {self.socket}: {error.strerror}") from error
        try:
            yield _Connection(stream, self.folder)
        finally:
            with anyio.CancelScope(shield=True):  # Bounded: a forced close does not wait.
                await anyio.aclose_forcefully(stream)


class Attachment:
    """A client that is attached to a command; made by `StackClient.attach`.

    Attributes:
        name: the command.
        stdin: what it reads: ``"terminal"``, ``"pipe"``, or None if it reads nothing.
    """

    def __init__(
        self,
        connection: _Connection,
        objects: AsyncGenerator[dict[str, object]],
        name: str,
        stdin: Literal["terminal", "pipe"] | None,
    ) -> None:
        self.name: str = name
        self.stdin: Literal["terminal", "pipe"] | None = stdin
        self._connection = connection
        self._objects = objects

    async def send(self, data: bytes) -> None:
        """Type `data`.  Cancellation: a part may have been typed."""
        for part in _parts_of(data):
            await self._connection.send_line({"data": part})

    async def resize(self, rows: int, columns: int) -> None:
        """Send the new size of this program's terminal.  Cancellation: it may have been sent."""
        await self._connection.send_line({"rows": rows, "columns": columns})

    async def output(self) -> AsyncGenerator[bytes | CommandInfo]:
        """Yield the bytes that the command writes, and at the end the state of the command.

        Cancellation: harmless.
        """
        async for each in self._objects:
            if each["type"] == "output":
                yield base64.b64decode(cast("str", each["data"]))
            elif each["type"] == "answer":
                yield _listing(each).commands[0]


class _Connection:
    """A connection: one request, and the objects with which the stack answers."""

    def __init__(self, stream: StackStream, folder: str) -> None:
        self._stream = stream
        self._folder = folder
        self._lines = LineBuffer(MAX_ANSWER)

    async def send(self, request: Mapping[str, object]) -> None:
        """Send the request."""
        await self.send_line({"version": VERSION, **request})

    async def send_line(self, value: Mapping[str, object]) -> None:
        """Send an object.  If the stack has stopped reading, its answer gives the reason."""
        try:
            await self._stream.send(encode(value))
        except anyio.BrokenResourceError:
            return

    async def objects(self) -> AsyncGenerator[dict[str, object]]:
        """Yield the objects up to the answer.

        Raises:
            RequestError: the stack has refused the request.
            ProtocolVersionError: the stack speaks another version.
            StackError: the connection has ended before the answer.
        """
        while True:
            line = self._lines.take()
            if line is None:
                await self._receive()
                continue
            received = parse_object(line)
            kind = received.get("type")
            if kind == "error":
                raise _error(received)
            yield received
            if kind == "answer":
                return

    async def _receive(self) -> None:
        try:
            self._lines.feed(await self._stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise StackError(f"the stack of {self._folder} has ended") from error


def _parts_of(data: bytes) -> Iterator[str]:
    """Yield input in base64, in parts that fit into a request."""
    for begin in range(0, len(data), MAX_INPUT):
        yield base64.b64encode(data[begin : begin + MAX_INPUT]).decode()


def _error(received: Mapping[str, object]) -> StackError:
    kind, version = received.get("kind"), received.get("version")
    if kind == "version" and isinstance(version, int):
        return ProtocolVersionError(VERSION, version)
    return RequestError(cast("ErrorKind", kind), str(received.get("error")))


def _message(received: Mapping[str, object]) -> Message | None:
    """Return the message; None for an answer, and for a message of a later version."""
    if received.get("type") == "answer":
        return None
    try:
        return decode(received)
    except CurrantError:
        return None


def _difference(received: Mapping[str, object]) -> Difference:
    names = {each: received.get(each, []) for each in Difference.__slots__}
    return Difference(**{each: tuple(cast("list[str]", names[each])) for each in names})


def _listing(received: Mapping[str, object]) -> Listing:
    described = cast("list[dict[str, Any]]", received.get("commands", []))
    problems = cast("dict[str, str]", received.get("problems", {}))
    started = cast("list[str]", received.get("started", []))
    is_ending = received.get("ending") is True
    return Listing(tuple(map(_command, described)), problems, tuple(started), is_ending)


def _command(given: dict[str, Any]) -> CommandInfo:
    end = given["exit"]
    known: dict[str, Any] = {name: given.get(name) for name in CommandInfo.__slots__}
    known["exit"] = None if end is None else decode_exit(end)
    return CommandInfo(**known)
