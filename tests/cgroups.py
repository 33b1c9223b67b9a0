"""Real control groups for tests, and a mark for tests that need them."""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from currant._system.cgroup import ControlGroup, check_usable, find_place
from currant._values.errors import SetupError
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "JOIN",
    "find_problem",
    "needs_cgroup",
    "needs_controllers",
    "own_place",
    "wait_until_empty",
]

JOIN = ("sh", "-c", 'echo 0 >"$0/cgroup.procs"; exec "$@"')
"""Words that put a process into the group whose folder comes next, before the program's words."""


def find_problem() -> str | None:
    """Return why this system has no usable control groups, if it has none."""
    try:
        probe = ControlGroup(str(Path(find_place()) / f"currant-test-probe-{os.getpid()}"))
        try:
            check_usable(probe.path)
        finally:
            probe.remove()
    except (SetupError, OSError) as error:
        return str(error)
    return None


_problem = find_problem()

needs_cgroup = pytest.mark.skipif(
    _problem is not None, reason=f"needs a writable cgroup v2: {_problem}"
)


def _has_controllers() -> bool:
    if _problem is not None:
        return False
    controllers = Path(find_place(), "cgroup.subtree_control").read_text().split()
    return {"memory", "pids"}.issubset(controllers)


needs_controllers = pytest.mark.skipif(
    not _has_controllers(),
    reason="needs the controllers memory and pids in cgroup.subtree_control, not in cgroup v1",
)


@contextmanager
def own_place() -> Iterator[Path]:
    """Create a control group; on exit it must have neither members nor groups inside."""
    group = ControlGroup(str(Path(find_place()) / f"currant-test-{uuid4()}"))
    try:
        yield Path(group.path)
        left = group.members(), [each.name for each in Path(group.path).iterdir() if each.is_dir()]
        assert left == (set(), [])
    finally:
        group.kill()
        while not group.remove():
            pass


def wait_until_empty(place: Path) -> None:
    """Wait until a control group and those inside have no member; the kernel tells of the end."""
    with (place / "cgroup.events").open("rb", buffering=0) as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while b"populated 1" in os.pread(events.fileno(), 1000, 0):
            assert poll.poll(LIMIT * 1000), f"{place} still has a member"
