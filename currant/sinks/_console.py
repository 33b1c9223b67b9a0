"""`ConsoleSink`: the output of many commands on one terminal."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, TextIO, cast

from currant._channel.feed import SinkAttribute
from currant.sinks._colors import color_system_of
from currant.sinks._control import ControlFilter
from currant.sinks._files import BYTES_PER_WRITE, OpenFile
from currant.sinks._formatter import Formatter
from currant.sinks._line_writer import LineWriter
from currant.sinks._live import is_dumb, is_live
from currant.sinks._progress import ProgressLine
from currant.sinks._templates import DEFAULT_PREFIX, NO_TEXTS, Templates
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant.sinks._colors import Color
    from currant.sinks._events import Event, EventMessage
    from currant.sinks._files import Chunk, SyncFile
    from currant.sinks._formatter import Mode, Output

__all__ = ["ConsoleSink", "OutputFile", "usable"]


class ConsoleSink(ThreadedSink):
    r"""Shows output as lines ``name | text``: stdout on stdout, stderr on stderr.

    Show two commands, with the time before each line::

        import currant
        from currant.sinks import ConsoleSink

        commands = {"disk": "df -h /", "count": "seq 3"}
        currant.run(commands, sinks=[ConsoleSink(timestamps=True)])

    Lines of two commands are never mixed; if a command leaves a line unfinished, the line is ended
    before the output of another command.  Texts about events (a failure, a restart, a failed start)
    go to stderr, as ``currant: text``.

    A lone ``\r``, as in progress bars, rewinds the line on a terminal if there is a single
    command, which may then erase the line; otherwise it ends the line.

    On a terminal, colours and hyperlinks in the output pass, and end with their line.  Control
    sequences that move the cursor, clear the screen or change the terminal are removed, unless
    `mode` is ``"raw"``.  A file or pipe gets all sequences.

    Args:
        stdout: the file for stdout; if None, this program's.  A program without stdout
            (`sys.stdout` is None or closed, as in a daemon or under ``pythonw``) shows nothing
            there.
        stderr: the file for stderr, in the same way.
        prefix: the label before each line, with the fields ``{name}`` (padded to the longest name),
            ``{pid}``, ``{stream}``, ``{attempt}`` (from 1), ``{time}`` (local, when the line was
            read; ``{time:%H:%M:%S.%f}`` is a format of `time.strftime`), ``{elapsed}`` (seconds
            since the attempt began; ``{elapsed:.3f}``), ``{index}`` (from 0, in the order of the
            commands), ``{command}`` (the command line, shortened in the middle to 10 characters;
            ``{command:.30}``: to 30) and ``{host}`` (where it runs, padded to the longest name so
            far; ``local`` is this machine).
        color: whether labels are coloured: ``"always"``, ``"never"``, or ``"auto"``: if the file is
            a terminal, unless the environment decides: ``NO_COLOR`` or ``TERM=dumb`` turns colours
            off, ``FORCE_COLOR`` or ``CLICOLOR_FORCE`` on, ``FORCE_COLOR=0`` or ``CLICOLOR=0`` off,
            and so does ``CI`` or the variable of an agent.
            Colours need the package rich (the extra ``cli``).  The colour is `Command.color`, or is
            chosen so that neighbours differ.
        timestamps: True: the time of day before each label; a str: a format of `time.strftime`.
        quiet: whether texts about events are left out.
        mode: ``"line"``; ``"group"``: a command's output in a block after its exit, held until
            then in memory up to 1 MiB, and in a temporary file beyond (if there is no room for the
            file, a `SinkWarning` says so, and the block comes in parts); ``"raw"``: the bytes as
            the commands wrote them, without labels; ``"same"``: for commands of
            `currant.hosts.on_each`: at the end, each output once, under a title such as
            ``a,b,n[1-4] (6)``, the one of most hosts first.  Hosts have the same output if stdout,
            stderr and the end are equal.  A failure without output is a text about an event; a
            success without output is not shown.
        texts: templates for ``"started"``, ``"ready"``, ``"aborted"``, ``"exited"``,
            ``"restarting"``, ``"failed"``, ``"skipped"``, ``"dropped"``, ``"host_up"`` and
            ``"host_lost"``, in place of the defaults; None: no text.  A template may have the
            fields of the prefix, and if they apply ``{exit}``, ``{after}`` and ``{delay}``
            (seconds), ``{error}``, ``{lines}``; a template for a host has ``{host}``, ``{error}``
            and ``{time}`` alone.  A template for ``"exited"`` is used for every exit, the default
            only for failures; for ``"started"`` and ``"host_up"`` there is no default.
        remark: called with each event in a worker thread; returns a further line to show after the
            event, or None.
        progress: whether a terminal on stderr shows below the output how many commands are done,
            without a total for `currant.map`; not if ``TERM=dumb``, in a CI, or if an agent runs
            the program.
        hidden: names of commands whose output is not shown; texts about their events are.
        verbatim: names of commands whose output is shown as in the mode ``"raw"``, such as one
            that a person talks to.
        frame: for the mode ``"group"``: called in a worker thread with the name of a command;
            returns the lines before and after its block on stdout, such as those that a CI folds.

    Raises:
        ValueError: when built: a template or an option is invalid.
        MissingExtraError: when built: `color` is ``"always"``, and rich is not installed.
        CommandError: at the start: the color of a command is not a style of rich.
        OSError: a file cannot be written to; `BrokenPipeError` if no process reads the pipe.
    """

    _has_keys: bool = False
    """Whether a person certainly watches, even in a CI."""

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
        remark: Callable[[EventMessage], str | None] | None = None,
        progress: bool = False,
        hidden: Collection[str] = (),
        verbatim: Collection[str] = (),
        frame: Callable[[str], tuple[str, str]] | None = None,
    ) -> None:
        super().__init__()
        live = is_live(os.environ) or (self._has_keys and not is_dumb(os.environ))
        out = OutputFile(usable(sys.stdout) if stdout is None else stdout, color, live=live)
        err = OutputFile(usable(sys.stderr) if stderr is None else stderr, color, live=live)
        if out.file.is_same_place(err.file):
            err = out
        in_color = out.in_color or err.in_color
        templates = Templates(prefix, timestamps, texts, in_color=in_color, hidden=hidden)
        self._formatter = Formatter(
            out.writer,
            err.writer,
            templates,
            mode,
            remark,
            quiet=quiet,
            hidden=hidden,
            verbatim=verbatim,
            frame=frame,
        )
        # Texts about events come first, since the reader of stdout may be stuck.
        self._outputs = {output.writer: output for output in (err, out)}
        self._progress = self._new_progress() if progress and err.can_rewind else None
        if self._progress is not None:
            err.progress = self._progress
        self._in_slots = False

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Show all messages until the stream ends.

        Cancellation: a thread that is stuck in a write is left alone, with its part of the output.
        """
        self._in_slots = messages.extra(SinkAttribute.in_slots, False)  # noqa: FBT003, S610 - anyio's
        await super().__call__(messages)

    async def end_line(self) -> None:
        """Begin a new line on a terminal, because it has shown ``^C`` at the end of this line."""
        await self._run(self._end_line)

    def _end_line(self) -> None:
        writer, output = next(iter(self._outputs.items()))  # stderr
        # Otherwise the next progress line erases the ``^C``.
        if output.file.columns is not None and output.progress is None:
            output.add(b"\n" if writer.is_at_line_start else writer.end())
            self._flush()

    def _new_progress(self) -> ProgressLine:
        """Return the line to show below the output."""
        return ProgressLine()

    def _handle(self, backlog: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        self._write(self._formatter.format(backlog, commands))
        if self._progress is not None:
            self._progress.follow(backlog, commands, in_slots=self._in_slots)
        self._flush()

    def _finish(self) -> None:
        self._write(self._formatter.finish())
        if self._progress is not None:
            self._progress.clear()
        self._flush()

    def _write(self, outputs: Iterable[Output]) -> None:
        for writer, chunk in outputs:
            self._outputs[writer].add(chunk)

    def _flush(self, *, is_resized: bool = False) -> None:
        for output in self._outputs.values():
            output.flush(is_resized=is_resized)


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> None:
        pass

    def flush(self) -> None:
        pass


class _HandMade:
    """A stand-in for a standard stream with only `write`, which takes text."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO) -> None:
        self.write = stream.write
        self.flush = getattr(stream, "flush", lambda: None)


def usable(stream: TextIO | None) -> SyncFile:
    """Return a standard stream, or a file that keeps nothing if this program has no such stream."""
    try:
        is_open = stream is not None and not getattr(stream, "closed", False)
    except ValueError:  # The stream is detached from its file.
        is_open = False
    if stream is not None and is_open and not hasattr(stream, "encoding"):
        return cast("SyncFile", _HandMade(stream))
    return cast("SyncFile", stream if is_open else _Nowhere())


class OutputFile:
    """A file, with the chunks of its next write.

    Args:
        file: the file.
        color: as for `ConsoleSink`.
        live: as for `is_live`, if the file is a terminal.
        keeps_returns: whether the file gets carriage returns as they are, unless it is a terminal.
    """

    def __init__(
        self, file: SyncFile, color: Color, *, live: bool, keeps_returns: bool = False
    ) -> None:
        self.color_system = color_system_of(file, color)
        self.in_color = self.color_system is not None
        self.file = OpenFile(file)
        self.is_terminal = self.file.columns is not None
        self.can_rewind = self.is_terminal and live
        styles_pass = self.in_color or live
        self.writer = LineWriter(
            self.color_system,
            rewinds=self.can_rewind,
            keeps_returns=keeps_returns and not self.is_terminal,
            new_filter=partial(ControlFilter, styles=styles_pass) if self.is_terminal else None,
        )
        self.progress: ProgressLine | None = None
        self._waiting: list[Chunk] = []
        self._size = 0

    def add(self, chunk: Chunk) -> None:
        """Add a chunk to the next write; write now if the chunks are large."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        if self._size >= BYTES_PER_WRITE:
            self.flush()

    def flush(self, *, is_resized: bool = False) -> None:
        """Write the chunks, and the progress line below them."""
        chunks, size = self._waiting, self._size
        self._waiting, self._size = [], 0
        if self.progress is not None:
            fits = self.writer.is_at_line_start
            changed = size > 0 or is_resized
            before, below = self.progress.wrap(self.file.columns, fits=fits, changed=changed)
            chunks = [before, *chunks, below]
        if any(chunks):
            self.file.write(chunks)
