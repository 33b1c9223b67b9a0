"""`SinkWarning`: a sink goes on, but does not write as it was asked to."""

from __future__ import annotations

import warnings

__all__ = ["SinkWarning", "warn"]


class SinkWarning(RuntimeWarning):
    """A sink could not write a file, and goes on without that file or in another way."""

    __module__ = "currant.sinks"


def warn(text: str) -> None:
    """Issue a `SinkWarning`."""
    warnings.warn(text, SinkWarning, stacklevel=2)
