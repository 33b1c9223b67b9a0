"""``currant graph``: which command waits for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from currant._values.errors import CurrantError
from currant._values.printable import printable
from currant.cli._config_options import FILE_OPTIONS
from currant.cli._errors import report_error
from currant.cli._host_options import add_options
from currant.cli._prepare.from_config import config_files, read_config
from currant.config._procfile import read_application

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["graph", "mermaid", "tree"]


@click.command()
@add_options(FILE_OPTIONS)
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Write a diagram for Mermaid.")
def graph(files: Sequence[str], env: str | None, *, as_mermaid: bool) -> int:
    """Show which command waits for which, as a tree.

    Below each command are the commands that it waits for.
    """
    try:
        needs = _needs(files, env)
    except CurrantError as error:
        return report_error(error)
    for line in (mermaid if as_mermaid else tree)(needs):
        click.echo(line)
    return 0


def _needs(files: Sequence[str], env: str | None) -> dict[str, dict[str, str]]:
    """Return the dependencies of each command by name: the condition, or "" for ready."""
    paths = config_files(files)
    if paths is None:
        return {name: {} for name in read_application(files, env).processes}
    commands = read_config(paths, env).commands
    return {
        command.name: {name: until or "" for name, until in command.after.items()}
        for command in commands
    }


def tree(needs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a tree for each command that no other command waits for.

    The dependencies of a command are shown once; after that the command has dots.

    Args:
        needs: the dependencies of each command: the name and the condition, or "" for ready.
    """
    needed = {name for others in needs.values() for name in others}
    shown = set[str]()
    for name in needs:
        if name not in needed:
            yield printable(name)
            yield from _branches(name, needs, shown)


def _branches(root: str, needs: Mapping[str, Mapping[str, str]], shown: set[str]) -> Iterator[str]:
    """Yield the lines below a command.  A chain may be longer than Python's recursion is deep."""

    def branches_of(name: str, indent: str) -> Iterator[tuple[str, str, str, str]]:
        """Yield the branches of a command, the last one first, unless they have been shown."""
        others: Mapping[str, str] = {} if name in shown else needs.get(name, {})
        shown.add(name)
        corner, line = "└── ", "    "
        for other, until in reversed([*others.items()]):
            yield indent + corner, indent + line, other, until
            corner, line = "├── ", "│   "

    left = [*branches_of(root, "")]
    while left:
        start, indent, name, until = left.pop()
        again = " ..." if name in shown and needs.get(name) else ""
        state = f" ({until})" if until else ""
        yield f"{start}{printable(name)}{state}{again}"
        left += branches_of(name, indent)


def mermaid(needs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a Mermaid flow chart, with an arrow from each dependency.

    Args:
        needs: as for `tree`.
    """
    others = (name for others in needs.values() for name in others)
    ids = {name: f"c{number}" for number, name in enumerate(dict.fromkeys([*needs, *others]))}
    yield "flowchart LR"
    for name, identifier in ids.items():
        yield f'    {identifier}["{_label(name)}"]'
    for name, before in needs.items():
        for other, until in before.items():
            state = f"|{until}|" if until else ""
            yield f"    {ids[other]} -->{state} {ids[name]}"


def _label(name: str) -> str:
    """Return a name as Mermaid shows it: characters with a meaning become entities."""
    return "".join(c if c.isalnum() or c in " -_." else f"#{ord(c)};" for c in printable(name))
