"""``currant exec NAME -- COMMAND``: one command with the environment of another one.

The other one is a command of the configuration, or a process of the Procfile.  The command takes
the place of currant (`os.execvpe`), so it has its terminal, its signals and its exit status.
"""

from __future__ import annotations

import os
import re
import signal as signals
from typing import TYPE_CHECKING, NamedTuple

import click

from currant._values.errors import CurrantError
from currant.cli._build import with_replicas
from currant.cli._config_options import FILE_OPTIONS, complete_name
from currant.cli._from_config import config_files, read_config
from currant.cli._host_options import add_options
from currant.config._procfile import (
    expand_instances,
    first_port,
    instance_variables,
    read_application,
    select_processes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

__all__ = ["ProcessEnvironment", "find_environment", "run_with_environment"]


class ProcessEnvironment(NamedTuple):
    """What a command of the project finds when it starts."""

    cwd: str | None
    """The working directory; None: the present one."""
    variables: Mapping[str, str]
    """The variables that it has beside those of currant."""
    inherits: bool = True
    """Whether it has the variables of currant."""


@click.command("exec", context_settings={"allow_interspersed_args": False})
@add_options(FILE_OPTIONS)
@click.argument("name", shell_complete=complete_name)
@click.argument("words", metavar="[--] COMMAND [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def run_with_environment(
    name: str, words: Sequence[str], files: Sequence[str], env: str | None
) -> NoReturn:
    """Run COMMAND with the environment and the directory of the command NAME of the project.

    NAME is a command of the configuration or a process of the Procfile, such as web, or one of its
    replicas or instances, such as web.2.  COMMAND takes the place of currant, so the exit status is
    that of COMMAND.

    Example: currant exec web -- python manage.py shell
    """
    command = list(words[1:] if words[:1] == ("--",) else words)
    if not command:
        raise click.UsageError(f"give the command to run: currant exec {name} -- COMMAND")
    try:
        found = find_environment(name, files, env)
    except CurrantError as error:
        raise click.UsageError(str(error)) from error
    if found.cwd is not None:
        _change_to(found.cwd)
    _exec(command, {**(os.environ if found.inherits else {}), **found.variables})


def find_environment(name: str, files: Sequence[str], env: str | None) -> ProcessEnvironment:
    """Return the environment of a command of the project.

    Args:
        name: the command or process, or one of its replicas or instances such as ``web.2``.
        files: the files that the command line names; empty: those of the project.
        env: files of variables, separated by commas; None: the default.

    Raises:
        CurrantError: a file is wrong, or has no such command.
    """
    paths = config_files(files)
    if paths is None:
        return _environment_of_process(name, files, env)
    config = read_config(paths, env)
    commands = {each.name: each for each in with_replicas(config.commands)}
    command = commands.get(name) or commands.get(f"{name}.1")  # the first of several replicas
    if command is None:
        (command,) = config.select([name])  # The error has the nearest name.
    cwd = None if command.cwd is None else os.fspath(command.cwd)
    return ProcessEnvironment(cwd, command.env, command.inherit_env)


def _environment_of_process(name: str, files: Sequence[str], env: str | None) -> ProcessEnvironment:
    """Return the environment of a process of Procfiles."""
    application = read_application(files, env)
    numbered = re.fullmatch(r"(.+)\.([1-9][0-9]*)", name)
    process_type, number = (numbered[1], int(numbered[2])) if numbered else (name, 1)
    select_processes(application.processes, [process_type])
    counts = dict.fromkeys(application.processes, 1) | {process_type: number}
    port = first_port(None, application.variables)
    instances = expand_instances(application.processes, counts, port)
    wanted = f"{process_type}.{number}"
    instance = next(each for each in instances if each.name == wanted)
    cwd = os.path.dirname(application.procfile) or None
    return ProcessEnvironment(cwd, instance_variables(instance, application.variables))


def _change_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise click.UsageError(f"cannot enter the directory {folder}: {error.strerror}") from error


def _exec(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    for ignored in (signals.SIGPIPE, signals.SIGXFSZ):  # Python ignores them; programs do not.
        signals.signal(ignored, signals.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted
    except FileNotFoundError as error:
        raise click.UsageError(f"there is no program {command[0]!r} in the PATH") from error
    except OSError as error:
        raise click.UsageError(f"cannot run {command[0]!r}: {error.strerror}") from error
