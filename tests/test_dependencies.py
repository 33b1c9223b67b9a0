"""Dependencies: the conditions that a command waits for, the order of stops, and replicas."""

from __future__ import annotations

from contextlib import nullcontext
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import fail_after
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    CannotStopError,
    Command,
    CommandError,
    DependencyError,
    DuplicateNameError,
    Exited,
    Line,
    Ready,
    RestartPolicy,
    Runner,
    Skipped,
    Started,
    ready,
    run,
)
from currant._values.dependencies import in_order
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.reading import messages_of
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from currant._values.policies import KillOthersOn
    from tests.lifeline import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

RUNS = ["sleep", "9999"]
SOON = 0.05
RUNNING = Script(exit=None)


# ---- waiting for a condition ----


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ({"first": "ended"}, "exit 3"),
        ({"first": "succeeded"}, "exit 0"),
        ({"first": "ready"}, "echo up; exec sleep 9999"),
        ("first", "echo up; exec sleep 9999"),
        (["first"], "echo up; exec sleep 9999"),
        ({"first": None}, "echo up; exec sleep 9999"),
    ],
)
async def test_a_command_waits_for_its_dependency(after: Any, text: str, gate: Gate) -> None:
    """The order in the list does not matter, and a waiting command takes no process slot."""
    probe = ready.line("up") if "up" in text else None
    first = Command.shell(f"{gate.wait}; {text}", ready=probe)
    with fail_after(LIMIT):
        async with Runner(
            {"second": Command(RUNS, after=after), "first": first},
            max_processes=1 if probe is None else 2,
        ) as runner:
            await runner["first"].until_started()
            await anyio.wait_all_tasks_blocked()
            assert runner["second"].state == "queued"
            assert runner["second"].attempts == 0
            gate.open()
            await runner["second"].until_started()
            runner.kill()
    assert runner.results["second"].status == "stopped"


async def test_started_also_holds_after_the_command_has_ended() -> None:
    """A name alone means "started" if the command has no probe."""
    with fail_after(LIMIT):
        async with Runner({"first": "true"}) as runner:
            await runner["first"].wait()
            job = await runner.start(Command(["true"], name="second", after="first"))
            assert (await job.wait()).status == "succeeded"


async def test_a_restarted_command_must_become_ready_again(gate: Gate) -> None:
    """The readiness of an earlier attempt does not count."""
    text = (
        f"test -e once || {{ touch once; echo up; {gate.wait}; exit 1; }}; {gate.wait}; echo up; "
    )
    first = Command.shell(
        text + "exec sleep 9999",
        cwd=gate.path.parent,
        ready=ready.line("up"),
        restart=RestartPolicy("always", delay=0),
    )
    with fail_after(LIMIT):
        async with Runner({"first": first}) as runner:
            await runner["first"].until_started()
            gate.open()
            async for message in runner:
                if isinstance(message, Started) and message.attempt == 2:
                    break
            later = runner.start_soon(Command(RUNS, name="later", after="first"))
            await anyio.wait_all_tasks_blocked()
            assert later.state == "queued"
            gate.open()
            await later.until_started()
            runner.kill()


# ---- conditions that can no longer be met ----


@pytest.mark.parametrize(
    ("first", "condition"),
    [
        (Command(["false"]), "succeeded"),
        (Command(["true"], ready=ready.delay(HOURS)), "ready"),
        (Command(["true"], ready=ready.delay(HOURS)), None),
        (Command(RUNS, ready=ready.delay(HOURS, timeout=0.05)), "ready"),
        (Command(RUNS, timeout=0.05), "succeeded"),
    ],
)
async def test_an_impossible_condition_skips_the_command_at_once(
    first: Command, condition: Any
) -> None:
    """All dependents down the chain are skipped; each has one Skipped message and no process."""
    commands = {
        "third": Command(RUNS, after={"second": "ended"}),
        "second": Command(RUNS, after={"first": condition}),
        "first": first,
    }
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            messages = await messages_of(runner)
    for name in ("second", "third"):
        result = runner.results[name]
        assert (result.status, result.attempts, result.exit) == ("skipped", 0, None)
        assert result.started_at is None
        assert isinstance(result.error, DependencyError)
    assert "'first' did not" in str(runner.results["second"].error)
    assert "'second' did not" in str(runner.results["third"].error)
    assert [m.command for m in messages if isinstance(m, Skipped)] == ["second", "third"]
    assert "second" not in runner.results.failed


@pytest.mark.parametrize(
    ("policy", "stops"), [("failure", True), ("exit", True), ("success", False), (None, False)]
)
async def test_a_skipped_command_counts_as_a_failure_for_its_own_policy(
    policy: KillOthersOn | None, stops: bool
) -> None:
    """The command that failed stops nothing here; the command that needs it does."""
    launcher = FakeLauncher({"db": Script(exit=3), "other": RUNNING})
    commands = [
        Command(["other"]),
        Command(["db"]),
        Command(["web"], after={"db": "succeeded"}, kill_others_on=policy),
    ]
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher) as runner:
            await runner["web"].wait()
            assert runner.barrier.thrown == stops
            if stops:
                assert (runner.barrier.reason or "").startswith("'web' was skipped: 'db' ")
            else:
                launcher["other"].exit(0)
    status = "stopped" if stops else "succeeded"
    assert [result.status for result in runner.results.values()] == [status, "failed", "skipped"]


async def test_the_dependents_of_a_command_that_cannot_start_are_skipped() -> None:
    """A failed start meets neither "started" nor "ended"."""
    launcher = FakeLauncher({"first": Script(error="no memory")})
    commands = {
        "first": "first",
        "a": Command(["a"], after={"first": "started"}),
        "b": Command(["b"], after={"first": "ended"}),
    }
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher) as runner:
            pass
    assert [result.status for result in runner.results.values()] == ["failed", "skipped", "skipped"]
    assert "no memory" in str(runner.results["a"].error)


async def test_a_command_that_restarts_may_still_succeed() -> None:
    """Only the final end of a dependency decides."""
    script = [Script(exit=1), Script(exit=1), Script(exit=0)]
    launcher = FakeLauncher({"first": script})
    policy = RestartPolicy("on-failure", delay=0)
    commands = {
        "first": Command(["first"], restart=policy),
        "second": Command(["second"], after={"first": "succeeded"}),
    }
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher) as runner:
            pass
    assert runner.results["second"].status == "succeeded"


# ---- kills and the order of stops ----


def error_if(raises: bool) -> AbstractContextManager[object]:
    """Expect the body to raise `LookupError` if `raises` is true."""
    return pytest.raises(LookupError) if raises else nullcontext()


@pytest.mark.parametrize("how", ["runner", "job", "exception"])
async def test_a_killed_command_that_waits_ends_as_stopped(how: str) -> None:
    """The command ends at once, without having been started."""
    commands = {"first": RUNS, "second": Command(RUNS, after={"first": "ended"})}
    with fail_after(LIMIT), error_if(how == "exception"):
        async with Runner(commands) as runner:
            await runner["first"].until_started()
            if how == "exception":
                raise LookupError
            (runner["second"] if how == "job" else runner).kill()
            result = await runner["second"].wait()
            assert (result.status, result.attempts) == ("stopped", 0)
            runner.kill()
    assert runner.results["second"].status == "stopped"


def log_stop(name: str, log: Path, before_exit: str = "sleep 0.1") -> str:
    """Return a shell script that logs the request to stop and the end of the script."""
    return (
        f"trap 'echo {name} asked >>{log}; {before_exit}; echo {name} gone >>{log}; exit' TERM; "
        "echo up; while :; do sleep 0.01; done"
    )


@pytest.mark.parametrize("way", ["kill", "exception", "failure"])
async def test_commands_are_stopped_in_reverse_order_of_dependencies(way: str, gate: Gate) -> None:
    """A dependency is asked to stop once all dependents are gone; others stop concurrently."""
    log = gate.path.with_name("log")
    up = ready.line("up")
    # web exits once cron is asked to stop, so the test passes only if both are asked at once.
    open_gate = f"echo go >{gate.path}"
    commands = {
        "db": Command.shell(log_stop("db", log), ready=up),
        "api": Command.shell(log_stop("api", log), ready=up, after="db"),
        "web": Command.shell(log_stop("web", log, gate.wait), ready=up, after=["db", "api"]),
        "cron": Command.shell(log_stop("cron", log, open_gate), ready=up, after="db"),
        "bad": Command.shell("read line; exit 1", stdin=PIPE),
    }
    with fail_after(LIMIT), error_if(way == "exception"):
        async with Runner(commands, kill_others_on="failure", grace=LIMIT / 2) as runner:
            for name in ("web", "cron"):
                await runner[name].ready()
            match way:
                case "kill":
                    runner.kill()
                case "exception":
                    raise LookupError
                case _:
                    await runner["bad"].close_stdin()
    logged = log.read_text().split("\n")
    assert logged.index("web gone") < logged.index("api asked")
    assert logged.index("api gone") < logged.index("db asked")
    assert logged.index("cron gone") < logged.index("db asked")
    assert {runner.results[name].status for name in ("db", "api", "web", "cron")} == {"stopped"}


@pytest.mark.parametrize("way", ["runner", "job"])
@pytest.mark.parametrize("after", [{"db": "ended"}, {"db": "succeeded", "other": "ended"}])
async def test_a_killed_command_does_not_wait_for_its_dependencies(after: Any, way: str) -> None:
    """The command ends as stopped at once, however long the dependencies take to end."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={SIGTERM}))
    commands = {"db": "db", "other": "other", "c": Command(["c"], after=after)}
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher, grace=HOURS) as runner:
            for name in ("db", "other"):
                await runner[name].until_started()
            if way == "runner":
                runner.kill()
            else:
                runner["c"].kill()
            assert (await runner["c"].wait()).status == "stopped"
            assert launcher["db"].running
            for name in ("db", "other"):
                launcher[name].exit(0)
    assert runner.results["c"].attempts == 0


async def test_indirect_dependents_end_before_a_dependency_is_stopped() -> None:
    """This also holds if the command between has ended, such as a database migration."""
    launcher = FakeLauncher(
        {"migrate": Script(), "worker": Script(exit=None, ignores={SIGTERM})}, RUNNING
    )
    commands = {
        "db": Command(["db"]),
        "migrate": Command(["migrate"], after="db"),
        "worker": Command(["worker"], after={"migrate": "succeeded"}),
    }
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher, grace=HOURS) as runner:
            await runner["worker"].until_started()
            runner.kill()
            await anyio.wait_all_tasks_blocked()
            assert launcher["worker"].signals == [SIGTERM, SIGCONT]
            assert launcher["db"].signals == []
            launcher["worker"].exit(0)
            await runner["db"].wait()
    assert launcher["db"].signals[0] == SIGTERM


async def test_a_second_kill_ignores_the_order() -> None:
    """A second kill ends dependencies and dependents at once."""
    deaf = "trap '' TERM; echo up; while :; do sleep 0.01; done"
    commands = {
        "db": Command.shell(deaf, ready=ready.line("up")),
        "api": Command.shell(deaf, ready=ready.line("up"), after="db"),
    }
    with fail_after(LIMIT):
        async with Runner(commands, grace=HOURS) as runner:
            await runner["api"].ready()
            runner.kill()
            runner.kill()
    assert all(result.exit and result.exit.forced for result in runner.results.values())


async def test_a_stop_in_order_does_not_wait_for_a_reader() -> None:
    """A dependency stops once its dependents' processes are gone, however full the channel is."""
    launcher = FakeLauncher({"web": Script(stdout=b"too much\n" * 100_000, exit=None)}, RUNNING)
    commands = {"db": Command(["db"]), "web": Command(["web"], after="db")}
    with fail_after(LIMIT):
        async with Runner(commands, buffer_size=1, launcher=launcher) as runner:
            reader = aiter(runner)
            while not isinstance(await anext(reader), Line):
                pass
            runner.kill()
            while runner["db"].pid is not None:
                await checkpoint()
            assert runner["web"].result is None  # The output has not been read yet.
            assert SIGTERM in launcher["db"].signals
            del reader


async def test_a_command_that_survives_sigkill_does_not_block_its_dependency() -> None:
    """The command has failed, and then the dependency is asked to stop."""
    deaf = Script(exit=None, ignores={SIGTERM, SIGKILL})
    launcher = FakeLauncher({"api": deaf}, RUNNING, _limits=ShutdownLimits(reap=SOON))
    commands = {"db": Command(["db"]), "api": Command(["api"], after="db")}
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher, grace=SOON) as runner:
            await runner["api"].until_started()
            runner.kill()
    assert isinstance(runner.results["api"].error, CannotStopError)
    assert runner.results["db"].status == "stopped"
    assert launcher["db"].signals[0] == SIGTERM


async def test_an_error_of_the_launcher_does_not_block_the_stop_of_a_dependency() -> None:
    """The error leaves the block, although a dependency of the failing command runs."""

    class Breaks(FakeLauncher):
        async def launch(self, command: Command) -> FakeProcess:
            if command.name == "api":
                raise ZeroDivisionError
            return await super().launch(command)

    commands = {"db": Command(["db"]), "api": Command(["api"], after="db")}
    with fail_after(LIMIT), pytest.raises(ZeroDivisionError):
        async with Runner(commands, launcher=Breaks(default=RUNNING)):
            pass


async def test_a_job_that_is_killed_does_not_wait_for_its_dependents(gate: Gate) -> None:
    """This also holds during a kill of the Runner, in which the job would wait for them."""
    slow = f"trap '{gate.wait}; exit' TERM; echo up; while :; do sleep 0.01; done"
    commands = {
        "db": RUNS,
        "web": Command.shell(slow, ready=ready.line("up"), after="db"),
    }
    with fail_after(LIMIT):
        async with Runner(commands, grace=HOURS) as runner:
            await runner["web"].ready()
            runner.kill()
            runner["db"].kill()
            await runner["db"].wait()
            assert runner["web"].state == "stopping"
            gate.open()


async def test_a_command_is_skipped_as_soon_as_its_dependency_is_being_stopped() -> None:
    """The waiting command ends before the grace of the dependency is over."""
    deaf = "trap '' TERM; echo deaf; while :; do sleep 0.01; done"
    commands = {
        "db": Command.shell(deaf, ready=ready.all_of(ready.line("deaf"), ready.delay(HOURS))),
        "web": Command(RUNS, after="db"),
    }
    with fail_after(LIMIT):
        async with Runner(commands, grace=HOURS) as runner:
            await runner["db"].until_started()
            runner["db"].kill()
            result = await runner["web"].wait()
            assert result.status == "skipped"
            assert "'db' did not become ready: it is being stopped" in str(result.error)
            runner["db"].kill()


async def test_a_dependency_that_was_ready_meets_the_condition_after_its_end() -> None:
    """Readiness counts even if the dependency has ended before the waiting task runs."""
    launcher = FakeLauncher({"db": Script(stdout=b"up\n", exit=0)}, Script())
    commands = {"web": Command(["web"], after="db"), "db": Command(["db"], ready=ready.line("up"))}
    for _ in range(20):
        with fail_after(LIMIT):
            async with Runner(commands, launcher=launcher) as runner:
                messages = await messages_of(runner)
        was_ready = any(isinstance(message, Ready) for message in messages)
        assert runner.results["web"].status == ("succeeded" if was_ready else "skipped")


async def test_killing_a_job_does_not_stop_its_dependents() -> None:
    """Job.kill stops that job only."""
    commands = {"db": RUNS, "api": Command(RUNS, after="db")}
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            await runner["api"].until_started()
            runner["db"].kill()
            await runner["db"].wait()
            assert runner["api"].state == "running"
            runner.kill()


async def test_sinks_get_time_for_the_longest_chain_of_graces() -> None:
    """After an error, a sink gets the sum of the graces along the longest chain, and a margin."""
    slow = "trap 'sleep 0.2; exit' TERM; echo up; while :; do sleep 0.01; done"
    up = ready.line("up")
    commands = {
        str(n): Command.shell(slow, ready=up, grace=0.3, after=[str(n - 1)] if n else ())
        for n in range(4)
    }
    ended: list[str] = []

    async def sink(messages: anyio.abc.ObjectReceiveStream[Any]) -> None:
        ended.extend([m.command async for m in messages if isinstance(m, Exited)])

    with fail_after(LIMIT), pytest.raises(LookupError):
        async with Runner(commands, sinks=[sink]) as runner:
            await runner["3"].ready()
            raise LookupError
    assert ended == ["3", "2", "1", "0"]


# ---- invalid dependencies ----


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ({"a": ["a"]}, "'a' after 'a'"),
        ({"a": ["b"], "b": ["a"]}, "wait for one another"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "'a' after 'b' after 'c' after 'a'"),
        ({"a": ["z"]}, "command 'a': after: there is no command 'z'; there are: 'a'"),
    ],
)
def test_cycles_and_unknown_names_are_rejected_by_the_constructor(
    after: Mapping[str, list[str]], text: str
) -> None:
    """The error names the whole cycle, starting at any command of the cycle."""
    with pytest.raises(CommandError) as caught:
        Runner({name: Command(["true"], after=names) for name, names in after.items()})
    cycle = text.split(" after ")
    turns = [cycle[n:-1] + cycle[: n + 1] for n in range(len(cycle) - 1)] or [cycle]
    assert any(" after ".join(turn) in str(caught.value) for turn in turns)


async def test_a_later_command_depends_on_existing_commands_only() -> None:
    """The name of the command itself is not known yet."""
    with fail_after(LIMIT):
        async with Runner({"a": RUNS}) as runner:
            with pytest.raises(CommandError, match="there is no command 'b'; there are: 'a'"):
                runner.start_soon(Command(["true"], name="b", after="b"))
            job = runner.start_soon(Command(["true"], name="b", after="a"))
            await job.wait()
            runner.kill()


async def test_a_later_command_with_a_numbered_name_still_waits() -> None:
    """The default name is taken, so the command gets a number; the dependency is unchanged."""
    with fail_after(LIMIT):
        async with Runner({"true": RUNS}) as runner:
            job = runner.start_soon(Command(["true"], after={"true": "ended"}))
            assert job.name == "true#2"
            await runner["true"].until_started()
            await anyio.wait_all_tasks_blocked()
            assert job.attempts == 0
            runner["true"].kill()
            assert (await job.wait()).status == "succeeded"


@pytest.mark.parametrize("restart", ["always", RestartPolicy("always")])
async def test_waiting_for_the_success_of_an_endless_command_is_rejected(restart: Any) -> None:
    """A command that always restarts cannot succeed, by its own policy or the Runner's."""
    waits = Command(["true"], name="b", after={"a": "succeeded"})
    with pytest.raises(CommandError, match="command 'b': after: 'a' can never succeed"):
        Runner([Command(["true"], name="a", restart=restart), waits])
    with pytest.raises(CommandError, match="command 'b': after: 'a' can never succeed"):
        Runner({"a": "true", "b": waits}, restart=restart)
    Runner([Command(["true"], name="a", restart=RestartPolicy("always", max_restarts=1)), waits])
    with fail_after(LIMIT):
        async with Runner({"a": RUNS}, restart=restart) as runner:
            with pytest.raises(CommandError, match="command 'b': after: 'a' can never succeed"):
                runner.start_soon(waits)
            runner.kill()


async def test_a_sink_may_kill_a_command_before_it_waits() -> None:
    """The command ends as stopped, and waits for no dependency."""
    commands = {f"c{number}": Command(["c"]) for number in range(200)}
    commands["z"] = Command(["z"], after={"c0": "succeeded"})

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        runner["z"].kill()
        async for _ in messages:
            pass

    runner = Runner(commands, sinks=[sink], launcher=FakeLauncher(default=RUNNING))
    with fail_after(LIMIT):
        async with runner:
            assert (await runner["z"].wait()).status == "stopped"
            runner.kill()


async def test_a_sink_may_start_a_command_that_depends_on_the_first_commands() -> None:
    """All commands of the constructor are registered before a sink starts."""

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        runner.start_soon(Command(["later"], after={"web": "succeeded"}))
        async for _ in messages:
            pass

    runner = Runner({"web": "web", "b": "b"}, sinks=[sink], launcher=FakeLauncher())
    with fail_after(LIMIT):
        async with runner:
            pass
    assert {name: result.status for name, result in runner.results.items()} == {
        "web": "succeeded",
        "b": "succeeded",
        "later": "succeeded",
    }


# ---- replicas ----


async def test_each_replica_has_its_own_name_and_number() -> None:
    """A command that depends on replicas waits for all of them."""
    commands = [
        Command.shell('echo "$CURRANT_REPLICA"', name="web", replicas=3, capture=True),
        Command(["true"], name="after", after={"web": "succeeded"}),
    ]
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            messages = await messages_of(runner)
    assert list(runner.results) == ["web.1", "web.2", "web.3", "after"]
    outputs = [result.stdout for result in runner.results.values()]
    assert outputs == [b"1\n", b"2\n", b"3\n", None]
    started = [message.command for message in messages if isinstance(message, Started)]
    assert started[-1] == "after"
    ended = [message.command for message in messages if isinstance(message, Exited)]
    assert set(ended[:3]) == {"web.1", "web.2", "web.3"}


async def test_a_failed_replica_makes_its_dependents_skipped() -> None:
    """One failed replica is enough."""
    fails = Command.shell('test "$CURRANT_REPLICA" = 1', name="web", replicas=2)
    after_web = Command(["true"], after={"web": "succeeded"})
    with fail_after(LIMIT):
        async with Runner({"web": fails, "b": after_web}) as runner:
            pass
    assert [result.status for result in runner.results.values()] == [
        "succeeded",
        "failed",
        "skipped",
    ]


async def test_replicas_may_have_a_default_name() -> None:
    """If the default name is taken, the replicas get a numbered one."""
    serve = Command(["true"], replicas=2)
    with fail_after(LIMIT):
        async with Runner([serve, serve, Command(["echo"], name="true")]) as runner:
            pass
    assert list(runner.results) == ["true#2.1", "true#2.2", "true#3.1", "true#3.2", "true"]


@pytest.mark.parametrize("other", ["web", "web.2"])
def test_the_names_of_replicas_cannot_be_used_again(other: str) -> None:
    """Both the common name and the name of each replica are taken."""
    web = Command(["true"], name="web", replicas=2)
    with pytest.raises(DuplicateNameError, match=f"'{other}'"):
        Runner([web, Command(["true"], name=other)])


async def test_start_soon_rejects_replicas() -> None:
    """start_soon starts one job."""
    with fail_after(LIMIT):
        async with Runner() as runner:
            with pytest.raises(CommandError, match="replicas"):
                runner.start_soon(Command(["true"], replicas=2))


def test_run_supports_dependencies_and_replicas() -> None:
    """`currant.run` takes the same commands as a Runner."""
    results = run({"a": "true", "b": Command(["true"], after={"a": "succeeded"}, replicas=2)})
    assert list(results) == ["a", "b.1", "b.2"]
    assert results.ok


@pytest.mark.parametrize(
    ("needs", "ordered"),
    [
        ({"a": "b", "b": "", "c": ""}, "bca"),
        ({"a": "bc", "b": "c", "c": "", "d": "x"}, "cdba"),
        ({"a": "b", "b": "a", "c": "a"}, "abc"),
    ],
    ids=["one", "chain", "circle"],
)
def test_names_are_ordered_behind_their_needs(needs: dict[str, str], ordered: str) -> None:
    """Names that need one another keep their order, and no other name counts."""
    assert "".join(in_order(needs)) == ordered
