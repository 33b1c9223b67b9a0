"""`StackServer`: the socket of a stack, and the clients that talk to it.

A client may be slow, broken or hostile.  So

- the length of a line is bounded, and the time that a client has for its request;
- nothing is buffered for a client, which reads the `History` at its own pace, and gets the number
  of lines that it has missed.  A client that does not read keeps one task and one piece of output;
- the number of clients is bounded.  If there is no room, the stack disconnects the client for which
  it has waited longest, for a request or for room to write;
- an error of any kind ends one connection, and not the stack;
- only processes of this user and of root get an answer.

Rejected: `anyio`'s own loop over a listener, which ends at the first accept that fails, for example
because there are too many open files.
"""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict
from functools import partial
from itertools import chain
from os import geteuid
from typing import TYPE_CHECKING, assert_never

import anyio

from currant._system.peers import user_of_peer
from currant._values.errors import CurrantError
from currant._values.lines import Batch
from currant._values.messages import Dropped
from currant._values.wire import encode_each
from currant.stack._control import Control
from currant.stack._errors import RequestError, StackFolderError
from currant.stack._protocol import (
    MAX_REQUEST,
    VERSION,
    Attach,
    Down,
    Input,
    LineBuffer,
    List,
    Logs,
    Reload,
    Resize,
    Restart,
    Send,
    Signal,
    Start,
    Stop,
    Wait,
    encode,
    error_of,
    parse_attached,
    parse_request,
)
from currant.stack._stream import StackListener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence

    from anyio.abc import TaskGroup

    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._values.messages import BatchMessage
    from currant.stack._folder import Claim, StackInfo
    from currant.stack._history import History
    from currant.stack._protocol import Request
    from currant.stack._reload import Configuration, Difference
    from currant.stack._stream import StackStream

__all__ = ["MAX_CLIENTS", "StackServer"]

MAX_CLIENTS = 32

REQUEST_LIMIT = 10.0
"""Seconds that a client has to write its request."""

GOODBYE_LIMIT = 0.5
"""Seconds that clients have to read the last answer when the stack ends."""

ACCEPT_DELAY = 0.1
"""Seconds before another try, if the system cannot accept a connection."""

PIECE = 1 << 15
"""Bytes of a write, more or less.  Other tasks run between two writes."""

ATTACHED_TAIL = 4096
"""Bytes of earlier output that a client gets when it attaches."""


class StackServer:
    """Listens for clients while a Runner runs.

    Args:
        claim: the right to be the stack of its folder.
        history: a sink of the Runner.
        configuration: the source of the commands; None: `reload` is refused.
        log: the file with the output of the stack; None: it goes to stdout.
        is_needed: whether the commands must not run without clients.

    Attributes:
        history: as given.
        on_listening: called once clients can connect.
    """

    def __init__(
        self,
        claim: Claim,
        history: History,
        configuration: Configuration | None = None,
        log: str | None = None,
        *,
        is_needed: bool = False,
    ) -> None:
        self.history: History = history
        self.on_listening: Callable[[], object] = lambda: None
        self._claim = claim
        self._configuration = configuration
        self._log = log
        self._is_needed = is_needed
        self._clients: dict[_Client, None] = {}  # in the order of their connections
        self._over = anyio.Event()
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve clients from `listen` on; at the end, send the answers to all that wait for it.

        Enter this block before the Runner, so that a client learns how the commands ended.  An
        exception of the body leaves the block unchanged.
        """
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
                try:
                    yield
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException as error:  # The task group would wrap it.
                    failure = error
                self._claim.release()
                self.history.end()
                self._over.set()
                await self._say_goodbye()
                self._tasks.cancel_scope.cancel()
        finally:
            self._claim.release()
        if failure is not None:
            raise failure

    async def _say_goodbye(self) -> None:
        """Give the clients that wait for an answer some time to read it."""
        with anyio.move_on_after(GOODBYE_LIMIT):
            for client in list(self._clients):
                if client.has_asked:
                    await client.gone.wait()

    async def listen(self, runner: Runner) -> Control:
        """Begin to accept clients for a Runner that has been entered.

        Raises:
            OSError: the socket cannot be bound.
        """
        assert self._tasks is not None
        control = Control(runner, self.history, self._configuration)
        path = self._claim.paths.socket
        listener = StackListener(path)
        try:
            info = self._claim.describe(self._log)
        except OSError:
            listener.close()
            raise
        self._tasks.start_soon(self._accept, listener, control, info)
        self.on_listening()
        return control

    def not_listening(self, error: OSError) -> StackFolderError:
        """Return why no client can connect, for a warning.

        Raises:
            StackFolderError: the commands must not run without clients.
        """
        problem = StackFolderError(self._claim.paths.socket, error.strerror or str(error))
        if self._is_needed:
            raise problem
        return problem

    async def _accept(self, listener: StackListener, control: Control, info: StackInfo) -> None:
        assert self._tasks is not None
        with closing(listener):
            while True:
                try:
                    stream = await listener.accept()
                except OSError:
                    await anyio.sleep(ACCEPT_DELAY)
                    continue
                client = _Client(stream)
                self._clients[client] = None
                self._tasks.start_soon(self._serve, client, control, info)
                if len(self._clients) > MAX_CLIENTS:
                    self._make_room(client)

    def _make_room(self, newest: _Client) -> None:
        """Disconnect the client for which the stack waits longest; if for none, the newest."""
        waits = {
            client: client.waits_since
            for client in self._clients
            if client.waits_since is not None and client is not newest
        }
        if waits:
            min(waits, key=waits.__getitem__).scope.cancel()
        else:
            newest.is_refused = True

    async def _serve(self, client: _Client, control: Control, info: StackInfo) -> None:
        try:
            with client.scope, suppress(anyio.BrokenResourceError, anyio.EndOfStream, OSError):
                await self._answer(client, control, info)
        finally:
            del self._clients[client]
            client.gone.set()
            with anyio.CancelScope(shield=True):  # Bounded: a forced close does not wait.
                await anyio.aclose_forcefully(client.stream)

    async def _answer(self, client: _Client, control: Control, info: StackInfo) -> None:
        """Read a request, and send the answer."""
        user = user_of_peer(client.stream.socket)
        if user not in (0, geteuid()):
            return
        try:
            request = await client.receive_request()
            conversation = _Conversation(client, control, info, self._over)
            answer = await conversation.do(request)
        except RequestError as error:
            await client.send(error_of(error.kind, error.reason))
        except CurrantError as error:
            await client.send(error_of("failed", str(error)))
        except (anyio.BrokenResourceError, anyio.EndOfStream, OSError):
            raise
        except Exception as error:
            await client.send(error_of("internal", f"{type(error).__name__}: {error}"))
        else:
            await client.send({"type": "answer"} | answer)


class _Client:
    """One connection.

    Attributes:
        stream: the connection.
        scope: is cancelled to disconnect the client.
        gone: is set once the client is disconnected.
        is_refused: whether there are too many clients.
        has_asked: whether the request of the client has come.
    """

    def __init__(self, stream: StackStream) -> None:
        self.stream = stream
        self.scope = anyio.CancelScope()
        self.gone = anyio.Event()
        self.is_refused = False
        self.has_asked = False
        self._reading_since: float | None = anyio.current_time()
        self._writing_since: float | None = None
        self._lines = LineBuffer(MAX_REQUEST)

    @property
    def waits_since(self) -> float | None:
        """When the stack began to wait for the client; None: it does not wait.

        It waits for the request, for room to write, and for a command to read what was typed.
        """
        begun = (each for each in (self._reading_since, self._writing_since) if each is not None)
        return min(begun, default=None)

    async def receive_request(self) -> Request:
        """Receive the request.

        Raises:
            RequestError: the request is wrong or late, or there are too many clients.
            anyio.EndOfStream, anyio.BrokenResourceError: the client is gone.
        """
        if self.is_refused:
            raise RequestError("busy", f"{MAX_CLIENTS} clients are connected to this stack")
        line: bytes | None = None
        with anyio.move_on_after(REQUEST_LIMIT):
            line = await self.receive_line()
        self._reading_since, self.has_asked = None, True
        if line is None:
            raise RequestError("request", f"no request has come within {REQUEST_LIMIT:g} s")
        return parse_request(line)

    async def receive_line(self) -> bytes:
        """Receive the next line.

        Raises:
            RequestError: the line is too long.
            anyio.EndOfStream, anyio.BrokenResourceError: the client is gone.
        """
        while (line := self._lines.take()) is None:
            self._lines.feed(await self.stream.receive())
        return line

    async def wait_gone(self) -> None:
        """Wait until the client has closed the connection; ignore further lines."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self.stream.receive()

    async def read_ahead(self) -> None:
        """Keep further lines for `receive_line`, until this is cancelled.

        As soon as the client has gone, or has sent as much as is kept, the stack waits for it.
        """
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while self._lines.size < MAX_REQUEST:
                self._lines.feed(await self.stream.receive())
        self._reading_since = anyio.current_time()
        try:
            await anyio.sleep_forever()
        finally:
            self._reading_since = None

    async def send(self, value: Mapping[str, object]) -> None:
        """Send an object."""
        await self.send_bytes(encode(value))

    async def send_bytes(self, data: bytes) -> None:
        """Send lines."""
        self._writing_since = anyio.current_time()
        try:
            await self.stream.send(data)
        finally:
            self._writing_since = None


class _Conversation:
    """Carries out the request of one client."""

    def __init__(
        self, client: _Client, control: Control, info: StackInfo, over: anyio.Event
    ) -> None:
        self._client = client
        self._control = control
        self._info = info
        self._over = over

    async def do(  # noqa: C901, PLR0911, PLR0912 - a row for each request
        self, request: Request
    ) -> dict[str, object]:
        """Carry out a request, and return the fields of the answer."""
        control = self._control
        match request:
            case List():
                stack = asdict(self._info) | {"version": VERSION}
                return {"stack": stack} | await control.list()
            case Start():
                return await self._while_connected(lambda: control.start(request))
            case Stop():
                return await control.stop(request)
            case Restart():
                return await self._while_connected(lambda: control.restart(request))
            case Signal():
                return await control.signal(request)
            case Reload():
                changed = await control.reload(request, self._tell_difference)
                return await self._while_connected(changed)
            case Down():
                control.down(request)
                return await self._while_connected(self._wait_until_over)
            case Wait():
                return await self._while_connected(lambda: control.wait(request))
            case Send():
                return await self._while_connected(lambda: control.send(request))
            case Logs(follow=False):
                return await self._send_logs(request)
            case Logs():
                return await self._while_connected(lambda: self._send_logs(request))
            case Attach():
                return await self._attach(request)
            case _:
                assert_never(request)

    async def _while_connected(
        self, work: Callable[[], Awaitable[dict[str, object]]]
    ) -> dict[str, object]:
        """Do work without a time limit; cancel the work if the client disconnects."""
        answer = await self._beside(self._client.wait_gone, work)
        if answer is None:
            raise anyio.EndOfStream
        return answer

    async def _beside(
        self,
        companion: Callable[[], Awaitable[None]],
        work: Callable[[], Awaitable[dict[str, object]]],
    ) -> dict[str, object] | None:
        """Do work; return None if the companion returns first, which cancels the work."""
        answer: dict[str, object] | None = None
        problem: BaseException | None = None

        async def accompany() -> None:
            await companion()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accompany)
            try:
                answer = await work()
            except anyio.get_cancelled_exc_class():
                raise
            except Exception as error:  # The task group would wrap it.
                problem = error
            tasks.cancel_scope.cancel()
        if problem is not None:
            raise problem
        return answer

    async def _wait_until_over(self) -> dict[str, object]:
        await self._over.wait()
        return await self._control.list()

    async def _tell_difference(self, change: Difference) -> None:
        await self._client.send({"type": "difference"} | asdict(change))

    async def _send_logs(self, request: Logs) -> dict[str, object]:
        names = {job.name for job in self._control.select(request.names)} if request.names else ()
        history = self._control.history
        cursor, end = history.begin(names, request.last, request.since), history.end_number
        while request.follow or cursor.number < end:
            messages = history.read(cursor, names)
            if messages:
                await self._send_messages(messages, events=request.events)
            elif not request.follow or history.has_ended:
                break
            else:
                await history.arrival.wait()
        return {}

    async def _send_messages(self, messages: Sequence[BatchMessage], *, events: bool) -> None:
        wanted = [each for each in messages if events or isinstance(each, Batch | Dropped)]
        for piece in _pieces(wanted):
            await self._client.send_bytes(piece)

    async def _attach(self, request: Attach) -> dict[str, object]:
        job = self._control.select_one(request.name)
        reads = "terminal" if job.command.pty else None if job.stdin is None else "pipe"
        await self._client.send({"type": "attached", "name": job.name, "stdin": reads})
        if request.rows is not None and request.columns is not None and job.command.pty:
            await job.resize(request.rows, request.columns)
        problems: list[Exception] = []  # which a task group would wrap
        async with anyio.create_task_group() as tasks:
            for part in (self._show, self._type):
                tasks.start_soon(self._do_part, part, job, tasks, problems)
        if problems:
            raise problems[0]
        return await self._control.list([job.name])

    async def _do_part(
        self,
        part: Callable[[Job], Awaitable[None]],
        job: Job,
        tasks: TaskGroup,
        problems: list[Exception],
    ) -> None:
        try:
            await part(job)
        except Exception as error:
            problems.append(error)
        tasks.cancel_scope.cancel()

    async def _show(self, job: Job) -> None:
        """Send the output of the command until the command ends."""
        mark = max(0, job.since(0).mark - ATTACHED_TAIL)
        while True:
            excerpt = await job.next_output(mark)
            if excerpt.mark == mark:
                return
            data = excerpt.data
            for begin in range(0, len(data), PIECE):
                part = base64.b64encode(data[begin : begin + PIECE]).decode()
                output: dict[str, object] = {"type": "output", "data": part}
                if excerpt.omitted and not begin:
                    output["omitted"] = excerpt.omitted
                await self._client.send(output)
            mark = excerpt.mark

    async def _type(self, job: Job) -> None:
        """Pass typed bytes and sizes on until the client is gone.

        If the command does not read its input, the client may have to give way to others, whether
        it is still there or not.
        """
        while True:
            match parse_attached(await self._client.receive_line()):
                case Input(data=data):
                    write = partial(self._control.write, job, data)
                    await self._beside(self._client.read_ahead, write)
                case Resize(rows=rows, columns=columns) if job.command.pty:
                    await job.resize(rows, columns)
                case _:
                    pass


def _pieces(messages: Sequence[BatchMessage]) -> Iterator[bytes]:
    """Yield the messages as lines, in pieces of limited size."""
    lines: list[bytes] = []
    size = 0
    for each in chain.from_iterable(map(encode_each, messages)):
        lines.append(encode(each))
        size += len(lines[-1])
        if size >= PIECE:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)
