"""`OutputSpool`: the output of a command, held back until its exit, in memory or on disk."""

from __future__ import annotations

import pickle
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, cast
from weakref import finalize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant._values.lines import Batch

__all__ = ["OutputSpool"]

MAX_IN_MEMORY = 1 << 20
"""Bytes of a command's output that are held in memory; if there are more, they go to disk."""


class OutputSpool:
    """The batches of a command until its exit."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(MAX_IN_MEMORY)  # noqa: SIM115 - closed by `finalize`
        finalize(self, self._file.close)  # This closes the file also if the sink is cancelled.

    def add(self, batch: Batch) -> None:
        """Append a batch."""
        pickle.dump(batch, self._file)

    def replay(self) -> Iterator[Batch]:
        """Yield all batches in order."""
        self._file.seek(0)
        while True:
            try:
                batch = pickle.load(self._file)  # noqa: S301 - this program wrote the file
            except EOFError:
                return
            yield cast("Batch", batch)
