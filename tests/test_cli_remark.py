"""The lines that say that all commands are ready, or that one was not when it ended."""

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

DB_ENDED = Exited("db", Exit(0, None), 1, 0.0)

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


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ([DB_STARTED, DB_ENDED], "db ended before it was ready"),
        ([DB_STARTED, DB_READY, DB_ENDED], None),
        ([DB_STARTED, Exited("db", Exit(1, None), 1, 0.0)], None),
        ([DB_STARTED, Exited("db", Exit(0, None, stopped=True), 1, 0.0)], None),
    ],
)
def test_end_before_the_command_is_ready_is_told_if_it_looks_like_a_success(
    messages: list[EventMessage], last: str | None
) -> None:
    """The exit code is 0, and still the command has failed."""
    for commands in ([DB], [DB, WEB]):
        remark = ReadyRemark(commands)
        said = [remark(each) for each in messages]
        assert said == [None] * (len(messages) - 1) + [last]
