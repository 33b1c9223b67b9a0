"""The first program of a process that is given something: listening sockets, or a control group.

Sockets are handed over as systemd does; see sd_listen_fds(3).  The program finds them in the
descriptors from 3 on, and the variables LISTEN_FDS, their number, and LISTEN_PID, its own pid.  No
process but the new one knows that pid before its program runs, and no option of `Popen` gives a
descriptor another number.

A process has to join its control group before its program runs: if this program moved the process
after the start, a descendant could have been born outside.  No option of `Popen` does that.

So Python itself, without `site`, is the first program of such a process: it joins the group, moves
the descriptors, sets the variables, and becomes the next program.  That costs 10 to 20 ms of
processor time at each start.  The kernel checks the permission to join when the descriptor is
opened (before Linux 5.16 when it is used), and another user may not be able to read Python.  So if
root starts a process as another user, the process changes its user after it has joined.

Rejected: a shell, which takes 1 ms, because of the environment (see `prefix`), and because dash
cannot name a descriptor above 9; a `preexec_fn`, because of its deadlocks with threads;
CLONE_INTO_CGROUP, which Python does not reach (glibc does from 2.39 on, in `posix_spawn`); and
joining the group with this whole program for the time of the start, because of its other threads.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from currant._values.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

    from currant._system.accounts import Credentials

__all__ = ["find_interpreter", "handover_of", "numbers_of", "switches_user"]


FIRST = 3
"""The descriptor of the first socket: SD_LISTEN_FDS_START."""

SCRIPT = """\
import fcntl, os, sys
import _signal  # `signal` imports `enum`, which takes 7 ms
import warnings  # os.execvp does, and another user may not be able to read the module

# Python ignores these, and an ignored signal would stay ignored.
for name in ("SIGINT", "SIGPIPE", "SIGXFSZ"):
    _signal.signal(getattr(_signal, name), _signal.SIG_DFL)

def fail(what, status, error):
    os.write(2, f"cannot {what}: {error.strerror}\\n".encode())
    os._exit(status)

members, identity, numbers, keep_locale = sys.argv[1:5]
words, numbers = sys.argv[5:], [int(each) for each in numbers.split(",") if each]

if members:
    try:
        os.write(int(members), b"0")
    except OSError as error:
        fail("join its control group", 126, error)
    os.close(int(members))

if identity:
    user, group, extra = identity.split("/")
    try:
        if extra != "-":
            os.setgroups([int(each) for each in extra.split(",") if each])
        if group:
            os.setregid(int(group), int(group))
        if user:
            os.setreuid(int(user), int(user))
    except OSError as error:
        fail("become another user or group", 126, error)

first, end = 3, 3 + len(numbers)
copies = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, end) for number in numbers]
for number in {*range(first, end), *numbers} - set(copies):
    try:
        os.close(number)
    except OSError:
        pass
for target, copy in enumerate(copies, first):
    os.dup2(copy, target)

if not keep_locale:  # Python has set it, because there is no locale.
    os.environ.pop("LC_CTYPE", None)
if numbers:
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(numbers))
try:
    os.execvp(words[0], words)
except OSError as error:
    fail("run " + words[0], 127 if isinstance(error, FileNotFoundError) else 126, error)
"""


def numbers_of(listeners: Sequence[socket]) -> tuple[int, ...]:
    """Return the descriptors of the sockets in this program.

    Raises:
        SetupError: a socket was closed, or has the number of a standard file.
    """
    numbers = tuple(each.fileno() for each in listeners)
    for position, number in enumerate(numbers):
        if number < 0:
            raise SetupError(
                f"listen[{position}] is closed; keep the socket open until its commands have ended"
            )
        if number < FIRST:
            raise SetupError(f"listen[{position}] has the number of a standard file, {number}")
    return numbers


def find_interpreter() -> str:
    """Return the path of Python.

    Raises:
        SetupError: this program cannot start Python.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise SetupError(
            "the first program of the process has to be a Python interpreter, "
            "but sys.executable is none"
        )
    return sys.executable


def switches_user(credentials: Credentials | None, members: int | None) -> bool:
    """Return whether the process itself becomes another user, after it has joined its group."""
    return members is not None and credentials is not None and os.geteuid() == 0


def handover_of(
    listeners: Sequence[socket],
    *,
    has_locale: bool,
    members: int | None = None,
    credentials: Credentials | None = None,
) -> tuple[str, ...]:
    """Return the words to put before the command's own; none if there is nothing to hand over.

    Args:
        listeners: the sockets.
        has_locale: whether the command has the variable LC_CTYPE, which Python might set itself.
        members: the descriptor that makes the process a member of its control group, if any.
        credentials: whom the command runs as.

    Raises:
        SetupError: a socket was closed, or this program cannot start Python.
    """
    if not listeners and members is None:
        return ()
    return (
        find_interpreter(),
        *("-I", "-S", "-c", SCRIPT),
        "" if members is None else str(members),
        _identity(credentials) if switches_user(credentials, members) else "",
        ",".join(map(str, numbers_of(listeners))),
        "yes" if has_locale else "",
    )


def _identity(credentials: Credentials | None) -> str:
    if credentials is None:
        return ""
    user, group, extra = credentials
    numbers = "-" if extra is None else ",".join(map(str, extra))
    return f"{'' if user is None else user}/{'' if group is None else group}/{numbers}"
