"""Tests of lost hosts: messages, the commands that start again, where and when, and the waits."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from functools import partial
from math import inf
from random import Random
from signal import SIGKILL, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from currant import (
    Aborted,
    Command,
    Exited,
    HostLost,
    HostLostError,
    HostUp,
    LaunchError,
    Line,
    RestartPolicy,
    Runner,
    Started,
)
from currant._remote.connection import Connection, Heartbeat
from currant._remote.launcher import RemoteLauncher
from currant._remote.shipment import agent_argv
from currant._remote.transport import ArgvTransport
from currant.hosts import Host
from currant.hosts._member import State
from tests.agents import parent_of
from tests.hosts import RELAY, agent_of, kill_agent, member_of, piped, piped_hosts, relayed
from tests.programs import Programs
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from currant.hosts import Hosts
    from tests.lifeline import Lifeline

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]

SILENCE = 0.4
GRACE = 0.1
FENCE = SILENCE + GRACE + 2.0
"""Seconds after which a lost command has ended for sure: 2 are for what SIGKILL may take."""

AGAIN = RestartPolicy("on-failure", delay=0.0)


def single(lifeline: Lifeline, path: Path) -> Command:
    """Return a command that fails at once, with code 7, if another copy of it runs."""
    line = f"exec 8>'{path}'; flock -n 8 || exit 7; {lifeline.hold('$CURRANT_HOST')}; {FOREVER}"
    return Command.shell(line, name="job", grace=GRACE, restart=AGAIN)


async def wait_for(lifeline: Lifeline, *words: str) -> None:
    """Wait until the commands have written `words`."""
    await to_thread.run_sync(lifeline.wait_for, *words)


async def wait_until_on(runner: Runner, lifeline: Lifeline, host: str) -> None:
    """Wait until the command runs on a host, and its start was reported."""
    await wait_for(lifeline, host)
    while runner["job"].host != host:
        await anyio.lowlevel.checkpoint()


async def wait_until_up(hosts: Hosts, *names: str) -> None:
    """Wait until these hosts, and no other, are up."""
    while set(hosts.up) != set(names):
        await anyio.lowlevel.checkpoint()


def freeze(hosts: Hosts, name: str) -> None:
    """Freeze the relay to a host, like a network that loses all packets; it is lost in a second."""
    os.kill(relay_of(hosts, name), SIGSTOP)
    launcher = member_of(hosts, name).launcher
    assert isinstance(launcher, RemoteLauncher)
    launcher.connection._heartbeat = Heartbeat(0.4, 1.0)  # Before, a busy machine would be lost.


def relay_of(hosts: Hosts, name: str) -> int:
    """Return the pid of the program between this one and an agent."""
    return parent_of(agent_of(hosts, name))


class Told:
    """A sink that keeps all messages."""

    def __init__(self) -> None:
        self.messages: list[BatchMessage] = []

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Take messages until the end."""
        async for message in messages:
            self.messages.append(message)


def starts(messages: list[BatchMessage]) -> list[tuple[str, str | None]]:
    """Return the command and the host of each start."""
    return [(each.command, each.host) for each in messages if isinstance(each, Started)]


async def test_command_of_a_lost_host_starts_elsewhere_behind_the_fence(
    lifeline: Lifeline, tmp_path: Path
) -> None:
    """The host is reported first, then the command; two copies never run at the same time."""
    hosts, told = piped_hosts("a,b", silence=SILENCE, reconnect=False), Told()
    with anyio.fail_after(LIMIT):
        async with Runner(
            [single(lifeline, tmp_path / "lock")], launcher=hosts, sinks=[told]
        ) as runner:
            await wait_until_on(runner, lifeline, "a")
            lost_at = time.monotonic()
            kill_agent(hosts, "a")
            await wait_for(lifeline, "b")
            assert time.monotonic() - lost_at >= FENCE
            assert list(hosts.up) == ["b"]
            await wait_until_on(runner, lifeline, "b")
            runner.kill()
    kinds = [type(each) for each in told.messages if isinstance(each, (HostLost, Aborted, Started))]
    assert kinds == [Started, HostLost, Aborted, Started]
    assert starts(told.messages) == [("job", "a"), ("job", "b")]
    (aborted,) = [each for each in told.messages if isinstance(each, Aborted)]
    assert isinstance(aborted.error, HostLostError)
    assert aborted.error.host == "a"
    await to_thread.run_sync(lifeline.wait_for_end)


@pytest.mark.backends("asyncio")
async def test_silent_network_ends_commands_there_before_they_start_elsewhere(
    lifeline: Lifeline, tmp_path: Path
) -> None:
    """The agent ends the commands after `silence`, although the driver cannot hear that."""
    told = Told()
    hosts = piped_hosts(
        "a,b", connect=relayed, silence=2.0, heartbeat=Heartbeat(0.4, LIMIT, 2.0), reconnect=False
    )
    with anyio.fail_after(LIMIT):
        async with Runner(
            [single(lifeline, tmp_path / "lock")], launcher=hosts, sinks=[told]
        ) as runner:
            await wait_until_on(runner, lifeline, "a")
            freeze(hosts, "a")
            await wait_until_on(runner, lifeline, "b")
            runner.kill()
    assert starts(told.messages) == [("job", "a"), ("job", "b")]
    await to_thread.run_sync(lifeline.wait_for_end)


async def test_known_end_needs_no_fence(lifeline: Lifeline, tmp_path: Path) -> None:
    """An agent that gets SIGTERM, as in a shutdown, ends its commands and reports their exits."""
    hosts, told = piped_hosts("a,b", silence=1000.0, reconnect=False), Told()
    with anyio.fail_after(LIMIT):
        async with Runner(
            [single(lifeline, tmp_path / "lock")], launcher=hosts, sinks=[told]
        ) as runner:
            await wait_until_on(runner, lifeline, "a")
            os.kill(agent_of(hosts, "a"), SIGTERM)
            await wait_until_on(runner, lifeline, "b")
            runner.kill()
    assert starts(told.messages) == [("job", "a"), ("job", "b")]
    exits = [each.exit for each in told.messages if isinstance(each, Exited)]
    assert [each.signal for each in exits] == [SIGTERM, SIGTERM]
    (lost,) = [each for each in told.messages if isinstance(each, HostLost)]
    assert lost.host == "a"
    await to_thread.run_sync(lifeline.wait_for_end)


OUTLIVES = f"{{ while kill -0 $$; do sleep 0.01; done; echo ready; {FOREVER}; }} 2>&- & exit 0"


@pytest.mark.parametrize(
    "command",
    [
        Command.shell(f"trap 'exit 0' TERM; echo ready; {TRAPS_SIGNALS}", name="job"),
        Command.shell(OUTLIVES, name="job", leftovers="wait"),
    ],
)
async def test_success_of_a_command_that_its_agent_has_stopped_is_a_failure(
    command: Command,
) -> None:
    """Many servers exit with code 0 after SIGTERM, and many jobs do so halfway."""
    hosts, told = piped_hosts("a", reconnect=False), Told()
    line = f"trap '' TERM; {FOREVER} & wait; {FOREVER}"
    slow = Command.shell(line, name="slow", grace=0.5)  # The agent goes on for so long.
    with anyio.fail_after(LIMIT):
        async with Runner([slow, command], launcher=hosts, sinks=[told]) as runner:
            async for message in runner:
                if isinstance(message, Line) and message.data == b"ready":
                    os.kill(agent_of(hosts, "a"), SIGTERM)
            result = await runner["job"].wait()
    assert result.exit is not None
    assert (result.exit.code, result.status) == (0, "failed")
    assert isinstance(result.error, HostLostError)
    ends = [each for each in told.messages if isinstance(each, (Aborted, Exited))]
    assert [type(each) for each in ends if each.command == "job"] == [Aborted, Exited]


async def test_command_that_was_asked_to_stop_before_its_agent_counts_as_stopped() -> None:
    """A shutdown of its host makes no failure of a kill."""
    hosts = piped_hosts("a", reconnect=False)
    line = f"trap '' TERM; echo deaf; {FOREVER} & wait; {FOREVER}"
    with anyio.fail_after(LIMIT):
        async with Runner([Command.shell(line, name="job", grace=HOURS)], launcher=hosts) as runner:
            async for message in runner:
                if isinstance(message, Line):
                    break
            job = runner["job"]
            job.kill()
            await anyio.wait_all_tasks_blocked()
            assert await job.send_signal(0)  # The agent has got the request to stop by now.
            os.kill(agent_of(hosts, "a"), SIGTERM)
            while member_of(hosts, "a").state is not State.ENDING:
                await anyio.lowlevel.checkpoint()
            await job.send_signal(SIGKILL, to="leader")
            while job._life.attempt.outcome.exit is None:  # Its child goes on.
                await anyio.lowlevel.checkpoint()
            await job.send_signal(SIGKILL)
            assert (await job.wait()).status == "stopped"


async def test_fence_lasts_as_long_as_the_guard_waits_for_escapees() -> None:
    """The guard of a dead agent gives each escapee the longest grace of all commands there."""
    hosts = piped_hosts("a,b", reconnect=False)
    commands = [
        Command(["sleep", "9999"], name="job", grace=GRACE, host="a"),
        Command(["sleep", "9999"], name="patient", grace=HOURS, host="a"),
    ]
    with anyio.fail_after(LIMIT):
        async with Runner(commands, launcher=hosts) as runner:
            for job in runner.jobs.values():
                await job.ready()
            kill_agent(hosts, "a")
            await runner.join()
    assert hosts._fence.delay("job", time.monotonic()) > HOURS - LIMIT


async def test_command_is_refused_with_the_reason_if_an_agent_is_about_to_end() -> None:
    """Nobody has drained the host; its agent got a signal, and still ends other commands."""
    hosts = piped_hosts("a", reconnect=False)
    deaf = Command.shell(f"trap '' TERM; echo deaf; {FOREVER}", name="deaf", grace=HOURS)
    with anyio.fail_after(LIMIT):
        async with Runner([deaf], launcher=hosts) as runner:
            async for message in runner:
                if isinstance(message, Line):
                    os.kill(agent_of(hosts, "a"), SIGTERM)
                    break
            while member_of(hosts, "a").state is not State.ENDING:
                await anyio.lowlevel.checkpoint()
            result = await runner.start_soon(Command(["true"])).wait()
            await runner["deaf"].send_signal(SIGKILL)
    assert result.error is not None
    assert isinstance(result.error.__cause__, HostLostError)
    assert "its agent is about to end" in str(result.error)


async def test_escapee_on_a_lost_host_holds_its_command_up(lifeline: Lifeline) -> None:
    """The exit of the command is known, but not the end of the process that left its group."""
    hosts = piped_hosts("a,b", silence=SILENCE, reconnect=False)
    command = Command.shell("exit 3", name="job", grace=GRACE)
    with anyio.fail_after(LIMIT):
        async with hosts:
            process = await hosts.launch(command)
            await process.wait()
            await process.aclose()
            lost_at = time.monotonic()
            kill_agent(hosts, "a")
            while "a" in hosts.up:
                await anyio.lowlevel.checkpoint()
            await hosts.sweep()
            await hosts.sweep("job")
            again = await hosts.launch(command)
            assert time.monotonic() - lost_at >= FENCE
            await again.wait()
            await hosts.sweep("job")
            hosts.drain("b")  # Such an agent says that it has ended everything.
            await again.aclose()
            while "b" in hosts.up:
                await anyio.lowlevel.checkpoint()
            await hosts.sweep("job")
            assert hosts._fence.delay("job", time.monotonic()) == 0.0


async def test_lost_host_is_connected_to_again(lifeline: Lifeline) -> None:
    """A command that is pinned to the host waits for the new connection."""
    hosts, told = piped_hosts("a,b", silence=SILENCE, retry_delay=0.01), Told()
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts, sinks=[told]) as runner:
            first_agent = agent_of(hosts, "a")
            kill_agent(hosts, "a")
            while "a" in hosts.up:
                await anyio.lowlevel.checkpoint()
            result = await runner.start_soon(Command(["true"], host="a")).wait()
            assert (result.status, result.host) == ("succeeded", "a")
            assert agent_of(hosts, "a") != first_agent
    news = [
        (type(each), each.host)
        for each in told.messages
        if isinstance(each, (HostUp, HostLost)) and each.host == "a"
    ]
    assert news == [(HostUp, "a"), (HostLost, "a"), (HostUp, "a")]


async def test_way_that_fails_later_is_tried_again() -> None:
    """The function that leads to a host is the user's, and may look the host up anywhere."""
    failures = iter([False, True, False])

    def connect(host: Host) -> ArgvTransport:
        if next(failures):
            raise LookupError("no answer")
        return piped(host)

    hosts, told = piped_hosts("a", connect=connect, retry_delay=0.01), Told()
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts, sinks=[told]) as runner:
            kill_agent(hosts, "a")
            while "a" in hosts.up:
                await anyio.lowlevel.checkpoint()
            assert (await runner.start_soon(Command(["true"])).wait()).status == "succeeded"
    assert [type(each) for each in told.messages[:3]] == [HostUp, HostLost, HostUp]
    assert next(failures, None) is None


async def test_wait_for_a_lost_host_ends_when_patience_does(tmp_path: Path) -> None:
    """The Runner does not hang, and the error says how the host was lost."""
    python = tmp_path / "python"
    python.symlink_to("/bin/sh")
    agent = tmp_path / "agent"
    agent.write_text(f'#!/bin/sh\n[ -e "{python}" ] || exit 9\nexec python3 "$@"\n')
    agent.chmod(0o755)
    hosts = piped_hosts(
        [Host("a", python=agent, slots=1), "b"], silence=SILENCE, patience=0.0, retry_delay=0.01
    )
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            await runner.start(Command.shell(EXEC_FOREVER, name="first", host="a", grace=GRACE))
            waiting = runner.start_soon(Command(["true"], name="second", host="a"))
            await anyio.wait_all_tasks_blocked()
            assert waiting.state == "queued"
            python.unlink()
            kill_agent(hosts, "a")
            result = await waiting.wait()
            assert isinstance(result.error, LaunchError)
            assert isinstance(result.error.__cause__, HostLostError)
            assert result.error.__cause__.host == "a"
            assert (await runner.start_soon(Command(["true"])).wait()).host == "b"
            python.symlink_to("/bin/sh")  # It may still come back.
            await wait_until_up(hosts, "a", "b")
            again = await runner.start_soon(Command(["true"], name="third", host="a")).wait()
            assert again.status == "succeeded"


async def test_place_of_a_lost_command_stays_taken_until_it_has_ended(lifeline: Lifeline) -> None:
    """If the host comes back at once, its GPU may still be in use."""
    gpu = Host("a", gpus=1)
    hosts = piped_hosts([gpu], silence=SILENCE, retry_delay=0.01)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            gpus = {"gpus": 1}
            holding = f"{lifeline.hold('first')}; {EXEC_FOREVER}"
            first = Command.shell(holding, name="first", resources=gpus, grace=GRACE)
            await runner.start(first)
            lost_at = time.monotonic()
            kill_agent(hosts, "a")
            assert (await runner["first"].wait()).status == "failed"
            await wait_until_up(hosts, "a")
            assert hosts.up["a"].running == 1
            small = await runner.start_soon(Command(["true"], name="small")).wait()
            assert small.status == "succeeded"
            second = await runner.start_soon(
                Command(["true"], name="second", resources=gpus)
            ).wait()
            assert second.status == "succeeded"
            assert time.monotonic() - lost_at >= FENCE
    await to_thread.run_sync(lifeline.wait_for_end)


async def test_host_that_is_lost_during_a_start_counts_as_lost(tmp_path: Path) -> None:
    """The command may have started, so its next start waits for the fence."""
    hosts = piped_hosts("a,b", silence=SILENCE, reconnect=False)
    command = Command.shell(EXEC_FOREVER, name="job", grace=GRACE)
    with anyio.fail_after(LIMIT):
        async with hosts:
            os.kill(agent_of(hosts, "a"), SIGSTOP)
            async with anyio.create_task_group() as tasks:

                async def launch() -> None:
                    with pytest.raises(LaunchError, match="the host 'a' is lost") as caught:
                        await hosts.launch(command)
                    assert isinstance(caught.value.__cause__, HostLostError)

                tasks.start_soon(launch)
                await anyio.wait_all_tasks_blocked()
                lost_at = time.monotonic()
                kill_agent(hosts, "a")
            process = await hosts.launch(command)
            assert process.host == "b"
            assert time.monotonic() - lost_at >= FENCE
            await process.aclose()


async def test_command_lost_while_held_waits_for_another_agent(
    lifeline: Lifeline, tmp_path: Path
) -> None:
    """A held agent accepts any silence, so only a new agent makes the end of the command known."""
    is_away = tmp_path / "away"
    agent = tmp_path / "agent"
    agent.write_text(f'#!/bin/sh\n[ ! -e "{is_away}" ] || exit 9\nexec python3 "$@"\n')
    agent.chmod(0o755)
    hosts = piped_hosts([Host("a", python=agent), "b"], silence=SILENCE, retry_delay=0.01)
    told = Told()
    with anyio.fail_after(LIMIT):
        async with Runner(
            [single(lifeline, tmp_path / "lock")], launcher=hosts, sinks=[told]
        ) as runner:
            await wait_until_on(runner, lifeline, "a")
            await hosts.hold()
            is_away.touch()
            kill_agent(hosts, "a")
            while not (delay := hosts._fence.delay("job", time.monotonic())):
                await anyio.lowlevel.checkpoint()
            assert delay == inf
            is_away.unlink()
            await wait_until_up(hosts, "a", "b")
            assert hosts._fence.delay("job", time.monotonic()) <= GRACE + 2.0
            while len(starts(told.messages)) < 2:
                await anyio.lowlevel.checkpoint()
            runner.kill()
    lifeline.ended()


async def test_command_lost_while_held_fails_if_no_agent_comes(lifeline: Lifeline) -> None:
    """Without a new agent, the first copy may run for ever."""
    hosts = piped_hosts("a,b", silence=SILENCE, reconnect=False)
    again = RestartPolicy("on-failure", max_restarts=1, delay=0.0)
    line = f"{lifeline.hold('$CURRANT_HOST')}; {EXEC_FOREVER}"
    with anyio.fail_after(LIMIT):
        async with Runner(
            [Command.shell(line, name="job", grace=GRACE, restart=again)], launcher=hosts
        ) as runner:
            await wait_until_on(runner, lifeline, "a")
            await hosts.hold()
            kill_agent(hosts, "a")
            result = await runner["job"].wait()
    assert isinstance(result.error, LaunchError)
    assert isinstance(result.error.__cause__, HostLostError)
    assert "'a' was lost while this program was held" in str(result.error)
    lifeline.ended()


async def test_command_lost_while_held_fails_if_agents_cannot_be_told_apart(
    lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``/proc``, as on macOS, no agent kills the one before it."""
    welcome = Connection._welcome

    def welcome_without_identity(connection: Connection, body: dict[str, Any]) -> None:
        welcome(connection, body | {"identity": None})

    monkeypatch.setattr(Connection, "_welcome", welcome_without_identity)
    hosts = piped_hosts("a,b", silence=SILENCE, retry_delay=0.01)
    again = RestartPolicy("on-failure", max_restarts=1, delay=0.0)
    line = f"{lifeline.hold('$CURRANT_HOST')}; {EXEC_FOREVER}"
    with anyio.fail_after(LIMIT):
        async with Runner(
            [Command.shell(line, name="job", grace=GRACE, restart=again)], launcher=hosts
        ) as runner:
            await wait_until_on(runner, lifeline, "a")
            await hosts.hold()
            kill_agent(hosts, "a")
            result = await runner["job"].wait()
    assert "'a' was lost while this program was held" in str(result.error)
    lifeline.ended()


async def test_held_command_may_be_given_up_after_its_agent_was_replaced(
    lifeline: Lifeline,
) -> None:
    """A slow reader holds up what is known about a lost command."""
    hosts = piped_hosts("a", silence=1000.0, retry_delay=0.01)
    command = Command.shell(f"{lifeline.hold('a')}; {FOREVER}", name="job", grace=GRACE)
    with anyio.fail_after(LIMIT):
        async with hosts:
            process = await hosts.launch(command)
            await wait_for(lifeline, "a")
            await hosts.hold()
            kill_agent(hosts, "a")
            with pytest.raises(HostLostError):
                await process.wait()
            await wait_until_up(hosts, "a")
            await process.aclose()
            assert hosts._fence.delay("job", time.monotonic()) < inf
    lifeline.ended()


def lasting(host: Host) -> ArgvTransport:
    """Return the way to an agent that outlives the program between this one and the agent."""
    return ArgvTransport(
        [sys.executable, "-IS", str(RELAY), "-1", "-1", "setsid", *agent_argv(sys.executable)]
    )


def freeze_agent(hosts: Hosts, name: str) -> None:
    """Freeze the agent of a host, and cut its link."""
    relay = relay_of(hosts, name)
    os.kill(agent_of(hosts, name), SIGSTOP)
    os.kill(relay, SIGKILL)


async def test_next_runner_ends_what_a_frozen_agent_has_left(lifeline: Lifeline) -> None:
    """`Hosts` remembers the lost agent, and the new agent on its host kills it."""
    hosts = piped_hosts("a", connect=lasting, reconnect=False)
    job = Command.shell(f"{lifeline.hold('it')}; {EXEC_FOREVER}", name="job", grace=GRACE)
    with anyio.fail_after(LIMIT):
        async with Runner([job], launcher=hosts) as runner:
            await wait_for(lifeline, "it")
            freeze_agent(hosts, "a")
            assert (await runner["job"].wait()).status == "failed"
        async with Runner(launcher=hosts):
            await to_thread.run_sync(lifeline.wait_for_end)


@pytest.mark.parametrize("is_drained_first", [True, False])
async def test_frozen_agent_of_a_drained_host_is_replaced(
    is_drained_first: bool, lifeline: Lifeline
) -> None:
    """Otherwise a lost command would still run there when it starts elsewhere."""
    hosts = piped_hosts("a,b", connect=lasting, retry_delay=0.2)
    job = Command.shell(f"{lifeline.hold('it')}; {EXEC_FOREVER}", host="a", grace=GRACE)
    with anyio.fail_after(LIMIT):
        async with Runner({"job": job}, launcher=hosts) as runner:
            await wait_for(lifeline, "it")
            if is_drained_first:
                hosts.drain("a")
            freeze_agent(hosts, "a")
            assert (await runner["job"].wait()).status == "failed"
            hosts.drain("a")
            await to_thread.run_sync(lifeline.wait_for_end)


async def test_agent_that_may_have_replaced_another_raises_the_fence() -> None:
    """The driver may not hear that the lost commands have got a second grace."""
    ways = iter((("-1", "-1"), ("-1", "30"), ("-1", "0")))  # The second one cuts the WELCOME.

    def connect(host: Host) -> ArgvTransport:
        limits = next(ways, ("-1", "0"))
        return ArgvTransport(
            [sys.executable, "-IS", str(RELAY), *limits, "setsid", *agent_argv(sys.executable)]
        )

    hosts = piped_hosts("a", connect=connect, silence=0.01, retry_delay=0.3)
    with anyio.fail_after(LIMIT):
        async with hosts:
            process = await hosts.launch(Command(["sleep", "9999"], name="job", grace=GRACE))
            freeze_agent(hosts, "a")
            with pytest.raises(HostLostError):
                await process.wait()
            await process.aclose()
            end = time.monotonic() + hosts._fence.delay("job", time.monotonic())
            while (now := time.monotonic()) + hosts._fence.delay("job", now) < end + 0.1:
                assert now < end
                await anyio.lowlevel.checkpoint()


async def test_kill_ends_a_command_that_waits_for_the_fence(lifeline: Lifeline) -> None:
    """The command is stopped at once, and never starts again."""
    hosts = piped_hosts("a,b", silence=1000.0, reconnect=False)
    holding = f"{lifeline.hold('$CURRANT_HOST')}; {EXEC_FOREVER}"
    command = Command.shell(holding, name="job", grace=GRACE, restart=AGAIN)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=hosts) as runner:
            await wait_until_on(runner, lifeline, "a")
            kill_agent(hosts, "a")
            while runner["job"].restarts == 0:
                await anyio.lowlevel.checkpoint()
            runner.kill()
            results = await runner.join()
    assert results["job"].status in ("stopped", "failed")
    assert await to_thread.run_sync(lifeline.wait_for_end) == {"a"}


async def test_escapees_are_swept_on_the_host_where_they_are(lifeline: Lifeline) -> None:
    """A restart ends the processes that left the group, on whichever host they run."""
    hosts = piped_hosts("a,b", per_host=1)
    escape = f"{lifeline.hold('escaped')}; setsid {FOREVER} & {lifeline.say('ready')}; exit 3"
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0.0)
    commands = [
        Command.shell(EXEC_FOREVER, name="other", host="b", grace=GRACE),
        Command.shell(escape, name="job", restart=policy, grace=GRACE),
    ]
    with anyio.fail_after(LIMIT):
        async with Runner(commands, launcher=hosts) as runner:
            assert (await runner["job"].wait()).attempts == 2
            await hosts.sweep("job", 0)
            await to_thread.run_sync(lifeline.wait_for_end)
            runner.kill()


async def test_escapees_of_a_command_beside_a_process_are_swept(lifeline: Lifeline) -> None:
    """So a restart ends what the commands of probes, or a stop command, have left behind."""
    hosts = piped_hosts("a")
    escape = f"setsid sh -c '{lifeline.say('escaped')}; {EXEC_FOREVER}'"
    with anyio.fail_after(LIMIT):
        async with hosts:
            process = await hosts.launch(Command.shell(EXEC_FOREVER, name="web"))
            line = f"{lifeline.hold('probe')}; {escape} & wait"
            probe = await hosts.launch(Command.shell(line, name="web:probe"), beside=process)
            await wait_for(lifeline, "escaped")
            await probe.aclose()
            await hosts.sweep("web:probe", 0)
            await to_thread.run_sync(lifeline.wait_for_end)
            await process.aclose()


@pytest.mark.backends("asyncio")  # It waits for the fence, which takes seconds.
async def test_loss_raises_the_fence_once(lifeline: Lifeline) -> None:
    """When the command has run elsewhere, its next start waits for nothing."""
    hosts = piped_hosts("a,b", silence=SILENCE, reconnect=False)
    line = f"{lifeline.hold('$CURRANT_HOST')}; [ $CURRANT_HOST = b ] || {EXEC_FOREVER}; exit 3"
    policy = RestartPolicy("on-failure", delay=0.0, max_restarts=1)
    with anyio.fail_after(LIMIT):
        async with Runner(
            [Command.shell(line, name="job", restart=policy, grace=GRACE)], launcher=hosts
        ) as runner:
            await wait_for(lifeline, "a")
            kill_agent(hosts, "a")
            assert (await runner["job"].wait()).attempts == 2
            await hosts.sweep("job")
            assert hosts._fence.delay("job", time.monotonic()) == 0.0


INTERRUPTED = """
import json, os, signal, sys
import anyio
from currant import Command, Runner
from currant._agent.frames import Kind
from currant._remote.connection import Connection
from tests.hosts import piped_hosts

options = json.loads(sys.argv[1])
handle = Connection._handle
outputs = 0

def interrupt(connection, kind, number, body):
    global outputs
    outputs += kind == Kind.OUT
    if kind == Kind.OUT and outputs == 1:
        os.kill(os.getpid(), signal.SIGINT)  # while Python code runs, not while the loop waits
    handle(connection, kind, number, body)

Connection._handle = interrupt

async def main():
    command = Command.shell(options["line"], name="c", grace=9999)
    runner = Runner([command], launcher=piped_hosts("a"), capture=True)
    try:
        async with runner:
            await runner.join()
    finally:
        print(runner.results["c"].status, runner.results["c"].text.split(), flush=True)

try:
    anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
except KeyboardInterrupt:
    print("interrupted")
"""


async def test_control_c_loses_no_host(anyio_backend: Any) -> None:
    """By default trio raises KeyboardInterrupt in any task, and so in one of a connection."""
    backend, options = anyio_backend
    line = f"trap 'echo bye; exit 0' TERM; echo hi; {TRAPS_SIGNALS}"
    with Programs(INTERRUPTED, backend, use_uvloop=bool(options.get("use_uvloop"))) as programs:
        program = programs.run({"line": line})
        stdout, _ = await to_thread.run_sync(partial(program.communicate, timeout=LIMIT))
    assert stdout.decode().splitlines() == ["stopped ['hi', 'bye']", "interrupted"]


@pytest.mark.backends("asyncio")
@pytest.mark.slow
@pytest.mark.alone
async def test_random_losses_leave_nothing_and_start_no_second_copy(tmp_path: Path) -> None:
    """Each command and its descendants hold a lock, so a second copy fails."""
    hosts = piped_hosts("a,b,c", silence=SILENCE, retry_delay=0.05, per_host=4)
    random = Random(1)
    lines = [
        EXEC_FOREVER,
        f"trap '' TERM; {FOREVER} & wait; {FOREVER}",
        f"setsid {FOREVER} & sleep 0.3; exit 3",
        "exec sleep 0.2",
    ]

    def locked(number: int) -> Command:
        lock = f"exec 8>'{tmp_path}/{number}'; flock -n 8 || {{ echo copy; exit 7; }}"
        line, host = lines[number % 4], "b" if number % 4 == 3 else None
        return Command.shell(f"{lock}; {line}", name=f"c{number}", host=host, grace=GRACE)

    async def lose_hosts() -> None:
        for _ in range(15):
            await anyio.sleep(random.uniform(0.1, 0.6))
            for name in random.sample(sorted(hosts.up), min(1, len(hosts.up))):
                with suppress(ProcessLookupError):
                    os.kill(agent_of(hosts, name), random.choice([SIGKILL, SIGTERM]))
        runner.kill()

    policy = RestartPolicy("always", delay=0.05, max_delay=0.2)
    commands = [locked(number) for number in range(8)]
    with anyio.fail_after(3 * LIMIT):
        async with (
            Runner(commands, launcher=hosts, restart=policy) as runner,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(lose_hosts)
            messages = [message async for message in runner]
    assert [each for each in messages if isinstance(each, Line) and each.data == b"copy"] == []
    assert [each for each in messages if isinstance(each, Aborted)]
