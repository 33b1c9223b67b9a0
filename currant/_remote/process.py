"""`RemoteProcess`: a process on another host, which keeps the protocol `Process`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint

from currant._agent.frames import MAX_OUTPUT, FrameError, Kind, get
from currant._agent.spec import (
    Refusal,
    decode_answer,
    decode_exit,
    decode_file_state,
    decode_usage,
    encode_request,
)
from currant._remote.credit import Window
from currant._remote.watch import RemoteWatch
from currant._remote.words import plain
from currant._synchronization import Notifier
from currant._values.errors import HostLostError
from currant._values.launch_spec import has_input, read_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._remote.peer import Peer
    from currant._values.exchange import Answer, FileState, Request
    from currant._values.exit import Exit
    from currant._values.launch_spec import LaunchSpec, SignalTarget
    from currant._values.lines import StreamName
    from currant._values.usage import Usage

__all__ = ["RemoteOutput", "RemoteProcess"]

T = TypeVar("T")


INPUT_WINDOW = 128 * 1024
"""The most bytes of input that were sent, and that the host has not written yet."""

SMALL = 1024
"""Bytes up to which unread chunks are joined: each chunk takes about 300 bytes of its own."""

END_OF_OUTPUT = 60.0
"""Seconds, besides `END_LIMIT`, until a process that is gone sends more output or its end.

On a slow link, much output of other commands may be on its way before.
"""


class RemoteOutput(ByteReceiveStream):
    """An output stream of a process on another host."""

    def __init__(self, process: RemoteProcess, stream: int) -> None:
        self._process = process
        self._stream = stream
        self._change = process.change
        self._window = Window(process.peer.budget)
        self._chunks: deque[memoryview] = deque()
        self._has_ended = False
        self._is_closed = False
        self._lost: HostLostError | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there are bytes, or an error, to receive."""
        return bool(self._chunks) or self._lost is not None

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended, and nothing is left to receive."""
        return self._has_ended and not self.has_begun

    async def receive(self, max_bytes: int = MAX_OUTPUT) -> bytes:
        """Return the next bytes, at most `max_bytes`; wait for the first one."""
        while True:
            if self._is_closed:
                raise anyio.ClosedResourceError
            if self._chunks:
                return self._take(max_bytes)
            if self._lost is not None:
                raise self._lost
            if self._has_ended:
                raise anyio.EndOfStream
            await self._wait()

    async def _wait(self) -> None:
        """Wait for a change; a host that never sends the end of a process that is gone is lost."""
        if not self._process.is_gone:
            await self._change.wait()
            return
        # All that has arrived was read, so no missing credit holds up the host.
        with self._process.peer.expecting(END_OF_OUTPUT):
            await self._change.wait()

    def _take(self, max_bytes: int) -> bytes:
        chunk = self._chunks[0]
        if len(chunk) > max_bytes:
            self._chunks[0] = chunk[max_bytes:]
            chunk = chunk[:max_bytes]
        else:
            self._chunks.popleft()
        count = self._window.note_read(len(chunk), anyio.current_time())
        if count and not self._has_ended:
            body = {"stream": self._stream, "count": count}
            self._process.send(Kind.CREDIT, body)
        whole = chunk.obj
        return whole if isinstance(whole, bytes) and len(whole) == len(chunk) else bytes(chunk)

    def feed(self, data: bytes) -> None:
        """Add bytes that the host has sent.

        Raises:
            FrameError: the host had no credit for so many.
        """
        self._window.note_received(len(data))
        if data and not (self._is_closed or self._has_ended):
            if self._chunks and len(self._chunks[-1]) + len(data) <= SMALL:
                data = bytes(self._chunks.pop()) + data
            self._chunks.append(memoryview(data))
            self._change.notify_all()

    def end(self) -> None:
        """End the stream after the bytes that have arrived."""
        self._has_ended = True
        self._change.notify_all()

    def lose_rest(self, error: HostLostError) -> None:
        """Fail with `error` after the bytes that have arrived, unless the stream has ended."""
        if not self._has_ended:
            self._lost = error

    def close(self) -> None:
        """Drop unread bytes; no task may receive any more."""
        self._is_closed = True
        self._chunks.clear()
        self._window.close()
        self._change.notify_all()

    async def aclose(self) -> None:
        """Close the stream here and on the host; see `close`."""
        if not (self._is_closed or self._has_ended):
            self._process.send(Kind.CREDIT, {"stream": self._stream, "count": 0})
        self.close()
        await checkpoint()


class RemoteInput(ByteSendStream):
    """The stdin of a process on another host: a pipe or a terminal."""

    def __init__(self, process: RemoteProcess, *, is_terminal: bool) -> None:
        self._process = process
        self._is_terminal = is_terminal
        self._lock = anyio.Lock()
        self._under_way = 0  # bytes that the host has not written yet
        self._is_broken = False
        self._is_closed = False
        self._change = Notifier()

    async def send(self, item: bytes) -> None:
        """Send all of `item`, and wait until the host has written it."""
        async with self._lock:
            for start in range(0, len(item), INPUT_WINDOW // 2):
                await self._wait_for(INPUT_WINDOW // 2)
                await self._process.peer.link.wait_for_room()
                self._check()
                chunk = item[start : start + INPUT_WINDOW // 2]
                self._under_way += len(chunk)
                self._process.peer.link.send_bulk(Kind.INPUT, self._process.number, chunk)
            if item:
                await self._wait_for(0)

    async def _wait_for(self, most: int) -> None:
        """Wait until at most `most` bytes are under way."""
        self._check()
        while self._under_way > most:
            await self._change.wait()
            self._check()

    def _check(self) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError
        if self._is_broken:
            raise anyio.BrokenResourceError

    def note_taken(self, count: int) -> None:
        """Note bytes that the host has written.

        Raises:
            FrameError: so many were not under way.
        """
        if not 0 <= count <= self._under_way:
            raise FrameError(f"the host has taken {count} bytes that it never got")
        self._under_way -= count
        self._change.notify_all()

    def break_off(self) -> None:
        """Fail each send from now on, because no process reads the input any more."""
        self._is_broken = True
        self._change.notify_all()

    def close(self) -> None:
        """Fail each send from now on, because this end is closed."""
        self._is_closed = True
        self._change.notify_all()

    async def aclose(self) -> None:
        """End the input: close a pipe, or type the end-of-file character after all input."""
        link, number = self._process.peer.link, self._process.number
        if self._is_terminal and not self._is_closed:
            link.send_bulk(Kind.INPUT_END, number, b"")
        elif not self._is_closed:
            self.close()
            link.send(Kind.INPUT_END, number)
        await checkpoint()


class RemoteProcess:
    """A process on another host, the leader of a session and a process group there.

    Args:
        number: the number that stands for the process on the link.
        spec: the spec of its command.
        peer: the agent on the host.

    Attributes:
        number: as given.
        peer: as given.
        host: the name of the host.
        pid: the pid on the host; 0 before the start.
        stdin: the stdin if that is a pipe or a terminal, else None.
        stdout: the stdout; None if that is a file.
        stderr: the stderr; None if that is a file, or goes to stdout.
        usage: the processor time and the memory that the process has used; see `Measured`.
        change: is notified when there is output, when a stream ends, and at the exit.
        started: set when the start has succeeded or failed, or the host is lost.
        closed: set when no process is left, or the host is lost.
        failure: why the start failed; None if it did not.
        is_gone: whether the group is empty, so that there is nothing to stop.
    """

    def __init__(self, number: int, spec: LaunchSpec, peer: Peer) -> None:
        self.number = number
        self.peer = peer
        self.host: str = peer.host
        self.pid: int = 0
        self.change = Notifier()
        streams = read_streams(spec)
        is_terminal = bool(spec.pty)
        self.stdin = RemoteInput(self, is_terminal=is_terminal) if has_input(spec) else None
        self.stdout = RemoteOutput(self, 0) if "stdout" in streams else None
        self.stderr = RemoteOutput(self, 1) if "stderr" in streams else None
        self.usage: Usage | None = None
        self.started = anyio.Event()
        self.closed = anyio.Event()
        self.failure: str | None = None
        self.is_gone: bool = False
        self._name = spec.name
        self._exited = anyio.Event()
        self._exit: Exit | None = None
        self._lost: str | None = None
        self._is_closing = False
        self._watch: RemoteWatch | None = None

    def __repr__(self) -> str:
        return f"<RemoteProcess {self._name!r} on {self.host} pid={self.pid}>"

    @property
    def is_lost(self) -> bool:
        """Whether the host was lost before it was known that the whole group has ended."""
        return self._lost is not None and (self._exit is None or not self.is_gone)

    # ---- the seam ----

    @property
    def watch(self) -> RemoteWatch:
        """Watches the process; see `Watched`."""
        if self._watch is None:
            streams: dict[StreamName, RemoteOutput] = {}
            if self.stdout is not None:
                streams["stdout"] = self.stdout
            if self.stderr is not None:
                streams["stderr"] = self.stderr
            self._watch = RemoteWatch(self._exited, streams, self.change)
        return self._watch

    async def wait(self) -> Exit:
        """Wait until the leader has exited; see `Process.wait`."""
        await self._exited.wait()
        return self._known_exit() if self._exit is None else self._exit

    async def send_signal(self, signal: int, to: SignalTarget = "group") -> bool:
        """Send `signal` to the group or the leader; return whether any process got the signal."""
        if self.is_gone or self.closed.is_set():
            await checkpoint()
            return False
        try:
            with self.peer.expecting():
                return await self._ask(Kind.SIGNAL, _is_sent, signal=int(signal), to=to)
        except HostLostError:
            return False

    async def stop(self, signal: int, grace: float) -> Exit:
        """End the whole group; see `Process.stop`."""
        if self.is_gone or self.closed.is_set():
            await checkpoint()
            return self._known_exit()
        with self.peer.expecting(grace):
            end = await self._ask(Kind.STOP, _exit_in, signal=int(signal), grace=grace)
        if end is None:  # The process was closed at the same time.
            await self.wait_closed()
        else:
            self.is_gone = True
            self._note_exit(end)
        return self._known_exit()

    async def wait_group(self) -> None:
        """Wait until no process of the group is left; see `Outlived.wait_group`."""
        await self.wait()
        if not (self.is_gone or self.closed.is_set()):
            await self._ask(Kind.WAIT_GROUP, bool)

    def leave_group(self) -> None:
        """Let the rest of the group go on; see `Outlived.leave_group`."""
        self.is_gone = True
        self.send(Kind.LEAVE)
        self.change.notify_all()

    async def exchange(self, request: Request) -> Answer:
        """Send a request to a server, from the host of the process; see `Exchanger.exchange`."""
        answer = await self._ask(Kind.EXCHANGE, decode_answer, **encode_request(request))
        if isinstance(answer, Refusal):
            raise ConnectionRefusedError(plain(answer.reason))
        return answer._replace(data=answer.data[: request.most])

    async def examine(self, path: str) -> FileState:
        """Look at a file on the host of the process; see `Examiner.examine`."""
        state = await self._ask(Kind.EXAMINE, decode_file_state, path=path)
        if isinstance(state, Refusal):
            raise OSError(plain(state.reason))
        return state

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; see `Resizable.resize`."""
        if not self.closed.is_set():
            self.send(Kind.RESIZE, {"rows": rows, "columns": columns})
        await checkpoint()

    async def aclose(self) -> None:
        """Kill the group if it is alive, drop unread output, and release all resources."""
        self._is_closing = True
        if not self.closed.is_set():
            self.send(Kind.CLOSE)
            if not self.is_gone:
                await self.wait_closed()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    async def wait_closed(self) -> None:
        """Wait, after a CLOSE, until no process is left; a cancellation does not end the wait."""
        # Bounded: by the heartbeat, and by `expecting`.
        with anyio.CancelScope(shield=True), self.peer.expecting():
            await self.closed.wait()

    # ---- frames ----

    def send(self, kind: Kind, body: dict[str, Any] | None = None) -> None:
        """Send a frame about this process."""
        self.peer.link.send(kind, self.number, body)

    def note_started(self, pid: int) -> None:
        """Note that the process runs.

        Raises:
            FrameError: the start was reported before, or the pid is not positive.
        """
        if self.started.is_set() or pid <= 0:
            raise FrameError("a process was started twice, or has no pid")
        self.pid = pid
        self.started.set()

    def note_failed(self, reason: str) -> None:
        """Note that the start failed, and nothing is left.

        Raises:
            FrameError: the start was reported before.
        """
        if self.started.is_set():
            raise FrameError("a start has failed and succeeded")
        self.failure = reason
        self._end()

    def note_exit(self, body: dict[str, Any]) -> None:
        """Note the exit of the leader, and the end of its group if the body reports that.

        Raises:
            FrameError: the body is invalid.
        """
        self.usage = self.usage or decode_usage(body)
        self.is_gone = self.is_gone or get(body, "gone", bool)
        if not self._exited.is_set():
            self._note_exit(_exit_of(body))

    def note_closed(self, body: dict[str, Any]) -> None:
        """Note that no process is left.

        Raises:
            FrameError: the body is invalid.
        """
        self.usage = self.usage or decode_usage(body)
        end = _exit_in(body)
        if not self._is_closing:
            self._lose_output("its agent has ended")
        if end is not None:
            self._note_exit(end)
        if not self.started.is_set():
            self.failure = "its start was given up"
        self._end()

    def note_lost(self, reason: str) -> None:
        """Note that the host is lost: no frame about this process will come."""
        self._lost = reason
        self._lose_output(reason)
        self._end()

    def _lose_output(self, reason: str) -> None:
        """Note that no more output comes; if the exit is not known, `wait` tells that."""
        if self._exit is None:
            return
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.lose_rest(HostLostError(self.host, reason))

    def _end(self) -> None:
        """Wake all tasks that wait, because no frame about this process will come."""
        if self.stdin is not None:
            self.stdin.break_off()
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.end()
        self.started.set()
        self._note_end()
        self.closed.set()

    def _note_exit(self, end: Exit) -> None:
        self._exit = end
        self._note_end()

    def _note_end(self) -> None:
        self._exited.set()
        self.change.notify_all()

    def _known_exit(self) -> Exit:
        """Return the exit of a process whose group is gone.

        Raises:
            HostLostError: the host was lost before that was known.
            ClosedResourceError: the process outlived SIGKILL, so there is no exit.
        """
        if self.is_lost:
            raise HostLostError(self.host, str(self._lost))
        if self._exit is None:
            raise anyio.ClosedResourceError
        return self._exit

    async def _ask(self, kind: Kind, read: Callable[[dict[str, Any]], T], **body: object) -> T:
        return await self.peer.ask(kind, self.number, body, read)


def _is_sent(answer: dict[str, Any]) -> bool:
    return get(answer, "sent", bool)


def _exit_in(body: dict[str, Any]) -> Exit | None:
    return None if body.get("exit") is None else _exit_of(body)


def _exit_of(body: dict[str, Any]) -> Exit:
    return decode_exit(cast("dict[str, Any]", get(body, "exit", dict)))
