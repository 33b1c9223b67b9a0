"""`DirectorySink`: what each command writes, in a file of its own."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from currant._values.lines import Batch
from currant._values.messages import Started
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from currant._values.command import Command
    from currant._values.lines import StreamName
    from currant._values.messages import BatchMessage

__all__ = ["DirectorySink"]


class DirectorySink(ThreadedSink):
    """Adds what each command writes, byte for byte, to ``NAME.log`` in a directory.

    A file is there from the command's start on, and is opened for each write anew: it costs no
    descriptor while the command is silent, and other programs may move it away.  A ``/`` or ``%``
    in a name is written as in a URL.

    Args:
        path: the directory; it is made where there is none.
        max_bytes: how large a file may become before it is rotated: renamed to ``NAME.log.1``, the
            older ones to ``.2`` and so on, and begun anew.  Lines are not cut: a file grows larger
            by the one line that alone is longer.  None: no limit.
        backups: how many rotated files are kept of each; the oldest is deleted.
        stderr: ``"stdout"``: in the same file as stdout, in the order in which it was read;
            ``"separate"``: in ``NAME.err.log``.

    Raises:
        ValueError: when built: an option is wrong.
        OSError: the directory or a file cannot be made or written to.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int | None = None,
        backups: int = 0,
        *,
        stderr: Literal["stdout", "separate"] = "stdout",
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

    def take(
        self,
        pile: Sequence[BatchMessage],
        commands: Mapping[str, Command],  # noqa: ARG002 - of no use here
    ) -> None:
        """Add `pile` to the files that it belongs to."""
        self._folder.mkdir(parents=True, exist_ok=True)
        parts: dict[Path, list[bytes]] = {}
        for message in pile:
            match message:
                case Started():
                    for stream in ("stdout", "stderr"):
                        parts.setdefault(self._file(message.command, stream), [])
                case Batch():
                    file = self._file(message.command, message.stream)
                    parts.setdefault(file, []).append(message.data)
                case _:
                    pass
        for file, data in parts.items():
            self._add(file, b"".join(data))

    def _file(self, command: str, stream: StreamName) -> Path:
        kind = "err.log" if stream == "stderr" and self._separate else "log"
        # Only what a file's name cannot hold is replaced, and what marks such a replacement.
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
        """Return how many bytes of `data` go to a file that holds `filled` bytes."""
        if self._max_bytes is None or filled + len(data) <= self._max_bytes:
            return len(data)
        lines = data.rfind(b"\n", 0, max(0, self._max_bytes - filled)) + 1
        if lines or filled:
            return lines
        return data.find(b"\n") + 1 or len(data)  # one line that is longer than a file may be

    def _rotate(self, file: Path) -> None:
        names = [file, *(file.with_name(f"{file.name}.{n + 1}") for n in range(self._backups))]
        if len(names) == 1:
            file.unlink()
        for newer, older in reversed(list(pairwise(names))):
            with suppress(FileNotFoundError):
                newer.replace(older)
