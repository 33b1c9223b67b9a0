"""The pages of the documentation: each command line has a subcommand and options that exist."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click  # noqa: TID253 - the options are read without a process
import pytest

from currant.cli._commands import currant
from tests.test_readme import PAGES, SHELL, short

if TYPE_CHECKING:
    from pathlib import Path

IN_TEXT = re.compile(r"`(currant [a-z][^`]*)`")
IN_BLOCK = re.compile(r"^(currant [a-z].*)$", re.MULTILINE)


def command_lines(text: str) -> list[str]:
    """Return the command lines of ``currant`` in the text and the shell blocks of a page."""
    in_text = [line.replace("\\|", "|") for line in IN_TEXT.findall(text)]
    return in_text + [line for block in SHELL.findall(text) for line in IN_BLOCK.findall(block)]


def parse(line: str) -> None:
    """Parse a command line as `currant` does.

    Raises:
        click.UsageError: a subcommand or an option does not exist, or an option lacks its value.
    """
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = currant
    while isinstance(command, click.Group):
        context = click.Context(command)
        _, inner, words = command.resolve_command(context, words)
        assert inner is not None
        command = inner
    context = click.Context(command, **command.context_settings)
    command.make_parser(context).parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_each_command_line_of_a_page_has_options_that_exist(page: Path) -> None:
    """A reader who copies a command line gets no usage error."""
    wrong = []
    for line in command_lines(page.read_text()):
        try:
            parse(line)
        except click.UsageError as error:
            wrong.append(f"{line}: {error.format_message()}")
    assert wrong == []


@pytest.mark.parametrize(
    "line", ["currant runn a", "currant run --grce 3 a", "currant run --grace"]
)
def test_wrong_command_line_is_noticed(line: str) -> None:
    """The check above fails for a subcommand or an option that does not exist."""
    with pytest.raises(click.UsageError):
        parse(line)
