"""The verdict on an attempt: a pure function from the ending to the status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

    from currant._values.errors import CurrantError
    from currant._values.exit import Exit
    from currant._values.results import Status

__all__ = ["Ending", "Readiness", "judge"]

Readiness: TypeAlias = Literal["ready", "pending", "missed"]
"""Whether an attempt has become ready, still may (from lines not read yet), or no longer can."""


class Ending(NamedTuple):
    """The facts about an attempt when the leader has exited.

    Attributes:
        exit: how the leader exited.
        error: why the attempt has failed, whatever the exit says; None otherwise.
        was_stopped: whether a stop was asked for, also if the process exited by itself first.
        readiness: whether the attempt has become ready.
    """

    exit: Exit
    error: CurrantError | None
    was_stopped: bool
    readiness: Readiness


def judge(ending: Ending, success_codes: Collection[int]) -> Status | None:
    """Return the status of an attempt; None if unread lines still decide whether it was ready.

    A command that exits before it is ready has failed, whatever the exit code, unless the command
    was stopped first.
    """
    if ending.error is not None:  # A reported error counts, even if the process then exits.
        return "failed"
    if ending.exit.stopped:
        return "stopped"
    if ending.exit.code not in success_codes:
        return "failed"
    if ending.readiness == "ready":
        return "succeeded"
    if ending.readiness == "pending":
        return None
    return "stopped" if ending.was_stopped else "failed"
