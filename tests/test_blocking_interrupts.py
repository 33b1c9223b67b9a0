"""Test exceptions of signal handlers, such as Ctrl-C, in all calls of a blocking Runner.

Most tests take SIGUSR1 with a handler that raises `Interrupted`, so that a failure does not end the
test run.  Ctrl-C itself, and SIGTERM with SystemExit, interrupt a program.
"""

from __future__ import annotations

import dis
import os
import signal
import sys
import threading
import time
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import currant.blocking
from currant import Command, blocking, ready
from currant.testing import FakeLauncher, Script
from tests.programs import Programs
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from types import FrameType
    from typing import Self

    from tests.lifeline import Lifeline

Loop = dict[str, Any]

DEAF = Script(exit=None, ignores={signal.SIGTERM})


class Interrupted(BaseException):
    """Raised by the signal handler of a test, as Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Handle SIGUSR1 with an exception."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, previous)


def interrupt_when(condition: Callable[[], bool]) -> None:
    """Send a signal to this process, from a thread, as soon as the condition is met."""

    def wait_and_interrupt() -> None:
        deadline = time.monotonic() + LIMIT
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.001)  # Leaves the processor to the thread that is to be interrupted.
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=wait_and_interrupt).start()


# ---- calls ----

CALLS: dict[str, Callable[[blocking.Runner, blocking.Job], object]] = {
    "ready": lambda _, job: job.ready(),
    "up": lambda _, job: job.up(),
    "wait": lambda _, job: job.wait(),
    "join": lambda runner, _: runner.join(),
    "expect": lambda _, job: job.expect("never"),
    "lines": lambda _, job: list(job.lines()),
    "next_output": lambda _, job: job.next_output(),
    "until": lambda _, job: job.until("exit"),
    "start": lambda runner, _: runner.start(
        Command(["sleep", "9999"], name="d", ready=ready.line("never"))
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_interrupt_ends_each_call(call: str, loop: Loop) -> None:
    """The command goes on, and the next call of the thread is made at once."""
    command = Command(["sleep", "9999"], name="c", ready=ready.line("never"))
    with blocking.Runner([command], on_exit="stop", **loop) as runner:
        job = runner["c"]
        interrupt_when(lambda: runner._callers.owner.is_busy)
        with pytest.raises(Interrupted):
            CALLS[call](runner, job)
        assert runner.send_signal(0, "c") == 1
        assert runner["c"].state == "running"


def test_an_interrupted_loop_loses_no_line(loop: Loop, lifeline: Lifeline) -> None:
    """The next loop goes on with the next line."""
    script = f"echo 1; read line <&0; echo 2; {lifeline.hold('c')}"
    command = Command.shell(script, name="c", stdin=currant.PIPE)
    with blocking.Runner([command], **loop) as runner:
        lines = iter(runner["c"].lines())
        assert next(lines).text == "1"
        interrupt_when(lambda: runner._callers.owner.is_busy)
        with pytest.raises(Interrupted):
            next(lines)
        runner["c"].send(b"\n")
        assert [line.text for line in runner["c"].lines()] == ["2"]


def test_a_signal_handler_may_make_calls(loop: Loop) -> None:
    """The call that the signal interrupts goes on after that."""
    with blocking.Runner([FOREVER], **loop) as runner:
        job = runner["sleep"]
        job.ready()

        def stop(*_: object) -> None:
            assert runner.send_signal("TERM", "sleep") == 1

        signal.signal(signal.SIGUSR1, stop)
        interrupt_when(lambda: runner._callers.owner.is_busy)
        result = job.wait(timeout=LIMIT)
    assert result.exit == currant.Exit(None, signal.SIGTERM)


# ---- the block ----


def test_an_interrupt_in_the_body_stops_the_commands(loop: Loop) -> None:
    """The body need not make a call at that moment."""
    runner = blocking.Runner([FOREVER], **loop)
    with pytest.raises(Interrupted), runner:
        runner["sleep"].ready()
        signal.raise_signal(signal.SIGUSR1)
    assert runner.results["sleep"].status == "stopped"
    assert runner.barrier.reason == "the block was left by Interrupted"


def test_an_interrupt_at_the_end_of_the_block_stops_the_commands(loop: Loop) -> None:
    """The block waits for them within their grace."""
    launcher = FakeLauncher(default=Script(exit=None))
    runner = blocking.Runner(["c"], launcher=launcher, **loop)
    with pytest.raises(Interrupted), runner:
        runner["c"].ready()
        interrupt_when(lambda: runner._callers.owner._is_closed)
    assert signal.SIGKILL not in launcher["c"].signals
    assert runner.results["c"].status == "stopped"


@pytest.mark.parametrize("on_exit", ["wait", "stop"])
def test_an_interrupt_while_the_commands_stop_skips_the_grace(on_exit: Any, loop: Loop) -> None:
    """That is the second interrupt, or the first if leaving the block stops the commands."""
    launcher = FakeLauncher(default=DEAF)
    runner = blocking.Runner(["c"], launcher=launcher, grace=HOURS, on_exit=on_exit, **loop)
    with pytest.raises(Interrupted), runner:
        runner["c"].ready()
        if on_exit == "wait":
            interrupt_when(lambda: runner._callers.owner._is_closed)
        interrupt_when(lambda: signal.SIGTERM in launcher["c"].signals)
    assert launcher["c"].signals == [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]


def test_an_interrupt_in_the_body_and_another_one_skip_the_grace(loop: Loop) -> None:
    """The interrupt of the body is the first."""
    launcher = FakeLauncher(default=DEAF)
    runner = blocking.Runner(["c"], launcher=launcher, grace=HOURS, **loop)
    with pytest.raises(Interrupted), runner:
        runner["c"].ready()
        interrupt_when(lambda: signal.SIGTERM in launcher["c"].signals)
        signal.raise_signal(signal.SIGUSR1)
    assert launcher["c"].signals == [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]


class SlowLauncher(FakeLauncher):
    """A launcher that needs for ever to be entered."""

    def __init__(self) -> None:
        super().__init__()
        self.is_entering = threading.Event()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        self.is_entering.set()
        await anyio.sleep_forever()
        yield self


def test_an_interrupt_of_the_entry_ends_it(loop: Loop) -> None:
    """Nothing has started, and the thread of the event loop ends."""
    launcher = SlowLauncher()
    runner = blocking.Runner(["c"], launcher=launcher, **loop)
    interrupt_when(launcher.is_entering.is_set)
    with pytest.raises(Interrupted), runner:
        pytest.fail("the block was entered")
    assert runner.results["c"].status == "stopped"


def test_a_kill_ends_the_entry(loop: Loop) -> None:
    """Another thread may call it before the block has been entered."""
    launcher = SlowLauncher()
    runner = blocking.Runner(["c"], launcher=launcher, **loop)

    def kill() -> None:
        assert launcher.is_entering.wait(LIMIT)
        runner.kill()

    threading.Thread(target=kill).start()
    with runner:
        pass
    assert runner.results["c"].status == "stopped"


# ---- every step ----


@cache
def operations(code: Any) -> dict[int, str]:
    """Return the names of the operations of a function, by their offset."""
    return {step.offset: step.opname for step in dis.get_instructions(code)}


class Interrupter:
    """Raises `Interrupted` at steps of `currant.blocking` at which Python looks for signals.

    Python does so after a call, at the beginning of a function, and when a loop goes back.

    Args:
        steps: the numbers of the steps, from 1.
    """

    def __init__(self, *steps: int) -> None:
        self._steps = steps
        self._last: dict[FrameType, str] = {}
        self.count = 0

    def __enter__(self) -> Self:
        self._previous = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._previous)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(os.path.dirname(currant.blocking.__file__)):
            return self._trace
        frame.f_trace_opcodes = True
        if event == "opcode":
            last = self._last.get(frame, "")
            self._last[frame] = operations(frame.f_code).get(frame.f_lasti, "")
            if last.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                self._step()
        elif event == "return":
            self._last.pop(frame, None)
        return self._trace

    def _step(self) -> None:
        self.count += 1
        if self.count in self._steps:
            sys.settrace(self._trace)  # Python ends the tracing when this function raises.
            raise Interrupted


def use_a_runner(interrupter: Interrupter, loop: Loop) -> blocking.Runner:
    """Use a Runner while an interrupter traces this thread."""
    runner = blocking.Runner({"a": FOREVER}, **loop)
    with interrupter, runner:
        assert [line.text for line in runner.start(["seq", "2"]).lines()] == ["1", "2"]
        runner["a"].ready()
        runner["a"].kill()
    return runner


@pytest.mark.slow
@pytest.mark.timeout(600)  # There are hundreds of blocks.
@pytest.mark.parametrize("gap", [None, pytest.param(4, marks=pytest.mark.backends("asyncio"))])
def test_an_interrupt_at_any_step_leaves_nothing(gap: int | None, loop: Loop) -> None:
    """One interrupt, or two of them close to each other, end the block and the commands."""
    interrupter, first = Interrupter(), 0
    use_a_runner(interrupter, loop)
    assert interrupter.count > 100
    while first <= interrupter.count:
        first += 1
        steps = [first] if gap is None else [first, first + gap]
        interrupter = Interrupter(*steps)
        try:
            use_a_runner(interrupter, loop)
        except Interrupted:
            pass
        else:
            assert interrupter.count < first
        left = [thread for thread in threading.enumerate() if thread.name == "currant"]
        assert left == [], f"interrupted at step {first}"


# ---- programs ----

PROGRAM = """
import json, signal, sys
from currant import Command, blocking
options = json.loads(sys.argv[1])
commands = {"c": Command.shell(options.pop("script"))}
place = options.pop("place")

def terminate(*_):
    sys.exit(7)

signal.signal(signal.SIGTERM, terminate)
with blocking.Runner(commands, grace=9999, **options) as runner:
    runner["c"].expect("up")
    print("up", flush=True)
    if place == "wait":
        runner["c"].wait()
    elif place == "lines":
        for line in runner["c"].lines():
            pass
    elif place == "body":
        signal.pause()
"""


@pytest.fixture
def programs(anyio_backend_name: str, anyio_backend_options: dict[str, Any]) -> Iterator[Programs]:
    """The program, on the event loop of the test."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with Programs(PROGRAM, anyio_backend_name, use_uvloop=use_uvloop) as programs:
        yield programs


@pytest.mark.parametrize("place", ["wait", "lines", "body", "exit"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_its_commands(
    number: signal.Signals, place: str, programs: Programs, lifeline: Lifeline
) -> None:
    """Ctrl-C raises KeyboardInterrupt, and the handler for SIGTERM SystemExit."""
    script = f"{lifeline.hold('c')}; echo up; {EXEC_FOREVER}"
    program = programs.run({"script": script, "place": place})
    assert program.stdout is not None
    assert program.stdout.readline() == b"up\n"
    program.send_signal(number)
    _, errors = program.communicate(timeout=LIMIT)
    # Python may raise the exception just before the first step of `__exit__`.  Then nothing can run
    # there, and the orphan guard ends the command right after the program.
    lifeline.wait_for_end()
    if number == signal.SIGINT:
        assert program.returncode == -signal.SIGINT
        assert errors.decode().splitlines()[-1] == "KeyboardInterrupt"
    else:
        assert (program.returncode, errors) == (7, b"")


def test_a_second_signal_skips_the_grace(programs: Programs, lifeline: Lifeline) -> None:
    """The command ignores the first one for hours."""
    told = f"trap '{lifeline.say('asked')}' TERM"
    script = f"{lifeline.hold('c')}; {told}; echo up; {TRAPS_SIGNALS}"
    program = programs.run({"script": script, "place": "wait"})
    assert program.stdout is not None
    assert program.stdout.readline() == b"up\n"
    program.send_signal(signal.SIGINT)
    lifeline.wait_for("asked")
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=LIMIT)
    lifeline.ended()
    assert program.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in errors
