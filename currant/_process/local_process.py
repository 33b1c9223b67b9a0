"""`LocalProcess`: a process on this machine, as the code above the seam sees it.

It is a `Process`, with `resize`, `exchange` and `examine`.
"""

from __future__ import annotations

import os
import signal as signals
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._process.exchange import exchange
from currant._process.pipes import TerminalInput, TerminalOutput
from currant._process.stdio import PipeStdio, Stdio
from currant._process.stop import FORBIDDEN_TIMEOUT, Forbidden, Stopper
from currant._values.errors import CannotStopError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._process.child_group import ChildGroup
    from currant._process.containment import Members
    from currant._process.watch import Watch
    from currant._system.file_states import FileStates
    from currant._system.listeners import ServerOwners
    from currant._values.exchange import Answer, FileState, Request
    from currant._values.exit import Exit
    from currant._values.launch_spec import SignalTarget
    from currant._values.shutdown_limits import ShutdownLimits
    from currant._values.usage import Usage

__all__ = ["LocalProcess"]


class LocalProcess:
    """A process on this machine, the leader of a process group of its own.

    Attributes:
        host: the name of this machine.
        pid: the pid.
        stdin: the input if that is a pipe or a terminal, else None.
        stdout: the output; None if that is a file.
        stderr: the error output; None if that is a file, or goes to stdout.
        usage: what the process has used; see `Measured`.
    """

    def __init__(
        self,
        group: ChildGroup,
        stopper: Stopper,
        members: Members | None,
        stdio: Stdio,
        owners: ServerOwners,
        files: FileStates,
        limits: ShutdownLimits,
        on_close: Callable[[LocalProcess], None],
    ) -> None:
        self.host = os.uname().nodename
        self.is_local = True
        self.pid = group.id
        self.stdin = stdio.stdin
        self.stdout = stdio.stdout
        self.stderr = stdio.stderr
        self._stdio = stdio
        if isinstance(stdio.stdout, TerminalOutput):
            stdio.stdout.is_group_gone = group.check_gone
        self._group = group
        self._stopper = stopper
        self._members = members
        self._owners = owners
        self._files = files
        self._limits = limits
        self._on_close = on_close
        self._watch: Watch | None = None

    def __repr__(self) -> str:
        return f"<LocalProcess {self._group.name!r} pid={self.pid}>"

    @property
    def usage(self) -> Usage | None:
        return self._group.usage

    @property
    def watch(self) -> Watch | None:
        """Watches the process, if it has a pidfd and no terminal; see `Watched`."""
        if self._watch is None and isinstance(self._stdio, PipeStdio):
            from currant._process.watch import Watch  # noqa: PLC0415 - an agent has no use for it

            pidfd, pipes = self._group.pidfd, self._stdio.outputs()
            self._watch = None if pidfd is None else Watch(pidfd, pipes)
            self._group.watch = self._watch
        return self._watch

    async def wait(self) -> Exit:
        """Wait until the leader has exited and been reaped; see `Process.wait`."""
        return self._stopper.annotate(await self._group.wait_exit())

    async def send_signal(self, signal: int, to: SignalTarget = "group") -> bool:
        """Send `signal` to the group or the leader; return whether any process got the signal."""
        return self._group.send_to_leader(signal) if to == "leader" else self._group.send(signal)

    async def stop(self, signal: int, grace: float) -> Exit:
        """End the whole group; see `Process.stop`."""
        is_gone = await self._end(signal, grace)
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.set_drain_deadline(self._limits.drain)
        if isinstance(self.stdin, TerminalInput):  # An escapee might never make room.
            self.stdin.break_off()
        if not is_gone:
            if self._group.is_forbidden():
                raise NotPermittedError(self._group.name, self.pid)
            survivor = self._members.survivor() if self._members and self._group.is_gone else None
            raise CannotStopError(self._group.name, survivor or self.pid, self._limits.reap)
        return await self.wait()

    async def _end(self, signal: int, grace: float) -> bool:
        """End the process group, then what is left in the control group, if there is one."""
        if self._members is None:
            return self._group.check_gone() or await self._stopper.end(signal, grace)
        deadline = anyio.current_time() + grace
        is_gone = self._group.check_gone() or await self._stopper.end(signal, grace)
        left = max(deadline - anyio.current_time(), min(grace, self._limits.escapee_grace))
        are_gone = await self._members.end(signal, left)
        return are_gone and (is_gone or await self._stopper.end(signal, 0))

    async def wait_group(self) -> None:
        """Wait until no process of the group is left; see `Outlived.wait_group`."""
        while not self._group.check_gone():
            try:
                await self._group.wait_gone()
            except Forbidden:  # It goes on as another user, which is no hindrance here.
                await anyio.sleep(FORBIDDEN_TIMEOUT)

    def leave_group(self) -> None:
        """Let the rest of the group go on; see `Outlived.leave_group`."""
        self._group.leave()
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.set_drain_deadline(self._limits.end_of_output)

    async def exchange(self, request: Request) -> Answer:
        """Ask a server something; see `Exchanger.exchange`."""
        return await exchange(request.seen_from(self._files.folder), self._owners)

    async def examine(self, path: str) -> FileState:
        """Look at a file; see `Examiner.examine`."""
        return self._files.of(path)

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; see `Resizable.resize`."""
        if isinstance(self.stdin, TerminalInput):
            self.stdin.resize(rows, columns)
        await checkpoint()

    async def aclose(self) -> None:
        """Kill the group if it is alive, drop unread output, and release all resources."""
        if not self._group.check_gone():
            with anyio.CancelScope(shield=True):  # Bounded: by `limits.reap`.
                await self._stopper.end(signals.SIGKILL, 0)
        if self._members is not None:
            await self._members.aclose()
        if self._watch is not None:
            self._watch.close()
        self._stdio.close()
        self._group.close()
        self._on_close(self)
