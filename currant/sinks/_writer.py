"""`WriterSink`: the text of the console, in any file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.sinks._files import AnyFile
from currant.sinks._formatter import Formatter
from currant.sinks._line_writer import LineWriter
from currant.sinks._templates import DEFAULT_PREFIX, NO_TEXTS, Templates
from currant.sinks._threaded import commands_of, receive_available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import ObjectReceiveStream

    from currant._values.messages import BatchMessage
    from currant.sinks._events import Event
    from currant.sinks._files import File
    from currant.sinks._formatter import Mode

__all__ = ["WriterSink"]


class WriterSink:
    """Writes the text of `ConsoleSink`, without colours and with both streams, to a file.

    Write the output of two commands into one log::

        import currant
        from currant.sinks import WriterSink

        with open("all.log", "wb") as file:
            commands = {"a": "echo one", "b": "echo two"}
            currant.run(commands, sinks=[WriterSink(file, timestamps=True)])

    Two Runners at the same time need two sinks.  The sink neither opens nor closes the file.

    Args:
        file: a binary or text file, an `anyio.abc.ByteSendStream`, or an async file such as
            `anyio.open_file` returns.  A text file that is not built on a binary one, such as
            `io.StringIO`, gets U+FFFD for bytes that are not UTF-8; another gets the bytes as they
            are, whatever its encoding.
        prefix, timestamps, quiet, mode, texts: as for `ConsoleSink`.

    Raises:
        TypeError: when built: `file` has no method to write with.
        ValueError: when built: a template or an option is invalid.
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
        templates = Templates(prefix, timestamps, texts, in_color=False)
        writer = LineWriter()
        self._formatter = Formatter(writer, writer, templates, mode, quiet=quiet)
        self._file = AnyFile(file)

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Write all messages until the stream ends.

        Cancellation: the last write may be incomplete.
        """
        commands = commands_of(messages)
        while backlog := await receive_available(messages):
            await self._file.write(data for _, data in self._formatter.format(backlog, commands))
        await self._file.write(data for _, data in self._formatter.finish())
