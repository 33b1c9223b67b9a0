"""Which commands begin, and which end without having begun: tables, without an event loop."""

from __future__ import annotations

import pytest

from currant._supervisor.scheduler import Scheduler, Step


def scheduler(slots: int | None, *items: str) -> Scheduler[str]:
    """Return a scheduler with `items` in its queue."""
    made: Scheduler[str] = Scheduler(slots)
    for item in items:
        made.add(item)
    return made


@pytest.mark.parametrize(
    ("slots", "begin"),
    [(None, ("a", "b", "c")), (3, ("a", "b", "c")), (2, ("a", "b")), (1, ("a",))],
)
def test_items_begin_in_order_while_slots_are_free(
    slots: int | None, begin: tuple[str, ...]
) -> None:
    """As many items begin as there are slots; without a number, all do."""
    assert scheduler(slots, "a", "b", "c").decide(is_stopped=False) == Step(begin=begin)


def test_released_slot_goes_to_the_next_item() -> None:
    """An item that has ended makes room for the item that waits longest."""
    made = scheduler(1, "a", "b", "c")
    made.decide(is_stopped=False)
    assert made.decide(is_stopped=False) == Step()
    made.release()
    assert made.decide(is_stopped=False) == Step(begin=("b",))


def test_stop_ends_the_queue_and_begins_nothing() -> None:
    """After a kill all that waits ends in order, although slots are free."""
    made = scheduler(1, "a", "b")
    made.decide(is_stopped=False)
    made.add("c")
    made.release()
    assert made.decide(is_stopped=True) == Step(end=("b", "c"))
    assert made.decide(is_stopped=True) == Step()


def test_item_that_ended_without_having_begun_takes_no_slot() -> None:
    """Only what begins takes a slot, so a later item finds it free."""
    made = scheduler(1, "a")
    made.decide(is_stopped=True)
    made.add("b")
    assert made.decide(is_stopped=False) == Step(begin=("b",))


def test_removed_item_does_not_begin() -> None:
    """Removing reports whether the item was still in the queue."""
    made = scheduler(1, "a", "b", "c")
    made.decide(is_stopped=False)
    assert made.remove("b")
    assert not made.remove("b")
    assert not made.remove("a")
    made.release()
    assert made.decide(is_stopped=False) == Step(begin=("c",))
