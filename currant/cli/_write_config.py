"""``currant init``: a first configuration, from a Procfile or from answers."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from currant._values.errors import CommandError, CurrantError
from currant.cli._errors import report_error
from currant.cli._prepare.labels import default_name
from currant.cli._signals import raising_interrupts
from currant.config._find import CONFIG
from currant.config._procfile import DEFAULT_PORT, DEFAULT_PROCFILE, PORTS_PER_TYPE, read_procfile
from currant.config._toml import to_toml, toml_key
from currant.config._variables import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["from_commands", "from_processes", "init"]

_PORT = re.compile(r"\$(?:PORT\b|\{PORT\b)")

EXISTS = f"{CONFIG} exists already; nothing has been written"

HEADER = """\
# What `currant start` starts.  `currant check` lists it, `currant graph` shows what waits for what.
# All settings: `currant schema`.

"""

ADVICE = """
# More about a command:
#
# [commands.web]
# command = "uvicorn web:app --port 8000"
# ready = "http:8000/"
# after = { db = "ready" }
# restart = "on-failure"
"""


@click.command()
@click.option(
    "-f",
    "--file",
    "--procfile",
    "procfile",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The Procfile to read.  [default: Procfile, if it exists; otherwise currant asks]",
)
def init(procfile: str | None) -> int:
    """Write a first currant.toml.

    The commands come from a Procfile.  If there is none, currant asks for them.
    """
    if procfile is None and os.path.exists(DEFAULT_PROCFILE):
        procfile = DEFAULT_PROCFILE
    try:
        os.getcwd()  # `run_group` reports it if the folder was deleted.
        if os.path.lexists(CONFIG):
            raise CommandError(EXISTS)
        if procfile is not None:
            text = from_processes(read_procfile(procfile))
        elif sys.stdin.isatty():
            with raising_interrupts():  # The modes of the terminal must be restored.
                text = from_commands(_ask())
        else:
            raise CommandError(
                f"there is no {DEFAULT_PROCFILE} here, and nobody to ask: stdin is no terminal"
            )
        _write(text)
    except CurrantError as error:
        return report_error(error)
    click.echo(f"wrote {CONFIG}; 'currant check' lists what it starts")
    return 0


def _ask() -> dict[str, str]:
    """Ask for commands until there are no more."""
    lines: dict[str, str] = {}
    while line := _next_line():
        name = click.prompt("Its name", default=_free_name(line, lines))
        while name in lines:
            click.echo(f"Another command has the name {name}.")
            name = click.prompt("Its name", default=_free_name(line, lines))
        lines[name] = line
    if not lines:
        raise CommandError("no command was given, so nothing has been written")
    return lines


def _next_line() -> str:
    """Ask for a command; return an empty text if there are no more, also after Ctrl-D."""
    try:
        line = click.prompt("A command to start (none: done)", default="", show_default=False)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # Otherwise it was Ctrl-C.
            click.echo()
            return ""
        raise
    return line.strip()


def _free_name(line: str, taken: Mapping[str, str]) -> str:
    name = base = default_name(line)
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def from_commands(lines: Mapping[str, str]) -> str:
    """Return the text of a configuration of shell lines, by name."""
    return HEADER + "[commands]\n" + "".join(_pairs(lines)) + ADVICE


def from_processes(lines: Mapping[str, str]) -> str:
    """Return the text of a configuration with the same effect as a Procfile.

    Each process that uses the variable PORT gets the same port as from the Procfile.
    """
    ports = {
        name: DEFAULT_PORT + index * PORTS_PER_TYPE
        for index, name in enumerate(lines)
        if _PORT.search(lines[name])
    }
    text = HEADER + 'kill_others_on = "exit"  # as with a Procfile\n'
    if not ports:
        return text + "\n[commands]\n" + "".join(_pairs(lines))
    for name, line in lines.items():
        text += f"\n[commands.{toml_key(name)}]\ncommand = {to_toml(escape(line))}\n"
        if name in ports:
            text += f"env = {{ PORT = {ports[name]} }}\n"
    return text


def _pairs(lines: Mapping[str, str]) -> Iterator[str]:
    for name, line in lines.items():
        yield f"{toml_key(name)} = {to_toml(escape(line))}\n"


def _write(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise CommandError("a command is not valid UTF-8, which TOML needs") from error
    try:
        with open(CONFIG, "xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise CommandError(EXISTS) from error
    except OSError as error:
        with suppress(OSError):  # Half a file would be in the way of the next attempt.
            os.unlink(CONFIG)
        raise CommandError(f"cannot write {CONFIG}: {error.strerror}") from error
