"""`Formatter`: from messages to the text of two files, for stdout and for stderr."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from currant._values.checks import check_choice
from currant._values.lines import Batch
from currant._values.messages import Exited, Failed, Started
from currant.sinks._warning import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant.sinks._events import EventMessage
    from currant.sinks._files import Chunk
    from currant.sinks._line_writer import LineWriter
    from currant.sinks._spool import OutputSpool
    from currant.sinks._templates import Templates

__all__ = ["Formatter", "Mode"]

Mode: TypeAlias = Literal["line", "group", "raw"]
"""How output is shown: line by line, command by command, or as written."""

Output: TypeAlias = "tuple[LineWriter, Chunk]"
"""Some text, and the file that it belongs to."""


class Formatter:
    """Turns messages into the text of two files, which may be the same file.

    Args:
        out: the file for stdout.
        err: the file for stderr and for texts about events.
        templates: labels and texts.
        mode: ``"line"``: whole lines with labels, as they come; ``"group"``: all lines of a command
            together, after the exit; ``"raw"``: the bytes as written.
        remark: returns a further text for an event, or None.
        quiet: whether texts about events are left out.
        hidden: names of commands whose output is left out.

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
    ) -> None:
        check_choice("mode", mode, get_args(Mode))
        self._out, self._err = out, err
        self._templates = templates
        self._mode = mode
        self._remark = remark
        self._quiet = quiet
        self._hidden = hidden
        self._spools: dict[str, OutputSpool] = {}
        self._has_warned = False  # that a spool has no room
        self._is_alone = False

    def format(
        self, backlog: Iterable[BatchMessage], commands: Mapping[str, Command]
    ) -> Iterator[Output]:
        """Yield the text for `backlog`, part by part."""
        self._templates.add_commands(commands)
        self._is_alone = len(commands) == 1
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
            for text in () if self._quiet else self._event_texts(message):
                yield self._err, self._err.note(f"currant: {text}")

    def finish(self) -> Iterator[Output]:
        """Yield the output that is still spooled, and the end of an unfinished line."""
        for command in list(self._spools):
            yield from self._replay(command)
        if self._mode != "raw":
            for writer in (self._out, self._err):
                yield writer, writer.end()

    def _event_texts(self, message: EventMessage) -> Iterator[str]:
        text = self._templates.event_text(message)
        if text is not None:
            yield text
        remark = None if self._remark is None else self._remark(message)
        if remark is not None:
            yield remark

    def _output_of(self, batch: Batch) -> Iterator[Output]:
        if batch.command in self._hidden:
            return
        yield from self._spool(batch) if self._mode == "group" else self._formatted(batch)

    def _formatted(self, batch: Batch) -> Iterator[Output]:
        writer = self._out if batch.stream == "stdout" else self._err
        if self._mode == "raw":
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
            if not self._has_warned:
                self._has_warned = True
                warn(
                    f"cannot hold output in a temporary file: {error.strerror}; "
                    "commands with much output are shown in several parts (TMPDIR names a folder)"
                )
            yield from self._replay(batch.command)

    def _replay(self, command: str) -> Iterator[Output]:
        spool = self._spools.pop(command, None)
        if spool is not None:
            yield from chain.from_iterable(map(self._formatted, spool.replay()))
