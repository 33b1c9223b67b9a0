"""Test calls from other threads, from signal handlers, and from other tasks than the first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import unittest
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import (
    Command,
    Job,
    KillBarrier,
    Line,
    Runner,
    Started,
    WrongLoopError,
    WrongTaskError,
)
from currant._synchronization import HomeLoop
from currant.testing import FakeLauncher, Script
from tests.lifeline import Lifeline
from tests.programs import Programs
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage

RUNS = Script(exit=None)
DEAF = Script(exit=None, ignores={signal.SIGTERM})


def run_in_thread(function: Callable[[], object]) -> None:
    """Run `function` in a thread whose end does not wake the event loop."""
    threading.Thread(target=function).start()


# ---- kill and throw work from everywhere ----


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["runner", "job", "barrier"])
async def test_a_thread_can_stop_the_commands_while_the_loop_sleeps(what: str) -> None:
    """The call wakes the loop, which has nothing else to wake up for."""
    async with Runner(["c"], launcher=FakeLauncher(default=RUNS)) as runner:
        await runner["c"].ready()
        calls = {"runner": runner.kill, "job": runner["c"].kill, "barrier": runner.barrier.throw}
        run_in_thread(calls[what])
        with anyio.fail_after(LIMIT):
            await runner.join()
    assert runner.results["c"].status == "stopped"
    assert runner.barrier.thrown is (what != "job")


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["runner", "job"])
async def test_a_second_call_from_a_thread_hurries(what: str) -> None:
    """The second call skips a grace of hours."""
    launcher = FakeLauncher(default=DEAF)
    async with Runner(["c"], launcher=launcher, grace=HOURS) as runner:
        await runner["c"].ready()
        kill = runner.kill if what == "runner" else runner["c"].kill

        def kill_twice() -> None:
            kill()
            kill()

        run_in_thread(kill_twice)
        with anyio.fail_after(LIMIT):
            await runner.join()
    assert launcher["c"].signals[-1] == signal.SIGKILL


@pytest.mark.anyio
async def test_a_thread_can_end_a_queued_command() -> None:
    """A command that has not begun ends at once, and the others go on."""
    async with Runner(
        ["first", "second"], launcher=FakeLauncher(default=RUNS), max_processes=1
    ) as runner:
        await runner["first"].ready()
        run_in_thread(runner["second"].kill)
        with anyio.fail_after(LIMIT):
            assert (await runner["second"].wait()).status == "stopped"
        assert runner["first"].state == "running"
        runner.kill()


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["runner", "job", "barrier"])
async def test_a_signal_handler_can_stop_the_commands_while_the_loop_sleeps(what: str) -> None:
    """Python runs the handler in the thread of the loop, whose wait does not end for that."""
    async with Runner(["c"], launcher=FakeLauncher(default=RUNS)) as runner:
        await runner["c"].ready()
        calls: dict[str, Callable[[], object]] = {
            "runner": runner.kill,
            "job": runner["c"].kill,
            "barrier": runner.barrier.throw,
        }
        previous = signal.signal(signal.SIGUSR1, lambda *_: calls[what]())
        try:
            run_in_thread(lambda: os.kill(os.getpid(), signal.SIGUSR1))
            with anyio.fail_after(LIMIT):
                await runner.join()
        finally:
            signal.signal(signal.SIGUSR1, previous)
    assert runner.results["c"].status == "stopped"


@pytest.mark.anyio
async def test_a_barrier_thrown_in_a_thread_wakes_every_waiter() -> None:
    """A barrier works without a Runner, too; later calls keep the first reason."""
    barrier = KillBarrier()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(barrier.wait)
            await anyio.wait_all_tasks_blocked()
            run_in_thread(lambda: barrier.throw("first"))
    barrier.throw("second")
    assert barrier.reason == "first"


def test_kill_after_the_loop_has_ended_is_harmless() -> None:
    """A thread may be late."""
    runner = Runner(["c"], launcher=FakeLauncher())

    async def main() -> None:
        async with runner:
            pass

    anyio.run(main)
    runner.kill()
    runner["c"].kill()
    runner.kill()
    assert runner.results["c"].status == "succeeded"


@pytest.mark.anyio
async def test_a_signal_handler_can_stop_the_commands_during_the_entry() -> None:
    """A handler that is there before the block must not raise, and its kill must count."""

    class Checks(FakeLauncher):
        async def check(self, commands: Sequence[Command]) -> None:
            signal.raise_signal(signal.SIGUSR1)

    launcher = Checks(default=RUNS)
    runner = Runner(["c"], launcher=launcher)
    previous = signal.signal(signal.SIGUSR1, lambda *_: runner.kill())
    try:
        with anyio.fail_after(LIMIT):
            async with runner:
                pass
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert runner.results["c"].status == "stopped"
    assert not launcher.launched


# ---- callbacks of the event loop ----


def test_what_no_task_calls_is_left_to_a_task() -> None:
    """A signal handler that starts a task in a loop that sleeps does not wake that loop."""
    home, in_task = HomeLoop(), anyio.Event()

    def note() -> None:
        anyio.get_current_task()
        in_task.set()

    async def main() -> None:
        home.check("main")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(home.run_calls)
            # Under `anyio.run`, anyio sees the event loop in callbacks and handlers, too.
            asyncio.get_running_loop().call_soon(home.call_in_task, note)
            with anyio.fail_after(LIMIT):
                await in_task.wait()
            tasks.cancel_scope.cancel()

    anyio.run(main)


@pytest.mark.asyncio
async def test_a_callback_of_asyncio_may_call_the_runner() -> None:
    """A timer, a signal handler of the loop, or a thread through `call_soon_threadsafe`."""
    started = asyncio.get_running_loop().create_future()

    def start() -> None:
        try:
            started.set_result(runner.start_soon(Command(["c"], after="db")))
        except BaseException as error:
            started.set_exception(error)

    def stop() -> None:
        runner.cancel_scope.cancel()

    async with Runner(["db"], launcher=FakeLauncher(default=RUNS)) as runner:
        run_in_thread(partial(asyncio.get_running_loop().call_soon_threadsafe, start))
        async with asyncio.timeout(LIMIT):
            job = await started
            await job.ready()
        asyncio.get_running_loop().call_soon(stop)
        await asyncio.sleep(HOURS)
    assert runner.results["c"].status == "stopped"


# ---- other calls are refused ----

COMMAND = Command(["other"], name="other")

CALLS: dict[str, Callable[[Runner, Job], Any]] = {
    "start_soon": lambda runner, _: runner.start_soon(COMMAND),
    "start": lambda runner, _: runner.start(COMMAND),
    "join": lambda runner, _: runner.join(),
    "Runner.send_signal": lambda runner, _: runner.send_signal(signal.SIGHUP),
    "cancel_scope": lambda runner, _: runner.cancel_scope.cancel(),
    "iteration": lambda runner, _: aiter(runner),
    "batches": lambda runner, _: runner.batches(),
    "ready": lambda _, job: job.ready(),
    "wait": lambda _, job: job.wait(),
    "restart": lambda _, job: job.restart(),
    "until_started": lambda _, job: job.until_started(),
    "Job.send_signal": lambda _, job: job.send_signal(signal.SIGHUP),
    "send": lambda _, job: job.send(b"data"),
    "close_stdin": lambda _, job: job.close_stdin(),
    "resize": lambda _, job: job.resize(24, 80),
    "stdin": lambda _, job: job.stdin,
    "stdout": lambda _, job: job.stdout,
    "stderr": lambda _, job: job.stderr,
    "lines": lambda _, job: job.lines(),
    "expect": lambda _, job: job.expect("x"),
    "until": lambda _, job: job.until("exit"),
    "since": lambda _, job: job.since(),
    "KillBarrier.wait": lambda runner, _: runner.barrier.wait(),
    "exit": lambda runner, _: runner.__aexit__(None, None, None),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("has_loop", [False, True])
async def test_other_calls_from_a_thread_are_refused(name: str, has_loop: bool) -> None:
    """They raise, whether or not the thread runs an event loop, and change nothing."""
    launcher = FakeLauncher(default=RUNS)

    async def call() -> None:
        result = CALLS[name](runner, runner["c"])
        if asyncio.iscoroutine(result):
            await result

    def call_without_loop() -> None:
        coroutine = call()
        with pytest.raises(WrongLoopError):
            coroutine.send(None)

    def call_in_loop() -> None:
        with pytest.raises(WrongLoopError, match="event loop"):
            anyio.run(call)

    async with Runner([Command(["c"], pty=True)], launcher=launcher) as runner:
        await runner["c"].ready()
        with anyio.fail_after(LIMIT):
            await anyio.to_thread.run_sync(call_in_loop if has_loop else call_without_loop)
        assert list(runner.jobs) == ["c"]
        assert runner["c"].state == "running"
        assert launcher["c"].signals == []
        assert launcher["c"].received == b""
        runner.kill()


@pytest.mark.anyio
async def test_a_reader_and_a_sink_refuse_to_read_in_another_event_loop() -> None:
    """They raise, and no message is lost."""
    feeds: list[ObjectReceiveStream[BatchMessage]] = []
    sunk: list[BatchMessage] = []
    proceed = anyio.Event()

    async def sink(feed: ObjectReceiveStream[BatchMessage]) -> None:
        feeds.append(feed)
        await proceed.wait()
        sunk.extend([message async for message in feed])

    def read_elsewhere(read: Callable[[], Any]) -> None:
        with pytest.raises(WrongLoopError):
            anyio.run(read)

    launcher = FakeLauncher(default=Script(stdout=b"one\ntwo\n"))
    async with Runner(["c"], launcher=launcher, sinks=[sink]) as runner:
        reader = aiter(runner)
        assert isinstance(await anext(reader), Started)
        with anyio.fail_after(LIMIT):
            await anyio.to_thread.run_sync(read_elsewhere, reader.__anext__)
            await anyio.to_thread.run_sync(read_elsewhere, feeds[0].receive)
        proceed.set()
        lines = [message.data async for message in runner if isinstance(message, Line)]
    assert lines == [b"one", b"two"]
    assert isinstance(sunk[0], Started)


@pytest.mark.anyio
async def test_a_reader_that_another_thread_drops_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The garbage collector may run in any thread, while a command waits for room."""
    problems: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", problems.append)
    numbers = [b"%d" % number for number in range(40_000)]
    script = Script(stdout=b"\n".join(numbers) + b"\n")
    launcher = FakeLauncher(default=script)
    lines: list[bytes] = []
    async with Runner(["c"], launcher=launcher, buffer_size=1, unread="wait") as runner:
        readers = [aiter(runner)]
        while not lines:
            if isinstance(message := await anext(readers[0]), Line):
                lines.append(message.data)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(readers.clear)
        await anyio.wait_all_tasks_blocked()  # The loop has been told.
        lines += [message.data async for message in runner if isinstance(message, Line)]
    assert lines == numbers
    assert problems == []


@pytest.mark.anyio
async def test_a_worker_thread_of_anyio_can_call_the_runner() -> None:
    """`anyio.from_thread` carries each call into the loop, as the error advises."""
    async with Runner(["c"], launcher=FakeLauncher(default=RUNS)) as runner:

        def work() -> None:
            job = anyio.from_thread.run_sync(runner.start_soon, "other")
            anyio.from_thread.run(job.ready)

        with anyio.fail_after(LIMIT):
            await anyio.to_thread.run_sync(work)
        assert runner["other"].state == "running"
        runner.kill()


# ---- the block in several tasks ----


def test_a_block_that_its_event_loop_has_ended_may_be_left_in_another() -> None:
    """The end of the first loop has stopped everything, so there is nothing to wait for."""
    runner = Runner(["c"], launcher=FakeLauncher(default=RUNS))

    async def enter() -> None:
        await runner.__aenter__()
        await runner["c"].ready()

    asyncio.run(enter())
    assert runner.results["c"].status == "stopped"
    asyncio.run(runner.__aexit__(None, None, None))


async def in_own_task(coroutine: Any) -> Any:
    """Await `coroutine` in a task of its own."""
    return await asyncio.create_task(coroutine)


@pytest.mark.asyncio
@pytest.mark.parametrize("kills", [False, True])
async def test_another_task_may_leave_the_block_if_the_first_has_ended(kills: bool) -> None:
    """Fixtures and the cells of a notebook do this; the end is a normal end."""
    script = RUNS if kills else Script(stdout=b"hi\n", exit=0)
    runner = Runner(["c"], launcher=FakeLauncher(default=script), capture=True)
    assert await in_own_task(runner.__aenter__()) is runner
    if kills:
        runner.kill()
    async with asyncio.timeout(LIMIT):
        await in_own_task(runner.__aexit__(None, None, None))
    assert runner.results["c"].status == ("stopped" if kills else "succeeded")
    assert runner["c"].state == "ended"


@pytest.mark.asyncio
async def test_a_cancelled_task_that_leaves_the_block_stops_the_commands() -> None:
    """The cancellation is a kill in the second task as in the first, and goes on."""
    runner = Runner(["c"], launcher=FakeLauncher(default=RUNS))
    await in_own_task(runner.__aenter__())
    await runner["c"].ready()
    leaving = asyncio.create_task(runner.__aexit__(None, None, None))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert runner.results["c"].status == "stopped"


@pytest.mark.asyncio
async def test_an_error_of_a_sink_leaves_the_block_in_another_task() -> None:
    """The error is not hidden behind the change of the task."""

    async def broken(_: object) -> None:
        raise LookupError("mine")

    runner = Runner(["c"], launcher=FakeLauncher(default=RUNS), sinks=[broken])
    await in_own_task(runner.__aenter__())
    with pytest.raises(LookupError, match="mine"):
        await in_own_task(runner.__aexit__(None, None, None))
    assert runner.results["c"].status == "stopped"


@pytest.mark.asyncio
async def test_leaving_in_another_task_is_refused_while_the_first_goes_on() -> None:
    """The error says so, and everything has been stopped."""
    runner, entered, left = Runner([FOREVER]), asyncio.Event(), asyncio.Event()

    async def enter() -> None:
        await runner.__aenter__()
        entered.set()
        await left.wait()

    task = asyncio.create_task(enter())
    await entered.wait()
    with pytest.raises(WrongTaskError, match="same task") as caught:
        await runner.__aexit__(None, None, None)
    for way_out in ("pytest.mark.anyio", "currant.blocking.Runner", "currant.pytest_plugin"):
        assert way_out in str(caught.value)
    assert runner.results["sleep"].status == "stopped"
    left.set()
    await task


class WithACommand(unittest.IsolatedAsyncioTestCase):
    """A test case that enters a Runner as unittest does: set-up, test and clean-up are tasks."""

    async def asyncSetUp(self) -> None:
        """Enter the Runner."""
        self.runner = await self.enterAsyncContext(Runner([FOREVER], on_exit="stop"))

    async def test_the_command_runs(self) -> None:
        """Use the Runner in another task."""
        await self.runner["sleep"].ready()


def test_a_unittest_test_case_can_enter_a_runner() -> None:
    """`enterAsyncContext` works, and the command is stopped after the test."""
    case = WithACommand("test_the_command_runs")
    result = case.run()
    assert result is not None
    assert result.wasSuccessful(), result.errors + result.failures
    assert case.runner.results["sleep"].status == "stopped"


FIXTURES = """
import anyio, pytest, pytest_asyncio
from currant import Runner, blocking

@pytest_asyncio.fixture
async def runner():
    async with Runner(["sleep 9999"], on_exit="stop") as runner:
        yield runner
    print("fixture of pytest-asyncio:", runner.results["sleep"].status)

@pytest.mark.asyncio
async def test_pytest_asyncio(runner):
    await runner["sleep"].ready()

@pytest.fixture
async def anyio_runner():
    async with Runner(["sleep 9999"], on_exit="stop") as runner:
        yield runner
    print("fixture of anyio:", runner.results["sleep"].status)

@pytest.mark.anyio
async def test_anyio(anyio_runner, anyio_backend):
    await anyio_runner["sleep"].ready()

@pytest.fixture
def blocking_runner():
    with blocking.Runner(["sleep 9999"], on_exit="stop") as runner:
        yield runner
    print("blocking fixture:", runner.results["sleep"].status)

@pytest.mark.asyncio
async def test_blocking(blocking_runner):
    assert blocking_runner["sleep"].ready() is None

@pytest_asyncio.fixture
async def scope():
    with anyio.CancelScope():
        yield

@pytest.mark.asyncio
async def test_scope(scope):
    pass
"""


def test_fixtures_can_enter_a_runner(tmp_path: Path) -> None:
    """Fixtures of pytest-asyncio, of anyio, and blocking ones work; a cancel scope does not."""
    file = tmp_path / "test_fixtures.py"
    file.write_text(FIXTURES)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-s",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tmp_path,
            file,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert "fixture of pytest-asyncio: stopped" in done.stdout
    assert done.stdout.count("fixture of anyio: stopped") == 2  # on asyncio and on trio
    assert "blocking fixture: stopped" in done.stdout
    assert "Attempted to exit cancel scope in a different task" in done.stdout
    assert "5 passed, 1 error" in done.stdout


GENERATOR = """
import gc, json, sys, anyio
from currant import Command, Line, Runner
options = json.loads(sys.argv[1])

runner = Runner({"c": Command.shell(options["script"])})

async def lines():
    async with runner:
        async for message in runner:
            if isinstance(message, Line):
                yield message.text

async def main():
    async for _ in lines():
        break
    gc.collect()
    while runner["c"].state != "ended":
        await anyio.sleep(0.001)
    await anyio.wait_all_tasks_blocked()

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""


def test_a_generator_left_by_break_ends_with_an_error_that_says_why(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any], tmp_path: Path
) -> None:
    """The event loop closes the generator in another task: nothing hangs, nothing is left."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with (
        Lifeline(tmp_path / "lifeline") as lifeline,
        Programs(GENERATOR, anyio_backend_name, use_uvloop=use_uvloop) as programs,
    ):
        script = f"{lifeline.hold('c')}; echo line; {EXEC_FOREVER}"
        _, errors = programs.run({"script": script}).communicate(timeout=LIMIT)
        lifeline.wait_for_end()
    assert b"WrongTaskError: a task left a Runner that another running task had entered" in errors
