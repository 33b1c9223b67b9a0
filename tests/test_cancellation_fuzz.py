"""Cancellations at random moments, hundreds on each event loop, leave nothing and print nothing.

This file is also the program that the test starts, as ``python -X dev -W error -m``.  In that mode,
a warning, an exception that no task retrieved, and an exception in a destructor all appear on
stderr, which must stay empty.  After each block the program checks that there is no process (it has
no child, and no process holds its lifeline), no new open file and no new task.

The moments do not depend on the machine's speed alone.  Some are random delays; others are numbers
of turns of the event loop, or phases of the commands for which the canceller waits.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import PIPE, Command, CurrantError, RestartPolicy, Runner
from tests.lifeline import Lifeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage

CANCELLATIONS = 300
"""How many blocks must be hit by a cancellation, on each event loop."""

PHASES = ("starting", "running", "restarting", "stopping")
"""The phases of a block's commands: no process yet ("starting"), or a state of a `Job`."""

PROGRAM_LIMIT = 60
"""Seconds that a block may take; then the program prints where it hangs, and exits."""


# ---- the test ----


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)  # The program itself limits each of its many blocks.
def test_cancellations_at_any_moment_leave_nothing(anyio_backend: object, tmp_path: Path) -> None:
    """No process, file, task or warning is left of 300 blocks, for each way of cancelling."""
    seed = os.environ.get("CURRANT_FUZZ_SEED") or str(random.SystemRandom().getrandbits(32))
    words = [json.dumps(anyio_backend), seed, str(tmp_path)]
    program = [sys.executable, "-X", "dev", "-W", "error", "-m", __name__]
    ended = subprocess.run(
        [*program, *words],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    *plans, last = ended.stdout.splitlines() or ["no block"]
    report = f"to repeat: CURRANT_FUZZ_SEED={seed}; block {len(plans)} was {last}\n{ended.stderr}"
    assert (ended.returncode, ended.stderr) == (0, ""), report
    hits = Counter(json.loads(last))
    assert hits.total() >= CANCELLATIONS, report
    assert all(hits[phase] >= CANCELLATIONS / 20 for phase in PHASES), report


# ---- the program: plans ----

HOW = ("scope", "own scope", "deadline", "task")
WHEN = ("delay", "turns", *PHASES)
WAITING = ("reads", "reads batches", "joins", "ends")
WHAT = (*WAITING, "breaks", "sleeps", "starts", "sends", "raises")


@dataclass(frozen=True)
class Plan:
    """One block, and the cancellation that should hit it.

    Attributes:
        how: one of `HOW`: cancel the scope around the block (by a call or a deadline), the
            Runner's own scope, or the asyncio task.
        when: one of `WHEN`: after a delay, after some turns of the event loop, or in a phase.
        delay: the delay in seconds.
        turns: turns of the event loop; if `when` is a phase, turns after the phase has begun.
        twice: whether to cancel again one turn later.
        what: one of `WHAT`: the activity of the body.
        commands: the commands to run, by their names in `COMMANDS`.
        pause: seconds before a restart.
        max_processes: as for a Runner.
        buffer_size: as for a Runner.
        slow_sink: whether the Runner has a (slow) sink.
    """

    how: str
    when: str
    delay: float
    turns: int
    twice: bool
    what: str
    commands: list[str]
    pause: float
    max_processes: int | None
    buffer_size: int
    slow_sink: bool


COMMANDS: tuple[str, ...] = (
    "true",
    "sleeps",
    "deaf",
    "noisy",
    "fails",
    "has a child",
    "leaves a child",
    "cannot start",
    "listens",
)


def make_plan(chance: random.Random, how: str, when: str) -> Plan:
    """Draw a block that is certain to reach the phase `when`."""
    commands = chance.choices(COMMANDS, k=chance.randint(1, 3))
    first = {"running": "sleeps", "restarting": "fails", "stopping": "sleeps"}.get(when)
    return Plan(
        how=how,
        when=when,
        delay=chance.uniform(0, 0.04),
        turns=int(150 * chance.random() ** 2) if when == "turns" else chance.choice([0, 0, 1, 5]),
        twice=chance.random() < 0.3,
        # Without a reader, a full channel could block the messages before a restart.
        what=chance.choice(WAITING if when == "restarting" else WHAT),
        commands=commands if first is None else [first, *commands],
        pause=3600.0 if when == "restarting" else chance.choice([0.0, 0.001, 0.01]),
        max_processes=chance.choice([None, None, 1, 2]),
        buffer_size=chance.choice([1, 16]),
        slow_sink=chance.random() < 0.3,
    )


class Block:
    """The block of one plan; records the phase in which it was cancelled.

    Attributes:
        runner: the Runner of the block.
        hit: the phase in which the cancellation came; None if it came too late, or not yet.
    """

    def __init__(self, plan: Plan, lifeline: Lifeline, broken: Path) -> None:
        self.plan = plan
        self.runner = Runner(
            {
                f"{word} {n}": command(word, lifeline, broken)
                for n, word in enumerate(plan.commands)
            },
            restart=RestartPolicy("on-failure", delay=plan.pause, factor=1.0),
            max_processes=plan.max_processes,
            buffer_size=plan.buffer_size,
            sinks=[slow_sink] if plan.slow_sink else [],
        )
        self.hit: str | None = None
        self._entered = False
        self._left = False

    async def play(self) -> None:
        """Run the block, and cancel it unless it ends before."""
        match self.plan.how:
            case "task":
                await self._play_in_a_task()
            case "deadline":
                await self._play_with_a_deadline()
            case _:
                await self._play_in_a_scope()

    async def _play_in_a_task(self) -> None:
        task = asyncio.create_task(self._run())
        await self._cancel_when_due(task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
            assert self.hit is None or self.plan.what == "raises", "the cancellation was lost"

    async def _play_with_a_deadline(self) -> None:
        with anyio.move_on_after(self.plan.delay) as scope:
            await self._run()
        if scope.cancelled_caught:
            self.hit = "deadline"

    async def _play_in_a_scope(self) -> None:
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                is_own = self.plan.how == "own scope"
                cancel = self._cancel_runner if is_own else scope.cancel
                tasks.start_soon(self._cancel_when_due, cancel)
                await self._run()
            # A Runner whose own scope is cancelled ends normally.
            assert not (is_own and scope.cancelled_caught)
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        try:
            async with self.runner:
                self._entered = True
                await self._do_something()
        except BodyError:
            assert self.plan.what == "raises"
        finally:
            self._left = True

    async def _do_something(self) -> None:
        runner = self.runner
        match self.plan.what:
            case "reads" | "reads batches" | "breaks":
                await self._read()
            case "joins":
                await runner.join()
            case "starts":
                await runner.start("sleep 99")
            case "sends":
                await self._send()
            case "raises":
                await checkpoint()
                raise BodyError
        if self.plan.what != "ends":
            await anyio.sleep_forever()

    async def _read(self) -> None:
        messages = self.runner.batches() if self.plan.what == "reads batches" else self.runner
        async for _ in messages:
            if self.plan.what == "breaks":
                break

    async def _send(self) -> None:
        for job in self.runner.jobs.values():
            if job.command.stdin == PIPE:
                try:
                    await job.send(bytes(1_000_000))
                    await job.close_stdin()
                except CurrantError:
                    pass  # The command was stopped.

    async def _cancel_when_due(self, cancel: Callable[[], object]) -> None:
        when = self.plan.when
        if when == "delay":
            await anyio.sleep(self.plan.delay)
        elif when == "stopping":
            await self._wait_until(lambda: self._entered)
            self.runner.kill()
        elif when in PHASES:
            await self._wait_until(lambda: when in self._phases())
        if self.plan.how == "own scope":
            await self._wait_until(lambda: self._entered)
        for _ in range(self.plan.turns):
            await checkpoint()
        if not self._left:
            phases = self._phases()
            self.hit = when if when in phases else max(phases)
            cancel()
            if self.plan.twice:
                await checkpoint()
                cancel()

    def _cancel_runner(self) -> None:
        self.runner.cancel_scope.cancel()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not (self._left or condition()):
            await checkpoint()

    def _phases(self) -> set[str]:
        """Return the phases of all commands; {"starting"} before there is any."""
        states = {str(job.state) for job in self.runner.jobs.values()} or {"queued"}
        return {"starting" if state == "queued" else state for state in states}


class BodyError(Exception):
    """The exception that a body raises."""


def command(word: str, lifeline: Lifeline, broken: Path) -> Command:
    """Make one of `COMMANDS`; each that runs a shell holds the lifeline."""
    lines = {
        "deaf": "trap '' TERM; while :; do sleep 99; done",
        "noisy": "exec yes",
        "fails": "exit 3",
        "has a child": "sleep 99 & echo child; wait",
        "leaves a child": "sleep 99 & echo child; exit 3",
        "listens": "exec cat",
    }
    argv = {"true": ["true"], "sleeps": ["sleep", "99"], "cannot start": [str(broken)]}
    return Command(
        argv.get(word) or ["/bin/sh", "-c", f"{lifeline.hold('it')}; {lines[word]}"],
        grace=0.02 if word == "deaf" else None,
        stdin=PIPE if word == "listens" else None,
    )


async def slow_sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
    """Receive all messages, with a pause after each."""
    async for _ in messages:
        await anyio.sleep(0.001)


# ---- the program: checks ----


async def main(backend: str, seed: str, folder: Path) -> None:
    """Cancel blocks until enough were hit; print each plan, and finally the phases of the hits."""
    chance = random.Random(seed)
    if backend == "asyncio":
        asyncio.get_running_loop().slow_callback_duration = inf  # Do not warn of a slow machine.
    broken = folder / "broken"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    ways = [
        (how, when)
        for how in HOW
        for when in WHEN
        if (how != "task" or backend == "asyncio") and (how != "deadline" or when == "delay")
    ]
    hits: Counter[str] = Counter()
    with Lifeline(folder / "lifeline") as lifeline:
        async with Runner(["true"]):
            pass  # Now the event loop has opened the files that it keeps.
        before = files_and_tasks(backend)
        for block_number in range(4 * CANCELLATIONS):
            if hits.total() >= CANCELLATIONS:
                break
            plan = make_plan(chance, *ways[block_number % len(ways)])
            print(block_number, plan, flush=True)
            faulthandler.dump_traceback_later(PROGRAM_LIMIT, exit=True)
            block = Block(plan, lifeline, broken)
            await block.play()
            if block.hit is not None:
                hits[block.hit] += 1
            await check_nothing_left(block.runner, lifeline, backend, before)
            if block_number % 50 == 0:
                gc.collect()
    print(json.dumps(hits))


async def check_nothing_left(
    runner: Runner, lifeline: Lifeline, backend: str, before: tuple[int, int]
) -> None:
    """Raise if a command still runs, or a process, an open file or a task is left."""
    assert all(job.state == "ended" and job.result for job in runner.jobs.values())
    lifeline.ended()
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222 - does not block
    except ChildProcessError:
        pass
    else:
        raise AssertionError(f"a process is left: {pid or 'it still runs'}")
    for _ in range(10):  # A task that only has to return gets the time to do so.
        if files_and_tasks(backend) == before:
            return
        await checkpoint()
    raise AssertionError(f"files and tasks: {files_and_tasks(backend)}, before: {before}")


def files_and_tasks(backend: str) -> tuple[int, int]:
    """Count the open files of this process, and the tasks of the event loop."""
    files = len(os.listdir("/dev/fd"))
    if backend == "asyncio":
        return files, len(asyncio.all_tasks())
    import trio  # noqa: PLC0415 - trio may not be installed

    return files, trio.lowlevel.current_statistics().tasks_living


if __name__ == "__main__":
    (backend, options), seed, folder = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    anyio.run(main, backend, seed, folder, backend=backend, backend_options=options)
