"""`Template`: a command with placeholders, from which each job gets its command.

All checks that need no values are made once, when a template is built; `Template.command` does the
rest for each job, of which there may be a million.
"""

from __future__ import annotations

import os
import re
from posixpath import basename
from typing import TYPE_CHECKING, Final

from currant._batch.placeholders import Placeholder, split_text
from currant._batch.script import Script
from currant._batch.words import split_words
from currant._values.command import (
    Command,
    CommandLike,
    CommandOptions,
    DefaultName,
    command_with,
    with_words,
)
from currant._values.errors import CommandError, EmptyCommandError
from currant._values.shell_syntax import join_lines, join_words, why_shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._batch.rows import Row

__all__ = ["Template"]

_SHELL_CALL = ("/bin/sh", "-c")
"""What `Command.shell` puts before the line."""


_STAYS_WHOLE = re.compile(r"""[^\s'"\\]+""")
"""A text that is one word, whatever is beside it."""


class Template:
    """A command with placeholders, as `currant._batch.placeholders` describes them.

    The words of a `Command` may have placeholders; its options are kept as they are.  A script for
    a shell, including that of ``bash -c``, gets the values as parameters: no value becomes a part
    of its text.  If there is no placeholder, ``{}`` is appended.

    Attributes:
        text: the template as one line.
        base: the command with its placeholders.
        has_program: whether all jobs run the same program.
    """

    text: Final[str]
    base: Final[Command]
    has_program: Final[bool]

    def __init__(
        self,
        template: CommandLike,
        *,
        names: Sequence[str] | None = None,
        columns: int | None = None,
        shell: bool = False,
        options: CommandOptions | None = None,
    ) -> None:
        """Check a template.

        Args:
            template: a str is a line: it is split by the shell's quoting rules, or a shell runs it
                if it has shell syntax.  In a sequence, each item is an argument.
            names: the names of the columns; None if they have none.
            columns: the number of values of each row; None if it is not known.
            shell: whether a shell runs the line in any case.  The words of a sequence are joined by
                spaces then.
            options: options of the commands; they replace those of a `Command`.

        Raises:
            CommandError: the template is no command, or has a placeholder that is unknown, for a
                value beyond `columns`, or in a place without meaning.
        """
        line = _line_for_shell(template, names, shell=shell)
        given: CommandOptions = {} if options is None else options
        self.base = command_with(template, given) if line is None else Command.shell(line, **given)
        self.text = join_words(self.base.argv) if line is None else line
        self._words = split_words(self.base.argv, names, columns, may_exec=line is not None)
        is_line = self.base.argv[:-1] == _SHELL_CALL
        self._script = self._words[-1] if is_line else None
        self.has_program = isinstance(self._words[0], str)

    def fill(self, row: Row, number: int, slot: int) -> tuple[str, ...]:
        """Return the words of the command of one job.

        Args:
            row: the values of the job.
            number: the number of the job, from 1.
            slot: the slot of the job, from 1.

        Raises:
            CommandError: the row has no value for a placeholder, or the program is empty.
        """
        words: list[str] = []
        for word in self._words:
            if isinstance(word, str):
                words.append(word)
            elif isinstance(word, tuple):
                words.append(
                    "".join(
                        [
                            part if isinstance(part, str) else part.one_text(row, number, slot)
                            for part in word
                        ]
                    )
                )
            else:
                words += word.texts(row, number, slot)
        if not words or not words[0]:
            raise EmptyCommandError(f"job {number} has no program to run: {self.text}")
        return tuple(words)

    def command(self, row: Row, number: int, slot: int, name: str | None = None) -> Command:
        """Return the command of one job.

        Args:
            row: the values of the job.
            number: the number of the job, from 1.
            slot: the slot of the job, from 1.
            name: the name of the command; None: the name of the template's command, or if it has
                none, the last path component of the program.

        Raises:
            CommandError: the row has no value for a placeholder, or the program is empty.
        """
        words = self.fill(row, number, slot)
        if name is None:
            name = self.base.name
            if isinstance(name, DefaultName):
                name = DefaultName(basename(words[0].rstrip("/")) or words[0])
        return with_words(self.base, words, name)

    def line(self, row: Row, number: int, slot: int) -> str:
        """Return the command of one job as a line that a shell would run.

        Arguments as for `fill`.

        Raises:
            CommandError: the row has no value for a placeholder, or the program is empty.
        """
        if isinstance(self._script, Script):
            line = self._script.line(row, number, slot)
            if line is not None:
                return line
        return join_words(self.fill(row, number, slot))


def _line_for_shell(
    template: CommandLike, names: Sequence[str] | None, *, shell: bool
) -> str | None:
    """Return the line that a shell has to run; None if the template needs none."""
    if isinstance(template, Command):
        if shell:
            raise CommandError("use Command.shell instead of shell=True for a Command")
        return None
    if isinstance(template, str):
        if shell or why_shell(join_lines(template)) or _cannot_be_split(template, names):
            return template
        return None
    return " ".join([os.fspath(word) for word in template]) if shell else None


def _cannot_be_split(line: str, names: Sequence[str] | None) -> bool:
    """Return whether a placeholder would not stay whole if the line was split into words."""
    if not names:
        return False
    columns = [part for part in split_text(line, names, None) if isinstance(part, Placeholder)]
    return any(not _STAYS_WHOLE.fullmatch(column.text) for column in columns)
