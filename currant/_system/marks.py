"""The mark that every process carries in its environment: the variable ``CURRANT_ID``."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote_to_bytes

__all__ = ["VARIABLE", "command_of", "has_mark", "mark"]


VARIABLE = "CURRANT_ID"


def mark(run: str, name: str, attempt: int) -> str:
    """Return the ``CURRANT_ID`` of a process, appended to the one that this process has."""
    own = f"{run}/{quote(os.fsencode(name), safe='#')}/{attempt}"
    outer = os.environ.get(VARIABLE)
    return f"{outer}:{own}" if outer else own


def has_mark(environment: bytes, mark: bytes) -> bool:
    """Tell whether a variable is `mark`, or begins with it and a colon: a Runner's below it."""
    return any((each + b":").startswith(mark + b":") for each in environment.split(b"\0"))


def command_of(environment: bytes, run: str) -> str | None:
    """Return the name of the command of `run` that a process with that environment comes from."""
    if run.encode() not in environment:
        return None
    for word in environment.split(b"\0"):
        variable, _, marks = word.partition(b"=")
        if variable == VARIABLE.encode():
            for entry in marks.split(b":"):
                own_run, _, rest = entry.partition(b"/")
                if own_run == run.encode():
                    return os.fsdecode(unquote_to_bytes(rest.partition(b"/")[0]))
    return None
