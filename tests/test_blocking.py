"""Test the blocking Runner: each method, from one thread."""

from __future__ import annotations

import dataclasses
import inspect
import signal
import threading
from threading import Event
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import currant
from currant import (
    PIPE,
    Command,
    CommandNotFoundError,
    DuplicateNameError,
    ExpectError,
    JobEndedError,
    LaunchError,
    Line,
    NotReadyError,
    UnknownNameError,
    blocking,
    ready,
)
from currant.blocking._background import Background
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from currant.ready import Probe
    from tests.lifeline import Gate

Loop = dict[str, Any]

ECHO = "while read line; do echo got $line; done"
"""A shell script that answers each line of its stdin."""


# ---- the interface ----


def public(owner: type) -> set[str]:
    """Return the public members of a class."""
    return {name for name in vars(owner) if not name.startswith("_")}


def test_job_has_each_member_of_the_async_job() -> None:
    """What is missing needs an event loop, or is for the command line."""
    missing = public(currant.Job) - public(blocking.Job)
    assert missing == {"stdin", "stdout", "stderr", "until_started", "is_watched"}
    assert public(blocking.Job) - public(currant.Job) == {"up"}


def test_runner_has_each_member_of_the_async_runner() -> None:
    """What is missing needs an event loop; a sink gets the messages."""
    missing = public(currant.Runner) - public(blocking.Runner)
    assert missing == {"batches", "cancel_scope", "launcher"}
    assert public(blocking.Runner) <= public(currant.Runner)


@pytest.mark.parametrize("name", ["Job", "Runner"])
def test_methods_take_the_arguments_of_the_async_methods(name: str) -> None:
    """Each method may have a `timeout` in addition."""
    here, there = getattr(blocking, name), getattr(currant, name)
    for method in public(here):
        if inspect.isfunction(vars(here)[method]) and hasattr(there, method):
            mine, other = (inspect.signature(vars(owner)[method]) for owner in (here, there))
            assert set(mine.parameters) - {"timeout"} == set(other.parameters) - {"timeout"}


# ---- a Runner ----


def test_a_block_waits_for_its_commands(loop: Loop) -> None:
    """The normal end of the block waits, and the results are complete."""
    with blocking.Runner({"a": "seq 2", "b": ["false"]}, capture=True, **loop) as runner:
        assert list(runner.jobs) == ["a", "b"]
    assert runner.results["a"].stdout == b"1\n2\n"
    assert not runner.results.ok


def test_a_block_stops_its_commands(loop: Loop) -> None:
    """With ``on_exit="stop"`` the normal end of the block stops them."""
    with blocking.Runner([FOREVER], on_exit="stop", **loop) as runner:
        runner["sleep"].ready()
    assert runner.results["sleep"].status == "stopped"


def test_an_error_of_the_body_stops_the_commands(loop: Loop) -> None:
    """The error leaves the block unchanged."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught, blocking.Runner([FOREVER], **loop) as runner:
        runner["sleep"].ready()
        raise error
    assert caught.value is error
    assert error.__context__ is None
    assert runner.results["sleep"].status == "stopped"


def test_start_returns_when_the_command_is_ready(loop: Loop) -> None:
    """Then what it has written is there, and its process runs."""
    command = Command.shell(f"echo ready; {EXEC_FOREVER}", name="c", ready=ready.line("ready"))
    with blocking.Runner(on_exit="stop", **loop) as runner:
        job = runner.start(command)
        assert job is runner["c"]
        assert job.is_ready
        assert job.pid is not None
        assert job.state == "running"
        assert [line.text for line in job.tail] == ["ready"]


def test_start_soon_does_not_wait(loop: Loop) -> None:
    """A command that waits for its turn is queued."""
    with blocking.Runner([FOREVER], max_processes=1, on_exit="stop", **loop) as runner:
        job = runner.start_soon("date")
        assert job.state == "queued"
        with pytest.raises(TimeoutError, match=r"'date' is not running after 0\.01 s"):
            job.up(timeout=0.01)
        job.kill()
        assert runner["date"].wait().status == "stopped"


def test_a_forgotten_name_is_that_of_the_next_command(loop: Loop) -> None:
    """A job of the forgotten command does not stand in for the job of the next one."""
    with blocking.Runner(keep_results=0, keep_open=True, capture=True, **loop) as runner:
        first = runner.start_soon(Command.parse("echo one", name="x"))
        first.wait()
        while "x" in runner.jobs:  # until the Runner has forgotten the command
            pass
        second = runner.start_soon(Command.parse("echo two", name="x"))
        assert [first.wait().stdout, second.wait().stdout] == [b"one\n", b"two\n"]
        runner.kill()


def test_join_returns_the_results(loop: Loop) -> None:
    """All commands have ended."""
    with blocking.Runner(["true"], **loop) as runner:
        assert runner.join()["true"].status == "succeeded"
        assert runner.join(timeout=LIMIT).ok


def test_kill_stops_all_commands(loop: Loop) -> None:
    """The second call skips the rest of the grace."""
    deaf = Command.shell(f"trap '' TERM; echo deaf; {EXEC_FOREVER}", name="c")
    with blocking.Runner([deaf], grace=HOURS, **loop) as runner:
        runner["c"].expect("deaf")
        runner.kill("enough")
        assert runner["c"].state == "stopping"
        runner.kill()
    assert runner.barrier.reason == "enough"
    exit_ = runner.results["c"].exit
    assert exit_ is not None
    assert exit_.forced


def test_send_signal_reaches_the_commands(loop: Loop) -> None:
    """The number of commands is that of those that got the signal."""
    with blocking.Runner({"a": FOREVER, "b": FOREVER}, **loop) as runner:
        runner["a"].ready()
        runner["b"].ready()
        assert runner.send_signal("CONT") == 2
        assert runner.send_signal(signal.SIGINT, "a") == 1
        runner["a"].wait()
        assert runner["b"].send_signal("INT", "leader")
        assert runner["b"].wait().exit == currant.Exit(None, signal.SIGINT)
        assert not runner["b"].send_signal("INT")
        with pytest.raises(UnknownNameError):
            runner.send_signal("INT", "c")


def test_a_sink_gets_the_messages(loop: Loop) -> None:
    """The sink runs in the event loop."""
    seen: list[str] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        seen.extend([type(message).__name__ async for message in messages])

    with blocking.Runner([["echo", "line"]], sinks=[sink], **loop):
        pass
    assert seen == ["Started", "Batch", "Exited"]


@pytest.mark.anyio
async def test_a_block_works_in_an_async_function(loop: Loop) -> None:
    """The block has an event loop and a thread of its own."""
    with blocking.Runner(["seq 2"], **loop) as runner:
        assert [line.text for line in runner["seq"].lines()] == ["1", "2"]
        await anyio.lowlevel.checkpoint()


# ---- a Job ----


def test_a_conversation(loop: Loop) -> None:
    """What a command answers is found, and the end of its stdin ends it."""
    with blocking.Runner(**loop) as runner:
        job = runner.start(Command.shell(ECHO, name="c", stdin=PIPE))
        job.send(b"one\n")
        assert job.expect(r"got (\w+)\n")[1] == b"one"
        job.send(b"x\ntwo\n")
        job.expect("two")
        assert job.before == b"got x\ngot "
        with pytest.raises(ExpectError):
            job.expect("never", timeout=0.01)
        job.close_stdin()
        assert job.wait().status == "succeeded"


def test_lines_end_with_the_command(loop: Loop) -> None:
    """A loop that was left goes on with the next line."""
    script = "echo 1; echo err >&2; echo 2; echo 3"
    with blocking.Runner([Command.shell(script, name="c")], **loop) as runner:
        for line in runner["c"].lines("stdout"):
            assert line.text == "1"
            break
        assert [line.text for line in runner["c"].lines("stdout")] == ["2", "3"]
        assert [line.text for line in runner["c"].lines("stderr")] == ["err"]


def test_excerpts_follow_one_another(loop: Loop, gate: Gate) -> None:
    """The mark of an excerpt is where the next begins."""
    script = f"echo one; {gate.wait}; echo two"
    with blocking.Runner([Command.shell(script, name="c")], **loop) as runner:
        first = runner["c"].next_output()
        assert first.stdout == b"one\n"
        assert runner["c"].since(first.mark).stdout == b""
        gate.open()
        assert runner["c"].next_output(first.mark).stdout == b"two\n"


def test_until_returns_the_first_condition(loop: Loop) -> None:
    """A time limit is no error."""
    with blocking.Runner([FOREVER], on_exit="stop", **loop) as runner:
        job = runner["sleep"]
        assert job.until("ready") == "ready"
        assert job.until("idle", idle=0.01) == "idle"
        assert job.until("exit", timeout=0.01) is None


def test_restart_runs_another_process(loop: Loop) -> None:
    """The job stays the same, and runs again after its end, too."""
    with blocking.Runner([FOREVER], on_exit="stop", **loop) as runner:
        job = runner["sleep"]
        job.ready()
        first = job.pid
        job.restart()
        assert job.pid not in (None, first)
        assert (job.restarts, job.attempts) == (1, 2)
        job.kill()
        job.wait()
        job.restart(timeout=LIMIT)
        assert job.state == "running"
        runner.kill()
        with pytest.raises(JobEndedError):
            job.restart()


def test_resize_reaches_the_terminal(loop: Loop) -> None:
    """The program there sees the new size."""
    script = "echo up; read line; stty size; read line"
    with blocking.Runner([Command.shell(script, name="c", pty=True)], **loop) as runner:
        job = runner["c"]
        job.expect("up")
        job.resize(33, 77)
        job.send(b"\n")
        assert job.expect(r"(\d+) (\d+)\r\n").groups() == (b"33", b"77")
        job.send(b"\n")


# ---- time limits ----


def test_time_limit_says_what_the_probe_found(loop: Loop) -> None:
    """A caller that waits no longer than its own limit still sees why the command is not ready."""
    calls: list[int] = []
    called_twice = threading.Event()

    def check() -> bool:
        calls.append(1)
        if len(calls) == 2:  # so the failure of the first call is known
            called_twice.set()
        raise OSError("refused")

    command = Command(["sleep", "9999"], name="c", ready=ready.when(check, interval=0.01))
    with blocking.Runner([command], on_exit="stop", **loop) as runner:
        assert called_twice.wait(LIMIT)
        for wait in (runner["c"].ready, runner["c"].up):
            with pytest.raises(TimeoutError, match=r"'c' is not ready after 0\.01 s \(refused"):
                wait(timeout=0.01)


def test_time_limits_leave_the_command_as_it_is(loop: Loop) -> None:
    """The text says what has not happened, and to which command."""
    never = Command(["sleep", "9999"], name="c", ready=ready.line("never"))
    with blocking.Runner([never], on_exit="stop", **loop) as runner:
        job = runner["c"]
        with pytest.raises(TimeoutError, match=r"command 'c' is not ready after 0\.01 s"):
            job.ready(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"command 'c' is not over after 0\.01 s"):
            job.wait(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"the commands have not ended after 0\.01 s"):
            runner.join(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"command 'd' is not ready after 0\.01 s"):
            runner.start(dataclasses.replace(never, name="d"), timeout=0.01)
        assert job.state == runner["d"].state == "running"


# ---- errors ----


def test_a_missing_program_refuses_the_entry(loop: Loop) -> None:
    """No command has started, and no thread is left."""
    runner = blocking.Runner([FOREVER, "no-such-program"], **loop)
    with pytest.raises(CommandNotFoundError, match="no-such-program") as caught, runner:
        pytest.fail("the block was entered")
    assert caught.value.__context__ is None
    assert dict(runner.results) == {}


def test_the_block_is_left_when_its_thread_has_ended(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the entry has failed."""
    end, join, joined = Background._end, threading.Thread.join, threading.Event()

    def end_when_joined(background: Background) -> None:
        end(background)
        joined.wait(LIMIT)

    def note_join(thread: threading.Thread, timeout: float | None = None) -> None:
        joined.set()
        join(thread, timeout)

    monkeypatch.setattr(Background, "_end", end_when_joined)
    monkeypatch.setattr(threading.Thread, "join", note_join)
    with pytest.raises(CommandNotFoundError), blocking.Runner(["no-such-program"], **loop):
        pytest.fail("the block was entered")
    assert joined.is_set()


def test_the_error_of_a_sink_leaves_the_block(loop: Loop) -> None:
    """The commands have been stopped."""

    async def broken(_: object) -> None:
        raise LookupError("mine")

    runner = blocking.Runner([FOREVER], sinks=[broken], **loop)
    with pytest.raises(LookupError, match="mine"), runner:
        pass
    assert runner.results["sleep"].status == "stopped"


def test_the_error_of_a_sink_ends_a_call_of_the_body(loop: Loop) -> None:
    """The sink stops the command for which the body waits."""

    async def broken(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        raise LookupError("mine")

    runner = blocking.Runner([FOREVER], sinks=[broken], **loop)
    with pytest.raises(LookupError, match="mine"), runner:
        runner["sleep"].wait()


def test_errors_of_a_start_are_raised_in_the_thread(loop: Loop, tmp_path: Path) -> None:
    """The errors are those of the async Runner."""
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with blocking.Runner(**loop) as runner:
        with pytest.raises(LaunchError):
            runner.start([str(broken)])
        with pytest.raises(NotReadyError):
            runner.start(Command(["true"], name="c", ready=ready.line("never")))
        runner.start(Command(["sleep", "9999"], name="d"))
        with pytest.raises(DuplicateNameError):
            runner.start(Command(["true"], name="d"))
        with pytest.raises(UnknownNameError):
            runner["e"]
        runner.kill()


def test_calls_before_the_entry_are_refused(loop: Loop) -> None:
    """The text says what to write; what can be looked at is empty."""
    runner = blocking.Runner([FOREVER], **loop)
    assert dict(runner.jobs) == dict(runner.results) == {}
    assert repr(runner) == "<Runner without commands>"
    with pytest.raises(RuntimeError, match=r"use 'with Runner\(...\)'"):
        runner.start_soon("date")
    with pytest.raises(RuntimeError, match=r"use 'with Runner\(...\)'"):
        runner.kill()
    with pytest.raises(RuntimeError, match=r"use 'with Runner\(...\)'"):
        runner.__exit__(None, None, None)


def test_a_runner_is_for_one_use(loop: Loop) -> None:
    """The second entry is refused, inside of the block and after it."""
    runner = blocking.Runner(["true"], **loop)
    with runner, pytest.raises(RuntimeError, match="for one use"), runner:
        pass
    with pytest.raises(RuntimeError, match="for one use"), runner:
        pass


def test_a_job_can_be_looked_at_after_the_block(loop: Loop) -> None:
    """Calls that need the event loop are refused."""
    with blocking.Runner([["echo", "line"]], **loop) as runner:
        job = runner["echo"]
        job.expect("i")
    assert job.result is not None
    assert job.result.status == "succeeded"
    assert job.state == "ended"
    assert job.pid is None
    assert not job.is_ready
    assert [line.text for line in job.tail] == ["line"]
    assert job.before == b"l"
    assert job.since().stdout == b"line\n"
    assert job.since(job.since().mark).stdout == b""
    assert repr(job) == "<Job 'echo' ended attempts=1>"
    assert list(runner.jobs) == list(runner.results) == ["echo"]
    job.kill()
    runner.kill()
    for call in (job.wait, job.ready, job.restart, runner.join, lambda: runner.start("date")):
        with pytest.raises(RuntimeError, match="has ended"):
            call()
    with pytest.raises(RuntimeError, match="has ended"):
        list(job.lines())


def test_lines_are_lines(loop: Loop) -> None:
    """A line from a blocking Job is the same value as from the async Job."""
    with blocking.Runner([["printf", "a\\r\\nb"]], **loop) as runner:
        lines = list(runner["printf"].lines())
    assert all(isinstance(line, Line) for line in lines)
    assert [(line.data, line.ending) for line in lines] == [(b"a", b"\r\n"), (b"b", b"")]


def test_a_probe_of_a_line_is_met(loop: Loop) -> None:
    """Job.ready waits for the probe."""
    command = Command.shell(f"echo up; {EXEC_FOREVER}", name="c", ready=ready.line("up"))
    with blocking.Runner([command], on_exit="stop", **loop) as runner:
        runner["c"].ready(timeout=LIMIT)
        assert runner["c"].is_ready


# ---- functions of probes ----


@pytest.mark.parametrize("way", ["constructor", "mapping", "start"])
@pytest.mark.parametrize("inside", [ready.all_of, ready.any_of, None])
def test_functions_of_probes_are_called_in_threads(
    inside: Callable[[Probe], Probe] | None, way: str, loop: Loop
) -> None:
    """They may block, and make calls to the Runner."""
    threads: set[str] = set()
    is_alive = Event()

    def check() -> bool:
        threads.add(threading.current_thread().name)
        return runner["c"].state == "running"

    def check_alive() -> bool:
        threads.add(threading.current_thread().name)
        is_alive.set()
        return bool(runner.jobs)

    is_ready, alive = ready.when(check), ready.when(check_alive, interval=0.01)
    if inside is not None:
        is_ready, alive = inside(is_ready), inside(alive)
        alive = dataclasses.replace(alive, interval=0.01)
    command = Command(["sleep", "9999"], name="c", ready=is_ready, alive=alive)
    given: Any = {"constructor": [command], "mapping": {"c": command}}.get(way, [])
    with blocking.Runner(given, on_exit="stop", **loop) as runner:
        if way == "start":
            runner.start(command, timeout=LIMIT)
        runner["c"].ready(timeout=LIMIT)
        assert is_alive.wait(LIMIT)
    assert not threads & {"currant", threading.main_thread().name}


def test_a_function_that_blocks_does_not_hold_up_the_runner(loop: Loop) -> None:
    """The other commands go on, and the block ends although the function still blocks."""
    may_end, has_begun = Event(), Event()

    def block() -> bool:
        has_begun.set()
        return may_end.wait(LIMIT)

    command = Command(["sleep", "9999"], name="c", ready=ready.when(block))
    with blocking.Runner([command], **loop) as runner:
        assert has_begun.wait(LIMIT)
        assert runner.start(["true"]).wait().status == "succeeded"
        runner.kill()
    assert runner.results["c"].status == "stopped"
    assert not may_end.is_set()
    may_end.set()


def test_async_functions_of_probes_are_called_in_the_event_loop(loop: Loop) -> None:
    """They are the same as in an async Runner."""
    threads: list[str] = []

    async def check() -> bool:
        threads.append(threading.current_thread().name)
        await anyio.lowlevel.checkpoint()
        return True

    with blocking.Runner(on_exit="stop", **loop) as runner:
        runner.start(Command(["sleep", "9999"], ready=ready.when(check)))
    assert threads == ["currant"]
