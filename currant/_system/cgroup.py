"""Control groups (cgroup v2 of Linux): sets of processes that a process cannot leave by itself.

A group is a folder in a file system of the kernel, and the files in it are its operations.  A child
is born in the group of its parent, whatever it does with its session and its environment.  So the
members of a group are all descendants of the processes that were put into it, unless a descendant
has the permission to move itself elsewhere, and uses it.

A program finds its own group in ``/proc/self/cgroup``, and may create groups inside if it can write
there: as root in a container, or if systemd has delegated the group (``Delegate=yes``).  A group
with processes of its own cannot have controllers (memory, pids) for groups inside; this is the "no
internal processes" rule, which only the root of the whole system is free of.  So if the group
around the program's own one is delegated, the groups are made there, beside the program's own one.

Each function takes folders as arguments, so a test can use a folder that looks like a group.
"""

from __future__ import annotations

import errno
import os
import re
import signal as signals
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from currant._system.forks import close_in_forks, no_fork
from currant._values.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ControlGroup", "check_usable", "enable_controller", "find_own_folder", "find_place"]


KILL_FILE = "cgroup.kill"
"""Kills all members at once, also those that are just being forked; since Linux 5.14."""


def find_place() -> str:
    """Return the folder of the group in which this program may create groups.

    Raises:
        SetupError: there is none; the text says what is missing.
    """
    if sys.platform != "linux":
        raise SetupError("only Linux has control groups")
    try:
        mounts, membership = _read("/proc/self/mountinfo"), _read("/proc/self/cgroup")
    except OSError as error:
        raise SetupError(f"the system does not show its control groups ({error})") from error
    mount, own = find_own_folder(mounts, membership)
    around = os.path.dirname(own)
    if own != mount and _is_delegated(around, mount) and _is_writable(around):
        return around
    if not _is_writable(own):
        raise SetupError(
            f"its control group {own} is not writable; run the program as root, in a container "
            "with a writable /sys/fs/cgroup, or with 'systemd-run --user --scope -p Delegate=yes'"
        )
    return own


def find_own_folder(mounts: str, membership: str) -> tuple[str, str]:
    """Return where cgroup v2 is mounted, and the folder of this program's own group.

    Args:
        mounts: the text of ``/proc/self/mountinfo``.
        membership: the text of ``/proc/self/cgroup``.

    Raises:
        SetupError: no mount shows the group.
    """
    own = next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)
    if own is None:
        raise SetupError("the kernel lacks cgroup v2, or this program is in no group of it")
    found = False
    for line in mounts.splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split(" ", 1)[0] != "cgroup2":
            continue
        found = True
        root, mount = map(_unescaped, fields.split(" ")[3:5])
        inside = f"{own.rstrip('/')}/".removeprefix(f"{root.rstrip('/')}/")
        if not inside.startswith(("/", "../")):
            return mount, os.path.normpath(os.path.join(mount, inside))
    if found:
        raise SetupError(f"no mount of cgroup v2 shows the control group of this program, {own}")
    raise SetupError("cgroup v2 is not mounted; 'mount -t cgroup2 none /sys/fs/cgroup' does that")


def check_usable(folder: str) -> None:
    """Check that a group that was just created can hold processes and be killed.

    Raises:
        SetupError: the kernel is too old, or threads of one process are spread over the groups.
    """
    if not os.path.exists(os.path.join(folder, KILL_FILE)):
        raise SetupError(f"the kernel lacks {KILL_FILE}, which takes Linux 5.14")
    kind = _read(os.path.join(folder, "cgroup.type")).strip()
    if kind != "domain":
        raise SetupError(f"a control group inside {os.path.dirname(folder)} would be {kind!r}")


def enable_controller(folder: str, name: str) -> bool:
    """Have the groups inside `folder` limit what a controller counts; return whether they do."""
    path = os.path.join(folder, "cgroup.subtree_control")
    try:
        if name not in _read(os.path.join(folder, "cgroup.controllers")).split():
            return False
        if name not in _read(path).split():
            _write(path, f"+{name}")
        return name in _read(path).split()
    except OSError:  # The group has processes of its own.
        return False


class ControlGroup:
    """A group that this program has created, with the groups inside.

    A fork of this program takes the group for empty.

    Args:
        path: the folder; the last two names in it occur nowhere else.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(self, path: str) -> None:
        os.mkdir(path)
        self.path = path
        self._is_removed = False
        close_in_forks(self)

    def __repr__(self) -> str:
        return f"<ControlGroup {self.path}{' removed' if self._is_removed else ''}>"

    def open_members(self) -> int:
        """Open the file that a process writes 0 to in order to become a member.

        The kernel checks the permission now, so the process may be another user.
        """
        with no_fork:
            return os.open(os.path.join(self.path, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)

    def limit(self, file: str, value: int) -> None:
        """Set a limit of all members together: ``memory.max`` or ``pids.max``."""
        _write(os.path.join(self.path, file), str(value))

    def is_populated(self) -> bool:
        """Return whether a member is alive, here or in a group inside; a zombie is not."""
        if self._is_removed:
            return False
        try:
            return "populated 1" in _read(os.path.join(self.path, "cgroup.events"))
        except FileNotFoundError:
            return False
        except OSError as error:  # No file descriptor is left to look with: look again later.
            return error.errno != errno.ENODEV

    def members(self) -> set[int]:
        """Return the pids of all members, also of groups inside."""
        return set() if self._is_removed else {pid for pid in _members_below(self.path) if pid}

    def send(self, pid: int, *numbers: int) -> bool:
        """Send signals in this order to a member; return whether it got them."""
        try:
            with no_fork:
                pidfd = os.pidfd_open(pid)
                try:
                    if not self._has(pid):  # Another process has the number by now.
                        return False
                    for number in numbers:
                        signals.pidfd_send_signal(pidfd, number)
                finally:
                    os.close(pidfd)
        except OSError:  # It is gone, or runs as another user; or no descriptor is left.
            return False
        return True

    def kill(self) -> bool:
        """Kill all members, whichever user they are; return whether there was one."""
        if not self.is_populated():
            return False
        with suppress(FileNotFoundError):
            _write(os.path.join(self.path, KILL_FILE), "1")
        return True

    def remove(self) -> bool:
        """Remove the group and those inside; return False if one of them has a member."""
        if not self._is_removed:
            for folder, _, _ in os.walk(self.path, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)
            self._is_removed = not os.path.exists(self.path)
        return self._is_removed

    def _has(self, pid: int) -> bool:
        # The path there may begin elsewhere, but the names of our groups are unique.
        name = "/".join(self.path.split("/")[-2:])
        return f"/{name}/" in _read(f"/proc/{pid}/cgroup").replace("\n", "/")

    def close_in_fork(self) -> None:
        """Leave the group to the parent of a fork."""
        self._is_removed = True


def _members_below(path: str) -> Iterator[int]:
    for folder, _, _ in os.walk(path):
        with suppress(OSError):  # The group was removed, or consists of threads.
            yield from map(int, _read(os.path.join(folder, "cgroup.procs")).split())


def _is_delegated(folder: str, mount: str) -> bool:
    """Return whether the groups inside of a group are for the programs in it to create.

    A namespace's root, unlike that of the system, has a file with events.
    """
    if folder == mount and os.path.exists(os.path.join(folder, "cgroup.events")):
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(AttributeError, OSError):  # macOS, where tests run this, has no such call.
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _is_writable(folder: str) -> bool:
    """Return whether this program may create groups in `folder`, and move processes into them."""
    return all(os.access(path, os.W_OK) for path in (folder, os.path.join(folder, "cgroup.procs")))


def _unescaped(text: str) -> str:
    r"""Return a path of ``mountinfo``, in which a blank is ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
