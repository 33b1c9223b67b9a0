"""`Conversation`: all that a program does with the output of one life of a command.

The public methods are those of `Job`, which asks the conversation of its present life.  Every way
of reading has positions of its own in the transcript (`currant._channel.transcript`).
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.expectation import Expectation
from currant._channel.output_stream import OutputStream
from currant._channel.track import Place
from currant._channel.transcript_lines import LineIterator, TranscriptLines
from currant._supervisor.job_conditions import check_conditions, first_of
from currant._supervisor.job_input import InputStream, JobInput
from currant._values.checks import PATTERN_ERRORS, check_seconds, naming
from currant._values.command import flush_after_of
from currant._values.errors import CommandError, ExpectError
from currant._values.incremental_search import CONTEXT
from currant._values.launch_spec import read_streams
from currant._values.lines import STREAMS, StreamName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._supervisor.job_conditions import JobCondition
    from currant._supervisor.lifecycle import Lifecycle
    from currant._values.excerpt import Excerpt

__all__ = ["Conversation"]

_EXIT_AFTER_OUTPUT = 0.2
"""Seconds to wait for the exit of a process whose output has ended, for the error's text."""


class Conversation:
    """The streams of one life of a command, and where each way of reading is.

    Args:
        life: the life.

    Attributes:
        life: as given.
        stdin: the input; None if the command was built without one.
        before: what came before the last match of `expect`.
    """

    def __init__(self, life: Lifecycle) -> None:
        self.life = life
        self.stdin: InputStream | None = InputStream(life) if JobInput(life).is_writable else None
        self._transcript = life.context.transcript
        self._home = life.context.runner.home
        self.before: bytes = b""
        self._expected: dict[StreamName, Place] = {name: Place() for name in STREAMS}
        self._searches: dict[StreamName, anyio.ResourceGuard] = {}
        self._streams: dict[StreamName, OutputStream] = {}
        command = life.command
        self._lines = TranscriptLines(
            command.name, self._transcript, command.line_limit, flush_after_of(command)
        )

    def stream(self, name: StreamName) -> OutputStream:
        """Return an output stream, always the same object; from the first call on it is read."""
        if name not in self._streams:
            self._streams[name] = OutputStream(self._transcript, name, self._home)
        return self._streams[name]

    def lines(self, stream: StreamName | None) -> LineIterator:
        """Return an iterator; see `Job.lines`."""
        with naming(self.life.name):
            streams = self._streams_of("lines", stream)
        return LineIterator(self._lines, streams, self._home)

    async def expect(
        self,
        pattern: bytes | str | re.Pattern[bytes],
        stream: StreamName | None,
        timeout: float | None,  # noqa: ASYNC109 - the error needs what has come
    ) -> re.Match[bytes]:
        """Wait for a match; see `Job.expect`."""
        with naming(self.life.name):
            compiled = _compiled(pattern)
            streams = self._streams_of("expect", stream)
            check_seconds("expect: timeout", timeout)
        await checkpoint()  # A loop of calls may find all of its matches at once.
        with ExitStack() as searches:
            for name in streams:
                searches.enter_context(self._search_of(name))
            return await self._match(compiled, streams, timeout)

    def _search_of(self, stream: StreamName) -> anyio.ResourceGuard:
        """Return what one task at a time may hold: two would match the same bytes."""
        if stream not in self._searches:
            self._searches[stream] = anyio.ResourceGuard(
                f"calling expect on the {stream} of command {self.life.name!r}; "
                "only one task at a time can search"
            )
        return self._searches[stream]

    async def _match(
        self,
        pattern: re.Pattern[bytes],
        streams: Sequence[StreamName],
        timeout: float | None,  # noqa: ASYNC109 - the error needs what has come
    ) -> re.Match[bytes]:
        places: dict[StreamName, Place] = {name: self._expected[name].copy() for name in streams}
        expectation, found = Expectation(pattern, streams), None
        with self._transcript.attached(places) as cursor, cursor.reading():
            with anyio.move_on_after(timeout) as limit:
                found = await expectation.wait(cursor)
            if limit.cancelled_caught:
                found = expectation.settle()
        if found is None:
            over = f"nothing did within {timeout:g} s" if limit.cancelled_caught else None
            raise await self._unmatched(pattern, streams, over, expectation.missed)
        self._expected[found.stream] = Place(found.end)
        self.before = found.match.string[: found.match.start()]
        return found.match

    def _streams_of(self, call: str, stream: object) -> Sequence[StreamName]:
        """Return the streams that `stream` names, of those that currant reads.

        Raises:
            CommandError: there is no such stream, or the command has no pipe for it.
        """
        if stream is not None and stream not in STREAMS:
            raise CommandError(f"{call}: stream must be 'stdout', 'stderr' or None, not {stream!r}")
        command = self.life.command
        readable = read_streams(command)
        streams: list[StreamName] = [name for name in STREAMS if name in readable]
        wanted: list[StreamName] = [name for name in streams if stream in (None, name)]
        if wanted:
            return wanted
        problem = "all output goes to files" if not streams else f"its {stream} goes elsewhere"
        raise CommandError(
            f"{call}: currant cannot read that: {problem}; see its stdout, stderr and pty"
        )

    async def _unmatched(
        self,
        pattern: re.Pattern[bytes],
        streams: Sequence[StreamName],
        over: str | None,
        missed: int,
    ) -> ExpectError:
        """Return the error of `expect`: the time is over, or the output has ended."""
        reason = over
        if reason is None:
            with anyio.move_on_after(_EXIT_AFTER_OUTPUT):
                await self.life.exited()
            ended = self.life.end_so_far
            reason = "its output has ended" if ended is None else f"it has ended: {ended}"
        if missed:
            reason += f" ({missed} bytes were discarded before this call)"
        unread = self._transcript.unread({name: self._expected[name] for name in streams})
        self.before = unread[-CONTEXT:]
        end = self.life.attempt.outcome.exit
        return ExpectError(self.life.name, pattern.pattern, reason, self.before, end)

    async def until(
        self,
        conditions: Sequence[JobCondition],
        idle: float | None,
        timeout: float | None,  # noqa: ASYNC109 - it is no error
    ) -> JobCondition | None:
        """Wait for the first of the conditions; see `Job.until`."""
        with naming(self.life.name):
            check_conditions(conditions, idle)
            check_seconds("until: timeout", timeout)
        with self.life.context.runner.channel.waiting(), anyio.move_on_after(timeout):
            return await first_of(self.life, conditions, idle)
        return None

    def since(self, mark: int) -> Excerpt:
        """Return the output after `mark`; see `Job.since`."""
        with naming(self.life.name):
            _check_mark("since", mark)
        self._transcript.release(*STREAMS)  # The command does not wait for this way of reading.
        return self._transcript.since(mark)

    async def next_output(self, mark: int) -> Excerpt:
        """Wait for output after `mark`, and return it; see `Job.next_output`."""
        with naming(self.life.name):
            _check_mark("next_output", mark)
        transcript, life = self._transcript, self.life
        transcript.release(*STREAMS)
        mark = transcript.mark_here(mark)
        with life.context.runner.channel.waiting():
            await transcript.arrival.wait_for(lambda: transcript.total > mark or life.has_ended)
        return transcript.since(mark)


def _check_mark(call: str, mark: object) -> None:
    if not isinstance(mark, int) or isinstance(mark, bool) or mark < 0:
        raise CommandError(f"{call}: mark must be 0 or the mark of an Excerpt, not {mark!r}")


def _compiled(pattern: object) -> re.Pattern[bytes]:
    """Return `pattern` as a compiled expression of bytes."""
    if isinstance(pattern, re.Pattern):
        if isinstance(pattern.pattern, bytes):  # pyright: ignore[reportUnknownMemberType]
            return cast("re.Pattern[bytes]", pattern)
        raise CommandError(
            f"expect: {pattern!r} is compiled from a str, and output is bytes; "
            "use re.compile(b'...'), or pass the str itself"
        )
    if isinstance(pattern, (str, bytes)):
        try:
            return re.compile(pattern.encode() if isinstance(pattern, str) else pattern)
        except (*PATTERN_ERRORS, UnicodeEncodeError) as error:
            problem = f"expect: {pattern!r} is not a regular expression: {error}"
            raise CommandError(problem) from error
    raise CommandError(
        f"expect: the pattern must be bytes, a str or a compiled pattern of bytes, not {pattern!r}"
    )
