"""The orphan guard: commands do not outlive the program that runs them, whatever happens to it.

Each process of a test holds a lifeline, whose end proves that no process is left.  That takes no
longer than the grace, because the tests also wait for the guard.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipapp
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import anyio
import pytest

from currant import Command, LaunchError, LocalLauncher, Runner
from currant._process.guard import LINE_LENGTH, SCRIPT, OrphanGuard
from currant._process.spawn import default_start
from currant._process.stop import StopSpec
from currant._system.proc import environment_of
from currant._values.shutdown_limits import ShutdownLimits
from tests.headless import headless
from tests.programs import Programs
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.abc import Process

    from currant._process.child import Child, SpawnSpec
    from tests.lifeline import Gate, Lifeline


OTHER = uuid4().hex[:16]

RUN = uuid4().hex[:16]
"""A run for the script to sweep: unique, because the same tests may run twice on a machine."""

# ---- when the program dies ----

HOST = """
import json, os, sys
import anyio
from currant import Command, Runner

options = json.loads(sys.argv[1])

async def main():
    commands = {
        name: Command.shell(
            line, stop_signal=options["signal"], new_session=options["new_session"]
        )
        for name, line in options["commands"].items()
    }
    runner = Runner(commands, grace=options["grace"], orphan_guard=options["orphan_guard"])
    async with runner:
        if options["fork"] and os.fork() == 0:
            os.read(0, 1)  # like a worker of multiprocessing, which outlives this program
            os._exit(0)
        for job in runner.jobs.values():
            await job.until_started()
        print("up", flush=True)
        await anyio.sleep_forever()

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""
"""A program that runs commands until it is killed."""


class Host(Programs):
    """Starts `HOST`."""

    def start(
        self,
        commands: dict[str, str],
        *,
        grace: float = 9999.0,
        signal: int = SIGTERM,
        orphan_guard: bool = True,
        fork: bool = False,
        new_session: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start it with commands for the shell; `fork`: it forks a child without an exec."""
        return self.run(
            {
                "commands": commands,
                "grace": grace,
                "signal": signal,
                "orphan_guard": orphan_guard,
                "fork": fork,
                "new_session": new_session,
            }
        )


@pytest.fixture
def host(anyio_backend_name: str, anyio_backend_options: dict[str, Any]) -> Iterator[Host]:
    """What starts hosts on each event loop, with that loop's own defaults."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with Host(HOST, anyio_backend_name, use_uvloop=use_uvloop) as host:
        yield host


def test_commands_end_when_the_host_is_killed(host: Host, lifeline: Lifeline) -> None:
    """SIGKILL to the host, which it cannot handle, stops its commands."""
    commands = {name: f"{lifeline.hold(name)}; {EXEC_FOREVER}" for name in "abc"}
    killed = host.start(commands)
    lifeline.wait_for("a", "b", "c")
    killed.kill()
    assert lifeline.wait_for_end() == {"a", "b", "c"}


@needs_proc
def test_command_in_the_session_of_the_host_ends_with_its_jobs(
    host: Host, lifeline: Lifeline
) -> None:
    """The guard ends its group, and the groups that a shell has made for its jobs."""
    job = "import os, time; os.setpgrp(); os.write(9, b'job\\n'); time.sleep(9999)"
    script = f'{lifeline.hold("shell")}; {sys.executable} -c "{job}" & {EXEC_FOREVER}'
    killed = host.start({"a": script}, new_session=False)
    lifeline.wait_for("shell", "job")
    killed.kill()
    assert lifeline.wait_for_end() == {"shell", "job"}


def kill_when_up(host: subprocess.Popen[bytes]) -> None:
    """Kill a host after all of its commands have started."""
    assert host.stdout is not None
    assert host.stdout.readline() == b"up\n"
    host.kill()


def test_command_gets_its_stop_signal_and_may_clean_up(host: Host, lifeline: Lifeline) -> None:
    """The guard stops a command as the Runner would."""
    script = f"trap '{lifeline.say('bye')}; exit' USR1; {lifeline.say('ready')}; {TRAPS_SIGNALS}"
    killed = host.start({"a": f"{lifeline.hold('a')}; {script}"}, signal=SIGUSR1)
    lifeline.wait_for("ready")
    kill_when_up(killed)
    assert lifeline.wait_for_end() == {"a", "ready", "bye"}


def test_command_that_ignores_the_signal_is_killed_after_the_grace(
    host: Host, lifeline: Lifeline
) -> None:
    """The grace counts for the whole group, from the death of the host."""
    script = (
        f"trap '' TERM; (trap '' TERM; {lifeline.say('child')}; {EXEC_FOREVER}) & {EXEC_FOREVER}"
    )
    killed = host.start({"a": f"{lifeline.hold('a')}; {script}"}, grace=0.5)
    lifeline.wait_for("child")
    began = time.monotonic()
    killed.kill()
    assert lifeline.wait_for_end() == {"a", "child"}
    assert time.monotonic() - began >= 0.4  # the guard counts in tenths of a second


@needs_proc
def test_suspended_command_is_ended(host: Host, lifeline: Lifeline) -> None:
    """A suspended process gets SIGCONT after its stop signal."""
    watch = 'until read -r _ _ state _ <"/proc/$1/stat" && [ "$state" = T ]; do :; done'
    watch = f"sh -c '{watch}; echo stopped >&9' sh $$ &"
    killed = host.start({"a": f"{lifeline.hold('a')}; {watch} kill -STOP $$; {EXEC_FOREVER}"})
    lifeline.wait_for("stopped")
    killed.kill()
    assert lifeline.wait_for_end() == {"a", "stopped"}


@needs_proc
@pytest.mark.parametrize("deaf", [False, True])
def test_escapees_end_with_the_rest(host: Host, lifeline: Lifeline, deaf: bool) -> None:
    """The guard finds an escapee by its environment, as the Runner does."""
    trap = "trap '' TERM; " if deaf else ""
    escapee = f"{trap}echo out >&9; {EXEC_FOREVER}"
    script = f'{lifeline.hold("a")}; setsid sh -c "{escapee}" & {EXEC_FOREVER}'
    killed = host.start({"a": script}, grace=0.5 if deaf else 9999)
    lifeline.wait_for("out")
    killed.kill()
    assert lifeline.wait_for_end() == {"a", "out"}


@needs_proc
@pytest.mark.parametrize("escapes", [False, True])
def test_process_without_its_first_thread_is_ended(
    host: Host, lifeline: Lifeline, escapes: bool
) -> None:
    """It looks like a zombie without an environment, but its other threads still run."""
    killed = host.start({"a": f"{lifeline.hold('a')}; {headless(escapes=escapes)}"}, grace=0.3)
    lifeline.wait_for("headless")
    kill_when_up(killed)
    assert lifeline.wait_for_end() == {"a", "headless"}


def test_fork_of_the_host_does_not_keep_the_commands_alive(host: Host, lifeline: Lifeline) -> None:
    """A fork that outlives the host (multiprocessing) does not hold the guard's pipe open."""
    killed = host.start({"a": f"{lifeline.hold('a')}; {EXEC_FOREVER}"}, fork=True)
    lifeline.wait_for("a")
    killed.kill()
    assert lifeline.wait_for_end() == {"a"}


CLOSES_ITS_LOOP = """
import asyncio, gc, sys
from importlib import import_module
from currant import Command, Runner, run_process

async def run(command):
    async with Runner([command]) as runner, asyncio.TaskGroup() as tasks:
        tasks.create_task(run_process(command))
        async for message in runner:
            asyncio.get_running_loop().stop()

loop = import_module(sys.argv[2]).new_event_loop()
task = loop.create_task(run(Command.shell(sys.argv[1])))
loop.run_forever()
loop.close()
del loop, task
gc.collect()
print(asyncio.run(run_process("echo works")).text, end="")
"""
"""A program that closes its event loop inside of a block, and then uses another loop."""


@pytest.mark.parametrize("module", ["asyncio", "uvloop"])
def test_closed_event_loop_leaves_the_commands_to_the_guard(
    lifeline: Lifeline, module: str
) -> None:
    """The program goes on and ends without an error, and its commands end with it."""
    command = f"{lifeline.hold('a')}; echo up; {EXEC_FOREVER}"
    words = [sys.executable, "-c", CLOSES_ITS_LOOP, command, module]
    ended = subprocess.run(words, capture_output=True, timeout=LIMIT, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"works\n", b"")
    assert lifeline.wait_for_end() == {"a"}


@pytest.mark.parametrize("first", ["1", "20", "40"])
def test_host_killed_during_a_burst_of_starts_leaves_no_process(
    host: Host, lifeline: Lifeline, first: str
) -> None:
    """A host that is killed while it starts commands has registered each in time."""
    commands = {str(n): f"{lifeline.hold(str(n))}; {EXEC_FOREVER}" for n in range(60)}
    killed = host.start(commands)
    lifeline.wait_for(first)
    killed.kill()
    killed.wait()
    lifeline.wait_for_end()


@needs_proc
def test_unusual_names_and_variables_do_not_confuse_the_guard(
    host: Host, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the host's variables nor names that are not text in its locale affect the script."""
    source = (
        "import os, time\n"
        "open('/proc/self/comm', 'wb').write(b'\\xff\\xfe odd')\n"
        "os.write(1, b'named')\n"
        "time.sleep(9999)\n"
    )
    argv = [sys.executable, "-ISc", source]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.read(5) == b"named"
            monkeypatch.setenv("LC_ALL", "C.UTF-8")
            monkeypatch.setenv("NOTES", f"x\ncurrant_spec_{other.pid}=15:0\ngroups={other.pid}")
            monkeypatch.setenv("groups", str(other.pid))
            monkeypatch.setenv(f"currant_spec_{other.pid}", "15:0")
            script = f"{lifeline.hold('a')}; trap '' TERM; {lifeline.say('ready')}; {EXEC_FOREVER}"
            killed = host.start({"a": script}, grace=0.3)
            lifeline.wait_for("ready")
            kill_when_up(killed)
            assert lifeline.wait_for_end() == {"a", "ready"}
            assert other.poll() is None
        finally:
            other.kill()


def test_commands_outlive_their_host_without_the_guard(
    host: Host, lifeline: Lifeline, gate: Gate
) -> None:
    """orphan_guard=False turns the guard off; this is what it prevents."""
    killed = host.start({"a": f"{lifeline.hold('a')}; {gate.wait}"}, orphan_guard=False)
    lifeline.wait_for("a")
    killed.kill()
    killed.wait()
    with pytest.raises(AssertionError, match="a process still holds the pipe"):
        lifeline.ended()
    gate.open()
    assert lifeline.wait_for_end() == {"a"}


# ---- the script ----

SHELLS = [pytest.param(shell, id=shell) for shell in ("sh", "dash", "bash")]


class Groups:
    """Plays the host to the script, which runs in one shell or another."""

    def __init__(self, shell: str) -> None:
        if shutil.which(shell) is None:
            pytest.skip(f"there is no {shell} here; install it")
        # The script expects this locale: in another, a process name may not be valid text.
        env = os.environ | {"LC_ALL": "C"}
        self._register = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._script = subprocess.Popen(
            [shell, SCRIPT, RUN],
            stdin=subprocess.PIPE,
            stdout=self._register,
            start_new_session=True,
            env=env,
        )
        self._children: list[subprocess.Popen[bytes]] = []

    def start(
        self, line: str, *, registered: bool = True, grace: float = 9999.0, mark: str = f"{RUN}/a/1"
    ) -> int:
        """Start a group, and register it unless the script has to find it by its mark."""
        env = os.environ | ({} if registered else {"CURRANT_ID": mark})
        child = subprocess.Popen(["sh", "-c", line], start_new_session=True, env=env)
        self._children.append(child)
        if registered:
            self.register(f"= {round(grace * 10)}", f"{child.pid} 15 {round(grace * 10)}")
        return child.pid

    def register(self, *lines: str) -> None:
        """Add lines to the register."""
        for line in lines:
            end = os.fstat(self._register.fileno()).st_size
            os.pwrite(self._register.fileno(), f"{line:31}\n".encode(), end)

    def unregister_last(self) -> None:
        """Blank the last line of the register."""
        end = os.fstat(self._register.fileno()).st_size
        os.pwrite(self._register.fileno(), b" " * 31, end - 32)

    def ask_to_exit(self) -> None:
        """Write a full stop to the script."""
        assert self._script.stdin is not None
        self._script.stdin.write(b".\n")
        self._script.stdin.flush()

    def die_soon(self) -> None:
        """Close the pipe, as the system does when the host dies."""
        assert self._script.stdin is not None
        self._script.stdin.close()

    def die(self) -> int:
        """Close the pipe, and wait for the script; the leaders are not reaped until then."""
        self.die_soon()
        return self._script.wait(LIMIT)

    def is_running_after(self, seconds: float) -> bool:
        """Return whether the script still runs, at the latest after `seconds`."""
        with suppress(subprocess.TimeoutExpired):
            self._script.wait(seconds)
        return self._script.poll() is None

    def exits(self) -> list[int]:
        """Reap the leaders, and return their return codes."""
        return [child.wait(LIMIT) for child in self._children]

    def close(self) -> None:
        """End the processes that a failed test has left."""
        self._register.close()
        for child in (self._script, *self._children):
            if child.poll() is None:
                os.killpg(child.pid, SIGKILL)
            child.communicate()


@pytest.fixture(params=SHELLS)
def groups(request: pytest.FixtureRequest) -> Iterator[Groups]:
    """The script, in each shell of this machine."""
    groups = Groups(request.param)
    yield groups
    groups.close()


def test_script_asks_the_leader_alone_in_mixed_mode(groups: Groups, lifeline: Lifeline) -> None:
    """The worker gets no stop signal, and SIGKILL once the leader has exited and was reaped."""
    worker = f"(trap '{lifeline.say('asked')}' TERM; {lifeline.say('worker')}; {EXEC_FOREVER})"
    # Another process starts the leader, as if the host had died: PID 1 becomes the parent.
    loop = "trap 'exit 0' TERM; while :; do wait; done"
    leader = f"{lifeline.hold('leader')}; echo $$ >&9; {worker} & {loop}"
    subprocess.run(["setsid", "-f", "sh", "-c", leader], check=True)
    lifeline.wait_for("leader", "worker")
    number = next(word for word in lifeline.said() if word.isdigit())
    groups.register(f"{number} 15 {10**9} mixed")
    assert groups.die() == 0
    assert lifeline.ended() == {"leader", "worker", number}


def test_script_does_not_wait_for_unreaped_zombies(groups: Groups, lifeline: Lifeline) -> None:
    """Even with an endless grace: below some PID 1 zombies stay for good."""
    for name in "abc":
        groups.start(f"{lifeline.hold(name)}; {EXEC_FOREVER}")
    lifeline.wait_for("a", "b", "c")
    assert groups.die() == 0
    assert lifeline.ended() == {"a", "b", "c"}
    assert groups.exits() == [-SIGTERM] * 3


def test_script_kills_groups_after_their_grace(groups: Groups, lifeline: Lifeline) -> None:
    """Only the group that ignores the signal gets SIGKILL; the others were gone long before."""
    groups.start(
        f"{lifeline.hold('deaf')}; trap '' TERM; {lifeline.say('ready')}; {EXEC_FOREVER}", grace=0.3
    )
    groups.start(f"{lifeline.hold('plain')}; {EXEC_FOREVER}")
    lifeline.wait_for("ready", "plain")
    assert groups.die() == 0
    assert groups.exits() == [-SIGKILL, -SIGTERM]


@needs_proc
def test_script_ends_processes_with_the_mark(groups: Groups, lifeline: Lifeline) -> None:
    """A group that was not registered is ended, with the longest grace that was given."""
    groups.start(f"{lifeline.hold('registered')}; {EXEC_FOREVER}")
    # Longer than the script takes to kill a group without a grace.
    slow = f"trap 'sleep 0.3; exit 5' TERM; {lifeline.say('slow')}; while :; do sleep 0.01; done"
    groups.start(f"{lifeline.hold('b')}; {slow}", registered=False)
    lifeline.wait_for("registered", "slow")
    assert groups.die() == 0
    assert groups.exits() == [-SIGTERM, 5]


@needs_proc
def test_script_kills_processes_with_the_mark_after_the_grace(
    groups: Groups, lifeline: Lifeline
) -> None:
    """An unregistered group that ignores the signal gets SIGKILL after the longest grace."""
    groups.start(f"{lifeline.hold('registered')}; {EXEC_FOREVER}", grace=0.3)
    deaf = f"trap '' TERM; {lifeline.say('deaf')}; {EXEC_FOREVER}"
    groups.start(f"{lifeline.hold('b')}; {deaf}", registered=False)
    lifeline.wait_for("registered", "deaf")
    assert groups.die() == 0
    assert groups.exits() == [-SIGTERM, -SIGKILL]


@needs_proc
def test_script_ends_a_process_that_was_being_started(groups: Groups, lifeline: Lifeline) -> None:
    """Until its group is registered, a process that may stay is known by a mark of its own."""
    groups.register("= 99990", f"? {OTHER}")
    groups.start(f"{lifeline.hold('b')}; {EXEC_FOREVER}", registered=False, mark=f"{OTHER}/a/1")
    lifeline.wait_for("b")
    groups.die_soon()
    assert groups.exits() == [-SIGTERM]


@needs_proc
def test_script_waits_for_the_exec_of_a_process_that_was_being_started(
    groups: Groups, lifeline: Lifeline
) -> None:
    """The program may come from a slow disk; until it runs, the process cannot be found."""
    groups.register("= 1", f"? {OTHER}")
    groups.die_soon()
    assert groups.is_running_after(0.5)
    groups.start(f"{lifeline.hold('b')}; {EXEC_FOREVER}", registered=False, mark=f"{OTHER}/a/1")
    assert groups.exits()[0] in (-SIGTERM, -SIGKILL)


def test_script_leaves_unregistered_groups_alone(groups: Groups, lifeline: Lifeline) -> None:
    """The number may belong to another group by now, so it gets no signal."""
    group = groups.start(f"{lifeline.hold('a')}; {EXEC_FOREVER}")
    lifeline.wait_for("a")
    groups.unregister_last()
    assert groups.die() == 0
    with pytest.raises(AssertionError, match="a process still holds the pipe"):
        lifeline.ended()
    os.killpg(group, SIGKILL)
    assert groups.exits() == [-SIGKILL]


def test_script_that_is_asked_to_exit_ends_no_group(groups: Groups, lifeline: Lifeline) -> None:
    """After a full stop no group is ended, whatever was registered before."""
    group = groups.start(f"{lifeline.hold('a')}; {EXEC_FOREVER}")
    lifeline.wait_for("a")
    groups.ask_to_exit()
    assert groups.die() == 0
    with pytest.raises(AssertionError, match="a process still holds the pipe"):
        lifeline.ended()
    os.killpg(group, SIGKILL)
    assert groups.exits() == [-SIGKILL]


def test_script_kills_all_registered_groups_however_it_exits(
    lifeline: Lifeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that cannot start a process any more exits at once: then there is no grace."""
    script = tmp_path / "guard.sh"
    text = SCRIPT.read_text()
    assert "\nsweep\nfinish\n" in text
    script.write_text(text.replace("\nsweep\nfinish\n", "\nexit 2\n"))
    monkeypatch.setattr("tests.test_guard.SCRIPT", script)
    groups = Groups("sh")
    try:
        deaf = f"{lifeline.hold('deaf')}; trap '' TERM; {lifeline.say('ready')}; {EXEC_FOREVER}"
        groups.start(deaf)
        lifeline.wait_for("ready")
        assert groups.die() == 2
        assert groups.exits() == [-SIGKILL]
    finally:
        groups.close()


@needs_proc
@pytest.mark.parametrize("name", ["a) Z 1 2 (b", "a\nb", "a) S 1 ;kill 0"])
def test_script_ignores_the_content_of_program_names(
    groups: Groups, lifeline: Lifeline, name: str, tmp_path: Path
) -> None:
    """A process's name is taken neither for its state nor for shell code."""
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable} -IS\nimport os, time\n"
        f"open('/proc/self/comm', 'w').write({name!r})\n"
        "os.write(9, b'named\\n')\ntime.sleep(9999)\n"
    )
    program.chmod(0o755)
    groups.start(f"{lifeline.hold('a')}; exec '{program}'", registered=False)
    groups.start(f"{lifeline.hold('b')}; exec sleep 9999")
    lifeline.wait_for("named", "b")
    assert groups.die() == 0
    assert groups.exits() == [-SIGTERM, -SIGTERM]


def test_script_handles_thousands_of_groups(groups: Groups, lifeline: Lifeline) -> None:
    """Blank lines, and groups that are gone, do not slow it down."""
    groups.start(f"{lifeline.hold('a')}; {EXEC_FOREVER}")
    lifeline.wait_for("a")
    numbers = range(10**9, 10**9 + 3000)
    groups.register(*(f"{number} 15 50" for number in numbers), *[""] * 2000)
    assert groups.die() == 0
    assert groups.exits() == [-SIGTERM]


@needs_proc
def test_script_reads_on_after_a_process_that_has_just_ended(
    lifeline: Lifeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of such a process cannot be read any more, as little as a folder."""
    script = tmp_path / "guard.sh"
    text = SCRIPT.read_text()
    files = "seen=$(groups_alive /proc/[0-9]*/stat)"
    assert files in text
    unreadable = f"seen=$(groups_alive /proc/self/stat {tmp_path} /proc/[0-9]*/stat)"
    script.write_text(text.replace(files, unreadable))
    monkeypatch.setattr("tests.test_guard.SCRIPT", script)
    groups = Groups("sh")
    try:
        deaf = f"{lifeline.hold('deaf')}; trap '' TERM; {lifeline.say('ready')}; {EXEC_FOREVER}"
        groups.start(deaf, grace=0.3)
        lifeline.wait_for("ready")
        assert groups.die() == 0
        assert lifeline.ended() == {"deaf", "ready"}
    finally:
        groups.close()


def test_script_works_without_proc(
    lifeline: Lifeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On other systems than Linux it uses the registered numbers, and counts its pauses."""
    script = tmp_path / "guard.sh"
    script.write_text(SCRIPT.read_text().replace("/proc/", f"{tmp_path}/no-proc/"))
    monkeypatch.setattr("tests.test_guard.SCRIPT", script)
    groups = Groups("sh")
    try:
        deaf = f"{lifeline.hold('deaf')}; trap '' TERM; {lifeline.say('ready')}; {EXEC_FOREVER}"
        groups.start(deaf, grace=0.5)
        groups.start(f"{lifeline.hold('plain')}; {EXEC_FOREVER}")
        lifeline.wait_for("ready", "plain")
        began = time.monotonic()
        groups.die_soon()
        assert groups.exits() == [-SIGKILL, -SIGTERM]
        assert time.monotonic() - began >= 0.5
        assert groups.die() == 0
    finally:
        groups.close()


# ---- the guard within a Runner ----


pytest_anyio = pytest.mark.anyio


@pytest_anyio
@needs_proc
async def test_guard_has_its_own_session_and_no_file_of_the_host(
    guards: list[subprocess.Popen[bytes]],
) -> None:
    """It holds neither the host's terminal and output nor its working directory."""
    async with Runner({"c": "sleep 9999"}) as runner:
        await runner["c"].until_started()
        (guard,) = guards
        assert os.getsid(guard.pid) == guard.pid
        files = {name: os.readlink(f"/proc/{guard.pid}/fd/{name}") for name in ("0", "1", "2")}
        assert files["0"].startswith("pipe:")
        assert "currant-guard" in files["1"]
        assert files["2"] == os.devnull
        own = {os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)}
        assert not own & set(files.values()) - {os.devnull}
        assert os.readlink(f"/proc/{guard.pid}/cwd") == "/"
        runner.kill()


@pytest_anyio
@needs_proc
async def test_guard_has_a_minimal_environment_with_the_outer_mark(
    guards: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark of an outer Runner stays; variables that a shell might use do not."""
    monkeypatch.setenv("CURRANT_ID", f"{RUN}/outer/1")
    monkeypatch.setenv("ENV", "/nonexistent")
    async with Runner({"c": "sleep 9999"}) as runner:
        await runner["c"].until_started()
        variables = environment_of(guards[0].pid) or b""
        runner.kill()
    path = os.environ["PATH"]
    expected = {f"PATH={path}", f"CURRANT_ID={RUN}/outer/1", "LC_ALL=C", ""}
    assert set(variables.decode().split("\0")) == expected


@pytest_anyio
async def test_one_guard_serves_a_whole_runner(
    guards: list[subprocess.Popen[bytes]],
) -> None:
    """It serves any number of commands, and exits by itself, not by a signal."""
    launcher = LocalLauncher(_limits=ShutdownLimits(guard_exit=LIMIT))
    async with Runner([["true"]] * 20, launcher=launcher):
        pass
    assert [guard.returncode for guard in guards] == [0]


@pytest_anyio
@needs_proc
@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP])
async def test_guard_ignores_signals_that_end_programs(
    guards: list[subprocess.Popen[bytes]], number: int
) -> None:
    """A signal to all processes of a terminal, or of a machine at shutdown, does not end it."""
    launcher = LocalLauncher(_limits=ShutdownLimits(guard_exit=LIMIT))
    async with Runner({"c": "sleep 9999"}, launcher=launcher) as runner:
        await runner["c"].until_started()
        until_it_ignores(guards[0].pid)
        guards[0].send_signal(number)
        runner.kill()
    assert guards[0].returncode == 0


def until_it_ignores(pid: int) -> None:
    """Wait until the script ignores SIGTERM, a moment after its start."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        (ignored,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
        if int(ignored, 16) & 1 << SIGTERM - 1:
            return
        time.sleep(0.001)
    raise AssertionError("it never ignored SIGTERM")


@pytest_anyio
async def test_orphan_guard_false_starts_no_guard(guards: list[subprocess.Popen[bytes]]) -> None:
    """There is no helper process."""
    async with Runner({"c": "true"}, orphan_guard=False):
        pass
    assert guards == []


@pytest_anyio
@pytest.mark.parametrize("fails", ["Popen", "pipe"])
async def test_guard_that_cannot_be_started_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """The Runner warns, and its commands run without a guard."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(11, "no more processes")

    monkeypatch.setattr(subprocess if fails == "Popen" else os, fails, refuse)
    runner = Runner()
    with pytest.warns(RuntimeWarning, match="orphan guard could not be started.*no more proc"):
        async with runner:
            monkeypatch.undo()
            result = await runner.start_soon("true").wait()
    assert result.status == "succeeded"


@pytest_anyio
async def test_guard_without_its_script_is_a_warning_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installation that lacks the script is noticed before the first command starts."""
    monkeypatch.setattr("currant._process.guard.SCRIPT", tmp_path / "missing.sh")
    runner = Runner()
    with pytest.warns(RuntimeWarning, match=r"orphan guard could not be started.*missing\.sh"):
        async with runner:
            pass


IN_ZIPAPP = """
import sys
import anyio
import currant

async def main():
    assert ".pyz" in currant.__file__
    async with currant.Runner({"c": currant.Command.shell(sys.argv[1])}) as runner:
        await runner["c"].until_started()
        await anyio.sleep_forever()

anyio.run(main)
"""


def test_guard_works_within_a_zipapp(tmp_path: Path, lifeline: Lifeline) -> None:
    """The script is read from the archive, and ends the commands of a host that was killed."""
    sources = tmp_path / "app"
    for name in ("currant", "anyio", "idna"):
        package = Path(cast("str", import_module(name).__file__)).parent
        shutil.copytree(package, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(cast("str", import_module("typing_extensions").__file__), sources)
    (sources / "__main__.py").write_text(IN_ZIPAPP)
    zipapp.create_archive(sources, tmp_path / "app.pyz")
    line = f"{lifeline.hold('c')}; {EXEC_FOREVER}"
    host = subprocess.Popen([sys.executable, "-Werror", tmp_path / "app.pyz", line])
    try:
        lifeline.wait_for("c")
    finally:
        host.kill()
        host.wait()
    assert lifeline.wait_for_end() == {"c"}


@pytest_anyio
async def test_guard_that_was_killed_is_a_warning_at_the_end(
    guards: list[subprocess.Popen[bytes]],
) -> None:
    """The commands had no protection any more, and the user learns of that."""
    with pytest.warns(RuntimeWarning, match="orphan guard exited before it was asked to"):
        async with Runner({"c": "sleep 9999"}) as runner:
            await runner["c"].until_started()
            guards[0].kill()
            guards[0].wait()
            assert (await runner.start("true")).name == "true"
            runner.kill()
    assert runner.results.ok


@pytest_anyio
async def test_guard_that_does_not_exit_is_killed(guards: list[subprocess.Popen[bytes]]) -> None:
    """A stopped helper holds up nothing: starts go on, and at the end it is killed."""
    launcher = LocalLauncher(_limits=ShutdownLimits(guard_exit=0.05))
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            guards[0].send_signal(SIGSTOP)
            assert (await runner.start_soon("true").wait()).status == "succeeded"
    assert guards[0].returncode == -SIGKILL


def registered(guard: OrphanGuard) -> list[str]:
    """Return the lines of the register that are not blank."""
    assert guard._register is not None
    size = os.fstat(guard._register).st_size
    lines = os.pread(guard._register, size, 0).decode().splitlines()
    return [line.rstrip() for line in lines if line.strip()]


@pytest_anyio
async def test_register_has_the_groups_that_exist() -> None:
    """It has a line for each group, in the place of a group that is gone if there is one."""
    guard = OrphanGuard(RUN, LIMIT)
    guard.start()
    try:
        guard.raise_escapee_grace(20.0)
        guard.register(11, StopSpec(SIGTERM, 1.0))
        guard.register(12, StopSpec(SIGINT, float("inf"), "mixed"))
        guard.raise_escapee_grace(1.0)
        assert registered(guard) == ["= 200", "11 15 10", "12 2 1000000000 mixed"]
        guard.unregister(11)
        assert registered(guard) == ["= 200", "12 2 1000000000 mixed"]
        guard.register(13, StopSpec(SIGTERM, 1.0))
        assert registered(guard) == ["= 200", "13 15 10", "12 2 1000000000 mixed"]
        with guard.expecting("f00") as line:
            assert registered(guard)[-1] == "? f00"
            guard.register(14, StopSpec(SIGTERM, 1.0), line)
            assert registered(guard)[-1] == "14 15 10"
        assert registered(guard)[-1] == "14 15 10"
        guard.unregister(14)
        with guard.expecting("f00"):
            assert registered(guard)[-1] == "? f00"
        assert registered(guard) == ["= 200", "13 15 10", "12 2 1000000000 mixed"]
        guard.lower_escapee_grace()
        assert registered(guard)[0] == "= 200"
        guard.unregister(12)
        guard.unregister(13)
        guard.lower_escapee_grace()
        assert registered(guard) == []
    finally:
        await guard.aclose()


@pytest_anyio
async def test_grace_of_escapees_is_in_each_register() -> None:
    """A launcher that is used again has another register, without the grace of the last one."""
    launcher = LocalLauncher()
    for _ in range(2):
        async with launcher:
            process = await launcher.launch(Command(["true"], grace=20))
            assert registered(launcher._guard)[0] == "= 200"
            await process.wait()


@pytest_anyio
async def test_line_of_the_register_has_room_for_the_largest_numbers() -> None:
    """A pid of Linux has at most 7 digits (proc(5), pid_max)."""
    guard = OrphanGuard(RUN, LIMIT)
    guard.start()
    try:
        guard.register(4194304, StopSpec(64, float("inf"), "mixed"))
        assert guard._register is not None
        assert len(os.pread(guard._register, 1000, 0)) == 2 * LINE_LENGTH
    finally:
        await guard.aclose()


@pytest_anyio
async def test_group_is_registered_before_another_task_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the start of a process and its registration, nothing is awaited."""
    added: list[int] = []
    start, add = default_start(), OrphanGuard.register
    started = anyio.Event()

    async def note_start(spec: SpawnSpec) -> Child | Process:
        process = await start(spec)
        started.set()
        return process

    def note_add(guard: OrphanGuard, group: int, how: StopSpec, line: int) -> None:
        added.append(group)
        add(guard, group, how, line)

    monkeypatch.setattr(OrphanGuard, "register", note_add)
    async with Runner({"c": "sleep 9999"}, launcher=LocalLauncher(_start=note_start)) as runner:
        await started.wait()
        assert len(added) == 1
        runner.kill()


@pytest_anyio
@pytest.mark.parametrize("leftovers", ["stop", "leave"])
async def test_guard_knows_of_a_start_before_its_process_has_a_group(leftovers: Any) -> None:
    """A program that is killed during a start leaves a process that its guard has to wait for."""
    seen: list[str] = []
    start, guard = default_start(), OrphanGuard(RUN, LIMIT)

    async def look(spec: SpawnSpec) -> Child | Process:
        seen.extend(registered(guard))
        return await start(spec)

    guard.start()
    try:
        launcher = LocalLauncher(_guard=guard, _start=look)
        async with Runner([Command(["true"], leftovers=leftovers)], launcher=launcher) as runner:
            await runner.join()
        assert [line for line in seen if line.startswith("? ")]
        assert not [line for line in registered(guard) if line.startswith("? ")]
    finally:
        await guard.aclose()


@pytest_anyio
async def test_process_that_cannot_be_registered_is_ended(
    lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start has failed, so a restart policy may start the command again at once."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(OrphanGuard, "register", fail)
    async with LocalLauncher() as launcher:
        with pytest.raises(LaunchError, match="MemoryError"):
            await launcher.launch(Command.shell(f"{lifeline.hold('a')}; {EXEC_FOREVER}"))
        lifeline.ended()


@pytest_anyio
async def test_group_is_unregistered_when_it_is_gone() -> None:
    """No group stays registered after its end."""
    launcher = LocalLauncher()
    async with Runner({"c": Command(["true"], grace=0.25)}, launcher=launcher) as runner:
        await runner["c"].wait()
        assert registered(launcher._guard) == ["= 3"]
        job = await runner.start(Command(["sleep", "9999"], stop_signal=SIGINT, grace=float("inf")))
        assert registered(launcher._guard) == ["= 1000000000", f"{job.pid} 2 1000000000"]
        runner.kill()


@pytest_anyio
async def test_cancelled_close_leaves_no_guard(guards: list[subprocess.Popen[bytes]]) -> None:
    """Closing the guard in a cancelled scope kills and reaps the helper."""
    guard = OrphanGuard(RUN, LIMIT)
    guard.start()
    guards[0].send_signal(SIGSTOP)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await guard.aclose()
    assert guards[0].returncode == -signal.SIGKILL


def test_guard_is_silent_in_a_fork() -> None:
    """The helper is no child of the fork, which must not take it for dead."""
    guard = OrphanGuard(RUN, LIMIT)
    guard.start()
    assert guard._process is not None
    pid = guard._process.pid
    guard.close_in_fork()
    guard.close()  # A warning would be an error.
    os.waitpid(pid, 0)


@pytest_anyio
async def test_grace_of_escapees_does_not_outlast_the_launchers_of_a_shared_guard() -> None:
    """A later call with a short grace does not get that of an earlier one."""
    guard = OrphanGuard(RUN, LIMIT)
    guard.start()
    try:
        async with LocalLauncher(_guard=guard) as launcher:
            process = await launcher.launch(Command(["true"], grace=30))
            assert registered(guard)[0] == "= 300"
            await process.wait()
        assert registered(guard) == []
    finally:
        await guard.aclose()
