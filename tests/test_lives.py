"""A command that has ended is run again: every later life counts like the first."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from currant import (
    Batch,
    Command,
    CommandError,
    DependencyError,
    DuplicateNameError,
    Exited,
    Failed,
    JobEndedError,
    LaunchError,
    NotReadyError,
    Pty,
    RestartPolicy,
    Result,
    Runner,
    Skipped,
    Started,
    ready,
)
from currant._supervisor.lifecycle import Lifecycle
from currant._values.shutdown_limits import ShutdownLimits
from currant.sinks import ConsoleSink, DirectorySink
from currant.testing import FakeLauncher, Script
from tests.reading import first_line, messages_of
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream, TaskGroup

    from currant import BatchMessage, Job
    from currant._values.links import Condition
    from currant.testing import FakeProcess
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

SOON = 0.001
RUNNING = Script(exit=None)
IMMORTAL = Script(exit=None, ignores={SIGTERM, SIGKILL})


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


async def end(job: Job) -> Result:
    """Kill a job, and wait for its end."""
    job.kill()
    return await job.wait()


# ---- one life after another ----


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", "succeeded"), ("exit 3", "failed"), (EXEC_FOREVER, "stopped")],
)
async def test_restart_runs_a_command_again_however_it_ended(script: str, status: str) -> None:
    """The new process is another one, and the result is None until the end of the new life."""
    text = f"echo $$; test $(wc -l < log) -gt 1 && {EXEC_FOREVER}; {script}"
    command = Command.shell(f"echo >> log; {text}", name="c")
    with anyio.fail_after(LIMIT):
        async with Runner([command], keep_open=True) as runner:
            job = runner["c"]
            first = (await first_line(runner, "c")).text
            if status == "stopped":
                job.kill()
            assert (await job.wait()).status == status
            await job.restart()
            assert (job.state, job.result, job.restarts) == ("running", None, 1)
            assert dict(runner.results) == {}
            second = (await first_line(runner, "c")).text
            assert second == str(job.pid) != first
            runner.kill()
    assert runner.results["c"] is job.result
    assert runner.results["c"].status == "stopped"


async def test_start_runs_a_name_again_with_another_command() -> None:
    """The job stays the same object; the new command and its policies are in force."""
    launcher = FakeLauncher({"c": [Script(stdout=b"one\n"), Script(stdout=b"two\n", exit=4)]})
    async with Runner(launcher=launcher, capture=True) as runner:
        job = await runner.start(Command(["first"], name="c"))
        first = await job.wait()
        second = Command(["second"], name="c", success_codes=(4,), capture=False)
        assert await runner.start(second) is job
        assert job.command == second
        await job.wait()
    assert first.stdout == b"one\n"
    assert list(runner.jobs) == ["c"]
    assert runner.results["c"].status == "succeeded"
    assert runner.results["c"].stdout is None
    assert [process.command.argv for process in launcher.launched] == [("first",), ("second",)]


async def test_the_command_of_a_job_can_be_started_again() -> None:
    """`Job.command` has the name of the job, also if that was a default name or a replica's."""
    launcher = FakeLauncher()
    async with Runner(
        ["web", Command(["worker"], replicas=2)], launcher=launcher, keep_open=True
    ) as runner:
        for name in ("web", "worker.2"):
            job = runner[name]
            await job.wait()
            assert await runner.start(job.command) is job
        with pytest.raises(DuplicateNameError):
            await runner.start(Command(["worker"], name="worker"))
        runner.kill()
    assert [process.command.name for process in launcher.launched].count("worker.2") == 2


async def test_a_name_is_taken_until_its_command_has_ended() -> None:
    """A default name gets a number, whether or not the command of that name has ended."""
    async with Runner(launcher=FakeLauncher(default=RUNNING), grace=0) as runner:
        job = await runner.start("web")
        again = Command(["web"], name="web")
        with pytest.raises(DuplicateNameError):
            await runner.start(again)
        job.kill()
        with pytest.raises(DuplicateNameError):
            runner.start_soon(again)
        with pytest.raises(JobEndedError):
            await job.restart()
        await job.wait()
        assert (await runner.start("web")).name == "web#2"
        assert await runner.start(again) is job
        runner.kill()


async def test_attempts_are_numbered_through_all_lives() -> None:
    """A result counts the attempts of its own life, and a life begins without Restarting."""
    scripts = [Script(exit=1), Script(exit=1), Script(error="no memory"), Script()]
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0)
    results: list[Result] = []
    async with Runner(["c"], restart=policy, launcher=FakeLauncher({"c": scripts})) as runner:
        results.append(await runner["c"].wait())
        await runner["c"].restart()
        results.append(await runner["c"].wait())
        messages = await messages_of(runner)
    assert [
        (type(message).__name__, getattr(message, "attempt", None)) for message in messages
    ] == [
        ("Started", 1),
        ("Exited", 1),
        ("Restarting", 2),
        ("Started", 2),
        ("Exited", 2),
        ("Failed", 3),
        ("Restarting", 4),
        ("Started", 4),
        ("Exited", 4),
    ]
    assert [(r.status, r.attempts) for r in results] == [("failed", 2), ("succeeded", 2)]
    assert runner["c"].attempts == 4
    assert all(result.duration < LIMIT for result in results)
    assert results[0].started_at is not None
    assert results[1].started_at is not None
    assert results[0].started_at <= results[1].started_at


async def test_wait_returns_the_result_of_the_life_in_which_it_was_called() -> None:
    """A waiting task does not miss the end of a life, even if the next life begins at once."""
    results: list[Result] = []
    async with Runner(["c"], launcher=FakeLauncher(default=RUNNING), grace=0) as runner:
        job = runner["c"]
        await job.until_started()

        async def wait() -> None:
            results.append(await job.wait())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            job.kill()
            while job.result is None:
                await checkpoint()
            first = job.result
            runner.start_soon(job.command)
            assert job.result is None
        assert results == [first]
        runner.kill()
    assert job.result is not first


async def test_readiness_belongs_to_one_life() -> None:
    """A probe is asked anew in each life, and a life that was not ready does not matter later."""
    launcher = FakeLauncher({"c": [Script(), Script(stdout=b"up\n", exit=None)]})
    command = Command(["c"], ready=ready.line("up"))
    async with Runner(launcher=launcher) as runner:
        with pytest.raises(NotReadyError, match="it has ended"):
            await runner.start(command)
        await runner["c"].wait()
        job = await runner.start(Command(["c"], name="c", ready=ready.line("up")))
        await job.ready()
        assert job.is_ready
        runner.kill()


async def test_the_terminal_keeps_its_size_in_a_later_life() -> None:
    """The size that `Job.resize` has set is the size for later processes too."""
    launcher = FakeLauncher(default=RUNNING)
    async with Runner([Command(["c"], pty=Pty(24, 80))], launcher=launcher) as runner:
        await runner["c"].until_started()
        await runner["c"].resize(50, 120)
        await end(runner["c"])
        await runner["c"].restart()
        assert launcher["c"].terminal == Pty(50, 120)
        runner.kill()


async def test_escapees_of_one_life_are_gone_before_the_next(
    lifeline: Lifeline, gate: Gate
) -> None:
    """As before a restart, nothing of the earlier attempts is left."""
    first = f"{lifeline.hold('leader')}; setsid -f sh -c '{lifeline.say('out')}; {FOREVER}'; "
    script = f'case "$CURRANT_ID" in */2) {EXEC_FOREVER};; esac; {first} {gate.wait}'
    with anyio.fail_after(LIMIT):
        async with Runner({"c": Command.shell(script)}, keep_open=True) as runner:
            await anyio.to_thread.run_sync(lifeline.wait_for, "leader", "out")
            gate.open()
            await runner["c"].wait()
            await runner["c"].restart()
            lifeline.ended()
            runner.kill()


async def test_a_process_that_survives_sigkill_is_not_run_beside() -> None:
    """No second process is started next to it, neither by restart nor by its name."""
    launcher = FakeLauncher(default=IMMORTAL, _limits=ShutdownLimits(reap=0.05))
    async with Runner(["c"], launcher=launcher, grace=0) as runner:
        await runner["c"].until_started()
        await end(runner["c"])
        with pytest.raises(JobEndedError) as caught:
            await runner["c"].restart()
        assert "SIGKILL" in str(caught.value.__cause__)
        with pytest.raises(DuplicateNameError):
            runner.start_soon(runner["c"].command)
    assert len(launcher.launched) == 1


# ---- the end of the Runner ----


async def test_a_loop_goes_on_if_the_last_command_is_restarted_inside() -> None:
    """The loop ends when no command is left, also if each life ended before its last message."""
    codes: list[object] = []
    launcher = FakeLauncher({"c": [Script(exit=1), Script(exit=2), Script(exit=3)]})
    with anyio.fail_after(LIMIT):
        async with Runner(["c"], launcher=launcher) as runner:
            async for message in runner:
                if isinstance(message, Exited):
                    codes.append(message.exit.code)
                    if len(codes) < 3:
                        await runner["c"].restart()
    assert codes == [1, 2, 3]


async def test_join_and_the_block_wait_for_a_later_life() -> None:
    """A life that begins while a task waits for the Runner is waited for."""
    launcher = FakeLauncher({"a": [Script(exit=1), RUNNING], "b": RUNNING})
    joined = anyio.Event()

    async def join() -> None:
        await runner.join()
        joined.set()

    async def play() -> None:
        await runner["a"].restart()
        launcher["b"].exit(0)
        await anyio.wait_all_tasks_blocked()
        assert not joined.is_set()
        launcher["a"].exit(7)

    runner = Runner(["a", "b"], launcher=launcher)
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks, runner:
            await runner["a"].wait()
            tasks.start_soon(join)
            tasks.start_soon(play)
        await joined.wait()
    assert [str(result.exit) for result in runner.results.values()] == [
        "exit code 7",
        "exit code 0",
    ]


async def test_no_command_is_run_again_after_a_kill_or_after_the_block() -> None:
    """restart raises, and a command that is started by its name ends as stopped."""
    launcher = FakeLauncher()
    for is_killed in (True, False):
        async with Runner(["c"], launcher=launcher) as runner:
            await runner["c"].wait()
            if is_killed:
                runner.kill()
                with pytest.raises(JobEndedError, match="'c'"):
                    await runner["c"].restart()
                job = await runner.start(Command(["c"], name="c"))
                assert job.result is not None
                assert job.result.status == "stopped"
        with pytest.raises(JobEndedError, match="'c'"):
            await runner["c"].restart()
        with pytest.raises(RuntimeError, match="has ended"):
            runner.start_soon(runner["c"].command)
    assert len(launcher.launched) == 2


@pytest.mark.parametrize("of", ["job", "runner"])
async def test_a_kill_in_the_same_step_beats_a_restart(of: str) -> None:
    """A life that was killed before its start has no process, and restart raises."""
    launcher = FakeLauncher()
    async with Runner(["c"], launcher=launcher, keep_open=True) as runner:
        await runner["c"].wait()
        async with anyio.create_task_group() as tasks:

            async def restart() -> None:
                with pytest.raises(JobEndedError):
                    await runner["c"].restart()

            tasks.start_soon(restart)
            while runner["c"].state == "ended":
                await checkpoint()
            (runner["c"] if of == "job" else runner).kill()
        runner.kill()
    assert len(launcher.launched) == 1
    assert runner.results["c"].status == "stopped"
    assert runner.results["c"].attempts == 0


async def test_two_restarts_at_once_start_one_process() -> None:
    """Both calls return when it runs; a kill between two lives has no effect on the second."""
    launcher = FakeLauncher({"c": [Script(), RUNNING]})
    async with Runner(["c"], launcher=launcher, keep_open=True) as runner:
        await runner["c"].wait()
        runner["c"].kill()
        runner["c"].kill()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner["c"].restart)
            tasks.start_soon(runner["c"].restart)
        assert launcher["c"].running
        assert launcher["c"].signals == []
        runner.kill()
    assert len(launcher.launched) == 2


async def test_restart_raises_the_reason_if_the_command_does_not_start() -> None:
    """The cause of the error is the reason; a process that exits at once did run."""
    launcher = FakeLauncher({"c": [Script(), Script(error="no memory"), Script()]})
    async with Runner(["c"], launcher=launcher) as runner:
        await runner["c"].wait()
        with pytest.raises(JobEndedError) as caught:
            await runner["c"].restart()
        assert isinstance(caught.value.__cause__, LaunchError)
        await runner["c"].restart()
    assert runner.results.ok


async def test_a_later_life_queues_for_a_slot() -> None:
    """A life that begins again takes its turn behind the commands that wait already."""
    launcher = FakeLauncher({"a": [Script(), RUNNING], "b": RUNNING})
    async with Runner(["a", "b"], launcher=launcher, max_processes=1) as runner:
        await runner["a"].wait()
        await runner["b"].until_started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner["a"].restart)
            await anyio.wait_all_tasks_blocked()
            assert runner["a"].state == "queued"
            launcher["b"].exit(0)
        assert launcher["a"].running
        runner.kill()


async def test_the_end_of_a_later_life_stops_the_others() -> None:
    """`kill_others_on` looks at the end of every life."""
    launcher = FakeLauncher({"a": [Script(), Script(exit=1)], "b": RUNNING})
    with anyio.fail_after(LIMIT):
        async with Runner(["a", "b"], launcher=launcher, kill_others_on="failure") as runner:
            await runner["a"].wait()
            await runner["a"].restart()
    assert runner.results["b"].status == "stopped"


# ---- dependencies ----


async def test_a_skipped_command_can_be_run_again() -> None:
    """Its conditions are checked anew, against the current lives of the other commands."""
    up = Script(stdout=b"up\n", exit=None)
    launcher = FakeLauncher({"db": [Script(exit=1), up], "api": RUNNING})
    db = Command(["db"], ready=ready.line("up"))
    api = Command(["api"], after={"db": "ready"})
    async with Runner({"api": api, "db": db}, launcher=launcher, keep_open=True) as runner:
        assert (await runner["api"].wait()).status == "skipped"
        with pytest.raises(JobEndedError) as caught:
            await runner["api"].restart()
        assert isinstance(caught.value.__cause__, DependencyError)
        await runner["db"].restart()
        await runner["api"].restart()
        assert runner["db"].is_ready
        assert launcher["api"].running
        runner.kill()


@pytest.mark.parametrize("condition", ["ended", "ready"])
async def test_a_waiting_command_sees_both_lives_of_its_dependency(
    condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither misses the end of the first life, nor is skipped if a second has begun by then."""
    launcher = FakeLauncher({"db": [Script(exit=1), RUNNING], "api": RUNNING})
    db, api = Command(["db"], ready=ready.delay(HOURS)), Command(["api"], after={"db": condition})
    runner = Runner({"db": db, "api": api}, launcher=launcher, grace=0)
    end = Lifecycle._end

    def end_and_run_again(life: Lifecycle, *args: object) -> None:
        end(life, *args)  # type: ignore[arg-type]
        if life.command == db:
            monkeypatch.undo()
            runner.start_soon(Command(["db"], name="db", ready=ready.delay(SOON)))

    monkeypatch.setattr(Lifecycle, "_end", end_and_run_again)
    with anyio.fail_after(LIMIT):
        async with runner:
            await runner["api"].ready()
            await runner["db"].ready()
            runner.kill()
    assert [process.command.name for process in launcher.launched].count("db") == 2


async def test_a_command_that_is_run_again_cannot_wait_for_itself() -> None:
    """A circle raises, and the command keeps its earlier dependencies."""
    commands = {"db": Command(["db"]), "api": Command(["api"], after={"db": "ended"})}
    async with Runner(commands, launcher=FakeLauncher()) as runner:
        await runner["api"].wait()
        for other in ("api", "db"):
            with pytest.raises(CommandError, match="wait for one another"):
                runner.start_soon(Command(["db"], name="db", after=other))
        await runner["api"].restart()
        await runner["db"].restart()
    assert runner.results.ok


# ---- sinks ----


async def test_sinks_show_every_life(tmp_path: Path) -> None:
    """A log has the output of all lives, and a group is shown after each."""
    launcher = FakeLauncher({"c": [Script(stdout=b"one\n"), Script(stdout=b"two\n")]})
    sinks = [DirectorySink(tmp_path / "logs")]
    with (tmp_path / "console").open("wb") as file:
        console = ConsoleSink(file, file, mode="group", prefix="{name}.{attempt} ", color="never")
        async with Runner(["c"], launcher=launcher, sinks=[*sinks, console]) as runner:
            await runner["c"].wait()
            await runner["c"].restart()
    assert (tmp_path / "logs" / "c.log").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "console").read_bytes() == b"c.1 one\nc.2 two\n"


# ---- any order of events ----


NAMES = ("a", "b", "c")


class OneAtATime(FakeLauncher):
    """A launcher that notes if two processes of one name run at once."""

    def __init__(self, scripts: dict[str, list[Script]]) -> None:
        super().__init__(scripts)
        self.overlaps: list[FakeProcess] = []

    async def launch(self, command: Command) -> FakeProcess:
        """Start a process."""
        process = await super().launch(command)
        name = command.name
        others = [p for p in self.launched if p.command.name == name and p is not process]
        self.overlaps += [other for other in others if other.running]
        return process


class Play:
    """The events that happen to a Runner, each a method."""

    def __init__(self, launcher: OneAtATime, runner: Runner, tasks: TaskGroup) -> None:
        self.launcher = launcher
        self.runner = runner
        self.tasks = tasks
        self.waited: list[tuple[Result, Result | None]] = []
        self.open = 0

    async def exit(self, name: str) -> None:
        """Let the process exit with 1."""
        for process in self.launcher.launched:
            if process.command.name == name:
                process.exit(1)

    async def kill(self, name: str) -> None:
        """Kill the command."""
        self.runner[name].kill()

    async def restart(self, name: str) -> None:
        """Restart the command, whatever its state."""
        self.soon(self.runner[name].restart)

    async def start(self, name: str) -> None:
        """Start the name again."""
        self.soon(lambda: self.runner.start(Command([name], name=name)))

    async def wait(self, name: str) -> None:
        """Wait for the current life."""

        async def wait() -> None:
            life = self.runner[name]._life
            self.waited.append((await self.runner[name].wait(), life.result))

        self.soon(wait)

    async def turn(self, name: str) -> None:
        """Let other tasks run."""
        await checkpoint()

    def soon(self, call: Callable[[], Awaitable[object]]) -> None:
        """Call in a task; only errors of the two kinds that tell the caller are expected."""

        async def run() -> None:
            with suppress(JobEndedError, DuplicateNameError, LaunchError, DependencyError):
                await call()
            self.open -= 1

        self.open += 1
        self.tasks.start_soon(run)


events = st.tuples(
    st.sampled_from(["exit", "kill", "restart", "restart", "start", "wait", "turn"]),
    st.sampled_from(NAMES),
)
scripts = st.lists(
    st.builds(
        Script,
        stdout=st.sampled_from([b"", b"one\n", b"x\n" * 40]),
        exit=st.sampled_from([None, 0, 1]),
        ignores=st.sampled_from([(), (SIGTERM,)]),
        starting=st.sampled_from([0.0, 0.0001]),
        error=st.sampled_from([None, None, None, "it is not there"]),
    ),
    min_size=1,
    max_size=4,
)


def check_lives(messages: Sequence[BatchMessage]) -> None:
    """Check the messages of one command: every process starts, writes and exits, one by one."""
    attempts = [m.attempt for m in messages if isinstance(m, Started | Failed)]
    assert attempts == list(range(1, len(attempts) + 1))
    kinds = [
        type(m) for m in messages if isinstance(m, Started | Batch | Exited | Failed | Skipped)
    ]
    for before, after in pairwise([Exited, *kinds]):
        runs = before in (Started, Batch)
        assert (after in (Batch, Exited)) == runs, (before, after)
    assert not kinds or kinds[-1] not in (Started, Batch)


@settings(
    max_examples=60,
    # Hypothesis does not add the profile's own list to this one.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    scripts=st.fixed_dictionaries(dict.fromkeys(NAMES, scripts)),
    restart=st.sampled_from(["never", "on-failure"]),
    condition=st.sampled_from(["started", "ready", "succeeded", "ended"]),
    max_processes=st.sampled_from([None, 1, 2]),
    happenings=st.lists(events, max_size=40),
    is_killed=st.booleans(),
)
async def test_lives_follow_one_another_for_any_order_of_events(
    scripts: dict[str, list[Script]],
    restart: str,
    condition: Condition,
    max_processes: int | None,
    happenings: list[tuple[str, str]],
    *,
    is_killed: bool,
) -> None:
    """No two processes of a name run at once, each call returns, and all messages are in order."""
    launcher = OneAtATime(scripts)
    taken: list[BatchMessage] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        taken.extend([message async for message in messages])

    commands = [Command([name]) for name in NAMES[:2]]
    commands.append(Command(["c"], after={"a": condition}))
    with anyio.fail_after(60):
        async with (
            Runner(
                commands,
                launcher=launcher,
                restart=RestartPolicy(restart, max_restarts=1, delay=0),  # type: ignore[arg-type]
                max_processes=max_processes,
                grace=0.0001,
                buffer_size=1,
                sinks=[sink],
            ) as runner,
            anyio.create_task_group() as tasks,
        ):
            play = Play(launcher, runner, tasks)
            for event, name in happenings:
                await getattr(play, event)(name)
            if is_killed:
                runner.kill()
            while play.open or any(job.state != "ended" for job in runner.jobs.values()):
                for name in NAMES:
                    await play.exit(name)
                await checkpoint()
            results = await runner.join()

    assert launcher.overlaps == []
    assert all(result is of_its_life for result, of_its_life in play.waited)
    assert list(results) == list(NAMES)
    for name in NAMES:
        own = [message for message in taken if message.command == name]
        check_lives(own)
        exits = [message.exit for message in own if isinstance(message, Exited)]
        assert len([p for p in launcher.launched if p.command.name == name]) == len(exits)
        if results[name].exit is not None:
            assert results[name].exit == exits[-1]
