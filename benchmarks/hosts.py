"""What does it cost that commands run on another host?

The other host is this machine, so nothing but the way there differs.  The ways are a pipe to an
agent; ssh, to a server on 127.0.0.1; both through a relay that delays all bytes by 25 ms in each
direction; and a worker of Dask.  The peer is the same on this machine, without an agent.

- Entry: from before `Hosts` is entered until it was, with one host.  For ssh there is also the time
  beyond that of ``ssh HOST true`` right before.
- One start: a call of `launch`; the median of many.
- Starts: a Runner with a thousand times `true`, 16 at a time.
- Throughput: `cat` of a file, read in batches; the peer of ssh is ``ssh HOST cat FILE``.
- Many: 3,000 times `sleep` on 40 hosts, each with a pipe: the rate of the starts, and the time from
  `Runner.kill` to the return of `Runner.join`.
- Memory: 20 times `yes` that nobody reads: the memory of the driver and of the agent after two
  seconds, and what both grow by in two more.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import anyio

from benchmarks._measure import (
    LoopSide,
    PlainSide,
    Question,
    Row,
    Sample,
    Setting,
    Trial,
    numbered_lines,
)
from currant import Batch, Command, LocalLauncher, Runner, Started
from currant.hosts import Host, Hosts, argv, dask
from tests.kept import free_port
from tests.sshd import on_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant.hosts import DaskConnect

RELAY = (sys.executable, "-IS", str(Path(__file__).with_name("_relay.py")), "0.025")
TRUE = shutil.which("true") or "true"
SLEEP = ["sleep", "9999"]

ONE_BY_ONE = 200
STARTS, AT_A_TIME = 1000, 16
LINKS, COMMANDS = 40, 3000
MEGABYTES, LINE = 400, 1000
UNREAD, SECONDS = 20, 2.0


def _some(count: int, setting: Setting) -> int:
    return -(-count // 10) if setting.quick else count


# ---- the ways ----


@dataclass(frozen=True, slots=True)
class Way:
    """The way from a driver to commands.

    Attributes:
        over: what leads to the agent; None: there is none, the commands are the driver's own.
        is_far: whether all bytes are delayed.
    """

    over: Literal["pipe", "ssh", "dask"] | None
    is_far: bool = False

    @contextmanager
    def launcher(self, hosts: int = 1) -> Iterator[LocalLauncher | Hosts]:
        """Yield a launcher, which was not entered yet."""
        if self.over is None:
            yield LocalLauncher()
            return
        names = [Host(f"h{number}", python=sys.executable) for number in range(hosts)]
        relay = RELAY if self.is_far else ()
        if self.over == "pipe":
            yield Hosts(names, connect=argv([*relay, "env"]))
            return
        if self.over == "dask":
            # In another thread, since an event loop runs in this one.
            with _cluster() as connect, ThreadPoolExecutor(1) as thread:
                workers = thread.submit(anyio.run, connect.hosts).result()
                yield Hosts(workers, connect=connect)
            return
        with _server() as client:
            yield Hosts(names, connect=argv([*relay, *client], as_line=True))


LOCAL, PIPE, SSH, DASK = Way(None), Way("pipe"), Way("ssh"), Way("dask")
FAR_PIPE, FAR_SSH = Way("pipe", is_far=True), Way("ssh", is_far=True)


@contextmanager
def _server() -> Iterator[list[str]]:
    """Run a server of ssh; yield the words before a command that runs there."""
    os.environ.setdefault("CURRANT_TEST", "benchmarks")  # The server passes it on.
    with TemporaryDirectory(prefix="currant-ssh-") as folder, on_loopback(Path(folder)) as server:
        yield [server.program, "-T", "-F", str(server.config), server.addresses["n1"]]


@contextmanager
def _cluster() -> Iterator[DaskConnect]:
    """Run a cluster of Dask with one worker; yield the way into it."""
    port = free_port()
    argv_of_cluster = [sys.executable, "-m", "tests.dask_cluster", str(port), "1"]
    with subprocess.Popen(argv_of_cluster, stderr=subprocess.PIPE) as cluster:
        assert cluster.stderr is not None
        cluster.stderr.readline()
        try:
            yield dask(f"tcp://127.0.0.1:{port}")
        finally:
            cluster.terminate()


# ---- one host ----


async def entry(way: Way, setting: Setting) -> Sample:
    """Enter `Hosts`, after a first time, which prepares what is sent."""
    with way.launcher() as launcher:
        times: list[float] = []
        for _ in range(2):
            began = perf_counter()
            async with launcher:
                times.append((perf_counter() - began) * 1e3)
    return {"time": times[-1]}


async def entry_over_ssh(setting: Setting) -> Sample:
    """Enter `Hosts` after a plain `ssh`."""
    with _server() as client:
        began = perf_counter()
        await anyio.run_process([*client, "true"])
        plain = (perf_counter() - began) * 1e3
        hosts = Hosts([Host("h", python=sys.executable)], connect=argv(client, as_line=True))
        began = perf_counter()
        async with hosts:
            whole = (perf_counter() - began) * 1e3
    return {"time": whole, "beyond": whole - plain}


async def one_start(way: Way, setting: Setting) -> Sample:
    """Start commands one after the other."""
    times: list[float] = []
    with way.launcher() as entered:
        async with entered as launcher:
            for number in range(_some(ONE_BY_ONE, setting)):
                command = Command([TRUE], name=f"true{number}")
                began = perf_counter()
                process = await launcher.launch(command)
                times.append((perf_counter() - began) * 1e3)
                await process.wait()
                await process.aclose()
    return {"time": median(times)}


async def starts(way: Way, setting: Setting) -> Sample:
    """Run many short commands."""
    count = _some(STARTS, setting)
    with way.launcher() as launcher:
        async with Runner([], launcher=launcher, max_processes=AT_A_TIME) as runner:
            began = perf_counter()
            for _ in range(count):
                runner.start_soon([TRUE])
            results = await runner.join()
            seconds = perf_counter() - began
    assert results.ok
    return {"rate": count / seconds, "time": seconds / count * 1e3}


async def throughput(way: Way, setting: Setting) -> Sample:
    """Read the output of one command in batches."""
    file = _file(setting)
    size = 0
    with way.launcher() as launcher:
        async with Runner([], launcher=launcher) as runner:
            began = perf_counter()
            runner.start_soon(["cat", file])
            async for message in runner.batches():
                if isinstance(message, Batch):
                    size += len(message.data)
            seconds = perf_counter() - began
    assert size == file.stat().st_size
    return {"rate": size / seconds / 1e6}


def plain_ssh(setting: Setting) -> Sample:
    """Copy the file with ``ssh HOST cat FILE | cat >/dev/null``."""
    file = _file(setting)
    with _server() as client:
        began = perf_counter()
        line = '"$@" | cat >/dev/null'
        subprocess.run(["/bin/sh", "-c", line, "sh", *client, f"cat {file}"], check=True)
        seconds = perf_counter() - began
    return {"rate": file.stat().st_size / seconds / 1e6}


def _file(setting: Setting) -> Path:
    return numbered_lines(setting.folder, _some(MEGABYTES, setting) * 1_000_000 // LINE, LINE)


# ---- many hosts ----


async def many(way: Way, setting: Setting) -> Sample:
    """Start many commands on many hosts, and kill all of them."""
    count, links = _some(COMMANDS, setting), _some(LINKS, setting)
    with way.launcher(links) as launcher:
        async with Runner([], launcher=launcher) as runner:
            began = perf_counter()
            for _ in range(count):
                runner.start_soon(SLEEP)
            await _all_started(runner, count)
            started = perf_counter()
            gc.collect()
            asked = perf_counter()
            runner.kill()
            results = await runner.join()
            killed = perf_counter()
    assert all(result.status == "stopped" for result in results.values())
    return {"rate": count / (started - began), "kill": (killed - asked) * 1e3}


async def _all_started(runner: Runner, count: int) -> None:
    async for message in runner:
        count -= isinstance(message, Started)
        if not count:
            break


# ---- memory ----


async def memory(setting: Setting) -> Sample:
    """Have commands write that nobody reads."""
    with PIPE.launcher() as launcher:
        assert isinstance(launcher, Hosts)
        async with Runner([], launcher=launcher, unread="wait") as runner:
            (agent,) = (info.pid for info in launcher.up.values())
            for _ in range(UNREAD):
                await runner.start(["yes"])
            await anyio.sleep(SECONDS)
            before = _memory("self"), _memory(agent)
            await anyio.sleep(SECONDS)
            after = _memory("self"), _memory(agent)
            runner.kill()
    driver, of_agent = (new - old for new, old in zip(after, before, strict=True))
    return {"driver": after[0], "agent": after[1], "driver grows": driver, "agent grows": of_agent}


def _memory(pid: int | str) -> float:
    """Return the memory (RSS) of a process in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(pid)


# ---- the rows ----


def _entry_rows(setting: Setting) -> list[Row]:
    return [
        Row("enter, one host over a pipe", "ms", "time", ours="pipe"),
        Row("enter, one host over ssh", "ms", "time", ours="ssh"),
        Row(
            "enter, one host over ssh, beyond ssh HOST true", "ms", "beyond", ours="ssh", limit=500
        ),
    ]


def _start_rows(setting: Setting) -> list[Row]:
    what = "one start, over"
    return [
        Row(f"{what} a pipe", "ms", "time", "local", "here", ours="pipe", at_most=3),
        Row(f"{what} ssh", "ms", "time", "local", "here", ours="ssh"),
    ]


def _starts_rows(setting: Setting) -> list[Row]:
    what = f"{_some(STARTS, setting):,} × true, {AT_A_TIME} at a time, over"
    far = f"{what} a pipe with a round trip of 50 ms"
    return [
        Row(f"{what} a pipe", "commands/s", "rate", "local", "here", ours="pipe"),
        Row(f"{what} ssh", "commands/s", "rate", "local", "here", ours="ssh", at_least=0.9),
        Row(f"{what} Dask", "commands/s", "rate", "local", "here", ours="dask", at_least=0.7),
        Row(far, "commands/s", "rate", "local", "here", ours="far pipe"),
        Row(f"{far}: time of each", "ms", "time", ours="far pipe", limit=4),
        Row(f"{what} ssh with 50 ms: time of each", "ms", "time", ours="far ssh", limit=4),
    ]


def _throughput_rows(setting: Setting) -> list[Row]:
    what = "output of one command, over"
    plain = "ssh HOST cat FILE | cat"
    return [
        Row(f"{what} a pipe", "MB/s", "rate", "local", "here", ours="pipe", at_least=0.35),
        Row(f"{what} ssh", "MB/s", "rate", "plain ssh", plain, ours="ssh", at_least=0.9),
        Row(f"{what} a pipe with 50 ms", "MB/s", "rate", ours="far pipe"),
        Row(f"{what} Dask", "MB/s", "rate", ours="dask"),
    ]


def _many_rows(setting: Setting) -> list[Row]:
    what = f"{_some(COMMANDS, setting):,} × sleep on {_some(LINKS, setting)} hosts"
    started = f"{what}: started"
    return [
        Row(started, "commands/s", "rate", "local", "here, without hosts", ours="pipe"),
        Row(f"{what}: kill", "ms", "kill", "local", "here, without hosts", ours="pipe", limit=2000),
    ]


def _memory_rows(setting: Setting) -> list[Row]:
    what = f"{UNREAD} × yes that nobody reads: memory of the"
    return [
        Row(f"{what} driver", "MB", "driver", limit=100),
        Row(f"{what} agent", "MB", "agent", limit=100),
        Row(f"{what} driver, growth in {SECONDS:g} s", "MB", "driver grows", limit=0.5),
        Row(f"{what} agent, growth in {SECONDS:g} s", "MB", "agent grows", limit=0.5),
    ]


_ENTRY = Trial(
    "entry",
    5,
    {"pipe": LoopSide(partial(entry, PIPE)), "ssh": LoopSide(entry_over_ssh, requires="sshd")},
    _entry_rows,
)
_START = Trial(
    "one start",
    3,
    {
        "local": LoopSide(partial(one_start, LOCAL)),
        "pipe": LoopSide(partial(one_start, PIPE)),
        "ssh": LoopSide(partial(one_start, SSH), requires="sshd"),
    },
    _start_rows,
)
_STARTS = Trial(
    "starts",
    3,
    {
        "local": LoopSide(partial(starts, LOCAL)),
        "pipe": LoopSide(partial(starts, PIPE)),
        "ssh": LoopSide(partial(starts, SSH), requires="sshd"),
        "dask": LoopSide(partial(starts, DASK), requires="distributed"),
        "far pipe": LoopSide(partial(starts, FAR_PIPE)),
        "far ssh": LoopSide(partial(starts, FAR_SSH), requires="sshd"),
    },
    _starts_rows,
)
_THROUGHPUT = Trial(
    "throughput",
    3,
    {
        "local": LoopSide(partial(throughput, LOCAL)),
        "pipe": LoopSide(partial(throughput, PIPE)),
        "ssh": LoopSide(partial(throughput, SSH), requires="sshd"),
        "plain ssh": PlainSide(plain_ssh, requires="sshd"),
        "far pipe": LoopSide(partial(throughput, FAR_PIPE)),
        "dask": LoopSide(partial(throughput, DASK), requires="distributed"),
    },
    _throughput_rows,
)
_MANY = Trial(
    "many hosts",
    3,
    {"local": LoopSide(partial(many, LOCAL)), "pipe": LoopSide(partial(many, PIPE))},
    _many_rows,
)
_MEMORY = Trial("memory", 3, {"currant": LoopSide(memory)}, _memory_rows)

QUESTION = Question("hosts", [_ENTRY, _START, _STARTS, _THROUGHPUT, _MANY, _MEMORY])
