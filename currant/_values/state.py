"""The state of a command, folded from its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from currant._values.lines import Batch, Line
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    Ready,
    Restarting,
    Skipped,
    Started,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from currant._values.exit import Exit
    from currant._values.messages import BatchMessage, Message

__all__ = ["CommandState", "is_success", "state_after"]

CommandState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "stopped", "skipped"]
"""Where a command stands.  A command is queued before its first message, and before a restart."""


def state_after(  # noqa: PLR0911 - one case for each message
    message: Message | BatchMessage, before: CommandState, success_codes: Collection[int]
) -> CommandState:
    """Return the state of a command after one of its messages.

    Args:
        message: the message.
        before: the state before the message; ``"queued"`` before the first.
        success_codes: the exit codes that count as success for this command.
    """
    match message:
        case Started():
            return "running"
        case Restarting():
            return "queued"
        case Failed():
            return "failed"
        case Skipped():
            return "skipped"
        case Exited(exit=end) if end.stopped:
            return "stopped"
        case Exited(exit=end):
            return "succeeded" if is_success(end, success_codes) else "failed"
        case Ready() | Batch() | Line() | Aborted() | Dropped():
            return before
        case _:
            assert_never(message)


def is_success(end: Exit, success_codes: Collection[int]) -> bool:
    """Return whether a process that currant did not stop has exited with success."""
    return end.code in success_codes
