"""Run a Runner until all commands have ended.

This module handles signals, a terminal or pipe that goes away, and the exit status.
"""

from __future__ import annotations

import signal as signals
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio

from currant._process.launcher import Holder
from currant._synchronization import task_group_beside
from currant._values.errors import CurrantError
from currant._values.host_names import fold
from currant._values.results import lost_host
from currant._values.success import select_results
from currant.cli._errors import (
    STATUS_LOST_HOSTS,
    noting_output_error,
    print_error,
    showing_warnings,
    status_without_output,
)
from currant.cli._output_pipe import is_pipe, wait_reader_gone
from currant.cli._program import STATUS_BROKEN_PIPE
from currant.cli._signals import (
    FORWARDED_SIGNALS,
    PAUSE_SIGNALS,
    STOP_SIGNALS,
    SignalStatus,
    pause_this_process,
    receive_signals,
)

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
    )

    from currant._process.launcher import Launcher
    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._values.results import Result
    from currant.cli._view import View
    from currant.stack._control import Control
    from currant.stack._server import StackServer

__all__ = [
    "exit_status",
    "first_stop_signal",
    "forward_signals",
    "pause_and_resume",
    "run_commands",
    "stop_then_kill",
]

DUPLICATE_SIGNAL_WINDOW = 0.05
"""Seconds in which further signals count as the same request to stop.

`timeout` signals its child and then its own process group, and a program between a terminal and
currant forwards a signal that the terminal has already sent to currant.
"""
PAUSE_GRACE = 0.1
"""Seconds that commands have to handle SIGTSTP before they get SIGSTOP.

Also the seconds in which the SIGCONT arrives that has ended a pause of currant.
"""

HOLD_LIMIT = 1.0
"""Seconds that a host may take to note that currant pauses."""

STDOUT = 1

STATUS_CANNOT_START = 126
"""The shell's exit status for a command that exists but cannot be started."""


def run_commands(
    runner: Runner,
    success: str = "all",
    server: StackServer | None = None,
    view: View | None = None,
) -> int:
    """Run all commands of a Runner until they have ended, and return the exit status.

    The status is a `SignalStatus` if a signal has ended currant.

    Args:
        runner: a Runner that has not been entered yet.
        success: the commands whose failure sets the exit status, as for `select_results`.
        server: listens for clients; the Runner was built with `keep_open` then.
        view: reads the terminal during the run; None: the terminal only shows output.
    """
    try:
        with showing_warnings():
            return anyio.run(_run, runner, success, server, view)
    except CurrantError:
        raise
    except OSError as error:
        return status_without_output(error)


async def _run(runner: Runner, success: str, server: StackServer | None, view: View | None) -> int:
    """Run until all commands have ended, and return the exit status.

    The first reason from outside (a signal, or a reader that is gone) sets the status.  Without
    such a reason, the commands set the status.
    """
    reasons: list[int] = []
    results: dict[str, Result] = {}

    with (
        noting_output_error(reasons),
        receive_signals(STOP_SIGNALS) as stop_signals,
        receive_signals(PAUSE_SIGNALS) as pause_signals,
        receive_signals(FORWARDED_SIGNALS) as forwarded_signals,
    ):
        # The entry may wait for hosts, and a signal ends that.
        async with (
            nullcontext() if server is None else server.open(),
            _stopping_on_signal(runner, stop_signals, reasons, view),
            runner,
        ):
            control = None if server is None else await _listen(server, runner)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(pause_and_resume, runner, pause_signals, view=view))
                resize = None if view is None else partial(view.resize, runner)
                tasks.start_soon(forward_signals, runner, forwarded_signals, resize)
                if view is not None:
                    tasks.start_soon(view.run, runner)
                if is_pipe(STDOUT):
                    tasks.start_soon(_stop_without_reader, runner, reasons)
                await _record_results(runner, control, results)
                if server is not None:  # Otherwise `keep_open` would hold the Runner open.
                    runner.barrier.throw("all commands have ended")
                await runner.join()
                tasks.cancel_scope.cancel()
    if reasons:
        return reasons[0]
    # A command that has ended may have been run again, for example because of a change.
    last = [runner.results[name] for name in results]
    return exit_status(select_results(last, success, list(runner.jobs)))


async def _listen(server: StackServer, runner: Runner) -> Control | None:
    """Let clients connect; without them, the commands run all the same.

    Raises:
        StackError: they are needed, and cannot connect.
    """
    try:
        return await server.listen(runner)
    except OSError as error:
        problem = server.not_listening(error)
    print_error(f"{problem}; the commands run without clients")
    return None


async def _record_results(
    runner: Runner, control: Control | None, results: dict[str, Result]
) -> None:
    """Record how each command ends, until all have ended and no client starts one again.

    The command that has ended last is the last in `results`.
    """

    def record(name: str, result: Result) -> None:
        results.pop(name, None)
        results[name] = result

    async def record_end(job: Job) -> None:
        record(job.name, await job.wait())

    if control is not None:
        control.on_end = record
        await control.until_over()
        return
    async with anyio.create_task_group() as tasks:
        for job in runner.jobs.values():
            tasks.start_soon(record_end, job)


@asynccontextmanager
async def _stopping_on_signal(
    runner: Runner,
    received: AsyncIterator[signals.Signals],
    reasons: list[int],
    view: View | None,
) -> AsyncGenerator[None]:
    """Stop all commands on a signal, from before the entry of the Runner to its end."""
    async with task_group_beside() as tasks:

        def note(signal: signals.Signals) -> None:
            if view is not None:  # A task of its own, because the terminal may accept no output.
                tasks.start_soon(view.end_line, signal)

        tasks.start_soon(_stop_on_signal, runner, received, reasons, note)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def _stop_on_signal(
    runner: Runner,
    received: AsyncIterator[signals.Signals],
    reasons: list[int],
    note: Callable[[signals.Signals], object],
) -> None:
    """Stop all commands at the first signal, and kill them at the second; `note` each."""
    signal = await first_stop_signal(received, reasons, note)
    await stop_then_kill(runner, signal, received, note)


async def first_stop_signal(
    received: AsyncIterator[signals.Signals],
    reasons: list[int],
    note: Callable[[signals.Signals], object] = lambda _: None,
) -> signals.Signals:
    """Wait for the first signal, `note` and return it; it is a reason for the exit status."""
    signal = await anext(received)
    note(signal)
    reasons.append(SignalStatus(128 + signal))
    with anyio.move_on_after(DUPLICATE_SIGNAL_WINDOW):
        async for _ in received:
            pass
    return signal


async def stop_then_kill(
    runner: Runner,
    signal: signals.Signals,
    received: AsyncIterator[signals.Signals],
    note: Callable[[signals.Signals], object] = lambda _: None,
) -> None:
    """Stop all commands because of a signal, `note` the next one, and kill them."""
    runner.kill(f"received {signal.name}")
    signal = await anext(received)
    note(signal)
    runner.kill(f"received {signal.name}")  # The second `kill` cuts the grace short.
    runner.cancel_scope.cancel()  # Do not wait for a terminal or pipe that accepts no output.


async def _stop_without_reader(runner: Runner, reasons: list[int]) -> None:
    """Stop all commands when the reader of stdout, a pipe, is gone."""
    await wait_reader_gone(STDOUT)
    reasons.append(STATUS_BROKEN_PIPE)
    # `Runner.kill` would cut the grace short if a signal has already called `kill`.
    runner.barrier.throw("the reader of the output is gone")


class Signalled(Protocol):
    """A Runner, or another owner of commands."""

    @property
    def launcher(self) -> Launcher: ...

    async def send_signal(self, signal: int | str, /) -> int: ...


async def forward_signals(
    runner: Signalled,
    received: AsyncIterator[signals.Signals],
    resize: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Send each signal to the process groups of all commands.

    Args:
        runner: the owner of the commands.
        received: the signals.
        resize: called first if the terminal has another size.
    """
    async for signal in received:
        if signal == signals.SIGWINCH and resize is not None:
            await resize()
        await runner.send_signal(signal)


async def pause_and_resume(
    runner: Signalled,
    received: AsyncIterator[signals.Signals],
    before_resume: Callable[[], None] = lambda: None,
    view: View | None = None,
) -> None:
    """Forward SIGTSTP (Ctrl-Z) and SIGCONT (``fg``, ``bg``) to the commands.

    Args:
        runner: the Runner.
        received: the signals.
        before_resume: called each time before the commands go on.
        view: reads the terminal; gives the terminal back for the pause.
    """
    async for signal in received:
        if signal == signals.SIGCONT:
            before_resume()
        await runner.send_signal(signal)
        if signal == signals.SIGTSTP:
            # A command that handles SIGTSTP gets time for its handler.  The default action of
            # SIGTSTP has no effect in a session without a shell (POSIX: an orphaned process group),
            # so only SIGSTOP pauses the other commands.
            await anyio.sleep(PAUSE_GRACE)
            await runner.send_signal(signals.SIGSTOP)
            if isinstance(runner.launcher, Holder):
                with anyio.move_on_after(HOLD_LIMIT):
                    await runner.launcher.hold()
            if view is not None:
                await view.pause()
            pause_this_process()
            if view is not None:
                view.resume()
            with anyio.move_on_after(PAUSE_GRACE):
                await anext(received)  # SIGCONT, but not if the system has ignored the pause
            before_resume()
            await runner.send_signal(signals.SIGCONT)


def exit_status(results: Iterable[Result]) -> int:
    """Return the exit status for the first failure in `results`; 0 if no command failed.

    A command that is lost with its host has no exit, so it counts only if no other failed.
    """
    failures = [result for result in results if result.status == "failed"]
    failed = next((result for result in failures if lost_host(result.error) is None), None)
    if failed is None:
        return _report_lost_hosts(failures)
    end = failed.exit
    if end is None:
        return STATUS_CANNOT_START
    if end.signal is None:
        return end.code or 1  # A command may exit with code 0 and have failed nevertheless.
    return 128 + int(end.signal)


def _report_lost_hosts(failures: Iterable[Result]) -> int:
    """Print that all failures are of commands on lost hosts; return the exit status."""
    hosts = {lost.host for each in failures if (lost := lost_host(each.error)) is not None}
    if not hosts:
        return 0
    print_error(f"no command failed but those on lost hosts: {fold(hosts)} ({len(hosts)})")
    return STATUS_LOST_HOSTS
