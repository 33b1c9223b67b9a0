"""Processes on this machine: `LocalLauncher` starts them, `LocalProcess` stands for a process.

The code above the seam sees a `LocalProcess`: a `Process`, with `resize`, `exchange` and `examine`.
The kill path sees the `_ChildGroup` behind it: a child of ours and the process group that the child
leads.
"""

from __future__ import annotations

import os
import signal as signals
from collections import Counter
from contextlib import nullcontext, suppress
from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._process.child import Child, SpawnSpec
from currant._process.containment import Containment, Members
from currant._process.escapees import CannotSearch, Escapees
from currant._process.exchange import exchange
from currant._process.guard import OrphanGuard
from currant._process.handover import numbers_of, switches_user
from currant._process.lookup import (
    build_environment,
    explain,
    find_credentials,
    find_prefix,
    find_problem,
    find_setup_problem,
    standard_file,
)
from currant._process.pipes import PipeStdio, PtyStdio, Stdio, TerminalInput, TerminalOutput
from currant._process.spawn import StartProcess, default_start, with_retries
from currant._process.stop import FORBIDDEN_TIMEOUT, Forbidden, Stopper, StopSpec, wait_empty
from currant._system.dispositions import sigchld_is_ignored
from currant._system.file_states import FileStates
from currant._system.forks import close_in_forks
from currant._system.groups import ProcessGroup
from currant._system.listeners import ServerOwners
from currant._system.marks import VARIABLE, mark
from currant._values.errors import (
    CannotStopError,
    CommandError,
    CommandNotFoundError,
    CurrantError,
    LaunchError,
    NotPermittedError,
)
from currant._values.exit import Exit
from currant._values.launch_spec import SILENT, LaunchSpec, Pty, wrapped_argv
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from anyio.abc import Process

    from currant._process.containment import Admission, ContainmentOption
    from currant._process.watch import Watch
    from currant._system.accounts import Credentials
    from currant._values.exchange import Answer, FileState, Request
    from currant._values.launch_spec import SignalTarget
    from currant._values.usage import Usage

__all__ = ["LocalLauncher", "LocalProcess"]


CHECKS_AT_A_TIME = 50
"""Commands that are looked up before other tasks run: a thousand in a row take 10 ms."""


class LocalLauncher:
    """Starts processes on this machine, each in a process group of its own.

    Args:
        orphan_guard: whether a helper process ends the processes if this program dies.
        cgroup: whether each process has a control group, which no descendant leaves; ``"auto"``:
            if this program may create them.  See `Runner`.

    Attributes:
        limits: how long each step of ending a process may take.
    """

    # `_guard` is shared with other launchers.  `_limits` and `_start` are for tests: other limits,
    # and another function to start a process.
    def __init__(
        self,
        *,
        orphan_guard: bool = True,
        cgroup: ContainmentOption = False,
        _guard: OrphanGuard | None = None,
        _limits: ShutdownLimits | None = None,
        _start: StartProcess | None = None,
    ) -> None:
        self.limits: ShutdownLimits = _limits or ShutdownLimits()
        self._start_process = _start or default_start()
        self._run = os.urandom(8).hex() if _guard is None else _guard.part_of_run()
        self._owns_guard = orphan_guard and _guard is None
        self._guard = _guard or OrphanGuard(self._run, self.limits.guard_exit)
        self._containment = Containment(self._run, cgroup)
        self._escapees = Escapees(self._run, self._known_groups, self.limits)
        self._starting: list[str] = []
        self._processes: dict[LocalProcess, _ChildGroup] = {}
        self._attempts: Counter[str] = Counter()
        self._unswept: dict[str, StopSpec] = {}
        self._unstoppable: set[int] = set()
        self._left = False
        close_in_forks(self)

    async def __aenter__(self) -> Self:
        if sigchld_is_ignored():
            raise CurrantError(
                "SIGCHLD is ignored in this program, so the system discards the exit status of its "
                "children; call signal.signal(signal.SIGCHLD, signal.SIG_DFL) before running "
                "commands"
            )
        self._left = False
        folder = self._containment.find()
        if self._owns_guard:
            self._guard.start(folder)
        try:
            self._containment.open(folder)
        except BaseException:
            if self._owns_guard:
                self._guard.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        try:
            if self._processes:
                async with anyio.create_task_group() as tasks:
                    for process in list(self._processes):
                        tasks.start_soon(process.aclose)
            if self._unswept:
                with anyio.CancelScope(shield=True):  # Bounded: by `limits.reap`.
                    await self._sweep(set(self._unswept), 0)
        except CannotSearch as problem:
            problem.warn()
        finally:
            await self._containment.aclose(self.limits.reap)
            if self._owns_guard:
                await self._guard.aclose()
            else:
                self._guard.lower_escapee_grace()

    async def check(self, commands: Sequence[LaunchSpec]) -> None:
        """Look up the files and users that commands need, and check their limits; run nothing.

        Before the entry this works, too.
        Cancellation: harmless.

        Raises:
            CommandNotFoundError: a file is missing or cannot be used.
            CommandError: there is no such user or group, or a limit or a socket cannot be set.
        """
        for number, command in enumerate(commands, 1):
            if (problem := find_setup_problem(command)) is not None:
                raise CommandError(f"command {command.name!r}: {problem}")
            if (problem := find_problem(command)) is not None:
                raise CommandNotFoundError(command.name, problem)
            if number % CHECKS_AT_A_TIME == 0:
                await checkpoint()

    async def launch(self, command: LaunchSpec) -> LocalProcess:
        """Start `command` in a new process group and return once the program runs.

        Cancellation: takes effect only between two attempts to start the program.  An attempt is
        short, and if one succeeds, the process is returned.

        Raises:
            LaunchError: the command could not be started; nothing is left behind.
        """
        name = command.name
        try:
            process = await self._start(command)
        except RuntimeError as error:
            # The event loop may have failed after the fork: asyncio on Python 3.11 does if the
            # thread that waits for the exit cannot be started.
            with suppress(CannotStopError), anyio.CancelScope(shield=True):  # Bounded: limits.reap.
                await self.sweep(name, 0)
            raise LaunchError(name, explain(command, error)) from error
        except LaunchError:
            raise
        # Not only OSError: each event loop rejects wrong arguments with other errors.
        except Exception as error:
            raise LaunchError(name, explain(command, error)) from error
        if self._left:
            await process.aclose()
            raise LaunchError(name, "its launcher was left during the start")
        return process

    async def sweep(self, name: str | None = None, grace: float = inf) -> None:
        """End the escapees of a command, or of all; see `Sweeper.sweep`.

        Cancellation: the stop was requested; SIGKILL may or may not have been sent.

        Raises:
            CannotStopError: an escapee outlived SIGKILL for seconds.
        """
        # Descriptors may be scarce because commands are running.  The exit sweeps again.
        with suppress(CannotSearch):
            await self._sweep(set(self._unswept) if name is None else {name}, grace)
        if name is None:  # Attempts are counted as long as a process of the command may be left.
            self._attempts = Counter(
                {each: count for each, count in self._attempts.items() if each in self._unswept}
            )

    async def _sweep(self, names: set[str], grace: float) -> None:
        running = (group.name for group in self._processes.values() if not group.is_gone)
        names -= {*self._starting, *running}
        commands = {name: spec for name, spec in self._unswept.items() if name in names}
        if not commands:
            return
        await self._escapees.end(commands, grace)
        for swept, spec in commands.items():
            if self._unswept.get(swept) is spec:  # If not, the command was started again.
                del self._unswept[swept]

    def close_in_fork(self) -> None:
        """Leave all processes to the parent of a fork."""
        self._unswept.clear()

    async def _start(self, command: LaunchSpec) -> LocalProcess:
        self._starting.append(command.name)  # No sweep ends it before its group is known.
        try:
            with self._containment.admitting(command) as admission:
                return await self._start_as(command, admission)
        finally:
            self._starting.remove(command.name)

    async def _start_as(self, command: LaunchSpec, admission: Admission | None) -> LocalProcess:
        name = command.name
        grace = self.limits.grace if command.grace is None else command.grace
        stop_spec = StopSpec(command.stop_signal, grace, command.kill_mode or "group")
        self._attempts[name] += 1
        may_stay = command.leftovers == "leave"
        run = os.urandom(8).hex() if may_stay else self._run  # No search looks for the former.
        if not may_stay:
            self._unswept[name] = stop_spec
        own_mark = mark(run, name, self._attempts[name])
        variables = build_environment(command, own_mark)
        credentials = find_credentials(command)
        members = None if admission is None else admission.descriptor
        words = _words_to_run(command, credentials, admission)
        files = FileStates(command.cwd, command.probe_files)
        stdio = _open_stdio(command)
        expecting = self._guard.expecting(run) if may_stay else nullcontext()
        with expecting, stdio as (stdin, stdout, stderr):
            if credentials is not None and credentials.user is not None:
                stdio.give_to(credentials.user)
            spec = SpawnSpec(
                words,
                stdin,
                stdout,
                stderr,
                command.cwd,
                variables,
                in_terminal=isinstance(stdio, PtyStdio),
                credentials=None if switches_user(credentials, members) else credentials,
                umask=command.umask,
                pass_fds=(*numbers_of(command.listen), *([] if members is None else [members])),
                new_session=command.new_session,
            )
            self._guard.raise_escapee_grace(grace)
            child = await with_retries(self._start_process, spec)
            # Before anything else is awaited: only the guard would end the group if we died now.
            self._guard.register(child.pid, stop_spec)
            self._escapees.note_start(child.pid, in_own_session=command.new_session)
            group = _ChildGroup(name, child, self._guard.unregister)
            owners = ServerOwners(child.pid, f"{VARIABLE}={own_mark}".encode(), self._run)
            stopper = Stopper(group, self.limits.reap, stop_spec.kill_mode)
            process = LocalProcess(
                group,
                stopper,
                None if admission is None else Members(admission.group, self.limits.reap),
                stdio,
                owners,
                files,
                self.limits,
                self._forget,
            )
            self._processes[process] = group
        return process

    def _known_groups(self) -> set[int]:
        """Return the groups that are not escapees: running groups, and groups that do not die."""
        running = {group.id for group in self._processes.values() if not group.is_gone}
        return running | self._unstoppable

    def _forget(self, process: LocalProcess) -> None:
        group = self._processes.pop(process, None)
        if group is not None and not group.is_gone:
            self._unstoppable.add(group.id)


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
        group: _ChildGroup,
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
            member = self._members and self._group.is_gone and self._members.survivor()
            raise CannotStopError(self._group.name, member or self.pid, self._limits.reap)
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


class _ChildGroup:
    """A child of ours and the process group that it leads, in the form that a `Stopper` needs.

    Args:
        name: the command's name.
        leader: the child.
        on_gone: called once, with the number, when the group is found to be gone.

    Attributes:
        name: the command's name.
        id: the group's number, which is the leader's pid.
        is_gone: whether the leader has been reaped and the group was found empty.
        watch: may be waited for by a task that reaps the leader.
    """

    def __init__(self, name: str, leader: Child | Process, on_gone: Callable[[int], None]) -> None:
        self.name = name
        self.id = leader.pid
        self.is_gone = False
        self.watch: Watch | None = None
        self._exit: Exit | None = None
        self._looking: anyio.Lock | None = None  # as soon as a task waits for that
        self._leader = leader
        self._group = ProcessGroup(leader.pid, leader.pidfd if isinstance(leader, Child) else None)
        self._on_gone = on_gone

    @property
    def usage(self) -> Usage | None:
        # The event loop does not report the usage of the processes that it reaps.
        return self._leader.usage if isinstance(self._leader, Child) else None

    @property
    def pidfd(self) -> int | None:
        return self._leader.pidfd if isinstance(self._leader, Child) else None

    def leader_is_alive(self) -> bool:
        if self._leader.returncode is not None:
            return False
        # Reading the return code of a `Child` has looked already.
        return isinstance(self._leader, Child) or self._group.leader_is_alive()

    def send(self, *signals: int) -> bool:
        reaches_live = self._leader.returncode is None or self._group.has_live_member()
        return self._group.send(*signals) and reaches_live

    def send_to_leader(self, signal: int) -> bool:
        return self._leader.returncode is None and self._group.send_to_leader(signal)

    def is_forbidden(self) -> bool:
        """Return whether this program may signal no member, although one is alive."""
        return self._group.is_forbidden()

    async def wait_exit(self) -> Exit:
        """Wait until the leader has been reaped, and return how it ended."""
        returncode = await self._leader.wait()
        if self._exit is None:
            if isinstance(self._leader, Child):
                is_lost = self._leader.is_status_lost
            else:  # The event loop itself reports 255, or on trio even 0.
                is_lost = sigchld_is_ignored()
            self._exit = Exit(None, None) if is_lost else Exit.from_returncode(returncode)
        return self._exit

    async def wait_leader(self) -> None:
        if self.is_forbidden():
            with anyio.move_on_after(FORBIDDEN_TIMEOUT):
                await self._leader.wait()
            if self.is_forbidden():
                raise Forbidden
        # A task that waits already wakes this one, which costs less than a second wait for a file.
        while self.watch is not None and self.watch.is_waited_for:
            await self.watch.resumed.wait()
        await self._leader.wait()

    async def wait_gone(self) -> None:
        await self.wait_leader()
        if self.is_gone:
            return
        if self._looking is None:
            self._looking = anyio.Lock(fast_acquire=True)
        async with self._looking:  # One task looks, for all that wait.
            if not self.is_gone:
                await wait_empty(self._group)
                self.check_gone()

    def check_gone(self) -> bool:
        """Look whether the group is gone, and return `is_gone`."""
        if not self.is_gone and self._leader.returncode is not None and self._group.is_empty():
            self.is_gone = True
            self._on_gone(self.id)  # Only now: from here on, another process may get the number.
        return self.is_gone

    def leave(self) -> None:
        """Take the group for gone, whatever processes are left in it."""
        self._group.close()
        self.check_gone()

    def close(self) -> None:
        """Release the pidfd; the group is not signalled again."""
        self._group.close()
        if isinstance(self._leader, Child):
            self._leader.close()


def _words_to_run(
    command: LaunchSpec, credentials: Credentials | None, admission: Admission | None
) -> tuple[str, ...]:
    prefix = find_prefix(command, credentials, admission)
    # The first program of a prefix exists, and would report the absence of the next one.
    if prefix and (problem := find_problem(command)) is not None:
        raise LaunchError(command.name, problem)
    return (*prefix, *wrapped_argv(command))


def _open_stdio(command: LaunchSpec) -> Stdio:
    if isinstance(command.pty, Pty):
        return PtyStdio(command.pty.rows, command.pty.columns)
    return PipeStdio(
        stdin=standard_file(command, "stdin"),
        stdout=standard_file(command, "stdout"),
        stderr=standard_file(command, "stderr"),
        silent=command.stdin is SILENT,
        separate=command.stderr != "stdout",
        umask=command.umask or 0,
    )
