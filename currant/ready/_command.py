"""`command`: a probe that runs another command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from currant._values.command import CommandLike, as_command, check_is_plain
from currant._values.probe import ProbeCommand, Unmet
from currant.ready._waiting import PolledProbe

if TYPE_CHECKING:
    from currant._values.probe import Probe, ProbeTarget

__all__ = ["command"]


def command(
    argv: CommandLike, *, interval: float | None = None, timeout: float | None = None
) -> Probe:
    """Return a probe that runs another command and succeeds if that command does.

    Wait until a program has created a file::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            exists = ready.command("test -e started")
            await runner.start(Command.shell("touch started; sleep 60", ready=exists))
            runner.kill()

    The other command runs on the same host.  It has the working directory and the variables of the
    command that it checks, unless it sets others.

    Args:
        argv: a str, a sequence of words, or a `Command`, of which only `argv`, `cwd`, `env` and
            `success_codes` may be set.
        interval: seconds between two runs.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    given = as_command(argv)
    check_is_plain("command", given)
    checker = ProbeCommand(given.argv, given.cwd, dict(given.env), given.success_codes)
    return _Command(checker, interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Command(PolledProbe):
    command: ProbeCommand

    async def check(self, subject: ProbeTarget) -> None:
        outcome = await subject.run(self.command)
        if outcome.code not in self.command.success_codes:
            raise Unmet(f"{self.command}: {outcome}")
