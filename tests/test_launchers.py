"""The contract of launchers, run against `LocalLauncher` and `FakeLauncher`."""

from __future__ import annotations

import os
import signal
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.register_assert_rewrite("tests.launcher_contract")

from currant import PIPE, Command, CommandError, Exit, LocalLauncher, Usage  # noqa: E402
from currant._process import containment  # noqa: E402
from currant._process.launcher import Limited  # noqa: E402
from currant._process.spawn import start_with_pidfd, start_without_pidfd  # noqa: E402
from currant._system.groups import has_pidfds  # noqa: E402
from currant._values.shutdown_limits import ShutdownLimits  # noqa: E402
from currant.testing import FakeLauncher, FakeProcess, Script  # noqa: E402
from tests.cgroups import needs_cgroup  # noqa: E402
from tests.launcher_contract import MEGABYTE, Behaviour, LauncherContract  # noqa: E402
from tests.streams import read_until  # noqa: E402
from tests.system import started_by_uvloop  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant import Launcher, Process
    from currant._process.spawn import StartProcess


STARTS = [start_without_pidfd, *([start_with_pidfd] if has_pidfds() else ())]

FILL_STDOUT = """
import os
os.set_blocking(1, False)
count = 0
try:
    while True:
        count += os.write(1, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(1, True)
os.write(2, b"%d\\n" % count)
while True:
    os.write(1, b"x" * 4096)
"""

LINES = {
    Behaviour.SPEAKS: "echo hi; echo oops >&2; exit 3",
    Behaviour.RUNS: "echo ready; exec sleep 9999",
    # An ignored signal stays ignored after the exec.
    Behaviour.IGNORES_SIGTERM: "trap '' TERM; echo ready; exec sleep 9999",
    Behaviour.CLOSES_OUTPUT: "exec sleep 9999 >&- 2>&-",
    Behaviour.WRITES_MEGABYTE: f"head -c {MEGABYTE} /dev/zero | tr '\\0' x",
    Behaviour.READS_STDIN: "exec cat",
    Behaviour.LEAVES_A_PROCESS: "sleep 9999 & echo done",
}


class TestLocalLauncher(LauncherContract):
    """Processes of this machine keep the contract."""

    _start: StartProcess

    @pytest.fixture(params=STARTS, autouse=True)
    def way_to_start(self, request: pytest.FixtureRequest) -> None:
        """Each way to start processes on this system."""
        self._start = request.param

    def new_launcher(self) -> LocalLauncher:
        """Return a launcher of real processes, without the guard, which is a child as well."""
        return LocalLauncher(orphan_guard=False, _start=self._start)

    def command(self, behaviour: Behaviour) -> Command:
        """Return a small program with that behaviour."""
        match behaviour:
            case Behaviour.CANNOT_START:
                return Command(["/nonexistent/program"], name=behaviour.name)
            case Behaviour.FILLS_STDOUT:
                return Command([sys.executable, "-ISc", FILL_STDOUT], name=behaviour.name)
        stdin = PIPE if behaviour is Behaviour.READS_STDIN else None
        return Command.shell(LINES[behaviour], name=behaviour.name, stdin=stdin)

    async def read_from_stdin(self, process: Process, count: int) -> bytes:
        """Return the bytes that the process has echoed."""
        assert process.stdout is not None
        data = b""
        while len(data) < count:
            data += await process.stdout.receive(count - len(data))
        return data

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """A process that closes its stdout may still hold a second copy of it."""
        if started_by_uvloop(anyio_backend, self._start):
            return "uvloop hands its children second copies of 0 to 2, which they never close"
        return None

    def count_alive(self, launcher: Launcher) -> int:
        """Count the children of this process; without /proc, trust the launcher."""
        if os.path.exists("/proc/self/stat"):
            return sum(map(_is_child, filter(str.isdecimal, os.listdir("/proc"))))
        assert isinstance(launcher, LocalLauncher)
        return len(launcher._processes)

    async def test_closed_stream_ends_a_process_that_writes_there(self) -> None:
        """A process that waits for a reader gets SIGPIPE, as soon as there will be none."""
        async with self.process(Behaviour.FILLS_STDOUT) as process:
            await read_until(process.stderr, b"\n")
            assert process.stdout is not None
            await process.stdout.aclose()
            await read_until(process.stderr, b"Broken pipe\n")
            assert await process.wait() == Exit(1, None)

    def end_what_was_left(self, process: Process) -> None:
        """Kill the group, whose number belongs to the leftover process."""
        os.killpg(process.pid, signal.SIGKILL)


@needs_cgroup
class TestLocalLauncherWithGroups(TestLocalLauncher):
    """Control groups change nothing of the contract."""

    @pytest.fixture(autouse=True)
    def own_groups(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check that no group and no process is left."""
        monkeypatch.setattr(containment, "find_place", lambda: str(place))

    def new_launcher(self) -> LocalLauncher:
        """Return a launcher whose processes have control groups."""
        return LocalLauncher(orphan_guard=False, cgroup=True, _start=self._start)


def _is_child(pid: str) -> bool:
    try:
        stat = Path("/proc", pid, "stat").read_bytes()
    except OSError:
        return False
    return int(stat[stat.rindex(b")") :].split()[2]) == os.getpid()


SCRIPTS = {
    Behaviour.SPEAKS: Script(
        stdout=b"hi\n", stderr=b"oops\n", exit=3, usage=Usage(0.5, 0.25, 1 << 20)
    ),
    Behaviour.RUNS: Script(stdout=b"ready\n", exit=None),
    Behaviour.IGNORES_SIGTERM: Script(stdout=b"ready\n", exit=None, ignores={15}),
    Behaviour.CLOSES_OUTPUT: Script(exit=None),
    Behaviour.FILLS_STDOUT: Script(stdout=b"x" * MEGABYTE, stderr=b"%d\n" % MEGABYTE, exit=None),
    Behaviour.WRITES_MEGABYTE: Script(stdout=b"x" * MEGABYTE),
    Behaviour.READS_STDIN: Script(exit=None),
    Behaviour.LEAVES_A_PROCESS: Script(stdout=b"done\n", leftovers=inf),
    Behaviour.CANNOT_START: Script(error="there is no such program"),
}


SEAM = {
    *("aclose", "host", "pid", "send_signal", "stderr", "stdin", "stdout", "stop", "wait"),
    *("examine", "exchange", "is_local", "leave_group", "resize", "usage", "wait_group", "watch"),
}
"""The members of `Process`, and of the protocols of what a process may also be."""


@pytest.mark.anyio
async def test_local_process_shows_only_the_seam() -> None:
    """The methods of the kill path belong to the group behind the process."""
    async with LocalLauncher() as launcher:
        process = await launcher.launch(Command(["true"]))
        assert {name for name in dir(process) if not name.startswith("_")} == SEAM


@pytest.mark.parametrize("launcher", [LocalLauncher, FakeLauncher])
def test_launcher_states_its_limits(launcher: Callable[..., Launcher]) -> None:
    """A Runner bounds the end of its block by the limits of its launcher."""
    limits = ShutdownLimits(reap=0.5)
    stated = launcher(_limits=limits)
    assert isinstance(stated, Limited)
    assert stated.limits is limits
    default = launcher()
    assert isinstance(default, Limited)
    assert default.limits == ShutdownLimits()


@pytest.mark.anyio
async def test_fake_process_accepts_signals_without_a_name() -> None:
    """Real-time signals appear as their number, as for a real process."""
    async with FakeLauncher(default=Script(exit=None)) as launcher:
        process = await launcher.launch(Command(["c"]))
        number = signal.SIGRTMIN + 3
        assert await process.send_signal(number)
        assert str(await process.wait()) == f"signal {number}"


@pytest.mark.anyio
async def test_fake_launcher_keeps_the_processes_that_run() -> None:
    """Others that have exited are dropped, but for the last ones."""
    web = Script(exit=None, ignores={signal.SIGTERM})
    async with FakeLauncher({"web": web}, keep=2) as launcher:
        process = await launcher.launch(Command(["x"], name="web"))
        for number in range(20):
            await (await launcher.launch(Command(["x"], name=f"job{number}"))).wait()
            assert launcher[f"job{number}"] is launcher.launched[-1]
            assert len(launcher.launched) <= 6
        assert launcher["web"] is process
        with pytest.raises(KeyError):
            launcher["job0"]
    assert not process.running


@pytest.mark.anyio
async def test_fake_leftovers_end_with_the_launcher() -> None:
    """Nothing waits for them, also if their process was dropped."""
    async with FakeLauncher(default=Script(leftovers=inf), keep=1) as launcher:
        for _ in range(5):
            await (await launcher.launch(Command(["x"]))).wait()


@pytest.mark.parametrize("number", [0, -1, True, "all"])
def test_fake_launcher_refuses_a_wrong_number(number: Any) -> None:
    """The error names the argument."""
    with pytest.raises(CommandError, match="keep must be an integer"):
        FakeLauncher(keep=number)


class TestFakeLauncher(LauncherContract):
    """Processes that follow a script keep the contract."""

    def new_launcher(self) -> FakeLauncher:
        """Return a launcher that knows a script for each behaviour."""
        return FakeLauncher({behaviour.name: script for behaviour, script in SCRIPTS.items()})

    def command(self, behaviour: Behaviour) -> Command:
        """Return a command with the name of its script."""
        stdin = PIPE if behaviour is Behaviour.READS_STDIN else None
        return Command(["program"], name=behaviour.name, stdin=stdin)

    async def start(self, launcher: Launcher, command: Command) -> Process:
        """Launch `command`; a script cannot close the output, so that is done by hand."""
        process = await launcher.launch(command)
        assert isinstance(process, FakeProcess)
        if command.name == Behaviour.CLOSES_OUTPUT.name:
            process.close_output()
        return process

    async def read_from_stdin(self, process: Process, count: int) -> bytes:
        """Return what was sent to the process."""
        assert isinstance(process, FakeProcess)
        return bytes(process.received[:count])

    def count_alive(self, launcher: Launcher) -> int:
        """Count the processes that have not ended."""
        assert isinstance(launcher, FakeLauncher)
        return sum(process.running for process in launcher.launched)

    def end_what_was_left(self, process: Process) -> None:
        """Check that the fake process knows about it; there is nothing to end."""
        assert isinstance(process, FakeProcess)
        assert process.was_left
