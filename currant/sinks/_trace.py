"""`TraceSink`: a timeline of a run, in a file that Perfetto and Chrome open.

The file is the array form of the Trace Event Format.  Its first line opens the array, each other
line is a comma and an event, and the last line closes the array.  A reader of the format takes a
file without the last line, which a killed program leaves behind.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import anyio

from currant._channel.feed import SinkAttribute
from currant._system.session_usage import usage_of_sessions
from currant._values.checks import check_choice, checked_path
from currant.sinks._log_file import LogFile, OnError
from currant.sinks._threaded import ThreadedSink, add_available, receive_available
from currant.sinks._trace_events import HEADER
from currant.sinks._trace_timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = ["TraceSink"]

PAUSE = 0.002
"""Seconds without a message after which the events so far are written.

To write each start and exit by itself slows short commands down: the trace of 4,000 times `true`,
which took 4 s, cost 1.2 to 1.9 s that way, and costs 0.2 to 0.7 s this way.
"""

MAX_COLLECTION = 0.05
"""Seconds after which events are written in any case."""

SAMPLE_PAUSE = 0.5
"""Seconds between two samples of the memory and the processor time, at least."""

SAMPLE_SHARE = 0.02
"""The part of the time that samples may take: a sample takes 2 ms with 100 processes in the system,
and 200 ms with 10,000."""


class TraceSink(ThreadedSink):
    """Writes a timeline of the commands, which https://ui.perfetto.dev and chrome://tracing open.

    See when each command waited, ran and became ready::

        import currant
        from currant.sinks import TraceSink

        currant.run({"web": "sleep 0.2", "db": "sleep 0.1"}, sinks=[TraceSink("trace.json")])

    The file is JSON in the Trace Event Format: an array with an event on each line, in UTF-8.  If
    the program is killed, only the closing bracket is missing, and both viewers open the file.

    Each command of a Runner has a track.  In a `currant.map`, each slot has a track, so the file
    of a million commands has as many tracks as commands that ran at the same time.  The slices of a
    track, and the messages that they are known from:

    - *waiting*: from the start of the run to the launch, for other commands or for a turn.  Only
      the commands that a Runner begins with have it.
    - *starting*: the launch of the process, to `Started`.
    - an attempt, with the name of the command: from `Started` to `Exited`.  Its arguments are the
      pid, the host, the command line, the exit, the bytes of output, the processor time and the
      peak memory; if it failed, also its last lines, at most 10 and 2 KiB.  In a `map`, the command
      line of a command that ends at once may be missing.
    - within the attempt of a command with a probe, *until ready*, and from `Ready` on *running*.
      A command without a probe is running for all of its attempt.
    - within the attempt, *stopping*: from the request to stop, or from `Aborted`, to the end.
    - *waiting to restart*: from `Restarting` on.

    *starting*, and *stopping* without an `Aborted`, are written when they are over: `Started` and
    `Exited` tell how long they took.

    Marks on a track: *failed*, *skipped*, *aborted*, *killed* (by SIGKILL, after the grace),
    *restarting* and *output dropped*.  An arrow leads from a command to each one that has waited
    for it (`Command.after`).  Counters show the commands that run and the bytes of output per
    second, with at most ten samples a second; and of the processes on this machine (Linux), the
    memory and the percent of one processor, with two samples a second, or fewer if thousands of
    processes make a sample slow.

    Times are in microseconds since the start of the run, by the clock of the messages.  Events are
    written as they come, 50 ms later at most.  Another run with the same sink replaces the file;
    two Runners at the same time need two sinks.

    Args:
        path: the file, which is replaced; missing folders are created.
        on_error: ``"raise"``: an error stops all commands and leaves the block; ``"warn"``: a
            `SinkWarning` names the file, and the events that cannot be written are lost.

    Raises:
        ValueError: when built: an option is invalid.
        OSError: with ``on_error="raise"``: the file cannot be written; the error names the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, on_error: OnError = "raise") -> None:
        super().__init__()
        check_choice("on_error", on_error, get_args(OnError))
        self._path = Path(checked_path("path", path))
        self._on_error: OnError = on_error
        self._in_slots = False
        self._start = 0.0
        self._next_sample = 0.0  # on the clock of the event loop
        self._run_so_far: tuple[LogFile, Timeline] | None = None

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Write the events of all messages until the stream ends.

        Cancellation: the last events may be missing.
        """
        self._start = time.time()
        self._next_sample = anyio.current_time() + SAMPLE_PAUSE
        self._in_slots = messages.extra(SinkAttribute.in_slots, False)  # noqa: FBT003, S610 - anyio's
        await super().__call__(messages)

    async def _receive(self, messages: ObjectReceiveStream[BatchMessage]) -> list[BatchMessage]:
        """Wait for a message; return it with those that follow closely, or nothing at the end."""
        backlog = await self._receive_or_sample(messages)
        deadline = anyio.current_time() + MAX_COLLECTION
        while backlog and anyio.current_time() < deadline:
            await anyio.sleep(PAUSE)
            if not add_available(messages, backlog):
                break
        return backlog

    async def _receive_or_sample(
        self, messages: ObjectReceiveStream[BatchMessage]
    ) -> list[BatchMessage]:
        """Wait for messages, and until they come, sample the usage of the processes."""
        while True:
            if anyio.current_time() >= self._next_sample:
                before = anyio.current_time()
                await self._run(self._sample)
                now = anyio.current_time()
                self._next_sample = now + max(SAMPLE_PAUSE, (now - before) / SAMPLE_SHARE)
            with anyio.move_on_after(self._next_sample - anyio.current_time()):
                return await receive_available(messages)

    def _sample(self) -> None:
        if self._run_so_far is not None:
            file, timeline = self._run_so_far
            usage = usage_of_sessions(timeline.local_pids())
            timeline.add_usage(time.time(), usage)
            self._write(file, timeline.take())

    def _handle(self, backlog: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        if self._run_so_far is None or not backlog:
            file = LogFile(self._path, None, 0, self._on_error, contents="the trace")
            self._truncate(file)
            timeline = Timeline(self._start, commands, in_slots=self._in_slots)
            self._run_so_far = file, timeline
        file, timeline = self._run_so_far
        for message in backlog:
            timeline.add(message)
        self._write(file, timeline.take())

    def _finish(self) -> None:
        if self._run_so_far is not None:
            file, timeline = self._run_so_far
            self._run_so_far = None
            timeline.finish(time.time())
            self._write(file, timeline.take() + b"]\n")
            file.warn_of_loss()

    def _truncate(self, file: LogFile) -> None:
        """Empty the file of an earlier run; an error is reported when the file is next written."""
        try:
            os.truncate(self._path, 0)
        except OSError:
            file.add(b"")

    def _write(self, file: LogFile, lines: bytes) -> None:
        """Append whole lines, with the first line before them unless the file has it."""
        try:
            has_header = self._path.stat().st_size > 0
        except OSError:
            has_header = False
        file.add(lines if has_header else HEADER + lines)
