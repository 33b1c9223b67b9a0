"""`FastLane`: small batches that overtake the large batches of other commands.

A command that writes without pause keeps the stream of a buffer full of large batches.  A line of
a quiet command would come after all of them.  So a small batch may enter the fast lane, which is
emptied before the stream.

To decide that, the fast lane counts the messages *ahead*, which an entering batch would overtake:
those in the stream, and the large batches that are being read.

Invariants: a batch overtakes no event (any message other than output), and no batch of its own
command.  At most `MAX_OVERTAKES` batches overtake a message.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from currant._values.lines import Batch

if TYPE_CHECKING:
    from currant._values.messages import BatchMessage

__all__ = ["MAX_OVERTAKES", "SMALL_BATCH", "FastLane"]

SMALL_BATCH = 4 * 1024
"""Bytes up to which a batch ignores the byte bound of a buffer, and may overtake large batches."""

MAX_OVERTAKES = 16
"""How many small batches may overtake the oldest message before it has its turn."""


class FastLane:
    """A queue of small batches, and counts of the messages ahead of the next one."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._overtakes = 0  # since a message was last removed from the stream
        self._batches_ahead: Counter[str] = Counter()  # by command
        self._events_ahead = 0
        self._bytes_being_read = 0  # of the large batches that are being read

    def __bool__(self) -> bool:
        """Return whether there is a batch in the fast lane."""
        return bool(self._batches)

    def has_batch_of(self, command: str) -> bool:
        """Return whether there is a batch of `command` in the fast lane."""
        return any(batch.command == command for batch in self._batches)

    def admits(self, batch: Batch, bytes_held: int) -> bool:
        """Return whether `batch` may enter: it is small, and the bytes ahead of it are not.

        Args:
            batch: the batch.
            bytes_held: the bytes in the buffer.
        """
        return (
            len(batch.data) <= SMALL_BATCH < bytes_held + self._bytes_being_read
            and max(self._overtakes, len(self._batches)) < MAX_OVERTAKES
            and not self._events_ahead
            and not self._batches_ahead[batch.command]
        )

    def append(self, batch: Batch) -> None:
        """Add a batch that `admits` has admitted."""
        self._batches.append(batch)
        self._overtakes += 1

    def popleft(self) -> Batch:
        """Remove and return the oldest batch; there must be one."""
        return self._batches.popleft()

    # ---- what is ahead ----

    def added_to_stream(self, message: BatchMessage) -> None:
        """Count a message that is in the stream from now on."""
        if isinstance(message, Batch):
            self._batches_ahead[message.command] += 1
        else:
            self._events_ahead += 1

    def removed_from_stream(self, message: BatchMessage) -> None:
        """Count a message of the stream no longer; other batches may overtake the next one."""
        self._overtakes = 0
        if isinstance(message, Batch):
            self._no_longer_ahead(message)
        else:
            self._events_ahead -= 1

    def begin_reading(self, batch: Batch) -> None:
        """Count a batch that was taken and is being read, if it is large."""
        if len(batch.data) > SMALL_BATCH:
            self._batches_ahead[batch.command] += 1
            self._bytes_being_read += len(batch.data)

    def end_reading(self, batch: Batch) -> None:
        """Undo `begin_reading`."""
        if len(batch.data) > SMALL_BATCH:
            self._no_longer_ahead(batch)
            self._bytes_being_read -= len(batch.data)

    def _no_longer_ahead(self, batch: Batch) -> None:
        self._batches_ahead[batch.command] -= 1
        if not self._batches_ahead[batch.command]:
            del self._batches_ahead[batch.command]
