"""Process groups as the operating system has them: signals to them, and who is alive in them.

The only home of `os.killpg`, ``/proc`` and `sys.platform`.

A group is signalled through a pidfd of its leader where the system can (Linux 6.9 and later):
opened while the leader is there, that never means a stranger, even after it has been reaped.
Elsewhere by its number.

Whether a group is alive is read from the states of its members, not from ``killpg(pgid, 0)`` alone:
that goes on succeeding while zombies are left, and below a PID 1 that reaps late they are left for
good.  The other way round it is exact and cheap: once it fails, the group is empty.

A group's number belongs to it until its leader has been reaped and its last member is gone; from
then on the system may give it to strangers, so a `ProcessGroup` that was found empty is never
signalled again.
"""

from __future__ import annotations

import errno
import os
import signal as signals
import stat
import struct
import sys
from collections import defaultdict
from contextlib import suppress
from functools import cache, partial
from ipaddress import IPv6Address, ip_address
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

if os.name == "posix":  # elsewhere `require_posix` says what is wrong
    import fcntl
    import termios

__all__ = [
    "TERMINALS",
    "ProcessGroup",
    "bytes_in_pipe",
    "end_of_file_character",
    "enlarge_pipe",
    "environment_of",
    "group_and_session",
    "has_pidfds",
    "is_named_pipe",
    "is_starting",
    "kill_unreaped",
    "open_for_reading",
    "open_terminal",
    "process_numbers",
    "require_posix",
    "resize_terminal",
    "take_terminal",
]


def _has_proc() -> bool:
    """Tell whether there is a ``/proc``, and its numbers are those that the system calls take."""
    try:
        # It may be that of a container's host, with other numbers.
        return sys.platform == "linux" and os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


_HAS_PROC = _has_proc()
_ALIVE = frozenset("RSDTtIKWP")  # all but Z, a zombie, and X, dead: see proc(5)
_LISTENS = b"0A"  # TCP_LISTEN, as the tables in /proc/net have it
_ANY_IPV4, _ANY_IPV6 = b"0" * 8, b"0" * 32  # 0.0.0.0 and ::, the same
_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2  # <linux/pidfd.h>
_NONE = frozenset[str]()


def require_posix() -> None:
    """Raise `NotImplementedError` where there are no sessions and process groups."""
    if os.name != "posix":
        raise NotImplementedError(
            f"currant runs processes on Linux and macOS; {sys.platform} has no process groups"
        )


TERMINALS = "/dev/ptmx"
"""The file that an error names where the system has no terminal for us."""

TERMINAL_HOLDS = 64 * 1024
"""More bytes than a terminal holds that nobody has read; on Linux 6.18 it is 20 kB."""


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Open a pseudo-terminal of that size; return our end and the one for a process.

    Raises:
        OSError: there is none left; where that is no lack of files, it names `TERMINALS`.
    """
    try:
        ours, its = os.openpty()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise OSError(error.errno, error.strerror, TERMINALS) from error
    try:
        termios.tcsetwinsize(ours, (rows, columns))
    except BaseException:
        os.close(ours)
        os.close(its)
        raise
    return ours, its


def resize_terminal(fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size, and have the system tell who is in it, if there is anybody."""
    with suppress(termios.error):  # nobody is in it any longer
        termios.tcsetwinsize(fd, (rows, columns))


def end_of_file_character(fd: int) -> bytes:
    """Return what a terminal takes for the end of the input: ^D, unless its program chose another.

    Empty where nobody is in it any longer.
    """
    try:
        character = termios.tcgetattr(fd)[6][termios.VEOF]
    except termios.error:
        return b""
    assert isinstance(character, bytes)
    return character


def take_terminal() -> Callable[[], object]:
    """Return what has a new process, the leader of its session, take its stdin for its terminal.

    It is a call of the system and nothing else: it runs in a child in which no thread goes on but
    its own, so nothing there may wait for another one.
    """
    return partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0)


def is_named_pipe(path: str) -> bool:
    """Tell whether `path` leads to a named pipe, whose opening waits for the other side."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def open_for_reading(path: str) -> int:
    """Open a file that a process is to read, without waiting for anybody.

    Raises:
        OSError: it cannot be read, or is a directory or a named pipe; the error names it.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISFIFO(mode):  # opened like this, it would be at its end where nobody writes yet
        raise OSError(errno.EINVAL, "it is a named pipe", path)
    # O_NONBLOCK: it may be another file by now.
    fd = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def bytes_in_pipe(fd: int) -> int:
    """Return how many bytes a pipe holds that nobody has read; of a terminal, the most it may."""
    if os.isatty(fd):  # it tells only of those that have come to its end
        return TERMINAL_HOLDS
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


def enlarge_pipe(fd: int, size: int) -> bool:
    """Let a pipe hold `size` bytes, where the system can (Linux) and its limits allow it."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:  # EPERM: /proc/sys/fs/pipe-user-pages-soft, see pipe(7)
        return False
    return True


@cache
def has_pidfds() -> bool:
    """Tell whether the system has pidfds (Linux 5.3 and later); a container may forbid them."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def kill_unreaped(leader: int) -> None:
    """Kill the group of a child of ours that has not been reaped, so that it still has its number.

    To be called right after its start only.
    """
    with suppress(ProcessLookupError):
        os.killpg(leader, signals.SIGKILL)


class ProcessGroup:
    """The process group of a leader that was started in a session of its own.

    Args:
        leader: the leader's number.
        pidfd: its pidfd, lent until the group is closed; None: the group opens one of its own.

    Attributes:
        id: the group's number, which is its leader's.
    """

    __slots__ = ("_alive", "_foreign", "_own_pidfd", "_pidfd", "_seen", "_vacant", "id")

    def __init__(self, leader: int, pidfd: int | None = None) -> None:
        self.id = leader
        self._vacant = False
        self._own_pidfd = _open_pidfd(leader) if pidfd is None else None
        self._pidfd = self._own_pidfd if pidfd is None else pidfd
        try:
            if self._pidfd is not None and not _reaches_group(self._pidfd):
                self._let_pidfd_go()
        except ProcessLookupError:
            self.close()
        self._alive: list[int] = [leader]  # those who were when they were looked at last
        self._foreign = _NONE  # sockets that listen
        self._seen: tuple[int, dict[int, str]] | None = None

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.id}{' vacant' if self._vacant else ''}>"

    def send(self, signal: int) -> bool:
        """Send `signal` to every member; return whether there was one."""
        if self._vacant:
            return False
        try:
            self._signal(signal)
        except ProcessLookupError:
            self._vacant = True  # the system would say so of a leader that nobody has reaped
            return False
        except PermissionError:
            # On macOS a group of zombies; on Linux one whose members all changed their user.
            return False
        return True

    def close(self) -> None:
        """Free the group's handle; it is not signalled again."""
        self._vacant = True
        self._let_pidfd_go()

    async def vacated(self) -> None:
        """Wait until nobody is left; a leader that is ours has to be reaped by somebody."""
        pause = 0.001
        while not self._vacant and self._has_members(self._has_live_member_by_census):
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.05)
        self._vacant = True

    def listens(self, address: str, port: int, mark: bytes) -> bool | None:
        """Tell whether it is its own process that takes connections to an address and TCP port.

        That is: a member, who comes from one, or who has `mark` among its variables.
        None where nobody listens there, or the system does not show who.
        """
        sockets = _serving_sockets(address, port) if _HAS_PROC else set[str]()
        if not sockets:
            return None
        if sockets <= self._foreign:  # looking through all processes takes 0.1 ms for each
            return False
        members = set(_Census().members(self.id))
        if any(_has_open(pid, sockets) for pid in members):
            return True
        owners = [pid for pid in process_numbers() if _has_open(pid, sockets)]
        if not owners:
            return None
        for pid in owners:
            if _comes_from(pid, members) or _has_mark(environment_of(pid) or b"", mark):
                return True
        self._foreign |= sockets
        return False

    def leader_is_alive(self) -> bool:
        """Tell whether the leader runs; only to be asked until it has been reaped."""
        try:
            return _state_in(self.id, self.id) in _ALIVE if _HAS_PROC else True
        except OSError:  # no file left to look with
            return True

    def check_vacant(self) -> bool:
        """Tell whether nobody is left; without /proc, a leader that is a zombie counts as left."""
        self._vacant = self._vacant or not self._has_members(self._has_live_member)
        return self._vacant

    def _let_pidfd_go(self) -> None:
        if self._own_pidfd is not None:
            os.close(self._own_pidfd)
        self._pidfd = self._own_pidfd = None

    def _signal(self, signal: int) -> None:
        if self._pidfd is not None:
            signals.pidfd_send_signal(self._pidfd, signal, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        else:
            os.killpg(self.id, signal)

    def _has_members(self, has_live_member: Callable[[], bool]) -> bool:
        try:
            self._signal(0)
        except ProcessLookupError:
            return False
        except PermissionError:
            if not _HAS_PROC:
                return False
        try:
            return not _HAS_PROC or has_live_member()
        except OSError:  # no file left to look with: look again later
            return True

    # The system takes a group of zombies for one that exists.  Zombies that stay the same in two
    # looks are all there is; any change is a member that forked and ended between the listing of
    # all processes and the look at it.

    def _has_live_member(self) -> bool:
        """Look twice, now."""
        if self._is_still_alive():
            return True
        before, now = (self._look_at(_Census().members(self.id)) for _ in range(2))
        return bool(self._alive) or not now or before != now

    def _has_live_member_by_census(self) -> bool:
        """Look once, and compare with the last look; groups that wait share a list of processes."""
        if self._is_still_alive():
            return True
        census = _latest_census()
        before, now = self._seen, self._look_at(census.members(self.id))
        self._seen = (census.number, now)
        if before is None or before[0] == census.number:
            return True  # to be compared with the next one
        return bool(self._alive) or not now or before[1] != now

    def _is_still_alive(self) -> bool:
        return any(_state_in(pid, self.id) in _ALIVE for pid in self._alive)

    def _look_at(self, pids: Sequence[int]) -> dict[int, str]:
        """Return the states of those who are members."""
        states = {pid: state for pid in pids if (state := _state_in(pid, self.id))}
        self._alive = [pid for pid, state in states.items() if state in _ALIVE]
        return states


class _Census:
    """Which processes were in which group at one moment; it takes a few µs for each process.

    Attributes:
        number: tells censuses apart.
        taken_at: when it was begun.
    """

    _numbers = count()

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.taken_at = monotonic()
        self._members: defaultdict[int, list[int]] = defaultdict(list)
        for pid in process_numbers():
            self._members[group_and_session(pid)[0]].append(pid)

    def members(self, group: int) -> Sequence[int]:
        """Return the numbers of the members of `group`."""
        return self._members.get(group, ())


CENSUS_AGE = 0.01
"""Seconds after which a census is too old; taking one takes 1 ms where there are 500 processes."""

_census: _Census | None = None


def _latest_census() -> _Census:
    global _census  # noqa: PLW0603 - /proc is the same for all Runners of this process
    if _census is None or monotonic() - _census.taken_at > CENSUS_AGE:
        _census = _Census()
    return _census


def process_numbers() -> list[int]:
    """Return the numbers of all processes; none where the system does not show them.

    Raises:
        OSError: this process has no file descriptor left to look with.
    """
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()] if _HAS_PROC else []


def group_and_session(pid: int) -> tuple[int, int]:
    """Return the numbers of the group and the session that a process is in.

    Both are 0 for a thread of the kernel's, and for a process that is gone.
    """
    try:
        return os.getpgid(pid), os.getsid(pid)
    except ProcessLookupError:
        return 0, 0


def environment_of(pid: int) -> bytes | None:
    """Return the variables that a process's program was started with, each ended by NUL.

    Empty where there are none, as those of a zombie, and in the moment in which a program starts;
    None where the process is gone or belongs to somebody else.

    Raises:
        OSError: this process has no file descriptor left to look with.
    """
    environment = _read(f"/proc/{pid}/environ")
    if not environment:
        # A process that has lost its first thread, but has others, shows it with those.
        for thread in _threads_of(pid):
            environment = environment or _read(f"/proc/{pid}/task/{thread}/environ")
    return environment


def is_starting(pid: int, group: int) -> bool:
    """Tell whether a process of `group` that shows no environment is in the middle of its exec.

    Then it shows no arguments either, and yet is alive.

    Raises:
        OSError: this process has no file descriptor left to look with.
    """
    return not _read(f"/proc/{pid}/cmdline") and _state_in(pid, group) in _ALIVE


def _threads_of(pid: int) -> list[str]:
    """Return the numbers of a process's threads, but for the first one."""
    try:
        return [thread for thread in os.listdir(f"/proc/{pid}/task") if thread != str(pid)]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _open_pidfd(leader: int) -> int | None:
    try:
        return os.pidfd_open(leader)
    except (AttributeError, OSError):  # no such call, no descriptor left, or it has been reaped
        return None


def _reaches_group(pidfd: int) -> bool:
    """Tell whether signals can be sent by the pidfd of a leader to its whole group.

    Raises:
        ProcessLookupError: nobody is left in the group.
    """
    try:
        signals.pidfd_send_signal(pidfd, 0, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):  # a system before 6.9
        return False
    return True


def _serving_sockets(address: str, port: int) -> set[str]:
    """Return what a link to the socket looks like that takes connections there: proc(5).

    As the system chooses it: the one at that very address comes before one at all addresses, and
    for IPv4 that of IPv4 before that of IPv6, which may not take them.  Several where they share
    the port (SO_REUSEPORT).
    """
    listening = _listening_sockets(port)
    ip = ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if isinstance(ip, IPv6Address):
        choices = [{_as_in_proc(ip.packed)}, {_ANY_IPV6}]
    else:
        mapped = IPv6Address(f"::ffff:{ip}")
        choices = [{_as_in_proc(ip.packed), _as_in_proc(mapped.packed)}, {_ANY_IPV4}, {_ANY_IPV6}]
    for places in choices:
        if sockets := {socket for place, socket in listening if place in places}:
            return sockets
    return set()


def _listening_sockets(port: int) -> list[tuple[bytes, str]]:
    """Return the addresses at which somebody listens on a TCP port, with links to the sockets."""
    found: list[tuple[bytes, str]] = []
    for line in _lines_in("/proc/net/tcp") + _lines_in("/proc/net/tcp6"):
        words = line.split()
        place, _, number = words[1].partition(b":")
        if words[3] == _LISTENS and int(number, 16) == port:
            found.append((place, f"socket:[{words[9].decode()}]"))
    return found


def _lines_in(table: str) -> list[bytes]:
    """Return the lines of a table below its head; one read would give the first page of them."""
    try:
        with open(table, "rb") as file:
            return file.readlines()[1:]
    except OSError:
        return []


def _as_in_proc(address: bytes) -> bytes:
    """Return an address as the tables in /proc/net have it: 32 bits at a time, as the host does."""
    words = struct.unpack(f"={len(address) // 4}I", address)
    return b"".join(b"%08X" % word for word in words)


def _comes_from(pid: int, members: Collection[int]) -> bool:
    """Tell whether one of `members` is above a process, as `su` is above its user's shell."""
    above: int | None = pid
    while above:
        if above in members:
            return True
        above = _parent_of(above)
    return False


def _parent_of(pid: int) -> int | None:
    stat = _read(f"/proc/{pid}/stat")
    return None if stat is None else int(stat[stat.rindex(b")") + 2 :].split(None, 2)[1])


def _has_mark(environment: bytes, mark: bytes) -> bool:
    """Tell whether a variable is `mark`, or begins with it and a colon: a Runner's below it."""
    return any((each + b":").startswith(mark + b":") for each in environment.split(b"\0"))


def _has_open(pid: int, links: Collection[str]) -> bool:
    """Tell whether a process has a descriptor that shows as one of `links`; not known is no."""
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(f"{folder}/{name}") in links:
                    return True
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return False


def _read(path: str) -> bytes | None:
    """Return what is in a file of a process, in a third of the time that `open` takes.

    None where that process is gone, or is somebody else's.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        content = chunk = os.read(file, 65536)
        while len(chunk) == 65536:
            chunk = os.read(file, 65536)
            content += chunk
    except (ProcessLookupError, PermissionError):
        return None
    else:
        return content
    finally:
        os.close(file)


def _state_in(pid: int, group: int) -> str | None:
    """Return the letter of the process's state; None where it is not there, or not of `group`."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is None:
        return None
    # "pid (name) state ppid pgrp …"; the name may hold blanks and parentheses.
    words = stat[stat.rindex(b")") + 2 :].split(None, 18)
    if int(words[2]) != group:
        return None
    has_threads = int(words[17]) > 1
    return "R" if words[0] == b"Z" and has_threads else words[0].decode()  # it lost its first one
