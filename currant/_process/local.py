"""`LocalLauncher` starts processes on this machine.

The code above the seam sees a `LocalProcess`.  The kill path sees the `ChildGroup` behind it: a
child of ours and the process group that the child leads.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from currant._process.child import Child, SpawnSpec
from currant._process.child_group import ChildGroup
from currant._process.containment import Containment, Members
from currant._process.escapees import CannotSearch, Escapees
from currant._process.guard import OrphanGuard
from currant._process.handover import numbers_of, switches_user
from currant._process.local_process import LocalProcess
from currant._process.lookup import (
    build_environment,
    explain,
    find_credentials,
    find_prefix,
    find_problem,
    find_setup_problem,
    standard_file,
)
from currant._process.spawn import StartProcess, default_start, with_retries
from currant._process.stdio import PipeStdio, PtyStdio, Stdio
from currant._process.stop import Stopper, StopSpec
from currant._system.dispositions import sigchld_is_ignored
from currant._system.file_states import FileStates
from currant._system.forks import close_in_forks
from currant._system.groups import kill_unreaped
from currant._system.listeners import ServerOwners
from currant._system.marks import VARIABLE, mark
from currant._values.errors import (
    CannotStopError,
    CommandError,
    CommandNotFoundError,
    CurrantError,
    LaunchError,
)
from currant._values.launch_spec import SILENT, LaunchSpec, Pty, wrapped_argv
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from anyio.abc import Process

    from currant._process.containment import Admission, ContainmentOption
    from currant._system.accounts import Credentials

__all__ = ["LocalLauncher"]

CHECKS_AT_A_TIME = 50
"""Commands that are looked up before other tasks run: a thousand in a row take 10 ms."""


class _Identity(NamedTuple):
    """How the guard, and the searches for escapees and servers, know the processes of an attempt.

    Attributes:
        run: the run, a part of the mark.
        mark: the value of currant's own variable.
        stop_spec: how to end the processes.
    """

    run: str
    mark: str
    stop_spec: StopSpec


class LocalLauncher:
    """Starts processes on this machine, each in a process group of its own.

    One `LocalLauncher` serves one Runner at a time.

    Args:
        orphan_guard: whether a helper process ends the processes if this program dies.
        cgroup: whether each process has a control group, which no descendant leaves; ``"auto"``:
            if this program may create them.  See `Runner`.

    Attributes:
        limits: how long each step of ending a process may take.
    """

    # `_guard` is shared with other launchers, `_start` starts processes in another way (an agent
    # polls where there are no pidfds), and `_limits` is for tests.
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
        self._escapees = Escapees(self._run, self._known_groups, self._running_names, self.limits)
        self._starting: list[str] = []
        self._processes: dict[LocalProcess, ChildGroup] = {}
        self._attempts: Counter[str] = Counter()
        self._unswept: dict[str, StopSpec] = {}
        self._unstoppable: set[int] = set()
        self._is_entered = False
        close_in_forks(self)

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("this launcher has already been entered")
        if sigchld_is_ignored():
            raise CurrantError(
                "SIGCHLD is ignored in this program, so the system discards the exit status of its "
                "children; call signal.signal(signal.SIGCHLD, signal.SIG_DFL) before running "
                "commands"
            )
        folder = self._containment.find()
        if self._owns_guard:
            self._guard.start(folder)
        try:
            self._containment.open(folder)
        except BaseException:
            if self._owns_guard:
                self._guard.close()
            raise
        self._is_entered = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_entered = False
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
        if not self._is_entered:
            await process.aclose()
            raise LaunchError(name, "its launcher is not entered, or was left during the start")
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
        names -= self._running_names()
        commands = {name: spec for name, spec in self._unswept.items() if name in names}
        if not commands:
            return
        await self._escapees.end(commands, grace)
        for swept, spec in commands.items():
            if self._unswept.get(swept) is spec:  # If not, the command was started again.
                del self._unswept[swept]

    def _running_names(self) -> set[str]:
        """Return the names of the commands that run, or are being started."""
        running = (group.name for group in self._processes.values() if not group.is_gone)
        return {*self._starting, *running}

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
        identity = self._identify(command)
        variables = build_environment(command, identity.mark)
        credentials = find_credentials(command)
        words = _words_to_run(command, credentials, admission)
        files = FileStates(command.cwd, command.probe_files)
        stdio = _open_stdio(command)
        with self._guard.expecting(identity.run) as line, stdio as standard_files:
            if credentials is not None and credentials.user is not None:
                stdio.give_to(credentials.user)
            members = None if admission is None else admission.descriptor
            spec = _spawn_spec(command, words, standard_files, variables, credentials, members)
            self._guard.raise_escapee_grace(identity.stop_spec.grace)
            child = await with_retries(self._start_process, spec)
            try:
                return self._adopt(child, command, identity, line, admission, stdio, files)
            except BaseException:  # No memory is left, for example.
                await self._give_up(child)
                raise

    def _identify(self, command: LaunchSpec) -> _Identity:
        """Count the attempt, and have its escapees swept later, unless they may stay."""
        name = command.name
        grace = self.limits.grace if command.grace is None else command.grace
        stop_spec = StopSpec(command.stop_signal, grace, command.kill_mode or "group")
        self._attempts[name] += 1
        run = self._run
        if command.leftovers == "leave":
            run = os.urandom(8).hex()  # No search looks for this run.
        else:
            self._unswept[name] = stop_spec
        return _Identity(run, mark(run, name, self._attempts[name]), stop_spec)

    def _adopt(
        self,
        child: Child | Process,
        command: LaunchSpec,
        identity: _Identity,
        line: int,
        admission: Admission | None,
        stdio: Stdio,
        files: FileStates,
    ) -> LocalProcess:
        """Register a child that was just started, and return its process.

        Until the guard knows the group, the death of this program would leave the child running.
        So nothing is awaited before that.
        """
        self._guard.register(child.pid, identity.stop_spec, line)
        self._escapees.note_start(child.pid, in_own_session=command.new_session)
        group = ChildGroup(command.name, child, self._guard.unregister)
        process = LocalProcess(
            group,
            Stopper(group, self.limits.reap, identity.stop_spec.kill_mode),
            None if admission is None else Members(admission.group, self.limits.reap),
            stdio,
            ServerOwners(child.pid, f"{VARIABLE}={identity.mark}".encode(), self._run),
            files,
            self.limits,
            self._forget,
        )
        self._processes[process] = group
        return process

    async def _give_up(self, child: Child | Process) -> None:
        """Kill the group of a process that was started just now, and reap the process."""
        kill_unreaped(child.pid)
        with anyio.CancelScope(shield=True):  # Bounded: nothing survives SIGKILL for long.
            await child.wait()
        if isinstance(child, Child):
            child.close()
        self._guard.unregister(child.pid)

    def _known_groups(self) -> set[int]:
        """Return the groups that are not escapees: running groups, and groups that do not die."""
        running = {group.id for group in self._processes.values() if not group.is_gone}
        return running | self._unstoppable

    def _forget(self, process: LocalProcess) -> None:
        group = self._processes.pop(process, None)
        if group is not None and not group.is_gone:
            self._unstoppable.add(group.id)


def _spawn_spec(
    command: LaunchSpec,
    words: tuple[str, ...],
    standard_files: tuple[int, int, int],
    variables: Mapping[bytes, bytes],
    credentials: Credentials | None,
    members: int | None,
) -> SpawnSpec:
    stdin, stdout, stderr = standard_files
    return SpawnSpec(
        words,
        stdin,
        stdout,
        stderr,
        command.cwd,
        variables,
        in_terminal=isinstance(command.pty, Pty),
        credentials=None if switches_user(credentials, members) else credentials,
        umask=command.umask,
        pass_fds=(*numbers_of(command.listen), *([] if members is None else [members])),
        new_session=command.new_session,
    )


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
