"""`cgroup`: a control group for each attempt, so that no descendant outlives it by hiding.

Each test creates its groups in one of its own, `place`, which must be empty at the end.  A daemon
that hides holds a lifeline, whose end proves that it is gone.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from signal import SIGCONT, SIGTERM
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, to_thread

import currant
from currant import (
    CannotStopError,
    Command,
    CurrantError,
    Exit,
    LaunchError,
    Limits,
    Line,
    LocalLauncher,
    RestartPolicy,
    Runner,
    run_process,
)
from currant._process import containment
from currant._process.containment import Containment, Members
from currant._process.spawn import start_with_pidfd, start_without_pidfd
from currant._system.cgroup import ControlGroup
from currant._system.groups import has_pidfds
from currant._values.errors import SetupError
from currant._values.shutdown_limits import ShutdownLimits
from tests.cgroups import JOIN, needs_cgroup, needs_controllers, wait_until_empty
from tests.programs import Programs
from tests.reading import messages_of
from tests.streams import read_all
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant._process.spawn import StartProcess
    from tests.clis import Run
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.anyio

STARTS = [start_without_pidfd, *([start_with_pidfd] if has_pidfds() else ())]

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

STAYS = f"echo out >&9; {EXEC_FOREVER}"
IGNORES = f"trap '' TERM; {STAYS}"
WAITS = f"{FOREVER} <&- >&- 2>&- & echo {{}} >&9; while :; do wait; done"
SAYS_BYE = f"trap 'echo bye >&9; exit' TERM; {WAITS.format('out')}"


def hiding(lifeline: Lifeline, gate: Gate, body: str = STAYS, rest: str = "exit 0") -> Command:
    """Return a command with a daemon: without its environment, in a new session, forked twice.

    Args:
        lifeline: the lifeline that all processes hold; the daemon has to say ``out`` there.
        gate: the gate at which the leader waits before `rest`, so that it does not exit first.
        body: what the daemon does, in a shell.
        rest: the leader's last shell command.
    """
    body = body.replace("'", "'\\''")
    daemon = f"env -i BODY='{body}' setsid sh -c 'sh -c \"$BODY\" & exit 0' <&- >&- 2>&-"
    return Command.shell(f"{lifeline.hold('leader')}; {daemon}; {gate.wait}; {rest}", name="c")


async def until_out(lifeline: Lifeline, gate: Gate) -> None:
    """Wait until the daemon runs, then let the leader go on."""
    await to_thread.run_sync(lifeline.wait_for, "out")
    gate.open()


@pytest.fixture
def own_groups(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have all groups created in `place`; none is left in the end, and no process."""
    monkeypatch.setattr(containment, "find_place", lambda: str(place))
    return place


@pytest.mark.usefixtures("own_groups")
@needs_cgroup
class TestDaemonThatHides:
    """Without control groups, currant does not find it: it lives on."""

    async def test_it_ends_with_its_command(self, lifeline: Lifeline, gate: Gate) -> None:
        """Nothing outlives its attempt, while the Runner goes on."""
        with fail_after(LIMIT):
            async with Runner([hiding(lifeline, gate)], cgroup=True, keep_open=True) as runner:
                await until_out(lifeline, gate)
                assert (await runner["c"].wait()).exit == Exit(0, None)
                assert lifeline.ended() == {"leader", "out"}
                runner.kill()

    @pytest.mark.parametrize("cgroup", [True, "auto"])
    async def test_it_ends_with_a_single_command(
        self, lifeline: Lifeline, gate: Gate, cgroup: Any
    ) -> None:
        """`run_process` takes a launcher with groups."""
        with fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(until_out, lifeline, gate)
                await run_process(hiding(lifeline, gate), launcher=LocalLauncher(cgroup=cgroup))
        assert lifeline.ended() == {"leader", "out"}

    @pytest.mark.parametrize("how", ["kill", "cancel", "raise"])
    async def test_it_ends_with_a_block_that_is_left_early(
        self, lifeline: Lifeline, gate: Gate, how: str
    ) -> None:
        """Each way of leaving the block ends the daemon, too."""
        command = hiding(lifeline, gate, rest=EXEC_FOREVER)
        with fail_after(LIMIT), pytest.raises(KeyError) if how == "raise" else anyio.CancelScope():
            async with Runner([command], cgroup=True) as runner:
                await until_out(lifeline, gate)
                match how:
                    case "kill":
                        runner.kill()
                    case "cancel":
                        runner.cancel_scope.cancel()
                    case _:
                        raise KeyError
        assert lifeline.ended() == {"leader", "out"}

    async def test_it_gets_the_stop_signal_after_the_group(
        self, lifeline: Lifeline, gate: Gate
    ) -> None:
        """A leader may end the daemon itself, so the daemon is asked when the group is gone."""
        leader = f"trap 'echo first >&9; exit' TERM; {WAITS.format('up')}"
        command = hiding(lifeline, gate, SAYS_BYE, leader)
        with fail_after(LIMIT):
            async with Runner([command], cgroup=True) as runner:
                await until_out(lifeline, gate)
                await to_thread.run_sync(lifeline.wait_for, "up")
                runner.kill()
        lifeline.ended()
        said = lifeline._said.decode().split()
        assert said.index("first") < said.index("bye")

    async def test_it_is_killed_after_the_grace(self, lifeline: Lifeline, gate: Gate) -> None:
        """A daemon that ignores the request costs the rest of the grace."""
        with fail_after(LIMIT):
            async with Runner([hiding(lifeline, gate, IGNORES)], grace=0.1, cgroup=True):
                await until_out(lifeline, gate)
        assert lifeline.ended() == {"leader", "out"}

    async def test_second_kill_skips_its_grace(self, lifeline: Lifeline, gate: Gate) -> None:
        """As for a process of the group."""
        with fail_after(LIMIT):
            async with Runner(
                [hiding(lifeline, gate, IGNORES)], grace=HOURS, cgroup=True
            ) as runner:
                await until_out(lifeline, gate)
                runner.kill()
                runner.kill()
        assert lifeline.ended() == {"leader", "out"}

    async def test_it_does_not_hold_up_leftovers_wait(self, lifeline: Lifeline, gate: Gate) -> None:
        """An attempt waits for its process group, and ends the rest."""
        command = hiding(lifeline, gate)
        with fail_after(LIMIT):
            async with Runner([command], cgroup=True, leftovers="wait"):
                await until_out(lifeline, gate)
        assert lifeline.ended() == {"leader", "out"}

    async def test_it_is_gone_before_a_restart(self, lifeline: Lifeline, gate: Gate) -> None:
        """Each attempt has a group of its own."""
        once = RestartPolicy("on-failure", max_restarts=1, delay=0)
        rest = "cat /proc/self/cgroup; exit 3"
        with fail_after(LIMIT):
            async with Runner(
                [hiding(lifeline, gate, rest=rest)], restart=once, cgroup=True, capture=True
            ) as runner:
                await until_out(lifeline, gate)
                gate.open()
                messages = await messages_of(runner)
        lines = [message.text for message in messages if isinstance(message, Line)]
        groups = [os.path.basename(line) for line in lines if line.startswith("0::")]
        assert groups == ["1", "2"]
        assert lifeline.ended() == {"leader", "out"}

    async def test_leave_lets_it_live(self, place: Path) -> None:
        """A command with such leftovers has no control group."""
        with fail_after(LIMIT):
            async with Runner(
                {"c": "cat /proc/self/cgroup"}, cgroup=True, leftovers="leave", capture=True
            ) as runner:
                result = await runner["c"].wait()
        assert place.name.encode() not in (result.stdout or b"-" + place.name.encode())


# ---- the process itself ----

SHOW = """
import json, os, signal, sys
environ = open("/proc/self/environ", "rb").read().decode("utf-8", "surrogateescape").split(chr(0))
print(json.dumps({
    "argv": sys.argv, "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
    "environ": sorted(each for each in environ if not each.startswith("CURRANT_ID=")),
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "cwd": os.getcwd(),
    "ignored": [line for line in open("/proc/self/status") if line.startswith("SigIgn")],
    "files": sorted(os.listdir("/proc/self/fd")), "terminal": os.isatty(0), "pid": os.getpid(),
    "session": os.getsid(0), "umask": os.umask(0),
}))
"""
"""What a process can see of itself."""


async def shown_by(command: Command, start: StartProcess, *, cgroup: bool) -> Any:
    """Return what `SHOW` prints as a command, and check its pid."""
    with fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False, cgroup=cgroup, _start=start) as launcher:
            process = await launcher.launch(command)
            data = await read_all(process.stdout)
            errors = b"" if process.stderr is None else await read_all(process.stderr)
            assert ((await process.wait()).code, errors) == (0, b"")
    shown = json.loads(data)
    assert process.pid == shown.pop("pid") == shown.pop("session")
    return shown


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"pty": True}, id="terminal"),
        pytest.param({"inherit_env": False, "env": {"BASH_FUNC_f%%": "() { :; }"}}, id="env"),
        pytest.param({"nice": 1, "umask": 0o077, "cwd": "/"}, id="set up"),
        pytest.param({"user": "nobody", "cwd": "/"}, id="user", marks=needs_root),
        pytest.param({"group": "nogroup", "extra_groups": []}, id="group", marks=needs_root),
        pytest.param({"user": 4321, "group": 5, "extra_groups": [6]}, id="ids", marks=needs_root),
    ],
)
async def test_process_is_the_same_with_a_group(
    start: StartProcess, options: dict[str, Any]
) -> None:
    """The group changes nothing else: no file, signal, user or variable."""
    command = Command(["/usr/bin/python3", "-ISc", SHOW, "a b", ""], **options)
    shown = await shown_by(command, start, cgroup=True)
    without = await shown_by(command, start, cgroup=False)
    assert shown.pop("files") == ["0", "1", "2", "3"]  # The last is the folder that lists them.
    del without["files"]
    assert shown == without


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
async def test_sockets_are_handed_over_to_a_member() -> None:
    """Both take the same first program."""
    line = "echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && ls /proc/$$/fd; cat /proc/$$/cgroup"
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        with fail_after(LIMIT):
            result = await run_process(
                Command.shell(line, listen=[one, other]), launcher=LocalLauncher(cgroup=True)
            )
    lines = (result.stdout or b"").decode().split("\n")
    assert lines[:6] == ["2", "0", "1", "2", "3", "4"]
    assert any(each.startswith("0::") and each.endswith("/1") for each in lines)


@needs_cgroup
async def test_failed_start_leaves_no_group(own_groups: Path) -> None:
    """Neither a missing program nor a lack of processes leaves a folder."""

    async def refuse(_: object) -> Any:
        raise OSError(11, "no more processes")

    with fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False, cgroup=True, _start=refuse) as launcher:
            for command in (Command(["true"]), Command(["/missing"])):
                with pytest.raises(LaunchError):
                    await launcher.launch(command)
                (run,) = own_groups.glob("currant-*")
                assert [each for each in run.iterdir() if each.is_dir()] == []


@needs_cgroup
async def test_group_that_cannot_be_created_is_told(own_groups: Path) -> None:
    """Another program may have removed the group of the run."""
    with fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False, cgroup=True) as launcher:
            (run,) = own_groups.glob("currant-*")
            run.rmdir()
            with pytest.raises(LaunchError, match="its control group cannot be created"):
                await launcher.launch(Command(["true"]))


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
async def test_process_that_cannot_join_says_so() -> None:
    """The exit code is that of a program that cannot be run."""

    async def start(spec: Any) -> Any:
        for group in containment_folders(spec):
            os.rmdir(group)
        return await start_without_pidfd(spec)

    def containment_folders(spec: Any) -> list[str]:
        return [os.path.dirname(os.readlink(f"/proc/self/fd/{fd}")) for fd in spec.pass_fds]

    with fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False, cgroup=True, _start=start) as launcher:
            process = await launcher.launch(Command(["true"]))
            assert (
                await read_all(process.stderr) == b"cannot join its control group: No such device\n"
            )
            assert (await process.wait()).code == 126


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
async def test_two_runners_at_a_time_have_groups_of_their_own(
    lifeline: Lifeline, gate: Gate
) -> None:
    """The end of one does not touch the other."""
    with fail_after(LIMIT):
        async with Runner([hiding(lifeline, gate)], cgroup=True) as outer:
            await to_thread.run_sync(lifeline.wait_for, "out")
            async with Runner({"b": "cat /proc/self/cgroup"}, cgroup=True, capture=True) as inner:
                await inner["b"].wait()
            assert outer["c"].state == "running"
            gate.open()
    assert lifeline.ended() == {"leader", "out"}


INNER = """
import anyio
from currant import Command, Runner
async def main():
    async with Runner({commands!r}, cgroup=True) as runner:
        async for message in runner:
            print(message, flush=True)
anyio.run(main)
"""


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
async def test_inner_runner_creates_its_groups_inside(lifeline: Lifeline) -> None:
    """A kill of the outer Runner ends the commands of the inner one, and removes their groups."""
    line = f"{lifeline.hold('inner')}; trap '' TERM; cat /proc/self/cgroup >&9; "
    line += f"{lifeline.say('shown')}; {EXEC_FOREVER}"
    inner = INNER.format(commands=[["sh", "-c", line]])
    command = Command([sys.executable, "-c", inner], name="outer", cwd=Path(__file__).parents[1])
    with fail_after(LIMIT):
        async with Runner([command], grace=0.1, cgroup=True) as runner:
            await to_thread.run_sync(lifeline.wait_for, "shown")
            runner.kill()
    own = [word for word in lifeline.ended() if word.startswith("0::")]
    assert own
    assert own[0].count("/currant-") >= 2


# ---- limits of the tree ----


class FolderAsGroup(ControlGroup):
    """A folder that looks like a group with controllers."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        for name in ("cgroup.procs", "memory.max", "pids.max"):
            Path(path, name).touch()
        for name in ("cgroup.controllers", "cgroup.subtree_control"):
            Path(path, name).write_text("memory pids\n")


@pytest.mark.parametrize(
    ("controllers", "expected", "left"),
    [
        ("cpu memory pids", {"memory.max": "5000000", "pids.max": "7"}, Limits(open_files=9)),
        ("pids", {"memory.max": "", "pids.max": "7"}, Limits(memory=5_000_000, open_files=9)),
    ],
)
def test_group_takes_the_limits_for_which_there_is_a_controller(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    controllers: str,
    expected: dict[str, str],
    left: Limits,
) -> None:
    """The process sets the other limits itself, as without groups."""
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (tmp_path / name).write_text(controllers)
    monkeypatch.setattr(containment, "ControlGroup", FolderAsGroup)
    monkeypatch.setattr(containment, "check_usable", lambda _: None)
    monkeypatch.setattr(containment, "find_place", lambda: str(tmp_path))
    groups = Containment("run", option=True)
    folder = groups.find()
    groups.open(folder)
    command = Command(["true"], limits=Limits(memory=5_000_000, processes=7, open_files=9))
    with groups.admitting(command) as admission:
        assert admission is not None
        assert admission.limits == left
        assert os.path.dirname(admission.group.path) == folder
        files = {name: Path(admission.group.path, name).read_text() for name in expected}
    assert files == expected
    with groups.admitting(Command(["true"])) as admission:
        assert admission is not None
        assert admission.limits is None


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
async def test_limit_without_a_controller_is_that_of_each_process(own_groups: Path) -> None:
    """As without groups."""
    if {"memory", "pids"} & set((own_groups / "cgroup.controllers").read_text().split()):
        pytest.skip("needs a control group without the controllers memory and pids")
    command = Command.shell("ulimit -v", limits=Limits(memory=1 << 30))
    with fail_after(LIMIT):
        result = await run_process(command, launcher=LocalLauncher(cgroup=True))
    assert result.stdout == b"%d\n" % (1 << 20)


def has_swap() -> bool:
    """Return whether the system has swap, which `memory.max` does not count."""
    swaps = Path("/proc/swaps")
    return swaps.exists() and len(swaps.read_text().splitlines()) > 1


HUNGRY = "import signal; data = b'x' * 40_000_000; signal.pause()"


@needs_cgroup
@needs_controllers
@pytest.mark.skipif(has_swap(), reason="needs a system without swap")
@pytest.mark.usefixtures("own_groups")
async def test_memory_of_the_tree_is_limited() -> None:
    """Four processes that use 160 MB together are over the limit, though none of them is alone."""
    one = f'{sys.executable} -ISc "$HUNGRY" || echo killed &'
    command = Command.shell(
        f"{one * 4} wait", env={"HUNGRY": HUNGRY}, limits=Limits(memory=100_000_000)
    )
    with fail_after(LIMIT):
        async with LocalLauncher(cgroup=True) as launcher:
            process = await launcher.launch(command)
            assert process.stdout is not None
            assert await process.stdout.receive() == b"killed\n"
            await process.aclose()


@needs_cgroup
@needs_controllers
@pytest.mark.usefixtures("own_groups")
async def test_processes_of_the_tree_are_limited() -> None:
    """The limit is that of the tree, also for root."""
    line = "for number in 1 2 3 4 5 6 7 8 9; do sleep 9999 & done; exit 0"
    command = Command.shell(line, limits=Limits(processes=5))
    with fail_after(LIMIT):
        result = await run_process(command, launcher=LocalLauncher(cgroup=True), check=False)
    assert result.exit is not None
    assert result.exit.code != 0
    assert b"fork" in (result.stderr or b"").lower()


# ---- when the program dies ----

HOST = """
import json, os, sys
import anyio
from currant import Command, Runner

options = json.loads(sys.argv[1])

async def main():
    command = Command.shell(options["line"])
    async with Runner([command], grace=options["grace"], cgroup=True):
        await anyio.sleep_forever()

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""
"""A program that runs a command until it is killed; it is in a control group of its own."""


@pytest.fixture
def host(anyio_backend_name: str, anyio_backend_options: dict[str, Any]) -> Iterator[Programs]:
    """What starts hosts on each event loop."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with Programs(HOST, anyio_backend_name, use_uvloop=use_uvloop) as host:
        yield host


@needs_cgroup
@pytest.mark.parametrize(
    ("body", "grace", "last"), [(SAYS_BYE, 5.0, {"bye"}), (IGNORES, 0.2, set[str]())]
)
def test_daemon_that_hides_ends_when_the_host_is_killed(
    host: Programs,
    place: Path,
    lifeline: Lifeline,
    gate: Gate,
    body: str,
    grace: float,
    last: set[str],
) -> None:
    """The orphan guard asks it, kills it after the grace, and removes the groups."""
    line = hiding(lifeline, gate, body, EXEC_FOREVER).argv[-1]
    killed = host.run({"line": line, "grace": grace}, wrap=[*JOIN, str(place)])
    lifeline.wait_for("out")
    gate.open()
    assert [each.is_dir() for each in place.glob("currant-*/1")] == [True]
    killed.kill()
    assert lifeline.wait_for_end() == {"leader", "out", *last}
    wait_until_empty(place)  # The guard is a member, too.
    assert list(place.glob("currant-*")) == []


# ---- without groups ----


def refuse_groups() -> str:
    """Find no place."""
    raise SetupError("cgroup v2 is not mounted")


@pytest.mark.parametrize("options", [{"orphan_guard": False}, {}])
async def test_required_groups_that_are_missing_are_an_error_on_entry(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Nothing starts.  It is no error to build the Runner, which may be entered elsewhere."""
    monkeypatch.setattr(containment, "find_place", refuse_groups)
    runner = Runner(["true"], cgroup=True, **options)
    with (
        fail_after(LIMIT),
        pytest.raises(CurrantError, match=r"requires: cgroup v2 is not mounted; "),
    ):
        async with runner:
            raise AssertionError


def create_nothing(path: str) -> object:
    """Refuse to create a group."""
    raise PermissionError(1, "no groups here", path)


async def test_required_groups_that_the_system_refuses_are_an_error_on_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A limit on the number of groups, for example; the guard exits."""
    monkeypatch.setattr(containment, "find_place", lambda: str(tmp_path))
    monkeypatch.setattr(containment, "ControlGroup", create_nothing)
    with fail_after(LIMIT), pytest.raises(CurrantError, match="no groups here"):
        async with Runner(["true"], cgroup=True):
            raise AssertionError


async def test_folder_that_is_no_group_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An old kernel: the folder is removed again."""
    monkeypatch.setattr(containment, "find_place", lambda: str(tmp_path))
    with fail_after(LIMIT), pytest.raises(CurrantError, match=r"Linux 5\.14"):
        async with Runner(["true"], cgroup=True):
            raise AssertionError
    assert list(tmp_path.iterdir()) == []


async def test_required_groups_need_a_python_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen application has none."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with fail_after(LIMIT), pytest.raises(CurrantError, match="has to be a Python interpreter"):
        async with Runner(["true"], cgroup=True):
            raise AssertionError


@pytest.mark.parametrize("missing", ["place", "permission"])
async def test_auto_without_groups_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The commands run as ever."""
    if missing == "place":
        monkeypatch.setattr(containment, "find_place", refuse_groups)
    else:
        monkeypatch.setattr(containment, "find_place", lambda: "/nowhere")
    with fail_after(LIMIT):
        async with Runner({"c": "echo hi"}, cgroup="auto", capture=True) as runner:
            pass
    assert runner.results["c"].stdout == b"hi\n"


def test_run_takes_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an option of the Runner."""
    monkeypatch.setattr(containment, "find_place", refuse_groups)
    assert currant.run("true", cgroup="auto").ok


@needs_cgroup
def test_command_line_takes_the_option(run: Run) -> None:
    """By default there are no groups."""
    for value, is_inside in (("no", False), ("yes", True), ("auto", True)):
        output = run("run", "--cgroup", value, "cat /proc/self/cgroup").out
        assert (b"/currant-" in output) == is_inside


# ---- members that start others, or do not die ----


class Chain:
    """A group whose member starts another one when it is asked to stop."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def is_populated(self) -> bool:
        """The third member is the last."""
        return len(self.asked) < 3

    def members(self) -> set[int]:
        """The last two members."""
        return {len(self.asked), len(self.asked) + 1}

    def send(self, pid: int, *numbers: int) -> bool:
        """Note the request."""
        self.asked.append((pid, *numbers))
        return True


async def test_each_member_is_asked_once() -> None:
    """A member does not save another by starting it at the last moment."""
    group: Any = Chain()
    with fail_after(LIMIT):
        assert await Members(group, 1).end(SIGTERM, HOURS)
    assert sorted(group.asked) == [(pid, SIGTERM, SIGCONT) for pid in range(len(group.asked))]


class Immortal:
    """A group whose member does not die."""

    def __init__(self) -> None:
        self.kills = 0

    def is_populated(self) -> bool:
        """It always has a member."""
        return True

    def members(self) -> set[int]:
        """Its member has no number here."""
        return set()

    def kill(self) -> bool:
        """The first time, no descriptor is left."""
        self.kills += 1
        if self.kills == 1:
            raise OSError(24, "no descriptor left")
        return True

    def remove(self) -> bool:
        """A group with a member cannot be removed."""
        return False


async def test_member_that_outlives_sigkill_is_given_up() -> None:
    """The waits are bounded, and SIGKILL is sent again: the first time may have failed."""
    group: Any = Immortal()
    members = Members(group, 0.05)
    with fail_after(LIMIT):
        assert not await members.end(9, 0)
        await members.aclose()
    assert group.kills > 1


@needs_cgroup
@pytest.mark.usefixtures("own_groups")
async def test_command_whose_member_outlives_sigkill_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a process of the group that does."""

    async def end(_: object, __: int, ___: float) -> bool:
        return False

    monkeypatch.setattr(Members, "end", end)
    with fail_after(LIMIT):
        async with LocalLauncher(cgroup=True, _limits=ShutdownLimits(reap=0.05)) as launcher:
            process = await launcher.launch(Command(["true"]))
            monkeypatch.setattr(Members, "survivor", lambda _: 4711)
            with pytest.raises(CannotStopError, match="4711"):
                await process.stop(15, 1)
            await process.aclose()
