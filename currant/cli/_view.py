"""The terminal during a run: keys, the input of a command, and pseudo-terminals."""

from __future__ import annotations

import os
import signal as signals
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import anyio

from currant._values.command import PIPE
from currant._values.errors import CommandError
from currant._values.launch_spec import Pty
from currant.cli._selection import select_commands
from currant.sinks._console import ConsoleSink
from currant.sinks._live import is_live

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from currant._supervisor.runner import Runner
    from currant._supervisor.sink_tasks import Sink
    from currant._values.command import Command
    from currant.cli._options import Options
    from currant.view import CommandInput, Keyboard

__all__ = ["Terminals", "View", "build_view", "wants_keys", "with_terminals"]

STDIN, STDOUT, STDERR = 0, 1, 2

PAUSE_LIMIT = 0.1
"""Seconds that the status line may take to disappear before a pause."""


def wants_keys(options: Options, *, quiet: bool) -> bool:
    """Return whether to take keys and show a status line, because a person is at a terminal."""
    if options["keys"] is False or options["interactive"] is not None or quiet:
        return False
    if options["raw"] or options["json"] or options["same"]:
        return False
    terminals = (STDIN, STDOUT, STDERR)
    return is_live(os.environ, *terminals) or (
        options["keys"] is True and all(map(os.isatty, terminals))
    )


class Terminals(NamedTuple):
    """The commands, and their connections to the terminal of this program.

    Attributes:
        commands: the commands, with their terminals and their input.
        name: the command that gets the input; None: no command.
        by_keys: whether that command has a terminal, and gets each key.
        labels: the names of the commands with a terminal of the size of this program's terminal ->
            the columns of the label before each line.
    """

    commands: Sequence[Command]
    name: str | None
    by_keys: bool
    labels: Mapping[str, int]

    @property
    def verbatim(self) -> Collection[str]:
        """The names of commands with output that is shown as written."""
        return () if self.name is None or not self.by_keys else (self.name,)


def with_terminals(commands: Sequence[Command], options: Options, label: int) -> Terminals:
    """Return the commands with the pseudo-terminals of ``--pty``, and the input of ``-i``.

    A terminal of the default size, as in a configuration, gets the size of this program's terminal.

    Args:
        commands: the commands.
        options: the options.
        label: the columns of the label before each line.

    Raises:
        CommandError: there is no command to get the input, or there are several.
    """
    name = _interactive_command(commands, options)
    changed: list[Command] = []
    labels: dict[str, int] = {}
    by_keys = False
    for command in commands:
        is_interactive = command.name == name
        if options["pty"] or command.pty == Pty():
            columns = 0 if is_interactive else label
            numbers = range(1, command.replicas + 1)
            names = [f"{command.name}.{n}" for n in numbers] if len(numbers) > 1 else [command.name]
            labels |= dict.fromkeys(names, columns)
            command = replace(command, pty=_size_beside(columns))  # noqa: PLW2901
        if is_interactive and command.pty:
            by_keys, command = True, replace(command, flush_after=0.0)  # noqa: PLW2901
        elif is_interactive:
            command = replace(command, stdin=PIPE)  # noqa: PLW2901
        changed.append(command)
    return Terminals(changed, name, by_keys, labels)


def _interactive_command(commands: Sequence[Command], options: Options) -> str | None:
    given = options["interactive"]
    if given is None:
        return None
    names = [command.name for command in commands if command.replicas == 1]
    found = sorted(select_commands("--interactive", given, names, ()))
    if len(found) != 1:
        raise CommandError(f"--interactive {given}: name one command: {', '.join(found or names)}")
    return found[0]


def _size_beside(label: int) -> Pty:
    try:
        size = os.get_terminal_size(STDOUT)
    except OSError:
        return Pty()
    if not size.lines or not size.columns:
        return Pty()
    return Pty(size.lines, max(1, size.columns - label))


def build_view(console: Sink, options: Options, terminals: Terminals) -> View | None:
    """Return the view for a run; None if there is no terminal.

    Args:
        console: the sink that shows the output.
        options: the options.
        terminals: the commands, with their terminals.
    """
    name, labels = terminals.name, terminals.labels
    if name is None and not wants_keys(options, quiet=False):  # The import costs 10 ms.
        return View(None, labels, console) if labels or os.isatty(STDERR) else None
    from currant.view import CommandInput, Keyboard, ViewConsole  # noqa: PLC0415

    if name is not None:
        by_keys = terminals.by_keys and os.isatty(STDIN)
        return View(CommandInput(name, by_keys=by_keys), labels, console)
    reader = Keyboard(console) if isinstance(console, ViewConsole) else None
    return View(reader, labels, console)


class View:
    """Reads the terminal during a run, and resizes the terminals of commands.

    Args:
        reader: reads stdin; None: stdin is not read.
        labels: as for `Terminals`.
        console: the sink that shows the output.
    """

    def __init__(
        self, reader: Keyboard | CommandInput | None, labels: Mapping[str, int], console: Sink
    ) -> None:
        self._reader = reader
        self._labels = labels
        self._console = console

    async def run(self, runner: Runner) -> None:
        """Read stdin until its end.  Cancellation: restores the modes of the terminal."""
        if self._reader is not None:
            await self._reader.run(runner)

    async def end_line(self, signal: int) -> None:
        """Begin a new line of output if the terminal has shown ``^C`` in this one.

        Cancellation: the line may or may not have begun.

        Args:
            signal: the signal that this program has received.
        """
        from currant.view import shows_interrupts  # noqa: PLC0415

        is_typed = signal in (signals.SIGINT, signals.SIGQUIT) and shows_interrupts(STDERR)
        if is_typed and isinstance(self._console, ConsoleSink):
            await self._console.end_line()

    async def pause(self) -> None:
        """Give the terminal back, because a signal is about to pause this program."""
        if self._reader is not None:
            with anyio.move_on_after(PAUSE_LIMIT):
                await self._reader.pause()
            self._reader.restore()

    def resume(self) -> None:
        """Take the terminal again."""
        if self._reader is not None:
            self._reader.resume()

    async def resize(self, runner: Runner) -> None:
        """Fit the status line and the terminals of commands to the new size of the terminal."""
        from currant.view import resize_terminals  # noqa: PLC0415

        if self._reader is not None:
            self._reader.resize()
        await resize_terminals(runner, STDOUT, self._labels)
