"""The mark that every process carries in its environment: the variable ``CURRANT_ID``."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote_to_bytes

__all__ = ["VARIABLE", "command_of", "has_mark", "mark"]


VARIABLE = "CURRANT_ID"


def mark(run: str, name: str, attempt: int) -> str:
    """Return the ``CURRANT_ID`` of a process, appended to the ``CURRANT_ID`` of this process."""
    own = f"{run}/{quote(os.fsencode(name), safe='#')}/{attempt}"
    outer = os.environ.get(VARIABLE)
    return f"{outer}:{own}" if outer else own


def has_mark(environment: bytes, mark: bytes) -> bool:
    """Return whether a variable equals `mark`, or starts with `mark` and a colon.

    The colon comes from a Runner inside the process, which appended a mark of its own.
    """
    return any((each + b":").startswith(mark + b":") for each in environment.split(b"\0"))


def command_of(environment: bytes, run: str) -> str | None:
    """Return the command of `run` that started a process with this environment, if any did."""
    if run.encode() not in environment:
        return None
    for variable in environment.split(b"\0"):
        name, _, marks = variable.partition(b"=")
        if name == VARIABLE.encode():
            for entry in marks.split(b":"):
                entry_run, _, rest = entry.partition(b"/")
                if entry_run == run.encode():
                    return os.fsdecode(unquote_to_bytes(rest.partition(b"/")[0]))
    return None
