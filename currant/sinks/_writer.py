"""`WriterSink`: the console's text, in any file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.sinks._files import AnyFile
from currant.sinks._formatter import Presenter
from currant.sinks._line_writer import Sheet
from currant.sinks._templates import DEFAULT_PREFIX, NO_TEXTS, Labels
from currant.sinks._threaded import commands_of, next_pile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import ObjectReceiveStream

    from currant._values.messages import BatchMessage
    from currant.sinks._files import File
    from currant.sinks._formatter import Mode
    from currant.sinks._templates import Event

__all__ = ["WriterSink"]


class WriterSink:
    """Writes the text of `ConsoleSink` without colours to one file, both streams in one.

    For one Runner at a time.  The file is neither opened nor closed here.

    Args:
        file: a binary or text file, a `anyio.abc.ByteSendStream`, or an async file, as those of
            `anyio.open_file`.  A text file gets U+FFFD for what is no UTF-8.
        prefix, timestamps, quiet, mode, texts: as for `ConsoleSink`.

    Raises:
        TypeError: when built: the file is nothing to write to.
        ValueError: when built: a template or an option is wrong.
        OSError: the file cannot be written to.
    """

    def __init__(
        self,
        file: File,
        *,
        prefix: str = DEFAULT_PREFIX,
        timestamps: str | bool | None = None,
        quiet: bool = False,
        mode: Mode = "line",
        texts: Mapping[Event, str | None] = NO_TEXTS,
    ) -> None:
        labels = Labels(prefix, timestamps, texts, in_color=False)
        sheet = Sheet()
        self._text = Presenter(sheet, sheet, labels, mode, quiet=quiet)
        self._file = AnyFile(file)

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Write all messages until there are no more.

        Cancellation: what is being written may be written in part.
        """
        commands = commands_of(messages)
        while pile := await next_pile(messages):
            await self._file.write(data for _, data in self._text.present(pile, commands))
        await self._file.write(data for _, data in self._text.finish())
