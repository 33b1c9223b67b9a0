"""``currant exec NAME -- COMMAND``: one command with the environment of a process of the Procfile.

The command takes the place of currant (`os.execvpe`), so it has its terminal, its signals and its
exit status.
"""

from __future__ import annotations

import os
import re
import signal as signals
from typing import TYPE_CHECKING, NamedTuple

import click

from currant._values.errors import CurrantError
from currant.cli._host_options import add_options
from currant.cli._procfile import (
    complete_process,
    expand_instances,
    first_port,
    instance_variables,
    read_application,
    select_processes,
)
from currant.cli._runner_options import PROCFILE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

__all__ = ["ProcessEnvironment", "find_environment", "run_with_environment"]


class ProcessEnvironment(NamedTuple):
    """What a process of the Procfile finds when it starts."""

    cwd: str | None
    """The working directory; None: the present one."""
    variables: Mapping[str, str]
    """The variables that it has beside those of currant."""


@click.command("exec", context_settings={"allow_interspersed_args": False})
@add_options(PROCFILE_OPTIONS)
@click.argument("name", shell_complete=complete_process)
@click.argument("words", metavar="[--] COMMAND [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def run_with_environment(
    name: str, words: Sequence[str], procfile: str | None, env: str | None
) -> NoReturn:
    """Run COMMAND with the environment and the directory of the process NAME of the Procfile.

    NAME is a process type such as web, or one of its instances such as web.2, which have different
    ports.  COMMAND takes the place of currant, so the exit status is that of COMMAND.

    Example: currant exec web -- python manage.py shell
    """
    command = list(words[1:] if words[:1] == ("--",) else words)
    if not command:
        raise click.UsageError(f"give the command to run: currant exec {name} -- COMMAND")
    try:
        found = find_environment(name, procfile, env)
    except CurrantError as error:
        raise click.UsageError(str(error)) from error
    if found.cwd is not None:
        os.chdir(found.cwd)  # The Procfile was found there.
    _exec(command, {**os.environ, **found.variables})


def find_environment(name: str, procfile: str | None, env: str | None) -> ProcessEnvironment:
    """Return the environment of a process of the Procfile.

    Args:
        name: the process type, or one of its instances such as ``web.2``.
        procfile: as for `read_application`.
        env: as for `read_application`.

    Raises:
        CommandError: a file cannot be read, or the Procfile has no such process.
    """
    application = read_application(procfile, env)
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


def _exec(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    for ignored in (signals.SIGPIPE, signals.SIGXFSZ):  # Python ignores them; programs do not.
        signals.signal(ignored, signals.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted
    except FileNotFoundError as error:
        raise click.UsageError(f"there is no program {command[0]!r} in the PATH") from error
    except OSError as error:
        raise click.UsageError(f"cannot run {command[0]!r}: {error.strerror}") from error
