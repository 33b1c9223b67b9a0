"""Test the console and the contract of sinks.

A sink loses no output, does not block commands or other sinks, and delays the end of the block
only for a limited time.
"""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import io
import os
import re
import resource
import select
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from currant import (
    Batch,
    BatchMessage,
    Command,
    CommandError,
    CurrantError,
    Exit,
    Exited,
    Failed,
    LaunchError,
    LocalLauncher,
    Restarting,
    RestartPolicy,
    Runner,
    Started,
)
from currant._values.shutdown_limits import ShutdownLimits
from currant.sinks import ConsoleSink
from currant.testing import FakeLauncher, Script
from tests.playing import err, exited, out, play
from tests.waiting import FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import Sink

pytestmark = pytest.mark.backends("asyncio", "trio")

Color = Literal["auto", "always", "never"]


async def console_output(
    messages: Sequence[BatchMessage], color: Color = "never"
) -> tuple[bytes, bytes]:
    """Return the console output for `messages`, on stdout and on stderr."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    await play(ConsoleSink(stdout, stderr, color=color), messages)
    return stdout.getvalue(), stderr.getvalue()


class Collector:
    """A sink that keeps every message."""

    def __init__(self) -> None:
        self.messages: list[BatchMessage] = []
        self.finished = False

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Keep messages until the stream ends."""
        async for message in messages:
            self.messages.append(message)
        self.finished = True

    def output_of(self, name: str, stream: str = "stdout") -> bytes:
        """Return the output of one command on one stream."""
        batches = [message for message in self.messages if isinstance(message, Batch)]
        return b"".join(b.data for b in batches if (b.command, b.stream) == (name, stream))


class Pipe:
    """A pipe whose write end is a file for a sink."""

    def __init__(self) -> None:
        self.fd, write_end = os.pipe()
        self.file = cast("BinaryIO", os.fdopen(write_end, "wb", buffering=0))

    def close(self) -> None:
        """Close both ends, unless they are closed already."""
        self.file.close()
        self.close_read_end()

    def close_read_end(self) -> None:
        """Close the read end."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    async def wait_until_full(self) -> None:
        """Wait until the pipe is full; this needs another task that writes to the pipe."""
        while select.select([], [self.file], [], 0)[1]:
            await checkpoint()

    async def read(self) -> bytes:
        """Wait for data and return the data, or empty bytes at the end of the file."""
        await anyio.wait_readable(self.fd)
        return os.read(self.fd, 65536)

    async def read_all(self, into: bytearray) -> None:
        """Read into `into` until the end of the file."""
        while data := await self.read():
            into += data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe without a reader."""
    pipe = Pipe()
    yield pipe
    pipe.close()


def seq_output(last: int) -> bytes:
    """Return the output of ``seq``, up to `last`."""
    return b"".join(b"%d\n" % number for number in range(1, last + 1))


def with_prefix(name: str, text: bytes) -> bytes:
    """Return `text` with the prefix of command `name` before each line."""
    return b"".join(f"{name} | ".encode() + line for line in text.splitlines(keepends=True))


# ---- console output ----


@pytest.mark.anyio
async def test_console_prefixes_each_line_with_the_name_of_its_command() -> None:
    """The console writes stdout to stdout and stderr to stderr, each line after ``name | ``."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    commands = {"a": Command.shell("echo 1; echo 2"), "b": Command.shell("echo 3 >&2")}
    async with Runner(commands, sinks=[ConsoleSink(stdout, stderr)]) as runner:
        await runner.join()
    assert stdout.getvalue() == b"a | 1\na | 2\n"
    assert stderr.getvalue() == b"b | 3\n"


@pytest.mark.anyio
async def test_console_writes_to_stdout_and_stderr_of_the_host_by_default(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ConsoleSink without files writes to stdout and stderr of this process."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    await play(ConsoleSink(), [out("a", b"1\n"), err("a", b"2\n")])
    assert capfdbinary.readouterr() == (b"a | 1\n", b"a | 2\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("message", "note"),
    [
        (Started("a", 7, 1, 0.0), b""),
        (exited("a", Exit(0, None)), b""),
        (exited("a", Exit(3, None)), b"currant: a: exit code 3\n"),
        (exited("a", Exit(None, signal.SIGSEGV)), b"currant: a: SIGSEGV\n"),
        (exited("a", Exit(None, signal.SIGTERM, stopped=True)), b""),
        (exited("a", Exit(143, None, stopped=True)), b""),
        (Restarting("a", 2, 0.25, 0.0), b"currant: a: restarting in 0.2 s\n"),
        (
            Failed("a", LaunchError("a", "no memory"), 1, 0.0),
            b"currant: cannot start 'a': no memory\n",
        ),
    ],
)
async def test_failures_and_restarts_are_noted_on_stderr(
    message: BatchMessage, note: bytes
) -> None:
    """A failure or restart is one line on stderr; a success or a requested stop is not noted."""
    assert await console_output([message]) == (b"", note)


@pytest.mark.anyio
async def test_real_failure_restart_and_failed_start_are_noted(tmp_path: Path) -> None:
    """A real failure, its restart, and a failed start of a missing program are noted."""
    program = tmp_path / "once"
    program.write_text(f"#!/bin/sh\nrm '{tmp_path}/once'\nexit 3\n")
    program.chmod(0o755)
    stdout, stderr = io.BytesIO(), io.BytesIO()
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0, jitter=0)
    sinks = [ConsoleSink(stdout, stderr)]
    async with Runner({"a": [program]}, restart=policy, sinks=sinks):
        pass
    assert stdout.getvalue() == b""
    assert stderr.getvalue().decode().splitlines() == [
        "currant: a: exit code 3",
        "currant: a: restarting in 0.0 s",
        f"currant: cannot start 'a': the program '{program}' does not exist",
    ]


@pytest.mark.anyio
async def test_colours_differ_between_commands_and_apply_to_prefixes_only() -> None:
    """With "always", each command has a prefix colour of its own, and text and notes have none."""
    names = "abcdefgh"
    messages: list[BatchMessage] = [out(name, b"1\n2\n") for name in names]
    messages += [err("a", b"3\n"), exited("a", Exit(1, None))]
    stdout, stderr = await console_output(messages, "always")
    prefix = re.compile(rb"\x1b\[([0-9;]+)m(\w) \| \x1b\[0m(?=[123]\n)")
    found = prefix.findall(stdout)
    assert [name for _, name in found] == [name.encode() for name in names for _ in "12"]
    assert len(set(found)) == len({color for color, _ in found}) == len(names)
    assert prefix.findall(stderr) == [(found[0][0], b"a")]
    assert prefix.sub(rb"\2 | ", stderr) == b"a | 3\ncurrant: a: exit code 1\n"
    assert b"\x1b" not in prefix.sub(b"", stdout)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("color", "forced", "colored"),
    [
        ("always", False, True),
        ("never", True, False),
        ("auto", False, False),
        ("auto", True, True),
    ],
)
async def test_regular_file_is_coloured_only_on_request(
    monkeypatch: pytest.MonkeyPatch, color: Color, *, forced: bool, colored: bool
) -> None:
    """A file that is not a terminal is coloured with "always", or with "auto" and FORCE_COLOR."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    stdout, _ = await console_output([out("a", b"1\n")], color)
    assert (b"\x1b" in stdout) is colored


@pytest.mark.anyio
async def test_auto_never_colours_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console works without the extra `cli`, and "auto" then never colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert await console_output([out("a", b"1\n")], "auto") == (b"a | 1\n", b"")


def test_always_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich, ``color="always"`` raises an `ImportError` that says what to install."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'currant\[cli\]'") as raised:
        ConsoleSink(color="always")
    assert isinstance(raised.value, CurrantError)
    assert raised.value.name == "rich"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "stdout"),
    [
        pytest.param([out("a", b"1")], b"a | 1\n", id="at the end"),
        pytest.param([out("a", b"1"), out("a", b"2\n")], b"a | 12\n", id="goes on"),
        pytest.param([out("a", b"1"), out("a", b"\n2")], b"a | 1\na | 2\n", id="goes on and on"),
        pytest.param([out("a", b"1"), out("b", b"2\n")], b"a | 1\nb | 2\n", id="of another"),
        pytest.param(
            [out("a", b"1"), out("b", b"2"), out("a", b"3\n")],
            b"a | 1\nb | 2\na | 3\n",
            id="taken up again",
        ),
        pytest.param([out("a", b"1\r\n2\r3\n")], b"a | 1\na | 2\na | 3\n", id="CR and CR LF"),
        pytest.param([out("a", b"1\r")], b"a | 1\n", id="CR at the end"),
        pytest.param([out("a", b"\n\r\n\r")], b"a | \n" * 3, id="empty lines"),
        pytest.param([out("a", b"\0\xff\x1b[1m\n")], b"a | \0\xff\x1b[1m\n", id="any bytes"),
    ],
)
async def test_unfinished_line_continues_or_ends_before_other_output(
    messages: list[BatchMessage], stdout: bytes
) -> None:
    """An unfinished line continues without a prefix, or ends before a line of another command."""
    assert await console_output(messages) == (stdout, b"")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([out("a", b"1"), err("b", b"2\n")], b"a | 1\nb | 2\n"),
        ([out("a", b"1"), err("a", b"2\n")], b"a | 1\na | 2\n"),
        ([err("a", b"1"), out("a", b"2\n")], b"a | 1\na | 2\n"),
        ([out("a", b"1"), exited("b", Exit(3, None))], b"a | 1\ncurrant: b: exit code 3\n"),
    ],
)
async def test_unfinished_line_ends_before_the_other_stream_in_one_file(
    messages: list[BatchMessage], text: bytes
) -> None:
    """If stdout and stderr are one file, output of one is not appended to a line of the other."""
    both = io.BytesIO()
    await play(ConsoleSink(both, both), messages)
    assert both.getvalue() == text


BATCHES = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["stdout", "stderr"]),
        st.lists(st.sampled_from(["x", "xx", "\n"]), min_size=1, max_size=6),
    )
)


@given(BATCHES)
def test_each_console_line_belongs_to_one_command_and_no_byte_is_lost(
    batches: list[tuple[str, Literal["stdout", "stderr"], list[str]]],
) -> None:
    """For any batches, each line has one prefix and text of one command, and no text is lost."""
    messages: list[BatchMessage] = [
        Batch(name, stream, "".join(pieces).replace("x", name).encode(), 0.0)
        for name, stream, pieces in batches
    ]
    for stream, text in zip(("stdout", "stderr"), anyio.run(console_output, messages), strict=True):
        assert not text or text.endswith(b"\n")
        lines = text.decode().splitlines()
        assert all(re.fullmatch(r"a \| a*|b \| b*", line) for line in lines)
        for name in "ab":
            kept = "".join(line[4:] for line in lines if line.startswith(f"{name} | "))
            sent = [m.data for m in messages if isinstance(m, Batch) and m.stream == stream]
            assert kept.count(name) == b"".join(sent).decode().count(name)


@pytest.mark.anyio
async def test_undecodable_name_is_escaped() -> None:
    """The console escapes the bytes of a name that are not valid UTF-8."""
    assert await console_output([out("\udcff", b"1\n")]) == (b"\\udcff | 1\n", b"")


@pytest.mark.anyio
async def test_console_writes_to_a_gzip_file_through_its_write_method(tmp_path: Path) -> None:
    """A file object that transforms its data, as gzip does, gets the text, not its descriptor."""
    with gzip.open(tmp_path / "log.gz", "wb") as log:
        await play(ConsoleSink(cast("BinaryIO", log), io.BytesIO()), [out("a", b"1\n2\n")])
    assert gzip.decompress((tmp_path / "log.gz").read_bytes()) == b"a | 1\na | 2\n"


@pytest.mark.anyio
async def test_buffered_text_of_the_host_precedes_console_output(tmp_path: Path) -> None:
    """The console flushes the buffer of the file before it writes to the descriptor."""
    with (tmp_path / "log").open("wb") as log:
        log.write(b"host: begin\n")
        await play(ConsoleSink(log, io.BytesIO()), [out("a", b"1\n")])
        log.write(b"host: end\n")
    assert (tmp_path / "log").read_bytes() == b"host: begin\na | 1\nhost: end\n"


# ---- the console on pipes ----


@pytest.mark.anyio
async def test_console_writes_all_output_to_a_slow_pipe(pipe: Pipe) -> None:
    """No output is lost in a pipe that holds less than the output, whatever the reads."""
    written = bytearray()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pipe.read_all, written)
        sinks = [ConsoleSink(pipe.file, io.BytesIO())]
        async with Runner({"a": "seq 200000"}, sinks=sinks):
            pass
        pipe.file.close()
    assert bytes(written) == with_prefix("a", seq_output(200_000))


@pytest.mark.anyio
async def test_event_loop_keeps_running_while_a_pipe_is_full(pipe: Pipe) -> None:
    """Other tasks run while the console cannot write, and no output is lost afterwards."""
    written = bytearray()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            async with Runner({"a": "seq 200000"}, sinks=[ConsoleSink(pipe.file, io.BytesIO())]):
                await pipe.wait_until_full()
                for _ in range(100):  # the loop, threads, timers and processes all work
                    await checkpoint()
                assert await to_thread.run_sync(lambda: 1) == 1
                await anyio.sleep(0.001)
                assert (await anyio.run_process(["echo", "alive"])).stdout == b"alive\n"
                assert not select.select([], [pipe.file], [], 0)[1]
                tasks.start_soon(pipe.read_all, written)
            pipe.file.close()
    assert bytes(written) == with_prefix("a", seq_output(200_000))


@pytest.mark.anyio
async def test_kill_with_a_full_pipe_ends_the_command_and_loses_no_output(pipe: Pipe) -> None:
    """A kill works while the pipe is full, and output from before the kill is shown afterwards."""
    written = bytearray()
    async with anyio.create_task_group() as tasks:
        sinks = [ConsoleSink(pipe.file, io.BytesIO())]
        async with Runner({"a": "seq 100000000"}, sinks=sinks, buffer_size=1) as runner:
            await pipe.wait_until_full()
            pid = runner["a"].pid
            runner.kill()
            with anyio.fail_after(LIMIT):
                while await runner.send_signal(0):
                    await checkpoint()
            assert pid is not None
            tasks.start_soon(pipe.read_all, written)
        pipe.file.close()
    assert runner.results["a"].status == "stopped"
    lines = written.splitlines()
    # The last line may be half a number, because the kill can cut the output anywhere.
    assert lines[:-1] == with_prefix("a", seq_output(len(lines) - 1)).splitlines()
    assert f"a | {len(lines)}".encode().startswith(lines[-1])


@pytest.mark.anyio
async def test_broken_pipe_stops_the_commands_and_leaves_the_block(pipe: Pipe) -> None:
    """BrokenPipeError leaves the block unwrapped, and the commands are stopped."""
    pipe.close_read_end()
    with pytest.raises(BrokenPipeError):
        async with Runner(
            {"a": Command.shell(f"echo 1; {FOREVER}"), "b": FOREVER},
            sinks=[ConsoleSink(pipe.file, io.BytesIO())],
        ) as runner:
            await runner.join()
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
@pytest.mark.parametrize("number", [None, 2000])
async def test_nonblocking_file_loses_no_output(pipe: Pipe, number: int | None) -> None:
    """The console waits for a non-blocking pipe that is full, whatever its descriptor number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if number is not None and number >= hard != resource.RLIM_INFINITY:
        pytest.skip(f"needs a file descriptor {number}: raise 'ulimit -Hn'")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096) if number else soft, hard))
    try:
        if number is not None:
            moved = fcntl.fcntl(pipe.file, fcntl.F_DUPFD_CLOEXEC, number)
            pipe.file.close()
            pipe.file = cast("BinaryIO", os.fdopen(moved, "wb", buffering=0))
        os.set_blocking(pipe.file.fileno(), False)
        written = bytearray()
        async with anyio.create_task_group() as tasks:
            async with Runner({"a": "seq 100000"}, sinks=[ConsoleSink(pipe.file, io.BytesIO())]):
                await wait_until_full_by_poll(pipe)
                tasks.start_soon(pipe.read_all, written)
            pipe.file.close()
        assert bytes(written) == with_prefix("a", seq_output(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def wait_until_full_by_poll(pipe: Pipe) -> None:
    """Wait until the pipe is full; unlike `select`, `poll` accepts any descriptor number."""
    poll = select.poll()
    poll.register(pipe.file, select.POLLOUT)
    while poll.poll(0):
        await checkpoint()


# ---- sinks that raise, end early or are slow ----


class SinkBrokenError(Exception):
    """The error of a sink in these tests."""


def sink_that_raises(error: BaseException, after: int) -> Sink:
    """Make a sink that raises `error` after `after` messages."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        for _ in range(after):
            await messages.receive()
        raise error

    return sink


@pytest.mark.anyio
@pytest.mark.parametrize("after", [1, 2])
async def test_exception_of_a_sink_stops_all_commands_and_leaves_unwrapped(after: int) -> None:
    """If a sink raises, the barrier is thrown, the commands end and the block raises the error."""
    error = SinkBrokenError("mine")
    with pytest.raises(SinkBrokenError) as caught:
        async with Runner(
            {"a": Command.shell(f"echo 1; exec {FOREVER}"), "b": FOREVER},
            sinks=[sink_that_raises(error, after)],
        ) as runner:
            await runner.barrier.wait()
            assert "mine" in str(runner.barrier.reason)
    assert caught.value is error
    assert {job.state for job in runner.jobs.values()} == {"ended"}
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
async def test_sink_that_raises_before_its_first_message_throws_the_barrier() -> None:
    """An exception before the first message is treated like any other exception of a sink."""
    error = SinkBrokenError("mine")
    with pytest.raises(SinkBrokenError) as caught:
        async with Runner([FOREVER], sinks=[sink_that_raises(error, 0)]) as runner:
            await runner.barrier.wait()
    assert caught.value is error


@pytest.mark.anyio
async def test_exception_group_of_a_sink_leaves_unchanged() -> None:
    """An ExceptionGroup that a sink raises leaves the block as the same object."""
    error = ExceptionGroup("mine", [SinkBrokenError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with Runner(["a"], launcher=FakeLauncher(), sinks=[sink_that_raises(error, 1)]):
            pass
    assert caught.value is error


@pytest.mark.anyio
async def test_exception_of_a_sink_after_its_last_message_leaves_the_block() -> None:
    """A sink that raises after all commands have ended still makes the block raise."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            pass
        raise SinkBrokenError

    with pytest.raises(SinkBrokenError):
        async with Runner(["a"], launcher=FakeLauncher(), sinks=[sink]) as runner:
            await runner.join()
    assert runner.results.ok


@pytest.mark.anyio
async def test_exception_of_the_body_takes_precedence_over_one_of_a_sink() -> None:
    """If the body and a sink raise, the exception of the body leaves the block."""
    with pytest.raises(LookupError):
        async with Runner([FOREVER], sinks=[sink_that_raises(SinkBrokenError(), 1)]) as runner:
            await runner.barrier.wait()
            raise LookupError


@pytest.mark.anyio
async def test_exception_of_one_sink_does_not_affect_another_sink() -> None:
    """If one sink raises, the other sink still gets every message up to the exits."""
    collector = Collector()
    launcher = FakeLauncher(default=Script(stdout=b"1\n", exit=None))
    with pytest.raises(SinkBrokenError):
        async with Runner(
            ["a", "b"], launcher=launcher, sinks=[sink_that_raises(SinkBrokenError(), 3), collector]
        ) as runner:
            async for _ in runner:
                pass
    assert collector.finished
    types = [type(message) for message in collector.messages]
    assert (types.count(Started), types.count(Batch), types.count(Exited)) == (2, 2, 2)


async def return_after_first_message(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Return after the first message."""
    await messages.receive()


async def break_at_first_batch(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Leave the loop at the first batch."""
    async for message in messages:
        if isinstance(message, Batch):
            break


async def close_after_first_message(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Close the stream after the first message."""
    await messages.receive()
    await messages.aclose()


async def return_without_reading(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Return without taking a message."""


SINKS_THAT_END_EARLY = [
    return_after_first_message,
    break_at_first_batch,
    close_after_first_message,
    return_without_reading,
]


@pytest.mark.anyio
@pytest.mark.parametrize("sink", SINKS_THAT_END_EARLY)
async def test_early_end_of_a_sink_does_not_block_commands_or_other_sinks(sink: Sink) -> None:
    """If a sink ends early, the commands keep running and other sinks get every message."""
    collector = Collector()
    with anyio.fail_after(LIMIT):
        async with Runner({"a": "seq 500000"}, sinks=[sink, collector], buffer_size=1) as runner:
            await runner.join()
    assert runner.results.ok
    assert collector.output_of("a") == seq_output(500_000)


@pytest.mark.anyio
@pytest.mark.parametrize("sink", SINKS_THAT_END_EARLY)
async def test_early_end_of_a_sink_does_not_block_iteration(sink: Sink) -> None:
    """If a sink ends early, iteration over the Runner still gives all messages."""
    with anyio.fail_after(LIMIT):
        async with Runner({"a": "seq 200000"}, sinks=[sink], buffer_size=1) as runner:
            written = [m.data async for m in runner.batches() if isinstance(m, Batch)]
    assert b"".join(written) == seq_output(200_000)


@pytest.mark.anyio
async def test_slow_sink_puts_backpressure_on_commands_and_loses_no_output() -> None:
    """The output read from a command stays close to the output that a slow sink has taken."""
    taken = bytearray()
    ahead = []

    async def slow(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            if isinstance(message, Batch):
                taken.extend(message.data)
                for _ in range(50):
                    await checkpoint()
                ahead.append(int(runner["a"].tail[-1].text) - int(taken.split()[-1]))

    async with Runner({"a": "seq 1000000"}, sinks=[slow], buffer_size=1) as runner:
        pass
    assert bytes(taken) == seq_output(1_000_000)
    # At most four batches are in flight: in the sink, in the channel, and between the two.
    # Each has at most 256 KiB and the beginning of one line.
    assert max(ahead) <= 4 * (256 * 1024 + 8) // 6 < 200_000


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["scope", "cancel_scope"])
async def test_cancellation_limits_the_time_of_a_sink_after_all_exits(
    way: str,
) -> None:
    """If all commands have ended, a cancelled block still limits the time of each sink."""
    launcher = FakeLauncher(_limits=ShutdownLimits(sinks=0.05))
    ending = anyio.Event()

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            pass
        ending.set()
        await anyio.sleep_forever()

    async def cancel() -> None:
        await ending.wait()
        (scope if way == "scope" else runner.cancel_scope).cancel()

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                async with Runner(["a"], launcher=launcher, sinks=[sink], grace=0) as runner:
                    tasks.start_soon(cancel)
    assert runner.results["a"].status == "succeeded"


@pytest.mark.anyio
async def test_two_sinks_each_get_every_message_in_order() -> None:
    """Each of two sinks gets the start of each command, its output in order, and its exit."""
    first, second = Collector(), Collector()
    script = "seq 30000; seq 20000 >&2"
    commands = {"a": Command.shell(script), "b": Command.shell(script)}
    async with Runner(commands, sinks=[first, second]):
        pass
    for sink in (first, second):
        for name in commands:
            types = [type(message) for message in sink.messages if message.command == name]
            assert (types[0], types[-1]) == (Started, Exited)
            assert set(types[1:-1]) == {Batch}
            assert sink.output_of(name) == seq_output(30_000)
            assert sink.output_of(name, "stderr") == seq_output(20_000)


@pytest.mark.anyio
async def test_sinks_option_accepts_a_generator() -> None:
    """The option `sinks` accepts any iterable."""
    collectors = [Collector(), Collector()]
    sinks = (collector for collector in collectors)
    async with Runner(["a"], launcher=FakeLauncher(), sinks=sinks):
        pass
    assert [len(collector.messages) for collector in collectors] == [2, 2]


@pytest.mark.anyio
async def test_join_waits_until_each_sink_has_handled_all_messages() -> None:
    """join returns only when the sink asks for another message and none is left."""
    may_write = anyio.Event()
    written: list[BatchMessage] = []
    joined = anyio.Event()

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            await may_write.wait()
            written.append(message)

    async def join() -> None:
        await runner.join()
        assert len(written) == 3
        joined.set()

    launcher = FakeLauncher(default=Script(stdout=b"1\n"))
    with anyio.fail_after(LIMIT):
        async with (
            Runner(["a"], launcher=launcher, sinks=[sink]) as runner,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(join)
            await runner["a"].wait()
            await anyio.wait_all_tasks_blocked()
            assert not joined.is_set()
            may_write.set()
            await joined.wait()


@pytest.mark.anyio
async def test_block_waits_for_the_cleanup_of_a_sink() -> None:
    """The block waits for work of a sink after its last message, such as closing a file."""
    done = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            pass
        for _ in range(100):
            await checkpoint()
        done.append("closed")

    async with Runner(["a"], launcher=FakeLauncher(), sinks=[sink]) as runner:
        await runner.join()
        assert not done
    assert done == ["closed"]


@pytest.mark.anyio
@pytest.mark.parametrize("breaking", [False, True])
async def test_commands_with_sinks_do_not_block_without_a_reader(*, breaking: bool) -> None:
    """With sinks, a command writes ten megabytes without a reader and still ends."""
    over = anyio.Event()
    size = 0

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        nonlocal size
        async for message in messages:
            if isinstance(message, Batch):
                size += len(message.data)
        # The stream ends only when the block ends, so this sink cannot set `over` here.

    async def report_exit(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            if isinstance(message, Exited):
                over.set()

    command = Command.shell("yes 'a line of text' | head -c 10000000", name="a")
    with anyio.fail_after(LIMIT):
        async with Runner([command], sinks=[sink, report_exit]) as runner:
            if breaking:
                async for message in runner:
                    if not isinstance(message, Started):
                        break
            await over.wait()
    assert size == 10_000_000
    assert runner.results.ok


# ---- the end of the block has a time limit ----


@contextmanager
def finishes_within(seconds: float) -> Iterator[None]:
    """Fail if the body takes longer, without interrupting the body."""
    begin = anyio.current_time()
    yield
    assert anyio.current_time() - begin < seconds


async def hang_after_first_message(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Take one message, then hang."""
    await messages.receive()
    await anyio.sleep_forever()


async def hang_without_reading(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Hang without taking a message."""
    await anyio.sleep_forever()


@pytest.mark.anyio
@pytest.mark.parametrize("sink", [hang_after_first_message, hang_without_reading])
async def test_hanging_sink_does_not_delay_an_exception_beyond_its_limit(sink: Sink) -> None:
    """A block that an exception leaves gives its sinks twice the grace plus one second."""
    with finishes_within(LIMIT), pytest.raises(LookupError):
        async with Runner([FOREVER, "yes"], sinks=[sink], grace=0.2) as runner:
            await runner.start(FOREVER)
            raise LookupError
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
@pytest.mark.parametrize("sink", [hang_after_first_message, hang_without_reading])
@pytest.mark.parametrize("scope", ["around", "own"])
async def test_hanging_sink_does_not_delay_a_cancellation_beyond_its_limit(
    sink: Sink, scope: str
) -> None:
    """A cancelled block, or a block in a cancelled scope, gives its sinks the same limit."""
    launcher = LocalLauncher(_limits=ShutdownLimits(sinks=0.05))
    commands = [FOREVER, "yes"]
    with finishes_within(LIMIT), anyio.CancelScope() as around:
        async with Runner(commands, sinks=[sink], launcher=launcher, grace=0.2) as runner:
            await runner.start(FOREVER)
            (around if scope == "around" else runner.cancel_scope).cancel()
            await anyio.sleep_forever()
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
@pytest.mark.parametrize("order", ["kills first", "kills last"])
async def test_second_kill_shortens_the_time_of_a_sink(order: str) -> None:
    """The commands stop at once, so a block that is left early does not wait for their grace."""
    deaf = Script(exit=None, ignores={signal.SIGTERM})
    launcher = FakeLauncher(default=deaf, _limits=ShutdownLimits(sinks=0.05))
    runner = Runner(["a"], launcher=launcher, sinks=[hang_without_reading], grace=LIMIT)
    with finishes_within(LIMIT), anyio.CancelScope() as scope:
        async with runner:
            await runner["a"].until_started()
            if order == "kills last":
                scope.cancel()
            runner.kill()
            runner.kill()
            scope.cancel()
            await anyio.sleep_forever()
    assert runner.results["a"].status == "stopped"


@pytest.mark.anyio
async def test_full_pipe_of_the_console_does_not_delay_an_exception(pipe: Pipe) -> None:
    """The block abandons a thread that writes to a full pipe; the thread ends with the pipe."""
    with finishes_within(LIMIT), pytest.raises(LookupError):
        async with Runner(
            {"a": "yes"}, sinks=[ConsoleSink(pipe.file, io.BytesIO())], grace=0.2
        ) as runner:
            await pipe.wait_until_full()
            raise LookupError
    assert runner.results["a"].status == "stopped"
    pipe.close_read_end()


@pytest.mark.anyio
async def test_sink_gets_the_last_output_if_the_body_raises() -> None:
    """Sinks get the output that a command writes while it is being stopped."""
    collector = Collector()
    script = f"trap 'echo bye; exit 0' TERM; echo ready; {TRAPS_SIGNALS}"
    with pytest.raises(LookupError):
        async with Runner({"a": Command.shell(script)}, sinks=[collector]) as runner:
            async for message in runner.batches():
                if isinstance(message, Batch):
                    break
            raise LookupError
    assert collector.finished
    assert collector.output_of("a") == b"ready\nbye\n"
    assert isinstance(collector.messages[-1], Exited)


@pytest.mark.anyio
async def test_foreign_cancellation_in_a_sink_is_reported_as_an_error() -> None:
    """A cancellation that does not come from a scope of the block is an error of the sink."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        raise foreign_cancellation()

    with pytest.raises(CurrantError, match=r"sink .* ended by a cancellation"):
        async with Runner([FOREVER], sinks=[sink]) as runner:
            await runner.join()
    assert runner.barrier.thrown
    assert runner.results["sleep"].exit == Exit(None, signal.SIGTERM, stopped=True)


def foreign_cancellation() -> BaseException:
    """Return the exception of a cancelled task; trio makes it only by a private method."""
    cancelled = anyio.get_cancelled_exc_class()
    if cancelled is asyncio.CancelledError:
        return cancelled()
    create: Callable[[], BaseException] = cancelled._create  # type: ignore[attr-defined]
    return create()


@pytest.mark.parametrize("sink", [3, None, "sink"])
def test_uncallable_sink_is_rejected_at_construction(sink: object) -> None:
    """A sink that is not callable raises CommandError when the Runner is built."""
    with pytest.raises(CommandError, match="a sink must be an async callable"):
        Runner(["a"], sinks=[sink])  # type: ignore[list-item]
