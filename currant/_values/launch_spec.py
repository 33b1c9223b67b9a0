"""`LaunchSpec`: the fields that are needed to start and stop one process.

A `Command` is a `LaunchSpec` with policies.  A launcher needs no more than the spec, so a program
that starts processes on another host can be sent one without the rest of the package.  That program
may run on Python 3.9, whose dataclasses have no keyword-only fields.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from signal import SIGTERM
from subprocess import PIPE
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from currant._values.checks import check_count
from currant._values.errors import CommandError
from currant._values.standard_files import is_open_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket
    from typing import TypeAlias

    from currant._values.limits import Limits
    from currant._values.lines import StreamName
    from currant._values.standard_files import KeptFile, StderrWord, StdoutWord

__all__ = [
    "SILENT",
    "KillMode",
    "LaunchSpec",
    "Leftovers",
    "Places",
    "Pty",
    "SignalTarget",
    "Silent",
    "check_portable",
    "has_input",
    "is_redirected",
    "places_of",
    "read_streams",
    "wrapped_argv",
]


KillMode: TypeAlias = Literal["group", "mixed"]
"""The processes that a stop asks: the whole group, or the leader alone.  SIGKILL goes to all."""

Leftovers: TypeAlias = Literal["stop", "wait", "leave"]
"""What happens to the processes that the leader leaves behind when it exits."""

SignalTarget: TypeAlias = Literal["group", "leader"]
"""The processes that a signal goes to: the whole group, or the leader alone."""


class Silent(Enum):
    """The type of `SILENT`, which stays the same object when it is pickled."""

    SILENT = "silent"

    def __repr__(self) -> str:
        return "SILENT"


SILENT: Final = Silent.SILENT
"""A stdin that stays open and silent until the process group is gone.

Unlike `PIPE`, which is closed when the block is left, and before a stop.  Some programs take the
end of their stdin for a request to exit, such as watchers that a terminal's user leaves with ^D.
"""

MAX_TERMINAL_SIZE = 65535
"""The most rows or columns of a terminal: the kernel keeps each number in 16 bits."""


@dataclass(frozen=True, slots=True)
class Pty:
    """The pseudo-terminal of a command, described by its size.

    Attributes:
        rows: the number of lines, 1 to 65535.
        columns: the number of characters in a line, 1 to 65535.

    Raises:
        CommandError: a number is out of range.
    """

    rows: int = 24
    columns: int = 80

    def __post_init__(self) -> None:
        check_count("rows", self.rows, MAX_TERMINAL_SIZE)
        check_count("columns", self.columns, MAX_TERMINAL_SIZE)


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """The description of a process: how to start it and how to stop it.

    `Command` documents each field but `probe_files`: the files that probes look at, whose state
    before the start is kept.  A spec is not checked when built; a `Command` is.
    """

    argv: tuple[str, ...]
    name: str = ""
    cwd: str | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    inherit_env: bool = True
    stdout: KeptFile | StdoutWord = None
    stderr: KeptFile | StderrWord = "separate"
    stdin: KeptFile | bytes | Silent | None = None
    pty: Pty | Literal[False] = False
    new_session: bool = True
    wrap: tuple[str, ...] | None = None
    umask: int | None = None
    user: str | int | None = None
    group: str | int | None = None
    extra_groups: tuple[str | int, ...] | None = None
    limits: Limits | None = None
    nice: int = 0
    listen: tuple[socket, ...] = ()
    stop_signal: int = SIGTERM
    grace: float | None = None
    kill_mode: KillMode | None = None
    leftovers: Leftovers | None = None
    host: str | None = None
    resources: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    probe_files: tuple[str, ...] = ()

    @staticmethod
    def of(command: LaunchSpec) -> LaunchSpec:
        """Return the fields of `command` that belong to a spec, in a form that can be pickled.

        Raises:
            CommandError: a standard file of the command is an open file of this program.
        """
        check_portable(command)
        values: dict[str, Any] = {
            spec.name: getattr(command, spec.name) for spec in fields(LaunchSpec)
        }
        values["env"], values["resources"] = dict(command.env), dict(command.resources)
        return LaunchSpec(**values)


def wrapped_argv(spec: LaunchSpec) -> tuple[str, ...]:
    """Return the words to run: the command's own, after those of `wrap`."""
    return (*(spec.wrap or ()), *spec.argv)


def has_input(spec: LaunchSpec) -> bool:
    """Return whether currant writes to the stdin of the process: through a pipe or a terminal."""
    return bool(spec.pty) or isinstance(spec.stdin, bytes) or spec.stdin == PIPE


def read_streams(spec: LaunchSpec) -> frozenset[StreamName]:
    """Return the streams that currant reads, through a pipe or a terminal."""
    is_merged = bool(spec.pty) or spec.stderr == "stdout"
    streams: tuple[StreamName, ...] = ("stdout",) if is_merged else ("stdout", "stderr")
    return frozenset(stream for stream in streams if not is_redirected(spec, stream))


def is_redirected(spec: LaunchSpec, stream: StreamName) -> bool:
    """Return whether a stream goes elsewhere, so that currant sees none of it."""
    return _place_of(spec, stream) is not None


class Places(NamedTuple):
    """Where the output streams go, as texts for messages; None: to currant."""

    stdout: str | None = None
    stderr: str | None = None


def places_of(spec: LaunchSpec) -> Places:
    """Return where the output of a command goes."""
    return Places(_place_of(spec, "stdout"), _place_of(spec, "stderr"))


def _place_of(spec: LaunchSpec, stream: StreamName) -> str | None:
    field: StreamName = "stdout" if spec.stderr == "stdout" else stream
    file = getattr(spec, field)
    if file in (None, "separate"):
        return None
    if file == "inherit":
        return f"the {field} of this program"
    if isinstance(file, Path):
        return f"the file {str(file)!r}"
    return f"the descriptor {file}" if isinstance(file, int) else f"the open file {file!r}"


def check_portable(spec: LaunchSpec) -> None:
    """Check that the spec may leave this program: a descriptor has no meaning elsewhere."""
    for field in ("stdin", "stdout", "stderr"):
        value = getattr(spec, field)
        if is_open_file(value):
            raise CommandError(
                f"command {spec.name!r} cannot be pickled or copied to another program, because "
                f"its {field} is an open file of this one, {value!r}; use a path"
            )
    if spec.listen:
        raise CommandError(
            f"command {spec.name!r} cannot be pickled or copied to another program, because its "
            "option listen has sockets of this one; build the command where it runs"
        )
