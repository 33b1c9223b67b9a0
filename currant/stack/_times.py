"""Times as people write and read them: ``10m`` ago, ``14:30``, up for ``2h 5m``."""

from __future__ import annotations

import re
from datetime import datetime

__all__ = ["duration", "parse_time"]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_time(text: str, now: float) -> float:
    """Return a time in seconds since the epoch.

    Args:
        text: a time span before now, a time of today, or a date with a time.
        now: seconds since the epoch.

    Raises:
        ValueError: it is none of these.
    """
    if (span := _SPAN.fullmatch(text)) is not None:
        return max(0.0, now - float(span[1]) * _UNITS[span[2]])
    today = datetime.fromtimestamp(now).astimezone().date()
    for each in (text, f"{today}T{text}"):
        try:
            return max(0.0, datetime.fromisoformat(each).timestamp())
        except ValueError:
            continue
    raise ValueError(f"{text!r} is no time such as 10m, 14:30 or 2026-05-01T08:00")


def duration(seconds: float) -> str:
    """Return a time span with its two largest units: ``5s``, ``3m 20s``, ``2h 5m``, ``9d 1h``."""
    whole = int(seconds)
    days, hours = divmod(whole // 3600, 24)
    minutes, rest = divmod(whole % 3600, 60)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
