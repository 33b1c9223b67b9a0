"""Tests of many hosts behind one Runner: placement, variables, and commands that are refused."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

import currant
from currant import (
    Command,
    CommandError,
    CommandNotFoundError,
    CurrantError,
    Exited,
    HostLost,
    HostUnreachableError,
    HostUp,
    LaunchError,
    Line,
    NoCapacityError,
    RestartPolicy,
    Runner,
    Started,
    UnknownNameError,
    UnknownOptionError,
    ready,
)
from currant._remote.connection import CONNECT_LIMIT
from currant.hosts import LOCAL, Host, Hosts, argv, on_each
from currant.hosts._hosts import HostsOptions
from currant.hosts._member import Member
from tests.hosts import piped, piped_hosts
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

    from currant._remote.transport import ArgvTransport
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]

MISSING = Host("missing", python="/nonexistent/python")
"""A host that cannot be reached."""


def waiting_host(folder: Path, gate: Gate) -> Host:
    """Return a host, called late, that answers when the gate opens."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{gate.wait} >&2\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return Host("late", python=python)


async def output_of(hosts: Hosts, *commands: Command) -> dict[str, str]:
    """Run commands, and return their outputs."""
    with anyio.fail_after(LIMIT):
        async with Runner(commands, launcher=hosts, capture=True) as runner:
            results = await runner.join()
    results.check()
    return {name: result.text for name, result in results.items()}


# ---- where, and with what ----


async def test_commands_run_on_the_hosts_and_results_name_them() -> None:
    """Both hosts run the commands that are pinned to them, and share the others."""
    hosts = piped_hosts("a,b", per_host=2)
    show = Command.shell("echo $CURRANT_HOST", name="show", replicas=4)
    with anyio.fail_after(LIMIT):
        async with Runner(
            [*on_each(hosts, Command.shell("echo $CURRANT_HOST", name="where")), show],
            launcher=hosts,
            capture=True,
        ) as runner:
            assert list(hosts.up) == ["a", "b"]
            assert all(info.cpus > 0 and info.python for info in hosts.up.values())
            messages = [message async for message in runner]
    ups = {message.host for message in messages if isinstance(message, HostUp)}
    started = {each.command: each.host for each in messages if isinstance(each, Started)}
    assert ups == {"a", "b"}
    assert (started["where@a"], started["where@b"]) == ("a", "b")
    for name, result in runner.results.items():
        assert result.text == f"{result.host}\n" == f"{started[name]}\n"
        assert runner[name].host == result.host
    assert dict(hosts.up) == {}


async def test_command_gets_the_variables_and_the_folder_of_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of the command win, then those of its host, of `Hosts`, and of this program."""
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("FORWARDED", "program")
    monkeypatch.setenv("FOR_ALL", "program")
    hosts = piped_hosts(
        [
            Host("a", cwd=tmp_path, env={"FOR_HOST": "host", "OWN": "host"}, gpus=["x", "y", "z"]),
            Host("b"),
        ],
        forward_env=("FORWARDED", "FOR_ALL", "NOT_SET"),
        env={"FOR_ALL": "all", "FOR_HOST": "all"},
        cwd="/",
    )
    line = "echo $PWD $FORWARDED $FOR_ALL $FOR_HOST $OWN $CUDA_VISIBLE_DEVICES ${NOT_SET-none}"
    own = {"OWN": "own"}
    texts = await output_of(
        hosts,
        Command.shell(line, name="a", host="a", env=own, resources={"gpus": 2}),
        Command.shell(line, name="inside", host="a", cwd="inside"),
        Command.shell(line, name="b", host="b", env={**own, "CUDA_VISIBLE_DEVICES": "7"}),
        Command.shell(line, name="bare", host="b", inherit_env=False),
    )
    assert texts == {
        "a": f"{tmp_path} program all host own x,y none\n",
        "inside": f"{tmp_path}/inside program all host host none\n",
        "b": "/ program all all own 7 none\n",
        "bare": "/ none\n",
    }


async def test_this_machine_is_a_host_like_others() -> None:
    """`LOCAL` needs no connection, and messages of its processes name no host."""
    hosts = piped_hosts([LOCAL, "a"])
    show = Command.shell("echo $CURRANT_HOST", name="show")
    with anyio.fail_after(LIMIT):
        async with Runner(on_each(hosts, show), launcher=hosts, capture=True) as runner:
            results = await runner.join()
    assert {name: (each.text, each.host) for name, each in results.items()} == {
        "show@local": ("local\n", None),
        "show@a": ("a\n", "a"),
    }


async def test_command_of_a_probe_runs_beside_its_process_and_takes_no_place() -> None:
    """The probe runs although the host has a single slot."""
    hosts = piped_hosts("a,b", per_host=1)
    probe = ready.command(["sh", "-c", 'test "$CURRANT_HOST" = b'])
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            await runner.start(Command.shell(EXEC_FOREVER, name="a", host="a"))
            job = await runner.start(Command.shell(EXEC_FOREVER, name="b", host="b", ready=probe))
            assert job.host == "b"
            assert {name: info.running for name, info in hosts.up.items()} == {"a": 1, "b": 1}
            runner.kill()


# ---- waiting for a place ----


async def test_command_waits_for_a_place_and_a_kill_ends_the_wait(gate: Gate) -> None:
    """The job is queued, and after the kill nothing of the command is left."""
    hosts = piped_hosts("a", per_host=1)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            await runner.start(Command.shell(gate.wait, name="first"))
            second = runner.start_soon(Command(["true"], name="second"))
            third = runner.start_soon(Command.shell(EXEC_FOREVER, name="third"))
            await anyio.wait_all_tasks_blocked()
            assert (second.state, second.pid, third.state) == ("queued", None, "queued")
            second.kill()
            result = await second.wait()
            assert (result.status, result.exit, result.host) == ("stopped", None, None)
            gate.open()
            assert (await runner["first"].wait()).status == "succeeded"
            while third.pid is None:
                await anyio.lowlevel.checkpoint()
            runner.kill()


async def test_all_that_wait_get_their_turn() -> None:
    """If there are many more commands than places, each command still runs, and only once."""
    hosts = piped_hosts("a,b", per_host=4)
    commands = [Command(["true"], name=f"c{number}") for number in range(100)]
    with anyio.fail_after(2 * LIMIT):
        async with Runner(commands, launcher=hosts) as runner:
            results = await runner.join()
    assert results.ok
    assert {result.attempts for result in results.values()} == {1}
    assert {result.host for result in results.values()} == {"a", "b"}


async def test_cancelled_launch_gives_its_place_back(gate: Gate) -> None:
    """This holds for a launch that waits, and for one whose process has just started."""
    hosts = piped_hosts("a", per_host=1)
    with anyio.fail_after(LIMIT):
        async with hosts:
            first = await hosts.launch(Command.shell(EXEC_FOREVER, name="first"))
            with anyio.move_on_after(0.01):
                await hosts.launch(Command(["true"], name="second"))
                pytest.fail("there was no place")
            await first.aclose()
            await first.aclose()
            assert hosts.up["a"].running == 0
            with pytest.raises(LaunchError):
                await hosts.launch(Command(["/nonexistent/program"]))
            assert hosts.up["a"].running == 0
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hosts.launch, Command(["true"], name="third"))
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            fourth = await hosts.launch(Command(["true"], name="fourth"))
            await fourth.aclose()
            assert hosts.up["a"].running == 0


# ---- what is refused ----


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"host": "c"}, "there is no host 'c'; there are: 'a', 'b'"),
    ({"resources": {"gpus": 3}}, "it needs 3 gpus, and the most on one host is 2"),
    ({"resources": {"gpus": 1}, "host": "b"}, "the most on its host 'b' is 0"),
    ({"resources": {"slots": 9}}, "it needs 9 slots, and the most on one host is 8"),
    ({"resources": {"cpus": 10**6}}, "it needs 1000000 cpus"),
]


async def test_request_that_no_host_could_meet_is_refused() -> None:
    """The entry raises; for a command that is added later, the start fails."""
    hosts = piped_hosts([Host("a", gpus=2), "b"], per_host=8)
    impossible = [
        Command(["true"], name=f"x{number}", **options)
        for number, (options, _) in enumerate(REFUSED)
    ]
    with anyio.fail_after(LIMIT):
        with pytest.raises(NoCapacityError, match="no host can run 'x0': there is no host 'c'"):
            async with Runner([Command(["true"]), impossible[0]], launcher=hosts):
                pytest.fail("the block was entered")
        async with Runner(launcher=hosts) as runner:
            for command, (_, text) in zip(impossible, REFUSED, strict=True):
                with pytest.raises(NoCapacityError, match=re.escape(text)) as caught:
                    await hosts.check([command])
                assert caught.value.name == command.name
                result = await runner.start_soon(command).wait()
                assert isinstance(result.error, LaunchError)
                assert isinstance(result.error.__cause__, NoCapacityError)
                assert text in str(result.error)


async def test_program_is_looked_up_on_each_host_that_could_run_the_command(
    tmp_path: Path,
) -> None:
    """A command runs on a host with its program; if there is none, the entry fails."""
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho $CURRANT_HOST\n")
    tool.chmod(0o755)
    hosts = piped_hosts(["a", Host("b", env={"PATH": f"{tmp_path}:/bin:/usr/bin"})])
    commands = [Command(["tool", str(number)], name=f"tool{number}") for number in range(4)]
    assert set((await output_of(hosts, *commands)).values()) == {"b\n"}
    with pytest.raises(CommandNotFoundError, match=r"'x': on .: there is no program 'nowhere'"):
        async with Runner([Command(["nowhere"], name="x")], launcher=hosts):
            pytest.fail("the block was entered")
    with pytest.raises(CommandNotFoundError, match="'x': on a: there is no program 'tool'"):
        async with Runner([Command(["tool"], name="x", host="a")], launcher=hosts):
            pytest.fail("the block was entered")
    with pytest.raises(CommandNotFoundError, match="'x:stop': on a: there is no program 'tool'"):
        async with Runner(
            [Command(["true"], name="x", host="a", stop_command=["tool"])], launcher=hosts
        ):
            pytest.fail("the block was entered")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hosts": []}, "at least one host"),
        ({"hosts": ""}, "at least one host"),
        ({"hosts": "a,a"}, "two hosts are named 'a'"),
        ({"hosts": ["a", Host("a", slots=2)]}, "two hosts are named 'a'"),
        ({"hosts": "n[1-"}, "cannot read the host list 'n[1-': a bracket is not closed"),
        ({"hosts": 3}, "hosts must be a text or a sequence of hosts, not 3"),
        ({"hosts": [3]}, "a host list must be a str, not 3"),
        ({"per_host": 0}, "per_host must be an integer >= 1, not 0"),
        ({"per_host": "gpus"}, "per_host must be an integer >= 1, not 'gpus'"),
        ({"wait_for": 0}, "wait_for must be an integer >= 1, not 0"),
        ({"wait_for": "any"}, "wait_for must be an integer >= 1, not 'any'"),
        ({"silence": 0}, "silence must be a positive number of seconds, not 0"),
        ({"silence": None}, "silence must be a positive number of seconds, not None"),
        ({"reconnect": "yes"}, "reconnect must be True or False, not 'yes'"),
        ({"connect": "ssh"}, "connect must be a function such as ssh(), not 'ssh'"),
        ({"cwd": 3}, "cwd must be a str or a path, not 3"),
        ({"env": {"A=": "b"}}, "the name of a variable must not be empty or contain '='"),
        ({"forward_env": "PATH"}, "forward_env must be names such as ('PATH',), not 'PATH'"),
        ({"forward_env": [3]}, "each name of forward_env must be a str, not 3"),
        ({"forward_env": ["A=b"]}, "must not be empty or contain '='"),
    ],
)
def test_invalid_option_is_refused_when_built(options: dict[str, Any], text: str) -> None:
    """The error names the option, and shows the value."""
    given: dict[str, Any] = {"hosts": "a", **options}
    with pytest.raises(CommandError, match=re.escape(text)):
        Hosts(**given)


def test_unknown_option_is_told_with_those_there_are() -> None:
    """A mistake in a name gets a hint."""
    with pytest.raises(UnknownOptionError, match="Hosts has no option 'perhost'"):
        Hosts("a", perhost=3)  # type: ignore[call-arg]


def test_options_are_those_of_the_constructor() -> None:
    """`HostsOptions` has the keyword arguments of `Hosts`, with the same types."""
    parameters = inspect.signature(Hosts).parameters.values()
    keywords = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert {
        name: ref.__forward_arg__ for name, ref in HostsOptions.__annotations__.items()
    } == keywords


def test_hosts_come_from_files_and_from_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from_file` and `from_slurm` accept the options of `Hosts`."""
    path = tmp_path / "hosts"
    path.write_text("a slots=2\nn[1-2]\n")
    read = Hosts.from_file(path, per_host=4)
    assert list(read.hosts.values()) == [Host("a", slots=2), Host("n1"), Host("n2")]
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_TASKS_PER_NODE", "3(x2)")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "6(x2)")
    monkeypatch.delenv("SLURM_GPUS_ON_NODE", raising=False)
    allocated = Hosts.from_slurm(silence=9)
    assert list(allocated.hosts.values()) == [
        Host("n1", slots=3, cpus=6),
        Host("n2", slots=3, cpus=6),
    ]


def test_command_on_each_host_is_pinned_and_named() -> None:
    """A function may return another command for each host."""
    commands = on_each("a,8/me@b", "uptime -p")
    assert [(each.name, each.host, each.argv) for each in commands] == [
        ("uptime@a", "a", ("uptime", "-p")),
        ("uptime@b", "b", ("uptime", "-p")),
    ]
    made = on_each([Host("a", cpus=3), "b"], lambda host: ["make", f"-j{host.cpus or 1}"])
    assert [each.argv[1] for each in made] == ["-j3", "-j1"]
    with pytest.raises(CommandError, match="on_each runs it on 'a', but host='c'"):
        on_each("a", Command(["x"], host="c"))


def test_commands_on_each_host_depend_on_their_copies_there() -> None:
    """This holds for replicas, too; a name of another command stays as it is."""
    db = Command(["db"], name="db", replicas=2)
    web = Command(
        ["web"],
        name="web",
        after={"db": "started", "db.2": "ready", "seed": "succeeded", "db.x": None},
        restart_with=["db", "seed"],
    )
    _, _, web_a, web_b = on_each("a,b", db, lambda _: web)
    assert dict(web_a.after) == {
        "db@a": "started",
        "db@a.2": "ready",
        "seed": "succeeded",
        "db.x": None,
    }
    assert web_b.restart_with == ("db@b", "seed")
    assert on_each("a", db)[0] == replace(db, name="db@a", host="a")


# ---- entry and exit ----


async def test_host_that_cannot_be_reached_is_told_and_others_go_on() -> None:
    """A command that is pinned to such a host fails, with the error of the host as its cause."""
    hosts = piped_hosts(["a", MISSING])
    with anyio.fail_after(LIMIT):
        async with Runner(on_each(hosts, "true"), launcher=hosts) as runner:
            messages = [message async for message in runner]
    lost = [message for message in messages if isinstance(message, HostLost)]
    assert [(each.host, type(each.error)) for each in lost] == [("missing", HostUnreachableError)]
    result = runner.results["true@missing"]
    assert isinstance(result.error, LaunchError)
    assert isinstance(result.error.__cause__, HostUnreachableError)
    assert "/nonexistent/python" in str(result.error)
    assert runner.results["true@a"].status == "succeeded"


async def test_entry_fails_if_no_host_can_be_reached() -> None:
    """One error names all hosts, with each reason once."""
    hosts = piped_hosts([replace(MISSING, name=name) for name in ("n1", "n2", "n3")])
    with anyio.fail_after(LIMIT):
        with pytest.raises(HostUnreachableError, match=r"'n\[1-3\]': .*/nonexistent/python"):
            async with Runner(["true"], launcher=hosts):
                pytest.fail("the block was entered")
        with pytest.raises(HostUnreachableError):  # It may be tried again.
            async with hosts:
                pytest.fail("the block was entered")


async def test_entry_waits_for_as_many_hosts_as_asked_for(tmp_path: Path, gate: Gate) -> None:
    """The other hosts take commands as soon as they are up."""
    hosts = piped_hosts(["a", waiting_host(tmp_path, gate)], wait_for=1)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            assert list(hosts.up) == ["a"]
            job = runner.start_soon(Command(["true"], host="late"))
            await anyio.wait_all_tasks_blocked()
            assert job.state == "queued"
            gate.open()
            assert (await job.wait()).host == "late"
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts):
            pass  # A host that is still being connected to holds nothing up.


async def test_command_that_a_late_host_is_too_small_for_has_failed(
    tmp_path: Path, gate: Gate
) -> None:
    """Until the host is up, nobody knows how many processors it has."""
    hosts = piped_hosts(["a", waiting_host(tmp_path, gate)], wait_for=1)
    large = Command(["true"], name="large", host="late", resources={"cpus": 100_000})
    with anyio.fail_after(LIMIT):
        async with Runner([large], launcher=hosts) as runner:
            await anyio.wait_all_tasks_blocked()
            assert runner["large"].state == "queued"
            gate.open()
            error = (await runner["large"].wait()).error
    assert isinstance(error, LaunchError)
    assert isinstance(error.__cause__, NoCapacityError)
    assert "it needs 100000 cpus, and the most on its host 'late' is" in str(error)


async def test_host_without_a_way_is_refused_on_entry() -> None:
    """The error is that of the way, and nothing is started."""
    hosts = Hosts([Host("a", python="it's"), "b"], connect=argv(["false"], as_line=True))
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandError, match="host 'a': field 'python': a word for"):
            async with Runner(["true"], launcher=hosts):
                pytest.fail("the block was entered")


async def test_kill_ends_the_wait_for_hosts() -> None:
    """No command starts then; each is stopped, and the body runs as after any kill."""
    hosts = piped_hosts("a", connect=argv(["/bin/sh", "-c", "exec sleep 9999"]))
    runner = Runner(["true"], launcher=hosts)

    async def kill() -> None:
        await anyio.wait_all_tasks_blocked()
        runner.kill("enough")

    with anyio.fail_after(CONNECT_LIMIT - 1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill)
            async with runner:
                assert not hosts.up
    assert runner.results["true"].status == "stopped"
    assert runner.results["true"].attempts == 0


async def test_cancellation_ends_the_wait_for_hosts() -> None:
    """The block is not entered, and no connection is left."""
    hosts = piped_hosts("a", connect=argv(["/bin/sh", "-c", "exec sleep 9999"]))
    with anyio.fail_after(CONNECT_LIMIT - 1), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_blocked, scope)
            async with Runner(["true"], launcher=hosts):
                pytest.fail("the block was entered")
    assert scope.cancelled_caught


async def _cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


async def test_kill_ends_the_entry_although_a_host_hangs(tmp_path: Path, gate: Gate) -> None:
    """The kill also ends the program that connects to the host."""
    hosts = piped_hosts(["a", waiting_host(tmp_path, gate)])
    runner = Runner([Command.shell(EXEC_FOREVER, name="it")], launcher=hosts)
    with anyio.fail_after(CONNECT_LIMIT / 2):
        async with anyio.create_task_group() as tasks:

            async def kill() -> None:
                while "a" not in hosts.up:
                    await anyio.lowlevel.checkpoint()
                runner.kill()

            tasks.start_soon(kill)
            async with runner:
                pass
    assert runner.results["it"].status == "stopped"
    assert runner.results["it"].attempts == 0


@pytest.mark.backends("asyncio")
async def test_hosts_serve_one_runner_at_a_time() -> None:
    """After the block of the first Runner, another Runner may use the hosts."""
    hosts = piped_hosts("a")
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts):
            with pytest.raises(RuntimeError, match="has already been entered"):
                async with Runner(launcher=hosts):
                    pytest.fail("the block was entered")
        async with Runner(["true"], launcher=hosts) as runner:
            assert (await runner.join()).ok
    with pytest.raises(CurrantError, match=r"Hosts\.launch works while a Runner"):
        await hosts.launch(Command(["true"]))
    with pytest.raises(CurrantError, match=r"Hosts\.hold works while a Runner"):
        await hosts.hold()


def test_end_of_asyncio_run_stops_commands_with_their_grace(lifeline: Lifeline) -> None:
    """`asyncio.run` also cancels the tasks of the connections directly."""
    hosts = piped_hosts("a,b")
    line = (
        f"trap 'echo bye >&9; exit' TERM; {lifeline.hold('up')}; echo; while :; do sleep 0.05; done"
    )
    commands = on_each(hosts, Command.shell(line, name="job", grace=LIMIT))

    are_up = asyncio.Event()

    async def main() -> None:
        task = asyncio.create_task(run())
        await are_up.wait()
        assert not task.done()

    async def run() -> None:
        async with Runner(commands, launcher=hosts) as runner:
            lines = 0
            async for message in runner:
                lines += isinstance(message, Line)
                if lines == len(commands):
                    are_up.set()

    asyncio.run(main())
    assert lifeline.wait_for_end() == {"up", "bye"}


# ---- hosts that come and go on request ----


async def test_added_host_takes_what_has_waited(gate: Gate) -> None:
    """Several hosts may be added at once; one that cannot be reached is not added."""
    hosts = piped_hosts("a", per_host=1)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            await runner.start(Command.shell(gate.wait, name="first"))
            waiting = runner.start_soon(Command(["true"], name="second"))
            with pytest.raises(HostUnreachableError, match="'missing'"):
                await hosts.add(MISSING)
            with pytest.raises(CommandError, match="two hosts are named 'a'"):
                await hosts.add("a")
            assert list(hosts.hosts) == list(hosts.up) == ["a"]
            await hosts.add("n[1-2]")
            assert (await waiting.wait()).host in ("n1", "n2")
            assert list(hosts.hosts) == ["a", "n1", "n2"]
            gate.open()


async def test_added_host_without_a_way_ends_nothing_else(gate: Gate) -> None:
    """The caller of `add` gets the error, and no host is added."""

    def connect(host: Host) -> ArgvTransport:
        if host.name == "n2":
            raise ValueError("no such machine")
        return piped(host)

    hosts = piped_hosts("a", connect=connect)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            running = await runner.start(Command.shell(gate.wait, name="first"))
            with pytest.raises(ValueError, match="no such machine"):
                await hosts.add("n[1-2]")
            assert list(hosts.hosts) == list(hosts.up) == ["a"]
            await hosts.add("n1")
            gate.open()
            assert (await running.wait()).status == "succeeded"


async def test_command_fails_if_its_host_is_not_added_after_all(tmp_path: Path, gate: Gate) -> None:
    """It had waited for the host that was being connected to."""
    hosts = piped_hosts("a")
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner, anyio.create_task_group() as tasks:
            tasks.start_soon(hosts.add, waiting_host(tmp_path, gate))
            await anyio.wait_all_tasks_blocked()
            job = runner.start_soon(Command(["true"], host="late"))
            await anyio.wait_all_tasks_blocked()
            assert job.state == "queued"
            tasks.cancel_scope.cancel()
        assert "there is no host 'late'" in str((await job.wait()).error)


async def test_exit_waits_for_no_next_try() -> None:
    """The exit waits neither for hosts that are up, nor for the next try of the others."""
    hosts = piped_hosts(["a", MISSING], retry_delay=HOURS)
    with anyio.fail_after(LIMIT):
        async with Runner(["true"], launcher=hosts):
            pass


async def test_host_is_added_once_however_often_that_is_asked_for(
    tmp_path: Path, gate: Gate
) -> None:
    """A host to which currant is connecting has its name already."""
    hosts = piped_hosts("a")
    late = waiting_host(tmp_path, gate)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts), anyio.create_task_group() as tasks:
            tasks.start_soon(hosts.add, late)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(CommandError, match="two hosts are named 'late'"):
                await hosts.add(late)
            gate.open()


async def test_exit_ends_the_wait_for_a_host_that_is_added(tmp_path: Path, gate: Gate) -> None:
    """`add` raises at the exit, because the host would never be up."""
    hosts = piped_hosts("a")

    async def add() -> None:
        with pytest.raises(HostUnreachableError, match="the Runner was left before it was up"):
            await hosts.add(waiting_host(tmp_path, gate))

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks, Runner(launcher=hosts):
            tasks.start_soon(add)
            await anyio.wait_all_tasks_blocked()
    assert list(hosts.hosts) == ["a"]


async def test_added_hosts_that_cannot_be_reached_are_told_although_others_can() -> None:
    """Of several hosts, those that can be reached are added."""
    broken = replace(MISSING, name="b1")

    def connect(host: Host) -> ArgvTransport:
        return piped(broken if host.name == "b1" else host)

    hosts = piped_hosts("a", connect=connect)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts):
            with pytest.raises(HostUnreachableError, match="'b1'"):
                await hosts.add("b[1-2]")
            assert list(hosts.up) == list(hosts.hosts) == ["a", "b2"]


async def test_time_of_a_command_begins_when_it_has_a_place(gate: Gate) -> None:
    """The wait for room on a host is no part of the start, nor of the duration."""
    hosts = piped_hosts("a", per_host=1)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            await runner.start(Command.shell(gate.wait, name="first"))
            runner.start_soon(Command(["true"], name="second"))
            await anyio.wait_all_tasks_blocked()
            opened_at = time.time()
            gate.open()
            messages = [message async for message in runner]
    result = runner.results["second"]
    assert result.started_at is not None
    assert result.started_at >= opened_at
    assert result.duration <= time.time() - opened_at
    (started,) = [
        each for each in messages if isinstance(each, Started) and each.command == "second"
    ]
    assert started.launching is not None
    assert started.launching <= started.time - opened_at


async def test_drained_host_gets_nothing_new_and_is_left_when_it_is_idle(gate: Gate) -> None:
    """Its running commands go on; a command that only this host could run fails."""
    hosts = piped_hosts("a,b")
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            running = await runner.start(Command.shell(gate.wait, name="first", host="b"))
            hosts.drain("b")
            with pytest.raises(UnknownNameError, match="there is no host 'c'; there are: 'a', 'b'"):
                hosts.drain("c")
            pinned = await runner.start_soon(Command(["true"], name="x", host="b")).wait()
            assert isinstance(pinned.error, LaunchError)
            assert "the host 'b' is drained" in str(pinned.error)
            others = [runner.start_soon(Command(["true"], name=f"c{i}")) for i in range(3)]
            assert [(await other.wait()).host for other in others] == ["a", "a", "a"]
            assert list(hosts.up) == ["a", "b"]
            gate.open()
            assert (await running.wait()).status == "succeeded"
            while "b" in hosts.up:
                await anyio.lowlevel.checkpoint()
            messages = [message async for message in runner]
    assert not [message for message in messages if isinstance(message, HostLost)]
    assert {each.command for each in messages if isinstance(each, Exited)} >= {"first", "c0"}


async def test_late_news_of_a_host_that_was_added_again_close_no_place() -> None:
    """A call of `add` may be cancelled, and its connection may take a while to end."""
    hosts = piped_hosts("a")
    with anyio.fail_after(LIMIT):
        async with hosts:
            await hosts.add("b")
            pool = hosts._pool
            assert pool is not None
            removed = Member(Host("b"), hosts._settings, pool._turns, pool._note)
            removed._note_lost(HostUnreachableError("b", "it was given up"))
            process = await hosts.launch(Command(["true"], name="x", host="b"))
            await process.aclose()


async def test_escapees_on_a_drained_host_have_their_grace(lifeline: Lifeline, gate: Gate) -> None:
    """The connection ends only after that, because its end kills them."""
    escapee = f"trap '{lifeline.say('bye')}; exit' TERM; {lifeline.say('up')}; {TRAPS_SIGNALS}"
    line = f'{lifeline.hold("it")}; setsid sh -c "{escapee}" >/dev/null 2>&1 & {gate.wait}'
    hosts = piped_hosts("a,b")
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            job = await runner.start(Command.shell(line, name="x", host="b", grace=HOURS))
            await to_thread.run_sync(lifeline.wait_for, "up")
            hosts.drain("b")
            gate.open()
            await job.wait()
            assert "bye" in await to_thread.run_sync(lifeline.wait_for_end)
            while "b" in hosts.up:
                await anyio.lowlevel.checkpoint()


def test_hosts_are_shown_with_how_many_are_up() -> None:
    """The repr has the names, and during a Runner the number of hosts that are up."""
    assert repr(Hosts("a,n[1-2]")) == "<Hosts a,n[1-2]>"


# ---- batches ----


async def test_command_that_failed_is_retried_on_another_host() -> None:
    """With `retry_elsewhere` it goes to each host before it comes to the first one again."""
    hosts = piped_hosts("a,b,c", per_host=4, retry_elsewhere=True)
    seen: list[str] = []
    with anyio.fail_after(LIMIT):
        async with Runner(
            [Command.shell("echo $CURRANT_HOST; exit 1", name="x")],
            launcher=hosts,
            restart=RestartPolicy("on-failure", max_restarts=3, delay=0.0),
        ) as runner:
            seen += [each.text async for each in runner if isinstance(each, Line)]
    assert sorted(seen[:3]) == ["a", "b", "c"]
    assert seen[3] in seen[:3]


async def test_command_is_retried_on_its_host_if_no_other_host_takes_commands() -> None:
    """A drained host takes none, although a command may still run there."""
    hosts = piped_hosts("a,b", per_host=1, retry_elsewhere=True)
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0.0)
    first, second = (Command.shell("exit 1", name=name, restart=policy) for name in "xy")
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=hosts) as runner:
            await runner.start(Command.shell(EXEC_FOREVER, name="busy", host="b"))
            waiting = runner.start_soon(first)
            pool = hosts._pool
            assert pool is not None
            while not pool._places._placement.waiting:  # The second attempt waits for "b".
                await anyio.lowlevel.checkpoint()
            hosts.drain("b")
            results = [await waiting.wait(), await runner.start_soon(second).wait()]
            runner.kill()
    assert [(each.attempts, each.host, each.error) for each in results] == [(2, "a", None)] * 2


async def test_pinned_command_is_retried_on_its_host() -> None:
    """There is no other one that could hold it."""
    hosts = piped_hosts("a,b", retry_elsewhere=True)
    failing = Command.shell("exit 1", name="x", host="a")
    with anyio.fail_after(LIMIT):
        async with Runner(
            [failing],
            launcher=hosts,
            restart=RestartPolicy("on-failure", max_restarts=2, delay=0.0),
        ) as runner:
            pass
    assert (runner.results["x"].attempts, runner.results["x"].host) == (3, "a")


async def test_next_runner_may_run_a_command_on_any_host() -> None:
    """With `retry_elsewhere`, a command avoids the hosts of its attempts in the same Runner."""
    hosts = piped_hosts("a,b", per_host=1, retry_elsewhere=True)
    command = Command(["true"], name="x")
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=hosts) as runner:
            host = (await runner["x"].wait()).host
        other = Command.shell(EXEC_FOREVER, name="other", host="b" if host == "a" else "a")
        async with Runner([other], launcher=hosts) as runner:
            await runner["other"].ready()
            assert (await runner.start_soon(command).wait()).host == host
            runner.kill()


async def test_map_has_a_slot_for_each_place_of_the_hosts() -> None:
    """Each host takes its share, and nothing of a command is remembered after a sweep."""
    hosts = piped_hosts("a,b", per_host=2)
    with anyio.fail_after(LIMIT):
        where = [result.host async for _, result in currant.map("true", range(20), launcher=hosts)]
        assert set(where) == {"a", "b"}
        async with Runner(launcher=hosts):
            assert hosts.places == 4
    assert len(hosts._unswept) == 0


async def test_map_avoids_the_hosts_that_lack_its_program(tmp_path: Path) -> None:
    """The look-up of the first command counts for all, whatever their names and inputs are."""
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\ncat; echo $CURRANT_HOST\n")
    tool.chmod(0o755)
    has_tool = Host("b", env={"PATH": f"{tmp_path}:/bin:/usr/bin"})
    hosts = piped_hosts(["a", has_tool], per_host=2)
    with anyio.fail_after(LIMIT):
        async for _, result in currant.map("tool {}", range(6), stdin=b"on ", launcher=hosts):
            assert (result.text, result.error) == ("on b\n", None)
