"""`StopRemark`: the line that says which command's end stops the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import CannotStopError
from currant._values.messages import Aborted, Exited, Failed, Skipped
from currant._values.policies import StopReason
from currant._values.printable import printable

if TYPE_CHECKING:
    from currant._supervisor.runner import Runner
    from currant.sinks._events import EventMessage

__all__ = ["StopRemark"]


class StopRemark:
    """Adds a line to the last message of a command whose end stops the others.

    The barrier is thrown before that message is sent, and the reason knows the command.

    Attributes:
        runner: the Runner of the commands, once it is built.
    """

    def __init__(self) -> None:
        self.runner: Runner | None = None

    def __call__(self, message: EventMessage) -> str | None:
        """Return the line that follows the text of `message`; None if there is none."""
        name = message.command
        if self.runner is None or name is None:
            return None
        jobs = self.runner.jobs
        reason = self.runner.barrier.reason
        others = (job.result for job in jobs.values() if job.name != name)
        if (
            (end := _last_end(message, jobs[name].attempts)) is not None
            and isinstance(reason, StopReason)
            and reason.command == name
            and any(result is None or result.status == "stopped" for result in others)
        ):
            return f"{end}; stopping the other commands"
        return None


def _last_end(message: EventMessage, attempts: int) -> str | None:
    """Return how a command ended; None if other messages of the command may follow."""
    match message:
        case Exited(command=name, exit=end, attempt=number) if number == attempts:
            return f"{printable(name)} ended: {end}"
        case Failed(error=error, attempt=number) if number == attempts:
            return str(error)
        case Skipped(error=error) | Aborted(error=CannotStopError() as error):
            return str(error)
        case _:
            return None
