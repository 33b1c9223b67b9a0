"""The requests to a running stack, with the stack and its clients in one process."""

from __future__ import annotations

import os
import subprocess
from contextlib import aclosing
from functools import partial
from signal import SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from currant import PIPE, Command, CommandError, Line, RestartPolicy
from currant.cli import _start as start_module
from currant.cli._clients.ask import show_problems
from currant.cli._start import say_what_goes_on, wait_until_ready
from currant.ready import line
from currant.stack import (
    CommandInfo,
    Difference,
    Listing,
    NoStackError,
    ProtocolVersionError,
    RequestError,
    StackClient,
    StackError,
)
from currant.stack import _client as client_module
from currant.stack._protocol import Restart, Start
from currant.testing import FakeLauncher, Script
from tests.stacks import RunningStack, running
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime")]


SERVES, CRASHES = Script(exit=None), Script(exit=3)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[RunningStack]:
    """A stack of two commands that run for ever; `b` depends on `a`."""
    commands = {"a": Command(["a"]), "b": Command(["b"], after={"a": "started"})}
    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=launcher) as stack:
            await stack.client.wait(until="ready")
            yield stack


async def states(stack: RunningStack) -> dict[str, str]:
    """Return the state of each command."""
    return {each.name: each.state for each in (await stack.client.list()).commands}


# ---- list ----


async def test_list_shows_state_pid_and_exit(tmp_path: Path) -> None:
    """`list` has the state of each command, and how it has ended."""
    launcher = FakeLauncher({"web": SERVES, "job": CRASHES})
    with anyio.fail_after(LIMIT):
        async with running({"web": "web", "job": "job"}, tmp_path, launcher=launcher) as stack:
            await stack.client.wait(["job"])
            web, job = (await stack.client.list()).commands
            pid = launcher["web"].pid
    assert (web.name, web.state, web.ready, web.pid, web.restarts) == (
        "web",
        "running",
        True,
        pid,
        0,
    )
    assert (job.state, job.pid, str(job.exit)) == ("failed", None, "exit code 3")


@needs_proc
async def test_memory_and_cpu_are_those_of_the_whole_session(tmp_path: Path) -> None:
    """The children of the first process count, too, and also one that leads another session."""
    other = f"setsid sh -c 'echo up; {EXEC_FOREVER}'"
    command = Command.shell(f"{FOREVER} & {other} & wait", ready=line("up"))
    with anyio.fail_after(LIMIT):
        async with running({"a": command}, tmp_path) as stack:
            (a,) = (await stack.client.wait(until="ready")).commands
    assert a.processes == 3
    assert a.memory is not None
    assert a.memory > 100_000
    assert a.cpu is not None


async def test_info_names_the_stack(two: RunningStack, tmp_path: Path) -> None:
    """A client learns whose stack it talks to."""
    info = await two.client.info()
    assert (info.folder, info.log) == (str(tmp_path.resolve()), None)


# ---- start, stop, restart ----


async def test_stopped_command_can_be_started_again(two: RunningStack) -> None:
    """`stop` ends a command and leaves the others; `start` begins another life."""
    assert [each.state for each in (await two.client.stop(["b"])).commands] == ["stopped"]
    assert await states(two) == {"a": "running", "b": "stopped"}
    (b,) = (await two.client.start(["b"])).commands
    assert (b.state, b.restarts) == ("running", 1)


async def test_start_of_a_running_command_changes_nothing(two: RunningStack) -> None:
    """`start` is for commands that have ended."""
    listing = await two.client.start(["a"])
    assert [each.restarts for each in listing.commands] == [0]
    assert listing.problems == {}


async def test_stop_of_all_stops_dependents_first(two: RunningStack) -> None:
    """As when the Runner is stopped, no command loses its dependencies."""
    order: list[str] = []
    async with anyio.create_task_group() as tasks:
        for name in ("a", "b"):
            tasks.start_soon(note_end, two, name, order)
        await two.client.stop()
    assert order == ["b", "a"]


async def note_end(stack: RunningStack, name: str, order: list[str]) -> None:
    """Note the end of a command."""
    await stack.runner[name].wait()
    order.append(name)


async def test_stop_now_skips_the_grace(tmp_path: Path) -> None:
    """A second `stop` with `now` kills a command that ignores the request."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={15}))
    with anyio.fail_after(LIMIT):
        async with (
            running({"a": "a"}, tmp_path, launcher=launcher, grace=9999.0) as stack,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(stack.client.stop)
            while stack.runner["a"].state != "stopping":
                await checkpoint()
            (a,) = (await stack.client.stop(now=True)).commands
    assert a.exit is not None
    assert a.exit.forced


async def test_restart_without_names_leaves_ended_commands(tmp_path: Path) -> None:
    """With a name, a command that has ended is run again."""
    launcher = FakeLauncher({"web": SERVES, "job": Script(exit=0)})
    with anyio.fail_after(LIMIT):
        async with running({"web": "web", "job": "job"}, tmp_path, launcher=launcher) as stack:
            await stack.client.wait(["job"])
            assert [each.name for each in (await stack.client.restart()).commands] == ["web"]
            (job,) = (await stack.client.restart(["job"])).commands
            assert job.restarts == 1


async def test_restart_while_the_stack_ends_says_so(two: RunningStack) -> None:
    """The text has no advice for Python programs."""
    two.runner.kill()
    listing = await two.client.restart(["a"])
    assert listing.problems == {"a": "it has ended meanwhile, or is being stopped"}


async def test_start_says_why_a_command_is_not_ready(tmp_path: Path) -> None:
    """The problem is that of the command, with the command's name."""
    command = Command(["a"], ready=line("never"))
    launcher = FakeLauncher({"a": Script(stderr=b"no such table\n", exit=1)})
    with anyio.fail_after(LIMIT):
        async with running({"a": command}, tmp_path, launcher=launcher) as stack:
            await stack.client.wait()
            problems = (await stack.client.start(["a"])).problems
    assert list(problems) == ["a"]
    assert "no such table" in problems["a"]


AFTER_MIGRATE = {
    "worker": Command(["worker"], after="api"),
    "api": Command(["api"], after={"migrate": "succeeded"}),
    "migrate": Command(["migrate"], after="db"),
    "db": Command(["db"]),
}
"""Commands in the wrong order; each needs the next."""


def failing_first() -> FakeLauncher:
    """Return a launcher with which `migrate` fails once."""
    migrate = [Script(stderr=b"no such table\n", exit=1), Script(exit=0)]
    return FakeLauncher({"migrate": migrate}, SERVES)


async def test_up_judges_dependencies_by_their_present_state(tmp_path: Path) -> None:
    """How they had ended before does not count, in whatever order the names are given."""
    commands = {"other": Command(["other"], after={"migrate": "succeeded"}), **AFTER_MIGRATE}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=failing_first()) as stack:
            problems = (await stack.client.wait(until="ready")).problems
            assert problems["migrate"] == "exit code 1\n    stderr: no such table"
            assert "'migrate' did not succeed: exit code 1" in problems["worker"]
            assert (await stack.client.restart(["migrate"])).problems == {}
            assert (await states(stack))["api"] == "skipped"
            listing = await stack.client.start(["worker", "api"])
            assert (listing.problems, listing.started) == ({}, ("api", "worker"))
            assert (await stack.client.restart(["other"])).problems == {}


async def test_up_starts_what_a_command_needs(tmp_path: Path) -> None:
    """What has failed or was stopped starts again, also behind a one-shot that has succeeded."""
    with anyio.fail_after(LIMIT):
        async with running(AFTER_MIGRATE, tmp_path, launcher=failing_first()) as stack:
            await stack.client.wait(until="ready")
            listing = await stack.client.start(["worker"])
            assert (listing.problems, listing.started) == ({}, ("migrate", "api", "worker"))
            await stack.client.stop()
            listing = await stack.client.start(["api"])
            assert (listing.problems, listing.started) == ({}, ("db", "api"))
            listing = await stack.client.start(["migrate"])
            assert (listing.problems, listing.started) == ({}, ("migrate",))


async def test_start_without_names_leaves_commands_that_have_succeeded(tmp_path: Path) -> None:
    """A finished one-shot has done its work; all else runs afterwards."""
    with anyio.fail_after(LIMIT):
        async with running(AFTER_MIGRATE, tmp_path, launcher=failing_first()) as stack:
            await stack.client.wait(until="ready")
            await stack.client.stop(["db"])
            assert (await stack.client.start()).started == ("db", "migrate", "api", "worker")
            assert (await states(stack))["migrate"] == "succeeded"
            listing = await stack.client.start()
            assert (listing.problems, listing.started) == ({}, ())


async def test_reload_starts_commands_that_were_skipped_because_of_a_changed_one(
    tmp_path: Path,
) -> None:
    """The repaired command succeeds, and the commands that need it start behind it."""
    args: list[str] = []

    def read(_also: Collection[str] = ()) -> list[Command]:
        migrate = Command(["migrate", *args], name="migrate", after="db")
        return list((AFTER_MIGRATE | {"migrate": migrate}).values())

    with anyio.fail_after(LIMIT):
        async with running(AFTER_MIGRATE, tmp_path, read=read, launcher=failing_first()) as stack:
            await stack.client.wait(until="ready")
            args.append("--repaired")
            change, listing = await stack.client.reload()
            expected = Difference(restart=("migrate",), unchanged=("db",), again=("api", "worker"))
            assert (change, listing.problems) == (expected, {})
            ends = {"worker": "running", "api": "running", "migrate": "succeeded", "db": "running"}
            assert await states(stack) == ends


async def test_start_by_a_client_forgets_the_last_failure(tmp_path: Path) -> None:
    """A failure that has been repaired is no news."""
    launcher = FakeLauncher({"a": [CRASHES, SERVES]})
    with anyio.fail_after(LIMIT):
        async with running({"a": "a"}, tmp_path, launcher=launcher) as stack:
            while (await stack.client.list()).commands[0].failure != "exit code 3":
                await checkpoint()  # The history gets the messages later.
            assert (await stack.client.start()).commands[0].failure is None


@pytest.mark.parametrize("given", ["web", "web.2"])
async def test_name_of_a_process_type_stands_for_its_instances(tmp_path: Path, given: str) -> None:
    """``web`` is ``web.1`` and ``web.2``."""
    launcher = FakeLauncher(default=SERVES)
    commands = {"web.1": "a", "web.2": "b", "webx": "c"}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=launcher) as stack:
            stopped = (await stack.client.stop([given])).commands
    assert [each.name for each in stopped] == (["web.1", "web.2"] if given == "web" else ["web.2"])


async def test_unknown_name_gets_the_nearest_right_one(two: RunningStack) -> None:
    """A mistake starts and stops nothing."""
    with pytest.raises(RequestError, match=r"no command 'bb'; did you mean 'b'\?") as caught:
        await two.client.stop(["a", "bb"])
    assert caught.value.kind == "unknown_name"
    assert await states(two) == {"a": "running", "b": "running"}


# ---- signal, send, wait ----


async def test_signal_reaches_the_group(two: RunningStack) -> None:
    """The answer is the number of commands that the signal has reached."""
    assert await two.client.signal("HUP", "a") == 1
    assert await two.client.signal(1, "a") in (0, 1)  # The first has ended it.
    with pytest.raises(RequestError, match="must be a signal"):
        await two.client.signal("NOPE", "b")


async def test_send_writes_to_stdin(tmp_path: Path) -> None:
    """Input of any length arrives as it is; without a stdin, the error says so."""
    command = Command.shell("head -c 500000 | wc -c", stdin=PIPE)
    with anyio.fail_after(LIMIT):
        async with running({"a": command, "b": FOREVER}, tmp_path) as stack:
            await stack.client.send("a", b"x" * 500_000)
            await stack.client.wait(["a"])
            logs = [message async for message in stack.client.logs(["a"])]
            assert [each.text.strip() for each in logs if isinstance(each, Line)] == ["500000"]
            with pytest.raises(RequestError, match="'b' has no stdin to write to"):
                await stack.client.send("b", b"x")


async def test_wait_tells_how_commands_ended(tmp_path: Path) -> None:
    """A command that failed is a problem, and one that was stopped is none."""
    launcher = FakeLauncher({"a": CRASHES, "b": SERVES})
    with anyio.fail_after(LIMIT):
        async with (
            running({"a": "a", "b": "b"}, tmp_path, launcher=launcher) as stack,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(stack.client.stop, ["b"])
            listing = await stack.client.wait()
    assert listing.problems == {"a": "exit code 3"}


async def test_wait_gives_up_after_its_timeout(two: RunningStack) -> None:
    """The problem says that the time is over."""
    listing = await two.client.wait(["a"], timeout=0.01)
    assert listing.problems == {"a": "it has not ended after 0.01 s"}


# ---- logs ----


async def test_logs_follow_new_output(tmp_path: Path) -> None:
    """`logs -f` has the last lines, and then new lines."""
    command = Command.shell(
        f"echo one; echo two; read line; echo $line; {EXEC_FOREVER}", stdin=PIPE
    )
    texts = []
    with anyio.fail_after(LIMIT):
        async with (
            running({"a": command}, tmp_path, grace=0.0) as stack,
            aclosing(stack.client.logs(["a"], follow=True)) as logs,
        ):
            async for message in logs:
                assert isinstance(message, Line)
                texts.append(message.text)
                if message.text == "two":
                    await stack.client.send("a", b"three\n")
                if message.text == "three":
                    break
    assert texts == ["one", "two", "three"]


async def test_logs_have_the_bytes_that_were_written(tmp_path: Path) -> None:
    """Bytes that are no text survive the way through JSON, and events come on request."""
    written = bytes(range(256)).replace(b"\n", b"").replace(b"\r", b"") + b"\n"
    launcher = FakeLauncher({"a": Script(stdout=written)})
    with anyio.fail_after(LIMIT):
        async with running({"a": "a"}, tmp_path, launcher=launcher) as stack:
            await stack.client.wait()
            logs = [message async for message in stack.client.logs(events=True)]
    assert b"".join(m.data + m.ending for m in logs if isinstance(m, Line)) == written
    assert [type(message).__name__ for message in logs] == ["Started", "Line", "Exited"]


# ---- reload ----


async def test_reload_changes_only_commands_that_differ(tmp_path: Path) -> None:
    """A command that is the same goes on."""
    readings = [["same", "changed", "gone"], ["same", "changed", "new"]]
    count = 0

    def read(_also: Collection[str] = ()) -> list[Command]:
        names = readings[min(count, 1)]
        return [Command([name, str(count * (name == "changed"))], name=name) for name in names]

    commands = {command.name: command for command in read()}
    launcher = FakeLauncher(default=SERVES)
    expected = Difference(("new",), ("gone",), ("changed",), ("same",))
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, read=read, launcher=launcher) as stack:
            await stack.client.wait(until="ready")
            before = {each.name: each.pid for each in (await stack.client.list()).commands}
            count = 1
            assert (await stack.client.reload(apply=False))[0] == expected
            assert await states(stack) == dict.fromkeys(before, "running")
            change, listing = await stack.client.reload()
            assert (change, listing.problems) == (expected, {})
            after = {each.name: each.pid for each in (await stack.client.list()).commands}
            assert (await stack.client.reload())[0] == Difference((), (), (), tuple(readings[1]))
    assert after.keys() == {"same", "changed", "new"}
    assert (after["same"] == before["same"], after["changed"] == before["changed"]) == (True, False)


async def test_reload_starts_new_commands_behind_their_dependencies(tmp_path: Path) -> None:
    """The order of the configuration does not matter, and each replica is a command."""
    commands = [Command(["a"])]

    def read(_also: Collection[str] = ()) -> list[Command]:
        return commands

    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"a": Command(["a"])}, tmp_path, read=read, launcher=launcher) as stack:
            commands = [
                Command(["c"], after=["b"]),
                Command(["b"], after=["a", "d"]),
                Command(["a"]),
                Command(["d"], replicas=2),
            ]
            change, listing = await stack.client.reload()
            assert change.start == ("c", "b", "d.1", "d.2")
            assert listing.problems == {}
            assert await states(stack) == dict.fromkeys(("a", "d.1", "d.2", "b", "c"), "running")


async def test_start_adds_a_command_of_the_configuration_with_what_it_needs(
    tmp_path: Path,
) -> None:
    """Commands that run go on, even if they have changed; and `reload` keeps what was added."""
    args = {"a": "1"}

    def read(also: Collection[str]) -> list[Command]:
        after = {"web": {"db": None}, "db": {"a": None}}
        names = ["a", *(["db", "web"] if "web" in also else [])]
        return [
            Command([name, args.get(name, "")], name=name, after=after.get(name, {}))
            for name in names
        ]

    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"a": read(())[0]}, tmp_path, read=read, launcher=launcher) as stack:
            await stack.client.wait(until="ready")
            pid = stack.runner["a"].pid
            args["a"] = "2"
            listing = await stack.client.start(["web", "a"])
            assert (listing.problems, stack.runner["a"].pid) == ({}, pid)
            assert list((await states(stack)).items()) == [
                (name, "running") for name in ("a", "db", "web")
            ]
            change, _ = await stack.client.reload()
            assert change == Difference((), (), ("a",), ("db", "web"))
            with pytest.raises(RequestError, match="there is no command 'wep'; did you mean 'web'"):
                await stack.client.start(["wep"])


async def test_start_of_an_unknown_command_starts_nothing(tmp_path: Path) -> None:
    """The other names of the request count as little."""

    def read(also: Collection[str]) -> list[Command]:
        return [Command([name], name=name) for name in ("a", *(["b"] if "b" in also else []))]

    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"a": read(())[0]}, tmp_path, read=read, launcher=launcher) as stack:
            with pytest.raises(RequestError, match="there is no command 'c'"):
                await stack.client.start(["b", "c"])
            assert list(await states(stack)) == ["a"]


async def test_start_of_a_command_of_a_wrong_configuration_says_so(tmp_path: Path) -> None:
    """Commands that the stack has can be started all the same."""

    def read(also: Collection[str]) -> list[Command]:
        if also:
            raise CommandError("line 3 is wrong")
        return [Command(["a"], name="a")]

    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"a": read(())[0]}, tmp_path, read=read, launcher=launcher) as stack:
            with pytest.raises(RequestError, match="line 3 is wrong"):
                await stack.client.start(["b"])
            assert (await stack.client.start(["a"])).problems == {}


async def test_reload_of_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    """The error is told, and all commands go on."""
    is_wrong = False

    def read(_also: Collection[str] = ()) -> list[Command]:
        if is_wrong:
            raise CommandError("Procfile, line 2: what is that?")
        return [Command(["a"], name="a")]

    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"a": Command(["a"])}, tmp_path, read=read, launcher=launcher) as stack:
            await stack.client.wait(until="ready")
            is_wrong = True
            with pytest.raises(RequestError, match="Procfile, line 2: what is that"):
                await stack.client.reload()
            assert await states(stack) == {"a": "running"}


async def test_client_cannot_start_a_command_again_that_reload_stops(tmp_path: Path) -> None:
    """A removed command stays removed, and a changed one runs once."""
    readings = [["changed", "gone", "slow"], ["changed"]]
    count = 0

    def read(_also: Collection[str] = ()) -> list[Command]:
        return [Command([name, f"{count}"], name=name) for name in readings[count]]

    commands = {command.name: command for command in read()}
    slow = Script(exit=None, ignores={SIGTERM})
    launcher = FakeLauncher({"slow": slow}, default=SERVES)
    refused = "'currant reload' has removed 'gone'"
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, read=read, launcher=launcher, grace=LIMIT) as stack:
            await stack.client.wait(until="ready")
            count = 1
            problems: list[object] = []

            async def reload() -> None:
                problems.append((await stack.client.reload())[1].problems)

            async def restart(name: str) -> None:
                answer = await stack.control.restart(Restart((name,)))
                problems.append(answer["problems"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reload)
                await stack.runner["gone"].wait()
                await stack.runner["changed"].wait()
                for name in ("changed", "gone"):
                    tasks.start_soon(restart, name)
                await wait_all_tasks_blocked()
                stack.runner["slow"].kill()  # now
            assert sorted(problems, key=str) == [{"gone": refused}, {}, {}]
            assert await states(stack) == {"changed": "running"}
            assert stack.runner["gone"].state == "ended"


async def test_start_goes_on_with_what_reload_starts(tmp_path: Path) -> None:
    """What `reload` stops counts no more; a command that it has removed is a problem."""
    count = 0

    def read(_also: Collection[str] = ()) -> list[Command]:
        up = line("up")
        changed = Command(["changed", f"{count}"], name="changed", ready=up)
        web = Command(["web"], name="web", after="changed")
        gone = [Command([name], name=name, ready=up) for name in ("gone", "slow")]
        return [changed, web, *(gone if count == 0 else [])]

    commands = {command.name: command for command in read()}
    serves = Script(stdout=b"up\n", exit=None)
    slow = Script(stdout=b"up\n", exit=None, ignores={SIGTERM})
    launcher = FakeLauncher({"changed": [SERVES, serves], "slow": slow}, default=SERVES)
    problems: list[object] = []
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, read=read, launcher=launcher, grace=LIMIT) as stack:
            await stack.runner["slow"].ready()
            count = 1

            async def start() -> None:
                answer = await stack.control.start(Start(("changed", "web", "gone")))
                problems.append(answer["problems"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start)
                await wait_all_tasks_blocked()
                tasks.start_soon(stack.client.reload)
                await stack.runner["gone"].wait()
                assert (await stack.runner["web"].wait()).status == "skipped"
                await wait_all_tasks_blocked()
                assert not problems  # `reload` has not ended.
                stack.runner["slow"].kill()  # now
            assert problems == [{"gone": "'currant reload' has removed 'gone'"}]
            assert await states(stack) == {"changed": "running", "web": "running"}


# ---- attach ----


async def test_attached_client_types_and_reads_at_once(tmp_path: Path) -> None:
    """A prompt arrives without its newline, the size is passed on, and the end is told."""
    command = Command.shell("printf 'name? '; read name; stty size; echo hello $name", pty=True)
    seen, has_typed, end = b"", False, None
    with anyio.fail_after(LIMIT):
        async with (
            running({"a": command}, tmp_path) as stack,
            stack.client.attach("a", rows=7, columns=77) as attachment,
            aclosing(attachment.output()) as output,
        ):
            async for each in output:
                if isinstance(each, CommandInfo):
                    end = each
                    break
                seen += each
                if seen.endswith(b"name? ") and not has_typed:
                    has_typed = True
                    await attachment.resize(8, 88)
                    await attachment.send(b"joe\n")
    assert b"8 88\r\nhello joe\r\n" in seen
    assert (end is not None, end and end.state) == (True, "succeeded")


async def test_attached_client_that_leaves_leaves_the_command(tmp_path: Path) -> None:
    """Detaching changes nothing, and another client may attach."""
    command = Command.shell(f"echo up; {EXEC_FOREVER}", pty=True)
    with anyio.fail_after(LIMIT):
        async with running({"a": command}, tmp_path) as stack:
            for _ in range(2):
                async with (
                    stack.client.attach("a") as attachment,
                    aclosing(attachment.output()) as output,
                ):
                    assert await anext(output) == b"up\r\n"
            assert await states(stack) == {"a": "running"}


# ---- `currant start -d`, the part that waits ----


async def test_start_in_the_background_names_a_command_that_is_not_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason, and the end of what this stack has logged; the stack goes on."""
    (tmp_path / "log").write_text("of another stack\none\ntwo\n")
    begin = len("of another stack\n")
    launcher = FakeLauncher({"a": CRASHES, "b": SERVES})
    commands = {"a": Command(["a"], ready=line("up")), "b": Command(["b"])}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=launcher) as stack:
            assert await wait_until_ready(stack.client, 42, tmp_path / "log", begin) == 1
            assert (await stack.client.start(["b"])).problems == {}
    shown = capsys.readouterr().err
    assert shown.startswith("currant: 'a' is not ready: ")
    assert "the stack runs (pid 42); 'currant down' ends it" in shown
    assert shown.endswith("log; it ends with:\none\ntwo\n")


async def test_start_in_the_background_says_where_the_log_is(
    two: RunningStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is 0 when all commands are ready."""
    assert await wait_until_ready(two.client, 42, tmp_path / "log") == 0
    assert capsys.readouterr().out == f"started 2 commands (pid 42); the log is {tmp_path}/log\n"


async def test_start_in_the_background_tells_that_another_client_has_ended_the_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands are still being stopped when the stack answers."""
    commands = {"a": Command(["a"], ready=line("up")), "deaf": Command(["deaf"])}
    launcher = FakeLauncher({"deaf": Script(exit=None, ignores={SIGTERM})}, SERVES)
    with anyio.fail_after(LIMIT):
        async with (
            running(commands, tmp_path, launcher=launcher, grace=0.5) as stack,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(wait_until_ready, stack.client, 42, tmp_path / "log")
            await stack.runner["deaf"].until_started()
            stack.runner.kill("currant down")
    shown = capsys.readouterr().err
    assert "currant: the stack has ended with exit status 1\n" in shown
    assert "the stack runs" not in shown


def test_interrupted_start_tells_of_a_stack_that_has_ended_or_does_not_listen_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stack that has ended needs no end, and one that does not listen cannot be asked."""
    client = StackClient(str(tmp_path), str(tmp_path / "socket"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stack:
        say_what_goes_on(None, stack.pid, tmp_path / "log")
        say_what_goes_on(client, stack.pid, tmp_path / "log")
        assert stack.stdin is not None
        stack.stdin.close()
        os.waitid(os.P_PID, stack.pid, os.WEXITED | os.WNOWAIT)
        for _ in range(2):  # The second time, nothing is left to reap.
            say_what_goes_on(client, stack.pid, tmp_path / "log")
    starting, ending, *ended = capsys.readouterr().err.splitlines()
    assert starting == f"currant: the stack is starting (pid {stack.pid}), and goes on"
    assert ending.startswith(f"currant: the stack is ending (pid {stack.pid})")
    assert ended == [f"currant: the stack has ended; the log is {tmp_path}/log"] * 2


async def test_start_in_the_background_waits_for_a_command_that_is_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a command that has ended for good is not ready."""
    often = RestartPolicy("on-failure", max_restarts=3, delay=0)
    commands = {"db": Command(["db"], ready=line("up"), restart=often)}
    fails = Script(stderr=b"no data\n", exit=1, after=0.05)
    for last, status in ((Script(stdout=b"up\n", exit=None), 0), (fails, 1)):
        launcher = FakeLauncher({"db": [*[fails] * 3, last]})
        with anyio.fail_after(LIMIT):
            async with running(commands, tmp_path, launcher=launcher) as stack:
                assert await wait_until_ready(stack.client, 42, tmp_path / "log") == status
    shown = capsys.readouterr()
    assert shown.out.startswith("started 1 command (pid 42)")
    problem = "currant: 'db' is not ready: it has ended: exit code 1\n    stderr: no data\n"
    assert shown.err.startswith(problem)


@pytest.mark.parametrize(
    ("command", "scripts", "told"),
    [
        (Command(["a"], ready=line("up"), restart="on-failure"), [CRASHES, SERVES], "restarts it"),
        (Command(["a"]), [CRASHES], "waits for the other commands"),
    ],
    ids=["restarted", "ended"],
)
async def test_start_in_the_background_tells_of_a_failure_while_it_waits(
    command: Command,
    scripts: list[Script],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise nothing would show why it takes so long."""
    texts: list[str] = []
    has_text = anyio.Event()

    def echo(text: str, **_: object) -> None:
        texts.append(text)
        has_text.set()

    monkeypatch.setattr("click.echo", echo)
    monkeypatch.setattr(start_module, "FAILURE_INTERVAL", 0.01)
    commands = {"a": command, "b": Command(["b"], ready=line("never"))}
    launcher = FakeLauncher({"a": scripts}, SERVES)
    with anyio.fail_after(LIMIT):
        async with (
            running(commands, tmp_path, launcher=launcher) as stack,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(wait_until_ready, stack.client, 42, tmp_path / "log")
            await has_text.wait()
            tasks.cancel_scope.cancel()
    assert texts[0].startswith(f"currant: a: exit code 3; currant {told}")


def test_problem_of_a_command_has_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason may have the letters of the name without being about the name."""
    problems = {"it": "it has not ended after 1 s", "db": "'db' is not ready"}
    assert show_problems(Listing((), problems)) == 1
    shown = capsys.readouterr().err
    assert shown == "currant: it: it has not ended after 1 s\ncurrant: 'db' is not ready\n"


# ---- the end ----


async def test_down_ends_the_stack_and_tells_how_commands_ended(tmp_path: Path) -> None:
    """The answer comes when all is over; then there is no stack."""
    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"a": "a"}, tmp_path, launcher=launcher) as stack:
            client = stack.client
            await client.wait(until="ready")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(note_down, client)
                await stack.runner.barrier.wait()
                assert stack.runner.barrier.reason == "currant down"
                tasks.cancel_scope.cancel()
    with pytest.raises(NoStackError):
        await client.list()
    with pytest.raises(NoStackError, match="no stack runs in"):
        StackClient.find(str(tmp_path))


async def test_down_now_hurries_a_stack_that_a_failure_ends(tmp_path: Path) -> None:
    """No client has asked for the end before, and a list tells that it is near."""
    launcher = FakeLauncher({"a": CRASHES}, Script(exit=None, ignores={SIGTERM}))
    commands = {"deaf": Command(["deaf"]), "a": Command(["a"], kill_others_on="failure")}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=launcher, grace=HOURS) as stack:
            await stack.runner.barrier.wait()
            assert (await stack.client.list()).is_ending
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(stack.client.down, now=True))
                end = (await stack.runner["deaf"].wait()).exit
                assert end is not None
                assert end.forced
                tasks.cancel_scope.cancel()


async def note_down(client: StackClient) -> None:
    """Ask for the end."""
    await client.down()


async def test_stack_is_over_when_all_commands_have_ended_by_themselves(tmp_path: Path) -> None:
    """A command that a client has stopped may be started again, and holds the stack open."""
    launcher = FakeLauncher({"a": SERVES, "b": [Script(exit=0), SERVES]})
    with anyio.fail_after(LIMIT):
        async with running({"a": "a", "b": "b"}, tmp_path, launcher=launcher) as stack:
            await stack.client.stop(["a"])
            await stack.client.wait()
            with anyio.move_on_after(0.05) as limit:
                await stack.control.until_over()
            assert limit.cancelled_caught
            await stack.client.start(["a"])
            await stack.runner["a"].send_signal("KILL")
            await stack.client.wait()
            await stack.control.until_over()


async def test_command_that_waits_for_a_change_holds_the_stack_open(tmp_path: Path) -> None:
    """Until a kill; and a life that no client has begun is noticed when it ends."""
    commands = {"a": Command(["a"], watch=tmp_path / "file"), "b": Command(["b"])}
    launcher = FakeLauncher({"b": [Script(exit=0), Script(exit=0)]})
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=launcher) as stack:
            await stack.runner["a"].wait()
            with anyio.move_on_after(0.05) as limit:
                await stack.control.until_over()
            assert limit.cancelled_caught
            stack.runner["a"].kill()
            await stack.runner["b"].wait()
            await stack.runner["b"].restart()
            await stack.control.until_over()


async def test_kill_of_a_command_that_waits_for_a_change_ends_the_stack(tmp_path: Path) -> None:
    """Nothing else happens then that could wake the stack."""
    commands = {"a": Command(["a"], watch=tmp_path / "file")}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=FakeLauncher()) as stack:
            await stack.runner["a"].wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stack.control.until_over)
                await anyio.wait_all_tasks_blocked()
                stack.runner["a"].kill()


async def test_stack_learns_of_each_end_also_of_lives_that_no_client_has_begun(
    tmp_path: Path,
) -> None:
    """The last command that has ended decides the exit status, however it was started again."""
    launcher = FakeLauncher({"a": [SERVES, Script(exit=3)], "b": [SERVES]})
    ends: list[tuple[str, str]] = []

    async def follow() -> None:
        await stack.control.until_over()
        ends.append(("", "over"))

    with anyio.fail_after(LIMIT):
        async with running({"a": "a", "b": "b"}, tmp_path, launcher=launcher) as stack:
            stack.control.on_end = lambda name, result: ends.append((name, str(result.exit)))
            await stack.client.wait(until="ready")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                await anyio.wait_all_tasks_blocked()
                await stack.runner["a"].send_signal("KILL")
                await stack.runner["a"].wait()
                await anyio.wait_all_tasks_blocked()
                await stack.runner["a"].restart()
                await stack.runner["a"].wait()
                await anyio.wait_all_tasks_blocked()
                await stack.runner["b"].send_signal("KILL")
    last = [("a", "SIGKILL"), ("a", "exit code 3"), ("b", "SIGKILL"), ("", "over")]
    assert ends == last


async def test_client_of_another_version_is_told(
    two: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names both versions."""
    monkeypatch.setattr(client_module, "VERSION", 7)
    with pytest.raises(ProtocolVersionError, match=r"speaks version 1 .* this currant version 7"):
        await two.client.list()


async def test_end_of_the_stack_ends_a_follower(two: RunningStack) -> None:
    """A stack that is killed leaves no client waiting."""
    follower = two.client.logs(follow=True)
    async with aclosing(follower):
        two.history.end()
        assert [message async for message in follower] == []
    assert issubclass(NoStackError, StackError)
