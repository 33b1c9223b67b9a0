"""A Runner on a system in trouble: no file descriptors, no processes, a bad clock, no reaper.

The commands are real.  `test_local` tests what a single start does in such cases; the tests here
check that the Runner continues.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGURG
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

import currant
from currant import (
    CannotStopError,
    Command,
    Exit,
    Exited,
    Failed,
    LaunchError,
    LocalLauncher,
    Restarting,
    RestartPolicy,
    Runner,
    Started,
)
from currant._process import spawn
from currant._process.child import Child
from currant._process.escapees import Escapees
from currant._process.spawn import RETRY_DELAYS, default_start
from currant._system import proc
from currant._system.groups import ProcessGroup
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.files import files_left
from tests.reading import first_line, messages_of
from tests.system import HAS_PIDFDS, hide_group_pidfds, needs_proc, started_by_uvloop
from tests.waiting import FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import Process

    from currant import Message
    from currant._process.child import SpawnSpec
    from tests.kills import Kills
    from tests.lifeline import Lifeline

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
AGAIN = RestartPolicy("on-failure", delay=0.01, factor=1.0)

# ---- no free file descriptor ----


async def test_a_runner_without_free_file_descriptors_continues(
    anyio_backend: object,
) -> None:
    """With any number of free descriptors a start works or fails; running commands continue."""
    # If uvloop itself cannot open a file while starting a process, uvloop leaks the files that are
    # already open.  So on uvloop this test stops at the number that currant's own pipes need.
    most = 5 if started_by_uvloop(anyio_backend) else 30
    with anyio.fail_after(LIMIT):
        async with Runner({"cat": Command(["cat"], stdin=currant.PIPE)}) as runner:
            await runner["cat"].until_started()
            for count in range(most + 1):
                with files_left(count):
                    result = await runner.start_soon(Command(["true"], name=str(count))).wait()
                if result.status != "succeeded":
                    assert isinstance(result.error, LaunchError)
                    assert "no file descriptors left" in result.error.reason
                await runner["cat"].send(b"still here\n")
                assert (await first_line(runner, "cat")).data == b"still here"
            await runner["cat"].close_stdin()
    assert runner.results["0"].status == "failed"
    assert runner.results["cat"].status == "succeeded"


async def test_a_start_without_a_free_file_descriptor_is_retried_with_backoff() -> None:
    """The restart policy applies until a descriptor is free."""
    with anyio.fail_after(LIMIT):
        async with Runner(restart=AGAIN) as runner:
            with files_left(0):
                runner.start_soon("true")
                kinds = [type(await anext(aiter(runner))) for _ in range(4)]
            assert kinds == [Failed, Restarting, Failed, Restarting]
    assert runner.results["true"].status == "succeeded"
    assert runner.results["true"].attempts >= 3


async def test_commands_are_stopped_without_a_free_file_descriptor() -> None:
    """A kill opens no file: the process ends, and its exit and status are right."""
    with anyio.fail_after(LIMIT):
        async with Runner({"c": "sleep 9999"}) as runner:
            await runner["c"].until_started()
            with files_left(0):
                runner.kill()
                result = await runner["c"].wait()
    assert result.exit == Exit(None, signal.SIGTERM, stopped=True)
    assert result.status == "stopped"


async def test_a_group_is_not_empty_while_proc_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a free descriptor, a group counts as not empty until ``/proc`` can be read again."""

    def refuse(*args: object) -> None:
        raise OSError(errno.EMFILE, "no file left")

    leader = subprocess.Popen(["sleep", "9999"], process_group=0)  # noqa: ASYNC220
    group = ProcessGroup(leader.pid)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(proc, "_read", refuse)
            assert group.leader_is_alive()
            assert not group.is_empty()
        leader.kill()
        leader.wait()
        assert group.is_empty()
    finally:
        leader.kill()
        leader.wait()
        group.close()


@needs_proc
async def test_a_search_for_escapees_waits_for_a_free_file_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search that fails for lack of a descriptor is repeated a moment later."""
    tries: list[None] = []
    candidates = Escapees._candidates

    def refuse_at_first(escapees: Escapees) -> Sequence[int]:
        tries.append(None)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "no file left")
        return candidates(escapees)

    monkeypatch.setattr(Escapees, "_candidates", refuse_at_first)
    async with Runner(["true"]) as runner:
        pass
    assert runner.results.ok
    assert len(tries) >= 3


@needs_proc
async def test_a_search_for_escapees_gives_up_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If no descriptor becomes free in bounded time, a warning says that escapees may be left."""

    def refuse(_: Escapees) -> None:
        raise OSError(errno.EMFILE, "no file left")

    monkeypatch.setattr(Escapees, "_candidates", refuse)
    launcher = LocalLauncher(_limits=ShutdownLimits(search=0.01))
    with pytest.warns(RuntimeWarning, match="cannot search for processes.*no file left"):
        async with Runner(["true"], grace=0, launcher=launcher) as runner:
            pass
    assert runner.results.ok


@needs_proc
async def test_search_that_found_no_descriptor_is_made_up_for_at_the_end(
    monkeypatch: pytest.MonkeyPatch, lifeline: Lifeline
) -> None:
    """The commands themselves may have taken all descriptors."""
    launcher = LocalLauncher(_limits=ShutdownLimits(search=0.01))
    candidates = Escapees._candidates

    def refuse_while_commands_run(escapees: Escapees) -> Sequence[int]:
        if launcher._processes:
            raise OSError(errno.EMFILE, "no file left")
        return candidates(escapees)

    monkeypatch.setattr(Escapees, "_candidates", refuse_while_commands_run)
    escapee = f"{lifeline.say('out')}; {FOREVER}"
    line = f"{lifeline.hold('leader')}; setsid sh -c '{escapee}' & {FOREVER}"
    with anyio.fail_after(LIMIT):
        async with Runner([Command.shell(line, name="it")], launcher=launcher) as runner:
            await to_thread.run_sync(lifeline.wait_for, "out")
            runner["it"].kill()  # Its output is open, so its escapees are searched for at once.
    lifeline.ended()


# ---- no new process ----


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
async def test_a_failed_fork_is_retried_with_backoff_and_others_continue(number: int) -> None:
    """The restart policy applies to the command; running commands are not affected."""
    tries: list[None] = []

    async def refuse_at_first(spec: SpawnSpec) -> Child | Process:
        if spec.argv[0] == "true":
            tries.append(None)
            if len(tries) <= 2:
                raise OSError(number, os.strerror(number))
        return await default_start()(spec)

    with anyio.fail_after(LIMIT):
        launcher = LocalLauncher(_start=refuse_at_first)
        async with Runner(["sleep 9999"], launcher=launcher) as runner:
            await runner["sleep"].until_started()
            runner.start_soon(Command(["true"], restart=AGAIN))
            await runner["true"].wait()
            runner.kill()
            messages = await messages_of(runner)
    kinds = [type(message) for message in messages if message.command == "true"]
    assert kinds == [*[Failed, Restarting] * 2, Started, Exited]
    assert runner.results["true"].status == "succeeded"
    assert runner.results["sleep"].exit == Exit(None, signal.SIGTERM, stopped=True)


async def test_an_event_loop_that_fails_after_the_fork_leaves_no_process(
    lifeline: Lifeline,
) -> None:
    """asyncio on Python 3.11 fails if the thread that waits for the exit cannot be started."""
    lost: list[Child | Process] = []

    async def fail_afterwards(spec: SpawnSpec) -> Child | Process:
        lost.append(await default_start()(spec))
        await anyio.to_thread.run_sync(lifeline.wait_for, "c")
        raise RuntimeError("can't start new thread")

    command = Command.shell(f"{lifeline.hold('c')}; exec sleep 9999")
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(_start=fail_afterwards) as launcher:
            with pytest.raises(LaunchError, match="can't start new thread"):
                await launcher.launch(command)
            if proc.has_proc():
                lifeline.ended()
            else:
                os.kill(lost[0].pid, SIGKILL)
        await lost[0].wait()
        if isinstance(lost[0], Child):
            lost[0].close()


async def test_a_start_is_retried_while_the_program_is_open_for_writing(tmp_path: Path) -> None:
    """ETXTBSY ends as soon as the writer closes the file."""
    program = tmp_path / "program"
    shutil.copy(shutil.which("true") or "/bin/true", program)
    tries: list[None] = []
    with program.open("ab") as writer:

        async def close_at_the_second_try(spec: SpawnSpec) -> Child | Process:
            tries.append(None)
            if len(tries) == 2:
                writer.close()
            return await default_start()(spec)

        launcher = LocalLauncher(_start=close_at_the_second_try)
        with anyio.fail_after(LIMIT):
            async with Runner([[program]], launcher=launcher) as runner:
                pass
    assert runner.results["program"].status == "succeeded"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ETXTBSY, "Text file busy"), "is open for writing"),
        (RuntimeError("Racing with another loop to spawn a process."), "Racing"),
    ],
)
async def test_an_error_that_persists_for_a_tenth_of_a_second_is_reported(
    error: Exception, reason: str
) -> None:
    """After a few retries the start fails with the error."""
    tries: list[None] = []

    async def refuse(spec: SpawnSpec) -> Child:
        tries.append(None)
        raise error

    async with Runner(["true"], launcher=LocalLauncher(_start=refuse)) as runner:
        pass
    assert reason in str(runner.results["true"].error)
    assert len(tries) == len(RETRY_DELAYS) + 1
    assert sum(RETRY_DELAYS) < 0.1


async def test_a_kill_ends_the_retries_of_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill ends the wait for the next try, which does not follow."""
    monkeypatch.setattr(spawn, "RETRY_DELAYS", [HOURS])
    tries: list[None] = []

    async def refuse(spec: SpawnSpec) -> Child:
        tries.append(None)
        runner.kill()
        raise OSError(errno.ETXTBSY, "Text file busy")

    with anyio.fail_after(LIMIT):
        async with Runner(["true"], launcher=LocalLauncher(_start=refuse)) as runner:
            pass
    assert len(tries) == 1
    assert runner.results["true"].status == "stopped"


# ---- a stop while a process is being started ----


class HeldStart:
    """Starts a process, and blocks before or after the start until `until` returns true."""

    def __init__(self, *, before: bool, until: Callable[[], bool]) -> None:
        self.reached = anyio.Event()
        self._before = before
        self._until = until

    async def __call__(self, spec: SpawnSpec) -> Child | Process:
        """Start a process."""
        if self._before:
            await self._hold()
        process = await default_start()(spec)
        if not self._before:
            await self._hold()
        return process

    async def _hold(self) -> None:
        self.reached.set()
        with anyio.CancelScope(shield=True):  # A real start cannot be cancelled either.
            while not self._until():
                await checkpoint()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("way", ["kill", "job", "cancel", "raise"])
async def test_a_stop_during_a_start_ends_the_process_right_after_the_start(
    before: bool, way: str, lifeline: Lifeline
) -> None:
    """The start completes, its process ends at once, and no second process is started."""
    command = Command.shell(f"{lifeline.hold('c')}; exec sleep 9999", restart="always")
    start = HeldStart(before=before, until=lambda: runner["c"].state == "stopping")
    runner = Runner({"c": command}, grace=HOURS, launcher=LocalLauncher(_start=start))
    with anyio.fail_after(LIMIT), anyio.CancelScope() as scope, suppress(LookupError):
        async with runner:
            await start.reached.wait()
            match way:
                case "kill":
                    runner.kill()
                case "job":
                    runner["c"].kill()
                case "cancel":
                    scope.cancel()
                case _:
                    raise LookupError
    assert lifeline.ended() <= {"c"}
    assert runner.results["c"].status == "stopped"
    assert runner.results["c"].attempts == 1


@pytest.mark.parametrize("way", ["runner", "job"])
async def test_a_second_kill_during_a_start_skips_the_grace(way: str) -> None:
    """Two kills before the process exists count as two kills of the process."""
    deaf = Command(["sleep", "9999"], stop_signal=SIGURG)  # SIGURG does nothing by default.
    killed_twice = anyio.Event()
    start = HeldStart(before=True, until=killed_twice.is_set)
    launcher = LocalLauncher(_start=start)
    with anyio.fail_after(LIMIT):
        async with Runner({"c": deaf}, grace=HOURS, launcher=launcher) as runner:
            await start.reached.wait()
            for _ in range(2):
                runner.kill() if way == "runner" else runner["c"].kill()
            killed_twice.set()
    assert runner.results["c"].exit == Exit(None, SIGKILL, stopped=True, forced=True)


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_no_start_begins_after_a_kill(turns: int) -> None:
    """During a storm of restarts, the number of starts does not grow after the kill."""
    begun: list[None] = []

    async def count(spec: SpawnSpec) -> Child | Process:
        begun.append(None)
        return await default_start()(spec)

    launcher = LocalLauncher(_start=count)
    storm = RestartPolicy("always", delay=0)
    async with Runner([["false"]] * 3, restart=storm, launcher=launcher) as runner:
        for _ in range(turns):
            await checkpoint()
        runner.kill()
        at_kill = len(begun)
    assert len(begun) == at_kill


# ---- destinations of signals ----


@pytest.mark.parametrize("by_number", [False, True])
async def test_a_busy_runner_signals_only_its_own_groups(
    by_number: bool, monkeypatch: pytest.MonkeyPatch, kills: Kills
) -> None:
    """No signal goes to a group that is gone, amid exits, restarts, stops and leftover children.

    If pidfds reach groups, a signal is sent by number only if the leader was reaped before currant
    could open its pidfd, and the group still has a member.
    """
    if by_number:
        hide_group_pidfds(monkeypatch)
    commands = {
        "ends": Command(["true"], restart=RestartPolicy("always", delay=0, max_restarts=20)),
        "leaves": Command.shell(
            "sleep 9999 & exit 3", restart=RestartPolicy("always", delay=0, max_restarts=10)
        ),
        "runs": Command(["sleep", "9999"]),
    }
    pids: dict[str, set[int]] = defaultdict(set)

    def react(message: Message) -> None:
        if isinstance(message, Started):
            pids[message.command].add(message.pid)
            if message.command.startswith("stopped"):
                runner[message.command].kill()
        if runner["leaves"].state == "ended" and runner["ends"].state == "ended":
            runner.kill()

    with anyio.fail_after(LIMIT):
        async with Runner(commands, max_processes=10) as runner:
            for number in range(100):
                runner.start_soon(Command(["true"], name=f"stopped {number}"))
            async for message in runner:
                react(message)
    assert {group for group, _ in kills.sent} <= set().union(*pids.values())
    assert runner.results["leaves"].attempts == 11
    if not by_number and HAS_PIDFDS:
        assert {group for group, _ in kills.by_number} <= pids["leaves"]


async def test_a_process_that_survives_sigkill_fails_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process in state D survives SIGKILL: its command fails, and the block is left."""
    started: list[Child | Process] = []

    async def start(spec: SpawnSpec) -> Child | Process:
        started.append(await default_start()(spec))
        return started[-1]

    limits = ShutdownLimits(reap=0.05)
    launcher = LocalLauncher(orphan_guard=False, _start=start, _limits=limits)
    with anyio.fail_after(LIMIT):
        async with Runner(["sleep 9999"], grace=0.05, launcher=launcher) as runner:
            await runner["sleep"].until_started()
            with monkeypatch.context() as patch:
                patch.setattr(ProcessGroup, "send", lambda group, *signals: True)
                runner.kill()
                await runner["sleep"].wait()
            os.kill(started[0].pid, SIGKILL)
        while started[0].returncode is None:
            await checkpoint()
    assert runner.results["sleep"].status == "failed"
    assert isinstance(runner.results["sleep"].error, CannotStopError)


# ---- no reaper ----

UNDER_PID_1 = """
import anyio, sys, time
from currant import Command, Runner

async def main():
    began = time.monotonic()
    leaves = Command.shell("sh -c 'sleep 9999 & sleep 9999 & wait' & exit 3")
    tree = Command.shell("sh -c 'sleep 9999 & echo ready; wait' & wait")
    async with Runner({"leaves": leaves, "tree": tree}, grace=60) as runner:
        async for message in runner:
            if runner["leaves"].state == "ended" and runner["tree"].tail:
                runner.kill()
    print(*(result.exit for result in runner.results.values()), sep="; ", end="; ")
    print("soon" if time.monotonic() - began < 30 else "after the grace")

anyio.run(main, backend=sys.argv[1], backend_options={"use_uvloop": True} if sys.argv[2] else {})
"""


def test_a_group_of_zombies_is_gone_under_a_pid_1_that_never_reaps(
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    """Zombies that PID 1 never reaps do not make a stop wait for its grace, or hang."""
    unshare = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    probe = subprocess.run([*unshare, "true"], check=False, capture_output=True)
    if shutil.which("unshare") is None or probe.returncode != 0:
        pytest.skip("needs util-linux's unshare and the permission to create a PID namespace")
    name, options = anyio_backend
    # PID 1 of the new namespace reaps only its own child.
    pid_1 = (
        "import os, sys\n"
        "child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "states = [open(f'/proc/{n}/stat').read().rsplit(') ')[1][0]"
        " for n in os.listdir('/proc') if n.isdecimal()]\n"
        "print('zombies:', states.count('Z') > 0, flush=True)\n"
        "os._exit(code)\n"
    )
    host = [sys.executable, "-c", UNDER_PID_1, name, "y" if options.get("use_uvloop") else ""]
    done = subprocess.run(
        [*unshare, sys.executable, "-ISc", pid_1, *host],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "exit code 3; stopped (SIGTERM); soon\nzombies: True\n"


# ---- clocks, threads, memory ----


class TestOnTheClock:
    """Tests on trio's mock clock, which skips idle time: waits are exact, and cost no time."""

    @pytest.fixture
    def anyio_backend(self) -> object:
        """Use trio with a clock that jumps to the next deadline."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize("script", [Script(exit=1), Script(error="no such interpreter")])
    async def test_the_default_backoff_limits_the_starts_of_a_failing_command(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """About 29 starts happen in ten minutes, even if the wall clock jumps."""
        launcher = FakeLauncher({"c": script})
        jumps = iter(range(10**9, 0, -(10**6)))
        monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
        async with Runner(["c"], restart="on-failure", launcher=launcher) as runner:
            with anyio.move_on_after(600):
                await runner.join()
            runner.kill()
        # The delays 0.1 + 0.2 + … + 25.6 take 51 s and nine starts; after that, one start in
        # 30 s, plus or minus 10 %.
        assert 26 <= runner.results["c"].attempts <= 32
        assert 600 <= runner.results["c"].duration < 601

    async def test_the_backoff_starts_over_after_a_long_run(self) -> None:
        """A process that ran for `reset_after` ends the series of failures."""
        crashes = [Script(exit=1)] * 5
        launcher = FakeLauncher({"c": [*crashes, Script(exit=1, after=20), Script(exit=None)]})
        delays: list[float] = []
        async with Runner(["c"], restart="on-failure", launcher=launcher) as runner:
            async for message in runner:
                if isinstance(message, Restarting):
                    delays.append(message.delay)
                    if len(delays) == 6:
                        break
            runner.kill()
        assert delays[4] > 1
        assert delays[5] < 0.2


async def test_a_runner_works_in_a_thread_and_leaves_signal_handlers_alone(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> None:
    """Starts, restarts, the grace and the guard need neither the main thread nor a handler."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    during: list[dict[int, object]] = []
    results: list[currant.Results] = []
    deaf = Command.shell("trap '' TERM; echo ready; while :; do sleep 99; done", grace=0.05)
    crashes = Command(["false"], restart=RestartPolicy("on-failure", delay=0, max_restarts=2))

    async def main() -> None:
        async with Runner({"deaf": deaf, "crashes": crashes, "plain": "sleep 9999"}) as runner:
            during.append({number: signal.getsignal(number) for number in before})
            await first_line(runner, "deaf")
            await runner["crashes"].wait()
            runner.kill()
        results.append(runner.results)

    def in_thread() -> None:
        anyio.run(main, backend=anyio_backend_name, backend_options=dict(anyio_backend_options))

    thread = threading.Thread(target=in_thread)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    assert results[0]["deaf"].exit == Exit(None, SIGKILL, stopped=True, forced=True)
    assert results[0]["crashes"].attempts == 3
    assert results[0]["plain"].exit == Exit(None, signal.SIGTERM, stopped=True)
    assert during == [before]
    assert {number: signal.getsignal(number) for number in before} == before


LONG_LINE = """
import anyio, sys
from currant import Command, Runner

def peak():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

async def main():
    command = Command.shell("head -c 200000000 /dev/zero | tr '\\\\0' x")
    async with Runner({"warm-up": "echo"}):
        pass
    before, size = peak(), 0
    async with Runner({"c": command}) as runner:
        async for message in runner:
            size += len(getattr(message, "data", b""))
    print(size, peak() - before)

anyio.run(main, backend=sys.argv[1], backend_options={"use_uvloop": True} if sys.argv[2] else {})
"""


@needs_proc
def test_two_hundred_megabytes_without_a_newline_take_little_memory(
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    """No byte of an endless line is lost, and memory does not grow with its length."""
    name, options = anyio_backend
    done = subprocess.run(
        [sys.executable, "-c", LONG_LINE, name, "y" if options.get("use_uvloop") else ""],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    size, grown = map(int, done.stdout.split())
    assert size == 200_000_000
    assert grown < 20_000_000


@pytest.mark.skipif(not HAS_PIDFDS, reason="takes pidfds that reach groups: Linux 6.9 or later")
def test_a_group_that_ended_before_its_pidfd_was_opened_gets_no_signal(
    monkeypatch: pytest.MonkeyPatch, kills: Kills
) -> None:
    """The leader may exit and be reaped between its start and currant's first check."""
    pidfd_open = os.pidfd_open

    def open_too_late(pid: int, *flags: int) -> int:
        pidfd = pidfd_open(pid, *flags)
        leader.kill()
        leader.wait()
        return pidfd

    monkeypatch.setattr(os, "pidfd_open", open_too_late)
    before = len(os.listdir("/dev/fd"))
    with subprocess.Popen(["sleep", "9999"], process_group=0) as leader:
        group = ProcessGroup(leader.pid)
    assert len(os.listdir("/dev/fd")) == before
    assert not group.send(SIGKILL)
    assert group.is_empty()
    assert kills.sent == [(leader.pid, 0)]
