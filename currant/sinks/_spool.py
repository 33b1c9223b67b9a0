"""`OutputSpool`: the output of a command, held back until its exit, in memory or on disk."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, cast

from currant.sinks._temporary import temporary_file, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from currant._values.lines import Batch

__all__ = ["OutputSpool"]

MAX_IN_MEMORY = 1 << 20
"""Bytes of a command's output that are held in memory; if there are more, they go to disk."""

BYTES_PER_BATCH = 150
"""Bytes that a batch takes in memory besides its data, of which a slow command writes little."""


class OutputSpool:
    """The batches of a command until its exit: the oldest on disk, the others in memory.

    Attributes:
        in_memory: how many bytes are in memory.
    """

    def __init__(self) -> None:
        self.in_memory: int = 0
        self._disk: FileIO | None = None
        self._blocks: list[int] = []  # the sizes of the blocks on disk
        self._batches: list[Batch] = []  # those in memory

    def add(self, batch: Batch) -> None:
        """Append a batch.

        Raises:
            OSError: the disk has no room.  The spool holds all batches, but takes no more.
        """
        self._batches.append(batch)
        self.in_memory += len(batch.data) + BYTES_PER_BATCH
        if self.in_memory > MAX_IN_MEMORY:
            self.move_to_disk()

    def replay(self) -> Iterator[Batch]:
        """Yield all batches in order."""
        if self._disk is not None:
            self._disk.seek(0)
            for size in self._blocks:
                # The file also holds a part of another block if the disk became full.
                block = pickle.loads(self._disk.read(size))  # noqa: S301 - written by this program
                yield from cast("list[Batch]", block)
        yield from self._batches

    def move_to_disk(self) -> None:
        """Move all batches to disk.

        Raises:
            OSError: the disk has no room.  The spool holds all batches, but takes no more.
        """
        if self._disk is None:
            self._disk = temporary_file(self)
        block = pickle.dumps(self._batches)
        write_all(self._disk, block)
        self._blocks.append(len(block))
        self._batches, self.in_memory = [], 0
