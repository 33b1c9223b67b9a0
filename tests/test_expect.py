"""Waiting for what a command writes: `Job.expect`, and for what it does: `Job.until`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import (
    Command,
    CommandError,
    ExpectError,
    Line,
    RestartPolicy,
    Runner,
    open_process,
    ready,
)
from currant._channel import expectation
from currant._values.incremental_search import CONTEXT, IncrementalSearch
from currant.testing import FakeLauncher, Script
from tests.streams import read_all
from tests.waiting import EXEC_FOREVER, FOREVER, LIMIT

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream

    from currant import Job

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

RUNS = Script(exit=None)


# ---- expect ----


async def test_repl_on_a_terminal() -> None:
    """The prompts of an interactive Python are matched as they come, one after the other."""
    command = Command([sys.executable, "-i", "-q", "-c", ""], pty=True, env={"TERM": "dumb"})
    async with open_process(command) as job:
        with anyio.fail_after(LIMIT):
            await job.expect(">>> ")
            for number in range(3):
                await job.send(b"%d * 7\n" % number)
                match = await job.expect(rb"\* 7\r\n(\d+)\r\n>>> ")
                assert int(match[1]) == number * 7
                assert job.before.endswith(b"%d " % number)
            await job.send(b"exit(3)\n")
            with pytest.raises(ExpectError, match="exit code 3"):
                await job.expect(">>> ")


async def test_prompt_without_a_newline_is_matched() -> None:
    """A match does not wait for the end of a line, and with ``$`` only for a moment of silence."""
    script = Command.shell("stty -echo; printf 'Password: '; read word; echo; echo got $word")
    for pattern in ("Password: ", rb"(?m)^Password: $", r"word:\s\Z"):
        async with open_process(script, pty=True) as job:
            with anyio.fail_after(LIMIT):
                await job.expect(pattern)
                await job.send(b"secret\n")
                match = await job.expect(re.compile(b"got (.*)\r\n"))
                assert match[1] == b"secret"


async def test_match_is_found_across_chunks() -> None:
    """A match that arrives byte by byte is found."""
    launcher = FakeLauncher(default=RUNS)
    async with Runner({"a": "a"}, launcher=launcher, iterable=False, on_exit="stop") as runner:
        job = runner["a"]
        await job.ready()

        async def write() -> None:
            for byte in b"some words, ready, go":
                await checkpoint()
                launcher["a"].write(bytes([byte]))

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                match = await job.expect("ready")
        assert match.string[: match.start()] == job.before == b"some words, "


async def test_match_consumes_only_to_its_end() -> None:
    """The next `expect` begins behind the last match, and the rest of the output is not lost."""
    async with open_process("echo one two one") as job:
        with anyio.fail_after(LIMIT):
            assert (await job.expect("one")).start() == 0
            assert (await job.expect("^ two")).start() == 0
            await job.expect("one")
            assert job.before == b" "
            with pytest.raises(ExpectError) as raised:
                await job.expect("one")
    assert raised.value.before == job.before == b"\n"


async def test_each_stream_has_a_place_of_its_own() -> None:
    """A match in one stream leaves the other alone, and never spans both."""
    script = Command.shell("printf ab >&2; printf cd; read go; printf ef")
    async with open_process(script) as job:
        with anyio.fail_after(LIMIT):
            await job.expect("cd", stream="stdout")
            await job.expect("ab")
            with pytest.raises(ExpectError):
                await job.expect("abcd|cdab", timeout=0.01)
            await job.send(b"\n")
            await job.expect("ef")
            assert job.before == b""
            with pytest.raises(ExpectError):
                await job.expect("cd", stream="stderr")


async def test_end_of_the_output_raises_at_once() -> None:
    """If no match can come, the error says how the command ended, and has what came."""
    async with open_process(Command.shell("echo no such table; exit 3")) as job:
        with anyio.fail_after(LIMIT), pytest.raises(ExpectError) as raised:
            await job.expect("ready")
    error = raised.value
    assert (error.name, error.pattern, error.before) == ("sh", b"ready", b"no such table\n")
    assert error.reason == "it has ended: exit code 3"
    assert error.exit is not None
    assert error.exit.code == 3


async def test_output_that_ends_before_the_command_raises() -> None:
    """A command that closes its output and runs on will not match."""
    async with open_process(Command.shell(f"exec >&- 2>&-; {EXEC_FOREVER}")) as job:
        with anyio.fail_after(LIMIT), pytest.raises(ExpectError) as raised:
            await job.expect("ready")
    assert raised.value.reason == "its output has ended"
    assert raised.value.exit is None


async def test_last_output_may_match() -> None:
    """The end of the output decides a match that might have gone on."""
    async with open_process("echo port 80") as job:
        with anyio.fail_after(LIMIT):
            assert (await job.expect(rb"port (\d+)$"))[1] == b"80"


async def test_timeout_raises_and_the_next_call_searches_again() -> None:
    """The error has what came; the output is still there for another pattern."""
    async with open_process(Command.shell(f"echo hello; {EXEC_FOREVER}")) as job:
        with anyio.fail_after(LIMIT):
            while not job.since().mark:
                await checkpoint()
            with pytest.raises(ExpectError, match=r"within 0\.01 s") as raised:
                await job.expect("bye", timeout=0.01)
            assert raised.value.before == b"hello\n"
            assert (await job.expect("hello"))[0] == b"hello"


async def test_undecided_match_counts_when_the_time_is_over() -> None:
    """A match that silence would have decided is not lost to a short timeout."""
    async with open_process(Command.shell(f"printf '$ '; {EXEC_FOREVER}")) as job:
        with anyio.fail_after(LIMIT):
            while not job.since().mark:
                await checkpoint()
            await job.expect(r"\$ $", timeout=0.01)


async def test_undecided_match_does_not_wait_for_the_other_stream() -> None:
    """The silence that decides a match is that of its stream, whatever the other one writes."""
    async with open_process(Command.shell("printf '$ '; exec yes >&2")) as job:
        with anyio.fail_after(LIMIT):
            assert (await job.expect(r"\$ $")).string == b"$ "


async def test_expect_lets_other_tasks_run() -> None:
    """A loop over matches that have all come does not hold up the program, and can be cancelled."""
    async with open_process("echo a b b") as job:
        with anyio.fail_after(LIMIT):
            await job.wait()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await job.expect("a")
        assert scope.cancelled_caught
        assert (await job.expect("a")).start() == 0
        ran = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_set, ran)
            for _ in range(2):  # On trio, the order of two tasks in one turn is random.
                await job.expect("b")
            assert ran.is_set()


async def _set(event: anyio.Event) -> None:
    event.set()


async def test_cancelled_expect_loses_nothing() -> None:
    """After a cancellation the next call finds the match in all that has come."""
    async with open_process(Command.shell("printf 'rea'; read go; echo dy")) as job:
        with anyio.fail_after(LIMIT):
            while not job.since().mark:
                await checkpoint()
            for _ in range(5):
                with anyio.move_on_after(0.001):
                    await job.expect("ready")
            await job.send(b"\n")
            assert (await job.expect("ready")).start() == 0


async def test_second_search_of_a_stream_is_refused() -> None:
    """Two searches would match the same bytes, so the second raises, and the first goes on."""
    matches = []

    async def expect_on_stdout() -> None:
        matches.append(await job.expect("out", stream="stdout"))

    script = Command.shell("read go; echo out; echo error >&2; echo out")
    with anyio.fail_after(LIMIT):
        async with open_process(script) as job, anyio.create_task_group() as tasks:
            tasks.start_soon(expect_on_stdout)
            await anyio.wait_all_tasks_blocked()
            for stream in ("stdout", None):
                with pytest.raises(anyio.BusyResourceError, match="stdout of command 'sh'"):
                    await job.expect("out", stream=stream)
            await job.send(b"\n")
            await job.expect("error", stream="stderr")
        await job.expect("out")
    assert len(matches) == 1


async def test_expect_in_much_output_that_does_not_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte of 8 MB is searched about once, memory is bounded, and the match is found."""
    searches: list[IncrementalSearch] = []

    def search(pattern: re.Pattern[bytes]) -> IncrementalSearch:
        searches.append(IncrementalSearch(pattern))
        return searches[-1]

    monkeypatch.setattr(expectation, "IncrementalSearch", search)
    size = 8_000_000
    script = f"yes abcdefg | head -c {size}; echo; echo done; echo more"
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            match = await job.expect(b"done")
    assert size < sum(each.searched for each in searches) < 1.1 * size
    assert match.start() == CONTEXT


async def test_expect_that_begins_late_searches_what_is_kept() -> None:
    """Output that is no longer kept is not searched; the error of a failed search says so."""
    async with Runner(["seq 200000"], iterable=False) as runner:
        await runner.join()
    job = runner["seq"]
    with pytest.raises(ExpectError, match=r"exit code 0 \(\d+ bytes were discarded before"):
        await job.expect("\n1\n")
    await job.expect("\n200000\n")


async def test_expect_works_beside_other_readers() -> None:
    """`expect` takes nothing from the streams, the lines or the iteration, nor they from it."""
    with anyio.fail_after(LIMIT):
        async with Runner(["seq 100000"]) as runner, anyio.create_task_group() as tasks:
            job = runner["seq"]
            stream, matches = job.stdout, []

            async def expect() -> None:
                matches.append(await job.expect("\n99999\n"))

            async def read() -> None:
                assert len(await read_all(stream)) == 588895

            tasks.start_soon(expect)
            tasks.start_soon(read)
            assert len([m async for m in runner if isinstance(m, Line)]) == 100_000
    assert len(matches) == 1


async def test_expect_goes_on_through_restarts() -> None:
    """The output of the next attempt is searched, too."""
    scripts = [Script(stdout=b"one", exit=1), Script(stdout=b"ready", exit=None)]
    policy = RestartPolicy("on-failure", delay=0.001)
    launcher = FakeLauncher({"a": scripts})
    async with Runner({"a": "a"}, launcher=launcher, restart=policy, on_exit="stop") as runner:
        with anyio.fail_after(LIMIT):
            await runner["a"].expect("ready")
            assert runner["a"].before == b"one"


async def test_expect_does_not_wait_for_a_reader() -> None:
    """A Runner that no task iterates over does not hold up the command during `expect`."""
    async with Runner(["seq 200000"], unread="wait") as runner:
        with anyio.fail_after(LIMIT):
            await runner["seq"].expect("\n200000\n")


async def test_replicas_are_talked_to_one_by_one() -> None:
    """Each replica has streams and a place of its own."""
    script = Command.shell("echo number $CURRANT_REPLICA", name="web", replicas=3)
    async with Runner([script], iterable=False) as runner:
        for number in (3, 1, 2):
            with anyio.fail_after(LIMIT):
                match = await runner[f"web.{number}"].expect(r"number (\d)")
            assert int(match[1]) == number


@pytest.mark.parametrize(
    ("pattern", "options", "text"),
    [
        (re.compile("text"), {}, "compiled from a str, and output is bytes"),
        (3, {}, "must be bytes"),
        ("(", {}, "not a regular expression"),
        ("a{9999999999}", {}, "not a regular expression: the repetition number is too large"),
        ("a", {"stream": "both"}, "stream must be"),
        ("a", {"timeout": -1}, "timeout must be"),
    ],
)
async def test_invalid_arguments_of_expect_are_refused(
    pattern: Any, options: Any, text: str
) -> None:
    """A mistake raises before anything is waited for."""
    async with Runner(["true"], iterable=False) as runner:
        with pytest.raises(CommandError, match=f"command 'true': .*{text}"):
            await runner["true"].expect(pattern, **options)


# ---- until ----


async def test_until_the_exit() -> None:
    """``"exit"`` is the end of the command, and all of its output is there."""
    async with open_process(Command.shell("echo hello; exit 3")) as job:
        with anyio.fail_after(LIMIT):
            assert await job.until("exit") == "exit"
        assert job.result is not None
        assert job.since().data == b"hello\n"


async def test_until_ready() -> None:
    """``"ready"`` is the readiness of the process, with or without a probe."""
    command = Command.shell(
        f"read go; echo up; {EXEC_FOREVER}", ready=ready.line("up"), stdin=b"\n"
    )
    async with Runner([command, FOREVER], iterable=False, on_exit="stop") as runner:
        with anyio.fail_after(LIMIT):
            assert await runner["sh"].until("ready", "exit") == "ready"
            assert runner["sh"].is_ready
            assert await runner["sleep"].until("ready") == "ready"


class TestOnTheClock:
    """Tests on trio's mock clock, which jumps to the next deadline."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Use trio with that clock."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    async def test_until_idle(self) -> None:
        """``"idle"`` is silence, counted anew from each byte, and from the call."""
        launcher = FakeLauncher(default=RUNS)
        async with Runner({"a": "a"}, launcher=launcher, iterable=False, on_exit="stop") as runner:
            job = runner["a"]
            await job.ready()

            async def write() -> None:
                for _ in range(20):
                    await anyio.sleep(1)
                    launcher["a"].write(b"x")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                for idle, took in (5, 20 + 5), (3, 3):
                    called = anyio.current_time()
                    assert await job.until("idle", idle=idle) == "idle"
                    assert anyio.current_time() - called == pytest.approx(took)
                    assert job.since().mark == 20

    async def test_command_that_waits_for_its_restart_is_not_idle(self) -> None:
        """The silence counts from the start of the process that is idle."""
        launcher = FakeLauncher({"a": [Script(exit=1), RUNS]})
        restart = RestartPolicy("always", delay=20, jitter=0)
        async with Runner(
            {"a": "a"}, launcher=launcher, restart=restart, iterable=False, on_exit="stop"
        ) as runner:
            called = anyio.current_time()
            assert await runner["a"].until("idle", idle=5) == "idle"
            assert anyio.current_time() - called == pytest.approx(20 + 5)
            assert runner["a"].state == "running"


async def test_command_in_the_queue_is_not_idle() -> None:
    """A command that has not started has written nothing, but is not idle."""
    async with Runner(iterable=False, max_processes=1, on_exit="stop") as runner:
        runner.start_soon(FOREVER)
        queued = runner.start_soon("true")
        with anyio.fail_after(LIMIT):
            assert await queued.until("idle", idle=0.01, timeout=0.2) is None


async def test_exit_ends_every_wait() -> None:
    """A command that ends is neither ready nor idle, and the wait says so."""
    command = Command.shell("exit 3", ready=ready.line("never"))
    async with Runner([command], iterable=False) as runner:
        with anyio.fail_after(LIMIT):
            assert await runner["sh"].until("ready", "idle", idle=999) == "exit"
            assert await runner["sh"].until("idle", idle=999) == "exit"


async def test_until_a_timeout() -> None:
    """If the time is over first, the result is None."""
    async with open_process(FOREVER) as job:
        with anyio.fail_after(LIMIT):
            assert await job.until("exit", timeout=0.01) is None
            assert await job.until("idle", idle=999, timeout=0.01) is None


async def test_until_does_not_wait_for_a_reader() -> None:
    """A command whose output no task reads ends while a task waits for its end."""
    async with Runner(["seq 200000"], unread="wait") as runner:
        stream = runner["seq"].stdout
        with anyio.fail_after(LIMIT):
            assert await runner["seq"].until("exit") == "exit"
        await stream.aclose()


async def test_session_of_an_agent() -> None:
    """Send, wait for silence, look at what is new: without polling, and without missing a byte."""
    async with open_process("sh", stderr="stdout") as job:
        mark = await _ask(job, 0, "x=6", "")
        mark = await _ask(job, mark, "echo $((x * 7))", "42\n")
        await _ask(job, mark, "echo bye >&2", "bye\n")


async def _ask(job: Job, mark: int, line: str, answer: str) -> int:
    await job.send(line.encode() + b"\n")
    with anyio.fail_after(LIMIT):
        while True:
            assert await job.until("idle", "exit", idle=0.05) == "idle"
            excerpt = job.since(mark)
            if excerpt.text == answer:
                return excerpt.mark


@pytest.mark.parametrize(
    ("conditions", "options", "text"),
    [
        ((), {}, "needs a condition"),
        (("done",), {}, "no such condition: 'done'"),
        (("idle",), {}, "'idle' needs idle=seconds"),
        (("exit",), {"idle": 1}, "needs 'idle'"),
        (("idle",), {"idle": 0}, "idle must be"),
        (("exit",), {"timeout": "1"}, "timeout must be"),
    ],
)
async def test_invalid_arguments_of_until_are_refused(
    conditions: Any, options: Any, text: str
) -> None:
    """A mistake raises before anything is waited for."""
    async with Runner(["true"], iterable=False) as runner:
        with pytest.raises(CommandError, match=f"command .*{text}"):
            await runner["true"].until(*conditions, **options)


async def test_command_that_a_slow_sink_holds_up_is_not_idle() -> None:
    """It would write if it could; its silence begins when its output is read again."""
    go_on = anyio.Event()

    async def slow(messages: ObjectReceiveStream[object]) -> None:
        await go_on.wait()
        async for _ in messages:
            pass

    fake = FakeLauncher({"c": Script(stdout=b"a\n", exit=None)})
    with anyio.fail_after(LIMIT):
        async with Runner(
            {"c": "c"}, launcher=fake, sinks=[slow], buffer_size=1, iterable=False, on_exit="stop"
        ) as runner:
            await anyio.wait_all_tasks_blocked()  # The output is held up now.
            assert await runner["c"].until("idle", idle=0.01, timeout=0.1) is None
            go_on.set()
            assert await runner["c"].until("idle", idle=0.01) == "idle"
