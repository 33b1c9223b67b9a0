"""Test what leaving the block does: `on_exit`, the end of input, errors of readiness, Ctrl-C."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Command,
    CommandError,
    KillBarrier,
    NotReadyError,
    RestartPolicy,
    Runner,
    StdinClosedError,
    open_process,
    ready,
)
from currant._process.local import LocalLauncher
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.lifeline import Lifeline
from tests.programs import Programs, wait_until_idle
from tests.waiting import HOURS, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

RUNS = Script(exit=None)
PATIENT = ShutdownLimits(end_of_input=HOURS)
WRITES_WHY_IT_ENDS = "trap 'echo signal; exit 1' TERM; echo up; cat; echo end of input"


@pytest.mark.anyio
async def test_on_exit_stop_stops_the_commands_at_the_end_of_the_body() -> None:
    """A lifespan without a call of kill ends; its commands are stopped, not failed."""
    with anyio.fail_after(LIMIT):
        async with Runner(["c"], launcher=FakeLauncher(default=RUNS), on_exit="stop") as runner:
            await runner["c"].ready()
    assert runner.results["c"].status == "stopped"
    assert runner.barrier.reason == "the block was left"


@pytest.mark.anyio
async def test_on_exit_stop_ends_a_runner_that_is_kept_open() -> None:
    """Such a Runner waits for a kill, and the end of the body is one."""
    with anyio.fail_after(LIMIT):
        async with Runner(keep_open=True, on_exit="stop", launcher=FakeLauncher()):
            pass


def test_on_exit_must_be_wait_or_stop() -> None:
    """The error names both."""
    with pytest.raises(CommandError, match="on_exit must be 'wait' or 'stop', not 'kill'"):
        Runner(on_exit=cast("Any", "kill"))


# ---- the end of input ----


@pytest.mark.anyio
async def test_leaving_the_block_closes_the_stdin_of_commands() -> None:
    """Programs that end at end-of-file end; what was sent before has arrived."""
    with anyio.fail_after(LIMIT):
        async with Runner(
            [Command(["cat"], name=name, stdin=PIPE) for name in "ab"], capture=True
        ) as runner:
            await runner["a"].send(b"request\n")
    assert [result.status for result in runner.results.values()] == ["succeeded"] * 2
    assert runner.results["a"].stdout == b"request\n"


@pytest.mark.anyio
async def test_a_command_that_starts_after_the_body_has_no_input() -> None:
    """A queued command and a later attempt read end-of-file as the running command does."""
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0)
    commands = [
        Command(["cat"], name="again", stdin=PIPE, restart=policy, success_codes=[7]),
        Command(["cat"], name="queued", stdin=PIPE),
    ]
    with anyio.fail_after(LIMIT):
        async with Runner(commands, max_processes=1) as runner:
            await runner["again"].ready()
    assert [result.attempts for result in runner.results.values()] == [2, 1]
    assert runner.results["queued"].status == "succeeded"


@pytest.mark.anyio
async def test_send_after_the_block_was_left_is_refused() -> None:
    """A task that goes on outside gets an error, for this process and for a later one."""
    command = Command.shell("cat; sleep 9999", name="c", stdin=PIPE)

    async def send_until_refused() -> None:
        with pytest.raises(StdinClosedError, match="it is closed"):
            while True:  # The end of the body may close the pipe a step later.
                await runner["c"].send(b"late")
                await checkpoint()

    async def send_late() -> None:
        await send_until_refused()
        await runner["c"].restart()
        await send_until_refused()
        runner.kill()

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks, Runner([command]) as runner:
            await runner["c"].ready()
            tasks.start_soon(send_late)


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["runner", "job", "restart"])
async def test_a_stop_closes_the_stdin_before_it_asks(how: str) -> None:
    """A program that ends at end-of-file gets no signal, and counts as stopped."""
    command = Command.shell(WRITES_WHY_IT_ENDS, name="c", stdin=PIPE, ready=ready.line("up"))
    launcher = LocalLauncher(_limits=PATIENT)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher, capture=True, grace=HOURS) as runner:
            await runner["c"].ready()
            if how == "restart":
                await runner["c"].restart()
                await runner["c"].ready()
            (runner if how == "runner" else runner["c"]).kill()
    result = runner.results["c"]
    assert (result.status, result.stdout) == ("stopped", b"up\nend of input\n")
    assert str(result.exit) == "stopped (exit code 0)"


@pytest.mark.anyio
async def test_kill_before_the_end_of_the_block_does_not_hasten_the_signal() -> None:
    """Two stops at the same time, of the job and of all, wait for the end of input together."""
    launcher = FakeLauncher(default=RUNS, _limits=PATIENT)
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            runner = Runner([Command(["c"], stdin=PIPE)], launcher=launcher, grace=HOURS)

            async def run() -> None:
                async with runner:
                    await runner["c"].ready()
                    runner.kill()
                    runner["c"].kill()

            tasks.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            assert launcher["c"].signals == []
            runner.kill()
    assert launcher["c"].signals[0] == signal.SIGTERM


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, {"stop_command": "false"}])
async def test_process_that_has_ended_while_the_program_was_busy_was_not_stopped(
    options: Any,
) -> None:
    """The event loop has not run since the exit."""
    with anyio.fail_after(LIMIT):
        async with open_process(["sh", "-c", "read x; exit 3"], **options) as job:
            pid = job.pid
            assert pid is not None
            await job.send(b"\n")
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - keeps it busy
    assert job.result is not None
    assert (job.result.status, str(job.result.exit)) == ("failed", "exit code 3")


@pytest.mark.anyio
async def test_a_command_that_ignores_the_end_of_its_input_is_asked() -> None:
    """The wait is a part of the grace."""
    launcher = FakeLauncher(default=RUNS, _limits=ShutdownLimits(end_of_input=0.01))
    command = Command(["c"], stdin=PIPE)
    async with Runner([command], launcher=launcher, grace=HOURS) as runner:
        await runner["c"].ready()
        runner.kill()
    assert launcher["c"].signals[0] == signal.SIGTERM


@pytest.mark.anyio
async def test_a_second_kill_does_not_wait_for_the_end_of_input() -> None:
    """The stop goes on at once."""
    launcher = FakeLauncher(default=RUNS, _limits=PATIENT)
    with anyio.fail_after(LIMIT):
        async with Runner([Command(["c"], stdin=PIPE)], launcher=launcher, grace=HOURS) as runner:
            await runner["c"].ready()
            runner.kill()
            await anyio.wait_all_tasks_blocked()
            assert launcher["c"].signals == []
            runner.kill()
    assert launcher["c"].signals[0] == signal.SIGTERM


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_the_end_of_input_a_second_time() -> None:
    """A command whose stdin was closed before has had its chance."""
    launcher = FakeLauncher(default=RUNS, _limits=PATIENT)
    with anyio.fail_after(LIMIT):
        async with Runner([Command(["c"], stdin=PIPE)], launcher=launcher) as runner:
            await runner["c"].close_stdin()
            runner.kill()
    assert launcher["c"].signals[0] == signal.SIGTERM


# ---- readiness ----


@pytest.mark.anyio
async def test_start_fails_when_the_process_is_gone_and_the_name_is_free() -> None:
    """So the same command can be started again at once, on the same port."""
    deaf = Script(exit=None, ignores={signal.SIGTERM})
    launcher = FakeLauncher({"c": [deaf, Script(stdout=b"up\n", exit=None)]})
    command = Command(["c"], name="c", ready=ready.line("up"), grace=0.05)
    impatient = replace(command, ready=ready.line("up", timeout=0.05))
    async with Runner(keep_open=True, launcher=launcher) as runner:
        with pytest.raises(NotReadyError):
            await runner.start(impatient)
        assert not launcher["c"].running
        assert (await runner.start(command)).is_ready
        runner.kill()


@pytest.mark.anyio
async def test_start_that_fails_does_not_search_beside_the_next_attempt() -> None:
    """A search for escapees would take the processes of that attempt for escapees of the last."""
    swept: list[str | None] = []

    class Sweeping(FakeLauncher):
        async def sweep(self, name: str | None = None, grace: float = inf) -> None:
            swept.append(name)

    launcher = Sweeping({"c": [Script(exit=1), RUNS]})
    policy = RestartPolicy("on-failure", delay=0)
    command = Command(["c"], ready=ready.line("up"), restart=policy)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            with pytest.raises(NotReadyError):
                await runner.start(command)
            while runner["c"].attempts < 2:
                await checkpoint()
            assert swept == ["c", "c:probe"]
            runner.kill()


# ---- Ctrl-C ----


INTERRUPTS = [KeyboardInterrupt, SystemExit, pytest.fail.Exception]


@pytest.mark.anyio
@pytest.mark.parametrize("interrupt", INTERRUPTS)
async def test_an_interrupt_of_a_sink_ends_the_block(interrupt: type[BaseException]) -> None:
    """A signal handler may raise in a task of currant's; the body must not go on sleeping."""

    async def interrupted(_: object) -> None:
        raise interrupt("mine")

    runner = Runner(["c"], launcher=FakeLauncher(default=RUNS), sinks=[interrupted])
    with anyio.fail_after(LIMIT), pytest.raises(interrupt, match="mine"):
        async with runner:
            await anyio.sleep_forever()
    assert runner.results["c"].status == "stopped"


@pytest.mark.anyio
@pytest.mark.parametrize("interrupt", [*INTERRUPTS, LookupError])
async def test_an_interrupt_of_the_task_at_the_barrier_ends_the_block(
    monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    """Nothing hides the error: neither a group nor the cancellation of the body."""
    runner, wait = Runner(["c"], launcher=FakeLauncher(default=RUNS)), KillBarrier.wait

    async def interrupted(barrier: KillBarrier) -> None:
        if anyio.get_current_task().name == "currant barrier":
            await anyio.wait_all_tasks_blocked()
            raise interrupt("mine")
        await wait(barrier)

    monkeypatch.setattr(KillBarrier, "wait", interrupted)
    with anyio.fail_after(LIMIT), pytest.raises(interrupt, match="mine"):
        async with runner:
            await runner.join()
    assert runner.results["c"].status == "stopped"


PROGRAM = """
import json, sys, anyio
from currant import Command, Runner
options = json.loads(sys.argv[1])

async def main():
    async with Runner([Command.shell(options["script"], name="c")], grace=9999):
        await anyio.sleep_forever()

trio = {"restrict_keyboard_interrupt_to_checkpoints": True}
loop = options["backend_options"] | (trio if options["backend"] == "trio" else {})
anyio.run(main, backend=options["backend"], backend_options=loop)
"""


def test_a_second_interrupt_skips_the_rest_of_the_grace(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any], tmp_path: Path
) -> None:
    """Ctrl-C twice ends a program that uses the library, whatever its commands do."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with (
        Lifeline(tmp_path / "lifeline") as lifeline,
        Programs(PROGRAM, anyio_backend_name, use_uvloop=use_uvloop) as programs,
    ):
        asked = lifeline.say("asked")
        begin = f"{lifeline.hold('up')}; trap '{asked}' TERM; {lifeline.say('ready')}"
        program = programs.run({"script": f"{begin}; {TRAPS_SIGNALS}"})
        lifeline.wait_for("ready")
        wait_until_idle(program.pid)
        program.send_signal(signal.SIGINT)
        lifeline.wait_for("asked")
        wait_until_idle(program.pid)
        program.send_signal(signal.SIGINT)
        lifeline.wait_for_end()
        _, errors = program.communicate(timeout=LIMIT)
    # Python may warn, below the traceback, about a task that never began.
    assert b"\nKeyboardInterrupt\n" in errors
    assert program.returncode == -signal.SIGINT
