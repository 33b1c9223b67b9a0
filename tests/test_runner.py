"""The Runner as a task group: its arguments, starts, messages, results and errors."""

from __future__ import annotations

import os
import signal
import sys
import threading
from array import array
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import currant
from currant import (
    PIPE,
    Batch,
    Command,
    CommandError,
    CommandNotFoundError,
    DuplicateNameError,
    EmptyCommandError,
    Exit,
    Exited,
    Failed,
    JobEndedError,
    LaunchError,
    Line,
    LocalLauncher,
    Runner,
    Started,
    StdinClosedError,
)
from currant._supervisor.dispatcher import Dispatcher
from currant.sinks import ConsoleSink
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.reading import first_line, messages_of, read_until
from tests.waiting import FOREVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.lifeline import Gate

pytestmark = pytest.mark.anyio


async def test_runner_runs_all_commands_and_reports_their_output() -> None:
    """Each command's stdout and stderr arrive as lines under its name, and its exit as a result."""
    async with Runner(
        {"a": Command.shell("echo out; echo err >&2"), "b": Command.shell("exit 3")}
    ) as runner:
        messages = await messages_of(runner)
    lines = {(m.command, m.stream, m.text) for m in messages if isinstance(m, Line)}
    assert lines == {("a", "stdout", "out"), ("a", "stderr", "err")}
    assert runner.results["a"].exit == Exit(0, None)
    assert runner.results["a"].status == "succeeded"
    assert runner.results["b"].exit == Exit(3, None)
    assert runner.results["b"].status == "failed"
    assert list(runner.results) == ["a", "b"]
    assert not runner.results.ok


async def test_messages_of_a_command_arrive_in_order() -> None:
    """The order for each command is Started, then all of its output, then Exited."""
    async with Runner([Command.shell("seq 1000; seq 1000 >&2", name="seq")]) as runner:
        messages = await messages_of(runner)
    assert isinstance(messages[0], Started)
    assert isinstance(messages[-1], Exited)
    assert all(isinstance(message, Line) for message in messages[1:-1])
    assert len(messages) == 2002
    assert messages[0].attempt == messages[-1].attempt == 1


@pytest.mark.parametrize("spec", ["echo 'a  b'", ["echo", "a  b"], Command(["echo", "a  b"])])
async def test_runner_takes_strings_argument_lists_and_commands(
    spec: currant.Command | str | list[str],
) -> None:
    """A str is split by the shell's rules; argument lists and Commands are taken unchanged."""
    async with Runner([spec], capture=True) as runner:
        await runner.join()
    assert runner.results["echo"].stdout == b"a  b\n"


async def test_duplicate_default_names_are_numbered_and_explicit_names_stay() -> None:
    """Duplicate default names get #2, #3…; an explicit name stays, even if it comes later."""
    commands: list[Command | str] = [
        "true",
        "true",
        Command(["false"], name="true"),
        "true",
        Command(["x"], name="true#3"),
    ]
    runner = Runner(commands, launcher=FakeLauncher())
    async with runner:
        pass
    assert list(runner.jobs) == ["true#2", "true#4", "true", "true#5", "true#3"]


async def test_duplicate_explicit_names_are_rejected() -> None:
    """Two equal explicit names raise in the Runner's constructor, and in start_soon."""
    with pytest.raises(DuplicateNameError):
        Runner([Command(["a"], name="x"), Command(["b"], name="x")])
    async with Runner({"x": "true"}, launcher=FakeLauncher()) as runner:
        with pytest.raises(DuplicateNameError):
            runner.start_soon(Command(["b"], name="x"))
        assert runner.start_soon("x").name == "x#2"


@pytest.mark.parametrize(
    "options",
    [
        {"grace": -1},
        {"grace": float("nan")},
        {"restart": "sometimes"},
        {"kill_others_on": "boredom"},
        {"capture": -1},
        {"max_processes": 0},
        {"buffer_size": 0},
        {"timeout": "soon"},
        {"keep_open": "no"},
        {"orphan_guard": "no"},
        {"cgroup": "always"},
        {"cgroup": None},
        {"cgroup": True, "launcher": LocalLauncher()},
        {"launcher": 5},
        {"sinks": 5},
        {"sinks": [5]},
    ],
)
async def test_invalid_options_are_rejected_by_the_constructor(options: dict[str, object]) -> None:
    """Misuse fails in the caller's frame, before any process is started."""
    with pytest.raises(CommandError, match=next(iter(options)).rstrip("s")):
        Runner(["true"], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("commands", ["ls -l", Command(["ls"]), 5, None])
async def test_a_value_that_is_not_a_list_of_commands_is_rejected(commands: Any) -> None:
    """``Runner("ls -l")`` would run each letter as a command; the error mentions a list."""
    with pytest.raises(CommandError, match="list"):
        Runner(commands)


@pytest.mark.parametrize("command", [None, "", [], ["x", 1], ["a\0b"], 5])
async def test_an_invalid_command_is_reported_by_its_name(command: Any) -> None:
    """If a mapping names the command, the error message has that name."""
    with pytest.raises(CommandError, match="command 'db': ") as caught:
        Runner({"web": "true", "db": command})
    assert isinstance(caught.value, EmptyCommandError) == (command in ("", []))


@pytest.mark.parametrize("data", ["secret", None, 5, [1]])
async def test_send_takes_bytes_only(data: Any) -> None:
    """Another type raises an error that hides the value; bytearray and memoryview are accepted."""
    async with Runner([Command(["cat"], stdin=PIPE)]) as runner:
        with pytest.raises(CommandError, match="command 'cat': send takes bytes") as raised:
            await runner["cat"].send(data)
        assert "secret" not in str(raised.value)
        stdin = runner["cat"].stdin
        assert stdin is not None
        with pytest.raises(CommandError, match="command 'cat': send takes bytes"):
            await stdin.send(data)
        more: list[Any] = [
            bytearray(b"all "),
            memoryview(b"o-f- -")[::2],
            memoryview(array("H", b"it")),
        ]
        for good in more:
            await runner["cat"].send(good)
        await runner["cat"].close_stdin()
        output = b"".join([m.data async for m in runner.batches() if isinstance(m, Batch)])
    assert output == b"all of it"


async def test_a_missing_program_is_found_before_any_process_starts(
    tmp_path: os.PathLike[str],
) -> None:
    """Entering the block looks up all programs; if one is missing, no process is started."""
    trace = os.path.join(tmp_path, "started")
    with pytest.raises(CommandNotFoundError, match="no-such-program") as caught:
        async with Runner([["touch", trace], "no-such-program"]):
            pytest.fail("the body was entered")
    assert isinstance(caught.value, FileNotFoundError)
    assert not os.path.exists(trace)


async def test_a_missing_working_directory_is_named_in_the_error() -> None:
    """A missing cwd is not mistaken for a missing program."""
    with pytest.raises(CommandNotFoundError, match="working directory '/no/such/place'"):
        async with Runner([Command(["true"], cwd="/no/such/place")]):
            pytest.fail("the body was entered")


async def test_the_block_waits_for_all_commands() -> None:
    """Leaving the block normally waits for every command, as join does."""
    async with Runner([Command.shell("read x; exit 7", stdin=b"go\n", name="sh")]) as runner:
        assert "sh" not in runner.results
    assert runner.results["sh"].exit == Exit(7, None)
    assert runner["sh"].state == "ended"


async def test_an_exception_inside_a_start_leaves_the_block() -> None:
    """A KeyboardInterrupt may hit trio between any two steps; a dependent must not wait forever."""

    class Interrupted:
        """A process; Ctrl-C comes when the Runner asks for its stdin, right after the start."""

        def __init__(self, process: FakeProcess) -> None:
            self._process = process

        def __getattr__(self, name: str) -> Any:
            if name == "stdin":
                raise KeyboardInterrupt
            return getattr(self._process, name)

    class Interrupting(FakeLauncher):
        async def launch(self, command: Command) -> Any:
            return Interrupted(await super().launch(command))

    commands = {"db": Command(["db"], stdin=b"input"), "api": Command(["api"], after="db")}
    with anyio.fail_after(30), pytest.raises(KeyboardInterrupt):
        async with Runner(commands, launcher=Interrupting(default=Script(exit=None))):
            pass


@pytest.mark.parametrize("where", ["sweep", "_register", "_wait_for_needs"])
async def test_an_exception_of_an_internal_task_is_not_wrapped_in_a_group(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An exception in one of the Runner's own tasks leaves the block unchanged."""

    class Sweeps(FakeLauncher):
        async def sweep(self, name: str | None = None, grace: float = 0) -> None:
            if where == "sweep":
                raise ZeroDivisionError

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    if where != "sweep":
        monkeypatch.setattr(Dispatcher, where, fail)
    commands = {"db": Command(["db"]), "api": Command(["api"], after="db")}
    with anyio.fail_after(30), pytest.raises(ZeroDivisionError):
        async with Runner(commands, launcher=Sweeps()):
            pass


async def test_an_exception_of_the_body_kills_all_commands_and_is_not_wrapped() -> None:
    """The same exception object leaves the block, outside any group and without a context."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with Runner([FOREVER, FOREVER]) as runner:
            await runner.start(FOREVER)
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert [result.status for result in runner.results.values()] == ["stopped"] * 3


async def test_join_can_be_awaited_by_many_tasks_and_many_times() -> None:
    """Each call returns the same results, also after the block."""
    async with Runner(["true"], launcher=FakeLauncher()) as runner:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(runner.join)
        assert (await runner.join()).ok
    assert (await runner.join())["true"].status == "succeeded"


async def test_more_commands_can_be_started_after_a_join() -> None:
    """join does not end the Runner: later commands can be started, and joined again."""
    async with Runner(["true"], launcher=FakeLauncher()) as runner:
        assert list(await runner.join()) == ["true"]
        runner.start_soon("false")
        assert list(await runner.join()) == ["true", "false"]
        assert [type(m) for m in await messages_of(runner)] == [Started, Exited] * 2


async def test_start_returns_once_the_process_runs() -> None:
    """The job that start returns has a pid and is running."""
    async with Runner() as runner:
        job = await runner.start(FOREVER)
        assert job.pid is not None
        assert job.state == "running"
        os.kill(job.pid, 0)
        runner.kill()
    assert job.pid is None


async def test_start_raises_if_the_program_cannot_start_and_others_continue() -> None:
    """start raises LaunchError; start_soon leads to Failed and a result with the error."""
    async with Runner({"good": "cat"}, launcher=None) as runner:
        with pytest.raises(LaunchError, match="no-such-program"):
            await runner.start("no-such-program")
        soon = runner.start_soon(["another-such-program"])
        result = await soon.wait()
        messages = await messages_of(runner)
    assert result.status == "failed"
    assert result.exit is None
    assert isinstance(result.error, LaunchError)
    failed = [message for message in messages if isinstance(message, Failed)]
    assert [message.command for message in failed] == ["no-such-program", "another-such-program"]
    assert failed[1].error is result.error
    assert runner.results["good"].status == "succeeded"


async def test_max_processes_limits_the_running_commands_and_keeps_their_order() -> None:
    """At most two run at a time; queued commands start in the order given."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner([f"c{n}" for n in range(5)], max_processes=2, launcher=launcher) as runner:
        for _ in range(5):
            await wait_all_tasks_blocked()
            running = [process for process in launcher.launched if process.running]
            assert len(running) == min(2, 5 - (len(launcher.launched) - len(running)))
            running[0].exit(0)
    names = [process.command.name for process in launcher.launched]
    # Commands that start in the same turn of the event loop have no order on trio.
    assert [set(names[:2]), *names[2:]] == [{"c0", "c1"}, "c2", "c3", "c4"]
    assert runner.results.ok


async def test_a_queued_command_has_no_pid() -> None:
    """A command that waits for its turn has the state queued, and pid is None."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["a", "b"], max_processes=1, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        assert (runner["a"].state, runner["b"].state) == ("running", "queued")
        assert runner["b"].pid is None
        assert repr(runner) == "<Runner 1 running, 1 queued>"
        runner.kill()


async def test_capture_keeps_the_output_that_a_reader_takes() -> None:
    """True captures all bytes, an int the last ones; without capture the result has None."""
    script = "printf abcdef; printf 123456 >&2"
    async with Runner(
        {
            "all": Command.shell(script, capture=True),
            "last": Command.shell(script, capture=3),
            "none": Command.shell(script),
            "merged": Command.shell(script, capture=True, stderr="stdout"),
        }
    ) as runner:
        await messages_of(runner)
    captured = {name: (r.stdout, r.stderr) for name, r in runner.results.items()}
    assert captured == {
        "all": (b"abcdef", b"123456"),
        "last": (b"def", b"456"),
        "none": (None, None),
        "merged": (b"abcdef123456", b""),
    }


async def test_success_codes_define_success() -> None:
    """An exit code in success_codes is a success; any other is a failure, including 0."""
    async with Runner(
        {
            "one": Command.shell("exit 1", success_codes=(0, 1)),
            "zero": Command.shell("exit 0", success_codes=(1,)),
        }
    ) as runner:
        pass
    assert runner.results["one"].status == "succeeded"
    assert runner.results["zero"].status == "failed"


async def test_death_by_a_signal_is_a_failure_with_that_signal() -> None:
    """The exit has the signal; the command failed, since it was not asked to stop."""
    async with Runner([Command.shell("kill -SEGV $$", name="c")]) as runner:
        pass
    assert runner.results["c"].exit == Exit(None, signal.SIGSEGV)
    assert runner.results["c"].status == "failed"


async def test_check_shows_the_exit_and_the_last_lines() -> None:
    """Results.check raises a group; each error has the exit and the last lines of output."""
    async with Runner(
        [Command.shell("echo working; echo no disk >&2; exit 9", name="c")]
    ) as runner:
        pass
    with pytest.raises(ExceptionGroup, match="1 of 1") as caught:
        runner.results.check()
    text = str(caught.value.exceptions[0])
    assert "exit code 9" in text
    assert "no disk" in text


async def test_stdin_is_dev_null_by_default() -> None:
    """By default a command reads end-of-file; bytes for stdin are followed by end-of-file."""
    async with Runner(
        {"null": "cat", "bytes": Command(["cat"], stdin=b"x" * 300_000)}, capture=True
    ) as runner:
        await runner.join()
    assert runner.results["null"].stdout == b""
    assert runner.results["bytes"].stdout == b"x" * 300_000


async def test_a_command_need_not_read_its_stdin() -> None:
    """Bytes that the command never reads are no error."""
    async with Runner([Command(["true"], stdin=b"x" * 1_000_000)]) as runner:
        await runner.join()
    assert runner.results.ok


async def test_send_reaches_the_stdin_of_a_command() -> None:
    """With PIPE, send waits until the command runs, and close_stdin gives end-of-file."""
    async with Runner({"cat": Command(["cat"], stdin=PIPE)}) as runner:
        await runner["cat"].send(b"one\n")
        assert (await first_line(runner, "cat")).data == b"one"
        await runner["cat"].send(b"two\n")
        assert (await first_line(runner, "cat")).data == b"two"
        await runner["cat"].close_stdin()
        await runner["cat"].close_stdin()
    assert runner.results.ok


async def test_send_without_a_reader_raises_stdin_closed_error() -> None:
    """Without stdin=PIPE, and after the command's exit, the error says why."""
    async with Runner({"plain": "true", "pipe": Command(["true"], stdin=PIPE)}) as runner:
        with pytest.raises(StdinClosedError, match="stdin=PIPE"):
            await runner["plain"].send(b"x")
        await runner["pipe"].wait()
        with pytest.raises(StdinClosedError, match="does not run"):
            await runner["pipe"].send(b"x")


async def test_send_to_a_command_that_closed_its_stdin_raises() -> None:
    """A broken pipe becomes StdinClosedError; the command continues."""
    # uvloop leaves duplicates of the child's stdin open in the child, hence closerange.
    script = (
        "import os, time; os.close(0); os.closerange(3, 999); "
        "os.write(1, b'closed\\n'); time.sleep(9999)"
    )
    async with Runner({"c": Command([sys.executable, "-c", script], stdin=PIPE)}) as runner:
        await first_line(runner, "c")
        with anyio.fail_after(30), pytest.raises(StdinClosedError, match="closed"):
            await runner["c"].send(b"x" * 1_000_000)
        assert runner["c"].state == "running"
        runner.kill()


async def test_send_signal_reaches_one_command_or_all() -> None:
    """send_signal returns how many groups it reached; a command that has ended is no error."""
    # The signal also kills the shell's child, which the shell would report on stderr.
    script = "exec 2>/dev/null; trap 'echo got it' USR1; echo ready; while :; do sleep 0.01; done"
    async with Runner(
        {"a": Command.shell(script), "b": Command.shell(script), "c": "true"}
    ) as runner:
        await runner["c"].wait()
        await read_until(runner, ("a", "ready"), ("b", "ready"))
        assert await runner.send_signal(signal.SIGUSR1, "a") == 1
        await read_until(runner, ("a", "got it"))
        assert await runner.send_signal(signal.SIGUSR1) == 2
        await read_until(runner, ("a", "got it"), ("b", "got it"))
        assert await runner.send_signal(signal.SIGUSR1, "c") == 0
        assert await runner["c"].send_signal(signal.SIGUSR1) is False
        with pytest.raises(KeyError):
            await runner.send_signal(signal.SIGUSR1, "nobody")
        runner.kill()


async def test_a_runner_can_be_entered_once() -> None:
    """A use before, after or in a second block raises an error that says what to do."""
    runner = Runner(["true"], launcher=FakeLauncher())
    with pytest.raises(RuntimeError, match="async with"):
        runner.start_soon("true")
    with pytest.raises(RuntimeError, match="async with"):
        aiter(runner)
    async with runner:
        pass
    with pytest.raises(RuntimeError, match="one use"):
        async with runner:
            pytest.fail("entered again")
    with pytest.raises(RuntimeError, match="ended"):
        runner.start_soon("true")


class SlowToEnter:
    """A launcher whose entry waits for an event."""

    def __init__(self) -> None:
        self.entering = anyio.Event()
        self.may_enter = anyio.Event()
        self.launcher = FakeLauncher()

    async def __aenter__(self) -> object:
        self.entering.set()
        await self.may_enter.wait()
        return await self.launcher.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self.launcher.__aexit__(exc_type, exc, traceback)

    async def launch(self, command: Command) -> FakeProcess:
        """Start a process as the fake launcher does."""
        return await self.launcher.launch(command)


async def test_a_runner_that_is_being_entered_cannot_be_entered_again() -> None:
    """Two tasks cannot share the entry, however long the launcher takes for it."""
    launcher = SlowToEnter()
    runner = Runner(["true"], launcher=launcher)

    async def enter() -> None:
        async with runner:
            pass

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
            await launcher.entering.wait()
            with pytest.raises(RuntimeError, match="one use"):
                await enter()
            launcher.may_enter.set()
    assert [process.command.name for process in launcher.launcher.launched] == ["true"]


async def test_two_tasks_cannot_enter_a_runner_of_many_commands() -> None:
    """The search for the programs of many commands gives other tasks their turn."""

    class Checks(FakeLauncher):
        async def check(self, commands: Sequence[Command]) -> None:
            """Find every program."""

    launcher = Checks()
    runner, refused = Runner(["true"] * 60, launcher=launcher), []

    async def enter() -> None:
        try:
            async with runner:
                pass
        except RuntimeError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
        tasks.start_soon(enter)
    assert len(refused) == 1
    assert "one use" in str(refused[0])
    assert len(launcher.launched) == 60


async def test_a_runner_may_be_entered_after_a_missing_program_was_installed(
    tmp_path: Path,
) -> None:
    """An entry that finds a program missing has used nothing up."""
    program = tmp_path / "program"
    runner = Runner([[program]])
    with pytest.raises(CommandNotFoundError):
        async with runner:
            pytest.fail("the body was entered")
    program.symlink_to("/bin/sh")
    async with runner:
        pass
    assert runner.results.ok


async def test_block_cancelled_while_its_launcher_enters_has_no_jobs() -> None:
    """A command that nobody could have seen is not reported as stopped."""
    launcher = SlowToEnter()
    runner = Runner(["true"], launcher=launcher)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await launcher.entering.wait()
                scope.cancel()
                await anyio.wait_all_tasks_blocked()
                launcher.may_enter.set()

            tasks.start_soon(cancel)
            with anyio.CancelScope() as scope:
                async with runner:
                    pytest.fail("the body was entered")
    assert dict(runner.jobs) == {}
    assert not launcher.launcher.launched


async def test_kill_ends_an_entry_of_the_launcher_that_takes_long() -> None:
    """It may connect to hosts that hang.  The block is entered, and nothing starts."""
    launcher = SlowToEnter()
    runner = Runner(["true"], launcher=launcher)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            async def kill() -> None:
                await launcher.entering.wait()
                runner.kill()

            tasks.start_soon(kill)
            async with runner:
                assert runner["true"].result is None or not runner["true"].result.attempts
                runner.start_soon(Command(["true"], name="later"))
    assert {result.status for result in runner.results.values()} == {"stopped"}
    assert set(runner.results) == {"true", "later"}
    assert not launcher.launcher.launched


async def test_an_empty_runner_ends_at_once() -> None:
    """Without commands there are no messages and no results, and the block is left at once."""
    async with Runner() as runner:
        assert await messages_of(runner) == []
        assert len(await runner.join()) == 0
    assert runner.results.ok


async def test_the_tail_of_a_job_has_the_last_lines() -> None:
    """Job.tail keeps a limited number of lines, also while the command runs."""
    async with Runner([Command.shell("seq 1000; echo ready; exec sleep 9999", name="c")]) as runner:
        while (await first_line(runner, "c")).text != "ready":
            pass
        assert [line.text for line in runner["c"].tail] == [
            *(str(number) for number in range(982, 1001)),
            "ready",
        ]
        runner.kill()


async def test_a_job_that_is_being_stopped_cannot_be_restarted() -> None:
    """restart raises JobEndedError until the job has ended."""
    launcher = FakeLauncher({"b": Script(exit=None, ignores={signal.SIGTERM})})
    async with Runner(["b"], launcher=launcher, grace=0.01) as runner:
        runner["b"].kill()
        with pytest.raises(JobEndedError, match="'b'"):
            await runner["b"].restart()


async def test_run_works_outside_the_main_thread(
    anyio_backend_name: str, anyio_backend_options: dict[str, object]
) -> None:
    """currant installs no signal handlers, so it runs wherever an event loop runs."""
    results: list[currant.Results] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def in_thread() -> None:
        results.append(
            currant.run(
                "echo hi",
                capture=True,
                backend=anyio_backend_name,
                backend_options=dict(anyio_backend_options),
            )
        )

    thread = threading.Thread(target=in_thread)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    assert results[0]["echo"].stdout == b"hi\n"
    assert {number: signal.getsignal(number) for number in handlers} == handlers


async def test_a_system_without_process_groups_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system other than POSIX, Runner raises NotImplementedError."""
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(NotImplementedError, match="win32"):
        Runner()


async def test_an_unexpected_error_of_the_launcher_stops_all_and_propagates() -> None:
    """An exception other than LaunchError leaves the block unchanged, after all have stopped."""

    class Broken(FakeLauncher):
        async def launch(self, command: Command) -> FakeProcess:
            if command.name == "bad":
                raise ZeroDivisionError("broken launcher")
            return await super().launch(command)

    launcher = Broken(default=Script(exit=None))
    with pytest.raises(ZeroDivisionError, match="broken launcher"):
        async with Runner(["good", "bad"], launcher=launcher) as runner:
            await runner.join()
    assert runner.results["good"].status == "stopped"


async def test_an_unexpected_error_of_a_stop_stops_all_and_propagates() -> None:
    """The error, not the Runner's own cancellation, leaves the block on each event loop."""

    class Broken(FakeLauncher):
        async def launch(self, command: Command) -> FakeProcess:
            process = await super().launch(command)
            if command.name == "bad":
                monkeypatch.setattr(process, "stop", fail)
            return process

    async def fail(*_: object) -> None:
        await checkpoint()
        raise ConnectionError("connection lost")

    for _ in range(20):
        launcher = Broken(default=Script(exit=None))
        with (
            pytest.MonkeyPatch.context() as monkeypatch,
            pytest.raises(ConnectionError, match="connection lost"),
        ):
            async with Runner(["good", "bad"], launcher=launcher) as runner:
                await runner["bad"].until_started()
                await runner["good"].until_started()
                runner.kill()
                await runner.join()
        assert runner.results["good"].status == "stopped"


async def test_an_error_on_entering_the_launcher_propagates() -> None:
    """The launcher's exception leaves the block unwrapped, and the body does not run."""

    class Broken(FakeLauncher):
        async def __aenter__(self) -> FakeLauncher:  # type: ignore[override, misc]
            raise ConnectionError("no host")

        async def __aexit__(self, *_: object) -> None:  # type: ignore[misc]
            pytest.fail("left without having been entered")

    with pytest.raises(ConnectionError, match="no host"):
        async with Runner(["a"], launcher=Broken()):
            pytest.fail("the body was entered")


async def test_concurrent_sends_are_not_interleaved() -> None:
    """Each send is written as a whole."""
    command = Command.shell("sleep 0.1; exec cat", stdin=PIPE, capture=True)
    sizes = (b"A" * 300_000, b"B" * 300_000)
    async with Runner({"c": command}) as runner:
        async with anyio.create_task_group() as tasks:
            for data in sizes:
                tasks.start_soon(runner["c"].send, data)
        await runner["c"].close_stdin()
    assert runner.results["c"].stdout in (sizes[0] + sizes[1], sizes[1] + sizes[0])


@pytest.mark.parametrize("policy", ["restart", "grace", "capture"])
async def test_the_policies_of_a_runner_cannot_be_none(policy: str) -> None:
    """In a Command, None means the Runner's policy; so the Runner needs a value."""
    with pytest.raises(CommandError, match="None"):
        Runner(**{policy: None})  # type: ignore[arg-type]


async def test_a_default_name_used_as_a_key_is_an_explicit_name() -> None:
    """A key of the mapping is an explicit name, even if it is the default name of a command."""
    name = Command(["ls"]).name
    launcher = FakeLauncher()
    async with Runner({str(name): "echo a", "echo": "echo b"}, launcher=launcher) as runner:
        pass
    assert name is not None
    async with Runner({name: "echo a", "echo": "echo b"}, launcher=launcher) as again:
        pass
    assert list(runner.results) == list(again.results) == ["ls", "echo"]


async def test_an_explicit_launcher_may_be_falsy() -> None:
    """A launcher with a length is false until it has started a process; it is used anyway."""

    class Counting(FakeLauncher):
        def __len__(self) -> int:
            return len(self.launched)

    launcher = Counting()
    async with Runner(["no-such-program"], launcher=launcher):
        pass
    assert len(launcher) == 1


async def test_unknown_name_lists_the_names() -> None:
    """Jobs, results and `send_signal` raise a `KeyError` that lists the names and the closest."""
    async with Runner({"web": "true", "worker": "true"}) as runner:
        await runner.join()
        for names in (runner, runner.jobs, runner.results):
            with pytest.raises(KeyError) as raised:
                names["wroker"]
            text = str(raised.value)
            assert text.endswith("did you mean 'worker'? There are: 'web', 'worker'")
        with pytest.raises(KeyError, match="no command 'x'; there are: 'web', 'worker'"):
            await runner.send_signal("TERM", name="x")
        assert "x" not in runner.results
        assert runner.results.get("x") is None
        assert runner.jobs.get("x") is None


async def test_job_before_the_entry_is_explained() -> None:
    """Before the entry there are no jobs, and the error says that the Runner was not entered."""
    runner = Runner({"web": "true"})
    with pytest.raises(KeyError, match="'web' yet: the Runner has not been entered"):
        runner["web"]
    with pytest.raises(KeyError, match="has not been entered"):
        await runner.send_signal("TERM", name="web")


async def test_signals_may_be_names() -> None:
    """`Job.send_signal` and `Runner.send_signal` take the name of a signal."""
    script = (
        "import signal; signal.signal(signal.SIGHUP, lambda *_: print('got', flush=True))\n"
        "print('ready', flush=True)\nwhile True: signal.pause()"
    )
    async with Runner({"a": [sys.executable, "-c", script]}) as runner:
        await first_line(runner, "a")
        assert await runner["a"].send_signal("HUP")
        assert (await first_line(runner, "a")).data == b"got"
        assert await runner.send_signal("sighup") == 1
        assert (await first_line(runner, "a")).data == b"got"
        with pytest.raises(CommandError, match="'HPU'"):
            await runner.send_signal("HPU")
        runner.kill()


async def yields(messages: object) -> AsyncIterator[None]:
    """Act as an async generator, which is not a sink."""
    yield


@pytest.mark.parametrize(
    ("sink", "text"),
    [
        (print, r"sinks\[1\]: a sink must be an async callable, not <built-in function print>"),
        (ConsoleSink, r"sinks\[1\] is the class ConsoleSink; did you forget .* ConsoleSink\(\)"),
        (yields, r"sinks\[1\]: a sink must not 'yield'"),
        ("logs", r"sinks\[1\]: a sink must be an async callable, not 'logs'"),
    ],
)
async def test_object_that_is_no_sink_is_refused_when_built(sink: Any, text: str) -> None:
    """The error says which sink is wrong."""
    with pytest.raises(CommandError, match=text):
        Runner(sinks=[ConsoleSink(), sink])


@pytest.mark.parametrize(
    ("launcher", "text"),
    [
        (5, "launcher must be a Launcher or None, not 5"),
        (FakeLauncher, r"is the class FakeLauncher; did you forget .* FakeLauncher\(\)"),
    ],
)
async def test_object_that_is_no_launcher_is_refused_when_built(launcher: Any, text: str) -> None:
    """The error shows the object."""
    with pytest.raises(CommandError, match=text):
        Runner(launcher=launcher)


async def test_function_that_is_no_sink_is_named() -> None:
    """A function that returns no awaitable stops the commands, and the error names it."""

    def forgot_async(messages: object) -> None:
        pass

    with pytest.raises(CommandError, match=r"forgot_async.* returned None"):
        async with Runner(["sleep 9999"], sinks=[forgot_async]):  # type: ignore[list-item]
            pass


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo bye; exit 3", "does not run; it has ended: exit code 3\n    stdout: bye"),
        ("kill -9 $$", "does not run; it has ended: SIGKILL"),
    ],
)
async def test_send_to_an_ended_command_tells_the_end(command: str, text: str) -> None:
    """The error says how the command ended, and shows its last lines."""
    async with Runner({"a": Command.shell(command, stdin=PIPE)}) as runner:
        await runner["a"].wait()
        with pytest.raises(StdinClosedError) as raised:
            await runner["a"].send(b"x")
    assert str(raised.value).endswith(text)


async def test_send_that_meets_the_exit_tells_the_end(gate: Gate) -> None:
    """A process that exits during a long write is not told as a closed pipe alone."""
    command = Command.shell(f"{gate.wait}; echo bye; exit 3", stdin=PIPE)
    async with Runner({"a": command}) as runner, anyio.create_task_group() as tasks:
        errors: list[StdinClosedError] = []

        async def send() -> None:
            try:
                await runner["a"].send(b"x" * 1_000_000)
            except StdinClosedError as error:
                errors.append(error)

        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        gate.open()
    assert "it is closed; it has ended: exit code 3\n    stdout: bye" in str(errors[0])
