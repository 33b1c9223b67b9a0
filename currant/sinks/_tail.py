"""`Tail`: the last lines that a command has written."""

from __future__ import annotations

from currant._values.errors import plain_text
from currant._values.lines import Batch

__all__ = ["Tail"]

MAX_LINES = 10
MAX_BYTES = 2048


class Tail:
    """Keeps the end of the output of one attempt: stdout and stderr together, as they came."""

    def __init__(self) -> None:
        self._data = b""
        self._is_cut = False  # whether the first line lacks its begin

    def add(self, data: bytes) -> None:
        """Take output; only the last bytes are kept."""
        self._is_cut = self._is_cut or len(self._data) + len(data) > MAX_BYTES
        self._data = (self._data + data[-MAX_BYTES:])[-MAX_BYTES:]

    def lines(self) -> list[str]:
        """Return the last lines, at most 10 and 2 KiB, without endings and escape sequences.

        If a single line is longer than that, its end is returned.
        """
        lines = [plain_text(line) for line in Batch("", "stdout", self._data, 0.0).lines()]
        if self._is_cut and len(lines) > 1:
            del lines[0]
        return lines[-MAX_LINES:]
