"""`DirectorySink`: the output of each command, in a file of its own."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from currant._values.lines import Batch
from currant._values.messages import Exited, Started
from currant.sinks._control import SequenceFilter
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from currant._values.command import Command
    from currant._values.lines import StreamName
    from currant._values.messages import BatchMessage

__all__ = ["DirectorySink"]


class DirectorySink(ThreadedSink):
    """Appends the output of each command, byte for byte, to ``NAME.log`` in a directory.

    Keep at most 40 MB of logs for each command::

        import currant
        from currant.sinks import DirectorySink

        sink = DirectorySink("logs", max_bytes=10_000_000, backups=3)
        currant.run({"web": "echo hello"}, sinks=[sink])  # in logs/web.log

    A file exists from the start of the command on.  The sink opens the file for each write, so a
    silent command costs no descriptor, and other programs may move the file away.  In the name of a
    file, ``/`` and ``%`` are escaped as in a URL.

    Args:
        path: the directory, which is created if necessary.
        max_bytes: the size at which a file is rotated: renamed to ``NAME.log.1``, and older files
            to ``.2`` and so on.  Lines are not cut, so a long line may exceed the size.  None: no
            limit.
        backups: how many rotated files are kept for each command; the oldest file is deleted.
        stderr: ``"stdout"``: in the same file, in the order in which the output was read;
            ``"separate"``: in ``NAME.err.log``.
        plain: whether escape sequences, such as colours, are left out of the files.

    Raises:
        ValueError: when built: an option is invalid.
        OSError: the directory or a file cannot be created or written to.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int | None = None,
        backups: int = 0,
        *,
        stderr: Literal["stdout", "separate"] = "stdout",
        plain: bool = False,
    ) -> None:
        super().__init__()
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, or None, not {max_bytes!r}")
        if backups < 0:
            raise ValueError(f"backups must be at least 0, not {backups!r}")
        if stderr not in ("stdout", "separate"):
            raise ValueError(f"stderr must be 'stdout' or 'separate', not {stderr!r}")
        self._folder = Path(path)
        self._max_bytes = max_bytes
        self._backups = backups
        self._separate = stderr == "separate"
        self._filters: dict[tuple[str, StreamName], SequenceFilter] | None = {} if plain else None

    def _handle(
        self,
        backlog: Sequence[BatchMessage],
        commands: Mapping[str, Command],  # noqa: ARG002 - not needed here
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        parts: dict[Path, list[bytes]] = {}
        for message in backlog:
            match message:
                case Started():
                    for stream in ("stdout", "stderr"):
                        parts.setdefault(self._file(message.command, stream), [])
                case Batch():
                    file = self._file(message.command, message.stream)
                    parts.setdefault(file, []).append(self._shown(message))
                case Exited() if self._filters is not None:  # A sequence ends with its attempt.
                    self._filters.pop((message.command, "stdout"), None)
                    self._filters.pop((message.command, "stderr"), None)
                case _:
                    pass
        for file, data in parts.items():
            self._add(file, b"".join(data))

    def _shown(self, batch: Batch) -> bytes:
        if self._filters is None:
            return batch.data
        key = (batch.command, batch.stream)
        if key not in self._filters:
            self._filters[key] = SequenceFilter()
        return self._filters[key].feed(batch.data)

    def _file(self, command: str, stream: StreamName) -> Path:
        kind = "err.log" if stream == "stderr" and self._separate else "log"
        # A file name cannot hold the slash; the percent sign marks an escape.
        name = command.replace("%", "%25").replace("/", "%2F")
        return self._folder / f"{name}.{kind}"

    def _add(self, file: Path, data: bytes) -> None:
        while True:
            with file.open("ab") as log:
                size = self._fitting(data, log.tell())
                log.write(data[:size])
            data = data[size:]
            if not data:
                return
            self._rotate(file)

    def _fitting(self, data: bytes, filled: int) -> int:
        """Return how many bytes of `data` fit into a file that holds `filled` bytes."""
        if self._max_bytes is None or filled + len(data) <= self._max_bytes:
            return len(data)
        lines = data.rfind(b"\n", 0, max(0, self._max_bytes - filled)) + 1
        if lines or filled:
            return lines
        return data.find(b"\n") + 1 or len(data)  # One line is longer than a file may be.

    def _rotate(self, file: Path) -> None:
        names = [file, *(file.with_name(f"{file.name}.{n + 1}") for n in range(self._backups))]
        if len(names) == 1:
            file.unlink()
        for newer, older in reversed(list(pairwise(names))):
            with suppress(FileNotFoundError):
                newer.replace(older)
