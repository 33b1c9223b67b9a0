"""`Result.usage`: the processor time and memory of a command."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys

import anyio
import pytest

import currant
from currant import Command, Result, Runner, Usage
from currant._process.spawn import start_without_pidfd
from currant._system.groups import has_pidfds
from currant._system.usage import as_usage
from currant.testing import FakeLauncher, Script
from tests.waiting import LIMIT

pytestmark = pytest.mark.anyio

needs_pidfds = pytest.mark.skipif(not has_pidfds(), reason="the event loop reaps the processes")

MEGABYTE = 1024 * 1024

BUSY = "import time\nwhile time.process_time() < 0.2: pass"


async def usage_of(command: Command) -> Usage | None:
    """Return the usage of a command that succeeds."""
    with anyio.fail_after(LIMIT):
        async with Runner({"c": command}) as runner:
            result = await runner["c"].wait()
    assert result.status == "succeeded"
    return result.usage


@needs_pidfds
async def test_usage_has_the_processor_time_of_the_process() -> None:
    """A program that computes for a fifth of a second has used that much time."""
    used = await usage_of(Command([sys.executable, "-ISc", BUSY]))
    assert used is not None
    assert used.user + used.system >= 0.19


@needs_pidfds
async def test_usage_includes_descendants_that_were_waited_for() -> None:
    """A shell itself uses almost nothing, but its program does."""
    line = '"$0" -ISc "$1"; true'
    used = await usage_of(Command(["/bin/sh", "-c", line, sys.executable, BUSY]))
    assert used is not None
    assert used.user + used.system >= 0.19


@needs_pidfds
async def test_peak_memory_is_in_bytes() -> None:
    """A program that holds a block of memory has a peak of about that many bytes."""
    host = as_usage(resource.getrusage(resource.RUSAGE_SELF)).peak_memory
    size = host + 64 * MEGABYTE
    used = await usage_of(Command([sys.executable, "-ISc", f"b'x' * {size}"]))
    assert used is not None
    assert size <= used.peak_memory <= 3 * size


async def test_usage_is_that_of_the_last_attempt() -> None:
    """Each attempt is measured for itself."""
    first, second = Usage(3.0, 0.5, 4096), Usage(0.25, 0.125, 2048)
    scripts = [Script(exit=1, usage=first), Script(usage=second)]
    async with Runner(["c"], launcher=FakeLauncher({"c": scripts}), restart="on-failure") as runner:
        pass
    assert runner.results["c"].usage == second


async def test_command_that_never_ran_has_no_usage() -> None:
    """A launch that failed has used nothing that could be told."""
    async with Runner(["c"], launcher=FakeLauncher(default=Script(error="no"))) as runner:
        pass
    assert runner.results["c"].usage is None


@needs_pidfds
async def test_stopped_command_has_a_usage() -> None:
    """A process that a signal ended is measured like any other."""
    with anyio.fail_after(LIMIT):
        async with Runner({"c": "sleep 9999"}, on_exit="stop") as runner:
            await runner["c"].until_started()
    used = runner.results["c"].usage
    assert used is not None
    assert used.user + used.system < 5


@needs_pidfds
async def test_exit_reaped_elsewhere_has_no_usage() -> None:
    """Who reaps a process gets its usage, and nobody else does."""
    with anyio.fail_after(LIMIT):
        async with Runner({"c": "sleep 9999"}) as runner:
            await runner["c"].until_started()
            pid = runner["c"].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED)  # noqa: ASYNC222 - before anybody else can
    assert runner.results["c"].usage is None


async def test_usage_is_unknown_if_the_event_loop_reaps() -> None:
    """Without pidfds the event loop waits for the process, and keeps the usage to itself."""
    launcher = currant.LocalLauncher(orphan_guard=False, _start=start_without_pidfd)
    with anyio.fail_after(LIMIT):
        async with Runner(["true"], launcher=launcher) as runner:
            pass
    assert runner.results["true"].status == "succeeded"
    assert runner.results["true"].usage is None


def test_usage_survives_pickle_within_a_result() -> None:
    """A result can be sent to another process."""
    result = Result("c", None, None, "failed", 1, 0.0, None, usage=Usage(1.0, 0.5, 4096))
    assert pickle.loads(pickle.dumps(result)) == result
