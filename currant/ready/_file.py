"""`file`: a probe that waits for a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from currant._values.checks import check_flag
from currant._values.probe import Unmet
from currant.ready._arguments import checked_file
from currant.ready._waiting import PolledProbe

if TYPE_CHECKING:
    from currant._values.checks import StrOrPath
    from currant._values.probe import Probe, ProbeTarget

__all__ = ["file"]


def file(
    path: StrOrPath,
    *,
    non_empty: bool = False,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that waits until the command has made or changed a file.

    Wait until a program has written its pid::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            started = ready.file("pid", non_empty=True)
            await runner.start(Command.shell("echo $$ > pid; sleep 60", ready=started))
            runner.kill()

    A file that was there before this attempt of the command does not count, until it is written,
    touched or replaced; chmod, chown and ln are no change.  The probe compares the file (inode,
    size and time of modification) with its state before the start, and no clocks.  So it does not
    notice a change if all of these stay the same: after a copy in place that keeps the time, and on
    a file system that knows whole seconds only, within the second of the change before.

    Args:
        path: the path of the file on the host of the command, from its working directory on.
        non_empty: whether the file must have content.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("file: non_empty", non_empty)
    return _File(checked_file("file: path", path), non_empty, interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _File(PolledProbe):
    path: str
    non_empty: bool

    @property
    def files(self) -> tuple[str, ...]:
        return (self.path,)

    async def check(self, subject: ProbeTarget) -> None:
        try:
            state = await subject.examine(self.path)
        except OSError as error:
            raise Unmet(f"cannot look at {self.path}: {error.strerror or error}") from error
        if state == "missing":
            raise Unmet(f"there is no file {self.path}")
        if state == "old":
            raise Unmet(f"the file {self.path} has not changed since the start of the command")
        if state == "empty" and self.non_empty:
            raise Unmet(f"the file {self.path} is empty")
