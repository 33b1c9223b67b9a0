"""Read Procfiles as foreman and honcho do: one process type per line, ``name: command line``.

Blank lines and lines that begin with ``#`` are ignored.  honcho also skips any other line that it
cannot parse; currant reports an error.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from currant._values.errors import CommandError, suggestion
from currant.config._env_files import read_default_env_file, read_env_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_PROCFILE",
    "PORTS_PER_TYPE",
    "Application",
    "Instance",
    "expand_instances",
    "first_port",
    "instance_variables",
    "parse_formation",
    "parse_port",
    "read_application",
    "read_procfile",
    "select_processes",
]

DEFAULT_PROCFILE = "Procfile"
NOTHING_TO_START = (
    "there is no currant.toml in this folder or above it, and no Procfile in this folder; 'currant "
    "init' writes a currant.toml"
)
DEFAULT_PORT = 5000
PORTS_PER_TYPE = 100
"""The distance between the first ports of two successive process types."""

MAX_SIZE = 1 << 20
"""The most characters of a Procfile.  A larger file, such as a device, is a mistake."""

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")


class Application(NamedTuple):
    """Procfiles and the variables for their processes."""

    procfile: str
    """The path of the first Procfile."""
    processes: Mapping[str, str]
    """The command line of each process type, by name, in the order of the Procfile."""
    variables: Mapping[str, str]


class Instance(NamedTuple):
    """One process to start, such as ``web.1``."""

    name: str
    line: str
    """The command line for the shell."""
    port: int


def read_application(procfiles: Sequence[str], env: str | None) -> Application:
    """Read Procfiles, and the variables for their processes.

    Args:
        procfiles: the paths of the Procfiles; later files replace processes of earlier files.
            Empty: the value of ``PROCFILE`` in the files of variables, or else in currant's
            environment, or else ``Procfile``.
        env: paths of files of variables, separated by commas; None: ``.env`` beside the first
            Procfile, if this file exists.

    Raises:
        CommandError: a file cannot be read, a line cannot be parsed, or there is no file at all.
    """
    if env is not None:
        variables = read_env_files(path.strip() for path in env.split(","))
    else:
        variables = read_default_env_file(os.path.dirname(procfiles[0]) if procfiles else "")
    if not procfiles:
        named = variables.get("PROCFILE") or os.environ.get("PROCFILE")
        if not named and not os.path.lexists(DEFAULT_PROCFILE):
            raise CommandError(NOTHING_TO_START)
        procfiles = [named or DEFAULT_PROCFILE]
    processes: dict[str, str] = {}
    for procfile in procfiles:
        processes |= read_procfile(procfile)
    return Application(procfiles[0], processes, variables)


def read_procfile(path: str) -> dict[str, str]:
    """Return the command line of each process type, by name, in the order of the file.

    Raises:
        CommandError: the file cannot be read, a line cannot be parsed, a name occurs twice, or the
            file defines no process.
    """
    try:
        # Bytes that are not valid UTF-8 reach the shell unchanged.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise CommandError(f"cannot read the Procfile {path}: {error.strerror}") from error
    if len(text) > MAX_SIZE:
        raise CommandError(f"{path} is larger than {MAX_SIZE >> 20} MiB, so it is no Procfile")
    lines = text.split("\n")
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
            raise CommandError(f"{path}, line {number}: process {name!r} is already defined")
        processes[name] = command
    if not processes:
        raise CommandError(f"{path} defines no process")
    return processes


def select_processes(processes: Mapping[str, str], names: Sequence[str]) -> Mapping[str, str]:
    """Return the processes with the given names, in the order of `names`; all if `names` is empty.

    Raises:
        CommandError: the Procfile has no process with one of the names.
    """
    if not names:
        return processes
    _check_defined(names, processes)
    return {name: processes[name] for name in names}


def parse_formation(
    option: str,
    formation: str,
    processes: Mapping[str, str],
    types: Collection[str],
    *,
    default: int,
) -> dict[str, int]:
    """Return the number of instances of each process type.

    Args:
        option: the option that the formation belongs to, for the error message.
        formation: such as ``"web=2,worker=0"``.  ``all`` sets the number for each process type that
            the formation does not name.
        processes: the process types that may be named: all, or the arguments of `start`.
        types: all process types of the Procfile.
        default: the number for a process type that the formation does not name, without ``all``.

    Raises:
        CommandError: the formation cannot be parsed, or names a process that does not exist.
    """
    given: dict[str, int] = {}
    for part in formation.split(","):
        name, _, count = part.partition("=")
        if not count.strip().isdecimal():
            raise CommandError(f"{option}: {part!r} is not of the form 'name=number'")
        given[name.strip()] = int(count)
    others = given.pop("all", default) if "all" not in processes else default
    for name in given:
        if name in types and name not in processes:
            raise CommandError(
                f"{option} {name}: the arguments do not select this process, only "
                f"{', '.join(processes)}"
            )
    _check_defined(given, processes, f"{option} {formation}: ")
    return {name: given.get(name, others) for name in processes}


def expand_instances(
    processes: Mapping[str, str], counts: Mapping[str, int], first_port: int
) -> Iterator[Instance]:
    """Yield each process to start, with its own port.

    Raises:
        CommandError: a port would be above 65535.
    """
    for place, (process_type, line) in enumerate(processes.items()):
        for index in range(counts[process_type]):
            name = f"{process_type}.{index + 1}"
            port = first_port + place * PORTS_PER_TYPE + index
            yield Instance(name, line, parse_port(str(port), name))


def first_port(given: str | None, variables: Mapping[str, str]) -> int:
    """Return the first port: as given, or of the files of variables, or of the environment.

    Args:
        given: the value of ``--port``; None: the option was not given.
        variables: from files.

    Raises:
        CommandError: the port is not valid.
    """
    sources = (
        ("--port", given),
        ("PORT in the file of variables", variables.get("PORT")),
        ("the variable PORT", os.environ.get("PORT")),
    )
    return next((parse_port(port, source) for source, port in sources if port), DEFAULT_PORT)


def instance_variables(instance: Instance, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an instance, and the variables from files."""
    names = dict.fromkeys(("PS", "HONCHO_PROCESS_NAME"), instance.name)
    return {**variables, "PORT": str(instance.port), **names}


def parse_port(text: str, source: str) -> int:
    """Return a port as a number.

    Args:
        text: the port in decimal.
        source: the option, variable or process that the port belongs to, for the error message.

    Raises:
        CommandError: `text` is not a valid port.
    """
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise CommandError(f"{source}: {text!r} is not a valid port")
    return int(text)


def _check_defined(
    names: Iterable[str], processes: Mapping[str, str], selected_by: str = ""
) -> None:
    for name in names:
        if name not in processes:
            known = suggestion(name, tuple(processes))
            raise CommandError(f"{selected_by}there is no process {name!r} in the Procfile{known}")
