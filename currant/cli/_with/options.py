"""The options of ``currant with``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant.sinks import Color

__all__ = ["WithOptions"]


class WithOptions(TypedDict):
    """The options of ``currant with``."""

    ready: Sequence[tuple[int, str]]
    """Each probe with the number of servers before it."""
    test: Sequence[str]
    files: Sequence[str]
    ports: Sequence[str]
    timeout: float | None
    any_owner: bool
    any_certificate: bool
    quiet: bool
    color: Color
    grace: float
    env_file: Sequence[str]
    cwd: str | None
    log_dir: str | None
    junit: str | None
