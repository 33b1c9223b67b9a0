"""``currant attach``: connect this terminal to a command of a running stack.

For a command with a terminal, this terminal is in raw mode, so each key goes to the command, also
Ctrl-C and Ctrl-Z.  For a command that reads a pipe, this terminal collects lines as usual, Ctrl-C
disconnects, and Ctrl-Z pauses this program.  At the end, and before a pause (SIGTSTP), currant
restores the modes of the terminal, and switches off the modes that the command has switched on.
After a pause, or after SIGSTOP and SIGCONT, currant sets all of them again.
"""

from __future__ import annotations

import os
import signal as signals
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import anyio
import click

from currant._values.printable import printable
from currant.cli._clients.ask import ask_stack, folder_option
from currant.cli._clients.terminal_modes import STDIN, STDOUT, ScreenModes, TerminalModes
from currant.cli._config_options import complete_command
from currant.cli._signals import (
    PAUSE_SIGNALS,
    pause_this_process,
    raising_interrupts,
    receive_signals,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from currant.stack._client import Attachment, CommandInfo, StackClient

__all__ = ["attach"]

DETACH_KEY = "^]"

FOREGROUND_INTERVAL = 0.5
"""Seconds between two looks whether the shell has put this program into the foreground."""


@click.command()
@click.option(
    "--detach-key",
    default=DETACH_KEY,
    show_default=True,
    metavar="^X",
    help="The key that disconnects the terminal: Ctrl with a letter, or with one of @[\\]^_.",
)
@folder_option
@click.argument("name", shell_complete=complete_command)
def attach(name: str, *, detach_key: str, folder: str | None) -> int:
    """Connect this terminal to a command of the running stack.

    The terminal shows the output of the command.  A command with a terminal of its own (pty) gets
    each key, and the size of this terminal; a command with a pipe gets whole lines.  Ctrl-]
    disconnects; the command goes on.
    """
    key = _character(detach_key)

    async def connect(client: StackClient) -> int:
        rows, columns = _size()
        async with client.attach(name, rows, columns) as attachment:
            shown = printable(attachment.name)
            if os.isatty(STDIN):
                click.echo(_greeting(shown, attachment, detach_key), err=True)
            with (
                receive_signals(PAUSE_SIGNALS) as pauses,  # A pause must restore the modes.
                TerminalModes(attachment.stdin, key) as modes,
            ):
                end = await _Terminal(attachment, key, modes).converse(pauses)
        if end is None:
            click.echo(f"currant: detached from {shown}, which goes on", err=True)
            return 0
        click.echo(f"currant: {shown} has ended: {end.error or end.exit}", err=True)
        return 0

    with raising_interrupts():  # The modes of the terminal must be restored.
        return ask_stack(folder, connect)


def _character(key: str) -> bytes:
    """Return the character of a key such as ``^]``.

    Raises:
        click.BadParameter: there is no such key.
    """
    if len(key) == 2 and key[0] == "^" and "@" <= key[1].upper() <= "_":
        return bytes([ord(key[1].upper()) & 0x1F])
    raise click.BadParameter(f"--detach-key: {key!r} is no key such as ^]")


def _greeting(name: str, attachment: Attachment, detach_key: str) -> str:
    key = f"Ctrl-{detach_key[1].upper()}"
    if attachment.stdin == "terminal":
        return f"currant: attached to {name}; {key} disconnects"
    if attachment.stdin == "pipe":
        return f"currant: attached to {name}; {key} or Ctrl-C disconnects"
    return f"currant: attached to {name}, which reads nothing; {key} or Ctrl-C disconnects"


def _size() -> tuple[int | None, int | None]:
    try:
        size = os.get_terminal_size(STDIN)
    except OSError:
        return None, None
    return size.lines or None, size.columns or None


class _Terminal:
    """The terminal of this program during a connection to a command.

    Args:
        attachment: the command.
        key: the detach key.
        modes: the modes of the terminal.
    """

    def __init__(self, attachment: Attachment, key: bytes, modes: TerminalModes) -> None:
        self._attachment = attachment
        self._key = key
        self._modes = modes
        self._screen = ScreenModes()
        self._tasks = anyio.create_task_group()
        self._end: CommandInfo | None = None

    async def converse(self, pauses: AsyncIterator[signals.Signals]) -> CommandInfo | None:
        """Pass on output and keys; return the command if it has ended, None if it goes on.

        Args:
            pauses: the `PAUSE_SIGNALS` that arrive.
        """
        try:
            async with self._tasks:
                for part in (self._show, self._type, self._tell_sizes, self._end_on_signal):
                    self._tasks.start_soon(part)
                self._tasks.start_soon(self._pause_and_resume, pauses)
        finally:
            self._leave_screen()
        return self._end

    async def _show(self) -> None:
        async with aclosing(self._attachment.output()) as outputs:
            async for output in outputs:
                if isinstance(output, bytes):
                    self._screen.note(output)
                    _write(output)
                else:
                    self._end = output
        self._tasks.cancel_scope.cancel()

    async def _type(self) -> None:
        has_stdin = self._attachment.stdin is not None or not os.isatty(STDIN)
        is_open = True
        while is_open:
            with suppress(PermissionError):  # from epoll, for a file, which never blocks
                await anyio.wait_readable(STDIN)
            data = os.read(STDIN, 4096)
            typed, found, _ = data.partition(self._key)
            is_open = bool(data) and not found
            if typed and has_stdin:  # Otherwise a key that was hit by mistake would be an error.
                await self._attachment.send(typed)
        self._tasks.cancel_scope.cancel()

    async def _tell_sizes(self) -> None:
        with anyio.open_signal_receiver(signals.SIGWINCH) as resized:
            async for _ in resized:
                rows, columns = _size()
                if rows is not None and columns is not None:
                    await self._attachment.resize(rows, columns)

    async def _pause_and_resume(self, pauses: AsyncIterator[signals.Signals]) -> None:
        """Give the terminal back before a pause, and take it again after each SIGCONT."""
        async for signal in pauses:
            if signal == signals.SIGTSTP:
                self._leave_screen()
                self._modes.restore()
                pause_this_process()
            self._tasks.start_soon(self._resume)

    async def _resume(self) -> None:
        """Take the terminal as soon as this program is in the foreground."""
        while not self._modes.set():  # noqa: ASYNC110 - `fg` after `bg` sends no signal
            await anyio.sleep(FOREGROUND_INTERVAL)
        if os.isatty(STDOUT):
            _write(self._screen.sequence())
        rows, columns = _size()
        if rows is not None and columns is not None:  # Another size makes a program draw again.
            await self._attachment.resize(rows + 1, columns)
            await self._attachment.resize(rows, columns)

    def _leave_screen(self) -> None:
        if os.isatty(STDOUT):
            with suppress(OSError):
                _write(self._screen.reset())

    async def _end_on_signal(self) -> None:
        ends = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)
        with anyio.open_signal_receiver(*ends) as received:
            await anext(received)
            self._tasks.cancel_scope.cancel()


def _write(data: bytes) -> None:
    sys.stdout.flush()
    while data:
        data = data[os.write(STDOUT, data) :]
