"""``currant completion SHELL``: the script that makes a shell complete the words of `currant`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.shell_completion import get_completion_class

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["show_completion"]

PROGRAM, VARIABLE = "currant", "_CURRANT_COMPLETE"


class _Home(NamedTuple):
    """The file in which a shell looks for completions."""

    path: Path
    advice: str
    """The text that says how the shell loads the file."""


def _bash() -> _Home:
    path = Path(_xdg("XDG_DATA_HOME", "~/.local/share"), "bash-completion", "completions", PROGRAM)
    return _Home(path, "The package bash-completion loads it in new shells.")


def _zsh() -> _Home:
    advice = (
        "In ~/.zshrc, before compinit, it needs the line: fpath=(~/.zfunc $fpath).  Without "
        "compinit there, add: autoload -Uz compinit && compinit"
    )
    return _Home(Path("~/.zfunc", f"_{PROGRAM}"), advice)


def _fish() -> _Home:
    config = _xdg("XDG_CONFIG_HOME", "~/.config")
    return _Home(Path(config, "fish", "completions", f"{PROGRAM}.fish"), "fish loads it by itself.")


def _xdg(variable: str, default: str) -> str:
    """Return the folder that a variable names; XDG wants a relative path to be ignored."""
    folder = os.environ.get(variable, "")
    return folder if os.path.isabs(folder) else default


SHELLS: dict[str, Callable[[], _Home]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}


@click.command("completion")
@click.option("--install", is_flag=True, help="Write the script where the shell looks for it.")
@click.argument("shell", metavar="SHELL", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def show_completion(context: click.Context, shell: str, *, install: bool) -> None:
    """Print or install a script for completion in a shell.

    SHELL is bash, zsh or fish.  The script completes subcommands, options and the names of
    commands.  For one session: source <(currant completion bash), or: currant completion fish |
    source
    """
    program = context.find_root().command
    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(program, {}, PROGRAM, VARIABLE).source()
    if not install:
        click.echo(script)
        return
    home = SHELLS[shell]()
    path = Path(os.path.expanduser(home.path))
    if not path.is_absolute():
        raise click.UsageError("this user has no home folder; set HOME")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"{path} is written.  {home.advice}")
