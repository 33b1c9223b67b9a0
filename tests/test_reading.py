"""Reading: nothing is lost, a slow reader slows the commands, and no wait can deadlock."""

from __future__ import annotations

import gc
import warnings
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Batch,
    Command,
    CommandError,
    Dropped,
    Exited,
    Line,
    LocalLauncher,
    RestartPolicy,
    Runner,
    Started,
    UnreadOutputWarning,
)
from currant._channel import buffer, flushing, output
from currant._channel.channel import Channel
from currant._channel.flushing import FlushingSplitter
from currant._channel.output import Output
from currant._channel.readers import (
    LINES_PER_MESSAGE,
    LINES_PER_SHARED_TURN,
    LINES_PER_TURN,
    BatchReader,
    LineReader,
)
from currant._synchronization import HomeLoop, Notifier
from currant._values import lines as lines_module
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.reading import first_line, messages_of
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage, Message

pytestmark = pytest.mark.anyio

MANY = 200_000
NUMBERS = b"".join(b"%d\n" % number for number in range(1, MANY + 1))
SEQ = ["seq", str(MANY)]


def written(messages: Iterable[Message | BatchMessage], stream: str = "stdout") -> bytes:
    """Return the bytes of one stream that the messages carry."""
    parts = []
    for message in messages:
        match message:
            case Line() if message.stream == stream:
                parts += [message.data, message.ending]
            case Batch() if message.stream == stream:
                parts.append(message.data)
    return b"".join(parts)


def dropped(messages: Iterable[Message | BatchMessage]) -> int:
    """Return how many lines the messages report as discarded."""
    return sum(message.lines for message in messages if isinstance(message, Dropped))


async def test_all_bytes_arrive_by_line_and_by_batch() -> None:
    """Lines and batches, endings included, add up to the bytes that the command wrote."""
    async with Runner([SEQ]) as runner:
        assert written(await messages_of(runner)) == NUMBERS
    async with Runner([SEQ]) as runner:
        batches = [message async for message in runner.batches()]
        assert written(batches) == NUMBERS
        assert len(batches) < MANY / 100


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 300,
        "añ€😀\n".encode() * 20_000,
        b"no end of line",
        b"\r\n\r\r\n\n\r" * 9_999,
        b"x" * 300_000 + b"\n" + b"y" * 70_000,
    ],
    ids=["binary", "utf-8", "unterminated", "endings", "long lines"],
)
async def test_any_bytes_survive_the_round_trip(data: bytes) -> None:
    """NUL, invalid UTF-8, cut characters, CR and long lines arrive unchanged."""
    async with Runner([Command(["cat"], stdin=data)]) as runner:
        messages = await messages_of(runner)
    assert written(messages) == data
    assert max(len(message.data) for message in messages if isinstance(message, Line)) <= 65536


async def test_iteration_resumes_after_break_without_loss() -> None:
    """A new loop continues where the last one stopped, by line or by batch, even inside a batch."""
    seen: list[Message | BatchMessage] = []
    async with Runner([SEQ]) as runner:
        for _ in range(20):
            async for message in runner:
                seen.append(message)
                if len(seen) % 7 == 0:
                    break
            async for batch in runner.batches():
                seen.append(batch)
                break
        seen += await messages_of(runner)
    assert written(seen) == NUMBERS
    assert isinstance(seen[0], Started)
    assert isinstance(seen[-1], Exited)


@pytest.mark.parametrize(("producers", "limit"), [(1, LINES_PER_TURN), (2, LINES_PER_SHARED_TURN)])
async def test_reading_a_large_batch_yields_to_other_tasks(producers: int, limit: int) -> None:
    """Other tasks run after some hundreds of lines, and the whole batch is read."""
    channel = Channel(2)
    for _ in range(producers):
        channel.add_producer()
    await channel.send(Batch("a", "stdout", NUMBERS, 0.0))
    await channel.send(Batch("a", "stdout", b"end\n", 0.0))
    turns = last = since = most = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    lines = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        async for line in LineReader(channel.readers):
            since = 0 if turns != last else since
            last = turns
            lines.append(line)
            since += 1
            most = max(most, since)
            if written([line]) == b"end\n":
                break
        tasks.cancel_scope.cancel()
    channel.close()
    assert written(lines) == NUMBERS + b"end\n"
    # The order of two tasks may change from turn to turn.
    assert LINES_PER_SHARED_TURN / 2 < most <= 2 * limit


@pytest.mark.parametrize("reader", [LineReader, BatchReader])
@pytest.mark.parametrize("kind", ["event", "line"])
async def test_short_messages_share_a_turn(
    kind: str, reader: type[LineReader | BatchReader]
) -> None:
    """A reader takes several messages between two turns of the senders, or it never catches up."""
    number = 400
    channel = Channel(number)
    channel.add_producer()
    channel.add_producer()
    started, line = Started("a", 1, 1, 0.0, None, 0.0), Batch("a", "stdout", b"x\n", 0.0)
    for _ in range(number):
        await channel.send(started if kind == "event" else line)
    turns: list[int] = []

    async def note_turns() -> None:
        while True:
            await checkpoint()
            turns.append(read)

    read = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(note_turns)
        messages = reader(channel.readers)
        while read < number:
            await anext(messages)
            read += 1
        tasks.cancel_scope.cancel()
    channel.close()
    most = max(after - before for before, after in pairwise(turns))
    limit = LINES_PER_SHARED_TURN // LINES_PER_MESSAGE + 1
    # The order of two tasks may change from turn to turn.
    assert limit / 2 < most <= 2 * limit


async def test_batches_returned_by_two_readers_are_in_order() -> None:
    """Two readers hold a batch each, and may leave in either order."""
    halves = [b"".join(b"%d\n" % number for number in half) for half in (range(5), range(5, 10))]
    for leave_first in (0, 1):
        channel = Channel(2)
        for data in halves:
            await channel.send(Batch("a", "stdout", data, 0.0))
        channel.close()
        readers = [LineReader(channel.readers), LineReader(channel.readers)]
        heads = [[await anext(reader) for _ in range(3)] for reader in readers]
        readers.pop(leave_first)
        readers.pop()
        rest = [line async for line in LineReader(channel.readers)]
        numbers = [int(line.data) for line in rest if isinstance(line, Line)]
        assert numbers == sorted(numbers)
        lines = [written([line]) for head in [*heads, rest] for line in head]
        assert sorted(lines) == b"".join(halves).splitlines(keepends=True)


@pytest.mark.parametrize("chunk", [b"x", b"x\n"])
async def test_reading_small_chunks_yields(chunk: bytes) -> None:
    """Reading yields after each chunk: if no line is complete yet, and if there is room to send."""

    class SmallChunks(ByteReceiveStream):
        left = 1000

        async def receive(self, max_bytes: int = 65536) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise anyio.EndOfStream
            return chunk

        async def aclose(self) -> None:
            await checkpoint()

    sent: list[Batch] = []
    turns = 0

    async def send(batch: Batch) -> None:
        sent.append(batch)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        async with anyio.create_task_group() as reading:
            await Output("a", None, (), send).read(SmallChunks(), None, reading)
        tasks.cancel_scope.cancel()
    assert b"".join(batch.data for batch in sent) == chunk * 1000
    assert turns >= 500


async def test_message_of_a_cancelled_sender_is_not_delivered() -> None:
    """A cancelled sender withdraws its message; the messages before it are delivered to the end."""
    channel = Channel(1)
    feed = channel.subscribe()
    await channel.send(Batch("a", "stdout", b"1\n", 0.0))
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(channel.send, Batch(str(number), "stdout", b"2\n", 0.0))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    channel.close()
    assert written([feed.receive_nowait()]) == b"1\n"
    with pytest.raises(anyio.EndOfStream):
        feed.receive_nowait()
    feed.close()


async def test_small_batch_overtakes_large_batches_of_other_commands() -> None:
    """A large batch waits until the buffer is read; small batches of other commands do not wait."""
    channel = Channel(16)
    large, small = b"x" * 127 + b"\n", b"quiet\n"
    sent = 0

    async def chat() -> None:
        nonlocal sent
        for _ in range(8):
            await channel.send(Batch("chatty", "stdout", large * 2048, 0.0))
            sent += 1
        await channel.send(Batch("chatty", "stdout", small, 0.0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chat)
        await anyio.wait_all_tasks_blocked()
        assert sent == 1
        lines = LineReader(channel.readers)
        first = await anext(lines)
        tasks.start_soon(channel.send, Batch("quiet", "stdout", small, 0.0))
        await anyio.wait_all_tasks_blocked()
        # It comes at the end of the reader's turn, before the rest of the 256 KiB.
        before = [await anext(lines) for _ in range(LINES_PER_TURN)]
        turn = LINES_PER_TURN - 1
        assert [line.command for line in before] == ["chatty"] * turn + ["quiet"]
        rest = [await anext(lines) for _ in range(8 * 2048 - LINES_PER_TURN + 1)]
    channel.close()
    later = large * (8 * 2048 - LINES_PER_TURN) + small
    assert written([first, *before, *rest]) == large * LINES_PER_TURN + small + later


async def test_batch_that_overtakes_makes_room() -> None:
    """A large batch that waits for the room of a small one is admitted when that is read."""
    channel, large = Channel(16), (b"x" * 99 + b"\n") * 2_621
    for _ in range(2):
        channel.add_producer()
    lines = LineReader(channel.readers)
    with anyio.fail_after(LIMIT):
        await channel.send(Batch("chatty", "stdout", large, 0.0))
        read = [await anext(lines)]
        await channel.send(Batch("quiet", "stdout", b"quiet\n" * 10, 0.0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.send, Batch("chatty", "stdout", large, 0.0))
            await anyio.wait_all_tasks_blocked()
            read += [await anext(lines) for _ in range(2 * 2_621 + 9)]
    channel.close()
    assert len(written(read)) == 2 * len(large) + 60


async def test_loop_that_is_left_splits_no_more_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a loop that takes one line and is left may be repeated for each line of a large batch."""
    channel, split = Channel(16), 0
    channel.add_producer()
    split_lines = lines_module.split_lines

    def counting(data: bytes, limit: int) -> Any:
        nonlocal split
        split += len(data)
        return split_lines(data, limit)

    monkeypatch.setattr(lines_module, "split_lines", counting)
    data = b"1\n" * 100_000
    await channel.send(Batch("a", "stdout", data, 0.0))
    for _ in range(10):
        async for _ in LineReader(channel.readers):
            break
    assert 0 < split < len(data) / 2
    channel.remove_producer()
    assert len([line async for line in LineReader(channel.readers)]) == 100_000 - 10
    channel.close()


async def test_small_batch_does_not_overtake_what_is_left_of_another() -> None:
    """A small batch may have many lines, so that a reader takes several turns for it."""
    channel = Channel(16)
    for _ in range(2):
        channel.add_producer()
    first, large = b"1\n" * 2_000, b"x" * 127 + b"\n"
    await channel.send(Batch("quiet", "stdout", first, 0.0))
    await channel.send(Batch("chatty", "stdout", large * 100, 0.0))
    lines = LineReader(channel.readers)
    read = [await anext(lines)]
    await channel.send(Batch("quiet", "stdout", b"2\n", 0.0))
    read += [await anext(lines) for _ in range(2_100)]
    channel.close()
    assert written(read) == first + b"2\n" + large * 100


async def test_batch_that_waited_for_room_does_not_overtake_its_own_command() -> None:
    """It enters the buffer while a reader takes the large batch before it."""
    channel, large, small = Channel(2), (b"x" * 99 + b"\n") * 50, b"end\n"
    for command in "ab":
        channel.add_producer()
        await channel.send(Batch(command, "stdout", large, 0.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, Batch("a", "stdout", small, 0.0))
        await anyio.wait_all_tasks_blocked()
        lines = LineReader(channel.readers)
        read = [await anext(lines) for _ in range(101)]
    channel.close()
    assert written([line for line in read if line.command == "a"]) == large + small


@pytest.mark.parametrize("seed", range(4))
async def test_lines_of_a_command_stay_in_order(seed: int) -> None:
    """Whatever overtakes what, and whenever a loop is left, no line overtakes its own command."""
    random, channel = Random(seed), Channel(8)
    sizes = {name: [random.choice([1, 3, 500, 5_000]) for _ in range(20)] for name in "abc"}

    async def write(name: str) -> None:
        number = 0
        for size in sizes[name]:
            lines = [b"%06d\n" % each for each in range(number, number + size)]
            await channel.send(Batch(name, "stdout", b"".join(lines), 0.0))
            number += size
            await checkpoint()
        channel.remove_producer()

    came: dict[str | None, list[int]] = {name: [] for name in sizes}
    async with anyio.create_task_group() as tasks:
        for name in sizes:
            channel.add_producer()
            tasks.start_soon(write, name)
        while channel.is_producing or channel.readers.has_messages:
            async for line in LineReader(channel.readers):
                assert isinstance(line, Line)
                came[line.command].append(int(line.data))
                if random.random() < 0.001:
                    break
    channel.close()
    assert came == {name: list(range(sum(sizes[name]))) for name in sizes}


async def test_large_batch_is_overtaken_a_bounded_number_of_times() -> None:
    """However many small batches other commands send, a waiting large batch gets its turn."""
    channel = Channel(4)
    channel.add_producer()
    line = b"x" * 99 + b"\n"
    commands: list[str | None] = []

    async def send(command: str, data: bytes) -> None:
        while True:
            await channel.send(Batch(command, "stdout", data, 0.0))

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(send, f"spammer {number}", line)
        tasks.start_soon(send, "bulk", line * 3000)
        async for message in BatchReader(channel.readers):
            commands.append(message.command)
            if len(commands) == 1000:
                break
        tasks.cancel_scope.cancel()
    channel.close()
    assert commands.count("bulk") >= 1000 // (16 + 4 + 3 + 2)  # overtakes, buffer, tasks in turn


async def test_two_tasks_share_the_messages() -> None:
    """Each message goes to one of the two tasks; together they receive every message."""
    seen: list[Message] = []

    async def read() -> None:
        async for message in runner:
            seen.append(message)  # noqa: PERF401 - the two tasks share the list

    async with Runner([SEQ]) as runner, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(read)
    lines = sorted(int(message.data) for message in seen if isinstance(message, Line))
    assert lines == list(range(1, MANY + 1))


@pytest.mark.parametrize("batches", [False, True])
async def test_tasks_that_step_one_iterator_lose_nothing(*, batches: bool) -> None:
    """A step that a time limit has left behind goes on beside the next step."""
    seen: list[Message | BatchMessage] = []

    async def step(messages: AsyncIterator[Message | BatchMessage]) -> None:
        while (message := await anext(messages, None)) is not None:
            seen.append(message)
            await checkpoint()

    async with Runner([SEQ]) as runner, anyio.create_task_group() as tasks:
        messages = runner.batches() if batches else aiter(runner)
        for _ in range(3):
            tasks.start_soon(step, messages)
    assert sorted(written(seen).split()) == sorted(NUMBERS.split())


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Leave the garbage to the test."""
    gc.disable()
    yield
    gc.enable()


async def leave_a_reader_in_a_cycle(runner: Runner) -> None:
    """Read one line; the reader is then garbage that only a collection finds."""
    messages = aiter(runner)
    cycle: list[object] = [messages]
    cycle.append(cycle)
    while not isinstance(await anext(messages), Line):
        pass


async def collect_garbage(where: str) -> None:
    """Collect in another thread, or in the event loop outside of any task."""
    if where == "thread":
        await anyio.to_thread.run_sync(gc.collect)
    else:
        home, is_done = HomeLoop(), anyio.Event()
        home.check("a test")
        home.call_soon_threadsafe(gc.collect)
        home.call_soon_threadsafe(is_done.set)
        await is_done.wait()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("where", ["thread", "callback"])
async def test_lines_of_a_reader_that_is_collected_come_again(where: str) -> None:
    """A reader that sleeps meanwhile gets the lines that the other has not seen."""
    command = Command.shell("printf '1\\n2\\n3\\n'; read x", name="c", stdin=PIPE)
    seen: list[bytes] = []

    async def read() -> None:
        async for message in runner:
            if isinstance(message, Line):
                seen.append(message.data)
            if seen[-1:] == [b"3"]:
                tasks.cancel_scope.cancel()

    with anyio.fail_after(LIMIT):
        async with Runner([command]) as runner:
            await leave_a_reader_in_a_cycle(runner)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                await collect_garbage(where)
    assert seen == [b"2", b"3"]


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("where", ["thread", "callback"])
async def test_reader_is_collected_while_the_channel_is_full(where: str) -> None:
    """The event loop sees no error, and the next reader goes on."""
    with anyio.fail_after(LIMIT):
        async with Runner([SEQ], buffer_size=1, unread="wait") as runner:
            await leave_a_reader_in_a_cycle(runner)
            await anyio.wait_all_tasks_blocked()
            await collect_garbage(where)
            assert written(await messages_of(runner)) == NUMBERS[2:]


async def test_slow_reader_slows_the_command() -> None:
    """Output that is not read yet is neither lost nor piled up: the command has to wait."""
    async with Runner([SEQ], buffer_size=1, unread="wait") as runner:
        await first_line(runner, "seq")
        await anyio.wait_all_tasks_blocked()
        assert runner["seq"].state == "running"
        assert written([m async for m in runner]) == NUMBERS[2:]


async def test_cancelled_reader_loses_nothing() -> None:
    """A reader that is cancelled while it waits takes no message with it."""
    seen: list[Message] = []
    async with Runner([SEQ], buffer_size=1) as runner:
        for _ in range(50):
            with anyio.move_on_after(0):
                async for message in runner:
                    seen.append(message)  # noqa: PERF401 - must survive the cancellation
        seen += await messages_of(runner)
    assert written(seen) == NUMBERS


async def test_next_loop_goes_on_where_a_cancelled_loop_was_left() -> None:
    """The rest of a large batch is not lost while the exception keeps the first loop's reader."""
    numbers = [str(number) for number in range(4 * LINES_PER_TURN)]
    launcher = FakeLauncher(default=Script(stdout="\n".join(numbers).encode()))
    seen: list[str] = []
    kept: list[BaseException] = []
    async with Runner(["tool"], launcher=launcher) as runner:
        with anyio.CancelScope() as scope:
            try:
                async for message in runner:
                    if isinstance(message, Line):
                        seen.append(message.text)
                        scope.cancel()
            except BaseException as cancellation:
                kept.append(cancellation)
                raise
        assert 0 < len(seen) < len(numbers)
        seen += [message.text async for message in runner if isinstance(message, Line)]
    assert seen == numbers
    kept.clear()


async def test_join_without_a_reader_discards_and_counts_output() -> None:
    """Without a reader, the oldest output is discarded and counted; the rest can be read later."""
    async with Runner([SEQ], buffer_size=1) as runner:
        with anyio.fail_after(60):
            await runner.join()
        messages = await messages_of(runner)
    lines = [int(message.data) for message in messages if isinstance(message, Line)]
    assert dropped(messages) + len(lines) == MANY
    assert lines == list(range(MANY - len(lines) + 1, MANY + 1))
    kinds = [type(message) for message in messages]
    assert kinds[:2] == [Started, Dropped]
    assert kinds[-1] is Exited


async def test_waiting_task_releases_a_command_blocked_on_a_full_channel() -> None:
    """A full channel without a reader is abandoned as soon as a task waits for a command."""
    async with Runner([SEQ], buffer_size=1, unread="wait") as runner:
        await runner["seq"].until_started()
        await anyio.wait_all_tasks_blocked()
        assert runner["seq"].state == "running"
        with anyio.fail_after(60):
            assert (await runner["seq"].wait()).status == "succeeded"


@pytest.mark.parametrize("wait", ["join", "wait", "start", "exit", "send"])
async def test_no_call_waits_for_a_reader_that_left(wait: str) -> None:
    """A loop left by `break` is not a reader: the commands go on, whichever call waits."""
    with anyio.fail_after(60):
        commands = {"seq": SEQ, "cat": Command(["cat"], stdin=-1)}
        async with Runner(commands, buffer_size=1) as runner:
            await first_line(runner, "seq")
            match wait:
                case "join":
                    await runner["cat"].close_stdin()
                    await runner.join()
                case "wait":
                    await runner["seq"].wait()
                case "start":
                    await runner.start("true")
                case "send":
                    await runner["cat"].send(NUMBERS)
            await runner["cat"].close_stdin()
    assert runner.results.ok


async def test_waiting_inside_the_reading_loop_does_not_deadlock() -> None:
    """A task that waits for a command inside ``async for`` does not count as a reader."""
    with anyio.fail_after(60):
        async with Runner([SEQ], buffer_size=1) as runner:
            async for message in runner:
                if isinstance(message, Started):
                    await runner["seq"].wait()
                    break
    assert runner.results.ok


async def test_join_waits_for_a_reader_that_is_present() -> None:
    """While another task iterates, nothing is discarded; join returns after the last message."""
    seen: list[Message] = []

    async def read() -> None:
        async for message in runner:
            seen.append(message)
            if len(seen) % 10_000 == 0:
                await anyio.wait_all_tasks_blocked()

    async with Runner([SEQ], buffer_size=2) as runner, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await runner.join()
        assert isinstance(seen[-1], Exited)
    assert written(seen) == NUMBERS


async def test_reader_whose_task_is_cancelled_does_not_block_join() -> None:
    """Cancelling the task of a reader in mid-loop releases the tasks that wait."""
    reading = anyio.Event()
    with anyio.fail_after(60):
        async with Runner([SEQ], buffer_size=1) as runner, anyio.create_task_group() as tasks:

            async def read_a_little() -> None:
                async for message in runner:
                    if isinstance(message, Line):
                        reading.set()
                        await anyio.sleep_forever()

            tasks.start_soon(read_a_little)
            async with anyio.create_task_group() as joining:
                joining.start_soon(runner.join)
                await reading.wait()
                await anyio.wait_all_tasks_blocked()
                assert runner["seq"].state == "running"
                tasks.cancel_scope.cancel()
    assert runner.results.ok


async def test_kill_works_with_a_full_channel() -> None:
    """A command that writes without pause and without a reader is stopped; join returns."""
    async with Runner({"c": Command.shell("yes 0123456789")}, unread="wait") as runner:
        await anyio.wait_all_tasks_blocked()
        runner.kill()
        with anyio.fail_after(30):
            assert (await runner.join())["c"].status == "stopped"


async def test_slow_reader_gets_all_output_of_a_killed_command() -> None:
    """Output written before a kill is read after it, complete and in order."""
    script = "seq 50000; echo done >&2; exec sleep 9999"
    async with Runner({"c": Command.shell(script)}, buffer_size=1) as runner:
        seen: list[BatchMessage] = []
        async for message in runner.batches():
            if isinstance(message, Batch):
                runner.kill()
                await anyio.wait_all_tasks_blocked()
            seen.append(message)
    data = written(seen)
    assert data == b"".join(b"%d\n" % number for number in range(1, 50_001))[: len(data)]
    assert dropped(seen) == 0
    assert isinstance(seen[-1], Exited)


async def test_block_left_by_an_exception_waits_for_no_reader() -> None:
    """Another task's unfinished loop does not hold up a block whose body has failed."""
    async with anyio.create_task_group() as tasks:

        async def read_slowly() -> None:
            async for _ in runner:
                await anyio.sleep_forever()

        with anyio.fail_after(30), pytest.raises(KeyError):
            async with Runner({"c": Command.shell("yes")}) as runner:
                tasks.start_soon(read_slowly)
                await anyio.wait_all_tasks_blocked()
                raise KeyError
        tasks.cancel_scope.cancel()


async def test_lifecycle_messages_are_kept_for_a_late_reader_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lifecycle messages are not discarded with the output; their number has a bound."""
    monkeypatch.setattr(buffer, "MAX_EVENTS_KEPT", 300)
    launcher = FakeLauncher(default=Script(stdout=b"x\n"))
    async with Runner([f"c{n}" for n in range(100)], launcher=launcher) as runner:
        await runner.join()
        messages = await messages_of(runner)
        assert len([m for m in messages if isinstance(m, Started)]) == 100
        assert len([m for m in messages if isinstance(m, Exited)]) == 100

        policy = RestartPolicy("always", delay=0, max_restarts=200)
        runner.start_soon(Command(["storm"], restart=policy))
        await runner.join()
        assert 300 <= len(await messages_of(runner)) <= 300 + 16


async def test_iteration_ends_with_the_last_command_and_resumes_with_the_next() -> None:
    """The end of a loop is not the end of the Runner."""
    async with Runner(["a"], launcher=FakeLauncher()) as runner:
        assert [m.command for m in await messages_of(runner)] == ["a", "a"]
        assert await messages_of(runner) == []
        runner.start_soon("b")
        assert [m.command for m in await messages_of(runner)] == ["b", "b"]


async def test_unread_messages_can_be_read_after_the_block() -> None:
    """The last messages are not lost with the block."""
    async with Runner(["a"], launcher=FakeLauncher(default=Script(stdout=b"hi\n"))) as runner:
        pass
    assert [type(message) for message in await messages_of(runner)] == [Started, Line, Exited]


async def test_dropped_lines_are_reported_in_order_after_the_block() -> None:
    """A Runner that is read after its block counts the lost lines before the later ones."""
    with anyio.fail_after(60):
        async with Runner([SEQ], buffer_size=1) as runner:
            pass
    messages = await messages_of(runner)
    kinds = [type(message) for message in messages]
    assert kinds[:2] == [Started, Dropped]
    assert kinds[-1] is Exited
    lines = [int(message.data) for message in messages if isinstance(message, Line)]
    assert lines == list(range(dropped(messages) + 1, MANY + 1))


async def test_commands_with_a_sink_never_wait_for_iteration() -> None:
    """As in a web app: a sink takes the output, no task iterates, the body waits elsewhere."""
    taken = bytearray()
    all_taken = anyio.Event()

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            if isinstance(message, Batch):
                taken.extend(message.data)
                if taken.endswith(b"end\n"):
                    all_taken.set()

    script = f"seq {MANY}; echo end; exec sleep 9999"
    async with Runner({"c": Command.shell(script)}, sinks=[sink], buffer_size=1) as runner:
        with anyio.fail_after(60):
            await all_taken.wait()
        runner.kill()
    assert taken == NUMBERS + b"end\n"


async def test_runner_that_is_not_iterable_has_messages_for_its_sinks_alone() -> None:
    """Its sinks have everything; iterating over it is an error."""
    taken: list[BatchMessage] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            taken.append(message)  # noqa: PERF401 - the list grows while the sink runs

    launcher = FakeLauncher(default=Script(stdout=b"hi\n"))
    async with Runner(["a"], launcher=launcher, sinks=[sink], iterable=False) as runner:
        pass
    assert [type(message) for message in taken] == [Started, Batch, Exited]
    with pytest.raises(RuntimeError, match="iterable=False"):
        await messages_of(runner)


async def test_endless_line_arrives_in_bounded_pieces() -> None:
    """20 MB without a newline arrive in pieces of at most 64 KiB."""
    size = 0
    async with Runner({"c": Command.shell("head -c 20000000 /dev/zero")}) as runner:
        async for message in runner:
            if isinstance(message, Line):
                assert len(message.data) <= 65536
                assert message.ending == b""
                size += len(message.data)
    assert size == 20_000_000


@pytest.mark.parametrize("limit", [1_000, 300_000])
async def test_line_limit_holds_for_readers_sinks_and_counts(limit: int) -> None:
    """A line of up to the limit stays whole; a longer one comes in pieces of whole characters."""
    line = "xé".encode() * 70_000
    launcher = FakeLauncher(default=Script(stdout=line + b"\n" + b"short\n"))
    taken: list[BatchMessage] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            taken.append(message)  # noqa: PERF401 - the list grows while the sink runs

    commands = [Command(["c"], line_limit=limit)]
    async with Runner(commands, launcher=launcher, sinks=[sink], unread="wait") as runner:
        async for message in runner:
            if isinstance(message, Line):
                first = message
                break
        rest = [message async for message in runner if isinstance(message, Line)]
    lines = [line for batch in taken if isinstance(batch, Batch) for line in batch.lines()]
    assert [line[1:4] for line in lines] == [line[1:4] for line in [first, *rest]]
    assert written(lines) == line + b"\nshort\n"
    assert [line.text for line in lines if "\ufffd" in line.text] == []
    assert max(len(line.data) for line in lines) == min(limit, len(line))
    assert lines[-1].data == b"short"
    assert all(len(line.data) <= limit for line in runner.results["c"].tail)


async def test_iterator_whose_task_has_ended_does_not_block_join() -> None:
    """An iterator in a variable is not a reader if the task that read from it has ended."""
    kept = []

    async def read_one() -> None:
        kept.append(aiter(runner))
        await anext(kept[0])

    with anyio.fail_after(60):
        async with Runner({"c": Command(["yes"])}, grace=0.5) as runner:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_one)
            runner.kill()
            await runner.join()
    assert runner.results["c"].status == "stopped"


async def test_join_waits_until_all_readers_have_read_their_lines() -> None:
    """A reader in the middle of a batch is not done, even if the channel is empty."""
    seen: list[Message] = []

    async def read() -> None:
        async for message in runner:
            seen.append(message)
            await checkpoint()

    async with Runner([["seq", "300"]]) as runner, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(read)
        await runner.join()
        assert len([message for message in seen if isinstance(message, Line)]) == 300


async def test_dropped_counts_survive_the_bound_on_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound on lifecycle messages, the counts of discarded lines are kept."""
    monkeypatch.setattr(buffer, "MAX_EVENTS_KEPT", 10)
    launcher = FakeLauncher(default=Script(stdout=b"hi\n", exit=1))
    policy = RestartPolicy("always", max_restarts=99, delay=0)
    async with Runner(["c"], restart=policy, launcher=launcher) as runner:
        await runner.join()
        messages = await messages_of(runner)
    assert dropped(messages) + len([m for m in messages if isinstance(m, Line)]) == 100


async def test_sink_that_waits_for_the_commands_does_not_block_them() -> None:
    """A sink may wait for one command or for all without holding up the others."""
    waits = anyio.Event()

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        waits.set()
        await runner["yes"].wait()
        await runner.join()

    with anyio.fail_after(60):
        async with Runner(["yes"], sinks=[sink], buffer_size=1, grace=0.5) as runner:
            # Not `wait_all_tasks_blocked`: a command whose output is discarded never blocks.
            await waits.wait()
            runner.kill()
    assert runner.results.ok


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_system_exit_raised_by_a_sink_leaves_the_block_unwrapped(
    error: type[BaseException],
) -> None:
    """KeyboardInterrupt and SystemExit in a sink are not cancellations: they leave unwrapped."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        raise error("mine")

    with pytest.raises(error, match="mine"):
        async with Runner(["a"], sinks=[sink], launcher=FakeLauncher()):
            pass


async def test_endless_sink_does_not_hold_a_block_cancelled_on_entry() -> None:
    """The time limit of sinks also covers sinks that begin after the cancellation."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await anyio.sleep_forever()

    launcher = FakeLauncher(_limits=ShutdownLimits(sinks=0.05))
    with anyio.fail_after(30), anyio.CancelScope() as scope:
        scope.cancel()
        async with Runner(["a"], sinks=[sink], launcher=launcher, grace=0.05):
            pass
    assert scope.cancelled_caught


@pytest.mark.parametrize("kind", ["batches", "lines"])
async def test_iterator_in_a_variable_is_no_reader_after_break(kind: str) -> None:
    """A loop over an iterator in a variable ends at `break`, although the iterator lives on."""
    command = Command.shell("seq 100000")
    with anyio.fail_after(60):
        async with Runner({"c": command}, buffer_size=1) as runner:
            named = runner.batches() if kind == "batches" else aiter(runner)
            async for _ in named:
                break
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner.join)
            left = [message async for message in named]
    assert isinstance(left[-1], Exited)
    assert dropped(left) > 0


async def test_iterator_in_a_variable_resumes_where_it_stopped() -> None:
    """Single steps and loops over the same iterator lose nothing and keep the order."""
    async with Runner([["seq", "9"]]) as runner:
        named = aiter(runner)
        seen = [await anext(named), await anext(named)]
        async for message in named:
            seen.append(message)
            break
        seen.append(await anext(named))
        seen += [message async for message in named]
    lines = [message.text for message in seen if isinstance(message, Line)]
    assert lines == [str(number) for number in range(1, 10)]


async def test_reader_whose_steps_run_in_their_own_tasks_is_present() -> None:
    """As with `asyncio.wait_for` on Python 3.11: the task that made the iterator is the reader."""
    seen: list[BatchMessage] = []

    async def step() -> None:
        with suppress(StopAsyncIteration):
            seen.append(await anext(messages))

    async with Runner([SEQ], buffer_size=1) as runner, anyio.create_task_group() as tasks:
        tasks.start_soon(runner["seq"].wait)
        messages = runner.batches()
        while not (seen and isinstance(seen[-1], Exited)):
            async with anyio.create_task_group() as steps:
                steps.start_soon(step)
            await anyio.wait_all_tasks_blocked()  # let the command fill the channel
    assert written(seen) == NUMBERS


# ---- no reader at all ----

SOON = 0.01
"""Seconds for which a full channel waits for a reader, in place of a second."""

SEQ_AND_STAY = {"c": Command.shell(f"seq {MANY}; echo end; exec sleep 9999")}


def impatient() -> LocalLauncher:
    """Return a launcher whose Runner waits `SOON` for a reader."""
    return LocalLauncher(_limits=ShutdownLimits(unread=SOON))


async def until_all_is_written(runner: Runner) -> None:
    """Wait until the end of the output was read from the pipe; this does not count as waiting."""
    with anyio.fail_after(60):
        # Nothing else shows the progress of a command without being a reader or a wait.
        while [line.text for line in runner["c"].tail[-1:]] != ["end"]:  # noqa: ASYNC110
            await anyio.sleep(0.001)


async def test_body_that_never_reads_does_not_block_the_command() -> None:
    """Without any reader, output is discarded after a while; a later reader gets the rest."""
    with pytest.warns(UnreadOutputWarning) as warned:
        async with Runner(SEQ_AND_STAY, buffer_size=1, launcher=impatient()) as runner:
            await until_all_is_written(runner)
            runner.kill()
            messages = await messages_of(runner)
    lines = [message.text for message in messages if isinstance(message, Line)]
    assert dropped(messages) + len(lines) == MANY + 1
    assert lines[-1] == "end"
    assert [type(message) for message in messages[:2]] == [Started, Dropped]
    (warning,) = warned
    assert warning.filename == __file__
    for way_out in ("async for", "sink", "iterable=False", "unread='wait'", "'c'"):
        assert way_out in str(warning.message)


@pytest.mark.parametrize("way", ["break", "end of the task", "cancellation"])
async def test_reader_that_has_gone_does_not_block_the_command(way: str) -> None:
    """After a loop is left or its task is over, the commands wait for a reader only so long."""
    kept = []

    async def read_a_little(runner: Runner) -> None:
        if way == "end of the task":
            kept.append(aiter(runner))
            await anext(kept[0])
            return
        async for message in runner:
            if isinstance(message, Line):
                if way == "break":
                    break
                tasks.cancel_scope.cancel()
                await checkpoint()

    with pytest.warns(UnreadOutputWarning):
        async with Runner(SEQ_AND_STAY, buffer_size=1, launcher=impatient()) as runner:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_a_little, runner)
            await until_all_is_written(runner)
            runner.kill()


async def test_slow_reader_loses_nothing() -> None:
    """A reader that takes much longer for a message than the time limit is still a reader."""
    seen: list[BatchMessage] = []
    async with Runner([SEQ], buffer_size=1, launcher=impatient()) as runner:
        async for message in runner.batches():
            seen.append(message)
            if len(seen) < 4:
                await anyio.sleep(10 * SOON)
    assert written(seen) == NUMBERS
    assert dropped(seen) == 0


async def test_commands_wait_for_a_reader_if_told_to() -> None:
    """With ``unread="wait"`` nothing is discarded however late the reader comes."""
    async with Runner([SEQ], buffer_size=1, launcher=impatient(), unread="wait") as runner:
        await anyio.sleep(10 * SOON)
        assert written(await messages_of(runner)) == NUMBERS


async def test_loop_begun_again_in_time_loses_nothing() -> None:
    """A loop that is left is no loss, if another begins before the time limit."""
    seen: list[Message] = []
    patient = LocalLauncher(_limits=ShutdownLimits(unread=LIMIT))
    async with Runner([SEQ], buffer_size=1, launcher=patient) as runner:
        for _ in range(3):
            async for message in runner:
                seen.append(message)
                if len(seen) % 1000 == 0:
                    break
            await anyio.wait_all_tasks_blocked()
        seen += await messages_of(runner)
    assert written(seen) == NUMBERS


async def test_commands_wait_for_a_reader_anew_after_a_task_has_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wait empties the channel; only from the next time that it is full, the time counts."""
    discarded: list[str] = []
    channel = Channel(1, unread_timeout=HOURS, on_unread=discarded.append)
    now = anyio.current_time

    async def send_two() -> None:
        for _ in range(2):
            await channel.send(Batch("c", "stdout", b"line\n", 0.0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_two)
        await anyio.wait_all_tasks_blocked()  # The channel is full.
        with channel.waiting():
            await anyio.wait_all_tasks_blocked()
        monkeypatch.setattr(anyio, "current_time", lambda: now() + 2 * HOURS)
        tasks.start_soon(send_two)
        await anyio.wait_all_tasks_blocked()
        assert discarded == []
        tasks.cancel_scope.cancel()
    channel.close()


@pytest.mark.parametrize("value", [None, True, "drop", ""])
async def test_unread_takes_two_words_only(value: Any) -> None:
    """Any other value is an error when the Runner is built."""
    with pytest.raises(CommandError, match="'discard' or 'wait'"):
        Runner(unread=value)


async def test_unread_warning_turned_into_an_error_leaves_the_block_unwrapped() -> None:
    """As pytest and ``-W error`` do it: all commands are stopped."""
    with warnings.catch_warnings(), pytest.raises(UnreadOutputWarning):
        warnings.simplefilter("error")
        async with Runner(["yes"], buffer_size=1, launcher=impatient()) as runner:
            await runner.barrier.wait()


# ---- several tasks on one stream ----


async def test_readers_that_share_the_messages_sleep_while_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two idle readers, and two idle tasks of a sink, do not wake one another."""
    notified = 0
    notify_all = Notifier.notify_all

    def counted(self: Notifier) -> None:
        nonlocal notified
        notified += 1
        notify_all(self)

    async def read() -> None:
        async for _ in runner:
            pass

    async def take(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            pass

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async with anyio.create_task_group() as takers:
            takers.start_soon(take, messages)
            takers.start_soon(take, messages)

    launcher = FakeLauncher(default=Script(exit=None))
    async with (
        Runner(["a"], launcher=launcher, sinks=[sink]) as runner,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(2):
            tasks.start_soon(read)
            tasks.start_soon(runner.join)
        await runner["a"].until_started()
        for _ in range(50):
            await checkpoint()
        monkeypatch.setattr(Notifier, "notify_all", counted)
        for _ in range(100):
            await checkpoint()
        assert notified == 0
        runner.kill()


async def test_sink_with_two_tasks_is_waited_for() -> None:
    """`join` returns when the last message was taken, and a task asks for more."""
    taken: list[BatchMessage] = []

    async def take(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for message in messages:
            taken.append(message)  # noqa: PERF401 - two tasks share the list

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async with anyio.create_task_group() as takers:
            takers.start_soon(take, messages)
            takers.start_soon(take, messages)

    launcher = FakeLauncher(default=Script(stdout=b"hi\n"))
    async with Runner(["a"], launcher=launcher, sinks=[sink]) as runner:
        with anyio.fail_after(60):
            await runner.join()
        assert {type(message) for message in taken} == {Started, Batch, Exited}


# ---- unfinished lines ----


async def next_line(runner: Runner) -> tuple[bytes, bytes]:
    """Return the data and the ending of the next line."""
    with anyio.fail_after(30):
        async for message in runner:
            if isinstance(message, Line):
                return message.data, message.ending
    raise AssertionError("no line came")


@pytest.mark.parametrize("after", [0, 0.01])
async def test_unfinished_line_is_passed_on_after_silence(after: float) -> None:
    """A prompt arrives before it is answered; the rest of its line is a line with its ending."""
    launcher = FakeLauncher(default=Script(stdout=b"one\nName: ", exit=None))
    command = Command(["c"], flush_after=after)
    async with Runner([command], launcher=launcher, unread="wait") as runner:
        assert await next_line(runner) == (b"one", b"\n")
        assert await next_line(runner) == (b"Name: ", b"")
        launcher["c"].write(b"Tim\r")
        assert await next_line(runner) == (b"Tim", b"")
        launcher["c"].write(b"\nbye")
        assert await next_line(runner) == (b"", b"\r\n")
        launcher["c"].write(b"!\n", "stderr")
        assert {await next_line(runner), await next_line(runner)} == {(b"bye", b""), (b"!", b"\n")}
        runner.kill()


async def test_line_that_is_never_silent_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dots arrive although more dots keep coming, in the Runner and in `Job.lines`."""
    monkeypatch.setattr(flushing, "PATIENCE", 0)
    launcher = FakeLauncher(default=Script(stdout=b"one\n.", exit=None))
    command = Command(["c"], flush_after=HOURS)
    async with Runner([command], launcher=launcher, unread="wait") as runner:
        assert await next_line(runner) == (b"one", b"\n")
        assert await next_line(runner) == (b".", b"")
        with anyio.fail_after(LIMIT):
            async for line in runner["c"].lines():
                if line.data == b".":
                    break
        launcher["c"].write(b"..\n")
        assert await next_line(runner) == (b"..", b"\n")
        runner.kill()


def test_line_may_take_ten_times_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time begins anew with each line, with each flush, and after silence."""
    splitter = FlushingSplitter(flush_after=0.125)

    def feed(chunk: bytes, now: float) -> bytes:
        monkeypatch.setattr(flushing, "current_time", lambda: now)
        return splitter.feed(chunk)

    shown = [feed(b".", now) for now in (0.0, 1.0, 1.25, 2.25, 3.5, 4.0)]
    assert shown == [b"", b"", b"...", b"", b"..", b""]
    assert splitter.flush() == b"."
    assert feed(b".", 9.0) == b""
    assert feed(b"\n.", 10.25) == b".\n"
    assert feed(b".", 11.0) == b""
    assert feed(b"\n", 12.0) == b"..\n"
    assert feed(b".", 20.0) == b""


async def test_unfinished_line_is_held_back_by_default_but_shown_in_the_tail() -> None:
    """Without a terminal, a line comes whole; `Job.tail` shows what has come of it."""
    launcher = FakeLauncher(default=Script(stdout=b"one\nName: ", exit=None))
    async with Runner(["c"], launcher=launcher, unread="wait") as runner:
        assert await next_line(runner) == (b"one", b"\n")
        await anyio.wait_all_tasks_blocked()
        assert [(line.text, line.ending) for line in runner["c"].tail] == [
            ("one", b"\n"),
            ("Name: ", b""),
        ]
        launcher["c"].write(b"Tim\n")
        assert await next_line(runner) == (b"Name: Tim", b"\n")
        runner.kill()


async def test_character_in_several_chunks_is_not_cut_by_a_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if each chunk is passed on at once, a character of UTF-8 stays whole."""
    monkeypatch.setattr(output, "HALF_CHARACTER", 9999)
    launcher = FakeLauncher(default=Script(stdout="né".encode()[:2], exit=None))
    async with Runner([Command(["c"], flush_after=0)], launcher=launcher) as runner:
        assert await next_line(runner) == (b"n", b"")
        launcher["c"].write("é".encode()[1:] + b"\n")
        assert await next_line(runner) == ("é".encode(), b"\n")
        for byte in "日\n".encode():
            await anyio.wait_all_tasks_blocked()
            launcher["c"].write(bytes([byte]))
        assert await next_line(runner) == ("日".encode(), b"")
        assert await next_line(runner) == (b"", b"\n")
        runner.kill()


async def test_prompt_on_a_terminal_arrives_before_it_is_answered() -> None:
    """A real program on a pseudo-terminal asks, is answered, and goes on."""
    script = "printf 'Password: '; read -r x; echo got $x; printf 'More? '; read -r y"
    command = Command(["sh", "-c", script], name="p", pty=True)
    async with Runner([command]) as runner:
        assert await next_line(runner) == (b"Password: ", b"")
        await runner["p"].send(b"secret\n")
        while (await next_line(runner))[0] != b"More? ":
            pass
        runner.kill()
