"""`Conversation`: carries out the request of one client, and sends the output that it asks for."""

from __future__ import annotations

import base64
from dataclasses import asdict
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, assert_never

import anyio

from currant._synchronization import task_group_beside
from currant._values.lines import Batch
from currant._values.messages import Dropped
from currant._values.wire import encode_each
from currant.stack._protocol import (
    VERSION,
    Attach,
    Down,
    Input,
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
    parse_attached,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from anyio.abc import TaskGroup

    from currant._supervisor.job import Job
    from currant._values.messages import BatchMessage
    from currant.stack._configuration import Difference
    from currant.stack._connected_client import ConnectedClient
    from currant.stack._control import Control
    from currant.stack._folder import StackInfo
    from currant.stack._protocol import Request

__all__ = ["Conversation"]

PIECE = 1 << 15
"""Bytes of a write, more or less.  Other tasks run between two writes."""

ATTACHED_TAIL = 4096
"""Bytes of earlier output that a client gets when it attaches."""


class Conversation:
    """Carries out the request of one client."""

    def __init__(
        self, client: ConnectedClient, control: Control, info: StackInfo, over: anyio.Event
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

        async def accompany() -> None:
            await companion()
            tasks.cancel_scope.cancel()

        async with task_group_beside() as tasks:
            tasks.start_soon(accompany)
            try:
                answer = await work()
            finally:
                tasks.cancel_scope.cancel()
        return answer

    async def _wait_until_over(self) -> dict[str, object]:
        await self._over.wait()
        return await self._control.list()

    async def _tell_difference(self, change: Difference) -> None:
        await self._client.send({"type": "difference"} | asdict(change))

    async def _send_logs(self, request: Logs) -> dict[str, object]:
        names = (
            {job.name for job in self._control.commands.select(request.names)}
            if request.names
            else ()
        )
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
        job = self._control.commands.select_one(request.name)
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
