"""Talking to one command: its byte streams, its lines, and what it has written since."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.text import TextReceiveStream

from currant import (
    PIPE,
    Batch,
    Command,
    CommandError,
    ExpectError,
    Job,
    Line,
    LocalLauncher,
    OutputDiscardedError,
    RestartPolicy,
    Runner,
    StdinClosedError,
    WrongLoopError,
    open_process,
)
from currant._channel import channel
from currant._channel.track import CHUNK_OVERHEAD, KEPT
from currant._supervisor import job_conditions
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.streams import read_all
from tests.waiting import EXEC_FOREVER, FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from currant._values.lines import StreamName

pytestmark = pytest.mark.anyio

MANY = 200_000
NUMBERS = b"".join(b"%d\n" % number for number in range(1, MANY + 1))
SEQ = ["seq", str(MANY)]

BOUND = KEPT + 2 * 256 * 1024
"""The most that a command may be ahead of its reader: what is kept, and a chunk twice."""

JSON_RPC = """
import json, sys
while header := sys.stdin.buffer.readline():
    size = int(header.split(b":")[1])
    sys.stdin.buffer.readline()
    request = json.loads(sys.stdin.buffer.read(size))
    body = json.dumps({"id": request["id"], "result": request["params"]}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    sys.stdout.buffer.flush()
"""
"""Answers each request with its parameters, framed by a Content-Length and without a newline."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` is true, without a call of currant's, which would count as waiting."""
    while not condition():  # noqa: ASYNC110 - no event reports these conditions
        await anyio.sleep(0.001)


async def until_full(job: Job) -> None:
    """Wait until a command that writes without end waits for the reader of its stdout."""
    track = job._life.context.transcript._tracks["stdout"]
    await until(lambda: track.has_surplus)


# ---- byte streams ----


async def test_streams_carry_framed_messages() -> None:
    """JSON-RPC with Content-Length framing works with anyio's buffered stream, unchanged."""
    async with open_process([sys.executable, "-c", JSON_RPC]) as job:
        assert job.stdin is not None
        answers = BufferedByteReceiveStream(job.stdout)
        with anyio.fail_after(LIMIT):
            for number, text in enumerate(["a", "é" * 100_000, "\r\n\r\n"]):
                body = json.dumps({"id": number, "params": text}).encode()
                await job.stdin.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                header = await answers.receive_until(b"\r\n\r\n", 100)
                answer = json.loads(await answers.receive_exactly(int(header.split(b":")[1])))
                assert answer == {"id": number, "result": text}


async def test_streams_carry_text() -> None:
    """`TextReceiveStream` decodes characters that were cut between two chunks."""
    script = r"printf '\303'; printf x >&2; read line; printf '\251\n'"
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            assert await job.stderr.receive() == b"x"
            await job.send(b"\n")
            assert "".join([text async for text in TextReceiveStream(job.stdout)]) == "é\n"


@pytest.mark.parametrize("amount", [1, 65536])
async def test_receive_gives_at_most_the_bytes_asked_for(amount: int) -> None:
    """`receive` returns at least one byte and no more than `max_bytes`."""
    async with open_process(["echo", "hello"]) as job:
        chunks = []
        with anyio.fail_after(LIMIT), pytest.raises(anyio.EndOfStream):
            while True:
                chunks.append(await job.stdout.receive(amount))
    assert b"".join(chunks) == b"hello\n"
    assert all(0 < len(chunk) <= amount for chunk in chunks)
    with pytest.raises(ValueError, match="at least 1"):
        await job.stdout.receive(0)


@pytest.mark.slow
@pytest.mark.alone
async def test_short_processes_never_lose_a_byte() -> None:
    """Of 500 processes that print 64 KiB and exit, all output is had after the exit."""
    script = "head -c 65532 /dev/zero; printf %04d $CURRANT_REPLICA"
    many = Command.shell(script, name="short", replicas=500)
    async with Runner([many], max_processes=20, iterable=False) as runner:
        with anyio.fail_after(4 * LIMIT):
            await runner.join()
    for number, job in enumerate(runner.jobs.values(), 1):
        assert await read_all(job.stdout) == bytes(65532) + b"%04d" % number
        assert await read_all(job.stderr) == b""


async def test_late_reader_of_a_block_gets_all_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `open_process` the command waits for the first `receive`, however late it comes."""
    impatient = partial(LocalLauncher, _limits=ShutdownLimits(unread=0.001))
    monkeypatch.setattr("currant._open.LocalLauncher", impatient)
    async with open_process(SEQ) as job:
        await until_full(job)
        await anyio.sleep(0.05)  # A Runner's patience would be over.
        assert job.since().mark <= BOUND
        with anyio.fail_after(LIMIT):
            assert await read_all(job.stdout) == NUMBERS


async def test_slow_reader_slows_the_command() -> None:
    """A command of 10 MB is never far ahead of its reader, and no byte is lost."""
    size, read = 10_000_000, 0
    async with open_process(["head", "-c", str(size), "/dev/zero"]) as job:
        with anyio.fail_after(LIMIT):
            async for chunk in job.stdout:
                read += len(chunk)
                assert job.since().mark - read <= BOUND
                await checkpoint()
    assert read == size


async def test_stream_that_no_task_reads_does_not_hold_up_the_other() -> None:
    """A command that floods stderr goes on while only its stdout is read."""
    script = f"head -c 3000000 /dev/zero >&2; echo done; {EXEC_FOREVER}"
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            assert await job.stdout.receive() == b"done\n"
            with pytest.raises(OutputDiscardedError, match="bytes of the stderr of 'sh'") as raised:
                await job.stderr.receive()
            count = raised.value.size
            while count < 3_000_000:  # The last bytes may still be in the pipe.
                count += len(await job.stderr.receive())
        assert count == 3_000_000


async def test_reader_is_told_of_output_that_it_came_too_late_for() -> None:
    """Output that was gone before the stream was taken is told once, then the rest comes."""
    async with Runner([SEQ], iterable=False) as runner:
        await runner.join()
    stream = runner["seq"].stdout
    with pytest.raises(OutputDiscardedError) as raised:
        await stream.receive()
    rest = await read_all(stream)
    assert raised.value.size + len(rest) == len(NUMBERS)
    assert NUMBERS.endswith(rest)
    assert len(rest) >= KEPT


async def test_unread_stream_does_not_block_a_wait() -> None:
    """`Job.wait` returns although the task that waits has taken a stream and not read it."""
    async with open_process(SEQ) as job:
        with anyio.fail_after(LIMIT):
            assert (await job.wait()).status == "succeeded"
        with pytest.raises(OutputDiscardedError):
            await job.stdout.receive()


async def test_wait_in_another_task_does_not_discard_output() -> None:
    """A task that reads slowly loses nothing if another task waits for the command."""
    async with open_process(SEQ) as job, anyio.create_task_group() as tasks:
        tasks.start_soon(job.wait)
        data = b""
        with anyio.fail_after(LIMIT):
            async for chunk in job.stdout:
                data += chunk
                await checkpoint()
    assert data == NUMBERS


async def test_taken_stream_in_a_runner_is_given_up_after_a_while() -> None:
    """In a Runner, a stream that was taken and never read does not block the command for good."""
    launcher = LocalLauncher(_limits=ShutdownLimits(unread=0.01))
    async with Runner([SEQ], launcher=launcher, iterable=False) as runner:
        stream = runner["seq"].stdout
        with anyio.fail_after(LIMIT):
            await until(lambda: runner["seq"].result)
        with pytest.raises(OutputDiscardedError):
            await stream.receive()


@pytest.mark.parametrize("has_begun", [False, True])
async def test_kill_works_however_full_a_stream_is(has_begun: bool) -> None:
    """A command that waits for an absent or a sleeping reader is stopped like any other."""
    async with Runner(["yes"], iterable=False, unread="wait") as runner:
        job = runner["yes"]
        stream = job.stdout
        with anyio.fail_after(LIMIT):
            if has_begun:
                await stream.receive(1)
            await until_full(job)
            runner.kill()
            await runner.join()
        assert job.result is not None
        assert job.result.status == "stopped"


async def test_leaving_the_block_does_not_wait_for_another_reader() -> None:
    """An exception leaves a block although a reader in an outer task never reads again."""

    async def read_once(job: Job) -> None:
        await job.stdout.receive(1)
        await anyio.sleep_forever()

    with anyio.fail_after(LIMIT) as limit:
        async with anyio.create_task_group() as tasks:
            with pytest.raises(ZeroDivisionError):
                async with open_process("yes") as job:
                    tasks.start_soon(read_once, job)
                    await until_full(job)
                    raise ZeroDivisionError
            assert not limit.cancel_called  # That would end the reader.
            tasks.cancel_scope.cancel()


async def test_leaving_the_block_does_not_wait_for_a_reader_that_waits_for_the_body() -> None:
    """A reader that hands each chunk to the body cannot go on when the body has ended."""
    send, receive = anyio.create_memory_object_stream[bytes](0)

    async def hand_over(job: Job) -> None:
        with suppress(anyio.BrokenResourceError):
            async for chunk in job.stdout:
                await send.send(chunk)

    with anyio.fail_after(LIMIT) as limit:
        async with send, anyio.create_task_group() as tasks:
            async with open_process("yes") as job:
                tasks.start_soon(hand_over, job)
                await receive.receive()
                await until_full(job)
            assert not limit.cancel_called  # That would end the reader.
            receive.close()


async def test_reader_that_goes_on_gets_the_end_after_the_block() -> None:
    """A reader in an outer task is not cut off when the block stops a chatty command."""
    received: list[bytes] = []

    async def read(job: Job) -> None:
        async for chunk in job.stdout:
            received.append(chunk)
            await checkpoint()

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks, open_process("yes") as job:
            tasks.start_soon(read, job)
            await until_full(job)
    assert sum(map(len, received)) == job.since().mark


async def test_output_of_ended_commands_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many commands that have ended, the output of the last is kept, and of those being read."""
    monkeypatch.setattr(channel, "MAX_ENDED", 2.5 * (CHUNK_OVERHEAD + 100))
    monkeypatch.setattr(channel, "TRANSCRIPT_SIZE", 0)
    async with Runner(iterable=False) as runner:
        for number in range(5):
            job = runner.start_soon(Command(["printf", "%0100d", str(number)], name=f"c{number}"))
            if number == 0:
                stream = job.stdout
            await job.wait()
    jobs = runner.jobs.values()
    assert [len(job.since().data) for job in jobs] == [100, 0, 0, 100, 100]
    assert [job.since().omitted for job in jobs] == [0, 100, 100, 0, 0]
    assert len(await read_all(stream)) == 100
    late = runner["c1"]
    with pytest.raises(OutputDiscardedError, match="100 bytes"):
        await late.stdout.receive()
    with pytest.raises(anyio.EndOfStream):
        await late.stdout.receive()
    with pytest.raises(OutputDiscardedError, match="100 bytes"):
        await anext(late.lines())
    with pytest.raises(ExpectError):
        await late.expect("0")


async def test_closed_stream_lets_the_command_go_on() -> None:
    """After `aclose` the command no longer waits, and a pending or later `receive` says so."""
    async with open_process(Command.shell(f"read go; seq {MANY}")) as job:

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await job.stdout.receive()

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                await job.stdout.aclose()
            await job.send(b"\n")
            await until(lambda: job.result)
            await receive()
        assert job.stdout is job.stdout


async def test_cancelled_receive_loses_no_byte() -> None:
    """Whenever `receive` is cancelled, the bytes received before and after are all bytes."""
    data = b""
    async with open_process(SEQ) as job:
        with anyio.fail_after(LIMIT):
            for number in count():
                scope = anyio.CancelScope(deadline=anyio.current_time() + number % 7 * 1e-5)
                try:
                    with scope:
                        data += await job.stdout.receive(1000)
                    data += await job.stdout.receive(4000)
                except anyio.EndOfStream:
                    break
    assert data == NUMBERS


async def test_unread_bytes_are_had_after_the_block() -> None:
    """What fits into the transcript can be received after the command and the block have ended."""
    async with open_process(Command.shell("printf out; printf err >&2")) as job:
        await job.wait()
    assert await read_all(job.stdout) == b"out"
    assert await read_all(job.stderr) == b"err"


async def test_stream_goes_on_through_restarts() -> None:
    """A stream has the output of all attempts, and ends with the command."""
    scripts = [Script(stdout=b"one,", exit=1), Script(stdout=b"two,", exit=1), Script(stdout=b"3")]
    launcher = FakeLauncher({"a": scripts})
    async with Runner({"a": "a"}, launcher=launcher, restart="on-failure") as runner:
        with anyio.fail_after(LIMIT):
            assert await read_all(runner["a"].stdout) == b"one,two,3"


async def test_stream_does_not_end_while_a_restart_may_follow() -> None:
    """A command that closes its output, and may be restarted by its policy, may write again."""
    launcher = FakeLauncher({"a": [Script(stdout=b"one,", exit=None), Script(stdout=b"two")]})
    async with Runner({"a": "a"}, launcher=launcher, restart="on-failure") as runner:
        received: list[bytes] = []

        async def read() -> None:
            received.append(await read_all(runner["a"].stdout))

        await runner["a"].ready()
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                launcher["a"].close_output()
                await anyio.wait_all_tasks_blocked()
                launcher["a"].exit(1)
    assert received == [b"one,two"]


async def test_stream_goes_on_after_a_requested_restart() -> None:
    """A stream that has ended has output again if the command is restarted on request."""
    launcher = FakeLauncher({"a": [Script(stdout=b"one", exit=None), Script(stdout=b"two")]})
    async with Runner({"a": "a"}, launcher=launcher, iterable=False) as runner:
        job = runner["a"]
        await job.ready()
        launcher["a"].close_output()
        with anyio.fail_after(LIMIT):
            assert await read_all(job.stdout) == b"one"
            await job.restart()
            assert await job.stdout.receive() == b"two"


async def test_each_life_has_streams_of_its_own() -> None:
    """A command that is run again after its end has another stream, from its start."""
    async with Runner({"a": "echo hello"}, keep_open=True, iterable=False) as runner:
        job = runner["a"]
        await job.wait()
        first = job.stdout
        await job.restart()
        assert job.stdout is not first
        with anyio.fail_after(LIMIT):
            assert await read_all(first) == await read_all(job.stdout) == b"hello\n"
        runner.kill()


async def test_stream_ends_when_the_command_closes_it() -> None:
    """If no restart can follow, the end of the pipe is the end, though the process runs on."""
    script = f"echo bye; exec >&- 2>&-; {EXEC_FOREVER}"
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            assert await read_all(job.stdout) == b"bye\n"
            assert await read_all(job.stderr) == b""
        assert job.state == "running"


async def test_streams_of_a_command_that_never_starts_end() -> None:
    """A command that cannot be started has no output and no input."""
    launcher = FakeLauncher({"a": Script(error="no such program")})
    command = Command(["a"], stdin=PIPE)
    async with Runner([command], launcher=launcher, iterable=False) as runner:
        job = runner["a"]
        with anyio.fail_after(LIMIT):
            assert await read_all(job.stdout) == b""
            assert job.stdin is not None
            with pytest.raises(anyio.BrokenResourceError, match="no such program"):
                await job.stdin.send(b"x")


async def test_all_readers_get_all_output() -> None:
    """The streams, the lines, the Runner's iteration, a sink and the capture share no byte."""
    in_sink: list[bytes] = []
    lines: list[Line] = []
    in_stream: list[bytes] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        in_sink.extend([m.data async for m in messages if isinstance(m, Batch)])

    async def read_lines() -> None:
        lines.extend([line async for line in runner["seq"].lines()])

    async def read_stream() -> None:
        in_stream.append(await read_all(runner["seq"].stdout))

    with anyio.fail_after(LIMIT):
        async with (
            Runner([SEQ], sinks=[sink], capture=True) as runner,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(read_lines)
            tasks.start_soon(read_stream)
            messages = [message async for message in runner]
    iterated = [message for message in messages if isinstance(message, Line)]
    assert b"".join(line.data + line.ending for line in iterated) == NUMBERS
    assert b"".join(line.data + line.ending for line in lines) == NUMBERS
    assert b"".join(in_sink) == b"".join(in_stream) == runner.results["seq"].stdout == NUMBERS


async def test_terminal_has_one_stream_and_an_input() -> None:
    """On a terminal all output is stdout, stderr ends at once, and stdin types."""
    async with open_process(Command(["cat"], pty=True)) as job:
        assert job.stdin is not None
        with anyio.fail_after(LIMIT):
            assert await read_all(job.stderr) == b""
            await job.stdin.send(b"hi\n")
            received = BufferedByteReceiveStream(job.stdout)
            assert await received.receive_exactly(8) == b"hi\r\nhi\r\n"
            await job.stdin.aclose()
            assert (await job.wait()).status == "succeeded"


@pytest.mark.backends("asyncio", "uvloop")
async def test_stream_may_be_taken_in_a_callback_of_the_event_loop() -> None:
    """Such a callback is in no task."""
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with Runner([["echo", "hi"]], iterable=False) as runner:

        def take() -> None:
            stdout = runner["echo"].stdout
            asyncio.ensure_future(read_all(stdout)).add_done_callback(
                lambda task: taken.set_result(task.result())
            )

        asyncio.get_running_loop().call_soon(take)
        with anyio.fail_after(LIMIT):
            assert await taken == b"hi\n"


async def test_streams_refuse_another_thread() -> None:
    """Receiving and sending from elsewhere than the Runner's loop raise an error."""
    async with open_process("cat") as job:
        assert job.stdin is not None
        calls: list[Any] = [job.stdout.receive(), job.stdin.send(b"x"), job.stdin.aclose()]
        calls.append(anext(job.lines()))

        def call() -> None:
            for step in calls:
                with pytest.raises(WrongLoopError):
                    step.send(None)

        await anyio.to_thread.run_sync(call)


# ---- stdin ----


async def test_stdin_stream_raises_the_errors_of_anyio() -> None:
    """`send` raises ClosedResourceError after `aclose`, and the command reads end-of-file."""
    async with open_process("cat") as job:
        assert job.stdin is not None
        with anyio.fail_after(LIMIT):
            await job.stdin.send(b"hello")
            await job.stdin.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await job.stdin.send(b"more")
            assert await read_all(job.stdout) == b"hello"


async def test_stdin_stream_says_how_the_command_ended() -> None:
    """The error of a broken stdin, of the stream and of `send`, has the exit and the last lines."""
    script = Command.shell("echo bad option >&2; exit 3")
    async with open_process(script) as job:
        assert job.stdin is not None
        await job.wait()
        with pytest.raises(anyio.BrokenResourceError, match="exit code 3\n    stderr: bad option"):
            await job.stdin.send(b"x")
        with pytest.raises(StdinClosedError) as raised:
            await job.send(b"x")
        assert raised.value.exit is not None
        assert raised.value.exit.code == 3
        assert [line.text for line in raised.value.tail] == ["bad option"]


async def test_pipe_that_was_closed_by_the_job_is_closed_for_the_stream() -> None:
    """After `Job.close_stdin`, the stream raises ClosedResourceError while the command runs."""
    async with open_process(Command.shell(EXEC_FOREVER)) as job:
        assert job.stdin is not None
        await job.close_stdin()
        with anyio.fail_after(LIMIT), pytest.raises(anyio.ClosedResourceError):
            await job.stdin.send(b"x")


async def test_send_that_the_end_of_the_command_breaks_off_is_broken() -> None:
    """The pipe is not closed here, even if the exit is noticed before the end of the pipe."""

    async def send(job: Job) -> None:
        assert job.stdin is not None
        with pytest.raises(anyio.BrokenResourceError):
            await job.stdin.send(bytes(1_000_000))

    with anyio.fail_after(LIMIT):
        for _ in range(6):
            async with open_process(FOREVER) as job, anyio.create_task_group() as tasks:
                pid = job.pid
                assert pid is not None
                tasks.start_soon(send, job)
                await anyio.wait_all_tasks_blocked()
                os.kill(pid, SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - keeps it busy


async def test_stdin_waits_for_the_start() -> None:
    """Sending to a command that is queued waits until it runs."""
    cat = Command(["cat"], stdin=PIPE)
    async with Runner(max_processes=1, iterable=False, on_exit="stop") as runner:
        first = runner.start_soon(Command.parse("cat", name="first", stdin=PIPE))
        queued = runner.start_soon(cat)
        assert queued.stdin is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queued.stdin.send, b"hello")
            await anyio.wait_all_tasks_blocked()
            await first.close_stdin()
        with anyio.fail_after(LIMIT):
            assert await queued.stdout.receive() == b"hello"


async def test_fake_process_can_be_talked_to() -> None:
    """A conversation with a process that a test plays by hand works like any other."""
    launcher = FakeLauncher(default=Script(exit=None))
    chat = Command(["chat"], stdin=PIPE)
    async with Runner([chat], launcher=launcher, iterable=False, on_exit="stop") as runner:
        job = runner["chat"]
        assert job.stdin is not None
        with anyio.fail_after(LIMIT):
            await job.stdin.send(b"hello")
            assert launcher["chat"].received == b"hello"
            launcher["chat"].write(b"name? ")
            launcher["chat"].write(b"no name\n", "stderr")
            await job.expect("name")
            assert await job.stdout.receive() == b"name? "
            launcher["chat"].exit(3)
            assert [line.text async for line in job.lines("stderr")] == ["no name"]
            assert await job.until("exit") == "exit"


async def test_command_without_a_pipe_has_no_stdin() -> None:
    """A command that reads ``/dev/null`` or given bytes has no stream to write to."""
    async with Runner(["true", Command(["cat"], stdin=b"hi")], iterable=False) as runner:
        assert runner["true"].stdin is None
        assert runner["cat"].stdin is None


# ---- lines ----


async def test_lines_come_from_the_start_and_end_with_the_command() -> None:
    """`lines` has the lines written before the call, with stream and ending, and then ends."""
    script = Command.shell(r"echo one; read go; echo two >&2; printf 'three\r\n'; printf end")
    async with open_process(script) as job:
        with anyio.fail_after(LIMIT):
            await until(lambda: job.since().mark)
            await job.send(b"\n")
            lines = [line async for line in job.lines()]
    assert sorted((line.stream, line.data, line.ending) for line in lines) == [
        ("stderr", b"two", b"\n"),
        ("stdout", b"end", b""),
        ("stdout", b"one", b"\n"),
        ("stdout", b"three", b"\r\n"),
    ]
    assert lines[0].command == "sh"
    assert lines[0].time > 0


async def test_lines_go_on_after_a_break() -> None:
    """A loop that is left loses no line: the next loop goes on with the next line."""
    seen: list[str] = []
    async with open_process(SEQ) as job:
        with anyio.fail_after(LIMIT):
            for size in count(1):
                before = len(seen)
                async for line in job.lines():
                    seen.append(line.text)
                    if len(seen) - before == size * size:
                        break
                else:
                    break
    assert seen == NUMBERS.decode().split()


async def test_late_loop_goes_on_after_the_unfinished_last_line_of_a_stream() -> None:
    """What the other stream has written after such a line is not lost."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["tool"], launcher=launcher, iterable=False) as runner:
        with anyio.fail_after(LIMIT):
            await runner["tool"].until_started()
            launcher["tool"].write(b"99 %")
            launcher["tool"].write(b"one\ntwo", "stderr")
            launcher["tool"].exit(1)
            await runner["tool"].wait()
            lines = [line.text async for line in runner["tool"].lines()]
    assert lines == ["99 %", "one", "two"]


async def test_lines_of_one_stream_leave_the_other_alone() -> None:
    """A loop over one stream takes no line of the other."""
    async with open_process(Command.shell("seq 3; seq 4 6 >&2")) as job:
        with anyio.fail_after(LIMIT):
            assert [line.text async for line in job.lines("stderr")] == ["4", "5", "6"]
            assert [line.text async for line in job.lines()] == ["1", "2", "3"]
            assert [line.text async for line in job.lines()] == []


async def test_lines_keep_the_limit_and_the_flush_of_the_command() -> None:
    """`line_limit` cuts long lines, and `flush_after` gives an unfinished one."""
    script = "printf 'Name: '; read name; echo hello $name and welcome"
    command = Command.shell(script, line_limit=10, flush_after=0.01)
    async with open_process(command) as job:
        with anyio.fail_after(LIMIT):
            async for line in job.lines():
                assert (line.data, line.ending) == (b"Name: ", b"")
                break
            await job.send(b"Bob\n")
            rest = [(line.data, line.ending) async for line in job.lines()]
    assert rest == [(b"hello Bob ", b""), (b"and welcom", b""), (b"e", b"\n")]


async def test_unfinished_line_is_given_at_once_if_asked_for() -> None:
    """With ``flush_after=0``, each piece is given as it comes."""
    async with open_process(Command.shell("printf a; read x; printf b", flush_after=0)) as job:
        with anyio.fail_after(LIMIT):
            async for line in job.lines():
                assert line.data == b"a"
                break
            await job.send(b"\n")
            assert [line.data async for line in job.lines()] == [b"b"]


async def test_lines_of_a_large_piece_yield_to_other_tasks() -> None:
    """A piece may have a hundred thousand lines, and other tasks run in between."""
    turns = most = since = last = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    launcher = FakeLauncher(default=Script(stdout=b"\n" * 100_000))
    async with (
        Runner({"a": "a"}, launcher=launcher, iterable=False) as runner,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(count_turns)
        async for _ in runner["a"].lines():
            since = since + 1 if turns == last else 1
            last, most = turns, max(most, since)
        tasks.cancel_scope.cancel()
    assert 0 < most < 5_000


async def test_lines_tell_what_was_discarded() -> None:
    """A loop that comes too late raises an error, and the next one has the lines that are left."""
    async with Runner([SEQ], iterable=False) as runner:
        await runner.join()
    job = runner["seq"]
    with pytest.raises(OutputDiscardedError) as raised:
        async for _ in job.lines():
            pass
    rest = b"".join([line.data + line.ending async for line in job.lines()])
    assert raised.value.size + len(rest) == len(NUMBERS)
    assert NUMBERS.endswith(rest)


async def test_line_that_a_gap_cuts_comes_before_the_gap() -> None:
    """The part before the gap is a line; if its loop is left there, the next one tells the gap."""
    launcher, rest = FakeLauncher(default=Script(exit=None)), b"later\n" * KEPT
    async with Runner({"a": "a"}, launcher=launcher, iterable=False, on_exit="stop") as runner:
        job = runner["a"]
        await job.ready()
        launcher["a"].write(b"one\npart")
        with anyio.fail_after(LIMIT):
            async for line in job.lines():
                assert line.data == b"one"
                break
            launcher["a"].write(rest)
            launcher["a"].exit(0)
            await job.wait()
            async for line in job.lines():
                assert (line.data, line.ending) == (b"part", b"")
                break
            with pytest.raises(OutputDiscardedError):  # The loop that was left has not told it.
                await anext(aiter(job.lines()))
            assert {line.data async for line in job.lines()} >= {b"later"}


async def test_long_line_beyond_what_is_kept_comes_whole() -> None:
    """A line of 1 MB comes in one piece if the `line_limit` allows it."""
    script = "head -c 1000000 /dev/zero | tr '\\0' x; echo"
    async with open_process(Command.shell(script, line_limit=2_000_000)) as job:
        with anyio.fail_after(LIMIT):
            assert [len(line.data) async for line in job.lines()] == [1_000_000]


async def test_loop_over_lines_that_was_left_does_not_hold_up_the_command() -> None:
    """After a break, the command goes on although no task reads its lines."""
    async with Runner([SEQ], iterable=False, unread="wait") as runner:
        job = runner["seq"]
        with anyio.fail_after(LIMIT):
            async for _ in job.lines():
                break
            await until(lambda: job.result)


@pytest.mark.parametrize("call", ["since", "next_output"])
async def test_command_goes_on_once_its_output_was_looked_at(call: str, tmp_path: Path) -> None:
    """Such a reader counts what it has missed, so a command waits for no other one either."""
    os.mkfifo(tmp_path / "done")
    script = f"echo listening; head -c 1000000 /dev/zero; echo served >'{tmp_path}/done'"
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            await job.next_output() if call == "next_output" else job.since()
            assert await anyio.Path(tmp_path / "done").read_text() == "served\n"


async def test_line_that_its_stream_cuts_short_comes_at_once() -> None:
    """The other stream may go on for long."""
    script = f"printf 'panic: no config' >&2; exec 2>&-; {EXEC_FOREVER}"
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            line = await anext(aiter(job.lines()))
    assert (line.stream, line.data, line.ending) == ("stderr", b"panic: no config", b"")


async def test_next_output_after_the_mark_of_an_earlier_life_is_that_of_this_one() -> None:
    """It does not wait until this life has written as much as the last one."""
    launcher = FakeLauncher(default=Script(stdout=b"up\n", exit=None))
    async with Runner([["c"]], launcher=launcher, iterable=False, on_exit="stop") as runner:
        with anyio.fail_after(LIMIT):
            excerpt = await runner["c"].next_output(5000)
    assert (excerpt.data, excerpt.mark) == (b"up\n", 3)


async def test_cancelled_step_over_lines_does_not_hold_up_the_command() -> None:
    """After a cancelled step the command goes on, though the iterator still exists."""
    command = Command.shell(f"read go; seq {MANY}", stdin=PIPE)
    async with Runner([command], iterable=False, unread="wait") as runner:
        job = runner["sh"]
        lines = job.lines()
        with anyio.fail_after(LIMIT):
            with anyio.move_on_after(0.001):
                await anext(lines)
            await job.send(b"\n")
            await until(lambda: job.result)
        with pytest.raises(OutputDiscardedError):
            await anext(lines)


async def test_cancelled_step_leaves_the_iterator_to_another_task() -> None:
    """The command still waits for the other task, which shares the iterator and reads slowly."""
    numbers: list[int] = []
    cancelled, may_go_on = anyio.CancelScope(), anyio.Event()

    async def read(scope: anyio.CancelScope) -> None:
        with scope:
            async for line in lines:
                numbers.append(int(line.text))
                await may_go_on.wait()

    with anyio.fail_after(LIMIT):
        async with (
            open_process(Command.shell("read go; seq 100000")) as job,
            anyio.create_task_group() as tasks,
        ):
            lines = job.lines()
            tasks.start_soon(read, cancelled)
            tasks.start_soon(read, anyio.CancelScope())
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel()
            await job.send(b"\n")
            assert await job.until("exit", timeout=0.3) is None
            may_go_on.set()
    assert numbers == list(range(1, 100_001))


async def test_cancelled_loop_over_lines_loses_no_line() -> None:
    """Whenever a step of the loop is cancelled, each line is given once."""
    seen: list[str] = []
    async with open_process(["seq", "20000"]) as job:
        with anyio.fail_after(LIMIT):
            for number in count():
                with anyio.move_on_after(number % 7 * 1e-5):
                    async for line in job.lines():
                        seen.append(line.text)
                        if len(seen) % 7 == 0:
                            await checkpoint()
                    break
                async for line in job.lines():
                    seen.append(line.text)
                    break
    assert seen == [str(number) for number in range(1, 20001)]


# ---- since ----


async def test_since_gives_what_came_after_the_mark() -> None:
    """Each excerpt begins at the mark of the one before, whoever else reads the output."""
    script = "while read word; do echo $word; echo $word >&2; done"
    async with open_process(Command.shell(script)) as job:
        mark, texts = 0, []
        with anyio.fail_after(LIMIT):
            for word in ("one", "two"):
                await job.send(word.encode() + b"\n")
                await until(lambda: job.since(mark).data.count(b"\n") == 2)  # noqa: B023 - at once
                excerpt = job.since(mark)
                mark = excerpt.mark
                texts.append((excerpt.stdout, excerpt.stderr, len(excerpt.text)))
    assert texts == [(b"one\n", b"one\n", 8), (b"two\n", b"two\n", 8)]
    assert job.since(mark).data == b""
    assert job.since().text.count("one") == 2


async def test_since_counts_what_is_no_longer_kept() -> None:
    """`omitted` and the bytes together are all that has come."""
    async with Runner([SEQ], iterable=False) as runner:
        await runner.join()
        excerpt = runner["seq"].since()
    assert excerpt.omitted + len(excerpt.data) == excerpt.mark == len(NUMBERS)
    assert NUMBERS.endswith(excerpt.data)


@pytest.mark.parametrize("mark", [-1, "0", None, True])
async def test_invalid_mark_is_refused(mark: Any) -> None:
    """A mark is an integer >= 0."""
    async with Runner(["true"], iterable=False) as runner:
        with pytest.raises(CommandError, match="command 'true': since: mark must be"):
            runner["true"].since(mark)
        with pytest.raises(CommandError, match="command 'true': next_output: mark must be"):
            await runner["true"].next_output(mark)


async def test_next_output_waits_for_output_and_for_the_end() -> None:
    """Each excerpt has what came after the mark, without a line ending; the last one is empty."""
    script = "printf 'name? '; read name; printf \"hello $name\""
    seen, mark = [], 0
    async with open_process(Command.shell(script)) as job:
        with anyio.fail_after(LIMIT):
            while (excerpt := await job.next_output(mark)).data:
                seen.append(excerpt.data)
                mark = excerpt.mark
                if seen == [b"name? "]:
                    await job.send(b"joe\n")
            assert (await job.next_output(mark)).data == b""  # again, after the end
    assert b"".join(seen) == b"name? hello joe"


async def test_next_output_does_not_hold_the_command_up() -> None:
    """A reader that is late loses output, which `omitted` counts, and the command goes on."""
    async with Runner([SEQ], iterable=False) as runner:
        with anyio.fail_after(LIMIT):
            begin = await runner["seq"].next_output()
            await runner["seq"].wait()
            rest = await runner["seq"].next_output(begin.mark)
    assert begin.mark + rest.omitted + len(rest.data) == len(NUMBERS)


async def test_next_output_of_a_command_that_never_starts_is_empty() -> None:
    """A kill before the start is the end of the output."""
    async with Runner([SEQ], iterable=False, max_processes=1) as runner:
        queued = runner.start_soon(["cat"])
        queued.kill()
        with anyio.fail_after(LIMIT):
            assert (await queued.next_output()).data == b""


async def test_unknown_stream_is_refused() -> None:
    """`lines` names the streams that there are."""
    async with Runner(["true"], iterable=False) as runner:
        with pytest.raises(CommandError, match="command 'true': lines: stream must be 'stdout'"):
            runner["true"].lines("both")  # type: ignore[arg-type]


# ---- open_process ----


async def test_leaving_the_block_stops_the_command() -> None:
    """A command that would run on is stopped, with its descendants, and has its result."""
    async with open_process(Command.shell(f"{FOREVER} & {FOREVER}")) as job:
        assert job.state == "running"
    assert job.result is not None
    assert job.result.status == "stopped"


async def test_exception_of_the_body_leaves_unchanged() -> None:
    """The body's own exception leaves the block, not in a group."""
    with pytest.raises(ZeroDivisionError):
        async with open_process(FOREVER):
            raise ZeroDivisionError


async def test_cancelled_block_stops_the_command() -> None:
    """A cancellation of the surrounding scope stops the command."""
    with anyio.CancelScope() as scope:
        async with open_process(FOREVER) as job:
            scope.cancel()
            await anyio.sleep_forever()
    assert job.result is not None
    assert job.result.status == "stopped"


async def test_lines_of_two_attempts_are_not_joined() -> None:
    """What an attempt has left unfinished is a piece of its own."""
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0)
    command = Command.shell("printf part; exit 1", name="c", restart=policy)
    async with Runner([command], iterable=False) as runner:
        lines = [(line.data, line.ending) async for line in runner["c"].lines()]
    assert lines == [(b"part", b""), (b"part", b"")]


@pytest.mark.parametrize(
    ("options", "stream", "problem"),
    [
        ({"stderr": "stdout"}, "stderr", "its stderr goes elsewhere"),
        ({"pty": True}, "stderr", "its stderr goes elsewhere"),
        ({"stdout": Path(os.devnull)}, "stdout", "its stdout goes elsewhere"),
        ({"stdout": Path(os.devnull), "stderr": "stdout"}, None, "all output goes to files"),
    ],
)
async def test_stream_that_currant_does_not_read_is_an_error(
    options: dict[str, Any], stream: StreamName | None, problem: str
) -> None:
    """It would look like a stream that has ended, while the command runs."""
    async with open_process(Command(["sleep", "9999"], **options)) as job:
        with pytest.raises(CommandError, match=f"command 'sleep': lines: .* {problem}"):
            job.lines(stream)
        with pytest.raises(CommandError, match=f"command 'sleep': expect: .* {problem}"):
            await job.expect("x", stream=stream)


class Interrupt(BaseException):
    """What a signal handler raises, such as `KeyboardInterrupt`."""


async def test_interrupt_leaves_until_unwrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """On trio, Ctrl-C may land in any task, and would leave its task group in a group."""

    async def is_idle(*_: object) -> None:
        raise Interrupt

    monkeypatch.setattr(job_conditions, "_wait_for_silence", is_idle)
    async with open_process(FOREVER) as job:
        with pytest.raises(Interrupt):
            await job.until("idle", idle=1)
