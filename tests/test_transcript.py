"""The transcript of a command: what is kept, what is forgotten, and for whom a command waits."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given
from hypothesis import strategies as st

from currant import OutputDiscardedError
from currant._channel import cursor as cursor_module
from currant._channel.track import CHUNK_OVERHEAD, KEPT, MAX_CHUNKS, Place
from currant._channel.transcript import Transcript
from currant._channel.waiters import Waiters
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.backends("asyncio", "trio")

CHUNK = b"x" * 64 * 1024


async def add_all(transcript: Transcript, data: bytes, size: int) -> None:
    """Add `data` in chunks of `size` bytes, as the task that reads a pipe does."""
    for start in range(0, len(data), size):
        transcript.add("stdout", data[start : start + size], 0.0)
        await transcript.make_room("stdout")


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1))), st.data())
def test_excerpts_are_the_output_in_order(
    chunks: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    """Whatever the chunks and the marks, the excerpts joined are the output, in order."""
    transcript, mark, read = Transcript("a"), 0, b""
    for stream, chunk in chunks:
        transcript.add(stream, chunk, 0.0)  # type: ignore[arg-type]
        if data.draw(st.booleans()):
            excerpt = transcript.since(mark)
            mark, read = excerpt.mark, read + excerpt.data
    whole = transcript.since(0)
    assert read + transcript.since(mark).data == b"".join(chunk for _, chunk in chunks)
    assert whole.stdout == b"".join(chunk for stream, chunk in chunks if stream == "stdout")
    assert whole.stderr == b"".join(chunk for stream, chunk in chunks if stream == "stderr")
    assert whole.omitted == 0


@given(st.lists(st.binary(min_size=1), min_size=1), st.data())
def test_reading_gives_the_bytes_in_order(chunks: list[bytes], data: st.DataObject) -> None:
    """Reading any number of bytes at a time, between the additions, gives each byte once."""
    transcript, place, read = Transcript("a"), Place(), b""
    track = transcript._tracks["stdout"]
    for chunk in chunks:
        transcript.add("stdout", chunk, 0.0)
        if data.draw(st.booleans()):
            read += track.read(place, data.draw(st.integers(1, 9)))
    assert read + track.read(place, 10**9) == b"".join(chunks)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 100, 5000, 300_000])
async def test_last_bytes_are_kept(size: int) -> None:
    """Without a reader, at least the last 128 KiB are kept, and the rest is counted."""
    transcript = Transcript("a")
    data = bytes(range(256)) * 1200
    await add_all(transcript, data, size)
    excerpt = transcript.since(0)
    assert len(excerpt.data) + excerpt.omitted == len(data) == excerpt.mark
    assert data.endswith(excerpt.data)
    assert KEPT <= len(excerpt.data) <= KEPT + max(size, 4096)


@pytest.mark.anyio
async def test_memory_is_bounded_if_single_bytes_alternate() -> None:
    """Output in single bytes, from both streams in turn, is kept up to a number of chunks."""
    transcript = Transcript("a")
    tracemalloc.start()
    try:
        for _ in range(MAX_CHUNKS + 5_000):
            transcript.add("stdout", b"o", 0.0)
            await transcript.make_room("stdout")
            transcript.add("stderr", b"e", 0.0)
            await transcript.make_room("stderr")
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 2.2 * CHUNK_OVERHEAD * MAX_CHUNKS


@pytest.mark.anyio
async def test_command_waits_for_a_reader_that_is_behind() -> None:
    """An attached reader that has begun loses nothing: the task that adds output waits."""
    transcript = Transcript("a", unread_timeout=0.0)
    cursor = transcript.attach({"stdout": Place()})
    data = b"".join(b"%d\n" % number for number in range(200_000))
    read = b""
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_all, transcript, data, 10_000)
            while len(read) < len(data):
                with cursor.reading():
                    await cursor.arrived()
                    read += cursor.read("stdout", 9_999)
                await wait_all_tasks_blocked()
                assert transcript.total - len(read) <= KEPT + 20_000
    assert read == data


@pytest.mark.anyio
async def test_command_waits_for_a_reader_that_has_not_begun() -> None:
    """With endless patience, output waits for an attached reader that never read."""
    transcript = Transcript("a")
    cursor = transcript.attach({"stdout": Place()})
    data = CHUNK * 10
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_all, transcript, data, len(CHUNK))
            await wait_all_tasks_blocked()
            assert transcript.total == KEPT + len(CHUNK)
            transcript.detach(cursor)
    assert transcript.total == len(data)
    assert not transcript._readable.waiters.observers


@pytest.mark.anyio
async def test_unread_output_is_discarded_after_the_patience() -> None:
    """If no task ever reads, the oldest output is discarded after the patience, and is told."""
    transcript = Transcript("a", unread_timeout=0.01)
    cursor = transcript.attach({"stdout": Place()})
    with anyio.fail_after(LIMIT):
        await add_all(transcript, CHUNK * 10, len(CHUNK))
        with pytest.raises(OutputDiscardedError) as raised:
            cursor.read("stdout", 1)
    error = raised.value
    assert (error.name, error.stream, error.size) == ("a", "stdout", len(CHUNK) * 10 - KEPT)
    assert len(cursor.read("stdout", 10**9)) == KEPT


@pytest.mark.anyio
async def test_waiting_task_ends_the_wait_for_its_own_reader() -> None:
    """If the task that read last waits for the commands, its unread output is discarded."""
    waiters = Waiters()
    transcript = Transcript("a", waiters)
    cursor = transcript.attach({"stdout": Place()})
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            with cursor.reading():
                pass
            tasks.start_soon(add_all, transcript, CHUNK * 10, len(CHUNK))
            await wait_all_tasks_blocked()
            assert transcript.total < len(CHUNK) * 10
            waiters.add_current_task()
    with pytest.raises(OutputDiscardedError):
        cursor.read("stdout", 1)


@pytest.mark.anyio
async def test_reader_in_another_task_is_waited_for() -> None:
    """If another task waits for the commands, a reader that goes on loses nothing."""
    waiters = Waiters()
    transcript = Transcript("a", waiters)
    cursor = transcript.attach({"stdout": Place()})
    read = 0
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            with cursor.reading():
                pass
            tasks.start_soon(add_all, transcript, CHUNK * 10, len(CHUNK))
            tasks.start_soon(partial(_call, waiters.add_current_task))
            while read < len(CHUNK) * 10:
                await wait_all_tasks_blocked()
                read += len(cursor.read("stdout", 10_000))


@pytest.mark.anyio
async def test_steps_in_tasks_of_their_own_lose_nothing() -> None:
    """`asyncio.wait_for` has a task for each step: between two, the task of the last has ended."""
    waiters = Waiters()
    transcript = Transcript("a", waiters)
    cursor = transcript.attach({"stdout": Place()})
    read = 0

    async def step() -> None:
        nonlocal read
        with cursor.reading():
            assert await cursor.arrived()
            read += len(cursor.read("stdout", len(CHUNK)))

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_all, transcript, CHUNK * 10, len(CHUNK))
            while read < len(CHUNK) * 10:
                async with anyio.create_task_group() as own:
                    own.start_soon(step)
                tasks.start_soon(partial(_call, waiters.add_current_task))
                await wait_all_tasks_blocked()


@pytest.mark.anyio
async def test_reader_whose_task_has_ended_is_waited_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While another task waits for the command, no reader can hold the command up for good."""
    monkeypatch.setattr(cursor_module, "NEXT_STEP", 0.01)
    waiters = Waiters()
    transcript = Transcript("a", waiters)
    cursor = transcript.attach({"stdout": Place()})

    async def step() -> None:
        with cursor.reading():
            pass

    waiters.add_current_task()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(step)
        await add_all(transcript, CHUNK * 10, len(CHUNK))
    assert transcript.since(0).omitted > 0


def test_short_chunks_in_turn_are_kept() -> None:
    """Two streams that write short lines in turn are kept as one stream is."""
    transcript, line = Transcript("a"), b"x" * 19 + b"\n"
    lines = KEPT // len(line)
    for _ in range(lines):
        transcript.add("stdout", line, 0.0)
        transcript.add("stderr", line, 0.0)
        assert not any(track.has_surplus for track in transcript._tracks.values())
    assert transcript.since(0).data == line * lines * 2


@pytest.mark.anyio
async def test_reader_that_waits_for_output_is_not_overtaken() -> None:
    """Output that has woken a reader is kept until the reader has had its turn."""
    waiters = Waiters()

    @contextmanager
    def waiting() -> Iterator[None]:
        waiters.add_current_task()
        yield
        waiters.remove_current_task()

    transcript = Transcript("a", waiters, waiting)
    cursor = transcript.attach({"stdout": Place()})

    async def read() -> None:
        with cursor.reading():
            assert await cursor.arrived()
            assert cursor.read("stdout", 5) == b"first"

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await wait_all_tasks_blocked()
            transcript.add("stdout", b"first", 0.0)
            transcript.add("stdout", CHUNK * 3, 0.0)
            await transcript.make_room("stdout")


@pytest.mark.anyio
async def test_full_transcript_does_not_spin_for_two_readers() -> None:
    """A reader that is given up and one that is slow do not make the waiting task spin."""
    transcript = Transcript("a", unread_timeout=0.0)
    transcript.attach({"stdout": Place()})
    slow = transcript.attach({"stdout": Place()})
    with slow.reading():
        pass
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_all, transcript, CHUNK * 10, len(CHUNK))
            await wait_all_tasks_blocked()  # It would never return.
            transcript.detach(slow)


@pytest.mark.anyio
async def test_held_output_waits_for_the_first_reader() -> None:
    """That reader gets everything; when it has gone, nothing is waited for."""
    transcript, read = Transcript("a"), 0
    transcript.hold()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_all, transcript, CHUNK * 10, len(CHUNK))
            await wait_all_tasks_blocked()
            assert 0 < transcript.total < 10 * len(CHUNK)
            with transcript.attached({"stdout": Place()}) as cursor, cursor.reading():
                while read < 10 * len(CHUNK):
                    assert await cursor.arrived()
                    read += len(cursor.read("stdout", len(CHUNK)))
        await add_all(transcript, CHUNK * 10, len(CHUNK))


@pytest.mark.anyio
async def test_reserved_stream_is_kept_until_it_is_released() -> None:
    """A reader of another kind, or of the other stream, changes nothing."""
    transcript = Transcript("a")
    transcript.reserve()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_all, transcript, CHUNK * 10, len(CHUNK))
            await wait_all_tasks_blocked()
            with transcript.attached({"stdout": Place()}):
                pass
            transcript.release("stderr")
            await wait_all_tasks_blocked()
            assert transcript.total < 10 * len(CHUNK)
            transcript.release("stdout")
    assert transcript.total == 10 * len(CHUNK)


def test_mark_of_an_earlier_life_is_the_start_of_this_one() -> None:
    """Otherwise the first output of the new life would be passed over in silence."""
    transcript = Transcript("a")
    transcript.add("stdout", b"port in use\n", 0.0)
    excerpt = transcript.since(5000)
    assert (excerpt.data, excerpt.omitted, excerpt.mark) == (b"port in use\n", 0, 12)


@pytest.mark.anyio
@pytest.mark.parametrize("reason", ["patience", "waits"])
async def test_held_output_is_discarded_at_last(reason: str) -> None:
    """That is when the patience is over, or while the task that holds the output waits itself."""
    waiters = Waiters()
    transcript = Transcript("a", waiters, unread_timeout=0.0 if reason == "patience" else 9999.0)
    transcript.hold()
    if reason == "waits":
        waiters.add_current_task()
    with anyio.fail_after(LIMIT):
        await add_all(transcript, CHUNK * 10, len(CHUNK))
    assert transcript.since(0).omitted > 0


@pytest.mark.anyio
async def test_held_output_of_an_ended_command_can_be_forgotten() -> None:
    """A hold is no reader: the output of many commands does not add up."""
    transcript = Transcript("a")
    transcript.hold()
    transcript.add("stdout", CHUNK, 0.0)
    transcript.end()
    transcript.forget()
    assert transcript.size == 0


async def _call(function: object) -> None:
    function()  # type: ignore[operator]
