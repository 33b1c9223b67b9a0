"""Test the blocking Runner in many threads, in a portal, in a fork, and when its loop dies."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Barrier, Event, Thread
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from currant import Command, Result, blocking
from currant.blocking._callers import Callers, _ThreadLife
from currant.testing import FakeLauncher, Script
from tests.programs import Programs
from tests.test_forks import exit_code, fork
from tests.waiting import EXEC_FOREVER, FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.abc import ObjectReceiveStream
    from anyio.from_thread import BlockingPortal

    from currant import BatchMessage
    from currant.blocking._caller import Caller
    from tests.lifeline import Lifeline

Loop = dict[str, Any]

LINES = 12_000
MUCH = ["seq", "-f", "%099.0f", str(LINES)]
"""Writes more, in long lines, than pipes and buffers of currant hold: it waits for a reader."""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the test."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def portal(loop: Loop) -> Iterator[BlockingPortal]:
    """A portal on the event loop of the test."""
    with start_blocking_portal(**loop) as portal:
        yield portal


def in_thread(function: Callable[[], object]) -> None:
    """Call `function` in a thread, and wait until the thread has ended."""
    thread = Thread(target=function)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()


# ---- many threads ----


def test_many_threads_each_have_a_command(loop: Loop, pool: ThreadPoolExecutor) -> None:
    """Each thread starts a command at the same moment, and gets its lines."""
    together = Barrier(8)

    def use(runner: blocking.Runner, number: int) -> list[int]:
        together.wait(LIMIT)
        job = runner.start(Command(["seq", str(number * 100)], name=f"c{number}"))
        lines = [int(line.text) for line in job.lines()]
        assert job.wait().status == "succeeded"
        return lines

    with blocking.Runner(**loop) as runner:
        found = [pool.submit(use, runner, number) for number in range(8)]
        for number, lines in enumerate(found):
            assert lines.result(LIMIT) == list(range(1, number * 100 + 1))
    assert len(runner.results) == 8


def test_a_slow_reader_loses_nothing_while_another_thread_waits(
    loop: Loop, pool: ThreadPoolExecutor
) -> None:
    """The command waits for the thread that reads, although the main thread waits for it."""
    has_begun, may_go_on = Event(), Event()

    def read(job: blocking.Job) -> list[int]:
        lines = iter(job.lines())
        found = [int(next(lines).text)]
        has_begun.set()
        assert may_go_on.wait(LIMIT)
        return found + [int(line.text) for line in lines]

    with blocking.Runner([["seq", "20000"]], **loop) as runner:
        job = runner.start(MUCH)
        reading = pool.submit(read, job)
        assert has_begun.wait(LIMIT)
        with pytest.raises(TimeoutError):
            job.wait(timeout=0.2)
        may_go_on.set()
        assert job.wait().status == "succeeded"
        assert reading.result(LIMIT) == list(range(1, LINES + 1))


def test_a_thread_that_waits_is_no_reader(loop: Loop) -> None:
    """The thread that has read some lines waits for the command, so its output is discarded."""
    with blocking.Runner([MUCH], **loop) as runner:
        assert next(iter(runner["seq"].lines())).text.lstrip("0") == "1"
        assert runner["seq"].wait(timeout=LIMIT).status == "succeeded"


def test_a_thread_that_has_ended_is_no_reader(loop: Loop) -> None:
    """Nothing waits for the reader, and the task of the thread has ended."""
    with start_blocking_portal(**loop) as portal:

        def tasks() -> int:
            return len(portal.call(anyio.get_running_tasks))

        with blocking.Runner([MUCH], portal=portal) as runner:
            runner["seq"].ready()
            before = tasks()
            lines = iter(runner["seq"].lines())
            in_thread(lambda: next(lines))
            assert runner["seq"].wait(timeout=LIMIT).status == "succeeded"
            assert tasks() <= before


def test_any_thread_kills_and_another_one_waits(loop: Loop, pool: ThreadPoolExecutor) -> None:
    """Calls of several threads go on side by side."""
    with blocking.Runner([FOREVER], **loop) as runner:
        waiting = [pool.submit(runner["sleep"].wait) for _ in range(3)]
        joining = pool.submit(runner.join)
        in_thread(runner["sleep"].kill)
        assert {future.result(LIMIT).status for future in waiting} == {"stopped"}
        assert joining.result(LIMIT)["sleep"].status == "stopped"


def test_a_call_that_is_being_made_ends_with_the_block(
    loop: Loop, pool: ThreadPoolExecutor
) -> None:
    """A thread that waits for a command gets its result, even if that takes longer than the end."""
    with blocking.Runner([FOREVER], on_exit="stop", **loop) as runner:
        callers, job = runner._callers, runner._runner["sleep"]

        async def wait_longer() -> Result:
            result = await job.wait()
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            return result

        waiting = pool.submit(callers.call, wait_longer)
        joining = pool.submit(runner.join)
        while sum(caller.is_busy for caller in tuple(callers._others)) < 2:
            pass
    assert waiting.result(LIMIT).status == "stopped"
    assert joining.result(LIMIT)["sleep"].status == "stopped"


def test_a_first_call_at_the_end_of_the_block_is_refused(
    loop: Loop, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task of the thread never begins, because the block ends before."""

    async def start_no_task(_: Callers, scope: anyio.CancelScope) -> None:
        with scope:
            await anyio.sleep_forever()

    monkeypatch.setattr(Callers, "_start_tasks", start_no_task)
    with blocking.Runner([FOREVER], on_exit="stop", **loop) as runner:
        waiting = pool.submit(runner["sleep"].wait)
        while not any(caller.is_busy for caller in tuple(runner._callers._others)):
            pass
    with pytest.raises(RuntimeError, match="has ended"):
        waiting.result(LIMIT)


def test_calls_of_any_thread_are_refused_after_the_block(loop: Loop) -> None:
    """It does not matter whether the thread has made a call before; properties can be read."""
    refused: list[BaseException] = []
    go_on = Event()
    has_called = Event()

    def call_twice() -> None:
        list(runner["seq"].lines())
        has_called.set()
        assert go_on.wait(LIMIT)
        call()

    def call() -> None:
        assert runner["seq"].result is not None
        assert len(runner["seq"].tail) == 2
        try:
            runner["seq"].wait()
        except RuntimeError as error:
            refused.append(error)

    with blocking.Runner(["seq 2"], **loop) as runner:
        thread = Thread(target=call_twice)
        thread.start()
        assert has_called.wait(LIMIT)
    go_on.set()
    thread.join(LIMIT)
    in_thread(call)
    assert [str(error) for error in refused] == ["the block of the blocking Runner has ended"] * 2


@pytest.mark.parametrize("_", range(5))
def test_calls_at_the_end_of_the_block_do_not_hang(_: int, loop: Loop) -> None:
    """Threads that go on calling get answers until the end, and then an error."""
    together = Barrier(5)

    def call_until_refused() -> None:
        together.wait(LIMIT)
        while True:
            try:
                runner.send_signal(0)
            except RuntimeError:
                return

    threads = [Thread(target=call_until_refused) for _ in range(4)]
    with blocking.Runner(["c"], launcher=FakeLauncher(default=Script()), **loop) as runner:
        for thread in threads:
            thread.start()
        together.wait(LIMIT)
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_another_thread_leaves_the_block(loop: Loop) -> None:
    """A fixture may enter the block in a thread that ends, and leave it in another one."""
    runner = blocking.Runner([FOREVER], on_exit="stop", **loop)

    def enter() -> None:
        runner.__enter__()
        runner["sleep"].ready()

    in_thread(enter)
    assert runner.start(["true"]).wait().status == "succeeded"
    in_thread(lambda: runner.__exit__(None, None, None))
    assert runner.results["sleep"].status == "stopped"


def test_another_thread_leaves_the_block_while_the_first_waits(
    loop: Loop, pool: ThreadPoolExecutor
) -> None:
    """The call of the first thread is refused, and the block ends."""
    runner = blocking.Runner([FOREVER], on_exit="stop", **loop)
    has_entered = Event()

    def enter_and_wait() -> None:
        job = runner.__enter__()["sleep"]
        has_entered.set()
        job.wait()

    entering = pool.submit(enter_and_wait)
    assert has_entered.wait(LIMIT)
    while not runner._callers.owner.is_busy:
        pass
    in_thread(lambda: runner.__exit__(None, None, None))
    with pytest.raises(RuntimeError, match="has ended"):
        entering.result(LIMIT)
    assert runner.results["sleep"].status == "stopped"


def test_a_call_in_the_event_loop_is_refused(loop: Loop) -> None:
    """There it would wait for itself."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            runner["true"].wait()

    runner = blocking.Runner(["true"], sinks=[sink], **loop)
    with pytest.raises(RuntimeError, match="event loop"), runner:
        pass


# ---- a portal ----


def test_two_runners_share_a_portal(portal: BlockingPortal) -> None:
    """The commands of both run in its event loop, side by side."""
    with (
        blocking.Runner([FOREVER], portal=portal, on_exit="stop") as first,
        blocking.Runner(["seq 2"], portal=portal) as second,
    ):
        assert [line.text for line in second["seq"].lines()] == ["1", "2"]
        assert first["sleep"].state == "running"
    assert first.results["sleep"].status == "stopped"
    assert portal.call(anyio.get_running_tasks)


def test_a_refused_entry_leaves_the_portal_open(portal: BlockingPortal) -> None:
    """The error is that of the entry."""
    with (
        pytest.raises(FileNotFoundError),
        blocking.Runner(["no-such-program"], portal=portal),
    ):
        pass
    with blocking.Runner(["true"], portal=portal):
        pass


@pytest.mark.parametrize("waits", [True, False])
def test_a_portal_that_is_stopped_stops_the_commands(
    waits: bool, portal: BlockingPortal, pool: ThreadPoolExecutor
) -> None:
    """Leaving the block says why, also if a call that is being made is refused."""
    runner = blocking.Runner([FOREVER], portal=portal)
    with pytest.raises(CancelledError, match="portal"), runner:
        runner["sleep"].ready()
        stopping = pool.submit(portal.call, portal.stop, True)
        if waits:
            runner["sleep"].wait()
        stopping.result(LIMIT)
    assert runner.results["sleep"].status == "stopped"


def test_a_portal_that_has_been_left_refuses_the_entry(loop: Loop) -> None:
    """The error is that of the portal, and nothing hangs."""
    with start_blocking_portal(**loop) as portal:
        pass
    with (
        pytest.raises(RuntimeError, match="not running"),
        blocking.Runner(["true"], portal=portal),
    ):
        pass


# ---- trouble ----


@pytest.mark.backends("asyncio", "uvloop")
def test_an_event_loop_that_is_stopped_ends_the_block(loop: Loop) -> None:
    """The commands are stopped, a call is refused, and leaving raises the error of the loop."""
    runner = blocking.Runner([FOREVER], **loop)
    with pytest.raises(RuntimeError), runner:
        runner["sleep"].ready()
        running = runner._callers.call_sync(asyncio.get_running_loop)
        running.call_soon_threadsafe(running.stop)
        runner["sleep"].wait()
    assert runner.results["sleep"].status == "stopped"


def test_a_fork_does_not_end_the_callers_of_threads() -> None:
    """It would wait for a lock of the event loop, which another thread held at the fork."""
    aborted: list[str] = []

    class Noted:
        def abort(self) -> None:
            aborted.append("aborted")

    def drop() -> None:
        lives.clear()
        assert not aborted

    lives = [_ThreadLife(cast("Caller", Noted()))]
    assert exit_code(fork(drop)) == 0
    lives.clear()
    assert aborted


def test_a_fork_can_make_no_call(loop: Loop) -> None:
    """It has no event loop; leaving the block there leaves the commands as they are."""
    with blocking.Runner([FOREVER], on_exit="stop", **loop) as runner:
        runner["sleep"].ready()

        def use() -> None:
            with pytest.raises(RuntimeError, match="fork"):
                runner["sleep"].wait()
            runner.__exit__(None, None, None)
            with blocking.Runner(["true"], **loop) as own:
                assert own["true"].wait().status == "succeeded"

        assert exit_code(fork(use)) == 0
        assert runner["sleep"].state == "running"
        runner["sleep"].restart()


HOST = """
import json, sys
from currant import Command, blocking
options = json.loads(sys.argv[1])
command = Command.shell(options.pop("script"), name="c")
with blocking.Runner([command], **options) as runner:
    runner["c"].wait()
"""


def test_commands_end_when_the_host_is_killed(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any], lifeline: Lifeline
) -> None:
    """SIGKILL to the program, which it cannot handle, stops its commands."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with Programs(HOST, anyio_backend_name, use_uvloop=use_uvloop) as programs:
        host = programs.run({"script": f"{lifeline.hold('c')}; {EXEC_FOREVER}"})
        lifeline.wait_for("c")
        host.kill()
        assert lifeline.wait_for_end() == {"c"}


def test_a_thread_that_is_alive_at_the_end_of_the_program_does_not_hold_it_up(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any], lifeline: Lifeline
) -> None:
    """A program that never leaves the block ends, and so do its commands."""
    source = HOST.replace("with blocking", "runner = blocking").replace(
        " as runner:", ".__enter__()"
    )
    source = source.replace('    runner["c"].wait()', 'runner["c"].expect("up")')
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with Programs(source, anyio_backend_name, use_uvloop=use_uvloop) as programs:
        host = programs.run({"script": f"{lifeline.hold('c')}; echo up; {EXEC_FOREVER}"})
        assert host.wait(LIMIT) == 0
        assert lifeline.wait_for_end() == {"c"}
