"""`LaunchSpec`: all that a process is started and stopped with, and nothing else.

A `Command` is one with policies.  Whoever starts processes needs no more than this, so a launcher
on another host can be sent a spec without the rest of the package.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields
from signal import SIGTERM
from typing import TYPE_CHECKING, Literal

from currant._values.checks import check_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LaunchSpec", "Pty", "has_input"]


@dataclass(frozen=True, slots=True)
class Pty:
    """A pseudo-terminal for a command, by its size.

    Attributes:
        rows: how many lines it has, from 1 to 65535.
        columns: how many characters a line has, from 1 to 65535.

    Raises:
        CommandError: one of them is something else.
    """

    rows: int = 24
    columns: int = 80

    def __post_init__(self) -> None:
        for what, number in (("rows", self.rows), ("columns", self.columns)):
            check_size(what, number)


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What a process is started and stopped with; see `Command` for each field.

    Nothing is checked here: a `Command` checks what a caller gives.
    """

    argv: tuple[str, ...]
    _: KW_ONLY
    name: str
    cwd: str | None = None
    env: Mapping[str, str]
    inherit_env: bool = True
    stderr: Literal["separate", "stdout"] = "separate"
    stdin: bytes | int | Path | None = None
    pty: Pty | Literal[False] = False
    stop_signal: int = SIGTERM
    grace: float | None = None

    @staticmethod
    def of(command: LaunchSpec) -> LaunchSpec:
        """Return these fields of `command` alone, in a form that pickles."""
        values = {spec.name: getattr(command, spec.name) for spec in fields(LaunchSpec)}
        return LaunchSpec(**values | {"env": dict(command.env)})


def has_input(spec: LaunchSpec) -> bool:
    """Tell whether we write to the stdin of the process: to a pipe, or to its terminal."""
    return bool(spec.pty) or isinstance(spec.stdin, (bytes, int))
