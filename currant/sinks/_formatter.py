"""From messages to what a person reads: whose text it is, and in which file it belongs."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from currant._values.lines import Batch
from currant._values.messages import Exited, Failed, Started

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant.sinks._files import Part
    from currant.sinks._line_writer import Sheet
    from currant.sinks._spool import Held
    from currant.sinks._templates import Labels

__all__ = ["Mode", "Presenter"]

Mode: TypeAlias = Literal["line", "group", "raw"]

Piece: TypeAlias = "tuple[Sheet, Part]"
"""Some text, and where it is to be written."""


class Presenter:
    """Turns messages into the text of two files, which may be the same one.

    Args:
        out: the file for stdout.
        err: the file for stderr, and for what currant says itself.
        labels: what is added to the output.
        mode: ``"line"``: whole lines with their labels, as they come; ``"group"``: those of one
            command at a time, when it has ended; ``"raw"``: the bytes as written.
        quiet: whether currant says nothing itself.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(self, out: Sheet, err: Sheet, labels: Labels, mode: Mode, *, quiet: bool) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be 'line', 'group' or 'raw', not {mode!r}")
        self._out, self._err = out, err
        self._labels = labels
        self._mode = mode
        self._quiet = quiet
        self._held: dict[str, Held] = {}
        self._is_alone = False

    def present(
        self, pile: Iterable[BatchMessage], commands: Mapping[str, Command]
    ) -> Iterator[Piece]:
        """Yield the text for `pile`, piece by piece."""
        self._labels.meet(commands)
        self._is_alone = len(commands) == 1
        for message in pile:
            match message:
                case Started():
                    self._labels.follow(message)
                case Batch() if self._mode == "group":
                    self._hold(message)
                case Batch():
                    yield from self._output(message)
                case Exited() | Failed():
                    yield from self._release(message.command)
                case _:
                    pass
            words = None if self._quiet else self._labels.words(message)
            if words is not None:
                yield self._err, self._err.note(f"currant: {words}")

    def finish(self) -> Iterator[Piece]:
        """Yield what is still held, and the end of an unfinished line."""
        for command in list(self._held):
            yield from self._release(command)
        if self._mode != "raw":
            for sheet in (self._out, self._err):
                yield sheet, sheet.end()

    def _output(self, batch: Batch) -> Iterator[Piece]:
        sheet = self._out if batch.stream == "stdout" else self._err
        if self._mode == "raw":
            parts = sheet.as_written(batch)
        else:
            label, style = self._labels.label(batch)
            in_place = sheet.rewinds and self._is_alone and self._mode == "line"
            parts = sheet.lines(batch, label, style, in_place=in_place)
        return zip(repeat(sheet), parts)

    def _hold(self, batch: Batch) -> None:
        from currant.sinks._spool import Held  # noqa: PLC0415 - only groups need it; it takes 8 ms

        if batch.command not in self._held:
            self._held[batch.command] = Held()
        self._held[batch.command].add(batch)

    def _release(self, command: str) -> Iterator[Piece]:
        held = self._held.pop(command, None)
        if held is not None:
            yield from chain.from_iterable(map(self._output, held.release()))
