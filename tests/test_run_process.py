"""`currant.run_process`: one command, its whole tree, and what it costs and leaves."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import weakref
from math import inf
from signal import SIGINT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, to_thread
from anyio.abc import ByteReceiveStream

from currant import (
    PIPE,
    CannotStopError,
    Capture,
    Command,
    CommandError,
    CommandFailed,
    CommandNotFoundError,
    Exit,
    LaunchError,
    RestartPolicy,
    Runner,
    TimeLimitError,
    run_process,
)
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from currant import Result
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.anyio


# ---- arguments and results ----


async def test_result_has_the_exit_and_the_whole_output() -> None:
    """Both streams are captured by default."""
    result = await run_process(["sh", "-c", "echo out; echo err >&2"])
    assert result.status == "succeeded"
    assert result.exit == Exit(0, None)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")
    assert result.command == "sh"


@pytest.mark.parametrize(
    "command",
    ["echo 'a b'", ["echo", "a b"], Command(["echo", "a b"]), Command.parse("echo 'a b'")],
)
async def test_command_is_a_line_words_or_a_command(command: Any) -> None:
    """It is given in any form that a Runner accepts."""
    assert (await run_process(command)).stdout == b"a b\n"


async def test_options_are_those_of_a_command(tmp_path: Path) -> None:
    """They also change the options of a command that was built before."""
    line = "pwd; echo $A; echo err >&2"
    options: dict[str, Any] = {"cwd": tmp_path, "env": {"A": "1"}, "stderr": "stdout"}
    assert (await run_process(["sh", "-c", line], **options)).stdout == b"%b\n1\nerr\n" % bytes(
        tmp_path
    )
    built = Command.shell(line, env={"A": "2"}, cwd=tmp_path)
    assert (await run_process(built, env={"A": "3"})).stdout == b"%b\n3\n" % bytes(tmp_path)


async def test_input_is_written_and_closed() -> None:
    """The command reads all of it, then end-of-file; it may also read nothing."""
    data = os.urandom(1_000_000)
    assert (await run_process("cat", input=data)).stdout == data
    assert (await run_process("true", input=data)).status == "succeeded"


@pytest.mark.parametrize(("capture", "expected"), [(True, b"12345"), (2, b"45"), (False, None)])
async def test_capture_keeps_all_the_end_or_nothing(
    capture: bool | int, expected: bytes | None
) -> None:
    """The command may write more than is kept."""
    result = await run_process(["printf", "12345"], capture=capture)
    assert result.stdout == expected


async def test_failure_is_an_error_with_the_result_and_the_last_lines() -> None:
    """The error of a failed tool is what an agent or a user has to read."""
    with pytest.raises(CommandFailed, match=r"exit code 3(.|\n)*cannot find it") as caught:
        await run_process(["sh", "-c", "echo cannot find it >&2; exit 3"])
    assert caught.value.result.exit == Exit(3, None)
    assert caught.value.result.stderr == b"cannot find it\n"


async def test_failure_is_returned_without_check() -> None:
    """As in `subprocess.run`."""
    result = await run_process("false", check=False)
    assert (result.status, result.exit) == ("failed", Exit(1, None))


@pytest.mark.parametrize("check", [True, False])
async def test_missing_program_is_an_error_in_any_case(check: bool) -> None:
    """It is a `FileNotFoundError` as well, as in `subprocess.run`."""
    with pytest.raises(CommandNotFoundError, match="'nope': there is no program"):
        await run_process("nope", check=check)
    with pytest.raises(FileNotFoundError, match="working directory '/nope' does not exist"):
        await run_process("true", cwd="/nope", check=check)


@pytest.mark.parametrize("restart", ["on-failure", "always"])
async def test_missing_program_is_not_started_again_and_again(restart: Any) -> None:
    """It is an error at once, whatever the policy says of failures."""
    with fail_after(LIMIT), pytest.raises(CommandNotFoundError):
        await run_process("nope", restart=restart)


@pytest.mark.parametrize("kind", ["stdout", "stderr", "spill"])
async def test_missing_program_empties_no_file(kind: str, tmp_path: Path) -> None:
    """A mistyped name does not cost yesterday's output."""
    file = tmp_path / "dump"
    file.write_text("precious")
    options: Any = {"capture": Capture(spill=file)} if kind == "spill" else {kind: file}
    with pytest.raises(CommandNotFoundError):
        await run_process("nope", **options)
    assert file.read_text() == "precious"


async def test_program_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    """`CommandFailed` has the reason as its cause."""
    program = tmp_path / "program"
    program.write_bytes(b"neither a script nor a binary")
    program.chmod(0o755)
    with pytest.raises(CommandFailed, match="no '#!' line") as caught:
        await run_process([program])
    assert isinstance(caught.value.__cause__, LaunchError)
    result = await run_process([program], check=False)
    assert (result.status, result.exit) == ("failed", None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stdin": PIPE}, "command 'true': nobody can write to the stdin=PIPE"),
        ({"stdin": b"a", "input": b"b"}, "either input or stdin, not both"),
        ({"replicas": 2}, "command 'true': run_process runs a single process"),
        ({"after": "web"}, "command 'true': run_process runs a single process"),
        ({"timeout": -1}, "command 'true': timeout must"),
        ({"input": "text"}, "command 'true': input must be bytes or None, not 'text'"),
        ({"input": 0}, "command 'true': input must be bytes or None, not 0"),
        ({"capture": "yes"}, "command 'true': capture must"),
        ({"launcher": 5}, "launcher must be a Launcher or None, not 5"),
    ],
)
async def test_wrong_option_is_an_error_before_anything_starts(
    options: dict[str, Any], message: str
) -> None:
    """It names the command and the option."""
    fake = FakeLauncher()
    options = {"launcher": fake, **options}
    with pytest.raises(CommandError, match=message):
        await run_process("true", **options)
    assert not fake.launched


async def test_input_contradicts_the_stdin_of_a_command() -> None:
    """As it does the option `stdin`; a `PIPE`, or an option that replaces the stdin, does not."""
    fake = FakeLauncher()
    with pytest.raises(CommandError, match="either input or stdin, not both"):
        await run_process(Command(["cat"], stdin=b"a"), input=b"b", launcher=fake)
    assert not fake.launched
    command = Command(["cat"], stdin=PIPE)
    assert (await run_process(command, input=b"b")).stdout == b"b"
    command = Command(["cat"], stdin=b"a")
    assert (await run_process(command, input=b"b", stdin=None)).stdout == b"b"
    assert (await run_process(command, stdin=b"c")).stdout == b"c"


async def test_restart_policy_of_the_command_holds(tmp_path: Path) -> None:
    """The result is that of the last attempt."""
    line = "echo x >>file; test $(wc -l <file) = 3"
    policy = RestartPolicy("on-failure", delay=0)
    result = await run_process(Command.shell(line, restart=policy, cwd=tmp_path))
    assert (result.status, result.attempts) == ("succeeded", 3)


# ---- the end ----


async def test_time_limit_stops_the_tree(lifeline: Lifeline) -> None:
    """It is a failure."""
    line = f"{lifeline.hold('tree')}; {FOREVER} & {EXEC_FOREVER}"
    with fail_after(LIMIT), pytest.raises(CommandFailed, match=r"time limit of 0\.5 s") as caught:
        await run_process(["sh", "-c", line], timeout=0.5)
    assert lifeline.ended() <= {"tree"}  # A slow machine may not have come so far.
    assert isinstance(caught.value.result.error, TimeLimitError)


async def test_result_has_the_output_until_the_time_limit() -> None:
    """The error carries it too, since the reason may stand there."""
    fake = FakeLauncher({"c": Script(stdout=b"begun\n", exit=None)})
    with fail_after(LIMIT), pytest.raises(CommandFailed, match="begun") as caught:
        await run_process("c", timeout=0.01, launcher=fake)
    assert caught.value.result.stdout == b"begun\n"


async def test_background_process_does_not_hold_up_the_end(lifeline: Lifeline) -> None:
    """It has the output open, and ends with its group."""
    line = f"{lifeline.hold('background')}; {FOREVER} & echo done"
    with fail_after(LIMIT):
        result = await run_process(["sh", "-c", line])
    assert result.stdout == b"done\n"
    assert lifeline.ended() == {"background"}


async def run_until_out(line: str, lifeline: Lifeline, gate: Gate, **options: Any) -> None:
    """Run a shell command that waits at the gate, which opens when an escapee has said ``out``."""
    async with anyio.create_task_group() as tasks:

        async def open_gate() -> None:
            await to_thread.run_sync(lifeline.wait_for, "out")
            gate.open()

        tasks.start_soon(open_gate)
        with fail_after(LIMIT):
            await run_process(["sh", "-c", line], **options)


@needs_proc
async def test_escapee_does_not_outlive_the_call(lifeline: Lifeline, gate: Gate) -> None:
    """A process in a session of its own is found by its mark."""
    escapee = f"setsid sh -c 'echo out >&9; {EXEC_FOREVER}' <&- >&- 2>&- &"
    line = f"{lifeline.hold('leader')}; {escapee} {gate.wait}"
    await run_until_out(line, lifeline, gate)
    assert lifeline.ended() == {"leader", "out"}


@pytest.mark.parametrize("stdin", [None, bytes(300_000)], ids=["no input", "unread input"])
async def test_cancellation_stops_the_tree_with_its_grace(
    lifeline: Lifeline, stdin: bytes | None
) -> None:
    """The command may clean up, and its output is read meanwhile."""
    # More than a pipe holds: the command could not write it if nobody read.
    clean_up = f"head -c 300000 /dev/zero; {lifeline.say('clean')}; exit 0"
    line = f"{lifeline.hold('command')}; trap '{clean_up}' TERM; {lifeline.say('set')}; "
    line += "while :; do sleep 0.05; done"
    with fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await run_process(["sh", "-c", line], input=stdin, grace=HOURS)

            tasks.start_soon(call)
            await to_thread.run_sync(lifeline.wait_for, "set")
            tasks.cancel_scope.cancel()
    assert lifeline.ended() == {"command", "set", "clean"}


async def test_cancellation_kills_a_command_that_ignores_the_signal(lifeline: Lifeline) -> None:
    """After the grace nothing is left."""
    line = f"trap '' TERM; {lifeline.hold('deaf')}; {EXEC_FOREVER}"
    with fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run_process(["sh", "-c", line], grace=0.1))
            await to_thread.run_sync(lifeline.wait_for, "deaf")
            tasks.cancel_scope.cancel()
    assert lifeline.ended() == {"deaf"}


async def test_call_in_a_cancelled_scope_starts_nothing_that_stays() -> None:
    """The error is the cancellation, and the command is stopped."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_process(FOREVER)
    assert scope.cancelled_caught


async def test_cancellation_ends_the_wait_before_a_restart() -> None:
    """A delay of hours is cut short."""
    policy = RestartPolicy("always", delay=HOURS)
    fake = FakeLauncher({"c": Script(exit=1)})
    with fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await run_process(Command(["c"], restart=policy), launcher=fake)

            tasks.start_soon(call)
            while not fake.launched:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert len(fake.launched) == 1


async def test_native_cancellation_of_the_task_is_a_kill_too(
    lifeline: Lifeline, anyio_backend_name: str
) -> None:
    """`asyncio.Task.cancel` and `asyncio.timeout` stop the tree."""
    if anyio_backend_name != "asyncio":
        return
    task = asyncio.create_task(run_process(["sh", "-c", f"{lifeline.hold('c')}; {EXEC_FOREVER}"]))
    await to_thread.run_sync(lifeline.wait_for, "c")
    task.cancel()
    with fail_after(LIMIT), pytest.raises(asyncio.CancelledError):
        await task
    assert lifeline.ended() == {"c"}


UNTIL_UP = "until [ -e up ]; do sleep 0.01; done"


@needs_proc
@pytest.mark.parametrize(
    ("line", "options"),
    [
        ('exec sh -c "$BODY"', {"max_output": 1}),
        (f'sh -c "$BODY" & {UNTIL_UP}', {}),
        (f'setsid sh -c "$BODY" <&- >&- 2>&- & {UNTIL_UP}', {}),
    ],
    ids=["limit", "leftover", "escapee"],
)
async def test_native_cancellation_during_a_stop_leaves_the_rest_of_the_grace(
    line: str,
    options: Any,
    lifeline: Lifeline,
    gate: Gate,
    tmp_path: Path,
    anyio_backend_name: str,
) -> None:
    """It reaches through the shield of the stop, but only a second one hurries."""
    if anyio_backend_name != "asyncio":
        return
    clean_up = f"{lifeline.say('asked')}; {gate.wait}; {lifeline.say('clean')}; exit"
    body = f"trap '{clean_up}' TERM; : >up; echo up; while :; do sleep 0.02; done"
    argv = ["sh", "-c", f"{lifeline.hold('leader')}; {line}"]
    task = asyncio.create_task(
        run_process(argv, env={"BODY": body}, cwd=tmp_path, grace=HOURS, **options)
    )
    await to_thread.run_sync(lifeline.wait_for, "asked")
    task.cancel()
    await anyio.wait_all_tasks_blocked()
    gate.open()
    with fail_after(LIMIT), pytest.raises(asyncio.CancelledError):
        await task
    assert lifeline.ended() == {"leader", "asked", "clean"}


async def test_many_calls_at_the_same_time_do_not_mix() -> None:
    """Each has its own output and its own end, though they share a guard."""
    outputs: dict[int, bytes | None] = {}

    async def call(number: int) -> None:
        outputs[number] = (await run_process(["echo", str(number)])).stdout

    with fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(call, number)
    assert outputs == {number: b"%d\n" % number for number in range(100)}


class BrokenLauncher(FakeLauncher):
    """A launcher with a fault."""

    async def launch(self, command: Command) -> FakeProcess:
        """Fail."""
        raise ZeroDivisionError(command.name)


async def test_error_of_the_launcher_leaves_the_call_unwrapped() -> None:
    """It is not wrapped in an `ExceptionGroup`."""
    with pytest.raises(ZeroDivisionError, match="c"):
        await run_process("c", launcher=BrokenLauncher())


class InterruptedScope(FakeLauncher):
    """A launcher in which Ctrl-C has landed inside a cancel scope of anyio."""

    async def launch(self, command: Command) -> FakeProcess:
        """Raise the error of anyio."""
        error = RuntimeError("Attempted to exit a cancel scope")
        error.__context__ = KeyboardInterrupt()
        raise error


async def test_interrupt_inside_a_cancel_scope_leaves_the_call_as_it_is() -> None:
    """Not as the `RuntimeError` that anyio raises then on asyncio."""
    with pytest.raises(KeyboardInterrupt):
        await run_process("c", launcher=InterruptedScope())


class Interrupt(BaseException):
    """What a signal handler raises, such as `KeyboardInterrupt`."""


class EndlessOutput(ByteReceiveStream):
    """Output that another process holds open.

    Attributes:
        deadlines: when each call would have been cancelled.
    """

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Note the deadline and end, because without a deadline the test would never end."""
        self.deadlines.append(anyio.current_effective_deadline())
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        """Do nothing."""


class InterruptedProcess(FakeProcess):
    """A process that has exited already, and an interrupt in the stop of what it left behind."""

    async def wait(self) -> Exit:
        """Return at once, before the tasks that read have made their first step."""
        return Exit(0, None)

    async def stop(self, signal: int, grace: float) -> Exit:
        """Be interrupted."""
        raise Interrupt


async def test_interrupt_before_the_output_is_read_ends_the_reading() -> None:
    """What the command left behind was not stopped, and may hold the output open for ever."""
    output = EndlessOutput()

    class Interrupted(FakeLauncher):
        async def launch(self, command: Command) -> FakeProcess:
            process = InterruptedProcess(command, Script(), 1, self.limits)
            process.stdout = process.stderr = output
            return process

    with pytest.raises(Interrupt):
        await run_process("c", launcher=Interrupted())
    assert output.deadlines
    assert set(output.deadlines) == {-inf}


async def test_process_that_survives_sigkill_is_a_failure() -> None:
    """The call ends in bounded time, and the error says which process is left."""
    immortal = Script(exit=None, ignores={SIGTERM, SIGKILL})
    fake = FakeLauncher({"c": immortal}, _limits=ShutdownLimits(reap=0.05))
    with fail_after(LIMIT), pytest.raises(CommandFailed, match="still exists") as caught:
        await run_process("c", launcher=fake, timeout=0.01, grace=0.01)
    assert isinstance(caught.value.__cause__, CannotStopError)


# ---- the guard ----


async def test_calls_in_one_loop_share_a_guard(guards: list[subprocess.Popen[bytes]]) -> None:
    """The first call starts it, and it serves all later ones."""
    for _ in range(3):
        await run_process("true")
    assert len(guards) == 1
    assert guards[0].poll() is None


async def test_guard_that_was_killed_is_replaced(guards: list[subprocess.Popen[bytes]]) -> None:
    """The next call is protected again."""
    await run_process("true")
    guards[0].kill()
    guards[0].wait()
    with pytest.warns(RuntimeWarning, match="orphan guard exited before it was asked to"):
        await run_process("true")
    assert len(guards) == 2


LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


@pytest.mark.parametrize("loop", LOOPS)
def test_guard_ends_with_its_event_loop(guards: list[subprocess.Popen[bytes]], loop: str) -> None:
    """After `anyio.run` nothing is left, and a new loop has a new guard."""
    for _ in range(2):
        anyio.run(lambda: run_process("true"), **LOOPS[loop])
        assert guards[-1].returncode == 0
    assert len(guards) == 2


HOST = """
import sys
import anyio
import currant

async def main():
    await currant.run_process("true")
    await currant.run_process(["sh", "-c", sys.argv[1]])

anyio.run(main, backend=sys.argv[2])
"""


@needs_proc
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tree_ends_when_the_host_is_killed(backend: str, lifeline: Lifeline) -> None:
    """The guard ends the group and the escapees of a call."""
    escapee = f"setsid sh -c 'echo out >&9; {EXEC_FOREVER}' &"
    line = f"{lifeline.hold('leader')}; {escapee} {EXEC_FOREVER}"
    host = subprocess.Popen([sys.executable, "-c", HOST, line, backend])
    try:
        lifeline.wait_for("leader", "out")
    finally:
        host.kill()
        host.wait()
    assert lifeline.wait_for_end() == {"leader", "out"}


class InterruptedStart(FakeLauncher):
    """A launcher during whose start somebody presses Ctrl-C."""

    async def launch(self, command: Command) -> FakeProcess:
        """Start the process, and be interrupted before anybody knows of it."""
        process = await super().launch(command)
        signal.raise_signal(SIGINT)
        return process


async def run_in_runner(command: str, *, launcher: FakeLauncher) -> None:
    """Do in a Runner what `run_process` does."""
    async with Runner([command], launcher=launcher):
        pass


@pytest.mark.parametrize("run", [run_process, run_in_runner])
@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_during_the_start_leaves_the_command_its_grace(
    loop: str, run: Callable[..., Awaitable[object]]
) -> None:
    """By default trio would raise it there, and the process would be lost and killed."""
    fake = InterruptedStart({"c": Script(exit=None)})
    with pytest.raises(KeyboardInterrupt):
        anyio.run(lambda: run("c", launcher=fake), **LOOPS[loop])
    assert fake.launched[0].signals == [SIGTERM]


INTERRUPTED_HOST = """
import sys
import anyio
import currant

async def main():
    await currant.run_process(["sh", "-c", sys.argv[1]], input=b"go", grace=9999)

options = {"use_uvloop": True} if sys.argv[2] == "uvloop" else {}
try:
    anyio.run(main, backend=sys.argv[2].replace("uvloop", "asyncio"), backend_options=options)
except KeyboardInterrupt:
    sys.exit(42)
"""


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
def test_ctrl_c_stops_the_tree_with_its_grace(backend: str, lifeline: Lifeline) -> None:
    """And a second Ctrl-C cuts the grace short.

    The command reads its input first, so its start is over when it says "set".  Ctrl-C during a
    start kills at once.
    """
    trap = f"trap '{lifeline.say('asked')}' TERM; read go; {lifeline.say('set')}"
    line = f"{lifeline.hold('deaf')}; {trap}; while :; do sleep 0.05; done"
    host = subprocess.Popen([sys.executable, "-c", INTERRUPTED_HOST, line, backend])
    try:
        lifeline.wait_for("set")
        host.send_signal(SIGINT)
        lifeline.wait_for("asked")
        host.send_signal(SIGINT)
        assert host.wait(LIMIT) == 42
        assert lifeline.ended() == {"deaf", "set", "asked"}
    finally:
        host.kill()
        host.wait()


INTERRUPTIBLE_STEPS = """
import os, sys
import anyio, trio
import currant
from trio.lowlevel import currently_ki_protected, current_task

def trace(frame, event, _):
    if frame.f_code.co_filename.startswith(package) and current_task() is not main_task:
        steps.append(frame.f_code.co_qualname)
        if not currently_ki_protected():
            print(frame.f_code.co_qualname, flush=True)

async def main():
    global main_task
    main_task = current_task()
    sys.settrace(trace)
    script = "read word; echo $word; echo $word >&2"
    command = ["sh", "-c", script]
    await currant.run_process(command, input=b"go", timeout=999, idle_timeout=999)
    sys.settrace(None)

steps = []
package = os.path.dirname(currant.__file__)
anyio.run(main, backend="trio")
assert "Output._read" in steps
"""


def test_ctrl_c_interrupts_no_task_beside_the_caller() -> None:
    """On trio; while the main task waits for a grace, it would not learn of that.

    Not even in the first step of a task, so the program is a new one.
    """
    argv = [sys.executable, "-c", INTERRUPTIBLE_STEPS]
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=LIMIT, check=True)
    assert done.stdout == b""


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_call_that_the_end_of_the_loop_cancels_at_once_ends() -> None:
    """`asyncio.run` cancels a task that has made its first step, and the tasks that it started."""

    async def main() -> None:
        task = asyncio.create_task(run_process(FOREVER))
        calls.append(task)

    calls: list[asyncio.Task[Result]] = []
    asyncio.run(main())
    assert calls[0].cancelled()
    gc.collect()  # for the warning about the task that never began


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_call_whose_tasks_are_all_cancelled_at_once_ends() -> None:
    """The tasks that read the output may be cancelled before their first step."""

    async def main() -> None:
        call = asyncio.create_task(run_process(FOREVER))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.wait([call], timeout=LIMIT)
        assert call.cancelled()

    asyncio.run(main())
    gc.collect()


def test_event_loop_is_freed_after_its_end() -> None:
    """The shared guard does not keep it."""
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await run_process("true")

    asyncio.run(main())
    gc.collect()
    assert loops[0]() is None


@needs_proc
async def test_escapee_gets_the_grace_of_its_command(lifeline: Lifeline, gate: Gate) -> None:
    """At the end of the call it is asked first, as at the end of a Runner."""
    escapee = (
        f"trap '{lifeline.say('clean')}; exit' TERM; echo out >&9; while :; do sleep 0.02; done"
    )
    line = f'{lifeline.hold("leader")}; setsid sh -c "$BODY" <&- >&- 2>&- & {gate.wait}'
    await run_until_out(line, lifeline, gate, env={"BODY": escapee}, grace=HOURS)
    assert lifeline.ended() == {"leader", "out", "clean"}


async def test_time_limit_and_capture_of_a_command_hold() -> None:
    """The call's own options replace them only if they are given."""
    command = Command(["printf", "12345"], capture=2)
    assert (await run_process(command)).stdout == b"45"
    assert (await run_process(command, capture=True)).stdout == b"12345"
    result = await run_process(Command(["sleep", "9999"], timeout=0.01), check=False)
    assert isinstance(result.error, TimeLimitError)
