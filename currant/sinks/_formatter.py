"""`Formatter`: from messages to the text of two files, for stdout and for stderr."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from currant._values.checks import check_choice
from currant._values.host_names import fold
from currant._values.lines import Batch
from currant._values.messages import Dropped, Exited, Failed, HostLost, Started
from currant._values.printable import printable
from currant.sinks._templates import THIS_MACHINE
from currant.sinks._warning import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant.sinks._events import EventMessage
    from currant.sinks._files import Chunk
    from currant.sinks._line_writer import LineWriter
    from currant.sinks._same import Group, SameOutput
    from currant.sinks._spool import OutputSpool
    from currant.sinks._templates import Templates

__all__ = ["Formatter", "Mode"]

Mode: TypeAlias = Literal["line", "group", "raw", "same"]
"""How output is shown: line by line, command by command, as written, or what is equal once."""

RULE = "-" * 15
"""The line above and below the title of an output that several commands have written."""

Output: TypeAlias = "tuple[LineWriter, Chunk]"
"""Some text, and the file that it belongs to."""


class Formatter:
    """Turns messages into the text of two files, which may be the same file.

    Args:
        out: the file for stdout.
        err: the file for stderr and for texts about events.
        templates: labels and texts.
        mode: ``"line"``: whole lines with labels, as they come; ``"group"``: all lines of a command
            together, after the exit; ``"raw"``: the bytes as written; ``"same"``: at the end, equal
            output of a command on several hosts once.
        remark: returns a further text for an event, or None.
        quiet: whether texts about events are left out.
        hidden: names of commands whose output is left out.
        verbatim: names of commands whose output is shown as written, whatever the mode.
        frame: returns the lines before and after the block of a command, by its name.

    Raises:
        ValueError: the mode is unknown.
    """

    def __init__(
        self,
        out: LineWriter,
        err: LineWriter,
        templates: Templates,
        mode: Mode,
        remark: Callable[[EventMessage], str | None] | None = None,
        *,
        quiet: bool,
        hidden: Collection[str] = (),
        verbatim: Collection[str] = (),
        frame: Callable[[str], tuple[str, str]] | None = None,
    ) -> None:
        check_choice("mode", mode, get_args(Mode))
        self._out, self._err = out, err
        self._templates = templates
        self._mode = mode
        self._remark = remark
        self._quiet = quiet
        self._hidden = hidden
        self._verbatim = verbatim
        self._frame = frame
        self._spools: dict[str, OutputSpool] = {}
        self._same = _new_same() if mode == "same" else None
        self._has_warned = False  # that a spool has no room
        self._is_alone = False

    def format(
        self, backlog: Iterable[BatchMessage], commands: Mapping[str, Command]
    ) -> Iterator[Output]:
        """Yield the text for `backlog`, part by part."""
        self._templates.add_commands(commands)
        self._is_alone = len(commands) == 1
        if self._same is not None:
            self._same.add_commands(commands)
        for message in backlog:
            match message:
                case Batch():
                    yield from self._output_of(message)
                    continue
                case Started():
                    self._templates.started(message)
                    if self._mode != "raw":
                        for writer in (self._out, self._err):
                            yield writer, writer.begin_attempt(message.command)
                case Exited() | Failed():
                    yield from self._replay(message.command)
                    for writer in (self._out, self._err):
                        yield writer, writer.finish(message.command)
                case _:
                    pass
            for text in self._event_texts(message):
                stamp = self._templates.stamp(message)
                yield self._err, self._err.note(f"{stamp}currant: {text}")

    def label(self, batch: Batch) -> str:
        """Return the label of output, padded as those of the other commands, without colours."""
        return self._templates.label(batch)[0]

    def finish(self) -> Iterator[Output]:
        """Yield the output that is still spooled, and the end of an unfinished line."""
        for command in list(self._spools):
            yield from self._replay(command)
        if self._same is not None:
            yield from self._show_same(self._same)
            self._same = _new_same()
        if self._mode != "raw":
            for writer in (self._out, self._err):
                yield writer, writer.end()

    def _event_texts(self, message: EventMessage) -> Iterator[str]:
        is_shown_later = False
        if self._same is not None:
            self._same.note(message)
            is_shown_later = not isinstance(message, HostLost | Dropped)
        if self._quiet:
            return
        text = self._templates.event_text(message)
        if text is not None and not is_shown_later:
            yield text
        remark = None if self._remark is None else self._remark(message)
        if remark is not None:
            yield remark

    def _output_of(self, batch: Batch) -> Iterator[Output]:
        if batch.command in self._hidden:
            return
        if batch.command in self._verbatim:
            yield from self._formatted(batch)
        elif self._same is not None:
            self._hold(self._same, batch)
        else:
            yield from self._spool(batch) if self._mode == "group" else self._formatted(batch)

    def _formatted(self, batch: Batch) -> Iterator[Output]:
        writer = self._out if batch.stream == "stdout" else self._err
        if self._mode == "raw" or batch.command in self._verbatim:
            parts = writer.as_written(batch)
        else:
            label, style = self._templates.label(batch)
            in_place = writer.rewinds and self._is_alone and self._mode == "line"
            parts = writer.lines(batch, label, style, in_place=in_place)
        return zip(repeat(writer), parts)

    def _spool(self, batch: Batch) -> Iterator[Output]:
        """Hold `batch` back; if there is no room for that, yield all that is held."""
        from currant.sinks._spool import OutputSpool  # noqa: PLC0415 - 8 ms, for groups only

        if batch.command not in self._spools:
            self._spools[batch.command] = OutputSpool()
        try:
            self._spools[batch.command].add(batch)
        except OSError as error:
            self._warn(error, "commands with much output are shown in several parts")
            yield from self._replay(batch.command)

    def _warn(self, error: OSError, consequence: str) -> None:
        """Warn once that there is no room for a temporary file."""
        if not self._has_warned:
            self._has_warned = True
            warn(
                f"cannot hold output in a temporary file: {error.strerror}; {consequence} (TMPDIR "
                "names a folder)"
            )

    def _replay(self, command: str) -> Iterator[Output]:
        spool = self._spools.pop(command, None)
        if spool is None:
            return
        block = chain.from_iterable(map(self._formatted, spool.replay()))
        if self._frame is None:
            yield from block
            return
        begin, end = self._frame(command)
        yield self._out, self._out.note(begin)
        yield from block
        yield self._out, self._out.note(end)

    # ---- equal output of a command on several hosts ----

    def _hold(self, same: SameOutput, batch: Batch) -> None:
        try:
            same.add(batch)
        except OSError as error:
            self._warn(error, "all of it is held in memory")

    def _show_same(self, same: SameOutput) -> Iterator[Output]:
        groups = list(same.groups())
        is_alone = len({group.command for group in groups}) == 1
        for group in groups:
            yield from self._show_group(group, same, "" if is_alone else f"{group.command}@")

    def _show_group(self, group: Group, same: SameOutput, name: str) -> Iterator[Output]:
        """Yield an output under a title; only the title if there is none, and that is a failure."""
        end = "" if group.end is None else f": {group.end}"
        title = printable(f"{name}{fold(group.hosts)} ({len(group.hosts)}){end}")
        titled: set[LineWriter] = set()
        for stream, data in same.output_of(group.first):
            writer = self._out if stream == "stdout" else self._err
            if writer not in titled:
                titled.add(writer)
                yield writer, writer.note(f"{RULE}\n{title}\n{RULE}")
            batch = Batch(group.first, stream, data, 0.0)
            yield from zip(repeat(writer), writer.lines(batch, "", None, in_place=False))
        for writer in titled:
            yield writer, writer.finish(group.first)
            yield writer, writer.end()
        if end and not titled and not self._quiet:
            yield self._err, self._err.note(f"currant: {title}")


def _new_same() -> SameOutput:
    from currant.sinks._same import SameOutput  # noqa: PLC0415 - it loads OpenSSL, for few

    return SameOutput(THIS_MACHINE)
