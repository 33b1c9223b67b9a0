"""Hand listening sockets over to a command, as systemd does; see sd_listen_fds(3).

The program finds the sockets in the descriptors from 3 on, and the variables LISTEN_FDS, their
number, and LISTEN_PID, its own pid.  No process but the new one knows that pid before its program
runs, and no option of `Popen` gives a descriptor another number.  So Python itself, without `site`,
is the first program of the process: it moves the descriptors, sets the variables, and becomes the
next program.  That costs 10 to 20 ms of processor time at each start.

Rejected: a shell, because dash cannot name a descriptor above 9, and because of the environment
(see `prefix`); a `preexec_fn`, because of its deadlocks with threads.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from currant._values.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

__all__ = ["handover_of", "numbers_of"]


FIRST = 3
"""The descriptor of the first socket: SD_LISTEN_FDS_START."""

SCRIPT = """\
import fcntl, os, signal, sys

# Python ignores these, and an ignored signal would stay ignored.
for name in ("SIGINT", "SIGPIPE", "SIGXFSZ"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)

first, numbers, keep_locale = 3, [int(each) for each in sys.argv[1].split(",")], sys.argv[2]
words, end = sys.argv[3:], first + len(numbers)
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
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(numbers))
try:
    os.execvp(words[0], words)
except OSError as error:
    os.write(2, f"cannot run {words[0]}: {error.strerror}\\n".encode())
    os._exit(127 if isinstance(error, FileNotFoundError) else 126)
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


def handover_of(listeners: Sequence[socket], *, has_locale: bool) -> tuple[str, ...]:
    """Return the words to put before the command's own; none if there is no socket.

    Args:
        listeners: the sockets.
        has_locale: whether the command has the variable LC_CTYPE, which Python might set itself.

    Raises:
        SetupError: a socket was closed, or this program cannot start Python.
    """
    if not listeners:
        return ()
    if not sys.executable or getattr(sys, "frozen", False):
        raise SetupError("its sockets need a Python interpreter, but sys.executable is none")
    numbers = ",".join(map(str, numbers_of(listeners)))
    keep_locale = "yes" if has_locale else ""
    return (sys.executable, "-I", "-S", "-c", SCRIPT, numbers, keep_locale)
