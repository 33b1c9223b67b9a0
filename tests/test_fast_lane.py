"""The fast lane of a buffer: which batches may enter, and when that changes."""

from __future__ import annotations

from currant import Batch, Started
from currant._channel.fast_lane import MAX_OVERTAKES, SMALL_BATCH, FastLane

LARGE = SMALL_BATCH + 1


def batch_of(command: str, size: int = 10) -> Batch:
    """Return a batch of that size."""
    return Batch(command, "stdout", b"x" * size, 0.0)


def lane_beside(*messages: Batch | Started) -> FastLane:
    """Return a fast lane beside a stream with these messages."""
    lane = FastLane()
    for message in messages:
        lane.added_to_stream(message)
    return lane


def test_batch_enters_once_the_event_ahead_is_gone() -> None:
    """An event is overtaken by nothing, as long as it is in the stream."""
    event = Started("b", 1, 1, 0.0)
    lane = lane_beside(event, batch_of("a", LARGE))
    assert not lane.admits(batch_of("c"), LARGE)
    lane.removed_from_stream(event)
    assert lane.admits(batch_of("c"), LARGE)


def test_batch_enters_once_the_batch_of_its_command_is_gone() -> None:
    """A batch overtakes others when the stream has no more of its own command."""
    own = batch_of("c")
    lane = lane_beside(own, batch_of("a", LARGE))
    assert not lane.admits(batch_of("c"), LARGE)
    lane.removed_from_stream(own)
    assert lane.admits(batch_of("c"), LARGE)


def test_batch_enters_once_the_batch_of_its_command_was_read() -> None:
    """A large batch counts as ahead until it is read to the end."""
    lane = FastLane()
    lane.begin_reading(batch_of("c", LARGE))
    assert not lane.admits(batch_of("c"), LARGE)
    lane.end_reading(batch_of("c", LARGE))
    assert lane.admits(batch_of("c"), LARGE)
    assert not lane.admits(batch_of("c"), 0)


def test_message_from_the_stream_begins_the_count_of_overtakes_again() -> None:
    """So a large batch has its turn after each sixteen small ones."""
    large = batch_of("a", LARGE)
    lane = lane_beside(large, large)
    for _ in range(MAX_OVERTAKES):
        lane.append(batch_of("c"))
        lane.popleft()
    assert not lane.admits(batch_of("c"), LARGE)
    lane.removed_from_stream(large)
    assert lane.admits(batch_of("c"), LARGE)
