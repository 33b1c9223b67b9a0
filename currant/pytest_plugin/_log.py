"""`Log`: the output of processes, in a file for each.

Rejected: a `DirectorySink`.  It switches to its thread four times for a process that writes
nothing, which takes half as long as the start and the stop of such a process.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from currant._channel.threads import in_thread
from currant._values.file_name import as_file_name
from currant._values.lines import Batch
from currant.sinks import SinkWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from currant._values.messages import BatchMessage

__all__ = ["Log"]


class Log:
    """Appends the output of each process to a file, both streams in order.

    Args:
        folder: where the files are; it is created for the first output.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the path of the file of a process, which exists once the process has written."""
        return self._folder / f"{as_file_name(name)}.log"

    async def write(self, messages: Iterable[BatchMessage]) -> None:
        """Write the output among these messages, in a thread; a failure is a warning.

        Cancellation: the output may be incomplete.
        """
        output: dict[str, list[bytes]] = defaultdict(list)
        for message in messages:
            if isinstance(message, Batch):
                output[message.command].append(message.data)
        if output:
            await in_thread(partial(self._append, output))

    def _append(self, output: Mapping[str, Sequence[bytes]]) -> None:
        for name, parts in output.items():
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with self.path(name).open("ab") as file:
                    file.writelines(parts)
            except OSError as error:
                text = f"the log of {name!r} lacks output: {error}"
                warnings.warn(text, SinkWarning, stacklevel=2)
