"""Runs a Runner to its end: signals, a terminal or pipe that goes away, and the exit status."""

from __future__ import annotations

import fcntl
import os
import signal as signals
import stat
import sys
from typing import TYPE_CHECKING

import anyio

from currant._values.errors import CurrantError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from contextlib import AbstractContextManager

    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._values.results import Result

__all__ = ["run_commands"]

STOP_SIGNALS = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)
PAUSE_SIGNALS = (signals.SIGTSTP, signals.SIGCONT)
TIME_FOR_ECHOES = 0.05
"""Seconds in which a request to stop may come more than once: `timeout` signals its child and then
its own group, and a program between a terminal and us passes on what the terminal has sent us too.
"""
TIME_TO_PAUSE = 0.1
"""Seconds that commands have for what they do on SIGTSTP until they are stopped by SIGSTOP."""

STDOUT = 1

CANNOT_RUN = 126
"""The shell's exit status for a command that is there but cannot be run."""
NOBODY_READS = 128 + signals.SIGPIPE
"""The shell's exit status for a program whose output nobody reads any more."""


def run_commands(runner: Runner, success: str = "all") -> int:
    """Run to the end, and return the exit status.

    Args:
        runner: what to run.
        success: whose failure counts: ``"all"``, the ``"first"`` or ``"last"`` to end, or a name.
    """
    try:
        return anyio.run(_run, runner, success)
    except CurrantError:
        raise
    except OSError as error:
        print(f"currant: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1


async def _run(runner: Runner, success: str) -> int:
    """Run to the end; the first reason to stop that came from outside makes the exit status."""
    reasons: list[int] = []
    ended: list[Result] = []

    async def stop_on_signal() -> None:
        signal = await anext(stopping)
        reasons.append(128 + signal)
        with anyio.move_on_after(TIME_FOR_ECHOES):
            async for _ in stopping:
                pass
        runner.kill(f"received {signal.name}")
        signal = await anext(stopping)
        runner.kill(f"received {signal.name}")  # the second time: without what is left of the grace
        runner.cancel_scope.cancel()  # nor wait for a terminal or pipe that takes nothing

    async def stop_when_nobody_reads() -> None:
        await _until_nobody_reads(STDOUT)
        reasons.append(NOBODY_READS)
        runner.barrier.throw("nobody reads the output")  # not `kill`, which after a signal hurries

    async def note_end(job: Job) -> None:
        ended.append(await job.wait())

    try:
        with _receiving(STOP_SIGNALS) as stopping, _receiving(PAUSE_SIGNALS) as pausing:
            async with runner, anyio.create_task_group() as tasks:
                tasks.start_soon(stop_on_signal)
                tasks.start_soon(_pause_and_go_on, runner, pausing)
                if _is_pipe(STDOUT):
                    tasks.start_soon(stop_when_nobody_reads)
                async with anyio.create_task_group() as noting:
                    for job in runner.jobs.values():
                        noting.start_soon(note_end, job)
                await runner.join()
                tasks.cancel_scope.cancel()
    except BrokenPipeError:  # of the sink
        reasons.append(NOBODY_READS)
    return reasons[0] if reasons else _status(_counting(ended, success))


def _receiving(
    numbers: Iterable[signals.Signals],
) -> AbstractContextManager[AsyncIterator[signals.Signals]]:
    """Receive those of the signals that were not ignored before us: these stay so (nohup)."""
    heeded = [number for number in numbers if signals.getsignal(number) != signals.SIG_IGN]
    return anyio.open_signal_receiver(*heeded)


async def _pause_and_go_on(runner: Runner, arriving: AsyncIterator[signals.Signals]) -> None:
    """Pass Ctrl-Z on, and what ``fg`` and ``bg`` send afterwards."""
    async for signal in arriving:
        await runner.send_signal(signal)
        if signal == signals.SIGTSTP:
            # Those who handle it have time for that.  The others would go on: the system ignores
            # it in a session without a shell (POSIX: orphaned process groups).
            await anyio.sleep(TIME_TO_PAUSE)
            await runner.send_signal(signals.SIGSTOP)
            os.kill(os.getpid(), signals.SIGSTOP)


def _is_pipe(fd: int) -> bool:
    """Tell whether `fd` is the end of a pipe that can only be written to."""
    writes_only = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    return writes_only and stat.S_ISFIFO(os.fstat(fd).st_mode)


async def _until_nobody_reads(pipe: int) -> None:
    """Wait until the other end of a pipe that is written to is closed, however long we are silent.

    There is nothing to read from this end, ever, so it is "readable" when there is an error to tell
    (Linux: ``EPOLLERR``, poll(2)).
    """
    await anyio.wait_readable(pipe)


def _counting(ended: Sequence[Result], success: str) -> Sequence[Result]:
    """Return those of `ended`, in the order of their ends, whose failure counts."""
    match success:
        case "all":
            return ended
        case "first":
            return ended[:1]
        case "last":
            return ended[-1:]
        case name:
            return [result for result in ended if result.command == name]


def _status(ended: Iterable[Result]) -> int:
    """Return the exit status of the first one that failed, in the order of their ends."""
    failed = next((result for result in ended if result.status == "failed"), None)
    if failed is None:
        return 0
    end = failed.exit
    if end is None:
        return CANNOT_RUN
    if end.code is not None:
        return end.code or 1  # it has failed, though it says nothing of that
    return 128 + int(end.signal or 0)
