"""The policies of a Runner for one command: restart, end of other commands, stop and capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from currant._values.capture import CaptureLike, check_capture
from currant._values.checks import check_choice, check_delay
from currant._values.errors import CommandError
from currant._values.launch_spec import KillMode, Leftovers
from currant._values.restart import RestartPolicy, RestartWhen

if TYPE_CHECKING:
    from typing import Self

    from currant._values.results import Status

__all__ = ["KillOthersOn", "OnExit", "Policies", "StopReason", "check_policies"]


KillOthersOn: TypeAlias = Literal["failure", "success", "exit"]

OnExit: TypeAlias = Literal["wait", "stop"]


class StopReason(str):
    """Why the end of a command stops all others: a text that knows the name of the command.

    Attributes:
        command: the name.
    """

    __slots__ = ("command",)
    command: str

    def __new__(cls, text: str, command: str) -> Self:
        reason = super().__new__(cls, text)
        reason.command = command
        return reason


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of one command, with the defaults of its Runner filled in.

    Attributes:
        restart: when to restart the command.
        kill_others_on: the final end of the command that stops all others; None: no end does.
        grace: seconds between a request to stop and SIGKILL.
        capture: the part of the output that the result carries.
        kill_mode: the processes that a stop asks.
        leftovers: what happens to the processes that the leader leaves behind.
        wrap: the words to put before the command's own.
    """

    restart: RestartPolicy
    kill_others_on: KillOthersOn | None
    grace: float
    capture: CaptureLike
    kill_mode: KillMode = "group"
    leftovers: Leftovers = "stop"
    wrap: tuple[str, ...] = ()

    def kills_others(self, status: Status | None) -> bool:
        """Return whether the final end of the command stops all others; a skip is a failure."""
        kind = None if status is None else _KINDS_OF_ENDS.get(status)
        return self.kill_others_on is not None and self.kill_others_on in ("exit", kind)


_KINDS_OF_ENDS: dict[Status, KillOthersOn] = {
    "failed": "failure",
    "skipped": "failure",
    "succeeded": "success",
}


def check_policies(
    restart: object,
    kill_others_on: object,
    grace: object,
    capture: object,
    kill_mode: object,
    leftovers: object,
) -> None:
    """Raise `CommandError` if a policy is invalid; each of them may be None."""
    is_known = restart is None or isinstance(restart, RestartPolicy)
    if not is_known and restart not in get_args(RestartWhen):
        raise CommandError(
            f"restart must be 'never', 'on-failure', 'always' or a RestartPolicy, not {restart!r}"
        )
    if kill_others_on is not None:
        check_choice("kill_others_on", kill_others_on, get_args(KillOthersOn))
    if grace is not None:
        check_delay("grace", grace)
    if kill_mode is not None:
        check_choice("kill_mode", kill_mode, get_args(KillMode))
    if leftovers is not None:
        check_choice("leftovers", leftovers, get_args(Leftovers))
    check_capture(capture)
