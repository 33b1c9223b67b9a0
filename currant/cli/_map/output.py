"""The output of the jobs on the way to the terminal, to files, or to a pipe.

`Output` is the channel of all jobs.  It drops the messages about starts and exits, because nobody
needs them for a job without output.  A thread writes, many messages at a time, as for the sinks of
currant.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

import anyio

from currant._channel.discard import Discard
from currant._channel.threads import in_thread
from currant._values.lines import Batch
from currant._values.messages import HostLost, HostUp, Restarting
from currant._values.printable import printable
from currant.cli._ci.groups import group_lines
from currant.cli._map.ended import Ended
from currant.cli._map.held_output import HeldOutput
from currant.cli._map.job import number_of
from currant.sinks._console import OutputFile, usable
from currant.sinks._events import describe
from currant.sinks._live import is_live
from currant.sinks._threaded import receive_available

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import ObjectReceiveStream

    from currant._values.lines import StreamName
    from currant._values.messages import BatchMessage
    from currant.cli._map.job import Job
    from currant.cli._map.results_writer import ResultsWriter
    from currant.sinks import Color
    from currant.sinks._progress import ProgressLine

__all__ = ["Mode", "Output"]

Mode: TypeAlias = Literal["groups", "tagged groups", "lines", "tagged lines", "raw", "hidden"]

BUFFER_SIZE = 16
"""Messages that wait for the thread, before the jobs wait for it."""


MAX_TITLE = 200
"""Characters of a command line in the title of a group."""


class _Again(NamedTuple):
    """An attempt of a job has failed, and another one follows: discard what is held back."""

    number: int
    command: str


class _Text(NamedTuple):
    """A text of currant itself."""

    stream: StreamName
    text: bytes


_Message: TypeAlias = "Batch | Ended | _Again | _Text | None"
"""What the thread writes; None: only the progress line again."""


class Output(Discard):
    """Shows the output of the jobs; the channel that their messages go to.

    Args:
        mode: ``"groups"``: the output of a job in one piece, when it has ended, byte for byte if it
            goes to a file or a pipe; ``"lines"``: whole lines, as they come; tagged: with the
            values of the job and a tab before each line; ``"raw"``: at once, as it was written;
            ``"hidden"``: not at all.
        jobs: the jobs by number; one is removed when all of its output has been written.
        color: whether the output has colours.
        results: takes the output of each job as well; None: nothing does.

    Attributes:
        is_folded: whether each group goes to stdout as a whole, between lines for a CI.
    """

    is_folded: bool = False

    def __init__(
        self, mode: Mode, jobs: dict[int, Job], color: Color, results: ResultsWriter | None = None
    ) -> None:
        send, receive = anyio.create_memory_object_stream[_Message](BUFFER_SIZE)
        self._send, self._receive = send, receive
        live = is_live(os.environ)
        out = OutputFile(usable(sys.stdout), color, live=live, keeps_returns=True)
        err = OutputFile(usable(sys.stderr), color, live=live, keeps_returns=True)
        self._files: dict[StreamName, OutputFile] = {
            "stdout": out,
            "stderr": out if out.file.is_same_place(err.file) else err,
        }
        self._mode: Mode = mode
        self._jobs = jobs
        self._results = results
        self._held = HeldOutput()
        self._received: dict[int, int] = {}  # bytes, of the jobs that have written
        self._lost_hosts: set[str] = set()

    @property
    def color_system(self) -> str | None:
        """The colours of the terminal on stderr, by rich's name; None: none."""
        return self._files["stderr"].color_system

    def show_progress(self, progress: ProgressLine) -> bool:
        """Show a line below the output on stderr; return False if stderr cannot rewrite a line."""
        err = self._files["stderr"]
        if err.can_rewind:
            err.progress = progress
        return err.can_rewind

    # ---- for the event loop ----

    async def send(self, message: BatchMessage) -> None:
        """Take a message of a job, or of a host; wait while too many wait for the thread.

        Cancellation: the message is lost.
        """
        if isinstance(message, Batch):
            number = number_of(message.command)
            self._received[number] = self._received.get(number, 0) + len(message.data)
            if self._results is not None:
                await self._results.add(self._jobs[number].row, message)
            await self._put(message)
        elif isinstance(message, Restarting):
            number = number_of(message.command)
            if self._received.get(number):
                self._received[number] = 0  # What it wrote before is still on its way.
                if self._results is not None:
                    await self._results.begin_again(number, self._jobs[number].row)
                await self._put(_Again(number, message.command))
        elif isinstance(message, HostLost | HostUp):
            await self.note(self._news_of(message))

    def _news_of(self, message: HostLost | HostUp) -> str:
        """Return the line about a host that is lost, or up again; empty at its first start."""
        if isinstance(message, HostLost):
            self._lost_hosts.add(message.host)
        elif message.host in self._lost_hosts:
            self._lost_hosts.remove(message.host)
        else:
            return ""
        return f"currant: {printable(describe(message, {}).text)}\n"

    def received(self, number: int) -> int:
        """Return how many bytes have come from a job, in its last attempt."""
        return self._received.get(number, 0)

    async def finish(self, ended: Ended) -> None:
        """Show what is held back of a job that has ended; call this in the order to show."""
        if self._received.pop(ended.number, None) is not None:
            await self._put(ended)
        else:
            self._jobs.pop(ended.number, None)

    async def write(self, line: bytes) -> None:
        """Write a line to stdout."""
        await self._put(_Text("stdout", line))

    async def note(self, text: str) -> None:
        """Write lines of currant itself to stderr; nothing if there are none."""
        if text:
            await self._put(_Text("stderr", text.encode(errors="backslashreplace")))

    async def refresh(self) -> None:
        """Write the progress line again."""
        await self._put(None)

    async def _put(self, message: _Message) -> None:
        """Hand `message` to the thread; discard it if the output can no longer be written.

        Then the error of `run` stops the jobs, and their last output must not be an error of its
        own.
        """
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._send.send(message)

    def close(self) -> None:
        """Take no more messages: let `run` end."""
        self._send.close()

    async def run(self) -> None:
        """Write all output, until `close`.

        Cancellation: a thread that is stuck in a write is left alone.

        Raises:
            OSError: the output cannot be written.
            OutputError: a temporary file cannot be written.
        """
        with self._send, self._receive:
            messages = cast("ObjectReceiveStream[BatchMessage]", self._receive)
            while backlog := await receive_available(messages):
                await in_thread(partial(self._write, cast("list[_Message]", backlog)))
            await in_thread(self._end)

    # ---- in the thread ----

    def _write(self, backlog: Iterable[_Message]) -> None:
        for message in backlog:
            match message:
                case Batch():
                    self._take(message)
                case Ended():
                    self._show_ended(message)
                    self._jobs.pop(message.number, None)
                case _Again(number, command):
                    self._held.discard(number)
                    self._end_attempt(command)
                case _Text(stream, text):
                    file = self._files[stream]
                    file.add(file.writer.end())
                    file.add(text)
                case None:
                    pass
        self._flush()

    def _take(self, batch: Batch) -> None:
        number = number_of(batch.command)
        if self._mode == "hidden":
            return
        if self._mode.endswith("groups"):
            self._held.add(number, batch)
        else:
            self._show(number, batch)

    def _end_attempt(self, command: str) -> None:
        """End a line that an attempt has left unfinished, which the next attempt must not go on."""
        for file in self._files.values():
            if not self._is_verbatim(file):
                file.add(file.writer.finish(command))
                file.add(file.writer.begin_attempt(command))

    def _show_ended(self, ended: Ended) -> None:
        """Show the output of a job that has ended, if it was held back."""
        out = self._files["stdout"]
        begin, end = group_lines(f"{ended.number}: {ended.line[:MAX_TITLE]}")
        has_frame = self.is_folded and ended.number in self._held.numbers
        if has_frame:
            out.add(out.writer.note(begin))
        self._show_held(ended.number)
        for file in self._files.values():
            file.add(file.writer.finish(ended.result.command))
        if has_frame:
            out.add(out.writer.note(end))

    def _show_held(self, number: int) -> None:
        """Show the output of a job that was held back."""
        for batch in self._held.take(number):
            self._show(number, batch)

    def _show(self, number: int, batch: Batch) -> None:
        file = self._files["stdout" if self.is_folded else batch.stream]
        if self._is_verbatim(file):
            file.add(batch.data)
            file.writer.wrote(batch)
            return
        has_tag = self._mode.startswith("tagged")
        label = f"{printable(self._jobs[number].row.text)}\t" if has_tag else ""
        for chunk in file.writer.lines(batch, label, None, in_place=False):
            file.add(chunk)

    def _is_verbatim(self, file: OutputFile) -> bool:
        is_plain = self._mode == "groups" and not file.is_terminal and not self.is_folded
        return self._mode == "raw" or is_plain

    def _end(self) -> None:
        for number in list(self._held.numbers):
            self._show_held(number)
        for file in self._files.values():
            if not self._is_verbatim(file):
                file.add(file.writer.end())
            if file.progress is not None:
                file.progress.clear()
        self._flush()

    def _flush(self) -> None:
        for file in {id(file): file for file in self._files.values()}.values():
            file.flush()
