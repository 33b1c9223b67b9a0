"""Processes on this machine.

Output is read from pipes of our own by readiness, for three reasons: on asyncio a process's own
streams stop at 64 KiB, the exit would have to be told apart from the end of output, and a read by
readiness is 2 to 4 times as fast.  The child's ends stay blocking: only our ends are set not to.
"""

from __future__ import annotations

import os
import signal as signals
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Self

import anyio
from anyio.lowlevel import checkpoint

from currant._process.child import Child, SpawnSpec
from currant._process.escapees import Escapees
from currant._process.guard import OrphanGuard
from currant._process.lookup import environment, explain, problem_with, stdin_of
from currant._process.pipes import PipeStdio, PtyStdio, Stdio, TerminalInput
from currant._process.spawn import StartProcess, default_start, with_retries
from currant._process.stop import StopSpec, end_group, until_vacant
from currant._system.groups import ProcessGroup
from currant._system.listeners import OwnServers
from currant._system.marks import VARIABLE, mark
from currant._values.errors import CannotStopError, CommandNotFoundError, CurrantError, LaunchError
from currant._values.exit import Exit
from currant._values.launch_spec import LaunchSpec, Pty, has_input
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from anyio.abc import Process

__all__ = ["LocalLauncher", "LocalProcess"]


class LocalLauncher:
    """Starts processes on this machine, each in a session of its own.

    Args:
        orphan_guard: whether a helper process ends them when this program dies.

    Attributes:
        limits: how long each step of ending its processes may take.

    Tests may set other limits with `_limits`, and put `_start` in the place of the function that
    starts a process.
    """

    def __init__(
        self,
        *,
        orphan_guard: bool = True,
        _limits: ShutdownLimits | None = None,
        _start: StartProcess | None = None,
    ) -> None:
        self.limits: ShutdownLimits = _limits or ShutdownLimits()
        self._start_process = _start or default_start()
        self._run = os.urandom(8).hex()
        self._with_guard = orphan_guard
        self._guard = OrphanGuard(self._run, self.limits.guard_exit)
        self._escapees = Escapees(self._run, self._groups, self.limits)
        self._starting: list[str] = []
        self._processes: set[LocalProcess] = set()
        self._attempts: Counter[str] = Counter()
        self._unswept: dict[str, StopSpec] = {}
        self._unstoppable: set[int] = set()
        self._left = False

    async def __aenter__(self) -> Self:
        if signals.getsignal(signals.SIGCHLD) is signals.SIG_IGN:
            raise CurrantError(
                "SIGCHLD is ignored in this program, so the system forgets how its children end; "
                "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) before it runs commands"
            )
        if self._with_guard:
            self._guard.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        try:
            async with anyio.create_task_group() as tasks:
                for process in list(self._processes):
                    tasks.start_soon(process.aclose)
            with anyio.CancelScope(shield=True):  # bounded: by `limits.reap`
                await self.sweep(grace=0)
        finally:
            await self._guard.aclose()

    def check(self, command: LaunchSpec) -> None:
        """Look the program, working directory and input file of `command` up; nothing is run.

        Raises:
            CommandNotFoundError: one of them is missing or cannot be used.
        """
        problem = problem_with(command)
        if problem is not None:
            raise CommandNotFoundError(command.name, problem)

    async def launch(self, command: LaunchSpec) -> LocalProcess:
        """Start `command` in a new session and return once its program runs.

        Cancellation: noticed only while it waits to try again; a start is short, and its process is
        returned.

        Raises:
            LaunchError: it could not be started; nothing is left behind.
        """
        name = command.name
        try:
            process = await self._start(name, command)
        except RuntimeError as error:
            # The event loop may have failed after the start: Python 3.11's asyncio does where the
            # thread that waits for the exit cannot be started.
            with (
                suppress(CannotStopError),
                anyio.CancelScope(shield=True),
            ):  # bounded: `limits.reap`
                await self.sweep(name, 0)
            raise LaunchError(name, explain(command, error)) from error
        # Not OSError alone: what is wrong with the arguments, each event loop says in its way.
        except Exception as error:
            raise LaunchError(name, explain(command, error)) from error
        if self._left:
            await process.aclose()
            raise LaunchError(name, "its launcher has been left meanwhile")
        return process

    async def sweep(self, name: str | None = None, grace: float = inf) -> None:
        """End what has left its process group; see `Sweeper.sweep`.

        Cancellation: leaves it asked to end, but not forced.

        Raises:
            CannotStopError: something outlived SIGKILL for seconds.
        """
        names = set(self._unswept) if name is None else {name}
        names -= {*self._starting, *(p.name for p in self._processes if not p.has_gone)}
        commands = {name: how for name, how in self._unswept.items() if name in names}
        if not commands:
            return
        await self._escapees.end(commands, grace)
        for swept, how in commands.items():
            if self._unswept.get(swept) is how:  # else it was started again
                del self._unswept[swept]

    async def _start(self, name: str, command: LaunchSpec) -> LocalProcess:
        grace = self.limits.grace if command.grace is None else command.grace
        how = StopSpec(command.stop_signal, grace)
        self._unswept[name] = how
        self._attempts[name] += 1
        own_mark = mark(self._run, name, self._attempts[name])
        files = _open_files(command)
        self._starting.append(name)  # there may be a group that nobody knows of yet
        try:
            stdin, stdout, stderr = files.child_ends
            variables = environment(command) | {VARIABLE: own_mark}
            self._guard.expect(how)
            spec = SpawnSpec(
                command.argv,
                stdin,
                stdout,
                stderr,
                command.cwd,
                variables,
                in_terminal=isinstance(files, PtyStdio),
            )
            started = await with_retries(self._start_process, spec)
            # Before anything else is awaited: nobody else would end it if we died now.
            self._guard.add(started.pid, how)
            process = LocalProcess(
                name, own_mark, started, files, self._guard, self.limits, self._forget
            )
            self._processes.add(process)
        except BaseException:
            files.close()
            raise
        finally:
            self._starting.remove(name)
        files.close_child_ends()
        return process

    def _groups(self) -> set[int]:
        """Return the groups that are no escapees': those that run or cannot be ended."""
        return {p.pid for p in self._processes if not p.has_gone} | self._unstoppable

    def _forget(self, process: LocalProcess, gone: bool) -> None:
        self._processes.discard(process)
        if not gone:
            self._unstoppable.add(process.pid)


class LocalProcess:
    """A process on this machine, the leader of its session and process group.

    It is two things: a `Process` to those above the seam (and a `Resizable`), and a `Stoppable` to
    the kill path.

    Attributes:
        has_gone: whether the leader has been reaped and the group is empty.
    """

    def __init__(
        self,
        name: str,
        own_mark: str,
        process: Child | Process,
        files: Stdio,
        guard: OrphanGuard,
        limits: ShutdownLimits,
        forget: Callable[[LocalProcess, bool], None],
    ) -> None:
        self.host = os.uname().nodename
        self.pid = process.pid
        self.stdin = files.stdin
        self.stdout = files.stdout
        self.stderr = files.stderr
        self.name = name
        self._process = process
        pidfd = process.pidfd if isinstance(process, Child) else None
        self._group = ProcessGroup(process.pid, pidfd)
        self._servers = OwnServers(process.pid, f"{VARIABLE}={own_mark}".encode())
        self._guard = guard
        self._limits = limits
        self.has_gone = False
        self._forget = forget
        self._asked = False
        self._stopped = False
        self._forced = False

    async def wait(self) -> Exit:
        """Wait until the leader has ended and been reaped; see `Process.wait`."""
        return self._exit(await self._process.wait())

    async def send_signal(self, signal: int) -> bool:
        """Send `signal` to the whole group; return whether there was anybody to get it."""
        return not self._is_vacant() and self._group.send(signal)

    async def stop(self, signal: int, grace: float) -> Exit:
        """End the whole group; see `Process.stop`."""
        gone = self._has_gone_by_now() or await end_group(self, signal, grace, self._limits.reap)
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.end_within(self._limits.drain)
        if isinstance(self.stdin, TerminalInput):  # a stranger in it might never make room
            self.stdin.end()
        if not gone:
            raise CannotStopError(self.name, self.pid, self._limits.reap)
        return await self.wait()

    async def listens(self, address: str, port: int) -> bool | None:
        """Tell whether a server there is its own; see `PortOwner.listens`."""
        return self._servers.listens(address, port)

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal; see `Resizable.resize`."""
        if isinstance(self.stdin, TerminalInput):
            self.stdin.resize(rows, columns)
        await checkpoint()

    async def aclose(self) -> None:
        """End the group at once if it is alive, drop unread output, free everything."""
        gone = self._has_gone_by_now()
        if not gone:
            with anyio.CancelScope(shield=True):  # bounded: by `limits.reap`
                gone = await end_group(self, signals.SIGKILL, 0, self._limits.reap)
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        self._group.close()
        if isinstance(self._process, Child):
            self._process.close()
        self._forget(self, gone)

    def ask(self, signal: int) -> None:
        """Ask the group to end, once, and wake it if it is stopped."""
        if self._asked or self._is_vacant():
            return
        self._asked = True
        runs = self._process.returncode is None and self._group.leader_is_alive()
        self._stopped = self._group.send(signal) and runs
        # A stopped process gets no signal but SIGKILL until it is continued.
        self._group.send(signals.SIGCONT)

    def force(self) -> None:
        """Kill the group."""
        if not self._is_vacant():
            self._forced |= self._group.send(signals.SIGKILL) and self._stopped

    async def gone(self) -> None:
        """Wait until the leader has been reaped and the group is empty."""
        await self._process.wait()
        await until_vacant(self._group)
        self._has_gone_by_now()

    def _has_gone_by_now(self) -> bool:
        if not self.has_gone and self._is_vacant():
            self.has_gone = True
            self._guard.discard(self.pid)  # once: the number may be another one's from now on
        return self.has_gone

    def _is_vacant(self) -> bool:
        return self._process.returncode is not None and self._group.check_vacant()

    def _exit(self, returncode: int) -> Exit:
        end = Exit.from_returncode(returncode, stopped=self._stopped)
        return replace(end, forced=True) if self._forced else end


def _open_files(command: LaunchSpec) -> Stdio:
    if isinstance(command.pty, Pty):
        return PtyStdio(command.pty.rows, command.pty.columns)
    source = None if has_input(command) else stdin_of(command)
    return PipeStdio(source=source, separate=command.stderr == "separate")
