"""`Limits`: what a command may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

from currant._values.checks import check_count

__all__ = ["Limits"]


MAX_LIMIT = 2**63 - 1

MINIMUM = {"file_size": 0, "core": 0}
"""The least value of a limit; 1 for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a command may use: the resource limits that its process starts with.

    The system applies them to each process by itself, and a child of a process inherits them.  None
    leaves a limit as it is in the host program.  A limit above the hard limit of the host program
    is a `CommandError`, before anything starts.

    With ``Runner(cgroup=True)``, `memory` and `processes` hold for the command with all of its
    descendants together, if its control group has the controllers: `memory` is then memory in use,
    beyond which the system kills a process, and `processes` holds for root, too.

    Attributes:
        memory: bytes of address space (RLIMIT_AS).  Beyond that, memory cannot be allocated: Python
            raises `MemoryError`.  Some programs reserve far more than they use (Java, Go, Node.js).
        cpu_time: whole seconds of processor time (RLIMIT_CPU).  Then the process gets SIGXCPU, and
            SIGKILL after another second.
        file_size: bytes of a file that the process writes (RLIMIT_FSIZE).  Then the process gets
            SIGXFSZ; a program that ignores the signal, such as Python, gets an error.  Pipes have
            no such limit.
        open_files: how many files the process may have open (RLIMIT_NOFILE).
        processes: how many processes and threads its user may have, all together (RLIMIT_NPROC).
            The system does not limit root.
        core: bytes of a core dump (RLIMIT_CORE); 0: none.

    Raises:
        CommandError: a limit is no integer, negative or too large.
    """

    memory: int | None = None
    cpu_time: int | None = None
    file_size: int | None = None
    open_files: int | None = None
    processes: int | None = None
    core: int | None = None

    def __post_init__(self) -> None:
        for spec in fields(self):
            _check_limit(spec.name, getattr(self, spec.name), MINIMUM.get(spec.name, 1))


def _check_limit(what: str, value: object, minimum: int) -> None:
    if value is not None:
        check_count(f"the limit {what}", value, MAX_LIMIT, minimum=minimum)
