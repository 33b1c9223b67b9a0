"""What commands wait for before they start, and in which order all are stopped."""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import fail_after

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
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.lifeline import Gate
from tests.reading import messages_of
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage

pytestmark = pytest.mark.anyio

RUNS = ["sleep", "9999"]
SOON = 0.05
RUNNING = Script(exit=None)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What holds a command up."""
    with Gate(tmp_path / "gate") as gate:
        yield gate


# ---- before the start ----


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
async def test_a_command_waits_for_what_it_needs(after: Any, text: str, gate: Gate) -> None:
    """In whatever order they are given, and it takes no place while it waits."""
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


async def test_started_means_that_it_has_run_at_some_time() -> None:
    """A name alone means that, where there is no probe; it may have ended meanwhile."""
    with fail_after(LIMIT):
        async with Runner({"first": "true"}) as runner:
            await runner["first"].wait()
            job = await runner.start(Command(["true"], name="second", after="first"))
            assert (await job.wait()).status == "succeeded"


async def test_a_restarted_command_has_to_be_ready_again(gate: Gate) -> None:
    """What was ready before does not count."""
    text = (
        f"test -e once || {{ touch once; echo up; {gate.wait}; exit 1; }}; {gate.wait}; echo up; "
    )
    first = Command.shell(
        text + "exec sleep 9999", ready=ready.line("up"), restart=RestartPolicy("always", delay=0)
    )
    path = str(gate.path.parent)
    with fail_after(LIMIT):
        async with Runner() as runner:
            job = await runner.start(
                Command(
                    first.argv, name="first", cwd=path, ready=first.ready, restart=first.restart
                )
            )
            gate.open()
            while job.starts < 2:
                await job.changed()
            later = runner.start_soon(Command(RUNS, name="later", after="first"))
            await anyio.wait_all_tasks_blocked()
            assert later.state == "queued"
            gate.open()
            await later.until_started()
            runner.kill()


# ---- what can no longer come true ----


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
async def test_who_waits_in_vain_is_skipped_at_once(first: Command, condition: Any) -> None:
    """With all that wait for it in turn; each is told once, and none was started."""
    commands = {
        "third": Command(RUNS, after={"second": "ended"}),
        "second": Command(RUNS, after={"first": condition}),
        "first": first,
    }
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            told = await messages_of(runner)
    for name in ("second", "third"):
        result = runner.results[name]
        assert (result.status, result.attempts, result.exit) == ("skipped", 0, None)
        assert result.started_at is None
        assert isinstance(result.error, DependencyError)
    assert "'first' was to be" in str(runner.results["second"].error)
    assert "'second' was to be" in str(runner.results["third"].error)
    assert [m.command for m in told if isinstance(m, Skipped)] == ["second", "third"]
    assert "second" not in runner.results.failed


async def test_a_command_that_cannot_be_started_is_none_to_wait_for() -> None:
    """It has not run, so those that need it to are skipped."""
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
    """Only its final end decides."""
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


# ---- kills ----


@pytest.mark.parametrize("how", ["runner", "job", "exception"])
async def test_who_waits_ends_as_stopped_when_it_is_killed(how: str) -> None:
    """At once, and without a start."""
    commands = {"first": RUNS, "second": Command(RUNS, after={"first": "ended"})}
    with fail_after(LIMIT):
        with pytest.raises(LookupError) if how == "exception" else fail_after(LIMIT):
            async with Runner(commands) as runner:
                await runner["first"].until_started()
                if how == "exception":
                    raise LookupError
                (runner["second"] if how == "job" else runner).kill()
                result = await runner["second"].wait()
                assert (result.status, result.attempts) == ("stopped", 0)
                runner.kill()
    assert runner.results["second"].status == "stopped"


def asks(name: str, log: Path, and_then: str = "sleep 0.1") -> str:
    """Return what a shell does that notes when it is asked to stop and when it has ended."""
    return (
        f"trap 'echo {name} asked >>{log}; {and_then}; echo {name} gone >>{log}; exit' TERM; "
        "echo up; while :; do sleep 0.01; done"
    )


@pytest.mark.parametrize("way", ["kill", "exception", "failure"])
async def test_all_are_stopped_in_reverse_order(way: str, gate: Gate) -> None:
    """Who needs a command is gone before that one is asked; others end at the same time."""
    log = gate.path.with_name("log")
    up = ready.line("up")
    # Unless cron is asked while web ends, web never does.
    lets_go = f"echo go >{gate.path}"
    commands = {
        "db": Command.shell(asks("db", log), ready=up),
        "api": Command.shell(asks("api", log), ready=up, after="db"),
        "web": Command.shell(asks("web", log, gate.wait), ready=up, after=["db", "api"]),
        "cron": Command.shell(asks("cron", log, lets_go), ready=up, after="db"),
        "bad": Command.shell("read line; exit 1", stdin=PIPE),
    }
    with fail_after(LIMIT):
        with pytest.raises(LookupError) if way == "exception" else fail_after(LIMIT):
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
    noted = log.read_text().split("\n")
    assert noted.index("web gone") < noted.index("api asked")
    assert noted.index("api gone") < noted.index("db asked")
    assert noted.index("cron gone") < noted.index("db asked")
    assert {runner.results[name].status for name in ("db", "api", "web", "cron")} == {"stopped"}


@pytest.mark.parametrize("way", ["all", "it alone"])
@pytest.mark.parametrize("after", [{"db": "ended"}, {"db": "succeeded", "other": "ended"}])
async def test_who_waits_ends_at_once_when_it_is_killed(after: Any, way: str) -> None:
    """As one that was stopped, whatever it waits for, and however long that takes to end."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={SIGTERM}))
    commands = {"db": "db", "other": "other", "c": Command(["c"], after=after)}
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher, grace=HOURS) as runner:
            for name in ("db", "other"):
                await runner[name].until_started()
            if way == "all":
                runner.kill()
            else:
                runner["c"].kill()
            assert (await runner["c"].wait()).status == "stopped"
            assert launcher["db"].running
            for name in ("db", "other"):
                launcher[name].exit(0)
    assert runner.results["c"].attempts == 0


async def test_all_that_stand_on_a_dependency_are_gone_before_it_is_asked() -> None:
    """Also where those between have ended: who comes after a migration needs the database."""
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


async def test_a_second_kill_waits_for_no_order() -> None:
    """It ends all now."""
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


async def test_a_stop_in_order_waits_for_no_reader() -> None:
    """A dependency is asked when the processes are gone that need it, however full the channel."""
    launcher = FakeLauncher({"web": Script(stdout=b"too much\n" * 100_000, exit=None)}, RUNNING)
    commands = {"db": Command(["db"]), "web": Command(["web"], after="db")}
    with fail_after(LIMIT):
        async with Runner(commands, buffer_size=1, launcher=launcher) as runner:
            reader = aiter(runner)
            while not isinstance(await anext(reader), Line):
                pass
            runner.kill()
            while runner["db"].pid is not None:
                await runner["db"].changed()
            assert runner["web"].result is None  # its output is still to be read
            assert SIGTERM in launcher["db"].signals
            del reader


async def test_what_cannot_be_stopped_holds_up_no_dependency() -> None:
    """What outlives SIGKILL has failed; those that it needed are asked to stop then."""
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


async def test_a_launcher_that_breaks_holds_up_no_dependency() -> None:
    """Its error leaves the block, though something runs on which the command depended."""

    class Breaks(FakeLauncher):
        async def launch(self, command: Command) -> FakeProcess:
            if command.name == "api":
                raise ZeroDivisionError
            return await super().launch(command)

    commands = {"db": Command(["db"]), "api": Command(["api"], after="db")}
    with fail_after(LIMIT), pytest.raises(ZeroDivisionError):
        async with Runner(commands, launcher=Breaks(default=RUNNING)):
            pass


async def test_a_command_that_is_to_be_stopped_alone_waits_for_nobody(gate: Gate) -> None:
    """Also where all are stopped already, and it would have to wait for those that need it."""
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


async def test_who_waits_is_skipped_when_a_dependency_is_being_stopped() -> None:
    """At once, and not when its grace is over."""
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
            assert "'db' was to be ready, and is being stopped" in str(result.error)
            runner["db"].kill()


async def test_ready_once_is_ready_for_who_waited() -> None:
    """Also where the command has ended by the time that those who waited have their turn."""
    launcher = FakeLauncher({"db": Script(stdout=b"up\n", exit=0)}, Script())
    commands = {"web": Command(["web"], after="db"), "db": Command(["db"], ready=ready.line("up"))}
    for _ in range(20):
        with fail_after(LIMIT):
            async with Runner(commands, launcher=launcher) as runner:
                told = await messages_of(runner)
        was_ready = any(isinstance(message, Ready) for message in told)
        assert runner.results["web"].status == ("succeeded" if was_ready else "skipped")


async def test_a_single_command_is_stopped_without_those_that_need_it() -> None:
    """That is what was asked for."""
    commands = {"db": RUNS, "api": Command(RUNS, after="db")}
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            await runner["api"].until_started()
            runner["db"].kill()
            await runner["db"].wait()
            assert runner["api"].state == "running"
            runner.kill()


async def test_a_block_that_is_left_has_time_for_the_whole_chain() -> None:
    """A sink is waited for as long as the longest chain of graces takes, and a little."""
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


# ---- what is refused ----


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"a": ["a"]}, "'a' after 'a'"),
        ({"a": ["b"], "b": ["a"]}, "wait for one another"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "'a' after 'b' after 'c' after 'a'"),
        ({"a": ["z"]}, "command 'a': after: there is no command 'z'; there are: 'a'"),
    ],
)
def test_what_can_never_be_is_refused_when_the_runner_is_built(
    after: Mapping[str, list[str]], told: str
) -> None:
    """Circles and unknown names; the circle is named, from any of its commands."""
    with pytest.raises(CommandError) as caught:
        Runner({name: Command(["true"], after=names) for name, names in after.items()})
    circle = told.split(" after ")
    turns = [circle[n:-1] + circle[: n + 1] for n in range(len(circle) - 1)] or [circle]
    assert any(" after ".join(turn) in str(caught.value) for turn in turns)


async def test_a_later_command_waits_for_those_that_there_are() -> None:
    """Its own name is none of them."""
    with fail_after(LIMIT):
        async with Runner({"a": RUNS}) as runner:
            with pytest.raises(CommandError, match="there is no command 'b'; there are: 'a'"):
                runner.start_soon(Command(["true"], name="b", after="b"))
            job = runner.start_soon(Command(["true"], name="b", after="a"))
            await job.wait()
            runner.kill()


async def test_a_later_command_waits_under_the_name_that_it_is_given() -> None:
    """Where its own is taken it has another one, and waits all the same."""
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
async def test_what_is_always_started_again_never_has_succeeded(restart: Any) -> None:
    """Who waits for that would wait for ever; it is refused, also later, by its policy or ours."""
    waits = Command(["true"], name="b", after={"a": "succeeded"})
    with pytest.raises(CommandError, match="command 'b': after: 'a' never has succeeded"):
        Runner([Command(["true"], name="a", restart=restart), waits])
    with pytest.raises(CommandError, match="command 'b': after: 'a' never has succeeded"):
        Runner({"a": "true", "b": waits}, restart=restart)
    Runner([Command(["true"], name="a", restart=RestartPolicy("always", max_restarts=1)), waits])
    with fail_after(LIMIT):
        async with Runner({"a": RUNS}, restart=restart) as runner:
            with pytest.raises(CommandError, match="command 'b': after: 'a' never has succeeded"):
                runner.start_soon(waits)
            runner.kill()


async def test_a_sink_may_kill_what_has_not_begun_to_wait() -> None:
    """It ends as it is, and waits for nothing."""
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


async def test_a_sink_may_start_what_waits_for_the_first_commands() -> None:
    """All of them are there when it begins."""

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


async def test_replicas_have_names_and_numbers_of_their_own() -> None:
    """And who waits for them waits for all."""
    commands = [
        Command.shell('echo "$CURRANT_REPLICA"', name="web", replicas=3, capture=True),
        Command(["true"], name="after", after={"web": "succeeded"}),
    ]
    with fail_after(LIMIT):
        async with Runner(commands) as runner:
            told = await messages_of(runner)
    assert list(runner.results) == ["web.1", "web.2", "web.3", "after"]
    outputs = [result.stdout for result in runner.results.values()]
    assert outputs == [b"1\n", b"2\n", b"3\n", None]
    started = [message.command for message in told if isinstance(message, Started)]
    assert started[-1] == "after"
    ended = [message.command for message in told if isinstance(message, Exited)]
    assert set(ended[:3]) == {"web.1", "web.2", "web.3"}


async def test_a_replica_that_fails_keeps_who_waits_from_starting() -> None:
    """One of them is enough."""
    fails = Command.shell('test "$CURRANT_REPLICA" = 1', name="web", replicas=2)
    with fail_after(LIMIT):
        async with Runner({"web": fails, "b": Command(["true"], after={"web": "succeeded"})}) as r:
            pass
    assert [result.status for result in r.results.values()] == ["succeeded", "failed", "skipped"]


async def test_replicas_have_a_default_name_as_any_command_has() -> None:
    """Where it is taken they get another one; no one was given."""
    serve = Command(["true"], replicas=2)
    with fail_after(LIMIT):
        async with Runner([serve, serve, Command(["echo"], name="true")]) as runner:
            pass
    assert list(runner.results) == ["true#2.1", "true#2.2", "true#3.1", "true#3.2", "true"]


@pytest.mark.parametrize("other", ["web", "web.2"])
def test_the_names_of_replicas_are_taken(other: str) -> None:
    """Each one's, and the one that they have in common."""
    web = Command(["true"], name="web", replicas=2)
    with pytest.raises(DuplicateNameError, match=f"'{other}'"):
        Runner([web, Command(["true"], name=other)])


async def test_replicas_are_for_a_runner_that_is_being_built() -> None:
    """A later start is one job."""
    with fail_after(LIMIT):
        async with Runner() as runner:
            with pytest.raises(CommandError, match="replicas"):
                runner.start_soon(Command(["true"], replicas=2))


def test_run_takes_all_of_it() -> None:
    """The synchronous door, too."""
    results = run({"a": "true", "b": Command(["true"], after={"a": "succeeded"}, replicas=2)})
    assert list(results) == ["a", "b.1", "b.2"]
    assert results.ok
