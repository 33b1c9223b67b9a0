"""The Runner as a task group: what it takes, what it starts, how it ends, what it tells."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import anyio
import pytest
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
    Runner,
    Started,
    StdinClosedError,
)
from currant._supervisor.attempt import Attempt
from currant._supervisor.dispatcher import Dispatcher
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.reading import first_line, messages_of, read_until
from tests.waiting import FOREVER

pytestmark = pytest.mark.anyio


async def test_runs_every_command_and_tells_what_they_wrote() -> None:
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


async def test_a_command_is_told_in_order_started_output_exited() -> None:
    """Per command: Started, then all of its output, then Exited."""
    async with Runner([Command.shell("seq 1000; seq 1000 >&2", name="seq")]) as runner:
        messages = await messages_of(runner)
    assert isinstance(messages[0], Started)
    assert isinstance(messages[-1], Exited)
    assert all(isinstance(message, Line) for message in messages[1:-1])
    assert len(messages) == 2002
    assert messages[0].attempt == messages[-1].attempt == 1


@pytest.mark.parametrize("spec", ["echo 'a  b'", ["echo", "a  b"], Command(["echo", "a  b"])])
async def test_takes_texts_word_lists_and_commands(spec: currant.Command | str | list[str]) -> None:
    """A text is split by the shell's rules; words and Commands are taken as they are."""
    async with Runner([spec], capture=True) as runner:
        await runner.join()
    assert runner.results["echo"].stdout == b"a  b\n"


async def test_default_names_that_clash_are_numbered_and_given_names_stay() -> None:
    """Default names get #2, #3…; a given name is never moved, wherever it stands."""
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


async def test_two_commands_given_one_name_are_refused() -> None:
    """Explicit names that clash raise when the Runner is built, and at start_soon."""
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
        {"launcher": 5},
        {"sinks": 5},
        {"sinks": [5]},
    ],
)
async def test_a_wrong_option_is_refused_when_built(options: dict[str, object]) -> None:
    """Misuse fails in the caller's frame, before anything is started."""
    with pytest.raises(CommandError, match=next(iter(options)).rstrip("s")):
        Runner(["true"], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("commands", ["ls -l", Command(["ls"]), 5, None])
async def test_what_is_no_list_of_commands_is_refused(commands: Any) -> None:
    """``Runner("ls -l")`` would run each letter; it is refused with a text that says so."""
    with pytest.raises(CommandError, match="list"):
        Runner(commands)


@pytest.mark.parametrize("command", [None, "", [], ["x", 1], ["a\0b"], 5])
async def test_a_wrong_command_is_told_by_its_name(command: Any) -> None:
    """Where a mapping gives it one."""
    with pytest.raises(CommandError, match="command 'db': ") as caught:
        Runner({"web": "true", "db": command})
    assert isinstance(caught.value, EmptyCommandError) == (command in ("", []))


@pytest.mark.parametrize("data", ["text", None, 5, [1]])
async def test_only_bytes_can_be_sent(data: Any) -> None:
    """Whatever else is refused in the frame of who gives it."""
    async with Runner([Command(["cat"], stdin=PIPE)]) as runner:
        with pytest.raises(CommandError, match="command 'cat': send takes bytes"):
            await runner["cat"].send(data)
        more: list[Any] = [bytearray(b"all of "), memoryview(b"it")]
        for good in more:
            await runner["cat"].send(good)
        await runner["cat"].close_stdin()
        output = b"".join([m.data async for m in runner.batches() if isinstance(m, Batch)])
    assert output == b"all of it"


async def test_a_missing_program_is_found_before_any_process_starts(
    tmp_path: os.PathLike[str],
) -> None:
    """On entry all programs are looked up; one that is missing means that none is started."""
    trace = os.path.join(tmp_path, "started")
    with pytest.raises(CommandNotFoundError, match="no-such-program") as caught:
        async with Runner([["touch", trace], "no-such-program"]):
            pytest.fail("the body was entered")
    assert isinstance(caught.value, FileNotFoundError)
    assert not os.path.exists(trace)


async def test_a_missing_working_directory_is_told_as_that() -> None:
    """A missing cwd is not told as a missing program."""
    with pytest.raises(CommandNotFoundError, match="working directory '/no/such/place'"):
        async with Runner([Command(["true"], cwd="/no/such/place")]):
            pytest.fail("the body was entered")


async def test_the_block_waits_for_all_commands() -> None:
    """Leaving the block normally waits for every command, as join does."""
    async with Runner([Command.shell("read x; exit 7", stdin=b"go\n", name="sh")]) as runner:
        assert "sh" not in runner.results
    assert runner.results["sh"].exit == Exit(7, None)
    assert runner["sh"].state == "ended"


async def test_what_breaks_a_start_from_inside_leaves_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Ctrl-C may on trio, between any two steps; nobody waits for what will not come."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Attempt, "_begin", interrupt)
    commands = {"db": Command(["db"]), "api": Command(["api"], after="db")}
    with anyio.fail_after(30), pytest.raises(KeyboardInterrupt):
        async with Runner(commands, launcher=FakeLauncher(default=Script(exit=None))):
            pass


@pytest.mark.parametrize("where", ["sweep", "_register", "_wait_for_needs"])
async def test_no_group_of_ours_leaves_the_block(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """What goes wrong in a task of the Runner's own leaves as it is."""

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


async def test_the_exception_of_the_body_leaves_unchanged_and_kills() -> None:
    """A body that raises kills all; its own exception goes on as the same object, in no group."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with Runner([FOREVER, FOREVER]) as runner:
            await runner.start(FOREVER)
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert [result.status for result in runner.results.values()] == ["stopped"] * 3


async def test_join_can_be_awaited_by_many_tasks_and_many_times() -> None:
    """Each of them gets the same results, also after the block."""
    async with Runner(["true"], launcher=FakeLauncher()) as runner:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(runner.join)
        assert (await runner.join()).ok
    assert (await runner.join())["true"].status == "succeeded"


async def test_more_commands_can_be_started_after_a_join() -> None:
    """join is not an end: the block can go on to start commands, and they can be joined again."""
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


async def test_start_raises_where_the_program_cannot_start_and_the_others_go_on() -> None:
    """A program that cannot start later gives Failed and a result with the error."""
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


async def test_max_processes_bounds_how_many_run_and_keeps_the_order() -> None:
    """Never more than so many run; the others wait their turn in the order given."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner([f"c{n}" for n in range(5)], max_processes=2, launcher=launcher) as runner:
        for _ in range(5):
            await anyio.wait_all_tasks_blocked()
            running = [process for process in launcher.launched if process.running]
            assert len(running) == min(2, 5 - (len(launcher.launched) - len(running)))
            running[0].exit(0)
    names = [process.command.name for process in launcher.launched]
    # Those that start in the same turn have no order on trio.
    assert [set(names[:2]), *names[2:]] == [{"c0", "c1"}, "c2", "c3", "c4"]
    assert runner.results.ok


async def test_a_queued_command_tells_its_state() -> None:
    """A command that waits for its turn is queued and has no pid."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["a", "b"], max_processes=1, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        assert (runner["a"].state, runner["b"].state) == ("running", "queued")
        assert runner["b"].pid is None
        assert repr(runner) == "<Runner 1 running, 1 queued>"
        runner.kill()


async def test_capture_keeps_the_output_whoever_else_reads_it() -> None:
    """With capture the result has all bytes; an int keeps the last ones; otherwise None."""
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


async def test_success_codes_decide_what_a_success_is() -> None:
    """An exit code among success_codes is a success, any other is a failure, 0 too."""
    async with Runner(
        {
            "one": Command.shell("exit 1", success_codes=(0, 1)),
            "zero": Command.shell("exit 0", success_codes=(1,)),
        }
    ) as runner:
        pass
    assert runner.results["one"].status == "succeeded"
    assert runner.results["zero"].status == "failed"


async def test_death_by_a_signal_is_told_as_the_signal() -> None:
    """A command that a signal ended has that signal, and has failed; we did not stop it."""
    async with Runner([Command.shell("kill -SEGV $$", name="c")]) as runner:
        pass
    assert runner.results["c"].exit == Exit(None, signal.SIGSEGV)
    assert runner.results["c"].status == "failed"


async def test_check_shows_the_exit_and_the_last_lines() -> None:
    """Results.check raises a group with what a person needs to see."""
    async with Runner(
        [Command.shell("echo working; echo no disk >&2; exit 9", name="c")]
    ) as runner:
        pass
    with pytest.raises(ExceptionGroup, match="1 of 1") as caught:
        runner.results.check()
    text = str(caught.value.exceptions[0])
    assert "exit code 9" in text
    assert "no disk" in text


async def test_stdin_is_empty_unless_asked_for() -> None:
    """stdin is /dev/null by default; bytes are fed, then end-of-file."""
    async with Runner(
        {"null": "cat", "bytes": Command(["cat"], stdin=b"x" * 300_000)}, capture=True
    ) as runner:
        await runner.join()
    assert runner.results["null"].stdout == b""
    assert runner.results["bytes"].stdout == b"x" * 300_000


async def test_a_command_need_not_read_its_stdin() -> None:
    """Bytes that the command does not want are no error."""
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


async def test_sending_to_nobody_is_one_clear_error() -> None:
    """No pipe, a closed pipe and an ended command each give StdinClosedError, which says why."""
    async with Runner({"plain": "true", "pipe": Command(["true"], stdin=PIPE)}) as runner:
        with pytest.raises(StdinClosedError, match="stdin=PIPE"):
            await runner["plain"].send(b"x")
        await runner["pipe"].wait()
        with pytest.raises(StdinClosedError, match="does not run"):
            await runner["pipe"].send(b"x")


async def test_sending_to_a_command_that_has_closed_its_stdin_is_an_error() -> None:
    """A broken pipe is told as StdinClosedError; the command goes on."""
    # uvloop leaves duplicates of its stdin open in a child, hence closerange.
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


async def test_signals_reach_one_command_or_all() -> None:
    """send_signal returns how many groups it reached; what has ended is no error."""
    # The group's other member dies of the signal, which its shell tells on stderr.
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


async def test_a_runner_is_for_one_use() -> None:
    """Entering twice, and asking for its messages before, are errors that say what to do."""
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


async def test_an_empty_runner_ends_at_once() -> None:
    """Without commands there is nothing to read and nothing to wait for."""
    async with Runner() as runner:
        assert await messages_of(runner) == []
        assert len(await runner.join()) == 0
    assert runner.results.ok


async def test_the_tail_of_a_job_has_the_last_lines() -> None:
    """Job.tail is bounded to the last lines, also of one that goes on."""
    async with Runner([Command.shell("seq 1000; echo ready; exec sleep 9999", name="c")]) as runner:
        while (await first_line(runner, "c")).text != "ready":
            pass
        assert [line.text for line in runner["c"].tail] == [
            *(str(number) for number in range(982, 1001)),
            "ready",
        ]
        runner.kill()


async def test_a_job_that_has_ended_cannot_be_restarted() -> None:
    """restart of what has ended, or is being stopped, is one clear error."""
    launcher = FakeLauncher({"a": Script(), "b": Script(exit=None, ignores={signal.SIGTERM})})
    async with Runner(["a", "b"], launcher=launcher, grace=0.01) as runner:
        await runner["a"].wait()
        with pytest.raises(JobEndedError, match="'a'"):
            await runner["a"].restart()
        runner["b"].kill()
        with pytest.raises(JobEndedError, match="'b'"):
            await runner["b"].restart()


async def test_works_in_a_thread_that_is_not_the_main_one(
    anyio_backend_name: str, anyio_backend_options: dict[str, object]
) -> None:
    """currant installs no signal handlers and runs wherever an event loop runs."""
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


async def test_a_system_without_process_groups_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on POSIX, Runner says that it does not run there."""
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(NotImplementedError, match="win32"):
        Runner()


async def test_a_launcher_that_breaks_its_contract_stops_all_and_is_told() -> None:
    """An exception that is no LaunchError leaves the block as it is, after all was stopped."""

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


async def test_a_stop_that_raises_something_of_its_own_stops_all_and_is_told() -> None:
    """On each event loop the same: no cancellation of the Runner's own gets out."""

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
        with pytest.MonkeyPatch.context() as monkeypatch:
            with pytest.raises(ConnectionError, match="connection lost"):
                async with Runner(["good", "bad"], launcher=launcher) as runner:
                    await runner["bad"].until_started()
                    await runner["good"].until_started()
                    runner.kill()
                    await runner.join()
            assert runner.results["good"].status == "stopped"


async def test_a_launcher_that_cannot_be_entered_is_told() -> None:
    """What its entry raises leaves the block unwrapped; the body is not run."""

    class Broken(FakeLauncher):
        async def __aenter__(self) -> FakeLauncher:  # type: ignore[override, misc]
            raise ConnectionError("no host")

        async def __aexit__(self, *_: object) -> None:  # type: ignore[misc]
            pytest.fail("left without having been entered")

    with pytest.raises(ConnectionError, match="no host"):
        async with Runner(["a"], launcher=Broken()):
            pytest.fail("the body was entered")


async def test_two_tasks_may_send_at_once_and_their_bytes_are_not_mixed() -> None:
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
async def test_a_runners_own_policies_cannot_be_left_open(policy: str) -> None:
    """None stands for the Runner's policy, so the Runner itself needs one."""
    with pytest.raises(CommandError, match="None"):
        Runner(**{policy: None})  # type: ignore[arg-type]


async def test_a_default_name_that_is_given_as_a_key_is_a_name_that_was_given() -> None:
    """A mapping's key is the name, wherever the text comes from."""
    name = Command(["ls"]).name
    launcher = FakeLauncher()
    async with Runner({str(name): "echo a", "echo": "echo b"}, launcher=launcher) as runner:
        pass
    assert name is not None
    async with Runner({name: "echo a", "echo": "echo b"}, launcher=launcher) as again:
        pass
    assert list(runner.results) == list(again.results) == ["ls", "echo"]


async def test_a_launcher_that_is_given_is_used_whatever_its_truth() -> None:
    """A launcher may have a length, and be false while it has started nothing."""

    class Counting(FakeLauncher):
        def __len__(self) -> int:
            return len(self.launched)

    launcher = Counting()
    async with Runner(["no-such-program"], launcher=launcher):
        pass
    assert len(launcher) == 1
