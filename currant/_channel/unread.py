"""The warning that output is discarded because no task reads the Runner.

The warning is issued in a task of currant's own, whose stack shows only the event loop.  So the
warning names the line that built the Runner.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from currant._values.errors import UnreadOutputWarning

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

__all__ = ["CodeLine", "UnreadWarner"]


class CodeLine(NamedTuple):
    """A line of a program, which a warning points at.

    Attributes:
        file: the name of the file.
        number: the number of the line.
        module: the name of the module.
        registry: the warnings that were already shown for the module.
    """

    file: str
    number: int
    module: str
    registry: dict[Any, Any]

    @classmethod
    def of_caller(cls) -> Self:
        """Return the line that called this package."""
        # As `warnings.warn` does.
        frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        while frame.f_back is not None and _is_ours(frame):
            frame = frame.f_back
        registry = frame.f_globals.setdefault("__warningregistry__", {})
        module = frame.f_globals.get("__name__", "<unknown>")
        return cls(frame.f_code.co_filename, frame.f_lineno, module, registry)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "currant"


class UnreadWarner:
    """Warns once.

    Args:
        built_at: the line that built the Runner.
        seconds: for how long the commands wait for a reader.
    """

    def __init__(self, built_at: CodeLine, seconds: float) -> None:
        self._built_at = built_at
        self._seconds = seconds
        self._has_warned = False

    def warn(self, command: str) -> None:
        """Warn that output of `command` is discarded, unless there was a warning already."""
        if self._has_warned:
            return
        self._has_warned = True
        line = self._built_at
        warnings.warn_explicit(
            UnreadOutputWarning(command, self._seconds),
            UnreadOutputWarning,
            line.file,
            line.number,
            line.module,
            line.registry,
        )
