"""How many hosts can one driver serve, and what does each cost?

``python -m benchmarks.fleet`` runs a driver with 100, 300 and 1,000 hosts, none of which is real:
another process (`_farm`) speaks the protocol for all of them, 50 ms late, and runs nothing.  So the
figures are those of the driver alone, with the code that serves real hosts.  For each number of
hosts, the driver

- enters `Hosts`,
- is idle for some seconds,
- runs ten short commands a host, 16 a host at a time: the rate, and the processor time of each,
- starts ten commands a host that run until they are stopped,
- loses a tenth of the hosts at once, and gets a message about each,
- kills what is left, and leaves.

``--drivers N`` makes a tree: a first driver starts N drivers as its commands, each with an equal
part of the hosts, and adds up what they print.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TYPE_CHECKING, TypeAlias, cast

import anyio

from currant import Command, HostLost, Line, Runner, Started
from currant.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from currant.hosts import Host

Figures: TypeAlias = dict[str, float]

ROUND_TRIP = 0.05
PER_HOST, AT_A_TIME = 10, 16
LOST = 0.1
"""The share of the hosts that are lost at once."""

COLUMNS = {
    "entry": "enter, s",
    "memory": "memory a host, kB",
    "idle": "idle, % of a core",
    "rate": "short commands/s",
    "time": "processor time of each, ms",
    "started": "starts/s",
    "held": "memory a command, kB",
    "told": "losses told, s",
    "killed": "kill, s",
    "left": "leave, s",
}
SUMS = {"idle", "rate", "started"}
"""What drivers that run at the same time add up to; the others are those of the slowest."""


class FarmTransport:
    """A way to a host of the farm: a socket.

    Args:
        path: the socket of the farm.
    """

    def __init__(self, path: str, _: Host) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def open(self) -> tuple[int, int]:
        """Connect."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self._path)
        self._socket.sendall(b"host %d\n" % os.getpid())
        os.set_blocking(self._socket.fileno(), False)
        return self._socket.fileno(), self._socket.fileno()

    async def listen(self) -> None:
        """Return at once: there are no words."""

    def said(self) -> str:
        """Return no words."""
        return ""

    def was_turned_away(self) -> bool:
        """Return whether to try again."""
        return False

    async def aclose(self) -> None:
        """Close the socket."""
        if self._socket is not None and self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()


async def read_until(runner: Runner, kind: type, count: int) -> None:
    """Read the messages of a Runner until there were so many of a kind."""
    async for message in runner.batches():
        count -= isinstance(message, kind)
        if not count:
            return


async def drive(path: str, idle: float, names: Sequence[str]) -> Figures:
    """Be a driver of hosts; return what was measured.

    Args:
        path: the socket of the farm.
        idle: for how many seconds to be idle.
        names: the hosts.
    """
    hosts = Hosts(names, connect=partial(FarmTransport, path), per_host=AT_A_TIME, reconnect=False)
    count, lost = len(names) * PER_HOST, max(1, round(len(names) * LOST))
    figures, memory, began = Figures(), _memory(), perf_counter()
    async with Runner([], launcher=hosts, grace=60) as runner:
        figures["entry"] = perf_counter() - began
        figures["memory"] = (_memory() - memory) / len(names)
        figures["idle"] = await _idle(idle)
        figures |= await _run_short(runner, count)
        memory, began = _memory(), perf_counter()
        for _ in range(count):
            runner.start_soon("sleep 9999")
        await read_until(runner, Started, count)
        figures["started"] = count / (perf_counter() - began)
        figures["held"] = (_memory() - memory) / count
        began = perf_counter()
        _lose(path, lost)
        await read_until(runner, HostLost, lost)
        figures["told"] = perf_counter() - began
        began = perf_counter()
        runner.kill()
        results = await runner.join()
        figures["killed"] = perf_counter() - began
        _check(Counter(result.status for result in results.values()), count, lost)
        began = perf_counter()
    figures["left"] = perf_counter() - began
    return figures


async def _run_short(runner: Runner, count: int) -> Figures:
    """Run commands that end at once."""
    began, time = perf_counter(), process_time()
    for _ in range(count):
        runner.start_soon("true")
    async for _message in runner.batches():
        pass
    return {
        "rate": count / (perf_counter() - began),
        "time": (process_time() - time) / count * 1e3,
    }


def _check(statuses: Counter[str], count: int, lost: int) -> None:
    """Make sure that what ran on lost hosts has failed, and that the rest did as it was told."""
    expected = {"succeeded": count, "failed": lost * PER_HOST, "stopped": count - lost * PER_HOST}
    assert statuses == expected, f"{statuses}, and not {expected}"


async def _idle(seconds: float) -> float:
    """Do nothing; return the share of a core that the driver took, in percent."""
    before = process_time()
    await anyio.sleep(seconds)
    return (process_time() - before) / seconds * 100


def _memory() -> float:
    """Return the memory (RSS) of this process in kB."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1.024


def _lose(path: str, count: int) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(path)
        control.sendall(b"lose %d %d\n" % (os.getpid(), count))


# ---- the tree ----


async def lead(path: str, idle: float, names: Sequence[str], drivers: int) -> Figures:
    """Be the root of a tree: start drivers, each with a part of the hosts; add up their figures."""
    parts = [names[number::drivers] for number in range(drivers)]
    program = [*PROGRAM, "--socket", path, "--idle", str(idle)]
    commands = [Command([*program, *part]) for part in parts]
    found: list[Figures] = []
    async with Runner(commands, kill_others_on="failure") as runner:
        async for message in runner:
            if isinstance(message, Line) and message.stream == "stdout":
                found.append(cast("Figures", json.loads(message.data)))
            elif isinstance(message, Line):
                print(message.text, file=sys.stderr)
    runner.results.check()
    return {
        name: sum(each[name] for each in found) if name in SUMS else max(e[name] for e in found)
        for name in COLUMNS
    }


# ---- the command line ----

PROGRAM = (sys.executable, "-m", "benchmarks.fleet")


@contextmanager
def farm() -> Iterator[str]:
    """Run a farm; yield the path of its socket."""
    with TemporaryDirectory(prefix="currant-farm-") as folder:
        path = f"{folder}/socket"
        argv = [sys.executable, "-m", "benchmarks._farm", path, str(ROUND_TRIP)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield path


def main() -> None:
    """Measure, and print a table; or be one driver, and print its figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet")
    parser.add_argument("--hosts", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--drivers", type=int, default=1, help="drivers below the first one")
    parser.add_argument("--idle", type=float, default=4.0, help="seconds")
    parser.add_argument("--socket", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.socket is not None:
        print(json.dumps(anyio.run(drive, options.socket, options.idle, options.names)))
        return
    print(f"| hosts | {' | '.join(COLUMNS.values())} |")
    print("|---:" * (len(COLUMNS) + 1) + "|", flush=True)
    for count in options.hosts:
        names = [f"h{number}" for number in range(count)]
        with farm() as path:
            figures = anyio.run(lead, path, options.idle, names, options.drivers)
        cells = [f"{figures[name]:,.3g}" for name in COLUMNS]
        print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
