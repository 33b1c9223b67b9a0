"""`currant run`: from command lines to a Runner, and from how it ended to an exit status."""

from __future__ import annotations

import shlex
import signal as signals
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, TypedDict, Unpack

import anyio

from currant._command import Command, unique_name
from currant._errors import CommandError, CurrantError
from currant._runner import Runner
from currant.sinks import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from currant._command import KillOthersOn
    from currant._job import Job
    from currant._messages import Result
    from currant._restart import RestartWhen

__all__ = ["build", "run_commands"]

STOP_SIGNALS = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)
CANNOT_RUN = 126
"""The shell's exit status for a command that is there but cannot be run."""


class RunOptions(TypedDict):
    """The options that go to the Runner as they are."""

    restart: RestartWhen
    kill_others_on: KillOthersOn | None
    max_processes: int | None
    grace: float


def build(
    lines: Sequence[str], *, names: Sequence[str] | None, **options: Unpack[RunOptions]
) -> Runner:
    """Make a Runner that shows what the shell makes of `lines`.

    Raises:
        CommandError: a line is empty, or the names do not fit the lines.
    """
    if names is None:
        names = []
        for line in lines:
            names.append(unique_name(_first_word(line), names))
    if len(names) != len(lines):
        raise CommandError(f"--names gives {len(names)} names for {len(lines)} commands")
    commands = [Command.shell(line, name=name) for line, name in zip(lines, names, strict=True)]
    return Runner(commands, sinks=[ConsoleSink()], **options)


def run_commands(runner: Runner) -> int:
    """Run to the end, and return the exit status."""
    try:
        return anyio.run(_run, runner)
    except CurrantError:
        raise
    except BrokenPipeError:  # of the sink: nobody reads our output any more
        return 128 + signals.SIGPIPE
    except OSError as error:
        print(f"currant: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1


async def _run(runner: Runner) -> int:
    received: list[int] = []
    ended: list[Result] = []

    async def kill_on_signal() -> None:
        async for signal in arriving:
            received.append(signal)
            # The first asks the commands to stop, a second one ends them at once.
            runner.kill(f"received {signal.name}")
            if len(received) > 1:
                runner.cancel_scope.cancel()  # nor wait for a terminal or pipe that takes nothing

    async def note_end(job: Job) -> None:
        ended.append(await job.wait())

    # What was ignored before us stays so: nohup.
    heeded = [number for number in STOP_SIGNALS if signals.getsignal(number) != signals.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as arriving:
        async with runner, anyio.create_task_group() as tasks:
            tasks.start_soon(kill_on_signal)
            async with anyio.create_task_group() as noting:
                for job in runner.jobs.values():
                    noting.start_soon(note_end, job)
            await runner.join()
            tasks.cancel_scope.cancel()
    return 128 + received[0] if received else _status(ended)


def _status(ended: Iterable[Result]) -> int:
    """Return the exit status of the first one that failed, in the order of their ends."""
    failed = next((result for result in ended if result.status == "failed"), None)
    if failed is None:
        return 0
    end = failed.exit
    if end is None:
        return CANNOT_RUN
    return end.code if end.code is not None else 128 + int(end.signal or 0)


def _first_word(line: str) -> str:
    """Return what to call a command line: its program's name, without the folder."""
    try:
        words = shlex.split(line)
    except ValueError:  # the shell may understand it nevertheless, and says so if not
        words = line.split()
    programs = [word for word in words if "=" not in word]
    return PurePath(programs[0]).name or "sh" if programs else "sh"
