"""``currant exec NAME -- COMMAND``: one command with the environment of another.

The command takes the place of currant (`os.execvpe`), so the command has the terminal and gets the
signals, and the exit status is that of the command.
"""

from __future__ import annotations

import os
import re
import signal as signals
from typing import TYPE_CHECKING, NamedTuple

import click

from currant._values.errors import CommandError, CurrantError, suggestion
from currant._values.variables import checked_env
from currant.cli._config_options import FILE_OPTIONS, complete_command
from currant.cli._errors import report_error
from currant.cli._host_options import add_options
from currant.cli._prepare.from_config import config_files, read_config
from currant.cli._prepare.runner import with_replicas
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

    from currant.config._procfile import Application

__all__ = ["ProcessEnvironment", "find_environment", "run_with_environment"]


class ProcessEnvironment(NamedTuple):
    """The working directory and the variables of a process."""

    cwd: str | None
    """The working directory; None: the current folder."""
    variables: Mapping[str, str]
    """The variables in addition to those of currant's environment."""
    inherits: bool = True
    """Whether the process has the variables of currant's environment."""


@click.command("exec", context_settings={"allow_interspersed_args": False})
@add_options(FILE_OPTIONS)
@click.argument("name", shell_complete=complete_command)
@click.argument("words", metavar="[--] COMMAND [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def run_with_environment(
    name: str, words: Sequence[str], files: Sequence[str], env: str | None
) -> int:
    """Run COMMAND with the environment of another command.

    COMMAND runs in the directory of that command, too.  NAME is a command of the configuration, or
    a process of the Procfile; web.2 is a replica or an instance of it, with a number or a port of
    its own.  COMMAND takes the place of currant, so the exit status is that of COMMAND.

    Example: currant exec web -- python manage.py shell
    """
    command = list(words[1:] if words[:1] == ("--",) else words)
    if not command or not command[0]:
        raise click.UsageError(f"give the command to run: currant exec {name} -- COMMAND")
    try:
        found = find_environment(name, files, env)
    except CurrantError as error:
        return report_error(error)
    if found.cwd is not None:
        try:
            os.chdir(found.cwd)
        except OSError as error:
            raise click.UsageError(f"cannot enter {found.cwd}: {error.strerror}") from error
    return _exec(command, {**(os.environ if found.inherits else {}), **found.variables})


def find_environment(name: str, files: Sequence[str], env: str | None) -> ProcessEnvironment:
    """Return the environment of a command of the configuration, or of a process of the Procfile.

    Args:
        name: the name; of a replica or an instance, such as ``web.2``, too.
        files: as for `config_files`.
        env: files of variables, separated by commas.

    Raises:
        CurrantError: a file is wrong, or there is no such command.
    """
    paths = config_files(files)
    if paths is None:
        return _environment_of_process(name, read_application(files, env))
    config = read_config(paths, env)
    known = {each.name: each for each in [*with_replicas(config.commands), *config.commands]}
    command = known.get(name)
    if command is None:
        names = [each.name for each in config.commands]
        raise CommandError(f"there is no command {name!r}{suggestion(name, names)}")
    return ProcessEnvironment(command.cwd, command.env, command.inherit_env)


def _environment_of_process(name: str, application: Application) -> ProcessEnvironment:
    numbered = re.fullmatch(r"(.+)\.([1-9][0-9]{0,4})", name)
    process_type, number = (numbered[1], int(numbered[2])) if numbered else (name, 1)
    select_processes(application.processes, [process_type])
    counts = dict.fromkeys(application.processes, 1) | {process_type: number}
    port = first_port(None, application.variables)
    instances = expand_instances(application.processes, counts, port)
    wanted = f"{process_type}.{number}"
    instance = next(each for each in instances if each.name == wanted)
    cwd = os.path.dirname(application.procfile) or None
    return ProcessEnvironment(cwd, checked_env(instance_variables(instance, application.variables)))


def _exec(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    for ignored in (signals.SIGPIPE, signals.SIGXFSZ):  # Python ignores them; programs do not.
        signals.signal(ignored, signals.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted
    except FileNotFoundError as error:
        if os.sep in command[0]:
            text = f"{command[0]!r}, or the interpreter that its first line names, does not exist"
            raise click.UsageError(text) from error
        raise click.UsageError(f"there is no program {command[0]!r} in the PATH") from error
    except OSError as error:
        raise click.UsageError(f"cannot run {command[0]!r}: {error.strerror}") from error
