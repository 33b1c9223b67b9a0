"""Lines about commands: that all are ready, and what an end means.

The end of a command may stop the others, or be a failure although its exit code is a success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import CannotStopError
from currant._values.messages import Aborted, Exited, Failed, Skipped
from currant._values.policies import StopReason
from currant._values.printable import printable
from currant._values.state import QUEUED, is_expected, state_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._supervisor.runner import Runner
    from currant._values.command import Command
    from currant._values.state import CommandState
    from currant.sinks._events import EventMessage

__all__ = ["ReadyRemark", "StopRemark"]


class ReadyRemark:
    """Adds a line to the message with which all commands are ready for the first time.

    It also says that a command has failed because it ended before it was ready: the exit code alone
    may look like a success.

    A command without a probe is ready when it runs, and so is a command that has succeeded.  If no
    command has a probe, the lines about their starts say enough.

    Args:
        commands: the commands, each replica by itself.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = {str(command.name): command for command in commands}
        self._states: dict[str, CommandState] = {}
        self._has_probe = any(command.ready is not None for command in commands)
        self._is_said = len(commands) == 1

    def __call__(self, message: EventMessage) -> str | None:
        """Return the line that follows the text of `message`; None if there is none."""
        name = message.command
        if not self._has_probe or name is None:
            return None
        before, command = self._states.get(name, QUEUED), self._commands.get(name)
        after = self._states[name] = state_after(message, before, command)
        if isinstance(message, Exited) and after.phase == "failed" and after.error is None:
            is_success = is_expected(message.exit, command)
            return f"{printable(name)} ended before it was ready" if is_success else None
        if self._is_said or not all(map(self._is_ready, self._commands)):
            return None
        self._is_said = True
        return f"all {len(self._commands)} commands are ready"

    def _is_ready(self, name: str) -> bool:
        phase = self._states.get(name, QUEUED).phase
        has_probe = self._commands[name].ready is not None
        return phase in ("ready", "succeeded") or (phase == "running" and not has_probe)


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
