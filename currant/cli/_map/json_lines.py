"""`json_line`: a job that has ended, as a JSON object on a line of its own, for ``--json``."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

from currant._values.wire import encode_error, encode_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant._values.usage import Usage
    from currant.cli._map.ended import Ended

__all__ = ["json_line"]


def json_line(ended: Ended) -> bytes:
    """Return a job as a line of JSON in ASCII, with its newline.

    The keys:

    - ``seq``: the number of the job in the order of the input, from 1
    - ``args``: the values, a list of texts; ``names``: the names of the columns, if they have names
    - ``command``: the command as it is typed in a shell
    - ``status``: ``"succeeded"``, ``"failed"`` or ``"stopped"``
    - ``exit``: as in the messages of `currant.sinks.JSONSink`; null if there was no exit
    - ``error``: null, or a text; then ``error_type`` and ``error_fields`` as in these messages
    - ``attempts``: the number of starts
    - ``started_at``: seconds since the epoch, or null; ``duration``: seconds
    - ``host``: the name of the other machine, or null
    - ``usage``: null, or an object with ``user`` and ``system`` (seconds of processor time) and
      ``peak_memory`` (bytes)
    - ``stdout``, ``stderr``: texts; null if the output was not captured

    If the bytes of a text are not UTF-8, the text has U+FFFD, and another key holds the bytes:
    ``stdout_base64``, ``stderr_base64``, ``command_base64``, or ``args_base64`` with a list.
    """
    result = ended.result
    usage = result.usage
    keys: dict[str, object] = {"seq": ended.number, "args": [*map(_readable, ended.row.values)]}
    if ended.row.names:
        keys["names"] = [*map(_readable, ended.row.names)]
    keys |= {
        "command": _readable(ended.line),
        "status": result.status,
        "exit": None if result.exit is None else encode_exit(result.exit),
    }
    keys |= {"error": None} if result.error is None else encode_error(result.error)
    keys |= {
        "attempts": result.attempts,
        "started_at": result.started_at,
        "duration": result.duration,
        "host": result.host,
        "usage": None if usage is None else _usage(usage),
        "stdout": _decoded(result.stdout),
        "stderr": _decoded(result.stderr),
    }
    keys |= _bytes_of(ended)
    return json.dumps(keys).encode() + b"\n"


def _usage(usage: Usage) -> dict[str, object]:
    return {"user": usage.user, "system": usage.system, "peak_memory": usage.peak_memory}


def _bytes_of(ended: Ended) -> Iterator[tuple[str, object]]:
    """Yield the keys for the texts that are not UTF-8."""
    for name, output in (("stdout", ended.result.stdout), ("stderr", ended.result.stderr)):
        if output is not None and not _is_text(output):
            yield f"{name}_base64", _base64(output)
    if not _is_readable(ended.line):
        yield "command_base64", _base64(os.fsencode(ended.line))
    if not all(map(_is_readable, ended.row.values)):
        yield "args_base64", [_base64(os.fsencode(value)) for value in ended.row.values]


def _decoded(output: bytes | None) -> str | None:
    return None if output is None else output.decode(errors="replace")


def _readable(text: str) -> str:
    return text if _is_readable(text) else os.fsencode(text).decode(errors="replace")


def _is_readable(text: str) -> bool:
    """Return whether an argument is UTF-8; Python keeps any other byte as a surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_text(output: bytes) -> bool:
    try:
        output.decode()
    except UnicodeDecodeError:
        return False
    return True


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
