"""The channel's buffer, and what its streams and iterators show to a user."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import pytest
from anyio.abc import ObjectReceiveStream
from hypothesis import example, given
from hypothesis import strategies as st

from currant import Batch, Dropped, Exited, Started
from currant._channel import buffer as buffer_module
from currant._channel.buffer import Buffer
from currant._channel.channel import Channel
from currant._channel.fast_lane import MAX_OVERTAKES, SMALL_BATCH
from currant._channel.readers import BatchReader, LineReader
from currant._values.exit import Exit
from currant.sinks import SinkAttribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from currant import BatchMessage
    from currant._channel.buffer import Position

    MakeBuffer: TypeAlias = Callable[..., Buffer]

LINE = b"x" * 99 + b"\n"


def batch_of(data: bytes, command: str = "a") -> Batch:
    """Return a batch of stdout."""
    return Batch(command, "stdout", data, 0.0)


def started(attempt: int = 1, command: str = "a") -> Started:
    """Return an event that is told apart by its attempt."""
    return Started(command, 1, attempt, 0.0)


@pytest.fixture(name="make_buffer")
def make_closing_buffer() -> Iterator[MakeBuffer]:
    """A factory of buffers that are closed at the end of the test."""
    buffers: list[Buffer] = []

    def make(*args: Any) -> Buffer:
        buffers.append(Buffer(*args))
        return buffers[-1]

    yield make
    for buffer in buffers:
        buffer.close()


def take_batch(buffer: Buffer) -> tuple[Position, Batch]:
    """Take a message that is a batch."""
    position, message = buffer.take()
    assert isinstance(message, Batch)
    return position, message


def take_all(buffer: Buffer) -> list[BatchMessage]:
    """Empty the buffer."""
    messages = []
    while buffer:
        messages.append(buffer.take()[1])
    return messages


# ---- the buffer: room ----


def test_buffer_bounds_the_number_of_messages(make_buffer: MakeBuffer) -> None:
    """A full buffer has no room, not even for a small message, until a message is taken."""
    buffer = make_buffer(2)
    assert not buffer
    for number in range(2):
        assert buffer.has_room(started())
        buffer.append(started(number))
    assert buffer
    assert not buffer.has_room(started())
    assert buffer.take() == (1, started(0))
    assert buffer.has_room(started())


@pytest.mark.parametrize(
    ("held", "size", "fits"),
    [
        (0, 50_000, True),
        (100, SMALL_BATCH, True),
        (100, SMALL_BATCH + 1, True),
        (9_900, SMALL_BATCH, True),
        (9_900, SMALL_BATCH + 1, False),
    ],
    ids=["empty", "small", "within", "small beyond", "large beyond"],
)
def test_buffer_bounds_the_bytes_of_large_batches(
    make_buffer: MakeBuffer, held: int, size: int, fits: bool
) -> None:
    """The bound on bytes holds for large batches only, and an empty buffer accepts any batch."""
    buffer = make_buffer(16, 10_000)
    if held:
        buffer.append(batch_of(b"x" * held))
    assert buffer.has_room(batch_of(b"x" * size)) is fits


def test_bytes_that_were_returned_count_against_the_bound(make_buffer: MakeBuffer) -> None:
    """A batch that a reader returns occupies room again."""
    buffer = make_buffer(16, 10_000)
    buffer.append(batch_of(b"x" * 9_000))
    position, message = take_batch(buffer)
    assert buffer.has_room(batch_of(b"x" * 9_000))
    buffer.put_back(position, message)
    assert not buffer.has_room(batch_of(b"x" * 9_000))
    assert take_all(buffer) == [message]
    assert buffer.has_room(batch_of(b"x" * 9_000))


# ---- the buffer: order ----


@given(st.lists(st.integers(1, 8)), st.data())
def test_returned_batches_keep_the_order(counts: list[int], data: st.DataObject) -> None:
    """Readers return what is left of their batches, in any order, and the lines keep theirs."""
    number = 0
    left, read = [], []
    with closing(Buffer(100)) as buffer:
        for count in counts:
            buffer.append(batch_of(b"".join(b"%06d\n" % (number + n) for n in range(count))))
            number += count
        while buffer:
            position, batch = take_batch(buffer)
            lines = batch.data.splitlines(keepends=True)
            size = data.draw(st.integers(0, len(lines) - 1))
            read += lines[:size]
            left.append((position, batch_of(b"".join(lines[size:]))))
        for position, message in data.draw(st.permutations(left)):
            buffer.put_back(position, message)
        rest = [line for _, batch in left for line in batch.data.splitlines(keepends=True)]
        assert rest == [line for batch in take_all(buffer) for line in batch_lines(batch)]
    assert sorted(int(line) for line in read + rest) == list(range(number))


def batch_lines(message: BatchMessage) -> list[bytes]:
    """Return the lines of a batch, with their endings."""
    assert isinstance(message, Batch)
    return message.data.splitlines(keepends=True)


# ---- the buffer: the fast lane ----


def commands_of(messages: list[BatchMessage]) -> str:
    """Return the names of the commands, in the order of their messages."""
    return "".join(str(message.command) for message in messages)


@pytest.mark.parametrize(
    ("before", "small", "order"),
    [
        ([batch_of(LINE * 100)], batch_of(LINE, "b"), "ba"),
        ([batch_of(LINE * 100), batch_of(LINE * 100, "c")], batch_of(LINE, "b"), "bac"),
        ([batch_of(LINE * 100), started(1, "b")], batch_of(LINE, "b"), "abb"),
        ([batch_of(LINE * 100)], batch_of(LINE), "aa"),
        ([batch_of(LINE)], batch_of(LINE, "b"), "ab"),
        ([batch_of(LINE * 100)], batch_of(LINE * 100, "b"), "ab"),
        ([batch_of(LINE * 100)], started(1, "b"), "ab"),
        ([batch_of(LINE * 100), started(1, "c")], batch_of(LINE, "b"), "acb"),
    ],
    ids=[
        *("one", "two", "after its event", "same command", "after a small one", "large", "event"),
        "after an event",
    ],
)
def test_small_batch_goes_before_large_batches(
    make_buffer: MakeBuffer, before: list[BatchMessage], small: BatchMessage, order: str
) -> None:
    """It overtakes the output of other commands, and nothing of its own command."""
    buffer = make_buffer(100, 10**9)
    for message in (*before, small):
        buffer.append(message)
    assert commands_of(take_all(buffer)) == order


def test_small_batch_overtakes_a_batch_that_is_being_read(make_buffer: MakeBuffer) -> None:
    """A batch of another command does; a batch of the same command comes after it."""
    buffer = make_buffer(100, 10**9)
    buffer.append(batch_of(LINE * 100))
    _, large = take_batch(buffer)
    buffer.begin_reading(large)
    for command in ("a", "b"):
        buffer.append(batch_of(LINE, command))
    overtaking = buffer.take_overtaking()
    assert overtaking is not None
    assert overtaking[1].command == "b"
    assert buffer.take_overtaking() is None
    buffer.end_reading(large)
    assert commands_of(take_all(buffer)) == "a"


def test_nothing_overtakes_in_a_buffer_for_a_sink(make_buffer: MakeBuffer) -> None:
    """A sink takes the whole backlog at once, and its lines should not run back in time."""
    buffer = make_buffer(100)
    for message in (batch_of(LINE * 100), batch_of(LINE, "b")):
        buffer.append(message)
    assert commands_of(take_all(buffer)) == "ab"


def test_large_batch_is_overtaken_a_bounded_number_of_times(make_buffer: MakeBuffer) -> None:
    """However many small batches come, the large one has its turn."""
    buffer = make_buffer(100, 10**9)
    buffer.append(batch_of(LINE * 100))
    taken = []
    for _ in range(MAX_OVERTAKES + 2):
        buffer.append(batch_of(LINE, "b"))
        taken.append(buffer.take()[1])
    assert commands_of(taken) == "b" * MAX_OVERTAKES + "ab"


def test_small_batch_waits_for_the_count_of_dropped_lines(make_buffer: MakeBuffer) -> None:
    """What is left of a command after a discard comes after the count."""
    buffer = make_buffer(100, 10**9)
    for message in (batch_of(LINE), batch_of(LINE * 100, "b")):
        buffer.append(message)
    buffer.discard_oldest()
    buffer.append(batch_of(LINE))
    assert isinstance(buffer.take()[1], Dropped)
    assert commands_of(take_all(buffer)) == "ba"


class Numbered:
    """Puts numbered lines and events into a buffer, and checks what comes out."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.put = dict.fromkeys("abc", 0)  # the next number of each command
        self.came = dict.fromkeys("abc", 0)

    def do(self, step: str | int, command: str) -> None:
        """Put so many lines or an event of `command`, or take or discard a message."""
        if step == "event":
            self.buffer.append(started(self.put[command], command))
        elif isinstance(step, int):
            first = self.put[command]
            self.put[command] += step
            lines = [b"%06d\n" % number for number in range(first, first + step)]
            self.buffer.append(batch_of(b"".join(lines), command))
        elif step == "discard" and self.buffer._bytes:
            self.buffer.discard_oldest()
        elif step != "discard" and self.buffer:
            self.take(is_left=step == "break")

    def take(self, *, is_left: bool) -> None:
        """Take a message; of a batch, return all but the first line if the loop is left."""
        position, message = self.buffer.take()
        if is_left and isinstance(message, Batch):
            first, *rest = message.data.splitlines(keepends=True)
            message = batch_of(first, message.command)
            if rest:
                self.buffer.put_back(position, batch_of(b"".join(rest), message.command))
        self.check(message)

    def check(self, message: BatchMessage) -> None:
        """Check that a message is the next of its command."""
        command = str(message.command)
        if isinstance(message, Batch):
            for line in message.lines():
                assert int(line.data) == self.came[command]
                self.came[command] += 1
        elif isinstance(message, Dropped):
            self.came[command] += message.lines
        else:
            assert message == started(self.came[command], command)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["event", 1, 2, 1_000, "take", "take", "break", "discard"]),
            st.sampled_from("abc"),
        ),
        max_size=60,
    )
)
@example([(1_000, "b"), (1, "a"), (1_000, "a"), ("discard", "a"), ("discard", "a")])
def test_messages_of_a_command_stay_in_order(steps: list[tuple[str | int, str]]) -> None:
    """Whatever overtakes, is returned or discarded: nothing is out of place, no count is wrong."""
    with closing(Buffer(100, 10**9)) as buffer:
        numbered = Numbered(buffer)
        for step, command in steps:
            numbered.do(step, command)
        while buffer:
            numbered.take(is_left=False)
    assert numbered.came == numbered.put


# ---- the buffer: discarding ----


def test_discarding_counts_output_and_keeps_events(make_buffer: MakeBuffer) -> None:
    """The oldest lines are counted and reported in their place; events stay."""
    buffer = make_buffer(4)
    for message in (started(), batch_of(LINE * 3), batch_of(LINE * 2), batch_of(b"last\n")):
        buffer.append(message)
    for _ in range(3):
        buffer.discard_oldest()
    first, count, last = take_all(buffer)
    assert first == started()
    assert isinstance(count, Dropped)
    assert (count.command, count.lines) == ("a", 5)
    assert last == batch_of(b"last\n")


def test_returned_batches_are_discarded_first(make_buffer: MakeBuffer) -> None:
    """A batch that a reader returned is older than the messages in the stream."""
    buffer = make_buffer(4)
    buffer.append(batch_of(b"old\n"))
    buffer.append(batch_of(b"new\n"))
    buffer.put_back(*take_batch(buffer))
    buffer.discard_oldest()
    count, last = take_all(buffer)
    assert isinstance(count, Dropped)
    assert last == batch_of(b"new\n")


def test_oldest_output_is_discarded_first(make_buffer: MakeBuffer) -> None:
    """A batch that has overtaken others is newer than they are."""
    buffer = make_buffer(3, 10**9)
    for message in (batch_of(LINE * 100), batch_of(b"quiet\n", "b"), started(1, "c")):
        buffer.append(message)
    for _ in range(2):
        buffer.discard_oldest()
    quiet, event, dropped = take_all(buffer)
    assert isinstance(dropped, Dropped)
    assert (dropped.command, dropped.lines) == ("a", 100)
    assert (quiet, event) == (batch_of(b"quiet\n", "b"), started(1, "c"))


def test_count_of_returned_lines_comes_before_later_events(make_buffer: MakeBuffer) -> None:
    """Lines that a reader returned are older than an event that was passed over meanwhile."""
    buffer = make_buffer(2)
    buffer.append(batch_of(LINE * 3))
    position, batch = take_batch(buffer)
    end = Exited("a", Exit(0, None), 1, 0.0)
    buffer.append(end)
    assert buffer.discard_oldest() == end
    buffer.put_back(position, batch)
    assert buffer.discard_oldest() == batch
    count, event = take_all(buffer)
    assert isinstance(count, Dropped)
    assert (count.lines, event) == (3, end)


def test_kept_events_are_bounded(make_buffer: MakeBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest event is dropped, but no count of lines is lost."""
    monkeypatch.setattr(buffer_module, "MAX_EVENTS_KEPT", 3)
    buffer = make_buffer(1)
    for number in range(10):
        for message in (batch_of(LINE), started(number)):
            buffer.append(message)
            buffer.discard_oldest()
    left = take_all(buffer)
    assert started(9) in left
    assert started(0) not in left
    assert sum(message.lines for message in left if isinstance(message, Dropped)) == 10


def test_closed_buffer_reports_dropped_lines_before_later_messages(make_buffer: MakeBuffer) -> None:
    """Closing changes no order: the count comes before the messages that were not discarded."""
    buffer = make_buffer(2)
    buffer.append(batch_of(LINE))
    buffer.discard_oldest()
    end = Exited("a", Exit(0, None), 1, 0.0)
    buffer.append(batch_of(b"last\n"))
    buffer.append(end)
    buffer.close()
    buffer.close()  # does nothing
    count, *rest = take_all(buffer)
    assert isinstance(count, Dropped)
    assert rest == [batch_of(b"last\n"), end]


def test_count_comes_after_what_is_left_of_a_batch_being_read(make_buffer: MakeBuffer) -> None:
    """Lines that were dropped while a reader held an earlier batch come after the rest of it."""
    buffer = make_buffer(2)
    for data in (b"1\n2\n", b"3\n"):
        buffer.append(batch_of(data))
    position, _ = take_batch(buffer)
    buffer.discard_oldest()
    buffer.close()
    buffer.put_back(position, batch_of(b"2\n"))
    rest, count = take_all(buffer)
    assert rest == batch_of(b"2\n")
    assert isinstance(count, Dropped)


# ---- what a user sees ----


def public_names(thing: object) -> set[str]:
    """Return the names that completion offers."""
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.anyio
async def test_stream_of_a_sink_shows_only_a_receive_stream() -> None:
    """A sink cannot reach the channel's machinery by a public name."""
    channel = Channel(1)
    feed = channel.subscribe()
    assert public_names(feed) == {
        "aclose",
        "close",
        "extra",
        "extra_attributes",
        "receive",
        "receive_nowait",
    }
    assert isinstance(feed, ObjectReceiveStream)
    assert feed.extra(SinkAttribute.commands) == {}
    await feed.aclose()
    channel.close()


@pytest.mark.anyio
@pytest.mark.parametrize("reader", [LineReader, BatchReader])
async def test_iterator_shows_nothing_but_iteration(reader: type[Any]) -> None:
    """The object that ``async for`` holds has no public name."""
    channel = Channel(1)
    assert public_names(reader(channel.readers)) == set()
    channel.close()


@pytest.mark.parametrize("reader", [LineReader, BatchReader])
def test_iterator_outside_an_event_loop_is_an_error(reader: type[Any]) -> None:
    """The error is anyio's, and dropping the half-built iterator raises nothing more."""
    channel = Channel(1)
    with pytest.raises(RuntimeError):
        reader(channel.readers)
    channel.close()


@pytest.mark.anyio
async def test_closed_stream_of_a_sink_receives_nothing() -> None:
    """After its own end the stream raises, as anyio's streams do, and releases its senders."""
    channel = Channel(1, for_sinks_only=True)
    feed = channel.subscribe()
    await channel.send(started(1))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.send, started(2))
            await anyio.wait_all_tasks_blocked()
            feed.close()
        await channel.send(started(3))
    with pytest.raises(anyio.ClosedResourceError):
        await feed.receive()
    with pytest.raises(anyio.ClosedResourceError):
        feed.receive_nowait()
    channel.close()


@pytest.mark.anyio
async def test_stream_of_a_sink_ends_after_its_last_message() -> None:
    """Messages that were sent before the channel closed are received first."""
    channel = Channel(2)
    feed = channel.subscribe()
    with pytest.raises(anyio.WouldBlock):
        feed.receive_nowait()
    await channel.send(started(1))
    await channel.send(started(2))
    channel.close()
    assert [message async for message in feed] == [started(1), started(2)]
    with pytest.raises(anyio.EndOfStream):
        feed.receive_nowait()
    feed.close()
