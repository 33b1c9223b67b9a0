"""Sinks: what the console shows; that none loses output, holds others up or hangs the end."""

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
    Restarting,
    RestartPolicy,
    Runner,
    Started,
)
from currant._values.shutdown_limits import ShutdownLimits
from currant.sinks import ConsoleSink
from currant.testing import FakeLauncher, Script
from tests.lifeline import Gate
from tests.playing import ended, err, out, play
from tests.waiting import FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import Sink


Color = Literal["auto", "always", "never"]


async def shown(messages: Sequence[BatchMessage], color: Color = "never") -> tuple[bytes, bytes]:
    """Return what the console shows of `messages` on stdout and stderr."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    await play(ConsoleSink(stdout, stderr, color=color), messages)
    return stdout.getvalue(), stderr.getvalue()


class Collector:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.messages: list[BatchMessage] = []
        self.finished = False

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Keep all messages until there are no more."""
        async for message in messages:
            self.messages.append(message)
        self.finished = True

    def written(self, name: str, stream: str = "stdout") -> bytes:
        """Return what a command wrote to one stream."""
        batches = [message for message in self.messages if isinstance(message, Batch)]
        return b"".join(b.data for b in batches if (b.command, b.stream) == (name, stream))


class Pipe:
    """A pipe whose writing end is a file for a sink."""

    def __init__(self) -> None:
        self.fd, writing_end = os.pipe()
        self.file = cast("BinaryIO", os.fdopen(writing_end, "wb", buffering=0))

    def close(self) -> None:
        """Close both ends, as far as they are open."""
        self.file.close()
        self.read_no_more()

    def read_no_more(self) -> None:
        """Close the reading end."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    async def until_full(self) -> None:
        """Wait until there is no room; never ends where nothing but this task runs."""
        while select.select([], [self.file], [], 0)[1]:
            await checkpoint()

    async def read(self) -> bytes:
        """Return what is there, waiting for it; nothing at the end."""
        await anyio.wait_readable(self.fd)
        return os.read(self.fd, 65536)

    async def read_all(self, into: bytearray) -> None:
        """Read to the end."""
        while data := await self.read():
            into += data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that nobody reads as yet."""
    pipe = Pipe()
    yield pipe
    pipe.close()


def numbers(last: int) -> bytes:
    """Return what ``seq`` writes."""
    return b"".join(b"%d\n" % number for number in range(1, last + 1))


def prefixed(name: str, text: bytes) -> bytes:
    """Return the lines of `text` as the console shows them."""
    return b"".join(f"{name} | ".encode() + line for line in text.splitlines(keepends=True))


# ---- what the console shows ----


@pytest.mark.anyio
async def test_the_console_shows_lines_with_their_commands_names() -> None:
    """Real commands: stdout's lines go to stdout and stderr's to stderr, each after ``name | ``."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    commands = {"a": Command.shell("echo 1; echo 2"), "b": Command.shell("echo 3 >&2")}
    async with Runner(commands, sinks=[ConsoleSink(stdout, stderr)]) as runner:
        await runner.join()
    assert stdout.getvalue() == b"a | 1\na | 2\n"
    assert stderr.getvalue() == b"b | 3\n"


@pytest.mark.anyio
async def test_the_console_writes_to_the_hosts_files_by_default(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without files, ConsoleSink writes to stdout and stderr of this process."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    await play(ConsoleSink(), [out("a", b"1\n"), err("a", b"2\n")])
    assert capfdbinary.readouterr() == (b"a | 1\n", b"a | 2\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("message", "note"),
    [
        (Started("a", 7, 1, 0.0), b""),
        (ended("a", Exit(0, None)), b""),
        (ended("a", Exit(3, None)), b"currant: a: exit code 3\n"),
        (ended("a", Exit(None, signal.SIGSEGV)), b"currant: a: SIGSEGV\n"),
        (ended("a", Exit(None, signal.SIGTERM, stopped=True)), b""),
        (ended("a", Exit(143, None, stopped=True)), b""),
        (Restarting("a", 2, 0.25, 0.0), b"currant: a: restarting in 0.2 s\n"),
        (
            Failed("a", LaunchError("a", "no memory"), 1, 0.0),
            b"currant: cannot start 'a': no memory\n",
        ),
    ],
)
async def test_ends_restarts_and_failed_starts_are_noted_on_stderr(
    message: BatchMessage, note: bytes
) -> None:
    """Each failure is one line on stderr; a success and what currant stopped are none."""
    assert await shown([message]) == (b"", note)


@pytest.mark.anyio
async def test_failures_restarts_and_failed_starts_of_commands_are_noted(tmp_path: Path) -> None:
    """A real failure, its restart and a program that is gone by the restart: all are told."""
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
async def test_colours_are_for_prefixes_and_differ() -> None:
    """With "always" each prefix is coloured, each command's otherwise, and no text or note is."""
    names = "abcdefgh"
    messages: list[BatchMessage] = [out(name, b"1\n2\n") for name in names]
    messages += [err("a", b"3\n"), ended("a", Exit(1, None))]
    stdout, stderr = await shown(messages, "always")
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
async def test_colours_in_a_file_that_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, color: Color, *, forced: bool, colored: bool
) -> None:
    """A file that is no terminal is coloured by "always", and by "auto" with FORCE_COLOR only."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    stdout, _ = await shown([out("a", b"1\n")], color)
    assert (b"\x1b" in stdout) is colored


@pytest.mark.anyio
async def test_without_rich_there_are_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console works without the extra `cli`; "auto" then never colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert await shown([out("a", b"1\n")], "auto") == (b"a | 1\n", b"")


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
async def test_unfinished_lines_are_ended_before_something_else(
    messages: list[BatchMessage], stdout: bytes
) -> None:
    """An unfinished line goes on without a prefix, or is ended before another command's line."""
    assert await shown(messages) == (stdout, b"")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([out("a", b"1"), err("b", b"2\n")], b"a | 1\nb | 2\n"),
        ([out("a", b"1"), err("a", b"2\n")], b"a | 1\na | 2\n"),
        ([err("a", b"1"), out("a", b"2\n")], b"a | 1\na | 2\n"),
        ([out("a", b"1"), ended("b", Exit(3, None))], b"a | 1\ncurrant: b: exit code 3\n"),
    ],
)
async def test_unfinished_lines_are_ended_where_both_streams_are_one_file(
    messages: list[BatchMessage], text: bytes
) -> None:
    """On a terminal stdout and stderr are the same: a line of one is not glued to the other's."""
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
def test_each_shown_line_is_of_one_command_and_no_byte_is_missing(
    batches: list[tuple[str, Literal["stdout", "stderr"], list[str]]],
) -> None:
    """For any batches: a line has one prefix and one command's text, and all of that is there."""
    messages: list[BatchMessage] = [
        Batch(name, stream, "".join(pieces).replace("x", name).encode(), 0.0)
        for name, stream, pieces in batches
    ]
    for stream, text in zip(("stdout", "stderr"), anyio.run(shown, messages), strict=True):
        assert not text or text.endswith(b"\n")
        lines = text.decode().splitlines()
        assert all(re.fullmatch(r"a \| a*|b \| b*", line) for line in lines)
        for name in "ab":
            kept = "".join(line[4:] for line in lines if line.startswith(f"{name} | "))
            sent = [m.data for m in messages if isinstance(m, Batch) and m.stream == stream]
            assert kept.count(name) == b"".join(sent).decode().count(name)


@pytest.mark.anyio
async def test_a_name_that_is_no_text_is_shown_escaped() -> None:
    """A name with bytes that are no UTF-8 does not break the console."""
    assert await shown([out("\udcff", b"1\n")]) == (b"\\udcff | 1\n", b"")


@pytest.mark.anyio
async def test_a_file_gets_all_it_is_to_write_itself(tmp_path: Path) -> None:
    """A file that is more than its descriptor (gzip) gets the text, not its descriptor."""
    with gzip.open(tmp_path / "log.gz", "wb") as log:
        await play(ConsoleSink(cast("BinaryIO", log), io.BytesIO()), [out("a", b"1\n2\n")])
    assert gzip.decompress((tmp_path / "log.gz").read_bytes()) == b"a | 1\na | 2\n"


@pytest.mark.anyio
async def test_what_the_host_wrote_before_stays_before(tmp_path: Path) -> None:
    """Text that waits in the file's own buffer is written before the console's."""
    with (tmp_path / "log").open("wb") as log:
        log.write(b"host: begin\n")
        await play(ConsoleSink(log, io.BytesIO()), [out("a", b"1\n")])
        log.write(b"host: end\n")
    assert (tmp_path / "log").read_bytes() == b"host: begin\na | 1\nhost: end\n"


# ---- the console on pipes ----


@pytest.mark.anyio
async def test_the_console_writes_all_into_a_slow_pipe(pipe: Pipe) -> None:
    """A pipe that holds less than the output: nothing is lost, in whatever steps it is read."""
    written = bytearray()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pipe.read_all, written)
        sinks = [ConsoleSink(pipe.file, io.BytesIO())]
        async with Runner({"a": "seq 200000"}, sinks=sinks):
            pass
        pipe.file.close()
    assert bytes(written) == prefixed("a", numbers(200_000))


@pytest.mark.anyio
async def test_the_event_loop_goes_on_while_a_pipe_is_full(pipe: Pipe) -> None:
    """While the console cannot write, other tasks run; when it can again, all is there."""
    written = bytearray()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            async with Runner({"a": "seq 200000"}, sinks=[ConsoleSink(pipe.file, io.BytesIO())]):
                await pipe.until_full()
                for _ in range(100):  # a heart that beats: turns, threads, timers and processes
                    await checkpoint()
                assert await to_thread.run_sync(lambda: 1) == 1
                await anyio.sleep(0.001)
                assert (await anyio.run_process(["echo", "alive"])).stdout == b"alive\n"
                assert not select.select([], [pipe.file], [], 0)[1]
                tasks.start_soon(pipe.read_all, written)
            pipe.file.close()
    assert bytes(written) == prefixed("a", numbers(200_000))


@pytest.mark.anyio
async def test_a_kill_ends_commands_while_a_pipe_is_full_and_loses_nothing(pipe: Pipe) -> None:
    """A kill works however full the pipe is; what was written before it is shown afterwards."""
    written = bytearray()
    async with anyio.create_task_group() as tasks:
        sinks = [ConsoleSink(pipe.file, io.BytesIO())]
        async with Runner({"a": "seq 100000000"}, sinks=sinks, buffer_size=1) as runner:
            await pipe.until_full()
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
    # The last one may be half a number: that is where the command was ended.
    assert lines[:-1] == prefixed("a", numbers(len(lines) - 1)).splitlines()
    assert f"a | {len(lines)}".encode().startswith(lines[-1])


@pytest.mark.anyio
async def test_a_pipe_that_nobody_reads_any_more_is_an_error_of_the_block(pipe: Pipe) -> None:
    """BrokenPipeError leaves the block as it is, and the commands are stopped."""
    pipe.read_no_more()
    with pytest.raises(BrokenPipeError):
        async with Runner(
            {"a": Command.shell(f"echo 1; {FOREVER}"), "b": FOREVER},
            sinks=[ConsoleSink(pipe.file, io.BytesIO())],
        ) as runner:
            await runner.join()
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
@pytest.mark.parametrize("number", [None, 2000])
async def test_a_file_that_somebody_set_to_not_blocking_loses_nothing(
    pipe: Pipe, number: int | None
) -> None:
    """A pipe whose other users made it non-blocking is waited for, whatever its number is."""
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
                await pipe_is_full(pipe)
                tasks.start_soon(pipe.read_all, written)
            pipe.file.close()
        assert bytes(written) == prefixed("a", numbers(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def pipe_is_full(pipe: Pipe) -> None:
    """Wait as `Pipe.until_full` does, for a file with whatever number."""
    poll = select.poll()
    poll.register(pipe.file, select.POLLOUT)
    while poll.poll(0):
        await checkpoint()


# ---- sinks that raise, end early, are slow, or hang ----


class SinkBrokenError(Exception):
    """What the sinks of these tests raise."""


def raising(error: BaseException, after: int) -> Sink:
    """Make a sink that raises `error` after so many messages."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        for _ in range(after):
            await messages.receive()
        raise error

    return sink


@pytest.mark.anyio
@pytest.mark.parametrize("after", [1, 2])
async def test_a_sink_that_raises_stops_all_and_its_exception_leaves_unwrapped(after: int) -> None:
    """Its exception throws the barrier, ends the commands and leaves the block as it is."""
    error = SinkBrokenError("mine")
    with pytest.raises(SinkBrokenError) as caught:
        async with Runner(
            {"a": Command.shell(f"echo 1; exec {FOREVER}"), "b": FOREVER},
            sinks=[raising(error, after)],
        ) as runner:
            await runner.barrier.wait()
            assert "mine" in str(runner.barrier.reason)
    assert caught.value is error
    assert {job.state for job in runner.jobs.values()} == {"ended"}
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
async def test_a_sink_that_raises_at_once_leaves_nothing_running() -> None:
    """A sink that cannot even begin is told like any other."""
    error = SinkBrokenError("mine")
    with pytest.raises(SinkBrokenError) as caught:
        async with Runner([FOREVER], sinks=[raising(error, 0)]) as runner:
            await runner.barrier.wait()
    assert caught.value is error


@pytest.mark.anyio
async def test_a_group_that_a_sink_raises_leaves_as_it_is() -> None:
    """An ExceptionGroup of the sink's own making is its exception like any other."""
    error = ExceptionGroup("mine", [SinkBrokenError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with Runner(["a"], launcher=FakeLauncher(), sinks=[raising(error, 1)]):
            pass
    assert caught.value is error


@pytest.mark.anyio
async def test_a_sink_that_raises_at_the_very_end_is_told() -> None:
    """Also what a sink raises when all commands have ended leaves the block."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            pass
        raise SinkBrokenError

    with pytest.raises(SinkBrokenError):
        async with Runner(["a"], launcher=FakeLauncher(), sinks=[sink]) as runner:
            await runner.join()
    assert runner.results.ok


@pytest.mark.anyio
async def test_an_exception_of_the_body_wins_over_that_of_a_sink() -> None:
    """The body's own exception leaves the block, as everywhere."""
    with pytest.raises(LookupError):
        async with Runner([FOREVER], sinks=[raising(SinkBrokenError(), 1)]) as runner:
            await runner.barrier.wait()
            raise LookupError


@pytest.mark.anyio
async def test_a_sink_that_raises_leaves_the_other_its_messages() -> None:
    """The other sink is told of everything, up to the ends of the commands."""
    collector = Collector()
    launcher = FakeLauncher(default=Script(stdout=b"1\n", exit=None))
    with pytest.raises(SinkBrokenError):
        async with Runner(
            ["a", "b"], launcher=launcher, sinks=[raising(SinkBrokenError(), 3), collector]
        ) as runner:
            async for _ in runner:
                pass
    assert collector.finished
    told = [type(message) for message in collector.messages]
    assert (told.count(Started), told.count(Batch), told.count(Exited)) == (2, 2, 2)


async def leaving_by_return(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """End after the first message."""
    await messages.receive()


async def leaving_by_break(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """End in the middle of the loop."""
    async for message in messages:
        if isinstance(message, Batch):
            break


async def leaving_by_close(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """End by closing the stream."""
    await messages.receive()
    await messages.aclose()


async def leaving_at_once(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Take no message at all."""


LEAVING = [leaving_by_return, leaving_by_break, leaving_by_close, leaving_at_once]


@pytest.mark.anyio
@pytest.mark.parametrize("sink", LEAVING)
async def test_commands_go_on_when_a_sink_ends_early(sink: Sink) -> None:
    """A sink that wants no more holds nobody up; other sinks are told of everything."""
    collector = Collector()
    with anyio.fail_after(LIMIT):
        async with Runner({"a": "seq 500000"}, sinks=[sink, collector], buffer_size=1) as runner:
            await runner.join()
    assert runner.results.ok
    assert collector.written("a") == numbers(500_000)


@pytest.mark.anyio
@pytest.mark.parametrize("sink", LEAVING)
async def test_who_iterates_goes_on_when_a_sink_ends_early(sink: Sink) -> None:
    """Iterating gives all messages, whatever a sink does."""
    with anyio.fail_after(LIMIT):
        async with Runner({"a": "seq 200000"}, sinks=[sink], buffer_size=1) as runner:
            written = [m.data async for m in runner.batches() if isinstance(m, Batch)]
    assert b"".join(written) == numbers(200_000)


@pytest.mark.anyio
async def test_a_slow_sink_slows_the_commands_and_loses_nothing() -> None:
    """What was read from a command is never far ahead of what a slow sink has taken."""
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
    assert bytes(taken) == numbers(1_000_000)
    # Four batches of at most 256 KiB and a started line: with the sink, in the channel, on its way.
    assert max(ahead) <= 4 * (256 * 1024 + 8) // 6 < 200_000


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["scope", "cancel_scope"])
async def test_a_cancellation_while_a_sink_ends_gives_it_no_more_than_its_time(
    way: str,
) -> None:
    """All commands have ended, and the block waits for what a sink still has to do."""
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
async def test_two_sinks_each_get_everything_in_order() -> None:
    """Both get all of each command: its start, its output in order, its end."""
    first, second = Collector(), Collector()
    script = "seq 30000; seq 20000 >&2"
    commands = {"a": Command.shell(script), "b": Command.shell(script)}
    async with Runner(commands, sinks=[first, second]):
        pass
    for sink in (first, second):
        for name in commands:
            of_one = [type(message) for message in sink.messages if message.command == name]
            assert (of_one[0], of_one[-1]) == (Started, Exited)
            assert set(of_one[1:-1]) == {Batch}
            assert sink.written(name) == numbers(30_000)
            assert sink.written(name, "stderr") == numbers(20_000)


@pytest.mark.anyio
async def test_sinks_may_come_from_a_generator() -> None:
    """`sinks` is any iterable."""
    collectors = [Collector(), Collector()]
    sinks = (collector for collector in collectors)
    async with Runner(["a"], launcher=FakeLauncher(), sinks=sinks):
        pass
    assert [len(collector.messages) for collector in collectors] == [2, 2]


@pytest.mark.anyio
async def test_join_waits_until_a_sink_has_written() -> None:
    """join returns only when the sink has come back for more with nothing left to take."""
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
async def test_the_block_waits_for_what_a_sink_does_after_its_last_message() -> None:
    """A sink may still close its file when the messages have ended; the block waits for it."""
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
async def test_sinks_alone_never_block_the_commands(*, breaking: bool) -> None:
    """Ten megabytes that nobody iterates over: the body waits for something else, and it comes."""
    over = anyio.Event()
    size = 0

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        nonlocal size
        async for message in messages:
            if isinstance(message, Batch):
                size += len(message.data)
        # Reached only when the block is left, so not here.

    async def tells_the_end(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            if isinstance(message, Exited):
                over.set()

    command = Command.shell("yes 'a line of text' | head -c 10000000", name="a")
    with anyio.fail_after(LIMIT):
        async with Runner([command], sinks=[sink, tells_the_end]) as runner:
            if breaking:
                async for message in runner:
                    if not isinstance(message, Started):
                        break
            await over.wait()
    assert size == 10_000_000
    assert runner.results.ok


# ---- the end does not wait for ever ----


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail where what is inside takes longer; it is not interrupted."""
    begin = anyio.current_time()
    yield
    assert anyio.current_time() - begin < seconds


async def hangs(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Take one message and never come back."""
    await messages.receive()
    await anyio.sleep_forever()


async def hangs_without_reading(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Take no message, and do not end."""
    await anyio.sleep_forever()


@pytest.mark.anyio
@pytest.mark.parametrize("sink", [hangs, hangs_without_reading])
async def test_a_sink_that_hangs_cannot_hold_an_exception_up(sink: Sink) -> None:
    """A block that is left by an exception gives its sinks twice the grace and a second."""
    with at_most(LIMIT), pytest.raises(LookupError):
        async with Runner([FOREVER, "yes"], sinks=[sink], grace=0.2) as runner:
            await runner.start(FOREVER)
            raise LookupError
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
@pytest.mark.parametrize("sink", [hangs, hangs_without_reading])
@pytest.mark.parametrize("scope", ["around", "own"])
async def test_a_sink_that_hangs_cannot_hold_a_cancellation_up(sink: Sink, scope: str) -> None:
    """The same where the block, or what surrounds it, is cancelled."""
    with at_most(LIMIT), anyio.CancelScope() as around:
        async with Runner([FOREVER, "yes"], sinks=[sink], grace=0.2) as runner:
            await runner.start(FOREVER)
            (around if scope == "around" else runner.cancel_scope).cancel()
            await anyio.sleep_forever()
    assert {result.status for result in runner.results.values()} == {"stopped"}


@pytest.mark.anyio
async def test_a_console_that_nobody_reads_cannot_hold_an_exception_up(pipe: Pipe) -> None:
    """A thread that writes to a full pipe is left behind, and ends with the pipe."""
    with at_most(LIMIT), pytest.raises(LookupError):
        async with Runner(
            {"a": "yes"}, sinks=[ConsoleSink(pipe.file, io.BytesIO())], grace=0.2
        ) as runner:
            await pipe.until_full()
            raise LookupError
    assert runner.results["a"].status == "stopped"
    pipe.read_no_more()


@pytest.mark.anyio
async def test_a_sink_has_time_for_the_last_output_of_a_block_that_is_left_early(
    tmp_path: Path,
) -> None:
    """Commands that say good-bye when they are ended are heard by the sinks."""
    collector = Collector()
    with Gate(tmp_path / "gate") as gate, pytest.raises(LookupError):
        script = f"trap 'echo bye; exit 0' TERM; echo ready; {gate.wait}"
        async with Runner({"a": Command.shell(script)}, sinks=[collector]) as runner:
            async for message in runner.batches():
                if isinstance(message, Batch):
                    break
            raise LookupError
    assert collector.finished
    assert collector.written("a") == b"ready\nbye\n"
    assert isinstance(collector.messages[-1], Exited)


@pytest.mark.anyio
async def test_a_sink_that_ends_by_a_strange_cancellation_stops_all_and_is_told() -> None:
    """A future that somebody else cancelled is an error of the sink, no cancellation of ours."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        raise strange_cancellation()

    with pytest.raises(CurrantError, match=r"sink .* ended by a cancellation"):
        async with Runner([FOREVER], sinks=[sink]) as runner:
            await runner.join()
    assert runner.barrier.thrown
    assert runner.results["sleep"].exit == Exit(None, signal.SIGTERM, stopped=True)


def strange_cancellation() -> BaseException:
    """Return what a task is given that is cancelled; on trio only trio makes it."""
    cancelled = anyio.get_cancelled_exc_class()
    if cancelled is asyncio.CancelledError:
        return cancelled()
    create: Callable[[], BaseException] = cancelled._create  # type: ignore[attr-defined]
    return create()


@pytest.mark.parametrize("sink", [3, None, "sink"])
def test_a_sink_that_cannot_be_called_is_refused(sink: object) -> None:
    """It is the caller's mistake, told when the Runner is built."""
    with pytest.raises(CommandError, match="a sink must be an async callable"):
        Runner(["a"], sinks=[sink])  # type: ignore[list-item]
