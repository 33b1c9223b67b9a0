"""``currant attach``: connect this terminal to a command of a running stack.

For a command with a terminal, this terminal is in raw mode, so each key goes to the command, also
Ctrl-C.  For a command that reads a pipe, this terminal collects lines as usual, and Ctrl-C
disconnects.  At the end, for whatever reason, currant restores the mode of the terminal, and
switches off the modes that the command may have switched on.
"""

from __future__ import annotations

import os
import signal as signals
import sys
import termios
import tty
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import click

from currant._values.printable import printable
from currant.cli._clients.ask import ask_stack, folder_option

if TYPE_CHECKING:
    from collections.abc import Generator

    from currant.stack._client import Attachment, CommandInfo, StackClient

__all__ = ["attach"]

STDIN, STDOUT = 0, 1

LFLAG, CC = 3, 6
"""The local modes and the control characters in what `termios.tcgetattr` returns."""

DETACH_KEY = "^]"

RESET = (
    b"\x1b[0m\x1b[?25h"  # no colour, a cursor
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l"  # no reports of the mouse
    b"\x1b[?1004l\x1b[?2004l\x1b[?1l\x1b>"  # nor of the focus, of pastes; the usual cursor keys
)
LEAVE_ALTERNATE = b"\x1b[?1049l"
ENTER_ALTERNATE = (b"\x1b[?1049h", b"\x1b[?47h", b"\x1b[?1047h")


@click.command()
@click.option(
    "--detach-key",
    default=DETACH_KEY,
    show_default=True,
    metavar="^X",
    help="The key that disconnects the terminal: Ctrl with a letter, or with one of @[\\]^_.",
)
@folder_option
@click.argument("name")
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
            with _terminal_for(attachment.stdin, key):
                end = await _Terminal(attachment, key).converse()
        if end is None:
            click.echo(f"currant: detached from {shown}, which goes on", err=True)
            return 0
        click.echo(f"currant: {shown} has ended: {end.error or end.exit}", err=True)
        return 0

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


@contextmanager
def _terminal_for(stdin: str | None, key: bytes) -> Generator[None]:
    """Put the terminal of stdin into the mode for a command; do nothing without a terminal.

    Args:
        stdin: what the command reads, as in `Attachment.stdin`.
        key: the detach key.
    """
    if not os.isatty(STDIN):
        yield
        return
    before = termios.tcgetattr(STDIN)
    try:
        if stdin == "terminal":
            tty.setraw(STDIN)
        elif stdin == "pipe":
            _set_line_mode(key)
        else:
            _set_key_mode()
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSAFLUSH, before)


def _set_line_mode(key: bytes) -> None:
    """Let the terminal collect lines, and let the detach key end one."""
    modes = termios.tcgetattr(STDIN)
    modes[CC][termios.VEOL] = key
    termios.tcsetattr(STDIN, termios.TCSAFLUSH, modes)


def _set_key_mode() -> None:
    """Pass each key on without an echo; Ctrl-C is a signal as before."""
    modes = termios.tcgetattr(STDIN)
    modes[LFLAG] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(STDIN, termios.TCSAFLUSH, modes)


class _Terminal:
    """The terminal of this program during a connection to a command.

    Args:
        attachment: the command.
        key: the detach key.
    """

    def __init__(self, attachment: Attachment, key: bytes) -> None:
        self._attachment = attachment
        self._key = key
        self._tasks = anyio.create_task_group()
        self._end: CommandInfo | None = None
        self._is_alternate = False

    async def converse(self) -> CommandInfo | None:
        """Pass on output and keys; return the command if it has ended, None if it goes on."""
        try:
            async with self._tasks:
                for part in (self._show, self._type, self._tell_sizes, self._end_on_signal):
                    self._tasks.start_soon(part)
        finally:
            if os.isatty(STDOUT):
                with suppress(OSError):
                    leave = LEAVE_ALTERNATE if self._is_alternate else b""
                    _write(RESET + leave + b"\r\n")
        return self._end

    async def _show(self) -> None:
        async with aclosing(self._attachment.output()) as outputs:
            async for output in outputs:
                if isinstance(output, bytes):
                    self._is_alternate |= any(each in output for each in ENTER_ALTERNATE)
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

    async def _end_on_signal(self) -> None:
        ends = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)
        with anyio.open_signal_receiver(*ends) as received:
            await anext(received)
            self._tasks.cancel_scope.cancel()


def _write(data: bytes) -> None:
    sys.stdout.flush()
    while data:
        data = data[os.write(STDOUT, data) :]
