"""Sinks: where output goes without anybody iterating over the Runner.

A sink is an async callable over a stream of messages; each has its own subscription, and `join`
waits for it.  What a sink writes to may be slow (a terminal, a pipe), so it writes in a worker
thread, one batch at a time: the event loop goes on, and what it cannot take in the meantime holds
the commands up.
"""

from __future__ import annotations

import os
import select
import sys
from importlib import import_module
from io import BufferedWriter, FileIO
from itertools import cycle
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, cast

from anyio import to_thread

from currant._messages import Batch, Exited, Failed, Restarting

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream

    from currant._messages import BatchMessage

__all__ = ["ConsoleSink"]

COLORS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "red")
"""Colours of the prefixes, in the order in which commands start."""


class ConsoleSink:
    """Shows output as lines ``name | text``: stdout on stdout, stderr on stderr.

    Whole lines only: two commands' lines are never mixed.  What currant itself has to say (an exit
    code that is not 0, a death by a signal, a restart, a failed start) goes to stderr.

    Args:
        stdout: the binary file for stdout; None: the host's.
        stderr: the binary file for stderr; None: the host's.
        color: whether prefixes are coloured: ``"always"``, ``"never"``, or ``"auto"``: where the
            file is a terminal, by the rules of ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM``.  Colours
            need the package rich (the extra ``cli``).

    Raises:
        OSError: a file cannot be written to; `BrokenPipeError`: nobody reads it any more.
    """

    def __init__(
        self,
        stdout: BinaryIO | None = None,
        stderr: BinaryIO | None = None,
        *,
        color: Literal["auto", "always", "never"] = "auto",
    ) -> None:
        if color not in ("auto", "always", "never"):
            raise ValueError(f"color must be 'auto', 'always' or 'never', not {color!r}")
        if color == "always":
            import_module("rich")  # where it is missing: here, and not with the first line
        self._stdout = _Output(sys.stdout.buffer if stdout is None else stdout, color)
        self._stderr = _Output(sys.stderr.buffer if stderr is None else stderr, color)
        if self._stdout.is_same_place(self._stderr):
            self._stderr = self._stdout
        self._colors = cycle(COLORS)
        self._color_of: dict[str, str] = {}

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Show all messages until there are no more."""
        async for message in messages:
            output, text = self._shown(message)
            if text:
                # A thread cannot be interrupted: when time is up, it is left to its slow file.
                await to_thread.run_sync(output.write, text, abandon_on_cancel=True)
        for output in (self._stdout, self._stderr):
            if rest := output.end_line():
                await to_thread.run_sync(output.write, rest, abandon_on_cancel=True)

    def _shown(self, message: BatchMessage) -> tuple[_Output, bytes]:
        name = message.command
        if name not in self._color_of:
            self._color_of[name] = next(self._colors)
        color = self._color_of[name]
        match message:
            case Batch(stream="stdout"):
                return self._stdout, self._stdout.lines(message, color)
            case Batch():
                return self._stderr, self._stderr.lines(message, color)
            case Exited(exit=end) if end.code != 0 and not end.stopped:
                return self._stderr, self._stderr.note(f"{name}: {end}")
            case Failed(error=error):
                return self._stderr, self._stderr.note(str(error))
            case Restarting(delay=delay):
                return self._stderr, self._stderr.note(f"{name}: restarting in {delay:.1f} s")
            case _:
                return self._stderr, b""


class _Output:
    """One file, and which unfinished line stands at its end."""

    def __init__(self, file: BinaryIO, color: Literal["auto", "always", "never"]) -> None:
        self._file = file
        # What a file object does to what it writes (compress it, say), only it can do.
        plain = isinstance(file, (BufferedWriter, FileIO))
        self._fd = file.fileno() if plain else None
        self._in_color = color == "always" or (color == "auto" and _shows_color(file))
        self._unfinished: tuple[str, str] | None = None

    def lines(self, batch: Batch, color: str) -> bytes:
        """Return the text for `batch`, each of its lines with the prefix."""
        prefix = self._prefix(f"{batch.command} | ", color)
        data = batch.data
        if b"\r" in data:
            # A lone \r would let the next line overwrite this one, whoever writes it.
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        begin = prefix
        if self._unfinished is not None:
            goes_on = self._unfinished == (batch.command, batch.stream)
            begin = b"" if goes_on else b"\n" + prefix
        self._unfinished = None if data.endswith(b"\n") else (batch.command, batch.stream)
        body, end = (data[:-1], b"\n") if data.endswith(b"\n") else (data, b"")
        return begin + body.replace(b"\n", b"\n" + prefix) + end

    def note(self, text: str) -> bytes:
        """Return the text for what currant says itself."""
        return self.end_line() + f"currant: {text}\n".encode(errors="backslashreplace")

    def end_line(self) -> bytes:
        """Return what ends the unfinished line, if there is one."""
        rest = b"" if self._unfinished is None else b"\n"
        self._unfinished = None
        return rest

    def is_same_place(self, other: _Output) -> bool:
        """Tell whether what `other` writes comes out where this one's does, as on a terminal."""
        if self._fd is None or other._fd is None:
            return self._file is other._file
        return os.path.samestat(os.fstat(self._fd), os.fstat(other._fd))

    def write(self, data: bytes) -> None:
        """Write all of `data`, however long the file takes."""
        if self._fd is None:
            self._file.write(data)
            self._file.flush()
            return
        self._flush(self._fd)  # what the host wrote before
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                _wait_writable(self._fd)

    def _flush(self, fd: int) -> None:
        while True:
            try:
                self._file.flush()
            except BlockingIOError:
                _wait_writable(fd)
            else:
                return

    def _prefix(self, text: str, color: str) -> bytes:
        if self._in_color:
            from rich.color import ColorSystem
            from rich.style import Style

            text = Style(color=color).render(text, color_system=ColorSystem.STANDARD)
        return text.encode(errors="backslashreplace")


def _wait_writable(fd: int) -> None:
    """Wait until a file takes more that somebody who shares it has set not to block."""
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    waiting.poll()


def _shows_color(file: BinaryIO) -> bool:
    try:
        from rich.console import Console
    except ImportError:
        return False
    # Rich only asks it whether it is a terminal, and for that any file will do.
    console = Console(file=cast("IO[str]", file))
    return console.is_terminal and not console.no_color and console.color_system is not None
