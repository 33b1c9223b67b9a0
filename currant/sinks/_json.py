"""`JSONSink`: messages for other programs, a JSON object on each line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from currant._values.messages import Exited, Started
from currant._values.wire import encode_each
from currant.sinks._files import AnyFile
from currant.sinks._threaded import receive_available

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.messages import BatchMessage
    from currant.sinks._files import File

__all__ = ["JSONSink"]


class JSONSink:
    r"""Writes a JSON object for each message, each on its own line, in ASCII.

    Write what a command does into a file that other programs can read::

        import currant
        from currant.sinks import JSONSink

        with open("log.jsonl", "wb") as file:
            currant.run("seq 3", sinks=[JSONSink(file)])

    Every object has ``type`` (a word of the list below), ``time`` (in seconds since the epoch) and,
    unless it is about a host, ``command``.  From ``started`` to ``exited`` of an attempt on another
    machine, ``host`` is the name of that machine.  The other keys depend on the type:

    - started: ``pid``, ``attempt``
    - line: ``stream``, ``text`` (without the ending), ``ending`` (``"\n"``, ``"\r\n"``, ``"\r"`` or
      ``""``).  If the bytes are not UTF-8, ``base64`` holds them, and ``text`` has U+FFFD.
    - ready: ``after``, in seconds
    - aborted: ``attempt``, ``error`` (a text), ``error_type`` (a class of `currant`),
      ``error_fields`` (an object with the attributes that the class documents)
    - exited: ``attempt``, ``exit``: an object with ``code`` and ``signal`` (either is null),
      ``stopped``, ``forced`` and ``timed_out``
    - restarting: ``attempt`` (the next attempt), ``delay`` in seconds, and perhaps ``reason``
    - failed: ``attempt``, ``error``, ``error_type``, ``error_fields``
    - skipped: ``error``, ``error_type``, ``error_fields``
    - dropped: ``lines``, a number
    - host_up: ``host``
    - host_lost: ``host``, ``error``, ``error_type``, ``error_fields``

    Two Runners at the same time need two sinks.  The sink neither opens nor closes the file.

    Args:
        file: as for `WriterSink`.

    Raises:
        TypeError: when built: `file` has no method to write with.
        OSError: the file cannot be written to.
    """

    def __init__(self, file: File) -> None:
        self._file = AnyFile(file)

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Write all messages until the stream ends.

        Cancellation: the last write may be incomplete.
        """
        hosts: dict[str, str] = {}
        while backlog := await receive_available(messages):
            await self._file.write(_encoded(backlog, hosts))


def _encoded(backlog: Sequence[BatchMessage], hosts: dict[str, str]) -> Iterator[bytes]:
    """Yield the lines of each message; `hosts` has the host of each command that runs elsewhere."""
    for message in backlog:
        if isinstance(message, Started) and message.host is not None:
            hosts[message.command] = message.host
        elif isinstance(message, Started):
            hosts.pop(message.command, None)
        host = None if message.command is None else hosts.get(message.command)
        place = {} if host is None else {"host": host}
        objects = (each | place for each in encode_each(message))
        yield b"".join(json.dumps(each).encode() + b"\n" for each in objects)
        if isinstance(message, Exited):  # The next attempt names its host.
            hosts.pop(message.command, None)
