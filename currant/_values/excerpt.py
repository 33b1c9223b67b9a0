"""`Excerpt`: a part of a command's output, for `Job.since`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from currant._values.lines import StreamName

__all__ = ["Excerpt"]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The output of a command from a mark on.

    Attributes:
        chunks: pairs of a stream, ``"stdout"`` or ``"stderr"``, and bytes, in the order of arrival.
        mark: the end of this excerpt, where the next excerpt begins: how many bytes of both streams
            have come.
        omitted: how many bytes after the earlier mark are not here, because they were no longer
            kept.
    """

    chunks: tuple[tuple[StreamName, bytes], ...]
    mark: int
    omitted: int = 0

    @property
    def data(self) -> bytes:
        """The bytes of both streams, in the order of arrival."""
        return b"".join(data for _, data in self.chunks)

    @property
    def stdout(self) -> bytes:
        """The bytes of stdout."""
        return self._of("stdout")

    @property
    def stderr(self) -> bytes:
        """The bytes of stderr."""
        return self._of("stderr")

    @property
    def text(self) -> str:
        """The bytes of both streams decoded as UTF-8; U+FFFD replaces invalid bytes."""
        return self.data.decode(errors="replace")

    def _of(self, stream: StreamName) -> bytes:
        return b"".join(data for name, data in self.chunks if name == stream)
