"""Containment: a control group for each attempt, so that no descendant can hide.

An attempt's group is inside the group of its run, and contains all descendants of the process, also
those with another session and another environment.  The process joins the group by itself, before
its program runs: see `currant._process.handover`.  So there is no moment at which a descendant is
outside.

The process group is still asked to stop first, and alone.  A program that manages processes in
other sessions then ends them itself, as an inner Runner does.  When the process group is gone, or
was killed, the members that are left are asked, and killed after the rest of the grace.

A command with ``leftovers="leave"`` has no group, because a group can only be removed when it is
empty.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from signal import SIGKILL
from typing import TYPE_CHECKING, NamedTuple

import anyio

from currant._process.handover import find_interpreter
from currant._process.stop import Stopper
from currant._system.cgroup import ControlGroup, check_usable, enable_controller, find_place
from currant._values.errors import CurrantError, SetupError

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Literal, TypeAlias

    from currant._values.launch_spec import LaunchSpec
    from currant._values.limits import Limits

__all__ = ["Admission", "Containment", "ContainmentOption", "Members"]


ContainmentOption: TypeAlias = "bool | Literal['auto']"
"""Whether commands have control groups; "auto": if the system lets this program create them."""


TREE_LIMITS = {"memory": ("memory", "memory.max"), "processes": ("pids", "pids.max")}
"""The fields of `Limits` that a group can have for all members: the controller, and the file."""


class Admission(NamedTuple):
    """What a process needs in order to start as a member of a group.

    Attributes:
        group: the group.
        descriptor: admits a process that writes 0 to it.
        limits: the limits that the process has to set itself; the group has the others.
    """

    group: ControlGroup
    descriptor: int
    limits: Limits | None


class Containment:
    """The control group of a run.

    Args:
        run: the run.
        option: whether there is a group.
    """

    def __init__(self, run: str, option: ContainmentOption) -> None:
        self._run = run
        self._option = option
        self._group: ControlGroup | None = None
        self._numbers = count(1)

    def find(self) -> str | None:
        """Return the folder that `open` will create; None if there will be no group.

        Raises:
            CurrantError: groups were required, and this program may not create any.
        """
        if not self._option:
            return None
        try:
            find_interpreter()
            return os.path.join(find_place(), f"currant-{self._run}")
        except SetupError as error:
            self._do_without(error)
            return None

    def open(self, folder: str | None) -> None:
        """Create the group.

        Raises:
            CurrantError: groups were required, and the system refuses them.
        """
        if folder is None:
            return
        try:
            group = ControlGroup(folder)
            try:
                check_usable(folder)
            except BaseException:
                group.remove()
                raise
            self._group = group
        except (SetupError, OSError) as error:
            self._do_without(error)

    def _do_without(self, error: Exception) -> None:
        if self._option is True:
            raise CurrantError(
                f"commands cannot have control groups here, which cgroup=True requires: {error}; "
                "cgroup='auto' does without them"
            ) from error

    @contextmanager
    def admitting(self, command: LaunchSpec) -> Generator[Admission | None]:
        """Create the group of an attempt; if the attempt cannot be started, remove the group.

        Yields None if the command has no group.

        Raises:
            SetupError: the system refuses another group; the run's group was removed, for example.
        """
        if self._group is None or command.leftovers == "leave":
            yield None
            return
        path = os.path.join(self._group.path, str(next(self._numbers)))
        try:
            group = ControlGroup(path)
            limits = self._limit(group, command.limits)
            descriptor = group.open_members()
        except OSError as error:  # `aclose` removes a group without a process.
            raise SetupError(f"its control group cannot be created ({error})") from error
        try:
            yield Admission(group, descriptor, limits)
        except BaseException:
            with suppress(OSError):
                group.kill()
            group.remove()
            raise
        finally:
            os.close(descriptor)

    def _limit(self, group: ControlGroup, limits: Limits | None) -> Limits | None:
        """Set the limits that the group can have, and return the others."""
        for field, (controller, file) in TREE_LIMITS.items():
            value = getattr(limits, field, None)
            if limits is not None and value is not None and self._has_controller(controller):
                group.limit(file, value)
                limits = replace(limits, **{field: None})
        return limits

    def _has_controller(self, name: str) -> bool:
        """Return whether the groups of attempts have a controller, as far as it can be enabled."""
        assert self._group is not None
        folder = self._group.path
        return enable_controller(os.path.dirname(folder), name) and enable_controller(folder, name)

    async def aclose(self, reap_limit: float) -> None:
        """Kill all members that are left, and remove all groups.

        Cancellation: all of this is done nevertheless.
        """
        if self._group is not None:
            await Members(self._group, reap_limit).aclose()


class Members:
    """The members of a group, with those of groups inside, in the form that a `Stopper` needs.

    Args:
        group: the group, which `aclose` removes.
        reap_limit: how long a member may exist after SIGKILL, in seconds.
    """

    def __init__(self, group: ControlGroup, reap_limit: float) -> None:
        self._group = group
        self._reap_limit = reap_limit
        self._request: tuple[int, ...] = ()
        self._asked: set[int] = set()
        self._is_killed = False
        self._stopper = Stopper(self, reap_limit)

    async def end(self, signal: int, grace: float) -> bool:
        """End all members; see `Stopper.end`."""
        return not self._group.is_populated() or await self._stopper.end(signal, grace)

    def survivor(self) -> int | None:
        """Return the pid of a member; None if there is none."""
        return min(self._group.members(), default=None)

    async def aclose(self) -> None:
        """Kill all members, and remove the group."""
        if self._group.remove():
            return
        # Bounded: by the scope inside.
        with anyio.CancelScope(shield=True), anyio.move_on_after(2 * self._reap_limit):
            await self.end(SIGKILL, 0)
            while not self._group.remove():  # noqa: ASYNC110 - the last member is just leaving
                await anyio.sleep(0.001)

    def leader_is_alive(self) -> bool:
        return False

    def send(self, *signals: int) -> bool:
        if SIGKILL in signals:
            return self._kill()
        self._request = signals
        return self._ask_new()

    def send_to_leader(self, _: int) -> bool:
        return False

    async def wait_leader(self) -> None:
        await self.wait_gone()

    async def wait_gone(self) -> None:
        pause = 0.001
        while self._group.is_populated():
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.05)
            if self._is_killed:  # The first time, no descriptor may have been left.
                self._kill()
            else:  # A member that was asked to stop may have started another.
                self._ask_new()

    def _ask_new(self) -> bool:
        """Ask the members that were not asked before; return whether there was one."""
        new = self._group.members() - self._asked
        self._asked |= new
        reached = [self._group.send(pid, *self._request) for pid in new]
        return any(reached)

    def _kill(self) -> bool:
        self._is_killed = True
        with suppress(OSError):
            return self._group.kill()
        return True
