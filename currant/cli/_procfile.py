"""Procfiles, as foreman and honcho read them: a process type a line, ``name: what the shell runs``.

Blank lines and lines that begin with ``#`` mean nothing; honcho passes over all other lines that it
cannot read, here they are an error.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from currant._values.errors import CommandError
from currant.cli._env import port_number, read_env_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "DEFAULT_PORT",
    "Application",
    "counts_of",
    "instances_of",
    "read_application",
    "select",
]

DEFAULT_PORT = 5000
PORTS_OF_A_TYPE = 100
"""How far the first port of a process type is from that of the one before it."""

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")


class Application(NamedTuple):
    """What a Procfile and the files of variables beside it say."""

    procfile: str
    processes: Mapping[str, str]
    variables: Mapping[str, str]


def read_application(procfile: str | None, env: str | None) -> Application:
    """Read a Procfile, and the variables for its processes.

    Args:
        procfile: its path; None: what ``PROCFILE`` says, first the one in the files of variables;
            else ``Procfile``.
        env: paths of files of variables, with commas between them; None: ``.env`` beside the
            Procfile, if there is one.

    Raises:
        CommandError: a file cannot be read, or a line of it.
    """
    folder = os.path.dirname(procfile or "")
    beside = os.path.join(folder, ".env")
    if env is not None:
        variables = read_env_files(path.strip() for path in env.split(","))
    else:
        variables = read_env_files([beside] if os.path.exists(beside) else [])
    if procfile is None:
        procfile = variables.get("PROCFILE") or os.environ.get("PROCFILE") or "Procfile"
    return Application(procfile, _read_procfile(procfile), variables)


def _read_procfile(path: str) -> dict[str, str]:
    """Return the lines for the shell by the name of their process type, in order.

    Raises:
        CommandError: the file cannot be read, a line is none, a name stands twice, or there is no
            process at all.
    """
    try:
        # Bytes that are no UTF-8 reach the shell as they are.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise CommandError(f"cannot read the Procfile {path}: {error.strerror}") from error
    processes: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise CommandError(
                f"{path}, line {number}: {text!r} is not of the form 'name: command'"
            )
        name, command = match.groups()
        if name in processes:
            raise CommandError(f"{path}, line {number}: there is a process {name!r} already")
        processes[name] = command
    if not processes:
        raise CommandError(f"{path}: there is no process in it")
    return processes


def select(processes: Mapping[str, str], names: Sequence[str]) -> Mapping[str, str]:
    """Return those of `processes` that have one of `names`, in the order of these; no names: all.

    Raises:
        CommandError: there is no process of a name.
    """
    if not names:
        return processes
    _check_known(names, processes)
    return {name: processes[name] for name in names}


def counts_of(formation: str, processes: Mapping[str, str]) -> dict[str, int]:
    """Return how many of each of `processes` there are to be.

    Args:
        formation: such as ``"web=2,worker=0"``; ``all`` is each that is not named, otherwise 1.
        processes: those that there are.

    Raises:
        CommandError: it cannot be read, or there is no process of a name.
    """
    given: dict[str, int] = {}
    for part in formation.split(",") if formation else ():
        name, _, count = part.partition("=")
        if not count.strip().isdecimal():
            raise CommandError(f"--formation: {part!r} is not of the form 'name=number'")
        given[name.strip()] = int(count)
    for_all = given.pop("all", 1) if "all" not in processes else 1
    _check_known(given, processes)
    return {name: given.get(name, for_all) for name in processes}


def instances_of(
    processes: Mapping[str, str], counts: Mapping[str, int], port: int
) -> Iterator[tuple[str, str, int]]:
    """Yield the name (``web.1``), the line for the shell and the port of each process to start.

    Raises:
        CommandError: there are no ports left.
    """
    for place, (name, line) in enumerate(processes.items()):
        for index in range(counts[name]):
            number = port + place * PORTS_OF_A_TYPE + index
            yield f"{name}.{index + 1}", line, port_number(str(number), f"{name}.{index + 1}")


def _check_known(names: Iterable[str], processes: Mapping[str, str]) -> None:
    for name in names:
        if name not in processes:
            known = ", ".join(processes)
            raise CommandError(f"there is no process {name!r} in the Procfile, there are {known}")
