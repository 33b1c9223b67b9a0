"""A thousand hosts in one process: agents that speak the protocol, and run nothing.

Usage: ``python -m benchmarks._farm SOCKET SECONDS``.  Each connection to the socket is a host.  Its
answers come SECONDS late, as over a long way.  A command `true` ends at once, all others when they
are stopped.  A connection begins with a line: ``host DRIVER`` makes it a host, and ``lose DRIVER
COUNT`` has so many hosts of a driver hang up, as a network that fails.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from currant._agent.frames import FrameReader, Kind, header
from currant._remote.shipment import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

EXITED: dict[str, Any] = {"code": 0, "signal": None, "stopped": False, "forced": False}
STOPPED: dict[str, Any] = {"code": None, "signal": 15, "stopped": True, "forced": False}


class FakeHost(asyncio.Protocol):
    """A connection: a host, or an order to lose some.

    Args:
        seconds: how late its answers are.
        hosts: the hosts that are connected, by their drivers.
    """

    def __init__(self, seconds: float, hosts: defaultdict[bytes, list[FakeHost]]) -> None:
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

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._receive(data)

    def _begin(self, data: bytes) -> None:
        self._start += data
        line, end, rest = self._start.partition(b"\n")
        if not end:
            return
        what, driver, *count = line.split()
        if what == b"lose":
            for _ in range(int(count[0])):
                self._hosts[driver].pop()._transport.abort()  # noqa: SLF001 - the same class
            return
        self._hosts[driver].append(self)
        self._start, self._receive = b"", self._skip_shipment
        self._later(MARK + b"3.11\n")
        self._receive(rest)

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
                is_short = json.loads(body)["spec"]["argv"][0] == "true"
                started = _frame(Kind.STARTED, number, {"pid": number})
                return [started, *(_end(number, EXITED) if is_short else ())]
            case Kind.STOP:
                return [*_end(number, STOPPED), _answer(body)]
            case Kind.SWEEP | Kind.CHECK | Kind.SIGNAL:
                return [_answer(body)]
            case Kind.CLOSE:
                return [_frame(Kind.CLOSED, number, {"exit": STOPPED})]
            case _:
                simple = {Kind.PING: Kind.PONG, Kind.BYE: Kind.GONE}
                return [_frame(simple[kind])] if kind in simple else []


def _answer(body: bytes) -> bytes:
    """Return the answer to any question."""
    values = {"exit": STOPPED, "sent": True, "kind": "", "problem": ""}
    return _frame(Kind.ANSWER, 0, {"question": json.loads(body)["question"], **values})


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
    hosts = defaultdict[bytes, list[FakeHost]](list)
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(lambda: FakeHost(seconds, hosts), path, backlog=4096)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
