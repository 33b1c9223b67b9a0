"""Random interleavings of the events in a Runner's life, checked against rules that always hold.

Hypothesis draws the events: exits, restarts, kills, joins, signals, new commands, and readers that
start, end and are cancelled.  The processes are fake, so only the order of events matters.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from currant import (
    Batch,
    Command,
    CurrantError,
    Dropped,
    Exited,
    Failed,
    Line,
    Restarting,
    RestartPolicy,
    Runner,
    Started,
)
from currant.testing import FakeLauncher, FakeProcess, Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ObjectReceiveStream, TaskGroup

    from currant import BatchMessage, Message

pytestmark = pytest.mark.anyio

NAMES = ("a", "b", "c")

scripts = st.builds(
    Script,
    stdout=st.sampled_from([b"", b"one\n", b"one\ntwo\nthree", b"x\n" * 40]),
    exit=st.sampled_from([None, 0, 1]),
    ignores=st.sampled_from([(), (signal.SIGTERM,)]),
    error=st.sampled_from([None, None, None, "it is not there"]),
)
policies = st.builds(
    RestartPolicy,
    st.sampled_from(["never", "on-failure", "always"]),
    max_restarts=st.integers(0, 3),
    delay=st.sampled_from([0.0, 0.0001]),
)
events = st.one_of(
    st.tuples(
        st.sampled_from(["exit", "write", "restart", "kill", "signal", "wait", "start"]),
        st.sampled_from(NAMES),
    ),
    st.tuples(st.sampled_from(["kill all", "join", "read", "read batches", "turn"]), st.just("")),
)


class Play:
    """A Runner on fake processes, the events that happen to it, and the messages that were read."""

    def __init__(self, launcher: FakeLauncher, runner: Runner, tasks: TaskGroup) -> None:
        self.launcher = launcher
        self.runner = runner
        self.tasks = tasks
        self.seen: list[Message | BatchMessage] = []
        self.attempts_at_kill: int | None = None

    async def do(self, event: str, name: str) -> None:
        """Let one event happen: call the method of that name."""
        await getattr(self, event.replace(" ", "_"))(name)

    async def exit(self, name: str) -> None:
        """Let the command's process exit with 1."""
        for process in self.running(name):
            process.exit(1)

    async def write(self, name: str) -> None:
        """Let the command's process write a line."""
        for process in self.running(name):
            process.write(b"more\n")

    async def restart(self, name: str) -> None:
        """Restart the command, whatever its state."""

        async def restart() -> None:
            with suppress(CurrantError):
                await self.runner[name].restart()

        self.tasks.start_soon(restart)

    async def kill(self, name: str) -> None:
        """Kill one command."""
        self.runner[name].kill()

    async def signal(self, name: str) -> None:
        """Send a signal to one command."""
        await self.runner.send_signal(signal.SIGUSR1, name)

    async def wait(self, name: str) -> None:
        """Wait for one command in a task that is cancelled soon."""
        self.tasks.start_soon(self.wait_briefly, self.runner[name].wait)

    async def start(self, name: str) -> None:
        """Start one more command."""
        self.runner.start_soon(Command([name]))

    async def kill_all(self, _: str) -> None:
        """Kill all commands."""
        self.runner.kill()
        if self.attempts_at_kill is None:
            self.attempts_at_kill = sum(job.attempts for job in self.runner.jobs.values())

    async def join(self, _: str) -> None:
        """Wait for all commands in a task that is cancelled soon."""
        self.tasks.start_soon(self.wait_briefly, self.runner.join)

    async def read(self, _: str) -> None:
        """Read one message; give up soon, since the running commands may never send one."""
        with anyio.move_on_after(0.0005):
            async for message in self.runner:
                self.seen.append(message)
                break

    async def read_batches(self, _: str) -> None:
        """Read the available batches."""
        with anyio.move_on_after(0):
            async for batch in self.runner.batches():
                self.seen.append(batch)

    async def turn(self, _: str) -> None:
        """Let other tasks run."""
        await checkpoint()

    def running(self, name: str) -> list[FakeProcess]:
        """Return the running processes of a command: one or none."""
        return [p for p in self.launcher.launched if p.command.name == name and p.running]

    async def wait_briefly(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Call `wait`, and cancel the call soon."""
        with anyio.move_on_after(0.0005):
            await wait()


def check_order(messages: list[BatchMessage]) -> None:
    """Check the order of each command's messages: Started, output, Exited, Restarting and so on."""
    by_command: dict[str | None, list[BatchMessage]] = defaultdict(list)
    for message in messages:
        by_command[message.command].append(message)
    follows: dict[type, set[type]] = {
        Started: {Batch, Exited},
        Batch: {Batch, Exited},
        Exited: {Restarting, Started, Failed},  # without Restarting, another life begins
        Restarting: {Started, Failed},
        Failed: {Restarting, Started, Failed},
    }
    for own in by_command.values():
        assert type(own[0]) in (Started, Failed)
        for before, after in pairwise(own):
            assert type(after) in follows[type(before)], (before, after)
        starts = [m.attempt for m in own if isinstance(m, Started | Failed)]
        assert starts == list(range(1, len(starts) + 1))


@settings(
    max_examples=60,
    # Hypothesis does not add the profile's own list to this one.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    scripts=st.fixed_dictionaries(
        {name: st.lists(scripts, min_size=1, max_size=3) for name in NAMES}
    ),
    policies=st.tuples(policies, policies, policies),
    kill_others_on=st.sampled_from([None, None, "failure", "success", "exit"]),
    max_processes=st.sampled_from([None, 1, 2]),
    happenings=st.lists(events, max_size=25),
)
async def test_the_rules_hold_for_any_order_of_events(
    scripts: dict[str, list[Script]],
    policies: tuple[RestartPolicy, ...],
    kill_others_on: str | None,
    max_processes: int | None,
    happenings: list[tuple[str, str]],
) -> None:
    """All ends, a stop beats a restart, messages are complete and in order, and states agree."""
    launcher = FakeLauncher(scripts)
    taken: list[BatchMessage] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        taken.extend([message async for message in messages])

    commands = [
        Command([name], restart=policy) for name, policy in zip(NAMES, policies, strict=True)
    ]
    with anyio.fail_after(60):
        async with (
            Runner(
                commands,
                launcher=launcher,
                kill_others_on=kill_others_on,  # type: ignore[arg-type]
                max_processes=max_processes,
                grace=0.0001,
                buffer_size=1,
                sinks=[sink],
                capture=True,
            ) as runner,
            anyio.create_task_group() as tasks,
        ):
            play = Play(launcher, runner, tasks)
            for event, name in [*happenings, ("kill all", "")]:
                await play.do(event, name)
        play.seen.extend([message async for message in runner])

    assert not any(process.running for process in launcher.launched)
    attempts = sum(job.attempts for job in runner.jobs.values())
    assert attempts == play.attempts_at_kill, "a process was started after the kill"
    assert {job.state for job in runner.jobs.values()} == {"ended"}
    check_order(taken)
    for name, job in runner.jobs.items():
        assert job.result is runner.results[name]
        exits = [m.exit for m in taken if isinstance(m, Exited) and m.command == name]
        if runner.results[name].exit is not None:
            assert exits[-1] == runner.results[name].exit
        assert len([p for p in launcher.launched if p.command.name == name]) == len(exits)
    written = sum(b.count() for b in taken if isinstance(b, Batch))
    read = sum(
        m.lines if isinstance(m, Dropped) else m.count() if isinstance(m, Batch) else 1
        for m in play.seen
        if isinstance(m, Line | Batch | Dropped)
    )
    assert read == written
