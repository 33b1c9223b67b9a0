"""Links that are cut at random, and hosts that send anything: nothing is left, nothing hangs."""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Aborted,
    CannotStopError,
    Command,
    CurrantError,
    Exit,
    Exited,
    Failed,
    LaunchError,
    Line,
    Restarting,
    RestartPolicy,
    Runner,
    Started,
)
from currant._agent.frames import Kind, header
from currant._remote.connection import Connection, Heartbeat
from currant._remote.launcher import RemoteLauncher
from currant._remote.shipment import payload
from currant._system.files import enlarge_pipe
from currant._values.errors import HostLostError
from tests.agents import children_of, over_pipe
from tests.lifeline import Lifeline
from tests.system import needs_proc
from tests.waiting import FOREVER, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from currant import Launcher, Process

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]

CUTS = int(os.environ.get("CURRANT_CUTS", "5"))
"""How many links a test cuts on each event loop."""

SENT = 6000
"""About as many bytes as a driver sends in `run_some`, after the files of the agent."""

RECEIVED = 200_000
"""About as many bytes as it receives."""


# ---- cuts ----


def commands(lifeline: Lifeline) -> dict[str, Command]:
    """Return commands of several kinds that hold the lifeline."""
    hold = lifeline.hold("it")
    lines = {
        "short": "echo hi",
        "noisy": "head -c 100000 /dev/zero; exit 3",
        "child": f"{FOREVER} & echo child; wait",
        "escapes": f"setsid {FOREVER} & sleep 0.05",
        "deaf": f"trap '' TERM; {FOREVER}",
        "listens": "cat; exit 1",
    }
    return {
        name: Command.shell(
            f"{hold}; {line}", grace=0.05, stdin=PIPE if name == "listens" else None
        )
        for name, line in lines.items()
    }


async def run_some(launcher: Launcher, lifeline: Lifeline) -> None:
    """Start, use and stop the commands."""
    async with Runner(commands(lifeline), launcher=launcher, iterable=False) as runner:
        with suppress(CurrantError):  # The host is lost, or was never reached.
            await runner["listens"].send(bytes(50_000))
            await runner["listens"].close_stdin()
        await runner["noisy"].wait()
        await runner["short"].wait()
        runner.kill()


@pytest.mark.parametrize("way", ["down", "up"])
async def test_link_cut_anywhere_leaves_nothing(way: str, tmp_path: Path) -> None:
    """The cut may come while files of the agent, a start, output, a stop or the end is sent."""
    chance = random.Random()
    for number in range(CUTS):
        if way == "down":
            limits = len(payload()) * (chance.random() < 0.8) + chance.randint(1, SENT), -1
        else:
            limits = -1, int(RECEIVED * chance.random() ** 3) + 1
        print(limits)  # noqa: T201 - pytest shows it if the test fails
        with Lifeline(tmp_path / str(number)) as lifeline, anyio.fail_after(LIMIT):
            with suppress(HostLostError):
                await run_some(over_pipe(relay=limits), lifeline)
            await to_thread.run_sync(lifeline.wait_for_end)


# ---- hostile hosts ----


class HostileTransport:
    """A host that greets as an agent does, and then sends frames that a test writes to `theirs`."""

    def __init__(self) -> None:
        self.theirs = -1
        self._files: list[int] = []

    def open(self) -> tuple[int, int]:
        """Open two pipes; the test has the other ends."""
        read_end, self.theirs = os.pipe()
        unread, write_end = os.pipe()
        self._files = [read_end, self.theirs, unread, write_end]
        for fd in self._files:
            os.set_blocking(fd, False)
            enlarge_pipe(fd, 1024 * 1024)
        os.write(self.theirs, b"\n\0currant agent\0\n3.9\n")
        self.send(
            Kind.WELCOME,
            0,
            {"version": 1, "pid": 1, "host": "h", "python": "3.9.0", "identity": None},
        )
        return read_end, write_end

    def send(self, kind: int, number: int, body: dict[str, Any] | bytes = b"") -> None:
        """Send a frame to the driver."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with suppress(BlockingIOError):  # The driver has ended the link.
            os.write(self.theirs, header(Kind(kind), number, len(data)) + data)

    def hang_up(self) -> None:
        """End the connection."""
        self._files.remove(self.theirs)
        os.close(self.theirs)

    async def listen(self) -> None:
        """Wait for ever, because there are no error messages."""
        await anyio.sleep_forever()

    def said(self) -> str:
        """Return no error message."""
        return ""

    def was_turned_away(self) -> bool:
        """Return False."""
        return False

    async def aclose(self) -> None:
        """Close the pipes."""
        files, self._files = self._files, []
        for fd in files:
            anyio.notify_closing(fd)
            os.close(fd)


VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        1,
        -1,
        2**70,
        1.5,
        "x",
        "\x1b[31m\x07",
        [],
        [1],
        {},
        {"exit": {}},
        float("nan"),
    ),
    {"code": 0, "signal": None, "stopped": False, "forced": False},
    {"code": 2**70, "signal": -5, "stopped": 1, "forced": None},
    {"code": None, "signal": 2**70, "stopped": False, "forced": False},
]

KEYS = [
    "pid",
    "exit",
    "usage",
    "gone",
    "reason",
    "count",
    "question",
    "error",
    "survivor",
    "sent",
    "identity",
]

UP = [kind for kind in Kind if kind >= Kind.WELCOME]


def random_frame(chance: random.Random) -> tuple[int, int, dict[str, Any] | bytes]:
    """Return a frame that an agent might send, but mostly would not."""
    kind = chance.choice(UP if chance.random() < 0.95 else list(Kind))
    number = chance.choice([0, 1, 1, 1, 2, 3, 2**32 - 1])
    if kind in (Kind.OUT, Kind.ERR, Kind.EOF) or chance.random() < 0.05:
        return kind, number, chance.choice([b"", b"\0", b"\1", b"x", b"y" * 1000, b"[]", b"\xff"])
    return (
        kind,
        number,
        {key: chance.choice(VALUES) for key in chance.choices(KEYS, k=6)}
        | (
            {"pid": 7, "question": chance.randint(1, 5), "gone": False}
            if chance.random() < 0.7
            else {}
        ),
    )


async def use(launcher: RemoteLauncher) -> None:
    """Call everything that a launcher and a process have; only errors of the contract may come."""
    try:
        process = await launcher.launch(Command(["cat"], stdin=PIPE))
    except LaunchError:
        return

    async def call(name: str, *arguments: Any) -> None:
        with suppress(HostLostError, CannotStopError, anyio.ClosedResourceError):
            await getattr(process, name)(*arguments)

    async def sweep() -> None:
        with suppress(CannotStopError):
            await launcher.sweep()

    async def send() -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            assert process.stdin is not None
            await process.stdin.send(b"x" * 10)

    async def read(stream: Any) -> None:
        with suppress(anyio.ClosedResourceError):
            async for data in stream:
                assert isinstance(data, bytes)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        tasks.start_soon(read, process.stdout)
        tasks.start_soon(read, process.stderr)
        for name, *arguments in (
            ("wait",),
            ("stop", 15, 1.0),
            ("send_signal", 15),
            ("wait_group",),
        ):
            tasks.start_soon(call, name, *arguments)
        tasks.start_soon(sweep)
    await process.aclose()


async def test_hostile_host_can_only_lose_itself() -> None:
    """Whatever a host sends, the driver gets errors of the contract, and goes on."""
    chance = random.Random()
    for _ in range(40 * CUTS):
        seed = chance.random()
        print(seed)  # noqa: T201 - pytest shows it if the test fails
        await face_hostile_host(random.Random(seed))


async def face_hostile_host(chance: random.Random) -> None:
    """Use a launcher whose host sends random frames, and then closes the link."""
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, 0.2))
    with anyio.fail_after(LIMIT):
        async with launcher, anyio.create_task_group() as tasks:
            tasks.start_soon(use, launcher)
            for _ in range(chance.randint(1, 30)):
                transport.send(*random_frame(chance))
                for _ in range(chance.choice([0, 0, 1, 5])):
                    await checkpoint()
            transport.send(Kind.GONE, 0)


async def test_greeting_comes_along_with_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the entry is cancelled, the end of the host is waited for, and not for ever."""
    welcome = Connection._welcome
    launcher = RemoteLauncher("h1", HostileTransport(), heartbeat=Heartbeat(0.01, 0.2))
    with anyio.fail_after(LIMIT), anyio.CancelScope() as scope:

        def cancel_first(connection: Connection, body: dict[str, Any]) -> None:
            scope.cancel()
            welcome(connection, body)

        monkeypatch.setattr(Connection, "_welcome", cancel_first)
        async with launcher:
            await anyio.sleep_forever()
    assert scope.cancelled_caught


class SlowListener(HostileTransport):
    """A host whose listener takes a while to end; the files must not be closed before."""

    is_listening = False

    async def listen(self) -> None:
        """Take a few turns of the event loop after a cancellation."""
        self.is_listening = True
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await checkpoint()
            self.is_listening = False

    async def aclose(self) -> None:
        """See that nobody uses the files any more."""
        assert not self.is_listening
        await super().aclose()


async def test_files_are_closed_when_nobody_uses_them() -> None:
    """The next connection gets their numbers, and no task may read or write there."""
    transport = SlowListener()
    with anyio.fail_after(LIMIT):
        async with RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT)):
            assert transport.is_listening
            transport.send(Kind.GONE, 0)


async def test_command_that_is_reported_as_failed_does_not_run() -> None:
    """A limit for the size of files holds for the register of the guard, too."""
    started = 0
    async with over_pipe(before="ulimit -f 1") as launcher:
        with pytest.raises(LaunchError, match="File too large"):
            while True:
                await launcher.launch(Command(["sleep", "9999"]))
                started += 1
        guard = 1
        assert len(children_of(launcher.connection.agent_pid)) == guard + started


async def test_agent_without_a_guard_is_a_warning() -> None:
    """Otherwise nobody would know that its commands may outlive it."""
    heartbeat = Heartbeat(0.05, LIMIT, LIMIT)
    with (
        anyio.fail_after(LIMIT),
        pytest.warns(RuntimeWarning, match="on h1: currant's orphan guard could not be started"),
    ):
        async with over_pipe(before="ulimit -n 11", heartbeat=heartbeat) as launcher:
            while not launcher.connection._has_warned:
                await checkpoint()


async def test_hold_during_the_release_of_the_last_one_counts() -> None:
    """A driver may be stopped again as soon as it goes on."""
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT))
    with anyio.fail_after(LIMIT):
        async with launcher, anyio.create_task_group() as tasks:
            connection = launcher.connection
            questions = connection.peer._questions

            async def asked(before: int) -> int:
                while not (new := [key for key in questions if key > before]):
                    await checkpoint()
                return new[0]

            tasks.start_soon(connection.hold)
            first = await asked(0)
            transport.send(Kind.ANSWER, 0, {"question": first})
            release = await asked(first)
            tasks.start_soon(connection.hold)
            second = await asked(release)
            transport.send(Kind.ANSWER, 0, {"question": release})
            while release in questions:
                await checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert connection.is_held
            transport.send(Kind.ANSWER, 0, {"question": second})
            transport.send(Kind.ANSWER, 0, {"question": await asked(second)})
            while connection.is_held:
                await checkpoint()
            transport.send(Kind.GONE, 0)


@pytest.mark.parametrize(
    "answer", [{"exit": 1}, {"exit": {}}, {"survivor": []}, {"refused": "no memory"}]
)
async def test_answer_that_is_none_wakes_the_task_that_asked(answer: dict[str, Any]) -> None:
    """An invalid answer ends the link, and the question with it."""
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT))
    with anyio.fail_after(LIMIT):
        async with launcher, anyio.create_task_group() as tasks:
            transport.send(Kind.STARTED, 1, {"pid": 7})
            process = await launcher.launch(Command(["cat"]))

            async def stop() -> None:
                with pytest.raises(HostLostError, match="does not keep to the protocol"):
                    await process.stop(15, 1.0)

            tasks.start_soon(stop)
            await anyio.wait_all_tasks_blocked()
            for question in range(10):  # One of them is ours.
                transport.send(Kind.ANSWER, 0, {"question": question, **answer})


async def hostile(frames: list[tuple[int, int, Any]]) -> HostLostError:
    """Return how a host is lost that starts a process and then sends `frames`."""
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT))
    with anyio.fail_after(LIMIT):
        async with launcher:
            transport.send(Kind.STARTED, 1, {"pid": 7})
            process: Process = await launcher.launch(Command(["cat"], stdin=PIPE))
            for frame in frames:
                transport.send(*frame)
            with pytest.raises(HostLostError) as caught:
                await process.wait()
    return caught.value


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ((Kind.OUT, 1, b"x" * 65_000), None),
        ((Kind.TAKEN, 1, {"count": 1}), "has taken 1 bytes that it never got"),
        ((Kind.TAKEN, 1, {"count": -1}), "has taken -1 bytes"),
        ((Kind.STARTED, 1, {"pid": "x"}), "'pid' in a body is no int"),
        ((Kind.EXIT, 1, b"["), "a body is no JSON"),
        ((Kind.EXIT, 99, {}), "a EXIT about a process 99"),
        ((Kind.START, 1, {}), "a START about a process"),
        ((Kind.HELLO, 0, {}), "a HELLO about a process 0"),
        ((Kind.WELCOME, 0, {"pid": 1}), "a second WELCOME"),
        ((Kind.ANSWER, 0, {}), "'question' in a body"),
        ((Kind.DYING, 0, {"reason": "\x1b[2J\x07bye"}), "bye; "),
    ],
)
async def test_what_a_host_may_not_send_ends_the_link(frame: Any, reason: str | None) -> None:
    """The error says that the host does not keep to the protocol."""
    frames = [frame, frame, (Kind.GONE, 0, b"")] if reason is None else [frame, (Kind.GONE, 0, b"")]
    lost = await hostile(frames)
    assert (reason or "more output than it may") in str(lost)
    assert "\x1b" not in str(lost)


@pytest.mark.parametrize("ends", ["group", "leader", "agent"])
async def test_success_whose_output_is_lost_is_a_failure(ends: str) -> None:
    """The output would seem to be complete; the restart policy counts the failure, too."""
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT))
    success = {"code": 0, "signal": None, "stopped": False, "forced": False}
    restart = RestartPolicy("on-failure", max_restarts=1, delay=0.0)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=launcher, capture=True) as runner:
            job = runner.start_soon(Command(["seq", "2"], restart=restart))
            while not launcher.connection._processes:
                await checkpoint()
            transport.send(Kind.STARTED, 1, {"pid": 7})
            transport.send(Kind.OUT, 1, b"1\n")
            transport.send(Kind.EOF, 1, b"\1")
            transport.send(Kind.EXIT, 1, {"exit": success, "gone": ends != "leader"})
            if ends == "agent":
                transport.send(Kind.CLOSED, 1, {"exit": success})
            transport.hang_up()
            messages = [message async for message in runner]
            result = await job.wait()
    kinds = [type(each) for each in messages if getattr(each, "command", "") == "seq"]
    assert kinds == [Started, Line, Aborted, Exited, Restarting, Failed]
    assert (result.status, result.attempts) == ("failed", 2)
    assert "the host 'h1' is lost" in str(result.error)


async def test_host_that_only_answers_pings_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host has the time that ending a process takes; then it is lost."""
    monkeypatch.setattr("currant._remote.peer.END_LIMIT", 0.05)
    for call in ("stop", "signal", "aclose", "leave"):
        transport = HostileTransport()
        launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, 0.2))
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keep_answering, transport, tasks.cancel_scope)
                async with launcher:
                    transport.send(Kind.STARTED, 1, {"pid": 7})
                    process = await launcher.launch(Command(["cat"]))
                    if call == "stop":
                        with pytest.raises(HostLostError, match="it answers, but"):
                            await process.stop(15, 0)
                    elif call == "signal":
                        assert not await process.send_signal(15)
                    elif call == "aclose":
                        await process.aclose()
                tasks.cancel_scope.cancel()
        with pytest.raises(HostLostError, match="it answers, but"):
            await process.wait()


async def test_host_that_never_ends_the_output_of_an_exited_command_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host answers pings, and there is nothing left to stop, so no kill would help."""
    monkeypatch.setattr("currant._remote.peer.END_LIMIT", 0.05)
    monkeypatch.setattr("currant._remote.streams.END_OF_OUTPUT", 0.05)
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT))
    success = {"code": 0, "signal": None, "stopped": False, "forced": False}
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_answering, transport, tasks.cancel_scope)
            async with Runner(launcher=launcher, iterable=False) as runner:
                job = runner.start_soon(Command(["true"]))
                while not launcher.connection._processes:
                    await checkpoint()
                transport.send(Kind.STARTED, 1, {"pid": 7})
                transport.send(Kind.EXIT, 1, {"exit": success, "gone": True})
                result = await job.wait()
            tasks.cancel_scope.cancel()
    assert "it answers, but does not do what it is asked to" in str(result.error)


async def test_host_behind_a_slow_link_has_its_time_from_the_next_answer_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Much output may be on its way before an answer; an answered ping shows that it was read."""
    monkeypatch.setattr("currant._remote.peer.END_LIMIT", 0.05)
    transport = HostileTransport()
    launcher = RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT))
    with anyio.fail_after(LIMIT):
        async with launcher, anyio.create_task_group() as tasks:
            peer = launcher.connection.peer
            transport.send(Kind.STARTED, 1, {"pid": 7})
            process = await launcher.launch(Command(["cat"]))

            async def stop() -> None:
                with pytest.raises(HostLostError, match="it answers, but"):
                    await process.stop(15, 0.0)

            tasks.start_soon(stop)
            await anyio.wait_all_tasks_blocked()
            (expected,) = peer._expected.values()
            for _ in range(expected.pings):  # The answers to earlier pings.
                transport.send(Kind.PONG, 0)
            await anyio.sleep(0.2)
            assert peer.lost is None
            transport.send(Kind.PONG, 0)


async def keep_answering(transport: HostileTransport, scope: anyio.CancelScope) -> None:
    """Answer each frame with PONG."""
    while not scope.cancel_called:
        await anyio.sleep(0.02)
        if transport._files:
            transport.send(Kind.PONG, 0)


async def test_host_cannot_make_an_exit_of_nothing() -> None:
    """An exit without a code and a signal counts as an exit whose status is lost."""
    transport = HostileTransport()
    async with RemoteLauncher("h1", transport, heartbeat=Heartbeat(0.01, LIMIT)) as launcher:
        transport.send(Kind.STARTED, 1, {"pid": 7})
        process = await launcher.launch(Command(["cat"]))
        end = {"code": None, "signal": None, "stopped": False, "forced": False}
        transport.send(Kind.EXIT, 1, {"exit": end, "gone": True})
        assert await process.wait() == Exit(None, None)
        assert (await process.stop(15, 0)).is_status_lost
        transport.send(Kind.GONE, 0)
