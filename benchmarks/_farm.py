"""A thousand hosts in one process: agents that speak the protocol, and run nothing.

Usage: ``python -m benchmarks._farm SOCKET SECONDS``.  Each connection to the socket is a host.  Its
answers come SECONDS late, as over a long way.  A command `true` ends at once, all others when they
are stopped.  The first byte of a connection is ``h`` for a host; ``c`` is a control connection, on
which each line with a number has so many hosts hang up, as a network that fails.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING, Any

from currant._agent.frames import FrameReader, Kind, header
from currant._remote.shipment import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

EXITED = {"code": 0, "signal": None, "stopped": False, "forced": False}
STOPPED = {"code": None, "signal": 15, "stopped": True, "forced": False}


class FakeHost(asyncio.Protocol):
    """A host, or a control connection.

    Args:
        seconds: how late its answers are.
        hosts: all hosts that are connected.
    """

    def __init__(self, seconds: float, hosts: set[FakeHost]) -> None:
        self._seconds = seconds
        self._hosts = hosts
        self._transport: asyncio.Transport
        self._reader = FrameReader()
        self._start = b""  # what has come before the first frame
        self._receive: Callable[[bytes], None] = self._begin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._hosts.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._receive(data)

    def hang_up(self) -> None:
        """End the connection without a word."""
        self._hosts.discard(self)
        self._transport.abort()

    def _begin(self, data: bytes) -> None:
        self._receive = self._control if data[:1] == b"c" else self._skip_shipment
        if data[:1] == b"h":
            self._hosts.add(self)
            self._later(MARK + b"3.11\n")
        self._receive(data[1:])

    def _control(self, data: bytes) -> None:
        for line in data.split():
            for host in random.sample(sorted(self._hosts, key=id), int(line)):
                host.hang_up()

    def _skip_shipment(self, data: bytes) -> None:
        """Take the files that a real host would run."""
        self._start += data
        if len(self._start) < 10:
            return
        end = 10 + int(self._start[:10])
        if len(self._start) >= end:
            rest, self._start = self._start[end:], b""
            self._receive = self._take_frames
            self._take_frames(rest)

    def _take_frames(self, data: bytes) -> None:
        frames = [
            answer
            for kind, number, body in self._reader.feed(data)
            for answer in self._answers(kind, number, body)
        ]
        if frames:
            self._later(b"".join(frames))

    def _later(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._transport.write, data)

    def _answers(self, kind: Kind, number: int, body: bytes) -> list[bytes]:
        """Return the frames that an agent sends because of a frame."""
        match kind:
            case Kind.HELLO:
                about = {"version": 1, "pid": 1, "identity": None, "python": "3.11.0", "cpus": 64}
                return [_frame(Kind.WELCOME, 0, about)]
            case Kind.START:
                argv = json.loads(body)["spec"]["argv"]
                started = [_frame(Kind.STARTED, number, {"pid": number})]
                return [*started, *_end(number, EXITED)] if argv[0] == "true" else started
            case Kind.STOP | Kind.SWEEP | Kind.CHECK | Kind.SIGNAL:
                question = {"question": json.loads(body)["question"]}
                about = {"exit": STOPPED, "sent": True, "kind": "", "problem": ""}
                answer = _frame(Kind.ANSWER, 0, question | about)
                return [*_end(number, STOPPED), answer] if kind == Kind.STOP else [answer]
            case Kind.CLOSE:
                return [_frame(Kind.CLOSED, number, {"exit": STOPPED})]
            case Kind.PING:
                return [_frame(Kind.PONG)]
            case Kind.BYE:
                return [_frame(Kind.GONE)]
            case _:
                return []


def _end(number: int, end: dict[str, Any]) -> list[bytes]:
    return [
        _frame(Kind.EXIT, number, {"exit": end, "gone": True}),
        header(Kind.EOF, number, 1) + b"\0",
        header(Kind.EOF, number, 1) + b"\1",
    ]


def _frame(kind: Kind, number: int = 0, body: dict[str, Any] | None = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    return header(kind, number, len(data)) + data


async def main(path: str, seconds: float) -> None:
    """Serve until stdin ends."""
    hosts: set[FakeHost] = set()
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(lambda: FakeHost(seconds, hosts), path, backlog=4096)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
