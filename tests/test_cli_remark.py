"""The line that says that all commands are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from currant import Command, Exit, Exited, Ready, Started, ready
from currant.cli._prepare.remark import ReadyRemark

if TYPE_CHECKING:
    from currant.sinks._events import EventMessage

DB = Command(["db"], name="db", ready=ready.delay(1))
MIGRATE, WEB = Command(["migrate"], name="migrate"), Command(["web"], name="web")

DB_STARTED, DB_READY = Started("db", 1, 1, 0.0), Ready("db", 1.0, 0.0)
MIGRATE_STARTED, WEB_STARTED = Started("migrate", 2, 1, 0.0), Started("web", 3, 1, 0.0)
MIGRATED = Exited("migrate", Exit(0, None), 1, 0.0)
FAILED = Exited("migrate", Exit(1, None), 1, 0.0)
STOPPED = Exited("migrate", Exit(0, None, stopped=True), 1, 0.0)

ALL = "all 3 commands are ready"


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ([MIGRATE_STARTED, WEB_STARTED, DB_STARTED, DB_READY], ALL),
        ([DB_STARTED, DB_READY, MIGRATE_STARTED, MIGRATED, WEB_STARTED], ALL),
        ([WEB_STARTED, DB_STARTED, DB_READY, MIGRATE_STARTED], ALL),
        ([WEB_STARTED, MIGRATE_STARTED, FAILED, DB_STARTED, DB_READY], None),
        ([WEB_STARTED, MIGRATE_STARTED, STOPPED, DB_STARTED, DB_READY], None),
        ([MIGRATE_STARTED, WEB_STARTED, DB_STARTED], None),
        ([WEB_STARTED, FAILED, DB_STARTED, DB_READY, MIGRATE_STARTED], ALL),
    ],
)
def test_line_follows_the_message_with_which_all_are_ready(
    messages: list[EventMessage], last: str | None
) -> None:
    """A command without a probe is ready when it runs, and also when it has succeeded."""
    remark = ReadyRemark([DB, MIGRATE, WEB])
    assert [remark(each) for each in messages] == [None] * (len(messages) - 1) + [last]


def test_line_comes_once() -> None:
    """A command that restarts later has its own lines."""
    remark = ReadyRemark([DB, WEB])
    messages: list[EventMessage] = [WEB_STARTED, DB_STARTED, DB_READY]
    assert [remark(each) for each in messages] == [None, None, "all 2 commands are ready"]
    assert [remark(each) for each in messages] == [None, None, None]


@pytest.mark.parametrize("commands", [[DB], [MIGRATE, WEB]])
def test_no_line_repeats_what_the_last_message_says(commands: list[Command]) -> None:
    """A single command is its own news; without probes, the starts are."""
    remark = ReadyRemark(commands)
    for message in (DB_STARTED, DB_READY, MIGRATE_STARTED, WEB_STARTED):
        assert remark(message) is None
