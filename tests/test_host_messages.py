"""Tests of the host of a process, and of messages about hosts, in jobs, results and sinks."""

from __future__ import annotations

import io
import json
import logging
from contextlib import suppress
from functools import partial
from signal import SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

import currant
from currant import (
    Aborted,
    Command,
    HostLost,
    HostLostError,
    HostUnreachableError,
    HostUp,
    RestartPolicy,
    Runner,
    Started,
    ready,
)
from currant.sinks import ConsoleSink, JSONSink, LoggingSink
from currant.testing import FakeLauncher, Script
from tests.agents import over_pipe
from tests.system import needs_proc
from tests.waiting import FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage, Message, Process, Sink
    from currant.testing import FakeProcess

pytestmark = pytest.mark.anyio

UP = HostUp("h1", 1.0)
LOST = HostLost("h2", HostUnreachableError("h2", "no route"), 2.0)


class Cluster(FakeLauncher):
    """A launcher that sends messages about its hosts, and then waits until it may fail."""

    def __init__(self, *news: HostUp | HostLost) -> None:
        forever = Script(exit=None)
        scripts = {"job": forever, "job#1": forever, "job#2": forever}
        super().__init__(scripts, hosts=("h1",))
        self.news = news
        self.may_fail = anyio.Event()
        self.was_watched_until_the_end = False
        self.beside: dict[str, Process | None] = {}

    async def launch(self, command: Command, *, beside: Process | None = None) -> FakeProcess:
        """Start a process, and keep the process beside which it was started."""
        self.beside[command.name] = beside
        return await super().launch(command)

    async def watch(self, tell: Callable[[HostUp | HostLost], Awaitable[None]]) -> None:
        """Send all messages."""
        for each in self.news:
            await tell(each)
        try:
            await self.may_fail.wait()
        finally:
            self.was_watched_until_the_end = True
        raise ValueError("a host list that nobody can read")


async def messages_of(runner: Runner, count: int) -> list[Message]:
    """Return the next messages of a reader."""
    messages: list[Message] = []
    async for message in runner:
        messages.append(message)
        if len(messages) == count:
            break
    return messages


async def test_reader_and_sink_are_told_of_hosts() -> None:
    """Both get the same messages about hosts and commands, until the block ends."""
    seen: list[BatchMessage] = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        with suppress(anyio.EndOfStream):
            while True:
                seen.append(await messages.receive())

    launcher = Cluster(UP, LOST)
    with anyio.fail_after(LIMIT):
        async with Runner({"job": ["job"]}, launcher=launcher, sinks=[sink]) as runner:
            messages = await messages_of(runner, 3)
            runner.kill()
    assert [each for each in messages if not isinstance(each, Started)] == [UP, LOST]
    assert [each for each in seen if isinstance(each, HostUp | HostLost)] == [UP, LOST]
    assert {each.command for each in seen} == {"job", None}
    assert launcher.was_watched_until_the_end


async def test_news_that_nobody_reads_hold_up_nothing() -> None:
    """The block ends although more messages come than any buffer holds."""
    launcher = Cluster(*[UP] * 1000)
    with anyio.fail_after(LIMIT):
        async with Runner({"job": ["job"]}, launcher=launcher, unread="wait") as runner:
            await runner["job"].ready()
            runner.kill()
    assert runner.results["job"].status == "stopped"


async def test_error_of_a_watch_stops_all_commands() -> None:
    """The error leaves the block as it was raised."""
    launcher = Cluster()
    runner = Runner({"job": ["job"]}, launcher=launcher)
    with anyio.fail_after(LIMIT), pytest.raises(ValueError, match="nobody can read"):
        async with runner:
            launcher.may_fail.set()
            await runner.join()
    assert runner.results["job"].status == "stopped"


async def test_error_of_a_watch_stops_a_map_and_keeps_the_results() -> None:
    """The commands that run are stopped, and the error comes after their results."""
    launcher = Cluster()
    ended: list[tuple[str, str]] = []
    with anyio.fail_after(LIMIT), pytest.raises(ValueError, match="nobody can read"):
        async with currant.map(["job"], ["a", "b"], launcher=launcher, max_processes=2) as results:
            while len(launcher.beside) < 2:
                await checkpoint()
            launcher.may_fail.set()
            async for item, result in results:
                ended.append((item, result.status))
    assert sorted(ended) == [("a", "stopped"), ("b", "stopped")]


@pytest.mark.parametrize("host", [None, "h1"])
async def test_host_of_a_process_is_told(host: str | None) -> None:
    """The start, the job and the result name the host; None stands for this machine."""
    launcher = FakeLauncher(hosts=() if host is None else (host,))
    policy = RestartPolicy("always", max_restarts=1, delay=0)
    with anyio.fail_after(LIMIT):
        async with Runner({"job": ["job"]}, launcher=launcher, restart=policy) as runner:
            messages = [message async for message in runner]
    started = [message for message in messages if isinstance(message, Started)]
    assert [message.host for message in started] == [host, host]
    assert runner["job"].host == runner.results["job"].host == host
    assert launcher["job"].host == host or launcher["job"].is_local


async def test_command_that_never_started_has_no_host() -> None:
    """Only the error of a failed start may name a host."""
    launcher = FakeLauncher({"job": Script(error="no memory")}, hosts=("h1",))
    async with Runner({"job": ["job"]}, launcher=launcher) as runner:
        await runner.join()
    assert runner["job"].host is runner.results["job"].host is None


async def test_process_of_this_machine_has_no_host() -> None:
    """With `LocalLauncher`, no message, job or result names a host."""
    async with Runner({"job": ["true"]}) as runner:
        messages = [message async for message in runner]
    assert [each.host for each in messages if isinstance(each, Started)] == [None]
    assert runner["job"].host is runner.results["job"].host is None


async def test_each_sink_shows_news_of_hosts(caplog: pytest.LogCaptureFixture) -> None:
    """Sinks for people show lost hosts, and sinks for programs show all messages."""
    caplog.set_level(logging.DEBUG)
    shown, written = io.StringIO(), io.BytesIO()
    sinks: list[Sink] = [
        ConsoleSink(shown, shown, color="never", progress=True),
        JSONSink(written),
        LoggingSink(),
    ]
    with anyio.fail_after(LIMIT):
        async with Runner({"job": ["job"]}, launcher=Cluster(UP, LOST), sinks=sinks) as runner:
            await messages_of(runner, 3)
            runner.kill()
    text = "cannot reach the host 'h2': no route"
    assert shown.getvalue() == f"currant: {text}\n"
    objects = [json.loads(line) for line in written.getvalue().splitlines()]
    (up,) = [each for each in objects if each["type"] == "host_up"]
    assert up == {"type": "host_up", "host": "h1", "time": 1.0}
    (started,) = [each for each in objects if each["type"] == "started"]
    assert started["host"] == "h1"
    records = [r for r in caplog.records if r.name == "currant" and not getattr(r, "command", 1)]
    assert [(r.levelname, r.getMessage(), getattr(r, "host", None)) for r in records] == [
        ("INFO", "the host 'h1' is up", "h1"),
        ("ERROR", text, "h2"),
    ]


async def test_command_of_a_probe_runs_beside_the_process() -> None:
    """The probe is about the files and servers of the host of the process."""
    launcher = Cluster()
    job = Command(["job"], ready=ready.command("ask"))
    with anyio.fail_after(LIMIT):
        async with Runner([job], launcher=launcher) as runner:
            await runner["job"].ready()
            runner.kill()
    assert launcher.beside == {"job": None, "job:probe": launcher["job"]}


async def test_fake_process_may_lose_its_host() -> None:
    """The command has failed without an exit, its policy restarts it, and no signal arrives."""
    launcher = FakeLauncher({"job": [Script(exit=None), Script()]}, hosts=("h1",))
    policy = RestartPolicy("on-failure", delay=0)
    with anyio.fail_after(LIMIT):
        async with Runner({"job": ["job"]}, launcher=launcher, restart=policy) as runner:
            await runner["job"].ready()
            launcher["job"].lose("a mouse has bitten the cable")
            messages = [message async for message in runner]
    kinds = [type(message).__name__ for message in messages]
    assert kinds == ["Started", "Aborted", "Restarting", "Started", "Exited"]
    (aborted,) = [each for each in messages if isinstance(each, Aborted)]
    assert str(aborted.error) == "the host 'h1' is lost: a mouse has bitten the cable"
    assert runner.results.ok
    lost = launcher.launched[0]
    assert not lost.running
    assert not lost.signals
    for call in (lost.wait, partial(lost.stop, SIGTERM, 1)):
        with pytest.raises(HostLostError):
            await call()


async def test_stop_of_a_fake_process_may_lose_its_host() -> None:
    """The stop raises the same error; the exit of a process that has exited is kept."""
    deaf = Script(exit=None, ignores={SIGTERM})
    launcher = FakeLauncher({"deaf": deaf}, hosts=("h1",))
    with anyio.fail_after(LIMIT):
        async with Runner({"deaf": ["deaf"], "done": ["done"]}, launcher=launcher) as runner:
            await runner["done"].wait()
            launcher["done"].lose()
            runner["deaf"].kill()
            await anyio.wait_all_tasks_blocked()
            launcher["deaf"].lose()
    assert isinstance(runner.results["deaf"].error, HostLostError)
    assert runner.results["done"].status == "succeeded"


# ---- a host that is reached through a link ----


@needs_proc
async def test_lost_host_is_told_before_its_commands_fail() -> None:
    """A reader gets the reason first: the host, then each command that ran there."""
    launcher = over_pipe()
    command = Command.shell(FOREVER, name="job", grace=0.1)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher) as runner:
            assert {type(each) for each in await messages_of(runner, 2)} == {HostUp, Started}
            assert runner["job"].host == "h1"
            launcher.connection.peer.link.break_off()
            launcher.connection._lose("a mouse has bitten the cable")
            lost, aborted = [message async for message in runner]
    assert isinstance(lost, HostLost)
    assert isinstance(aborted, Aborted)
    assert (lost.host, lost.error.host) == ("h1", "h1")
    assert isinstance(aborted.error, HostLostError)
    assert str(lost.error) == str(aborted.error)
    assert "a mouse" in lost.error.reason
    assert runner.results["job"].host == "h1"


@needs_proc
async def test_host_that_was_left_is_not_lost() -> None:
    """The end of the block ends the connection without a message."""
    with anyio.fail_after(LIMIT):
        async with Runner([["true"]], launcher=over_pipe()) as runner:
            messages = [message async for message in runner]
    assert isinstance(messages[0], HostUp)
    assert not [message for message in messages if isinstance(message, HostLost)]
