"""Whatever happens to a driver, an agent or the link between them: no process is left."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from signal import SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1, alarm
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from currant import PIPE, Aborted, Command, Exited, LaunchError, RestartPolicy, Runner
from currant._agent.frames import Kind
from currant._agent.link import Link
from currant._agent.server import Server
from currant._remote import shipment
from currant._remote.connection import VERSION, Heartbeat
from currant._remote.launcher import RemoteLauncher
from currant._remote.shipment import agent_argv, payload
from currant._remote.transport import ArgvTransport
from currant._values.errors import HostLostError, HostUnreachableError
from tests.agents import over_pipe
from tests.holders import DEAF, commands, holding
from tests.programs import Programs
from tests.streams import read_all, read_until
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]


def kill_agent(launcher: RemoteLauncher) -> None:
    """Kill the agent with SIGKILL."""
    os.kill(launcher.connection.agent_pid, SIGKILL)


def cut(launcher: RemoteLauncher) -> None:
    """Cut the link without a goodbye: kill the relay."""
    transport = launcher.connection._transport
    assert isinstance(transport, ArgvTransport)
    assert transport._child is not None
    os.kill(transport._child.pid, SIGKILL)


def over_relay() -> RemoteLauncher:
    """Return a launcher whose link goes through a relay."""
    return over_pipe(relay=(-1, -1))


async def wait_for(lifeline: Lifeline, *words: str) -> None:
    """Wait until the commands of the event loop have written `words`."""
    await to_thread.run_sync(lifeline.wait_for, *words)


async def wait_for_end(lifeline: Lifeline) -> None:
    """Wait until no process holds the lifeline."""
    await to_thread.run_sync(lifeline.wait_for_end)


# ---- the host is lost ----


@pytest.mark.parametrize("lose", [kill_agent, cut])
async def test_lost_host_ends_every_wait(lose: Callable[[RemoteLauncher], None]) -> None:
    """Waits and stops raise, output ends after the bytes that arrived, and all else returns."""
    with anyio.fail_after(LIMIT):
        async with over_relay() as launcher:
            process = await launcher.launch(
                Command.shell(f"{DEAF}; echo hi; echo ready >&2; {FOREVER}", stdin=PIPE, grace=0.1)
            )
            assert await read_until(process.stderr, b"\n") == b"ready\n"
            errors: list[HostLostError] = []

            async def expect_loss(call: Callable[..., Any], *args: object) -> None:
                with pytest.raises(HostLostError) as caught:
                    await call(*args)
                errors.append(caught.value)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(expect_loss, process.wait)
                tasks.start_soon(expect_loss, process.wait_group)
                tasks.start_soon(expect_loss, process.stop, SIGTERM, HOURS)
                await anyio.wait_all_tasks_blocked()
                lose(launcher)
            await expect_loss(process.wait)
            await expect_loss(process.stop, SIGTERM, 0)
            assert {error.host for error in errors} == {"h1"}
            assert await read_all(process.stdout) == b"hi\n"
            assert await read_all(process.stderr) == b""
            assert process.stdin is not None
            for _ in range(2):
                with pytest.raises(anyio.BrokenResourceError):
                    await process.stdin.send(b"late")
            assert not await process.send_signal(SIGTERM)
            with pytest.raises(LaunchError, match="the host 'h1' is lost"):
                await launcher.launch(Command(["true"]))
            await launcher.sweep()
            await process.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdin.send(b"late")


async def test_known_exit_outlives_its_host() -> None:
    """A process that has ended with its group is not lost."""
    async with over_pipe() as launcher:
        process = await launcher.launch(Command.shell("echo hi; exit 3"))
        end = await process.wait()
        assert await read_all(process.stdout) == b"hi\n"
        kill_agent(launcher)
        await launcher.connection._over.wait()
        assert await process.wait() == await process.stop(SIGTERM, 0) == end
        assert end.code == 3


async def test_output_that_is_lost_after_the_exit_is_not_taken_for_complete() -> None:
    """The exit comes before output that nobody has read: the host still has the rest."""
    async with over_pipe() as launcher:
        process = await launcher.launch(Command(["head", "-c", "100000", "/dev/zero"]))
        await process.wait()
        kill_agent(launcher)
        await launcher.connection._over.wait()
        assert process.stdout is not None
        received = 0
        with pytest.raises(HostLostError):
            async for data in process.stdout:
                received += len(data)
        assert 0 < received < 100000


async def test_loss_during_a_stop_command_fails_that_command_alone() -> None:
    """The Runner goes on: other commands may run on other hosts."""
    command = Command(["sleep", "9999"], stop_command=["sleep", "9999"], grace=HOURS)
    launcher = over_pipe()
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher) as runner:
            await runner["sleep"].ready()
            runner["sleep"].kill()
            processes = launcher.connection._processes
            while len(processes) < 2 or not all(each.pid for each in processes.values()):
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            kill_agent(launcher)
            result = await runner["sleep"].wait()
    assert isinstance(result.error, HostLostError)


async def test_known_exit_is_told_although_leftovers_are_lost() -> None:
    """The exit is known, but not whether the rest of the group has ended."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            process = await launcher.launch(Command.shell(f"{FOREVER} & exit 3", grace=0.1))
            assert (await process.wait()).code == 3
            kill_agent(launcher)
            with pytest.raises(HostLostError):
                await process.stop(SIGTERM, HOURS)
            assert (await process.wait()).code == 3


@pytest.mark.parametrize("lose", [kill_agent, cut])
async def test_command_of_a_lost_host_has_failed(
    lose: Callable[[RemoteLauncher], None], lifeline: Lifeline
) -> None:
    """The command has no `Exited` message, and its processes are gone."""
    launcher = over_relay()
    with anyio.fail_after(LIMIT):
        async with Runner(commands(lifeline), launcher=launcher) as runner:
            for job in runner.jobs.values():
                await job.ready()
            await wait_for(lifeline, "plain", "deaf")
            lose(launcher)
            messages = [message async for message in runner]
            results = await runner.join()
        assert [result.status for result in results.values()] == ["failed"] * 2
        for result in results.values():
            assert isinstance(result.error, HostLostError)
            assert result.exit is None
        assert len([each for each in messages if isinstance(each, Aborted)]) == 2
        assert not [each for each in messages if isinstance(each, Exited)]
        await wait_for_end(lifeline)


async def test_lost_host_counts_as_a_failure_for_policies(lifeline: Lifeline) -> None:
    """The restart is tried, and fails as well; then the failure stops the others."""
    other = Command(["sleep", "9999"], name="other", restart="never", kill_others_on=None)
    failing = replace(
        holding(lifeline, "it"),
        restart=RestartPolicy("on-failure", max_restarts=1, delay=0),
        kill_others_on="failure",
    )
    launcher = over_pipe()
    with anyio.fail_after(LIMIT):
        async with Runner([failing, other], launcher=launcher) as runner:
            await runner["it"].ready()
            await wait_for(lifeline, "it")
            kill_agent(launcher)
            results = await runner.join()
    assert results["it"].status == "failed"
    assert results["it"].attempts == 2
    assert runner.barrier.thrown
    await wait_for_end(lifeline)


async def test_unread_output_does_not_hold_up_the_end(lifeline: Lifeline) -> None:
    """Without a driver, the agent drops the output, so that a command can end."""
    last = "head -c 1000000 /dev/zero; echo done >&9; exit"
    with anyio.fail_after(LIMIT):
        async with over_relay() as launcher:
            begin = f"{lifeline.hold('early')}; trap '{last}' TERM"
            # The child says it: dash loses a signal to a child that has not yet reset the trap.
            command = f"{begin}; ({lifeline.say('it')}; {EXEC_FOREVER}) & wait"
            await launcher.launch(Command.shell(command, grace=HOURS))
            await wait_for(lifeline, "it")
            cut(launcher)
            await wait_for(lifeline, "done")
            await wait_for_end(lifeline)


async def launch_deaf(launcher: RemoteLauncher, gate: Gate) -> None:
    """Launch a command that ignores SIGTERM, for hours or until `gate` opens."""
    line = f"trap '' TERM; echo deaf; {gate.wait}"
    process = await launcher.launch(Command.shell(line, name="deaf", grace=HOURS))
    await read_until(process.stdout, b"deaf\n")


async def test_escapee_of_a_lost_command_does_not_outlive_its_grace(
    lifeline: Lifeline, gate: Gate
) -> None:
    """The command may start on another host then, however long other commands take to end."""
    line = f"({lifeline.hold('escapee')}; exec setsid {FOREVER}) & {EXEC_FOREVER}"
    with anyio.fail_after(LIMIT):
        async with over_relay() as launcher:
            await launch_deaf(launcher, gate)
            await launcher.launch(Command.shell(line, name="quick", grace=0.1))
            await wait_for(lifeline, "escapee")
            cut(launcher)
            await wait_for_end(lifeline)
            gate.open()


async def test_escapee_of_a_command_that_has_ended_waits_for_no_other_command(
    lifeline: Lifeline, gate: Gate
) -> None:
    """Its command may start on another host, however long the others take to end."""
    escape = f"setsid sh -c '{lifeline.say('escapee')}; {EXEC_FOREVER}'"
    with anyio.fail_after(LIMIT):
        async with over_relay() as launcher:
            await launch_deaf(launcher, gate)
            line = f"{lifeline.hold('quick')}; {escape} & wait"
            quick = await launcher.launch(Command.shell(line, name="quick", grace=0.1))
            await wait_for(lifeline, "escapee")
            await quick.aclose()
            cut(launcher)
            await wait_for_end(lifeline)
            gate.open()


# ---- the heartbeat ----


async def test_silent_host_is_lost(lifeline: Lifeline) -> None:
    """A suspended agent sends nothing; once it is killed, its guard ends the commands."""
    launcher = over_pipe(heartbeat=Heartbeat(0.05, HOURS))
    with anyio.fail_after(LIMIT):
        async with launcher:
            process = await launcher.launch(holding(lifeline, "it"))
            await wait_for(lifeline, "it")
            os.kill(launcher.connection.agent_pid, SIGSTOP)
            # Before, a busy machine would be lost.
            launcher.connection._heartbeat = Heartbeat(0.05, 0.3)
            with pytest.raises(HostLostError, match=r"it was silent for 0\.3 s"):
                await process.wait()
    await wait_for_end(lifeline)


async def test_agent_ends_all_if_the_driver_is_silent(lifeline: Lifeline) -> None:
    """Each command gets its grace, and the driver learns that the connection has ended."""
    launcher = over_pipe(heartbeat=Heartbeat(HOURS, HOURS, 0.2))
    with anyio.fail_after(LIMIT):
        async with launcher:
            # On a slow machine, the driver is silent for too long before it launches.
            with pytest.raises((HostLostError, LaunchError)):
                process = await launcher.launch(holding(lifeline, "it", DEAF))
                await process.wait()
            await wait_for_end(lifeline)


async def test_driver_that_goes_on_takes_the_hold_back() -> None:
    """It need not be asked to."""
    launcher = over_pipe(heartbeat=Heartbeat(0.01, HOURS, HOURS))
    with anyio.fail_after(LIMIT):
        async with launcher:
            await launcher.hold()
            assert launcher.connection.is_held
            while launcher.connection.is_held:  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.01)
            kill_agent(launcher)
            await launcher.connection._over.wait()
            await launcher.hold()  # which a lost host does not hold up


async def test_host_that_only_answers_pings_is_not_lost() -> None:
    """A host stays up however long its commands write nothing."""
    with anyio.fail_after(LIMIT):
        async with over_pipe(heartbeat=Heartbeat(0.01, HOURS, HOURS)) as launcher:
            process = await launcher.launch(Command(["sleep", "9999"]))
            launched_at = anyio.current_time()
            while launcher.connection.peer.link.heard_at < launched_at + 0.1:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await process.stop(SIGTERM, HOURS)


class TestOnTheClock:
    """An agent in this process, on a clock that only the test sets forward."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Use trio with that clock."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock()}

    async def test_agent_waits_for_a_silent_driver_only_while_it_is_held(self) -> None:
        """A driver that sends HOLD before it is suspended may be silent for any time."""
        import trio  # noqa: PLC0415 - optional

        clock: Any = trio.lowlevel.current_clock()
        heard, heard_one = list[Kind](), anyio.Semaphore(0)

        def hear(kind: Kind, number: int, body: bytes) -> None:
            heard.append(kind)
            heard_one.release()

        async def ask(kind: Kind, **body: object) -> Kind:
            driver.send(kind, 0, body)
            await heard_one.acquire()
            return heard.pop()

        ours, theirs = socket.socketpair()
        signals = os.pipe()
        with ours, theirs:
            for each in (ours, theirs):
                each.setblocking(False)
            driver = Link(ours.fileno(), ours.fileno())
            server = Server(Link(theirs.fileno(), theirs.fileno()), signals[0])
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(driver.write)
                tasks.start_soon(driver.read, hear)
                tasks.start_soon(server.run)
                greeting = {"version": VERSION, "silence": 30.0, "guard": False, "replaces": None}
                assert await ask(Kind.HELLO, **greeting) == Kind.WELCOME
                clock.jump(29)
                assert await ask(Kind.HOLD, held=True, question=1) == Kind.ANSWER
                clock.jump(HOURS)
                await anyio.wait_all_tasks_blocked()
                assert not server._over.is_set()
                assert await ask(Kind.HOLD, held=False, question=2) == Kind.ANSWER
                clock.jump(29)
                await anyio.wait_all_tasks_blocked()
                assert not server._over.is_set()
                clock.jump(1)
                await server._over.wait()
                tasks.cancel_scope.cancel()
        for fd in signals:
            os.close(fd)


# ---- the end of an agent ----


async def test_agent_that_is_asked_to_end_tells_how_its_commands_end(lifeline: Lifeline) -> None:
    """As at a shutdown: exits count as the commands' own, and no output is lost."""
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            obeys = await launcher.launch(
                Command.shell(
                    f"{lifeline.hold('early')}; trap 'echo bye; exit 7' TERM; "
                    f"({lifeline.say('a')}; {EXEC_FOREVER}) & wait"
                )
            )
            deaf = await launcher.launch(holding(lifeline, "deaf", DEAF))
            await wait_for(lifeline, "a", "deaf")
            os.kill(launcher.connection.agent_pid, SIGTERM)
            end = await obeys.wait()
            assert (end.code, end.stopped) == (7, False)
            assert await read_all(obeys.stdout) == b"bye\n"
            end = await deaf.wait()
            assert (end.signal, end.stopped, end.forced) == (SIGKILL, False, False)
            await launcher.connection._over.wait()
            with pytest.raises(LaunchError, match="the agent got SIGTERM"):
                await launcher.launch(Command(["true"]))
    await wait_for_end(lifeline)


async def test_agent_that_is_asked_to_end_sends_all_output_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the driver receives it late: the end of a command must not overtake its output."""
    monkeypatch.setattr("currant._agent.server.FLUSH_LIMIT", LIMIT)
    kinds = list[Kind]()

    def hear(kind: Kind, number: int, body: bytes) -> None:
        kinds.append(kind)
        if kind == Kind.DYING:
            assert b"SIGTERM" in body
        if kind == Kind.GONE:
            tasks.cancel_scope.cancel()

    ours, theirs = socket.socketpair()
    signals = os.pipe()
    with ours, theirs, anyio.fail_after(LIMIT):
        for each in (ours, theirs):
            each.setblocking(False)
        driver = Link(ours.fileno(), ours.fileno())
        server = Server(Link(theirs.fileno(), theirs.fileno()), signals[0])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(driver.write)
            tasks.start_soon(server.run)
            greeting = {"version": VERSION, "silence": HOURS, "guard": False, "replaces": None}
            driver.send(Kind.HELLO, 0, greeting)
            spec = {"argv": ["head", "-c", "900000", "/dev/zero"], "name": "a"}
            driver.send(Kind.START, 1, {"spec": spec, "window": 1_000_000})
            while not server._processes:
                await anyio.lowlevel.checkpoint()
            await server._processes[1].drained()
            os.write(signals[1], bytes([SIGUSR1]))  # An ignored signal, which came during a start.
            await anyio.wait_all_tasks_blocked()
            assert not server._over.is_set()
            os.write(signals[1], bytes([SIGTERM]))
            await server._over.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(driver.read, hear)
    for fd in signals:
        os.close(fd)
    assert kinds.index(Kind.DYING) < kinds.index(Kind.EOF)
    assert [kind for kind in kinds if kind in (Kind.EOF, Kind.CLOSED)][-1] == Kind.CLOSED


async def test_agent_that_ends_refuses_starts_at_once() -> None:
    """Its commands may need long to end, and another host could run the command."""

    async def start() -> None:
        with suppress(LaunchError):  # The agent may have started the first one.
            await launcher.launch(Command.shell(EXEC_FOREVER, grace=0.1))

    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            line = f"trap '' TERM; echo deaf; {FOREVER} & wait; {FOREVER}"
            deaf = await launcher.launch(Command.shell(line, grace=HOURS))
            assert deaf.stdout is not None
            assert await deaf.stdout.receive() == b"deaf\n"
            agent = launcher.connection.agent_pid
            os.kill(agent, SIGSTOP)
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(start)
                await anyio.wait_all_tasks_blocked()
                os.kill(agent, SIGTERM)
                os.kill(agent, SIGCONT)
            assert launcher.connection.is_dying
            with pytest.raises(LaunchError, match="its agent is about to end") as caught:
                await launcher.launch(Command(["true"]))
            assert isinstance(caught.value.__cause__, HostLostError)
            assert launcher.connection.peer.lost is None
            await deaf.aclose()


async def test_exits_are_known_on_a_host_that_ignores_the_signal_for_them() -> None:
    """Each program inherits that from the program that runs logins, for example."""
    async with over_pipe(before='set -- env --ignore-signal=CHLD "$@"') as launcher:
        process = await launcher.launch(Command.shell("exit 3"))
        assert (await process.wait()).code == 3


async def test_commands_do_not_inherit_that_the_agent_handles_signals() -> None:
    """If the agent ignored a signal, every command would ignore it, too."""
    async with over_pipe() as launcher:
        ignored = Command(["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])
        process = await launcher.launch(ignored)
        lines = (await read_all(process.stdout)).split(b"\n")
        handled = sum(1 << number - 1 for number in (SIGHUP, SIGINT, SIGTERM))
        # libc may ignore signals of its own.
        assert [int(line.split()[1], 16) & handled for line in lines if line] == [0, 0]


# ---- the end of a driver ----

DRIVER = """
import json, os, signal, sys
import anyio
from currant import Runner
from tests.agents import over_pipe
from tests.holders import commands
from tests.lifeline import Lifeline

options = json.loads(sys.argv[1])
lifeline = Lifeline.__new__(Lifeline)
lifeline._path = options["lifeline"]

async def main():
    async with Runner(commands(lifeline), launcher=over_pipe()) as runner:
        await runner.join()

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""


@pytest.mark.parametrize("number", [SIGKILL, SIGTERM])
async def test_killed_driver_leaves_nothing(
    number: int, lifeline: Lifeline, anyio_backend: Any
) -> None:
    """The agent sees the end of the link, and ends all commands."""
    backend, options = anyio_backend
    with Programs(DRIVER, backend, use_uvloop=bool(options.get("use_uvloop"))) as programs:
        driver = programs.run({"lifeline": str(lifeline._path)})
        lifeline.wait_for("plain", "deaf")
        driver.send_signal(number)
        lifeline.wait_for_end()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
async def test_driver_killed_during_many_starts_leaves_nothing(
    seconds: float, lifeline: Lifeline, anyio_backend: Any
) -> None:
    """The agent starts no more commands, and ends those that it has started."""
    backend, options = anyio_backend
    program = DRIVER.replace(
        "commands(lifeline)", "[holding(lifeline, f'{n}') for n in range(100)]"
    )
    program = program.replace("import commands", "import holding")
    with Programs(program, backend, use_uvloop=bool(options.get("use_uvloop"))) as programs:
        driver = programs.run({"lifeline": str(lifeline._path)})
        lifeline.wait_for("shell")
        with suppress(subprocess.TimeoutExpired):
            driver.wait(seconds)
        driver.kill()
        lifeline.wait_for_end()


FORGOTTEN = """
import asyncio, json, sys
from currant import Command
from tests.agents import over_pipe

async def forgotten(started):
    async with over_pipe() as launcher:
        process = await launcher.launch(Command.shell("trap '' TERM; echo ready; exec sleep 9999"))
        await process.stdout.receive()
        started.set()
        try:
            await process.wait()
        finally:
            task = asyncio.current_task()
            with __import__("anyio").CancelScope(shield=True):
                print(await process.stop(15, 0.05))

async def main():
    started = asyncio.Event()
    global task
    task = asyncio.create_task(forgotten(started))
    await started.wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_link_works_until_the_end_of_asyncio(anyio_backend: object) -> None:
    """`asyncio.run` cancels all tasks at its end, and the tasks of the link serve the others."""
    with Programs(FORGOTTEN, "asyncio", use_uvloop=False) as programs:
        output, errors = programs.run({}).communicate(timeout=LIMIT)
        assert (output, errors) == (b"stopped (SIGKILL)\n", b"")


# ---- hosts that cannot be reached ----


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["/nonexistent/ssh"], "this machine has no program '/nonexistent/ssh'"),
        (["/bin/sh", "-c", "echo 'Permission denied' >&2; exit 255"], "Permission denied"),
        (["/bin/sh", "-c", "exec /nonexistent/python"], "/nonexistent/python: not found"),
        (["/bin/sh", "-c", "exit 1"], "it has closed the connection"),
        (["/bin/sh", "-c", "echo Banner >&2; echo 'Log in as me'"], "Log in as me\nBanner"),
        (
            ["/bin/sh", "-c", r"printf '\n\0currant agent\0\n3.8\n'"],
            "Python 3.8 on h1 is too old: currant needs 3.9",
        ),
        (["/bin/sh", "-c", r"printf '\n\0currant agent\0\n3.9\n'"], "the connection has ended"),
        (["yes"], "the host sends something else"),
        (["/bin/sh", "-c", r"printf '\033[31mred\a' >&2"], "h1': red"),
    ],
)
async def test_unreachable_host_is_told_on_entry(argv: list[str], reason: str) -> None:
    """The error has the last message of the transport, and is not in a group."""
    with anyio.fail_after(LIMIT), pytest.raises(HostUnreachableError) as caught:
        async with RemoteLauncher("h1", ArgvTransport(argv)):
            raise AssertionError("not entered")
    assert reason in str(caught.value)
    assert isinstance(caught.value, ConnectionError)


async def test_host_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time limit, the host counts as unreachable."""
    monkeypatch.setattr("currant._remote.connection.CONNECT_LIMIT", 0.05)
    with pytest.raises(HostUnreachableError, match=r"no agent has answered in 0\.05 s"):
        async with RemoteLauncher("h1", ArgvTransport(["sleep", "9999"])):
            raise AssertionError("not entered")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a driver a second to greet an agent."""
    text_of = shipment._text_of

    def hasten(package: str, name: str) -> str:
        return text_of(package, name).replace("GREETING_LIMIT = 60", "GREETING_LIMIT = 1")

    monkeypatch.setattr(shipment, "_text_of", hasten)


@pytest.mark.backends("asyncio")
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("sent", [0, 1000, None])
def test_agent_that_is_not_greeted_ends(sent: int | None) -> None:
    """The link may fall silent before the driver has told which silence to accept."""
    with subprocess.Popen(
        agent_argv(sys.executable), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as agent:
        try:
            assert agent.stdin is not None
            agent.stdin.write(payload()[:sent])
            agent.stdin.flush()
            assert agent.wait(LIMIT) == -SIGALRM
        finally:
            agent.kill()


def test_greeting_ends_the_time_limit() -> None:
    """The limit that the first program has set is for the greeting alone."""
    alarm(3600)
    try:
        Server(cast("Link", None), signals=0)._greet(0, {})
    finally:
        left = alarm(0)
    assert left == 0


async def test_entry_may_be_cancelled() -> None:
    """A cancellation at any point of the entry leaves nothing."""
    for turns in (0, 1, 5, 20, 100):
        async with anyio.create_task_group() as tasks:

            async def enter() -> None:
                async with over_pipe():
                    await anyio.sleep_forever()

            tasks.start_soon(enter)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()


async def test_login_shell_may_print() -> None:
    """The driver skips all bytes before the mark."""
    noise = "head -c 100000 /dev/zero | tr '\\0' '\\n'; echo 'Welcome!' >&2"
    async with over_pipe(before=noise) as launcher:
        process = await launcher.launch(Command(["echo", "hi"]))
        assert await read_all(process.stdout) == b"hi\n"


async def test_text_of_the_login_does_not_explain_a_loss() -> None:
    """A server may show a banner, and ssh says nothing if the agent is killed hours later."""
    with anyio.fail_after(LIMIT):
        async with over_pipe(before="echo 'AUTHORIZED USE ONLY' >&2") as launcher:
            kill_agent(launcher)
            lost = await launcher.connection.lost()
    assert lost.reason == "the connection has ended"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HostLostError("h1", "it is gone"), "the host 'h1' is lost: it is gone"),
        (HostUnreachableError("h1", "no route"), "cannot reach the host 'h1': no route"),
    ],
)
async def test_error_about_a_host_can_be_pickled(error: HostLostError, text: str) -> None:
    """A copy of the error has its fields, and the same text."""
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert type(each) is type(error)
        assert (each.host, each.reason, str(each)) == ("h1", error.reason, text)
