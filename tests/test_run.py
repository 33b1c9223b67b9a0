"""`currant.run`: arguments, results and errors, event loops and threads, Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import traceback
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint

import currant
from currant import (
    Command,
    CommandError,
    CommandNotFoundError,
    CommandParseError,
    DuplicateNameError,
    EmptyCommandError,
    Exit,
    RestartPolicy,
    Results,
    RunningLoopError,
)
from currant.sinks import ConsoleSink
from currant.testing import FakeLauncher, Script
from tests.programs import Programs, wait_until_idle
from tests.system import started_by_uvloop
from tests.waiting import EXEC_FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from tests.lifeline import Lifeline


# ---- arguments and results ----


def test_run_returns_the_results_of_all_commands() -> None:
    """The results are the same as those of a Runner: by name, in the order given."""
    results = currant.run("true", ["sh", "-c", "exit 3"], Command.shell("kill -KILL $$", name="c"))
    assert isinstance(results, Results)
    assert {name: result.exit for name, result in results.items()} == {
        "true": Exit(0, None),
        "sh": Exit(3, None),
        "c": Exit(None, signal.SIGKILL),
    }
    assert list(results) == ["true", "sh", "c"]
    assert list(results.failed) == ["sh", "c"]


def test_failure_is_returned_and_not_raised() -> None:
    """`Results.check` raises the failures if the caller asks for that."""
    results = currant.run("false")
    assert not results.ok
    with pytest.raises(ExceptionGroup, match="1 of 1"):
        results.check()


def test_run_accepts_a_mapping_from_names_to_commands() -> None:
    """A single mapping names the commands, as for a Runner."""
    results = currant.run({"a": "true", "b": ["sh", "-c", "exit 2"], "c": Command.shell("exit 3")})
    codes = {name: result.exit and result.exit.code for name, result in results.items()}
    assert codes == {"a": 0, "b": 2, "c": 3}


def test_run_without_commands_returns_at_once() -> None:
    """An empty set of commands is not an error."""
    assert len(currant.run()) == len(currant.run({})) == 0


def test_capture_puts_the_output_into_the_results() -> None:
    """With True the results have all bytes of both streams, with a number the last ones."""
    command = Command.shell("printf abc; printf 123 >&2", name="a")
    result = currant.run(command, capture=True)["a"]
    assert (result.stdout, result.stderr) == (b"abc", b"123")
    result = currant.run(command, capture=2)["a"]
    assert (result.stdout, result.stderr) == (b"bc", b"23")


def test_output_without_a_reader_is_discarded(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Without sinks and capture, ten megabytes of output do not block the command."""
    results = currant.run(Command.shell("head -c 10000000 /dev/zero; echo err >&2", name="a"))
    assert results["a"].status == "succeeded"
    assert (results["a"].stdout, results["a"].stderr) == (None, None)
    assert capfdbinary.readouterr() == (b"", b"")


def test_commands_run_concurrently(tmp_path: Path) -> None:
    """Two commands can wait for each other."""
    for name in "12":
        os.mkfifo(tmp_path / name)
    first = f"echo from a >'{tmp_path}/1'; cat '{tmp_path}/2'"
    second = f"cat '{tmp_path}/1'; echo from b >'{tmp_path}/2'"
    results = currant.run({"a": ["sh", "-c", first], "b": ["sh", "-c", second]}, capture=True)
    assert [result.stdout for result in results.values()] == [b"from b\n", b"from a\n"]


def test_options_reach_the_runner() -> None:
    """Policies, limits, sinks and the launcher are passed to the Runner."""
    launcher = FakeLauncher(
        {
            "fails": [Script(exit=1), Script(exit=1), Script(exit=4, stdout=b"third\n")],
            "stays": Script(exit=None, ignores={signal.SIGTERM}),
        }
    )
    stdout, stderr = io.BytesIO(), io.BytesIO()
    results = currant.run(
        {"stays": "stays", "fails": "fails", "queued": "queued"},
        kill_others_on="failure",
        grace=0.01,
        restart=RestartPolicy("on-failure", max_restarts=2, delay=0),
        max_processes=2,
        sinks=[ConsoleSink(stdout, stderr)],
        launcher=launcher,
        buffer_size=1,
    )
    assert results["fails"].exit == Exit(4, None)
    assert results["fails"].attempts == 3
    assert results["stays"].exit == Exit(None, signal.SIGKILL, stopped=True, forced=True)
    assert results["queued"].attempts == 0
    assert stdout.getvalue() == b"fails  | third\n"
    assert stderr.getvalue().count(b"restarting") == 2


def test_run_waits_for_the_commands_whatever_the_end_of_a_block_does() -> None:
    """Options that a program shares between its Runners are no reason to stop at once."""
    results = currant.run("c", on_exit="stop", launcher=FakeLauncher())
    assert results["c"].status == "succeeded"


def test_sinks_have_written_everything_when_run_returns() -> None:
    """A console shows all output of a command that writes much."""
    stdout = io.BytesIO()
    currant.run({"a": "seq 100000"}, sinks=[ConsoleSink(stdout, io.BytesIO())])
    assert stdout.getvalue().splitlines() == [b"a | %d" % n for n in range(1, 100_001)]


# ---- errors ----


@pytest.mark.parametrize(
    ("commands", "options", "error"),
    [
        ([""], {}, EmptyCommandError),
        ([[]], {}, EmptyCommandError),
        (["echo 'a"], {}, CommandParseError),
        (["a\0b"], {}, CommandError),
        ([Command(["a"], name="x"), Command(["b"], name="x")], {}, DuplicateNameError),
        (["true"], {"grace": -1}, CommandError),
        (["true"], {"restart": "sometimes"}, CommandError),
        (["true"], {"kill_others_on": "boredom"}, CommandError),
        (["true"], {"max_processes": 0}, ValueError),
        (["true"], {"no_such_option": 1}, TypeError),
    ],
)
def test_misuse_fails_in_the_callers_frame(
    commands: list[Any], options: dict[str, Any], error: type[Exception]
) -> None:
    """Invalid arguments raise before an event loop is started."""
    with pytest.raises(error) as caught:
        currant.run(*commands, **options)
    places = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert places[0] == __file__
    assert not [place for place in places if "anyio" in place or "asyncio" in place]


def test_missing_program_starts_no_command(
    tmp_path: Path, anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> None:
    """CommandNotFoundError is raised unwrapped, and no other command has been started."""
    with pytest.raises(CommandNotFoundError, match="no-such-program"):
        currant.run(
            ["touch", tmp_path / "started"],
            "no-such-program",
            backend=anyio_backend_name,
            backend_options=anyio_backend_options,
        )
    assert not (tmp_path / "started").exists()


def test_exception_of_a_sink_is_raised_unwrapped(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> None:
    """A sink that raises stops the commands, and `run` raises the same exception."""
    error = LookupError("mine")

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        raise error

    with pytest.raises(LookupError) as caught:
        currant.run(
            ["sh", "-c", EXEC_FOREVER],
            sinks=[sink],
            backend=anyio_backend_name,
            backend_options=anyio_backend_options,
        )
    assert caught.value is error


def test_unknown_backend_is_refused() -> None:
    """The error for an unknown backend is that of anyio, and no command is started."""
    with pytest.raises(LookupError, match="no-such-loop"):
        currant.run("true", backend="no-such-loop")


# ---- event loops and threads ----


def test_run_works_on_every_event_loop(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> None:
    """`backend` and `backend_options` choose the event loop, which runs the sinks too."""
    loops = []

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        async for _ in messages:
            pass
        is_asyncio = anyio_backend_name == "asyncio"
        loops.append(type(asyncio.get_running_loop()).__module__ if is_asyncio else "trio")

    results = currant.run(
        "echo hi",
        capture=True,
        sinks=[sink],
        backend=anyio_backend_name,
        backend_options=anyio_backend_options,
    )
    assert results["echo"].stdout == b"hi\n"
    uvloop = anyio_backend_options.get("use_uvloop")
    assert loops[0].partition(".")[0] == ("uvloop" if uvloop else anyio_backend_name)


@pytest.mark.anyio
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_run_inside_an_event_loop_is_refused(backend: str, tmp_path: Path) -> None:
    """`run` would block the loop, so it raises an error that names `Runner`; the loop continues."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: 'pip install {backend}'")
    with pytest.raises(RunningLoopError, match="async with Runner"):
        currant.run(["touch", tmp_path / "started"], backend=backend)
    assert not (tmp_path / "started").exists()
    await checkpoint()


@pytest.mark.anyio
async def test_run_works_in_a_worker_thread(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> None:
    """An async program can call `run` in a thread, where blocking is harmless."""

    def run() -> bytes | None:
        results = currant.run(
            "echo hi",
            capture=True,
            backend=anyio_backend_name,
            backend_options=anyio_backend_options,
        )
        return results["echo"].stdout

    assert await anyio.to_thread.run_sync(run) == b"hi\n"
    if anyio_backend_name == "asyncio":
        assert await asyncio.to_thread(run) == b"hi\n"
    else:
        trio = pytest.importorskip("trio")
        assert await trio.to_thread.run_sync(run) == b"hi\n"


def test_run_works_in_a_thread_of_a_program_that_runs_under_anyio() -> None:
    """`asyncio.to_thread` copies the context, with anyio's note of the outer event loop."""

    async def main() -> bytes | None:
        marked.set("outer")
        return await asyncio.to_thread(run)

    def run() -> bytes | None:
        results = currant.run("echo hi", capture=True, sinks=[sink])
        return results["echo"].stdout

    async def sink(messages: ObjectReceiveStream[BatchMessage]) -> None:
        seen.append(marked.get())
        async for _ in messages:
            pass

    marked: ContextVar[str] = ContextVar("marked")
    seen: list[str] = []
    assert anyio.run(main) == b"hi\n"
    assert seen == ["outer"]


def test_run_works_in_many_threads_at_once(
    anyio_backend: object, anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> None:
    """Threads do not affect each other, and no signal handler is changed."""
    if started_by_uvloop(anyio_backend):
        pytest.skip("uvloop itself refuses to start two processes at the same moment")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    results: dict[int, Results] = {}

    def in_thread(number: int) -> None:
        results[number] = currant.run(
            {"a": f"echo {number}", "b": ["sh", "-c", "exit 3"]},
            capture=True,
            backend=anyio_backend_name,
            backend_options=anyio_backend_options,
        )

    threads = [threading.Thread(target=in_thread, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(results) == list(range(8))
    for number, result in results.items():
        assert result["a"].stdout == f"{number}\n".encode()
        assert result["b"].exit == Exit(3, None)
    assert {number: signal.getsignal(number) for number in before} == before


# ---- Ctrl-C ----

PROGRAM = """
import json, os, signal, sys
import currant
from currant.sinks import ConsoleSink

options = json.loads(sys.argv[1])

async def interrupts(messages):
    # Simulates Ctrl-C while Python code runs, instead of while the event loop waits.
    async for message in messages:
        if isinstance(message, currant.Batch):
            if message.data == b"ready\\n":
                os.kill(os.getpid(), signal.SIGINT)
            sys.stdout.write("sink: " + message.data.decode())
            sys.stdout.flush()

def run():
    commands = {name: ["sh", "-c", line] for name, line in options["commands"].items()}
    currant.run(
        commands,
        backend=options["backend"],
        backend_options=options["backend_options"],
        grace=options["grace"],
        restart=options["restart"],
        sinks=[ConsoleSink(), *([interrupts] if options["busy"] else [])],
    )

if options["caught"]:
    try:
        run()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(7)
run()
"""
"""A program that calls `run`."""


class Program(Programs):
    """Starts `PROGRAM`."""

    def start(
        self,
        commands: dict[str, str],
        *,
        grace: float = 9999.0,
        restart: Literal["never", "always"] = "never",
        caught: bool = False,
        busy: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start it with commands for the shell; `caught`: it catches the KeyboardInterrupt."""
        return self.run(
            {
                "commands": commands,
                "grace": grace,
                "restart": restart,
                "caught": caught,
                "busy": busy,
            }
        )


@pytest.fixture
def program(anyio_backend_name: str, anyio_backend_options: dict[str, Any]) -> Iterator[Program]:
    """A program on each event loop, with that loop's own defaults."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    with Program(PROGRAM, anyio_backend_name, use_uvloop=use_uvloop) as program:
        yield program


def test_ctrl_c_stops_the_commands_and_raises_keyboard_interrupt(
    program: Program, lifeline: Lifeline
) -> None:
    """SIGINT stops the commands, lets the console write all output, then raises."""
    tidy = f"trap 'echo bye; exit 0' TERM; {lifeline.say('ready')}; {TRAPS_SIGNALS}"
    process = program.start({"a": f"{lifeline.hold('a')}; {tidy}"}, caught=True)
    lifeline.wait_for("ready")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert lifeline.ended() == {"a", "ready"}
    assert (process.returncode, stdout, stderr) == (7, b"a | bye\ninterrupted\n", b"")


def test_uncaught_ctrl_c_ends_the_program_by_sigint(program: Program, lifeline: Lifeline) -> None:
    """The program ends like every Python program, with one traceback and no leftover process."""
    commands = {name: f"{lifeline.hold(name)}; {EXEC_FOREVER}" for name in "abc"}
    process = program.start(commands)
    lifeline.wait_for("a", "b", "c")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=LIMIT)
    assert lifeline.ended() == {"a", "b", "c"}
    assert process.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in stderr.splitlines()
    assert b"ExceptionGroup" not in stderr


def test_ctrl_c_while_python_code_runs_stops_gracefully(
    program: Program, lifeline: Lifeline
) -> None:
    """No task of the Runner or of a sink is interrupted in the middle.

    KeyboardInterrupt is raised outside of a group, after a graceful stop that shows all output.
    """
    tidy = f"trap 'echo bye; exit 0' TERM; echo ready; {TRAPS_SIGNALS}"
    process = program.start({"a": f"{lifeline.hold('a')}; {tidy}"}, busy=True)
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert lifeline.ended() == {"a"}
    lines = sorted(stdout.splitlines())
    assert lines == [b"a | bye", b"a | ready", b"sink: bye", b"sink: ready"]
    assert process.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in stderr.splitlines()
    assert b"ExceptionGroup" not in stderr


def test_ctrl_c_kills_after_the_grace(program: Program, lifeline: Lifeline) -> None:
    """A command that ignores SIGTERM ends after the grace, together with its child."""
    stubborn = f"trap '' TERM; sleep 9999 & {lifeline.say('ready')}; wait"
    process = program.start({"a": f"{lifeline.hold('a')}; {stubborn}"}, grace=0.2, caught=True)
    lifeline.wait_for("ready")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert lifeline.ended() == {"a", "ready"}
    assert (process.returncode, stdout, stderr) == (7, b"interrupted\n", b"")


def test_no_command_restarts_after_ctrl_c(program: Program, lifeline: Lifeline) -> None:
    """Ctrl-C takes precedence over restart="always"."""
    again = f"{lifeline.hold('a')}; {EXEC_FOREVER}"
    process = program.start({"a": again, "b": "exit 1"}, restart="always", caught=True)
    lifeline.wait_for("a")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert lifeline.ended() == {"a"}
    assert process.returncode == 7


def test_second_ctrl_c_leaves_no_process(program: Program, lifeline: Lifeline) -> None:
    """KeyboardInterrupt is raised no later than the grace, and no process is left."""
    asked = f"trap '{lifeline.say('asked')}' TERM; {lifeline.say('ready')}; {TRAPS_SIGNALS}"
    process = program.start({"a": f"{lifeline.hold('a')}; {asked}"}, grace=2.0)
    lifeline.wait_for("ready")
    process.send_signal(signal.SIGINT)
    lifeline.wait_for("asked")
    wait_until_idle(process.pid)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=LIMIT)
    assert lifeline.ended() == {"a", "ready", "asked"}
    assert process.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in stderr.splitlines()
