"""A fork of the host keeps no descriptor of currant, and may use currant itself."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest

import currant
from currant import PIPE, Command, Line, Runner
from tests.system import needs_proc
from tests.waiting import FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


def fork(function: Callable[[], object]) -> int:
    """Fork a child that calls `function`; its exit code is 1 if the function raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork in a program with threads
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        function()
        code = 0
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    """Wait for a child and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def open_files() -> Counter[str]:
    """Count the open files of this process by their kind: in a fork, libuv opens its pipe anew."""
    kinds = Counter[str]()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # This was the descriptor of the folder itself.
            continue
        kinds[re.sub(r"\d+", "", target)] += 1
    return kinds


async def test_worker_of_multiprocessing_does_not_hold_the_stdin_of_a_command() -> None:
    """Closing the stdin of a command is its end-of-file, although a worker was forked before."""
    with anyio.fail_after(LIMIT):
        async with Runner({"cat": Command(["cat"], stdin=PIPE)}) as runner:
            await runner["cat"].send(b"x\n")
            worker = multiprocessing.get_context("fork").Process(target=signal.pause)
            worker.start()
            try:
                await runner["cat"].close_stdin()
                assert (await runner["cat"].wait()).status == "succeeded"
                assert worker.is_alive()
            finally:
                worker.kill()
                worker.join()


@needs_proc
async def test_fork_keeps_no_descriptor() -> None:
    """Pipes, terminals, pidfds and the pipe of the guard are closed in a fork."""
    before = open_files()

    def check() -> None:
        assert open_files() <= before

    commands = {
        "pipes": Command(["cat"], stdin=PIPE),
        "terminal": Command(["cat"], pty=True),
        "plain": FOREVER,
    }
    with anyio.fail_after(LIMIT):
        async with Runner(commands) as runner:
            for job in runner.jobs.values():
                await job.until_started()
            assert exit_code(fork(check)) == 0
            assert open_files() > before
            runner.kill()


@needs_proc
async def test_thread_may_fork_at_any_moment(tmp_path: Path) -> None:
    """A fork during a start has none of the descriptors that the start has opened so far."""
    before = open_files()
    log = re.sub(r"\d+", "", str(tmp_path / "log"))
    codes: list[int] = []
    over = threading.Event()

    def check() -> None:
        now = open_files()
        assert all(now[kind] <= before[kind] for kind in ("pipe:[]", "anon_inode:[pidfd]", log))

    def go_on_forking() -> None:
        while not over.is_set():
            codes.append(exit_code(fork(check)))

    thread = threading.Thread(target=go_on_forking)
    thread.start()
    try:
        with anyio.fail_after(LIMIT):
            while len(codes) < 20:
                async with Runner(["true", Command(["true"], stdout=tmp_path / "log")]):
                    pass
    finally:
        over.set()
        thread.join()
    assert set(codes) == {0}


async def test_fork_may_run_commands_of_its_own() -> None:
    """A forked child runs commands, while those of its parent go on."""

    def run() -> None:
        results = currant.run("echo hi", capture=True)
        assert results["echo"].stdout == b"hi\n"

    with anyio.fail_after(LIMIT):
        async with Runner({"cat": Command(["cat"], stdin=PIPE)}) as runner:
            await runner["cat"].send(b"one\n")
            assert exit_code(fork(lambda: in_thread(run))) == 0
            await runner["cat"].send(b"two\n")
            await runner["cat"].close_stdin()
            lines = [message.data async for message in runner if isinstance(message, Line)]
    assert lines == [b"one", b"two"]


def in_thread(function: Callable[[], object]) -> None:
    """Call `function` in a thread, where no event loop runs; raise its exception."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
