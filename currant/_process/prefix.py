"""The words before a command's own that set up its process: resource limits and niceness.

A process has to set these for itself, between fork and exec.  A `preexec_fn` would do that in
Python, where a lock that another thread held during the fork is held for ever.  So `nice` and
`prlimit` do it: each of them is a small program that sets itself up and then becomes the next one.
The pid, the standard files, the signals and the arguments stay what they are.  A limit costs about
1 ms at each start, and a command without limits pays nothing.

Rejected: ``sh -c 'ulimit ...; exec "$@"'``, because a shell changes the environment (dash drops
variables whose name is no identifier, such as an exported function of bash), and Python as such a
program, because it takes 10 ms of processor time and is absent from a frozen application.

What the two programs would report on the command's stderr is found out before the start, as far as
it can be known: a missing program, a limit above the hard limit, a missing privilege.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._system.rlimits import hard_limit, may_have_niceness, niceness_after
from currant._values.errors import SetupError

if TYPE_CHECKING:
    from currant._values.limits import Limits

__all__ = ["prefix_of"]


OPTIONS = {
    "memory": "--as",
    "cpu_time": "--cpu",
    "file_size": "--fsize",
    "open_files": "--nofile",
    "processes": "--nproc",
    "core": "--core",
}
"""The options of `prlimit`."""

FOLDERS = os.pathsep.join(["/usr/local/bin", "/usr/bin", "/bin"])
"""Where programs of the system are looked for after PATH."""


def prefix_of(nice: int, limits: Limits | None, *, is_other_user: bool) -> tuple[str, ...]:
    """Return the words to put before the command's own; none if there is nothing to set up.

    Args:
        nice: the niceness, relative to that of this program.
        limits: the limits.
        is_other_user: whether the process becomes another user before its first program runs.

    Raises:
        SetupError: the system lacks a program, or does not permit a limit or the niceness.
    """
    niceness = _niceness(nice, is_other_user) if nice else ()
    return (*niceness, *_limits(limits))


def _niceness(increment: int, is_other_user: bool) -> tuple[str, ...]:
    niceness = niceness_after(increment)
    if not may_have_niceness(niceness, is_other_user=is_other_user):
        raise SetupError(
            f"it may not have the niceness {niceness}, which is below that of this program; that "
            "takes CAP_SYS_NICE as the same user, or a limit that allows it ('ulimit -e')"
        )
    # Without "--", which busybox takes for the program.
    return (_find("nice", "coreutils", "the niceness"), "-n", str(increment))


def _limits(limits: Limits | None) -> tuple[str, ...]:
    if limits is None:
        return ()
    values = {name: getattr(limits, name) for name in OPTIONS}
    options = [_limit(name, value) for name, value in values.items() if value is not None]
    return (_find("prlimit", "util-linux", "limits"), *options, "--") if options else ()


def _limit(name: str, value: int) -> str:
    hard = hard_limit(name)
    if hard is not None and value > hard:
        raise SetupError(
            f"its limit {name}={value} is above the hard limit of this program, {hard}; "
            "raise that, or lower the limit"
        )
    # A process that uses up its time gets SIGKILL at the hard limit, and SIGXCPU only before that.
    highest = value + 1 if name == "cpu_time" and value != hard else value
    return f"{OPTIONS[name]}={value}:{highest}"


def _find(program: str, package: str, what: str) -> str:
    # `shutil` imports what reads archives, which takes 2 ms, and few commands have limits.
    from shutil import which  # noqa: PLC0415

    path = which(program) or which(program, path=FOLDERS)
    if path is None:
        raise SetupError(
            f"this system lacks the program {program!r} of {package}, which sets {what}"
        )
    return os.path.abspath(path)
