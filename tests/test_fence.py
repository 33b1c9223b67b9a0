"""Tests of the times until which lost commands may still run."""

from __future__ import annotations

from math import inf

from currant.hosts._fence import Fence


def test_fence_ends_with_the_last_copy() -> None:
    """A command may be lost several times before it starts again."""
    fence = Fence()
    assert fence.delay("job", 0.0) == 0.0
    fence.raise_until("job", "a", 10.0, 3.0)
    fence.raise_until("job", "a", 9.0, 3.0)
    fence.raise_until("job", "b", 12.0, 3.0)
    assert [fence.delay("job", 0.0, host) for host in ("a", "b", "c")] == [10.0, 12.0, 0.0]
    assert [fence.delay("job", now) for now in (0.0, 11.0, 13.0)] == [12.0, 1.0, 0.0]
    assert fence.delay("other", 0.0) == 0.0


def test_agent_that_replaces_another_gives_the_whole_grace_again() -> None:
    """The guard does not know how much of the grace the killed agent had used."""
    fence = Fence()
    fence.raise_until("job", "a", 10.0, 3.0)
    fence.note_replaced("b", 9.0)
    assert fence.delay("job", 9.0) == 1.0
    fence.note_replaced("a", 9.0)
    assert fence.delay("job", 9.0) == 3.0
    fence.note_replaced("a", 12.5)  # What is over stays over.
    assert fence.delay("job", 12.5) == 0.0


def test_agent_that_may_have_replaced_another_raises_the_fence() -> None:
    """It was asked to, and then its link ended; so an unknown end stays unknown."""
    fence = Fence()
    fence.raise_until("job", "a", 10.0, 3.0)
    fence.raise_until("job", "b", inf, 3.0)
    for host in ("a", "b"):
        fence.note_replaced(host, 9.0, is_certain=False)
    assert [fence.delay("job", 9.0, host) for host in ("a", "b")] == [3.0, inf]


def test_end_of_a_held_command_is_unknown_until_its_agent_is_replaced() -> None:
    """When a new agent comes, the command has its grace from then on."""
    fence = Fence()
    fence.raise_until("job", "a", inf, 3.0)
    assert fence.delay("job", 1e9) == inf
    assert fence.hosts_of_unknown_end("job") == ["a"]
    fence.note_replaced("a", 1e9)
    assert fence.delay("job", 1e9) == 3.0
    assert fence.hosts_of_unknown_end("job") == []
