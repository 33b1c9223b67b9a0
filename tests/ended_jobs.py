"""Jobs that have ended, without a process, for the logs and reports of `currant map`."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING, Any

from currant._batch.rows import Row
from currant._values.exit import Exit
from currant._values.lines import Line
from currant._values.results import Result
from currant.cli._map.ended import Ended
from currant.cli._map.job import Job

if TYPE_CHECKING:
    from currant._values.results import Status

__all__ = ["ended", "lines"]


def ended(
    number: int = 1,
    line: str = "true",
    end: int | Signals | Exit | None = 0,
    *,
    values: tuple[str, ...] = ("a",),
    names: tuple[str, ...] = (),
    status: Status | None = None,
    sent: int = 0,
    **fields: Any,
) -> Ended:
    """Return a job that has ended with an exit code, by a signal, or without an exit."""
    if isinstance(end, Signals):
        end = Exit(None, end)
    elif isinstance(end, int):
        end = Exit(end, None)
    status = status or ("succeeded" if end == Exit(0, None) else "failed")
    given: dict[str, Any] = {"error": None, "attempts": 1, "duration": 1.5, "started_at": 1e9}
    result = Result("job", end, status=status, **given | fields)
    job = Job(number, Row(values, names), b"x" * sent if sent else None)
    return Ended(job, result, lambda _: line, 11)


def lines(*texts: str | bytes) -> tuple[Line, ...]:
    """Return lines of stdout."""
    data = [text.encode() if isinstance(text, str) else text for text in texts]
    return tuple(Line("job", "stdout", each, b"\n", 0.0) for each in data)
