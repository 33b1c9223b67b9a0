"""`PlacedProcess`: a process on one of many hosts, which gives its place back when it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from currant._process.launcher import is_interrupted
from currant._remote.process import RemoteProcess

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, ByteSendStream

    from currant._process.launcher import ProcessWatch
    from currant._process.local_process import LocalProcess
    from currant._values.exchange import Answer, FileState, Request
    from currant._values.exit import Exit
    from currant._values.launch_spec import SignalTarget
    from currant._values.usage import Usage
    from currant.hosts._member import Member

__all__ = ["OnClose", "PlacedProcess"]


class OnClose(Protocol):
    """A function to call when a process was closed.

    Args:
        is_lost: whether the process may still run, because its host was lost before its end was
            known.
    """

    def __call__(self, *, is_lost: bool) -> None: ...


class PlacedProcess:
    """A process on one of many hosts; see `currant.Process`.

    Args:
        process: the process that the launcher of the host has started.
        member: the host.
        gpus: the ids of the GPUs that the command was given; None if the host has no GPUs.
        on_close: called once, when the process was closed.

    Attributes:
        member: as given.
        gpus: as given.
        waited: for how many seconds the command waited for its place.
        host: the name of the host.
        is_local: whether the host is this machine.
        pid: the pid on the host.
        stdin: the stdin if that is a pipe or a terminal, else None.
        stdout: the stdout; None if that is a file.
        stderr: the stderr; None if that is a file, or goes to stdout.
    """

    def __init__(
        self,
        process: LocalProcess | RemoteProcess,
        member: Member,
        gpus: tuple[str, ...] | None,
        on_close: OnClose,
    ) -> None:
        self.member = member
        self.gpus = gpus
        self.waited: float = 0.0
        self.host: str = member.host.name
        self.is_local: bool = member.host.is_local
        self.pid: int = process.pid
        self.stdin: ByteSendStream | None = process.stdin
        self.stdout: ByteReceiveStream | None = process.stdout
        self.stderr: ByteReceiveStream | None = process.stderr
        self._process = process
        self._on_close: OnClose | None = on_close

    def __repr__(self) -> str:
        return f"<PlacedProcess {self._process!r}>"

    @property
    def watch(self) -> ProcessWatch | None:
        """Watches the process; see `Watched`."""
        return self._process.watch

    @property
    def usage(self) -> Usage | None:
        """The processor time and the memory that the process has used; see `Measured`."""
        return self._process.usage

    @property
    def is_interrupted(self) -> bool:
        """Whether it has exited while the agent of its host was about to end."""
        return is_interrupted(self._process)

    async def wait(self) -> Exit:
        """Wait until the leader has exited; see `Process.wait`."""
        return await self._process.wait()

    async def send_signal(self, signal: int, to: SignalTarget = "group") -> bool:
        """Send a signal to the group or the leader; return whether any process got the signal."""
        return await self._process.send_signal(signal, to)

    async def stop(self, signal: int, grace: float) -> Exit:
        """End the whole group; see `Process.stop`."""
        return await self._process.stop(signal, grace)

    async def wait_group(self) -> None:
        """Wait until no process of the group is left; see `Outlived.wait_group`."""
        await self._process.wait_group()

    def leave_group(self) -> None:
        """Let the rest of the group go on; see `Outlived.leave_group`."""
        self._process.leave_group()

    async def exchange(self, request: Request) -> Answer:
        """Send a request to a server, from the host of the process; see `Exchanger.exchange`."""
        return await self._process.exchange(request)

    async def examine(self, path: str) -> FileState:
        """Look at a file on the host of the process; see `Examiner.examine`."""
        return await self._process.examine(path)

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; see `Resizable.resize`."""
        await self._process.resize(rows, columns)

    async def aclose(self) -> None:
        """Kill the group if it is alive, release all resources, and give the place back."""
        try:
            await self._process.aclose()
        finally:
            if self._on_close is not None:
                on_close, self._on_close = self._on_close, None
                process = self._process
                on_close(is_lost=isinstance(process, RemoteProcess) and process.is_lost)
