"""One wait for the exit of a process and for its first output (Linux)."""

from __future__ import annotations

import os
import sys
from signal import SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread

import currant
from currant import PIPE, Batch, Command, Exited, Runner, Started
from currant._channel import readers
from currant._channel.channel import Channel
from currant._channel.output import Output
from currant._channel.readers import BatchReader
from currant._process.launcher import Watched
from currant._process.local import LocalLauncher
from currant._values.exit import Exit
from currant.testing import FakeLauncher, Script
from tests.waiting import HOURS, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from currant._process.local_process import LocalProcess
    from currant._process.watch import Watch
    from currant._values.lines import StreamName
    from tests.lifeline import Lifeline

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="needs the epoll and the pidfds of Linux"),
]


@pytest.fixture(name="launcher")
async def entered_launcher() -> AsyncGenerator[LocalLauncher]:
    """A launcher that has been entered."""
    async with LocalLauncher(orphan_guard=False) as launcher:
        yield launcher


def watch_of(process: LocalProcess) -> Watch:
    """Return the watch of a process that has one."""
    assert isinstance(process, Watched)
    assert process.watch is not None
    return process.watch


async def seen_until_exit(watch: Watch) -> tuple[list[StreamName], list[StreamName]]:
    """Return the streams that have begun and those that have ended, until the exit."""
    begun: list[StreamName] = []
    ended: list[StreamName] = []
    with anyio.fail_after(LIMIT):
        while True:
            activity = await watch.next()
            begun += activity.begun
            ended += activity.ended
            if activity.has_exited:
                return sorted(begun), sorted(ended)


@pytest.mark.parametrize(
    ("script", "begun", "ended"),
    [
        ("true", [], ["stderr", "stdout"]),
        ("echo", ["stdout"], ["stderr"]),
        ("echo >&2; exec >&-; echo >&2", ["stderr"], ["stdout"]),
        ("echo; echo >&2", ["stderr", "stdout"], []),
        ("setsid sleep 60 & echo $!", ["stdout"], []),
    ],
)
async def test_watch_tells_streams_with_output_from_silent_ones(
    launcher: LocalLauncher, script: str, begun: list[str], ended: list[str]
) -> None:
    """Each stream is reported once, before the exit or with it; a stranger may hold a pipe open."""
    process = await launcher.launch(Command.shell(script, name="a"))
    assert await seen_until_exit(watch_of(process)) == (begun, ended)
    assert await process.wait() == Exit(0, None)


async def test_merged_stream_is_not_watched(launcher: LocalLauncher) -> None:
    """With ``stderr="stdout"`` there is one pipe."""
    process = await launcher.launch(Command.shell("echo >&2", stderr="stdout"))
    assert await seen_until_exit(watch_of(process)) == (["stdout"], [])


async def test_process_in_a_terminal_has_no_watch(launcher: LocalLauncher) -> None:
    """A terminal ends when nobody has it open, and not as a pipe does."""
    process = await launcher.launch(Command(["true"], pty=True))
    assert process.watch is None


async def test_closing_a_watch_wakes_who_waits(launcher: LocalLauncher) -> None:
    """A task that waits gets an error, and so does one that comes later."""
    process = await launcher.launch(Command(["sleep", "60"]))
    watch = watch_of(process)

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await watch.next()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        watch.close()
    await wait()


async def test_stop_waits_for_the_task_that_watches(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop waits for a single file, and both tasks learn of the exit."""
    waits: list[object] = []
    wait_readable = anyio.wait_readable

    async def record(file: int) -> None:
        waits.append(file)
        await wait_readable(file)

    process = await launcher.launch(Command(["sleep", "9999"]))
    watch = watch_of(process)
    monkeypatch.setattr(anyio, "wait_readable", record)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(seen_until_exit, watch)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(LIMIT):
            assert await process.stop(SIGTERM, LIMIT) == Exit(None, SIGTERM, stopped=True)
    assert set(waits) == {watch._epoll.fileno()}


async def test_stop_goes_on_if_the_task_that_watches_does_not(launcher: LocalLauncher) -> None:
    """A task that is cancelled, or has enough, leaves the exit to the stop."""
    script = "trap '' TERM; echo ready; read line; exec sleep 0"
    process = await launcher.launch(Command.shell(script, stdin=PIPE))
    watch = watch_of(process)
    assert (await watch.next()).begun == ("stdout",)
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as watching:
                watching.start_soon(seen_until_exit, watch)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(process.stop, SIGTERM, LIMIT)
                await anyio.wait_all_tasks_blocked()
                watching.cancel_scope.cancel()
            assert process.stdin is not None
            await process.stdin.send(b"\n")


async def test_fork_closes_its_copy_of_a_watch(launcher: LocalLauncher) -> None:
    """The parent's watch goes on."""
    process = await launcher.launch(Command.shell("read line; echo", stdin=currant.PIPE))
    watch = watch_of(process)
    number = watch._epoll.fileno()
    pid = os.fork()
    if not pid:
        try:
            os.fstat(number)
        except OSError:
            os._exit(7)
        os._exit(0)
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - the child exits at once
    assert os.waitstatus_to_exitcode(status) == 7
    assert process.stdin is not None
    await process.stdin.send(b"\n")
    assert await seen_until_exit(watch) == (["stdout"], ["stderr"])


# ---- the tasks that read ----


@pytest.fixture(name="read")
def reads(monkeypatch: pytest.MonkeyPatch) -> list[StreamName]:
    """The streams that a task has read."""
    read: list[StreamName] = []
    read_stream = Output._read

    async def note(self: Output, source: anyio.abc.ByteReceiveStream, stream: StreamName) -> None:
        read.append(stream)
        await read_stream(self, source, stream)

    monkeypatch.setattr(Output, "_read", note)
    return read


@pytest.mark.parametrize(
    ("script", "streams"),
    [("true", []), ("echo", ["stdout"]), ("echo >&2", ["stderr"]), ("echo; echo >&2", None)],
)
async def test_only_streams_with_output_are_read(
    read: list[StreamName], script: str, streams: list[StreamName] | None
) -> None:
    """A stream that never has output costs no task."""
    result = await currant.run_process(Command.shell(script))
    assert sorted(read) == (["stderr", "stdout"] if streams is None else streams)
    assert result.stdout == (b"\n" if "stdout" in read else b"")
    assert result.stderr == (b"\n" if "stderr" in read else b"")


async def test_runner_reads_a_silent_command_with_no_task(read: list[StreamName]) -> None:
    """The messages are the same as ever."""
    async with Runner({"a": "true"}) as runner:
        messages = [message async for message in runner]
    assert not read
    assert [type(message) for message in messages] == [Started, Exited]


async def test_silent_commands_of_which_nobody_reads_need_no_task(read: list[StreamName]) -> None:
    """Their messages enter a full channel at once, and a late reader gets all of them."""
    async with Runner([["true"]] * 3, buffer_size=1) as runner:
        await runner.join()
        assert not read
        messages = [message async for message in runner]
    for kind in (Started, Exited):
        assert len([message for message in messages if isinstance(message, kind)]) == 3


async def test_launcher_without_a_watch_has_each_stream_read(read: list[StreamName]) -> None:
    """Another launcher need not know of output before it is read."""
    async with Runner({"a": "true"}, launcher=FakeLauncher(default=Script())):
        pass
    assert sorted(read) == ["stderr", "stdout"]


async def test_output_that_begins_during_a_stop_is_read() -> None:
    """A command that writes more than a pipe holds, only when it is asked to stop, can end."""
    script = f"trap 'seq 100000; exit 0' TERM; echo ready >&2; {TRAPS_SIGNALS}"
    command = Command.shell(script, name="a")
    with anyio.fail_after(LIMIT):
        async with Runner([command], capture=True, grace=LIMIT) as runner:
            await runner["a"].expect(b"ready")
            runner.kill()
    result = runner.results["a"]
    assert result.exit == Exit(0, None, stopped=True)
    assert result.stdout is not None
    assert result.stdout.count(b"\n") == 100_000


async def test_output_that_begins_after_a_cancellation_is_read(lifeline: Lifeline) -> None:
    """The task that waited for the first output is gone; the command can end nevertheless."""
    at_end = f"seq 100000; {lifeline.say('written')}; exit 0"
    script = f"{lifeline.hold('up')}; trap '{at_end}' TERM; {lifeline.say('set')}; {TRAPS_SIGNALS}"
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            command = Command.shell(script, grace=LIMIT)
            tasks.start_soon(currant.run_process, command)
            await to_thread.run_sync(lifeline.wait_for, "set")
            tasks.cancel_scope.cancel()
    assert lifeline.ended() == {"up", "set", "written"}


async def test_silence_is_measured_for_streams_that_no_task_reads(read: list[StreamName]) -> None:
    """A command that never writes anything exceeds its `idle_timeout`."""
    with anyio.fail_after(LIMIT):
        result = await currant.run_process(["sleep", "60"], idle_timeout=0.05, check=False)
    assert isinstance(result.error, currant.TimeLimitError)
    assert not read


async def test_message_does_not_overtake_a_sender_that_waits_for_a_reader_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody will make room, but the sender has not noticed yet; it may be of the same command."""
    monkeypatch.setattr(readers, "RECHECK_INTERVAL", HOURS)
    channel, leave = Channel(1), anyio.Event()
    channel.add_producer()
    feed = channel.subscribe()
    held: list[BatchReader] = []
    batch = Batch("a", "stdout", b"1\n", 0.0)

    async def read_one() -> None:
        held.append(BatchReader(channel.readers))
        await anext(held[0])
        await leave.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_one)
        for _ in range(3):  # The reader takes the first, the second has room, the third waits.
            tasks.start_soon(channel.send, batch)
            await anyio.wait_all_tasks_blocked()
            assert feed.receive_nowait() == batch
        leave.set()
        await anyio.wait_all_tasks_blocked()
        assert channel.readers.is_abandoned
        assert not channel.send_nowait(Exited("a", Exit(0, None), 1, 0.0))
        channel.close()
    feed.close()


async def test_send_nowait_gives_a_message_to_all_or_to_none() -> None:
    """If one subscription is full, the other does not get the message either."""
    channel = Channel(1)
    feed, other = channel.subscribe(), channel.subscribe()
    batch = Batch("a", "stdout", b"1\n", 0.0)
    assert channel.send_nowait(batch)
    assert feed.receive_nowait() == batch
    assert not channel.send_nowait(batch)  # The other sink has not read it.
    with pytest.raises(anyio.WouldBlock):
        feed.receive_nowait()
    channel.close()
    feed.close()
    other.close()
