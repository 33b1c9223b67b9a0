"""`JSONSink`: messages for other programs, one JSON object on a line."""

from __future__ import annotations

import base64
import json
from signal import Signals
from typing import TYPE_CHECKING, assert_never

from currant._values.lines import Batch, Line
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant.sinks._files import AnyFile
from currant.sinks._threaded import next_pile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.exit import Exit
    from currant._values.messages import BatchMessage, Message
    from currant.sinks._files import File

__all__ = ["JSONSink"]


class JSONSink:
    r"""Writes one JSON object for each message, a line each, in ASCII.

    All have ``type`` (``"started"``, ``"ready"``, ``"line"``, ``"givenup"``, ``"exited"``,
    ``"restarting"``, ``"failed"``, ``"skipped"``, ``"dropped"``), ``command`` and ``time`` (seconds
    since the epoch), and besides:

    - started: ``pid``, ``attempt``
    - line: ``stream``, ``text`` (without the ending), ``ending`` (``"\n"``, ``"\r\n"``, ``"\r"`` or
      ``""``); where the bytes are no UTF-8 also ``base64``, the bytes, and ``text`` has U+FFFD
    - ready: ``after``, in seconds
    - givenup: ``attempt``, ``error``, a text
    - exited: ``attempt``, ``exit``: an object of ``code`` and ``signal`` (one of them is null),
      ``stopped``, ``forced`` and ``timed_out``
    - restarting: ``attempt`` (the one to come), ``delay`` in seconds
    - failed: ``attempt``, ``error``, a text
    - skipped: ``error``, a text
    - dropped: ``lines``, how many

    For one Runner at a time.  The file is neither opened nor closed here.

    Args:
        file: as for `WriterSink`.

    Raises:
        TypeError: when built: the file is nothing to write to.
        OSError: the file cannot be written to.
    """

    def __init__(self, file: File) -> None:
        self._file = AnyFile(file)

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Write all messages until there are no more.

        Cancellation: what is being written may be written in part.
        """
        while pile := await next_pile(messages):
            await self._file.write(_chunks(pile))


def _chunks(pile: Sequence[BatchMessage]) -> Iterator[bytes]:
    for message in pile:
        parts = message.lines() if isinstance(message, Batch) else (message,)
        yield b"".join(json.dumps(_as_json(part)).encode() + b"\n" for part in parts)


def _as_json(message: Message) -> dict[str, object]:  # noqa: PLR0911 - a row for each message
    """Return what JSON can hold of `message`."""
    shown: dict[str, object] = {
        "type": type(message).__name__.lower(),
        "command": message.command,
        "time": message.time,
    }
    match message:
        case Started():
            return shown | {"pid": message.pid, "attempt": message.attempt}
        case Line():
            return shown | {"stream": message.stream} | _line(message)
        case Exited():
            return shown | {"attempt": message.attempt, "exit": _exit(message.exit)}
        case Ready():
            return shown | {"after": message.after}
        case Aborted():
            return shown | {"attempt": message.attempt, "error": str(message.error)}
        case Skipped():
            return shown | {"error": str(message.error)}
        case Restarting():
            return shown | {"attempt": message.attempt, "delay": message.delay}
        case Failed():
            return shown | {"attempt": message.attempt, "error": str(message.error)}
        case Dropped():
            return shown | {"lines": message.lines}
        case _:
            assert_never(message)


def _line(line: Line) -> dict[str, object]:
    shown: dict[str, object] = {"text": line.text, "ending": line.ending.decode()}
    try:
        line.data.decode()
    except UnicodeDecodeError:
        shown["base64"] = base64.b64encode(line.data).decode()
    return shown


def _exit(end: Exit) -> dict[str, object]:
    name = end.signal.name if isinstance(end.signal, Signals) else end.signal
    flags = {"stopped": end.stopped, "forced": end.forced, "timed_out": end.timed_out}
    return {"code": end.code, "signal": name, **flags}
