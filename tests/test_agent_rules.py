"""Rules of the link between a driver and an agent, each with the case that showed its need."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from currant import PIPE, Command, LaunchError
from currant._agent.frames import MAX_BODY, FrameError, FrameReader, Kind, header, parse
from currant._agent.link import FRAME, ROOM, Link
from currant._agent.questions import Questions
from currant._agent.spec import decode_spec, encode_spec
from currant._remote.credit import FIRST_WINDOW, LARGEST_WINDOW, SHORT, Budget, Window
from currant._remote.peer import END_LIMIT, Peer
from currant._remote.process import RemoteProcess
from currant._remote.streams import SMALL
from currant._values.launch_spec import SILENT, LaunchSpec
from currant._values.limits import Limits
from tests.agents import over_pipe
from tests.streams import read_all, read_until
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anyio.abc import ByteReceiveStream

    from currant._remote.launcher import RemoteLauncher
    from tests.lifeline import Gate, Lifeline


# ---- frames ----


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary())), st.data()
)
def test_frames_arrive_as_they_were_sent(
    frames: list[tuple[Kind, int, bytes]], data: st.DataObject
) -> None:
    """The reader returns the same frames however the stream is cut."""
    stream = b"".join(header(kind, number, len(body)) + body for kind, number, body in frames)
    reader, received = FrameReader(), list[tuple[Kind, int, bytes]]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert received == frames


@pytest.mark.parametrize("data", [b"\0" * 9, header(Kind.OUT, 1, MAX_BODY + 1)])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    """An invalid frame is refused before its body has arrived."""
    with pytest.raises(FrameError):
        list(FrameReader().feed(data))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """Each body but output and input must be a JSON object."""
    with pytest.raises(FrameError):
        parse(body)


# ---- commands as JSON ----


@pytest.mark.parametrize(
    "command",
    [
        Command(["echo", "a b", "\udcff"], name="é", env={"A": "\udcfe"}, inherit_env=False),
        Command(["cat"], stdin=PIPE, stderr="stdout", cwd="/tmp", grace=0.5),
        Command(["cat"], pty=True, kill_mode="mixed", leftovers="wait", wrap=["nice"]),
        Command(["cat"], umask=0o22, nice=3, user=0, group="root", extra_groups=[0, "root"]),
    ],
)
def test_spec_arrives_as_it_was_sent(command: Command) -> None:
    """Names and variables may contain bytes that are not UTF-8."""
    spec = LaunchSpec.of(command)
    assert decode_spec(json.loads(json.dumps(encode_spec(spec)))) == spec


def test_values_of_other_classes_arrive_in_a_form_that_a_launcher_takes(tmp_path: Path) -> None:
    """Paths, input, silence and limits: `Limits` itself needs a newer Python."""
    command = Command(["cat"], stdin=b"hi", stdout=tmp_path / "log", limits=Limits(open_files=64))
    spec = decode_spec(json.loads(json.dumps(encode_spec(command))))
    assert (spec.stdin, spec.stdout) == (b"", tmp_path / "log")
    assert spec.limits is not None
    assert (spec.limits.open_files, spec.limits.memory) == (64, None)
    silent = decode_spec(encode_spec(LaunchSpec(("cat",), stdin=SILENT)))
    assert silent.stdin is SILENT


# ---- the two queues ----


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that does not block."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    os.set_blocking(read_end, False)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


@pytest.mark.anyio
async def test_control_frames_overtake_bulk(pipe: tuple[int, int]) -> None:
    """Control frames go first, but a frame that was begun is finished before them."""
    sender = Link(*pipe)
    sender.send_bulk(Kind.OUT, 1, b"x" * 300_000)  # more than a pipe holds
    sender.send_bulk(Kind.OUT, 2, b"y")
    kinds: list[tuple[Kind, int]] = []

    def note(kind: Kind, number: int, body: bytes) -> None:
        kinds.append((kind, number))
        if len(kinds) == 3:
            tasks.cancel_scope.cancel()

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sender.write)
            await anyio.wait_all_tasks_blocked()
            sender.send(Kind.STOP, 3)
            tasks.start_soon(Link(*pipe).read, note)
    assert kinds == [(Kind.OUT, 1), (Kind.STOP, 3), (Kind.OUT, 2)]


@pytest.mark.anyio
async def test_sender_of_bulk_waits_for_room(pipe: tuple[int, int]) -> None:
    """The queue stays short: a sender waits until the other end reads, or is gone."""
    sender = Link(*pipe)
    sender.send_bulk(Kind.OUT, 1, b"x" * ROOM)
    async with anyio.create_task_group() as tasks:
        passed: list[int] = []

        async def wait(number: int) -> None:
            await sender.wait_for_room()
            passed.append(number)

        for number in range(3):
            tasks.start_soon(wait, number)
        await anyio.wait_all_tasks_blocked()
        assert not passed
        tasks.start_soon(sender.write)  # Takes the frame out of the queue.
        await anyio.wait_all_tasks_blocked()
        assert sorted(passed) == [0, 1, 2]
        sender.send_bulk(Kind.OUT, 1, b"x" * ROOM)
        tasks.start_soon(sender.wait_for_room)
        tasks.start_soon(sender.flush)
        await anyio.wait_all_tasks_blocked()
        sender.break_off()
        sender.send_bulk(Kind.OUT, 1, b"x")
        tasks.cancel_scope.cancel()
    assert not sender._bulk


@pytest.mark.anyio
async def test_small_frames_take_more_room_than_their_bytes(pipe: tuple[int, int]) -> None:
    """A command that writes byte by byte must not fill the memory if the link is stuck."""
    sender = Link(*pipe)
    for _ in range(ROOM // FRAME):
        sender.send_bulk(Kind.OUT, 1, b"x")
    assert sender._bulk_size >= ROOM
    while sender._next():
        pass
    assert sender._bulk_size == 0


@pytest.mark.anyio
async def test_question_that_fails_ends_nothing_else(pipe: tuple[int, int]) -> None:
    """A probe for which there is no memory must not end the commands of the host."""

    async def fail() -> dict[str, Any]:
        raise MemoryError("no memory")

    link = Link(*pipe)
    async with anyio.create_task_group() as tasks:
        Questions(link, tasks, {}).begin({"question": 3}, fail())
    ((kind, _, body),) = FrameReader().feed(link._control.pop())
    assert (kind, parse(body)) == (Kind.ANSWER, {"question": 3, "refused": "no memory"})


# ---- credit ----


def use_up(window: Window, now: float) -> int:
    """Let the host send all that it may, and a reader take it; return the credit for the host."""
    left = window._credit
    window.note_received(left)
    return window.note_read(left, now)


def test_window_grows_if_it_is_read_in_a_short_time() -> None:
    """The window doubles up to a limit, but not after the first reading, which has no time."""
    window = Window(Budget(total=LARGEST_WINDOW))
    sizes = []
    for _ in range(8):
        assert use_up(window, 1.0) > 0
        sizes.append(window.size // FIRST_WINDOW)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 64]


def test_window_of_slow_output_stays_small() -> None:
    """A window that is read slowly does not slow the command, so it does not grow."""
    window = Window(Budget())
    for number in range(8):
        use_up(window, SHORT * number)
    assert window.size == FIRST_WINDOW


def test_window_grows_though_the_host_always_has_credit() -> None:
    """A far host sends half of its credit while the other half is on its way."""
    window = Window(Budget())
    for _ in range(8):
        window.note_received(FIRST_WINDOW // 2)
        window.note_read(FIRST_WINDOW // 2, 1.0)
        assert window._credit > 0
    assert window.size > FIRST_WINDOW


def test_windows_of_a_host_share_a_budget() -> None:
    """A window gives its part of the budget back when it is closed."""
    budget = Budget(total=FIRST_WINDOW)
    windows = [Window(budget) for _ in range(2)]
    for window in windows:
        use_up(window, 1.0)
        use_up(window, 1.0)
    assert [window.size for window in windows] == [2 * FIRST_WINDOW, FIRST_WINDOW]
    windows[0].close()
    use_up(windows[1], 1.0)
    assert windows[1].size == 2 * FIRST_WINDOW


@given(st.lists(st.integers(1, 200_000)))
def test_credit_adds_up(reads: list[int]) -> None:
    """The host never has more credit than a window, and never waits for ever."""
    window, unread = Window(Budget()), 0
    for size in reads:
        sent = min(size, window._credit)
        window.note_received(sent)
        unread += sent
        taken = min(size, unread)
        unread -= taken
        window.note_read(taken, 1.0)
        assert window._credit + unread <= window.size
        assert window._credit or unread


def test_more_output_than_the_credit_is_refused() -> None:
    """Without this check, a host could fill the memory of the driver."""
    window = Window(Budget())
    window.note_received(FIRST_WINDOW)
    with pytest.raises(FrameError):
        window.note_received(1)


@pytest.mark.anyio
async def test_frames_of_one_byte_are_joined(pipe: tuple[int, int]) -> None:
    """The credit counts bytes, and a hostile host must not fill the memory with tiny objects."""
    output = RemoteProcess(1, LaunchSpec(("c",)), Peer("h1", Link(*pipe))).stdout
    assert output is not None
    sent = os.urandom(FIRST_WINDOW)
    for byte in sent:
        output.feed(bytes([byte]))
    assert len(output._chunks) == FIRST_WINDOW // SMALL
    output.end()
    assert await read_all(output) == sent


# ---- over a pipe ----


def sent_by(launcher: RemoteLauncher) -> list[Kind]:
    """Return a list that gets each control frame that the driver sends from now on."""
    kinds: list[Kind] = []
    link = launcher.connection.peer.link
    send = link.send

    def record(kind: Kind, number: int = 0, body: dict[str, Any] | None = None) -> None:
        kinds.append(kind)
        send(kind, number, body)

    link.send = record  # type: ignore[method-assign]
    return kinds


@pytest.mark.anyio
@needs_proc
async def test_process_without_leftovers_costs_one_round_trip() -> None:
    """If the group is known to be gone, `stop` and `aclose` send no question."""
    async with over_pipe() as launcher:
        kinds = sent_by(launcher)
        process = await launcher.launch(Command(["echo", "hi"]))
        await process.wait()
        await process.stop(15, 1.0)
        await process.wait_group()
        assert not await process.send_signal(15)
        assert await read_all(process.stdout) == b"hi\n"
        await process.aclose()
        assert [kind for kind in kinds if kind != Kind.PING] == [Kind.START, Kind.CLOSE]


@pytest.mark.anyio
@needs_proc
async def test_unread_output_waits_on_the_host() -> None:
    """The driver holds no more than the windows, and other commands are not delayed."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            process = await launcher.launch(Command(["yes"]))
            other = await launcher.launch(Command(["head", "-c", "3000000", "/dev/zero"]))
            assert len(await read_all(other.stdout)) == 3_000_000
            assert process.stdout is not None
            assert process.stdout._window._credit == 0
            assert sum(map(len, process.stdout._chunks)) == FIRST_WINDOW
            assert (await process.stop(15, HOURS)).stopped
            assert (await read_all(process.stdout)).startswith(b"y\ny\n")


@pytest.mark.anyio
@needs_proc
async def test_output_of_many_commands_is_complete() -> None:
    """Each stream waits for its own credit, and for room in the queue."""
    size = 20_000_000
    sizes: list[int] = []

    async def read(stream: ByteReceiveStream) -> None:
        sizes.append(sum([len(data) async for data in stream]))

    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher, anyio.create_task_group() as tasks:
            for _ in range(4):
                process = await launcher.launch(Command(["head", "-c", str(size), "/dev/zero"]))
                assert process.stdout is not None
                tasks.start_soon(read, process.stdout)
    assert sizes == [size] * 4


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
@needs_proc
async def test_agent_may_open_more_files_than_a_command_may() -> None:
    """A session of sshd has a low soft limit, and each command takes three files of the agent."""
    with anyio.fail_after(LIMIT):
        async with over_pipe(before="ulimit -Sn 64") as launcher:
            shows = await launcher.launch(Command.shell("read go; ulimit -Sn", stdin=PIPE))
            assert shows.stdin is not None
            await shows.stdin.send(b"\n")
            assert await read_all(shows.stdout) == b"64\n"
            for _ in range(25):
                await launcher.launch(Command(["sleep", "9999"]))


@pytest.mark.anyio
@needs_proc
async def test_stop_does_not_wait_for_the_starts_before_it() -> None:
    """The agent starts one command at a time, and answers between two starts."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher, anyio.create_task_group() as tasks:
            process = await launcher.launch(Command.shell(f"echo ready; {EXEC_FOREVER}"))
            await read_until(process.stdout, b"\n")
            started: list[object] = []

            async def start() -> None:
                started.append(await launcher.launch(Command(["true"])))

            for _ in range(1000):
                tasks.start_soon(start)
            await checkpoint()  # Each task sends its START.
            await process.stop(15, HOURS)
            assert len(started) < 1000
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
@needs_proc
async def test_cancelled_launches_are_dropped_from_the_queue() -> None:
    """The agent drops commands that it has not started, and ends the others."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            for turns in (0, 1, 3, 10, 30):
                async with anyio.create_task_group() as tasks:
                    for _ in range(20):
                        tasks.start_soon(launcher.launch, Command(["sleep", "9999"]))
                    for _ in range(turns):
                        await checkpoint()
                    tasks.cancel_scope.cancel()
                await launcher.launch(Command(["true"]))
            assert len(launcher.connection._processes) <= 5 + 100


@pytest.mark.anyio
@needs_proc
async def test_end_of_input_overtakes_input_that_nobody_reads() -> None:
    """A process may hold a pipe and not read it; a send then fails, as on this machine."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            process = await launcher.launch(Command.shell(EXEC_FOREVER, stdin=PIPE))
            stdin = process.stdin
            assert stdin is not None

            async def send() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await stdin.send(b"x" * 1_000_000)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                await anyio.wait_all_tasks_blocked()
                await stdin.aclose()
            await process.stop(15, HOURS)


@pytest.mark.anyio
@needs_proc
async def test_end_of_input_discards_what_is_not_in_the_pipe(gate: Gate) -> None:
    """A program that reads late gets the bytes in the pipe and the end, as on this machine."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            process = await launcher.launch(Command.shell(f"{gate.wait}; wc -c", stdin=PIPE))
            assert process.stdin is not None
            await process.stdin.send(b"x" * 65536)  # as much as the pipe holds
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.stdin.send, b"x" * 1_000_000)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await process.stdin.aclose()
            assert await process.send_signal(0)  # The agent has got the end by now.
            gate.open()
            assert int(await read_all(process.stdout)) == 65536


@pytest.mark.anyio
@needs_proc
async def test_cancelled_stop_kills_nothing_later() -> None:
    """The timer of a stop runs in the agent, and ends with the stop."""
    async with over_pipe() as launcher:
        line = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done"
        process = await launcher.launch(Command.shell(line))
        await read_until(process.stdout, b"ready\n")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stop, 15, 1.0)
            await read_until(process.stdout, b"asked\n")
            tasks.cancel_scope.cancel()
        began = anyio.current_time()
        await process.stop(15, 1.3)  # The first timer would end this one early.
        assert anyio.current_time() - began >= 1.3


@pytest.mark.anyio
@needs_proc
async def test_command_that_is_given_up_during_its_start_is_ended(
    tmp_path: Path, lifeline: Lifeline
) -> None:
    """A start is repeated while the file of the program is open for writing."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{lifeline.hold('it')}; {EXEC_FOREVER}")
    program.chmod(0o755)
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher, anyio.create_task_group() as tasks:
            other = await launcher.launch(Command.shell(EXEC_FOREVER))

            async def start() -> None:
                with suppress(LaunchError):  # On a slow machine, the retries are over.
                    await launcher.launch(Command([str(program)]))

            with program.open("a"):
                tasks.start_soon(start)
                await checkpoint()  # The task sends its START.
                await other.send_signal(0)  # The agent has got the START by now,
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await other.send_signal(0)  # and the CLOSE.
                    await other.aclose()
            began = anyio.current_time()
        assert anyio.current_time() - began < END_LIMIT
        assert not launcher.connection._processes


@pytest.mark.anyio
@needs_proc
async def test_send_returns_when_the_host_has_written() -> None:
    """`send` raises the error about its own bytes, because it waits for the host."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            process = await launcher.launch(
                Command.shell(
                    "head -c 10 >/dev/null; exec <&-; echo closed; sleep 9999", stdin=PIPE
                )
            )
            assert process.stdin is not None
            await process.stdin.send(b"0123456789")
            assert await read_until(process.stdout, b"\n") == b"closed\n"
            with pytest.raises(anyio.BrokenResourceError):
                await process.stdin.send(b"late")


@pytest.mark.anyio
@needs_proc
async def test_much_input_arrives() -> None:
    """All input arrives in order, although only a part of it is under way at a time."""
    data = os.urandom(1_000_000)
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher, anyio.create_task_group() as tasks:
            process = await launcher.launch(Command(["cat"], stdin=PIPE))

            async def send() -> None:
                assert process.stdin is not None
                await process.stdin.send(data)
                await process.stdin.aclose()

            tasks.start_soon(send)
            assert await read_all(process.stdout) == data
            assert (await process.wait()).code == 0


@pytest.mark.anyio
@needs_proc
@pytest.mark.parametrize(
    "command", [Command(["true"], stdout="inherit"), Command(["cat"], stdin=0)]
)
async def test_command_with_a_file_of_the_driver_is_refused(command: Command) -> None:
    """A file descriptor of this program has no meaning on another host."""
    async with over_pipe() as launcher:
        with pytest.raises(LaunchError, match=r"another host|open file"):
            await launcher.launch(command)


@pytest.mark.anyio
@needs_proc
async def test_limits_of_a_command_hold_on_the_host() -> None:
    """Resource limits work on a host as they do on this machine."""
    async with over_pipe() as launcher:
        command = Command.shell("ulimit -n; umask", limits=Limits(open_files=64), umask=0o27)
        process = await launcher.launch(command)
        assert await read_all(process.stdout) == b"64\n0027\n"
