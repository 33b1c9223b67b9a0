"""`ResultsWriter`: writes the files of ``--results``, and the job log after them.

A thread of its own writes, and not the one that shows output.  So no line of the log waits for the
reader of stdout, and none is lost if stdout can no longer be written.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import anyio

from currant._channel.threads import in_thread
from currant.cli._map.job import number_of
from currant.sinks._threaded import receive_available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anyio.abc import ObjectReceiveStream

    from currant._batch.rows import Row
    from currant._values.lines import Batch
    from currant._values.messages import BatchMessage
    from currant.cli._map.ended import Ended
    from currant.cli._map.job_log import JobLog
    from currant.cli._map.results_folder import ResultsFolder

__all__ = ["ResultsWriter"]

BUFFER_SIZE = 16
"""Writes that wait for the thread, before the jobs wait for it."""

_Write: TypeAlias = "Callable[[], object]"


class ResultsWriter:
    """Writes the files of each job, and then its line of the job log.

    Args:
        folder: where the output of each job is written to; None: nowhere.
        log: the job log; None: there is none.
    """

    def __init__(self, folder: ResultsFolder | None, log: JobLog | None) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[_Write](BUFFER_SIZE)
        self._folder, self._log = folder, log
        self._begun: set[int] = set()  # the jobs that have a folder
        self._waiting_for_reader = anyio.CancelScope()

    async def add(self, row: Row, batch: Batch) -> None:
        """Write output of a job to its file."""
        if self._folder is not None:
            await self._put(partial(self._add, self._folder, row, batch))

    async def begin_again(self, number: int, row: Row) -> None:
        """Discard the output of a job: another attempt follows."""
        if self._folder is not None:
            await self._put(partial(self._folder.begin, number, row))

    async def end(self, ended: Ended, *, is_logged: bool) -> None:
        """Write the line of a job that has ended to the job log; before that, its files.

        A resumed run skips what is in the log, so the files of the job must be complete by then.

        Args:
            ended: the job.
            is_logged: whether it gets a line.

        Raises:
            OutputError: the log cannot be written.
        """
        log = self._log if is_logged else None
        if self._folder is not None or (log is not None and log.may_block):
            await self._put(partial(self._end, ended, log))
        elif log is not None:
            log.add(ended)

    def close(self) -> None:
        """Take no more jobs: let `run` end."""
        self._send.close()

    def give_up_reader(self) -> None:
        """Do not wait for a program that reads the job log; if the log is a file, complete all."""
        if self._log is not None and self._log.may_block:
            self._waiting_for_reader.cancel()

    async def run(self) -> None:
        """Write all that comes, until `close`.

        Cancellation: a thread that is stuck in a write is left alone.

        Raises:
            OutputError: the folder or the job log cannot be written.
        """
        with self._send, self._receive, self._waiting_for_reader:
            messages = cast("ObjectReceiveStream[BatchMessage]", self._receive)
            while backlog := await receive_available(messages):
                await in_thread(partial(_call_each, cast("list[_Write]", backlog)))

    async def _put(self, write: _Write) -> None:
        """Hand `write` to the thread; discard it if the thread can no longer write."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._send.send(write)

    # ---- in the thread ----

    def _add(self, folder: ResultsFolder, row: Row, batch: Batch) -> None:
        number = number_of(batch.command)
        if number not in self._begun:
            self._begun.add(number)
            folder.begin(number, row)
        folder.write(number, batch.stream, batch.data)

    def _end(self, ended: Ended, log: JobLog | None) -> None:
        if self._folder is not None:
            self._begun.discard(ended.number)
            self._folder.end(ended)
        if log is not None:
            log.add(ended)


def _call_each(writes: Iterable[_Write]) -> None:
    for write in writes:
        write()
