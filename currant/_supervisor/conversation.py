"""`Conversation`: all that a program does with the output of one life of a command.

The public methods are those of `Job`, which asks the conversation of its present life.  Every way
of reading has positions of its own in the transcript (`currant._channel.transcript`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from currant._channel.output_stream import OutputStream
from currant._channel.transcript_lines import LineIterator, TranscriptLines
from currant._supervisor.job_input import InputStream, JobInput
from currant._values.errors import CommandError
from currant._values.lines import StreamName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._supervisor.lifecycle import Lifecycle
    from currant._values.excerpt import Excerpt

__all__ = ["Conversation"]

STREAMS: tuple[StreamName, ...] = get_args(StreamName)


class Conversation:
    """The streams of one life of a command, and where each way of reading is.

    Args:
        life: the life.

    Attributes:
        life: as given.
        stdin: the input; None if the command was built without one.
    """

    def __init__(self, life: Lifecycle) -> None:
        self.life = life
        self.stdin: InputStream | None = InputStream(life) if JobInput(life).is_writable else None
        self._transcript = life.context.transcript
        self._check_loop = life.context.runner.home.check
        self._streams: dict[StreamName, OutputStream] = {}
        command = life.command
        self._lines = TranscriptLines(
            command.name, self._transcript, command.line_limit, command.flush_after
        )

    def stream(self, name: StreamName) -> OutputStream:
        """Return an output stream, always the same object; from the first call on it is read."""
        if name not in self._streams:
            self._streams[name] = OutputStream(self._transcript, name, self._check_loop)
        return self._streams[name]

    def lines(self, stream: StreamName | None) -> LineIterator:
        """Return an iterator; see `Job.lines`."""
        return LineIterator(self._lines, _checked_streams("lines", stream), self._check_loop)

    def since(self, mark: int) -> Excerpt:
        """Return the output after `mark`; see `Job.since`."""
        if not isinstance(mark, int) or isinstance(mark, bool) or mark < 0:
            raise CommandError(f"since: mark must be 0 or the mark of an Excerpt, not {mark!r}")
        return self._transcript.since(mark)


def _checked_streams(call: str, stream: object) -> Sequence[StreamName]:
    """Return the streams that `stream` names."""
    if stream is None:
        return STREAMS
    if stream not in STREAMS:
        raise CommandError(f"{call}: stream must be 'stdout', 'stderr' or None, not {stream!r}")
    return (stream,)
