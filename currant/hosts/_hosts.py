"""`Hosts`: the launcher that runs commands on many hosts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, cast

import anyio

from currant._remote.launcher import RemoteLauncher
from currant._synchronization import task_group_beside
from currant._values.checks import check_flag
from currant._values.errors import (
    CannotStopError,
    CommandError,
    CurrantError,
    LaunchError,
    NoCapacityError,
)
from currant._values.host_names import fold
from currant._values.launch_spec import LaunchSpec
from currant._values.options import explains_options
from currant._values.shutdown_limits import ShutdownLimits
from currant._values.variables import NO_VARIABLES
from currant.hosts._avoided import Avoided
from currant.hosts._check import group_alike, look_up
from currant.hosts._fence import Fence
from currant.hosts._host import Host, expand_host
from currant.hosts._lists import parse_hosts, read_hosts, slurm_hosts
from currant.hosts._member import Member
from currant.hosts._placement import shortage
from currant.hosts._pool import Pool, unreachable
from currant.hosts._process import OnClose, PlacedProcess
from currant.hosts._settings import checked_settings
from currant.hosts._spec import placed_spec
from currant.hosts._transports import Connect, srun, ssh
from currant.hosts._unswept import Unswept

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from typing import Self, TypeGuard

    from currant._process.launcher import Process
    from currant._values.checks import StrOrPath
    from currant._values.messages import HostMessage
    from currant.hosts._host import HostInfo
    from currant.hosts._member import HostLauncher
    from currant.hosts._placement import Place

__all__ = ["Hosts", "HostsOptions", "as_hosts"]


class HostsOptions(TypedDict, total=False):
    """The keyword arguments of `Hosts`, for `Hosts.from_file` and `Hosts.from_slurm`."""

    per_host: int | Literal["cpus"] | None
    connect: Connect | None
    wait_for: int | Literal["all"]
    silence: float
    reconnect: bool
    cwd: StrOrPath | None
    env: Mapping[str, str]
    forward_env: Iterable[str]
    retry_elsewhere: bool


class Hosts(anyio.AsyncContextManagerMixin):
    """A launcher that runs the commands of a `Runner` on many hosts, and chooses a host for each.

    Run one command on each of three hosts, and four others where there is room::

        from currant import Command, Runner
        from currant.hosts import Host, Hosts, on_each

        async def work() -> None:
            hosts = Hosts(["a", "b", Host("gpu1", gpus=4)], per_host=8)
            train = Command(["./train"], resources={"gpus": 1}, replicas=4, restart="on-failure")
            async with Runner([*on_each(hosts, "uptime"), train], launcher=hosts) as runner:
                async for message in runner:
                    print(message)

    On entry, `Hosts` connects to all hosts at the same time.  Each host needs a Python from 3.9 on,
    and nothing is installed there.  On exit, `Hosts` ends all that it has started.

    **Places.**  A command takes one slot and its `Command.resources` of one host, and gives them
    back when its process has ended.  If no host has enough left, the command waits, and its job is
    ``queued``.  Each host serves commands in the order in which they came: a command never
    overtakes an earlier one that waits for the same host.  Among the hosts that have room, a
    command gets the host with the smallest share taken.  A command that no host could ever run is
    refused at once.

    **Lost hosts.**  If a host is lost, each command there has failed, with a `HostLostError`.  Only
    a restart policy starts such a command again, on any host that has room, and not before the
    first copy has ended for sure: after `silence`, and the longest grace of all commands that ran
    there.  Meanwhile currant tries to connect to the host again.  A command that only lost hosts
    could run waits for a minute, and then fails.

    One `Hosts` serves one Runner at a time.  After the block of that Runner, the next Runner may
    use the same `Hosts`, which connects again.

    Args:
        hosts: the hosts: each a `Host`, or text in the form of host lists, such as ``"gpu[1-4]"``
            or ``"8/me@a,b"``; ``"LOCAL"`` is this machine.
        per_host: how many commands may run at a time on a host without `Host.slots`; ``"cpus"``: as
            many as the host has processors; None: no limit.
        connect: the way to the hosts, such as `srun()`; None: `ssh()`.
        wait_for: how many hosts the entry waits for; ``"all"``: until each host is up or has
            failed, 15 seconds at most.  A host that is up later takes commands from then on.
        silence: seconds without a sign of this program after which a host ends all its commands.
        reconnect: whether to connect again to hosts that are lost, or could not be reached.
        cwd: the working directory on hosts that have no `Host.cwd`.
        env: variables of all commands; those of `Host.env` come first.
        forward_env: the names of variables that all commands get from the environment of this
            program.
        retry_elsewhere: whether a command that a Runner runs again avoids the hosts on which it has
            run, as long as there is another one that could hold it.

    Attributes:
        limits: how long each step of ending a process may take.
        has_hosts: True; see `currant.Launcher`.

    Raises:
        CommandError: an argument is invalid, or two hosts have the same name; on entry: no way
            leads to a host as it is described.
        HostListError: a `CommandError`: a text describes no host.
        HostUnreachableError: on entry: no host at all can be reached.
    """

    @explains_options("Hosts", {}, "the hosts")
    def __init__(
        self,
        hosts: str | Iterable[str | Host],
        *,
        per_host: int | Literal["cpus"] | None = None,
        connect: Connect | None = None,
        wait_for: int | Literal["all"] = "all",
        silence: float = 30.0,
        reconnect: bool = True,
        cwd: StrOrPath | None = None,
        env: Mapping[str, str] = NO_VARIABLES,
        forward_env: Iterable[str] = (),
        retry_elsewhere: bool = False,
    ) -> None:
        self.limits: ShutdownLimits = ShutdownLimits()
        self.has_hosts: bool = True
        self._hosts = _by_name(as_hosts(hosts), {})
        if not self._hosts:
            raise CommandError("hosts must have at least one host")
        self._settings = checked_settings(
            connect=ssh() if connect is None else connect,
            per_host=per_host,
            wait_for=wait_for,
            silence=silence,
            reconnect=reconnect,
            cwd=cwd,
            env=env,
            forward_env=forward_env,
        )
        check_flag("retry_elsewhere", retry_elsewhere)
        self._avoided = Avoided(retry_elsewhere=retry_elsewhere)
        self._fence = Fence()
        self._pool: Pool | None = None
        self._unswept = Unswept()

    @classmethod
    def from_file(cls, path: StrOrPath, **options: Unpack[HostsOptions]) -> Hosts:
        """Build `Hosts` from a file, a host list such as mpirun and GNU parallel read.

        A line has a name, an address or a text such as ``n[1-4]``, with slots if you like: ``8/a``
        or ``a slots=8``.  ``#`` begins a comment.

        Args:
            path: the file.
            options: as for `Hosts`.

        Raises:
            HostListError: a line describes no host, or the file has no host at all.
            OSError: the file cannot be read.
        """
        return cls(read_hosts(path), **options)

    @classmethod
    def from_slurm(cls, **options: Unpack[HostsOptions]) -> Hosts:
        """Build `Hosts` from the Slurm job in which this program runs.

        A host has as many slots as the job has tasks on it, and the processors and GPUs that Slurm
        gave to the job there.  The GPUs on the node of this program have their ids from
        ``CUDA_VISIBLE_DEVICES``.  On the other nodes, the ids count from 0, which is right if Slurm
        hides the GPUs of other jobs (``ConstrainDevices=yes``).

        Args:
            options: as for `Hosts`; the default of `connect` is `srun()` here.

        Raises:
            CommandError: this program does not run in a job.
        """
        options.setdefault("connect", srun())
        return cls(slurm_hosts(os.environ), **options)

    def __repr__(self) -> str:
        up = "" if self._pool is None else f", {len(self.up)} up"
        return f"<Hosts {fold(self._hosts)}{up}>"

    # ---- hosts ----

    @property
    def hosts(self) -> Mapping[str, Host]:
        """All hosts by name, whether they are up or not."""
        return MappingProxyType(self._hosts)

    @property
    def up(self) -> Mapping[str, HostInfo]:
        """Facts about each host that is up now, by name."""
        if (pool := self._pool) is None:
            return {}
        return {
            name: member.info(pool.running(name))
            for name, member in pool.members.items()
            if member.launcher is not None
        }

    @property
    def places(self) -> int:
        """How many commands the hosts that are up run at a time.

        A host without a limit counts as many as it has processors.
        """
        if (pool := self._pool) is None:
            return 0
        slots = {name: member.capacity.of("slots") for name, member in pool.members.items()}
        return sum(
            int(slots[name]) if slots[name] < inf else info.cpus for name, info in self.up.items()
        )

    async def add(self, host: str | Host) -> None:
        """Connect to one more host, or to several, and return when they are up.

        From then on these hosts take commands.  Call this while the Runner runs.

        Args:
            host: a `Host`, or text that names one host or several, as for `Hosts`.

        Raises:
            CommandError: a host has that name already, or the argument is invalid, or no way leads
                to such a host; then no host is added.
            HostUnreachableError: a host cannot be reached, or the Runner is left meanwhile.  The
                hosts that can be reached are added.

        Cancellation: hosts that are not up yet are not added.
        """
        pool = self._entered("add")
        connecting = {name: member.host for name, member in pool.members.items()}
        new = _by_name(as_hosts([host]), {**self._hosts, **connecting})
        members: list[Member] = []
        try:
            # With `extend`, `finally` also sees the hosts before one that is refused.
            members.extend(map(pool.add, new.values()))
            await pool.wait_until_tried(members, len(members))
            if missing := [member for member in members if member.launcher is None]:
                raise unreachable(missing)
        finally:
            for member in members:
                if member.launcher is None:
                    pool.remove(member)
                else:
                    self._hosts[member.host.name] = member.host

    def drain(self, name: str) -> None:
        """Give a host no more commands; return at once.

        The commands that run there go on.  When they and their escapees have ended, the connection
        ends.  If the host is lost before that, currant connects to it again until they have ended
        for sure.

        Args:
            name: the name of the host.

        Raises:
            CurrantError: no Runner with this `Hosts` is entered.
            UnknownNameError: a `KeyError`: there is no such host.
        """
        self._entered("drain").drain(name)

    # ---- the launcher ----

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        try:
            async with task_group_beside() as tasks:
                self._pool = pool = Pool(self._settings, self._fence, tasks)
                try:
                    await self._connect(pool)
                    yield self
                finally:
                    pool.leave()  # The task group waits, bounded by the agents and the heartbeat.
        finally:
            self._pool = None
            self._avoided.forget_lacking()
            self._avoided.forget_tried()
            self._unswept.clear()

    async def _connect(self, pool: Pool) -> None:
        members = [pool.add(host) for host in self._hosts.values()]
        wanted = self._settings.wait_for
        await pool.wait_until_tried(members, len(members) if wanted == "all" else wanted)

    async def check(self, commands: Sequence[LaunchSpec]) -> None:
        """Look up on the hosts what commands need; see `Checker.check`.

        If only some hosts can start a command, the command runs on one of them.
        Cancellation: harmless.

        Raises:
            NoCapacityError: no host has the resources that a command needs.
            CommandNotFoundError: no host that could run a command has its files.
            CommandError: no host can start a command, for another reason.
        """
        pool, asked = self._entered("check"), dict[Member, list[LaunchSpec]]()
        capacities = {name: member.capacity for name, member in pool.members.items()}
        groups = group_alike(commands)
        for command, *_ in groups:
            needs = self._avoided.needs_of(command, pool.able)
            if (problem := shortage(needs, capacities)) is not None:
                raise NoCapacityError(command.name, problem)
            for member in pool.able(needs):
                gpus = member.host.gpus or None
                spec = placed_spec(command, member.host, gpus, self._settings)
                asked.setdefault(member, []).append(spec)
        findings = await look_up(asked)
        for group in groups:
            if (error := findings.errors.get(group[0].name)) is not None:
                raise error
            hosts = findings.not_on.get(group[0].name, set())
            self._avoided.note_lacking(group, hosts)

    async def launch(self, command: LaunchSpec, *, beside: Process | None = None) -> Process:
        """Wait for a place, and start `command` there; return once the program runs.

        Cancellation: nothing is left running, and the place is given back.

        Args:
            command: the command to start.
            beside: a process of this launcher; the command runs on the same host, and takes no
                place.

        Raises:
            LaunchError: the command could not be started, no host could ever run the command, or
                its host is lost; nothing is left behind.
        """
        pool = self._entered("launch")
        if isinstance(beside, PlacedProcess):
            return await self._start_beside(command, beside)
        called = anyio.current_time()
        await pool.wait_for_fence(command.name)
        member, place = await self._acquire(command, pool)
        waited = anyio.current_time() - called
        self._avoided.note_tried(command.name, place.host)
        assert member.launcher is not None
        launcher = member.launcher  # The member forgets it when the host is lost.
        self._unswept.begin(command.name, launcher)
        give_back = partial(self._give_back, pool, place, command.name, launcher)
        try:
            process = await self._start(command, member, launcher, place.gpus, give_back)
        except BaseException:
            give_back(is_lost=_may_still_run_commands(launcher))
            raise
        process.waited = waited
        return process

    async def _acquire(self, command: LaunchSpec, pool: Pool) -> tuple[Member, Place]:
        """Wait for a place, if possible on a host where the command has not run."""
        try:
            needs = self._avoided.needs_of(command, pool.able)
            return await pool.acquire(command.name, needs)
        except LaunchError:
            # The hosts where it has not run may be drained or lost meanwhile.
            if not self._avoided.forget_tried_of(command.name):
                raise
        return await pool.acquire(command.name, self._avoided.needs_of(command, pool.able))

    def _give_back(
        self,
        pool: Pool,
        place: Place,
        name: str,
        launcher: HostLauncher,
        *,
        is_lost: bool,
    ) -> None:
        """Give back the place of a command; if it is lost, only when it has ended for sure."""
        self._unswept.end(name)
        if is_lost and isinstance(launcher, RemoteLauncher):
            self._raise_fence(name, launcher)
            # The fence covers escapees, too.  A later sweep must not raise it again.
            self._unswept.remove(name, launcher)
            pool.release_behind_fence(place, name)
        else:
            pool.release(place)

    async def watch(self, tell: Callable[[HostMessage], Awaitable[None]]) -> None:
        """Call `tell` for each host that is up or lost; see `HostReporter.watch`.

        Cancellation: harmless; the end of the Runner cancels this call.
        """
        await self._entered("watch").watch(tell)

    async def hold(self) -> None:
        """Ask the hosts to wait for this program, which will be suspended; see `Holder.hold`.

        Cancellation: some hosts may have been asked, and others not.
        """
        members = self._entered("hold").members.values()
        async with anyio.create_task_group() as tasks:
            for member in members:
                if isinstance(member.launcher, RemoteLauncher):
                    tasks.start_soon(member.launcher.hold)

    async def sweep(self, name: str | None = None, grace: float = inf) -> None:
        """End the escapees of a command, or of all, on the hosts where it ran; see `Sweeper.sweep`.

        The agent of a lost host, or its guard, ends the escapees there.  Until then the fence keeps
        the command from starting again.
        Cancellation: the stop was requested; SIGKILL may or may not have been sent.

        Raises:
            CannotStopError: an escapee outlived SIGKILL for seconds.
        """
        swept = self._unswept.ended() if name is None else self._unswept.of(name)
        launchers = self._unswept.all() if name is None else swept[name]
        errors: list[CannotStopError] = []
        lost: set[RemoteLauncher] = set()

        async def sweep_one(launcher: HostLauncher) -> None:
            try:
                await launcher.sweep(name, grace)
            except CannotStopError as error:
                errors.append(error)
            if not _may_still_run_commands(launcher):
                return
            if name is None:
                lost.add(launcher)  # Its fence is raised if such a command starts again.
            else:
                self._raise_fence(name, launcher)

        async with anyio.create_task_group() as tasks:
            for launcher in launchers:
                tasks.start_soon(sweep_one, launcher)
        if errors:
            raise errors[0]
        self._unswept.forget(swept, but=lost)

    def _entered(self, call: str) -> Pool:
        if self._pool is None:
            raise CurrantError(
                f"Hosts.{call} works while a Runner is entered: call it inside `async with "
                "Runner(..., launcher=hosts)`"
            )
        return self._pool

    async def _start_beside(self, command: LaunchSpec, beside: PlacedProcess) -> PlacedProcess:
        """Start a command on the host of a process, without a place; sweep its escapees as well."""
        name, launcher = command.name, beside.member.launcher
        if launcher is None:
            raise LaunchError(name, f"its host {beside.host!r} is lost")
        self._unswept.begin(name, launcher)

        def note_end(*, is_lost: bool) -> None:
            self._unswept.end(name)
            if is_lost:  # The fence of the process covers the escapees, too.
                self._unswept.remove(name, launcher)

        try:
            return await self._start(command, beside.member, launcher, beside.gpus, note_end)
        except BaseException:
            note_end(is_lost=False)
            raise

    async def _start(
        self,
        command: LaunchSpec,
        member: Member,
        launcher: HostLauncher,
        gpus: tuple[str, ...] | None,
        on_close: OnClose,
    ) -> PlacedProcess:
        """Start a command on a host; the caller takes a place there, if the command needs one."""
        spec = placed_spec(command, member.host, gpus, self._settings)
        process = await launcher.launch(spec)
        return PlacedProcess(process, member, gpus, on_close)

    def _raise_fence(self, name: str, launcher: RemoteLauncher) -> None:
        """Let a command that was lost with its host start again only after its end over there.

        If the agent is dead, its guard gives each escapee the longest grace of all commands.
        """
        connection, needs = launcher.connection, launcher.longest_grace + self.limits.reap
        end = time.monotonic() + self._settings.silence + needs
        if connection.is_held and self._fence.is_last(connection.host, connection.identity):
            end = inf
        self._fence.raise_until(name, connection.host, end, needs)


def _may_still_run_commands(launcher: HostLauncher) -> TypeGuard[RemoteLauncher]:
    """Return whether a host was lost before its agent reported that all commands have ended."""
    if not isinstance(launcher, RemoteLauncher):
        return False
    return launcher.is_lost and not launcher.connection.has_ended


def as_hosts(hosts: str | Iterable[str | Host]) -> list[Host]:
    """Return the hosts of a text, or of a sequence of texts and `Host` values.

    Raises:
        CommandError: `hosts` is something else.
        HostListError: a text describes no host.
    """
    if isinstance(hosts, str):
        return list(parse_hosts(hosts))
    if not isinstance(cast("object", hosts), Iterable):
        raise CommandError(f"hosts must be a text or a sequence of hosts, not {hosts!r}")
    found: list[Host] = []
    for host in cast("Iterable[object]", hosts):
        found += expand_host(host) if isinstance(host, Host) else parse_hosts(cast("str", host))
    return found


def _by_name(hosts: Iterable[Host], known: Mapping[str, Host]) -> dict[str, Host]:
    by_name: dict[str, Host] = {}
    for host in hosts:
        if host.name in by_name or host.name in known:
            raise CommandError(
                f"two hosts are named {host.name!r}: give each host a name of its own; for more "
                "commands at a time on one host, name it once, with Host(slots=...)"
            )
        by_name[host.name] = host
    return by_name
