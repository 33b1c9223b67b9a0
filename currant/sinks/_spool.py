"""Output that is held back until its command ends, in memory or on disk."""

from __future__ import annotations

import pickle
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, cast
from weakref import finalize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant._values.lines import Batch

__all__ = ["Held"]

HELD_IN_MEMORY = 1 << 20
"""Bytes of one command's output that are held in memory until it ends; what is more, on disk."""


class Held:
    """Batches of one command, kept until it ends."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(HELD_IN_MEMORY)  # noqa: SIM115 - closed as said next
        finalize(self, self._file.close)  # also where the sink is left early

    def add(self, batch: Batch) -> None:
        """Keep `batch`."""
        pickle.dump(batch, self._file)

    def release(self) -> Iterator[Batch]:
        """Yield all that was kept, in order."""
        self._file.seek(0)
        while True:
            try:
                batch = pickle.load(self._file)  # noqa: S301 - it is our own
            except EOFError:
                return
            yield cast("Batch", batch)
