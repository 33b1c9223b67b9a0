"""`run_plan`: run the servers and the test, with the signals and the terminal of the test."""

from __future__ import annotations

import signal as signals
from contextlib import closing
from typing import TYPE_CHECKING

import anyio

from currant.cli._errors import noting_output_error
from currant.cli._run import (
    exit_status,
    first_stop_signal,
    forward_signals,
    pause_and_resume,
    stop_then_kill,
)
from currant.cli._signals import (
    FORWARDED_SIGNALS,
    PAUSE_SIGNALS,
    STOP_SIGNALS,
    SignalStatus,
    receive_signals,
)
from currant.cli._with.foreground import Foreground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from currant.cli._with.plan import Plan

__all__ = ["run_plan"]


async def run_plan(plan: Plan, grace: float) -> int | None:
    """Run the servers and the test; return the exit status, or None if a server ended first."""
    runner, reasons = plan.runner, list[int]()
    # If the terminal stops programs in the background that write (`stty tostop`), currant goes on.
    signals.signal(signals.SIGTTOU, signals.SIG_IGN)
    with (
        noting_output_error(reasons),
        receive_signals(STOP_SIGNALS) as stop_signals,
        receive_signals(PAUSE_SIGNALS) as pause_signals,
        receive_signals(FORWARDED_SIGNALS) as forwarded_signals,
        receive_signals([signals.SIGCHLD]) as child_signals,
    ):
        async with runner, anyio.create_task_group() as tasks:
            test = runner[plan.test]
            with closing(Foreground(test)) as foreground:
                tasks.start_soon(foreground.lend, child_signals)
                tasks.start_soon(pause_and_resume, runner, pause_signals, foreground.resume)
                tasks.start_soon(forward_signals, runner, forwarded_signals)
                tasks.start_soon(_stop_on_signal, plan, stop_signals, grace, reasons)
                end = (await test.wait()).exit
            key = end.signal if end is not None and foreground.was_lent else None
            if key is not None and key in (signals.SIGINT, signals.SIGQUIT):
                # The key ends a loop of the shell around currant, too.
                reasons.append(SignalStatus(128 + key))
            await runner.join()
            tasks.cancel_scope.cancel()
    if reasons:
        return reasons[0]
    result = runner.results[plan.test]
    return exit_status([result]) if result.status in ("succeeded", "failed") else None


async def _stop_on_signal(
    plan: Plan, received: AsyncIterator[signals.Signals], grace: float, reasons: list[int]
) -> None:
    """Pass the first signal on to the test, and stop all at the second, or after the grace."""
    signal = await first_stop_signal(received, reasons)
    test = plan.runner[plan.test]
    if await test.send_signal(signal):
        with anyio.move_on_after(grace) as limit:
            signal = await anext(received)
        if limit.cancelled_caught:
            test.kill()
            test.kill()  # The test has had its grace.
    await stop_then_kill(plan.runner, signal, received)
