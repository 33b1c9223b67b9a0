"""`ConsoleSink`: what a person sees who watches many commands at once."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from currant._values.messages import Exited, Failed, Restarting, Started
from currant.sinks._colors import color_system_of
from currant.sinks._files import AT_ONCE, OpenFile
from currant.sinks._formatter import Presenter
from currant.sinks._line_writer import Sheet
from currant.sinks._templates import DEFAULT_PREFIX, NO_TEXTS, Labels, succeeded
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant.sinks._colors import Color
    from currant.sinks._files import Part, SyncFile
    from currant.sinks._formatter import Mode, Piece
    from currant.sinks._templates import Event

__all__ = ["ConsoleSink"]

UNKNOWN_WIDTH = 80
"""Columns of a terminal that says it has none, as some do before they are shown."""

ERASE = b"\r\x1b[K"
"""What clears the line on which the cursor stands, on a terminal."""


class ConsoleSink(ThreadedSink):
    r"""Shows output as lines ``name | text``: stdout on stdout, stderr on stderr.

    Whole lines only: two commands' lines are never mixed, and what one leaves unfinished is ended
    before another goes on.  What currant itself has to say (an exit code that is no success, a
    death by a signal, a restart, a failed start) goes to stderr, as ``currant: text``.

    A lone ``\r``, as progress bars write it, shows a line in place on a terminal where there is one
    command; otherwise it ends the line.

    Args:
        stdout: the file for stdout; None: the host's.
        stderr: the file for stderr; None: the host's.
        prefix: what stands before each line: text with the fields ``{name}`` (padded to the longest
            name), ``{pid}``, ``{stream}``, ``{attempt}`` (from 1), ``{time}`` (when it was read,
            local; ``{time:%H:%M:%S.%f}`` is in a form of `time.strftime`) and ``{elapsed}``
            (seconds since the attempt began; ``{elapsed:.3f}``).
        color: whether prefixes are coloured: ``"always"``, ``"never"``, or ``"auto"``: where the
            file is a terminal, by the rules of ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM``.  Colours
            need the package rich (the extra ``cli``).  Which one is `Command.color`, or chosen so
            that neighbours differ.
        timestamps: True: the time of day before each prefix; a text: that in a form of
            `time.strftime`.
        quiet: whether currant says nothing itself.
        mode: ``"line"``; ``"group"``: a command's output in one block when it ends, held until then
            in memory up to 1 MiB and else in a temporary file; ``"raw"``: the bytes as the commands
            wrote them, without prefixes.
        texts: what to say of ``"started"``, ``"ready"``, ``"aborted"``, ``"exited"``,
            ``"restarting"``, ``"failed"``, ``"skipped"`` and ``"dropped"``, instead of the default
            texts; None: nothing.  They may have the fields of the prefix, and ``{exit}``,
            ``{after}`` and ``{delay}`` (seconds), ``{error}``, ``{lines}`` where that is what
            happened.  A text given for ``"exited"`` is shown for every end, the default one
            only for those that nobody asked for.
        progress: whether a terminal on stderr shows below the output how many commands are done.

    Raises:
        ValueError: when built: a template or an option is wrong.
        CommandError: when it begins: a command's color is none that there is.
        OSError: a file cannot be written to; `BrokenPipeError`: nobody reads it any more.
    """

    def __init__(
        self,
        stdout: SyncFile | None = None,
        stderr: SyncFile | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        color: Color = "auto",
        timestamps: str | bool | None = None,
        quiet: bool = False,
        mode: Mode = "line",
        texts: Mapping[Event, str | None] = NO_TEXTS,
        progress: bool = False,
    ) -> None:
        super().__init__()
        out = _Place(sys.stdout if stdout is None else stdout, color)
        err = _Place(sys.stderr if stderr is None else stderr, color)
        if out.file.is_same_place(err.file):
            err = out
        labels = Labels(prefix, timestamps, texts, in_color=out.in_color or err.in_color)
        self._text = Presenter(out.sheet, err.sheet, labels, mode, quiet=quiet)
        # What currant says comes first: nobody may be reading what the commands write.
        self._places = {place.sheet: place for place in (err, out)}
        self._status = _Status() if progress and err.file.columns is not None else None
        if self._status is not None:
            err.status = self._status

    def take(self, pile: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        """Show `pile`."""
        self._write(self._text.present(pile, commands))
        if self._status is not None:
            self._status.follow(pile, commands)
        self._flush()

    def finish(self) -> None:
        """Show what was held until the end, and end an unfinished line."""
        self._write(self._text.finish())
        if self._status is not None:
            self._status.clear()
        self._flush()

    def _write(self, pieces: Iterable[Piece]) -> None:
        for sheet, part in pieces:
            self._places[sheet].add(part)

    def _flush(self) -> None:
        for place in self._places.values():
            place.flush()


class _Place:
    """One file: what stands in it, and what is to be written to it in one go."""

    def __init__(self, file: SyncFile, color: Color) -> None:
        color_system = color_system_of(file, color)
        self.in_color = color_system is not None
        self.file = OpenFile(file)
        self.sheet = Sheet(color_system, rewinds=self.file.columns is not None)
        self.status: _Status | None = None
        self._waiting: list[Part] = []
        self._size = 0

    def add(self, part: Part) -> None:
        """Write `part` with what comes before and after it; at once where that is much."""
        self._waiting.append(part)
        self._size += len(part)
        if self._size >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what was added, and the status below it."""
        parts, size = self._waiting, self._size
        self._waiting, self._size = [], 0
        if self.status is not None:
            fits = self.sheet.is_at_line_start
            before, below = self.status.around(self.file.columns, fits=fits, changed=size > 0)
            parts = [before, *parts, below]
        if any(parts):
            self.file.write(parts)


class _Status:
    """The line below the output on a terminal: how many commands are done."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._text = ""
        self._stands = b""

    def follow(self, pile: Iterable[BatchMessage], commands: Mapping[str, Command]) -> None:
        """Count what happened to the `commands`."""
        for message in pile:
            state = _state_after(message, commands)
            if state is not None:
                self._counts[self._states.get(message.command, "queued")] -= 1
                self._counts[state] += 1
                self._states[message.command] = state
        running, failed = self._counts["running"], self._counts["failed"]
        done = failed + self._counts["succeeded"] + self._counts["stopped"]
        self._text = f"currant: {done}/{len(commands)} done, {running} running, {failed} failed"

    def clear(self) -> None:
        """Show nothing from the next output on."""
        self._text = ""

    def around(self, columns: int | None, *, fits: bool, changed: bool) -> tuple[bytes, bytes]:
        """Return what to write before and after some text, so that the status stands below it.

        Args:
            columns: how wide the terminal is.
            fits: whether the text ends with a line, so that there is room below it.
            changed: whether there is any text.
        """
        width = (columns or UNKNOWN_WIDTH) - 1
        status = self._text[:width].encode() if fits else b""
        if not changed and status == self._stands:
            return b"", b""
        begin = ERASE if self._stands else b""
        self._stands = status
        return begin, status


def _state_after(message: BatchMessage, commands: Mapping[str, Command]) -> str | None:
    match message:
        case Started():
            return "running"
        case Restarting():
            return "queued"
        case Failed():
            return "failed"
        case Exited(exit=end) if end.stopped:
            return "stopped"
        case Exited():
            return "succeeded" if succeeded(message, commands) else "failed"
        case _:
            return None
