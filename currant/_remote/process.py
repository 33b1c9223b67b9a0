"""`RemoteProcess`: a process on another host, which keeps the protocol `Process`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from currant._agent.frames import FrameError, Kind, get
from currant._agent.spec import (
    Refusal,
    decode_answer,
    decode_exit,
    decode_file_state,
    decode_usage,
    encode_request,
)
from currant._remote.streams import RemoteInput, RemoteOutput
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

__all__ = ["RemoteProcess"]

T = TypeVar("T")


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
        is_interrupted: whether it, or its group, has ended while its agent was about to end.
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
        self.is_interrupted: bool = False
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
            was_interrupted = await self._ask(Kind.WAIT_GROUP, _was_interrupted)
            self.is_interrupted |= was_interrupted

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
        self.is_interrupted |= _was_interrupted(body)
        self.is_gone = self.is_gone or get(body, "gone", bool)
        if not self._exited.is_set():
            self._note_exit(_exit_of(body))

    def note_closed(self, body: dict[str, Any]) -> None:
        """Note that no process is left.

        Raises:
            FrameError: the body is invalid.
        """
        self.usage = self.usage or decode_usage(body)
        self.is_interrupted |= _was_interrupted(body)
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


def _was_interrupted(body: dict[str, Any]) -> bool:
    return body.get("interrupted") is True


def _exit_in(body: dict[str, Any]) -> Exit | None:
    return None if body.get("exit") is None else _exit_of(body)


def _exit_of(body: dict[str, Any]) -> Exit:
    return decode_exit(cast("dict[str, Any]", get(body, "exit", dict)))
