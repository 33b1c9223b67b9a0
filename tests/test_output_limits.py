"""Limits of output: a command that writes too much, and a command that writes nothing."""

from __future__ import annotations

import os
import time
from signal import SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import fail_after
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from currant import (
    Aborted,
    Batch,
    Capture,
    Command,
    Exited,
    Line,
    OutputLimitError,
    RestartPolicy,
    Runner,
    Started,
    TimeLimitError,
    ready,
)
from currant._channel.silence import Silence
from currant._process.pipes import OutputPipe
from currant.testing import FakeLauncher, Script
from tests.reading import messages_of
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from currant import Message

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]


def bytes_of(messages: list[Message], stream: str) -> bytes:
    """Return the bytes of a stream that a reader got."""
    lines = [message for message in messages if isinstance(message, Line)]
    return b"".join(line.data + line.ending for line in lines if line.stream == stream)


class OneChunk(ByteReceiveStream):
    """A stream with one chunk, which comes after some seconds."""

    def __init__(self, after: float) -> None:
        self._after = after

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the chunk, or wait for hours."""
        after, self._after = self._after, HOURS
        await anyio.sleep(after)
        return b"x"[:max_bytes]

    async def aclose(self) -> None:
        """Do nothing."""


# ---- too much output ----


async def test_a_command_that_writes_too_much_is_stopped_and_fails() -> None:
    """Readers and the capture get exactly the bytes of the limit."""
    command = Command(["yes"], max_output=100_001, capture=True)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            messages = await messages_of(runner)
    result = runner.results["yes"]
    assert result.status == "failed"
    assert isinstance(result.error, OutputLimitError)
    assert str(result.error) == "'yes' wrote more than 100001 bytes, the limit of its max_output"
    assert (result.exit is not None, str(result.exit)) == (True, "stopped (SIGTERM)")
    assert result.stdout == bytes_of(messages, "stdout") == b"y\n" * 50_000 + b"y"
    assert [type(message) for message in messages if not isinstance(message, Line)] == [
        Started,
        Aborted,
        Exited,
    ]


@pytest.mark.parametrize(("limit", "status"), [(8, "succeeded"), (7, "failed")])
async def test_the_limit_counts_both_streams_and_is_met_exactly(limit: int, status: str) -> None:
    """Output counts even if the process has exited by itself before it was read."""
    command = Command.shell("printf abcd; printf 1234 >&2", name="c", max_output=limit)
    for _ in range(20):
        with fail_after(LIMIT):
            async with Runner([command], capture=True) as runner:
                messages = await messages_of(runner)
        result = runner.results["c"]
        assert result.status == status
        assert len((result.stdout or b"") + (result.stderr or b"")) == limit
        assert any(isinstance(message, Aborted) for message in messages) == (status == "failed")
        assert isinstance(messages[-1], Exited)


async def test_the_limit_holds_for_a_command_that_ignores_the_request_to_stop() -> None:
    """What it writes during the grace is read, so that it can go on, and is discarded."""
    script = "trap '' TERM; echo begin; while :; do echo more; done"
    command = Command.shell(script, name="c", max_output=10, grace=0.2, capture=True)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["c"].wait()
    result = runner.results["c"]
    assert result.stdout == b"begin\nmore"
    assert (result.exit is not None and result.exit.forced, result.status) == (True, "failed")


async def test_a_command_that_is_stopped_first_has_not_failed() -> None:
    """As with a time limit: the request to stop came before."""
    script = "trap 'echo bye; exit' TERM; echo hi; sleep 9999 & wait"
    command = Command.shell(script, name="c", max_output=3, ready=ready.line("hi"), capture=True)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["c"].ready()
            runner.kill()
    result = runner.results["c"]
    assert (result.status, result.error, result.stdout) == ("stopped", None, b"hi\n")


async def test_every_attempt_has_its_own_limit() -> None:
    """A restart policy applies to the failure, and the next attempt begins at 0."""
    launcher = FakeLauncher(
        {"c": [Script(stdout=b"12345", exit=None), Script(stdout=b"1", stderr=b"234")]}
    )
    policy = RestartPolicy("on-failure", delay=0)
    command = Command(["c"], max_output=4, restart=policy, capture=True)
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher) as runner:
            messages = await messages_of(runner)
    result = runner.results["c"]
    assert (result.status, result.attempts, result.stdout) == ("succeeded", 2, b"1")
    assert [message.attempt for message in messages if isinstance(message, Aborted)] == [1]
    assert launcher.launched[0].signals == [SIGTERM]


async def test_a_failure_by_too_much_output_stops_other_commands() -> None:
    """``kill_others_on`` sees the failure of a process that has exited with success."""
    command = Command(["seq", "9"], max_output=5, kill_others_on="failure")
    with fail_after(LIMIT):
        async with Runner([command, ["sleep", "9999"]]) as runner:
            pass
    assert runner.results["sleep"].status == "stopped"
    assert "'seq' wrote more than 5 bytes" in (runner.barrier.reason or "")


async def test_the_limit_of_output_works_on_a_terminal() -> None:
    """The bytes of the terminal count."""
    with fail_after(LIMIT):
        async with Runner([Command(["yes"], pty=True, max_output=6, capture=True)]) as runner:
            pass
    result = runner.results["yes"]
    assert (result.status, result.stdout) == ("failed", b"y\r\ny\r\n")


# ---- no output ----


async def test_a_silent_command_is_stopped_and_fails() -> None:
    """The error tells this limit apart from that of the whole attempt."""
    # A real process might not write before the limit.
    fake = FakeLauncher({"c": Script(stdout=b"begin\n", exit=None)})
    command = Command(["c"], idle_timeout=0.2)
    with fail_after(LIMIT):
        async with Runner([command], launcher=fake, capture=True) as runner:
            messages = await messages_of(runner)
    result = runner.results["c"]
    assert (result.status, result.stdout) == ("failed", b"begin\n")
    assert isinstance(result.error, TimeLimitError)
    assert (result.error.kind, result.error.seconds) == ("idle", 0.2)
    assert result.exit is not None
    assert result.exit.timed_out
    assert [message.error for message in messages if isinstance(message, Aborted)] == [result.error]


async def test_a_command_without_output_is_silent_from_its_start() -> None:
    """It need not have written anything before, and may have no output at all."""
    commands = [
        Command(["sleep", "9999"], name="open", idle_timeout=0.1),
        Command.shell(f"exec >&- 2>&-; {EXEC_FOREVER}", name="closed", idle_timeout=0.1),
        Command(["sleep", "9999"], name="merged", idle_timeout=0.1, stderr="stdout"),
        Command(["sleep", "9999"], name="terminal", idle_timeout=0.1, pty=True),
    ]
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            pass
    for result in runner.results.values():
        assert isinstance(result.error, TimeLimitError)
        assert result.error.kind == "idle"


class TestOnTheClock:
    """Tests on trio's mock clock, which jumps to the next deadline."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Use trio with that clock."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    async def test_the_limit_counts_from_the_last_output(self, stream: str) -> None:
        """Output on either stream, also a part of a line, begins the time anew."""
        launcher = FakeLauncher(default=Script(exit=None))
        command = Command(["c"], idle_timeout=10, flush_after=1)
        async with Runner([command], launcher=launcher) as runner:
            await runner["c"].until_started()
            began = anyio.current_time()
            for _ in range(5):
                await anyio.sleep(9)
                launcher["c"].write(b"x", "stderr" if stream == "stderr" else "stdout")
            await runner["c"].wait()
            assert anyio.current_time() - began == pytest.approx(5 * 9 + 10)

    async def test_time_in_which_a_slow_reader_holds_the_output_up_does_not_count(self) -> None:
        """The command is not silent: it may be waiting for the reader."""
        launcher = FakeLauncher(default=Script(stdout=b"x\n" * 100_000, exit=None))
        command = Command(["c"], idle_timeout=10)
        waits = 0
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            began = anyio.current_time()
            async for message in runner.batches():
                if isinstance(message, Batch):
                    await anyio.sleep(100)
                    waits += 1
            took = anyio.current_time() - began
        assert waits >= 3
        # The last batches wait in the buffer, so the silence begins while they are being read.
        assert took >= 100 * (waits - 1) + 10
        assert isinstance(runner.results["c"].error, TimeLimitError)

    @pytest.mark.parametrize(
        ("chunk_after", "held_up", "silent_at"),
        [(0, 100, 110), (5, 100, 115), (5, 0, 15), (15, 100, 10)],
    )
    async def test_a_silence_begins_when_the_reader_waits_again(
        self, chunk_after: float, held_up: float, silent_at: float
    ) -> None:
        """The whole time is left then: what was held up may have held the process up."""
        silence, started_at = Silence(streams=1), anyio.current_time()
        pipe = silence.listen_to(OneChunk(chunk_after))

        async def read() -> None:
            while True:
                await pipe.receive()
                await anyio.sleep(held_up)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await silence.wait(10)
            tasks.cancel_scope.cancel()
        assert anyio.current_time() - started_at == pytest.approx(silent_at)

    async def test_a_wait_that_was_given_up_is_a_part_of_the_silence(self) -> None:
        """Only the time until the next wait is not."""
        silence, started_at = Silence(streams=1), anyio.current_time()
        pipe = silence.listen_to(OneChunk(HOURS))

        async def read() -> None:
            with anyio.move_on_after(4):
                await pipe.receive()
            await anyio.sleep(100)
            await pipe.receive()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await silence.wait(10)
            tasks.cancel_scope.cancel()
        assert anyio.current_time() - started_at == pytest.approx(4 + 100 + 6)

    async def test_a_hung_command_was_up_until_its_last_output(self) -> None:
        """So a service that hangs once a week is restarted each time."""
        launcher = FakeLauncher(default=Script(exit=None))
        policy = RestartPolicy("on-failure", max_restarts=1, delay=0, reset_after=20)
        command = Command(["c"], idle_timeout=10, restart=policy)
        async with Runner([command], launcher=launcher) as runner:
            async for message in runner:
                if isinstance(message, Started) and message.attempt < 5:
                    for _ in range(5):  # up for 25 seconds
                        await anyio.sleep(5)
                        launcher["c"].write(b"x")
                elif isinstance(message, Started):
                    runner.kill()
        assert runner.results["c"].attempts == 5  # in spite of max_restarts

    async def test_a_command_that_is_silent_from_the_start_was_not_up(self) -> None:
        """So it gives up after `max_restarts`, however long the limit is."""
        launcher = FakeLauncher(default=Script(exit=None))
        policy = RestartPolicy("on-failure", max_restarts=1, delay=0, reset_after=20)
        async with Runner([Command(["c"], idle_timeout=60, restart=policy)], launcher=launcher):
            pass
        assert len(launcher.launched) == 2

    async def test_a_pause_of_the_program_is_no_silence(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a pause, as by Ctrl-Z and fg, the command has the whole time again."""
        launcher = FakeLauncher(default=Script(exit=None))
        pauses = iter([3600.0])

        async def sleep_until(deadline: float) -> None:
            await anyio.sleep(deadline + next(pauses, 0.0) - anyio.current_time())

        async with Runner([Command(["c"], idle_timeout=10)], launcher=launcher) as runner:
            monkeypatch.setattr("currant._channel.silence.anyio.sleep_until", sleep_until)
            began = anyio.current_time()
            await runner["c"].wait()
            assert anyio.current_time() - began == pytest.approx(3600 + 10 + 10)


async def test_output_that_was_not_read_yet_ends_a_silence() -> None:
    """If the event loop was busy when the time was over, the reader comes before the verdict."""
    ours, theirs = os.pipe()
    silence = Silence(streams=1)
    pipe = silence.listen_to(OutputPipe(ours))
    written, read = 0, 0

    async def read_all() -> None:
        nonlocal read
        while True:
            read += len(await pipe.receive())

    async def watch() -> None:
        while True:
            await silence.wait(0.04)
            assert read == written

    with fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all)
            tasks.start_soon(watch)
            await anyio.wait_all_tasks_blocked()
            for _ in range(20):
                written += os.write(theirs, b"x")
                time.sleep(0.05)  # noqa: ASYNC251 - the event loop is busy
                for _ in range(5):
                    await checkpoint()
            tasks.cancel_scope.cancel()
    await pipe.aclose()
    os.close(theirs)
    assert read > 0


@pytest.mark.parametrize("capture", [True, 5, Capture(head=1, tail=4)])
async def test_text_ends_before_a_character_that_the_limit_has_cut(
    capture: bool | int | Capture,
) -> None:
    """The bytes are exactly those of the limit, and the text has no U+FFFD at the cut."""
    fake = FakeLauncher({"c": Script(stdout="abcd€".encode())})
    command = Command(["c"], max_output=6, capture=capture)
    with fail_after(LIMIT):
        async with Runner([command], launcher=fake) as runner:
            pass
    result = runner.results["c"]
    assert (result.stdout or b"").endswith(b"cd\xe2\x82")
    assert result.text.endswith("cd")


async def test_text_shows_that_a_command_itself_ended_inside_a_character() -> None:
    """Nothing was cut, so the byte is invalid."""
    fake = FakeLauncher({"c": Script(stdout=b"abcd\xe2")})
    with fail_after(LIMIT):
        async with Runner([Command(["c"], max_output=6, capture=True)], launcher=fake) as runner:
            pass
    assert runner.results["c"].text == "abcd\ufffd"


async def test_limits_that_are_not_reached_change_nothing() -> None:
    """The command ends as it would without limits, and at once."""
    command = Command(["seq", "3"], idle_timeout=HOURS, max_output=6, capture=Capture(head=100))
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            pass
    result = runner.results["seq"]
    assert (result.status, result.error, result.stdout) == ("succeeded", None, b"1\n2\n3\n")


async def test_failure_stops_the_others_before_the_last_output() -> None:
    """Only a success may still turn into a failure, so an exit code of 1 decides at once."""
    fake = FakeLauncher(
        {"a": Script(exit=1, leftovers=HOURS, ignores={SIGTERM}), "b": Script(exit=None)}
    )
    command = Command(["a"], max_output=100, grace=HOURS)
    with anyio.fail_after(LIMIT):
        async with Runner([command, "b"], launcher=fake, kill_others_on="failure") as runner:
            await runner.barrier.wait()
            assert runner["a"].state != "ended"
            fake["a"].leave_group()
