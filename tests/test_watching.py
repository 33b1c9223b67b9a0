"""`Command.watch` and `Command.restart_with`: restarts because of files, and of other commands."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from contextlib import asynccontextmanager
from signal import SIGHUP, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import (
    Command,
    CommandError,
    Exited,
    Line,
    MissingExtraError,
    Restarting,
    RestartPolicy,
    Runner,
    Started,
    Watch,
    ready,
    run_process,
)
from currant._supervisor.lifecycle import Lifecycle
from currant._supervisor.reactions import _Changes, _Reasons
from currant._supervisor.watch_rules import IgnoreFiles, WatchRules
from currant.testing import FakeLauncher, Script
from tests.waiting import FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import Self

    from currant import Message

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

QUICK = 0.02
"""A `debounce`, in seconds, that is shorter than the default."""


def write(path: Path, text: str = "x\n") -> None:
    """Write a file, and make its folder if there is none; for a watch, this is a single change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(".#new")  # ignored
    new.write_text(text)
    os.replace(new, path)


def watching(tmp_path: Path, *paths: str, **options: Any) -> Watch:
    """Return a quick `Watch` of paths below `tmp_path`."""
    return Watch([tmp_path / path for path in paths], debounce=QUICK, **options)


async def next_of(kind: type[Any], messages: AsyncIterator[Message]) -> Any:
    """Return the next message of a kind."""
    with anyio.fail_after(LIMIT):
        async for message in messages:
            if isinstance(message, kind):
                return message
    raise AssertionError(f"there was no {kind.__name__}")


# ---- a change ----


async def test_a_changed_file_restarts_a_command(tmp_path: Path) -> None:
    """The old process is stopped, the message says which file, and the new process reads it."""
    write(tmp_path / "src/app", "one\n")
    command = Command.shell(
        f"cat src/app; exec {FOREVER}",
        name="web",
        cwd=tmp_path,
        watch=Watch("src", debounce=QUICK),
    )
    async with Runner([command]) as runner:
        messages = aiter(runner)
        assert (await next_of(Line, messages)).text == "one"
        write(tmp_path / "src/app", "two\n")
        exited = await next_of(Exited, messages)
        restarting = await next_of(Restarting, messages)
        assert (await next_of(Line, messages)).text == "two"
        runner.kill()
    assert exited.exit.stopped
    assert (restarting.attempt, restarting.delay) == (2, 0.0)
    assert restarting.reason == "src/app changed"


async def test_a_watched_command_that_has_failed_starts_again(tmp_path: Path) -> None:
    """It holds the Runner open, stops no other command, and another life begins with a reason."""
    write(tmp_path / "app", "exit 3")
    command = Command(["sh", str(tmp_path / "app")], name="web", watch=watching(tmp_path, "app"))
    async with Runner([command], kill_others_on="exit") as runner:
        messages = aiter(runner)
        await next_of(Exited, messages)
        assert (await runner["web"].wait()).status == "failed"
        write(tmp_path / "app", f"echo works; exec {FOREVER}")
        restarting = await next_of(Restarting, messages)
        assert (restarting.attempt, restarting.reason) == (2, f"{tmp_path}/app changed")
        assert (await next_of(Line, messages)).text == "works"
        assert (runner["web"].attempts, runner["web"].state) == (2, "running")
        runner.kill()
    assert runner.results["web"].status == "stopped"


@pytest.mark.parametrize("kills_job", [True, False])
async def test_a_kill_ends_the_wait_for_a_change(tmp_path: Path, *, kills_job: bool) -> None:
    """A watched command that has ended does not hold the Runner open after a kill."""
    command = Command(["true"], watch=watching(tmp_path, "app"))
    with anyio.fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["true"].wait()
            assert runner["true"].is_watched
            (runner["true"] if kills_job else runner).kill()
            await runner.join()
            assert not runner["true"].is_watched
    assert runner.results["true"].status == "succeeded"


@pytest.mark.parametrize("script", [Script(exit=None), Script(exit=0)], ids=["runs", "has ended"])
async def test_no_process_starts_for_a_change_after_a_kill(tmp_path: Path, script: Script) -> None:
    """Stop beats restart, also a restart that is announced, and changes that go on."""
    command = Command(["c"], watch=watching(tmp_path, "app"))
    async with Runner([command], launcher=FakeLauncher(default=script)) as runner:
        messages = aiter(runner)
        await next_of(Started if script.exit is None else Exited, messages)
        write(tmp_path / "app")
        await next_of(Restarting, messages)
        write(tmp_path / "app", "y")
        runner.kill()
        starts = runner["c"].attempts
        with anyio.fail_after(LIMIT):
            await runner.join()
    assert runner["c"].attempts == starts


async def test_a_command_that_was_killed_and_restarted_is_watched_again(tmp_path: Path) -> None:
    """A change after `Job.kill` starts nothing; after `Job.restart`, a change restarts again."""
    command = Command(["c"], watch=watching(tmp_path, "app"))
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner([command], launcher=launcher, keep_open=True) as runner:
        messages = aiter(runner)
        await next_of(Started, messages)
        runner["c"].kill()
        await runner["c"].wait()
        await runner["c"].restart()
        write(tmp_path / "app")
        assert (await next_of(Restarting, messages)).attempt == 3
        await next_of(Started, messages)
        runner.kill()
    assert len(launcher.launched) == 3


async def replace(path: Path) -> None:
    """Replace a file as editors do."""
    write(path)


async def write_in_place(path: Path) -> None:
    """Write a file as shells do."""
    path.write_text("x")


async def make_tree(path: Path) -> None:
    """Make a file and all folders above."""
    write(path)


async def replace_folder(path: Path) -> None:
    """Replace the folder of a file by another one of the same name, with the same file."""
    shutil.rmtree(path.parent)
    write(path)


async def link_elsewhere(path: Path) -> None:
    """Let the link that is the folder of the file lead to another folder."""
    write(path.parent.with_name("second") / path.name)
    os.symlink("second", path.parent.with_name("link"))
    os.replace(path.parent.with_name("link"), path.parent)


@pytest.mark.parametrize(
    ("before", "watched", "change"),
    [
        ("file", "file", replace),
        ("file", "file", write_in_place),
        ("a/b/file", "a", write_in_place),
        (None, "file", replace),
        (None, "a/b/file", make_tree),
        (None, "a/b", make_tree),
        ("a/b/file", "a/b", replace_folder),
        ("a/b/file", "a/b/file", replace_folder),
        ("first/file", "a/b", link_elsewhere),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_paths_may_come_and_go(
    tmp_path: Path, before: str | None, watched: str, change: Callable[[Path], Awaitable[None]]
) -> None:
    """A path that does not exist yet, or becomes another file, is found, and so is what follows."""
    if before is not None:
        write(tmp_path / before)
    if change is link_elsewhere:
        (tmp_path / "a").mkdir()
        os.symlink(tmp_path / "first", tmp_path / "a/b")
    file = tmp_path / (before if change is write_in_place and before else watched)
    if file.name != "file":
        file /= "file"
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner([Command(["c"], watch=watching(tmp_path, watched))], launcher=launcher) as r:
        messages = aiter(r)
        await next_of(Started, messages)
        await change(file)
        await next_of(Restarting, messages)
        # As long as changes follow one another, this is one restart or several.
        while r["c"].state != "running":
            await next_of(Started, messages)
        attempts = r["c"].attempts
        with anyio.fail_after(LIMIT):
            while r["c"].attempts == attempts:  # It is also found in the folder as it is now.
                write(file, str(anyio.current_time()))
                await anyio.wait_all_tasks_blocked()
        r.kill()


async def test_a_change_during_a_start_is_not_lost(tmp_path: Path) -> None:
    """A process that is being started may have read the old file, so another one follows."""
    launcher = FakeLauncher({"c": [Script(starting=0.5, exit=None), Script(exit=None)]})
    command = Command(["c"], watch=watching(tmp_path, "app"))
    async with Runner([command], launcher=launcher) as runner:
        write(tmp_path / "app")
        messages = aiter(runner)
        assert (await next_of(Restarting, messages)).attempt == 2
        await next_of(Started, messages)
        runner.kill()
    assert len(launcher.launched) == 2


async def test_a_change_during_a_stop_needs_no_further_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that follows the stop begins after the change."""
    asked = anyio.create_memory_object_stream[None](9)
    restart_soon = Lifecycle.restart_soon

    def ask(life: Lifecycle, reason: str | None = None) -> None:
        restart_soon(life, reason)
        asked[0].send_nowait(None)

    monkeypatch.setattr(Lifecycle, "restart_soon", ask)
    launcher = FakeLauncher({"c": [Script(exit=None, ignores={SIGTERM}), Script(exit=None)]})
    command = Command(["c"], watch=watching(tmp_path, "app"), grace=HOURS)
    with anyio.fail_after(LIMIT), asked[0], asked[1]:
        async with Runner([command], launcher=launcher) as runner:
            messages = aiter(runner)
            await next_of(Started, messages)
            for text in "12":
                write(tmp_path / "app", text)
                await asked[1].receive()
            await launcher["c"].send_signal(SIGKILL)
            await next_of(Started, messages)
            await anyio.wait_all_tasks_blocked()
            assert runner["c"].attempts == 2
            runner.kill()


async def test_restarts_by_a_watch_use_up_no_limit(tmp_path: Path) -> None:
    """`max_restarts` counts what the policy restarts; an edit lets it count anew."""
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0)
    launcher = FakeLauncher(
        {"c": [*[Script(exit=None)] * 3, *[Script(exit=1)] * 2, Script(exit=None)]}
    )
    command = Command(["c"], watch=watching(tmp_path, "app"), restart=policy)
    async with Runner([command], launcher=launcher) as runner:
        messages = aiter(runner)
        for text in "123":
            await next_of(Started, messages)
            write(tmp_path / "app", text)
            assert (await next_of(Restarting, messages)).reason is not None
        assert (await next_of(Restarting, messages)).reason is None
        assert (await runner["c"].wait()).status == "failed"
        runner.kill()


async def test_a_change_can_send_a_signal(tmp_path: Path) -> None:
    """With a signal as the action, the process goes on, and the end of the command is its end."""
    script = "trap 'echo reloaded; exit 4' HUP; echo up; while :; do sleep 0.01; done"
    # With "mixed", the signal goes to the shell alone, and does not end `sleep`.
    watch = watching(tmp_path, "conf", action="hup")
    command = Command.shell(script, name="c", watch=watch, kill_mode="mixed")
    async with Runner([command]) as runner:
        messages = aiter(runner)
        assert (await next_of(Line, messages)).text == "up"
        write(tmp_path / "conf")
        assert (await next_of(Line, messages)).text == "reloaded"
    assert runner.results["c"].attempts == 1
    assert str(runner.results["c"].exit) == "exit code 4"


async def test_a_name_that_is_no_text_restarts_a_command(tmp_path: Path) -> None:
    """watchfiles cannot say which file it is, and the watch goes on."""
    launcher = FakeLauncher(default=Script(exit=None))
    (tmp_path / "src").mkdir()
    command = Command(["c"], watch=watching(tmp_path, "src"))
    async with Runner([command], launcher=launcher) as runner:
        messages = aiter(runner)
        for name in (b"\xff", b"a"):
            await next_of(Started, messages)
            os.close(os.open(os.fsencode(tmp_path / "src") + b"/" + name, os.O_CREAT))
            await next_of(Restarting, messages)
        runner.kill()


async def test_a_command_that_is_added_is_watched(tmp_path: Path) -> None:
    """`Runner.start` of a command with other paths watches those, too."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(keep_open=True, launcher=launcher) as runner:
        messages = aiter(runner)
        for name in ("a", "b"):
            await runner.start(Command([name], watch=watching(tmp_path, f"{name}/file")))
            write(tmp_path / name / "other")
        with anyio.fail_after(LIMIT):
            while runner["b"].attempts == 1:
                write(tmp_path / "b/file", str(anyio.current_time()))
                await anyio.wait_all_tasks_blocked()
        assert (await next_of(Restarting, messages)).command == "b"
        assert runner["a"].attempts == 1
        runner.kill()


class TestWithMockClock:
    """A storm of changes, without waiting."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Trio with a `MockClock`."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize(("changes", "after"), [(1, 0.2), (5, 0.6), (1000, 2.0)])
    async def test_a_storm_of_changes_is_one(self, changes: int, after: float) -> None:
        """It ends with a pause of `debounce` seconds, or at last after ten times that."""
        storm = _Changes()

        async def rage() -> None:
            for number in range(changes):
                storm.note(str(number))
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as tasks:
            began = anyio.current_time()
            tasks.start_soon(rage)
            assert await storm.next(0.2) == "0"
            assert anyio.current_time() - began == pytest.approx(after)
            tasks.cancel_scope.cancel()


def test_close_restarts_in_a_row_get_advice() -> None:
    """A command that writes into its own watched folder restarts without an end.

    The advice comes at each fourth restart, so that it neither scrolls away nor fills the screen.
    """
    reasons = _Reasons()
    shown = [reasons.next("src/out", now) for now in (0, 1, 2, 3, 4, 5, 6, 7, 99, 100)]
    advice = " just after the start, again; if the command writes this file, ignore the file or"
    has_advice = [f"src/out changed{advice}" in each for each in shown]
    assert has_advice == [number in (4, 8) for number in range(1, 11)]
    assert shown[0] == shown[-1] == "src/out changed"


# ---- which files count ----


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("src/a.py", True),
        ("src/deep/er/b.py", True),
        ("other.py", False),
        ("src/build/out.js", False),  # by the root of the repository
        ("src/a.tmp", False),
        ("src/keep.tmp", True),  # taken back further down
        ("src/deep/keep.tmp", True),
        ("src/deep/secret", False),  # by a nested file
        ("src/secret", True),
        ("src/ignored/keep.tmp", False),  # nothing is taken back below an ignored folder
        ("src/.git/index", False),
        ("src/node_modules/x/index.js", False),
        ("src/__pycache__/a.cpython-311.pyc", False),
        ("src/.a.py.swp", False),
        ("src/a.py~", False),
        ("src/#a.py#", False),
        ("src/4913", False),
        ("src/web.log", False),
        (".env", True),  # although it is ignored: it is named
        ("dist/bundle.js", True),
        ("dist/bundle.js.map", False),
    ],
)
def test_files_that_git_and_editors_would_not_keep_do_not_count(
    tmp_path: Path, path: str, *, counts: bool
) -> None:
    """All `.gitignore` files from the root of the repository down count; named paths always do."""
    (tmp_path / "repo/.git").mkdir(parents=True)
    write(tmp_path / "repo/.gitignore", "build/\n*.tmp\n.env\ndist/\nignored\n")
    write(tmp_path / "repo/app/src/.gitignore", "!keep.tmp\n")
    write(tmp_path / "repo/app/src/deep/.gitignore", "/secret\n")
    write(tmp_path / "repo/app/dist/.gitignore", "*.map\n")
    app = tmp_path / "repo/app"
    write(app / path)
    assert concerned(app, Watch(["src", ".env", "dist"]), path) is counts


@pytest.mark.parametrize(
    ("options", "path", "counts"),
    [
        ({"include": "*.py"}, "src/a.py", True),
        ({"include": "*.py"}, "src/a.js", False),
        ({"include": ["*.py", "src/*.html"]}, "src/a.html", True),
        ({"include": "*.py"}, "src/package", True),  # a folder that has come with its files
        ({"include": "*.js"}, "src/package", False),
        ({"ignore": "*_test.py"}, "src/a_test.py", False),
        ({"ignore": ["src/gen/"]}, "src/gen/a.py", False),
        ({"ignore": ["/gen/"]}, "src/gen/a.py", True),  # relative to the cwd
        ({"ignore": "!*.log"}, "src/a.log", True),
        ({"ignore": "!node_modules"}, "src/node_modules/a.js", True),
        ({"ignore": "!*.tmp"}, "src/a.tmp", True),
    ],
)
def test_patterns_say_which_files_count(
    tmp_path: Path, options: dict[str, Any], path: str, *, counts: bool
) -> None:
    """`include` and `ignore` have the syntax of `.gitignore`, and `!` takes back any pattern."""
    write(tmp_path / "src/package/a.py")
    write(tmp_path / ".gitignore", "*.tmp\n")
    (tmp_path / ".git").mkdir()
    if path != "src/package":
        write(tmp_path / path)
    assert concerned(tmp_path, Watch("src", **options), path) is counts


def concerned(folder: Path, watch: Watch, path: str) -> bool:
    """Return whether a change of `path` concerns a command in `folder`."""
    rules = WatchRules(Command(["c"], cwd=folder), watch)
    found = rules.first_match([str(folder / path)], IgnoreFiles())
    assert found in (None, path)
    return found is not None


# ---- other commands ----


async def test_a_command_restarts_with_another_one_when_that_is_ready() -> None:
    """Whatever has restarted it; the first start is no restart."""
    launcher = FakeLauncher(
        {"db": [Script(exit=None, stdout=b"up\n"), Script(exit=None), Script(exit=None)]},
        default=Script(exit=None),
    )
    db = Command(["db"], ready=ready.line("up"))
    api = Command(["api"], after=["db"], restart_with=["db"])
    page = Command(["page"], restart_with="api")
    async with Runner([db, api, page], launcher=launcher) as runner:
        for job in runner.jobs.values():
            await job.ready()
        await runner["db"].restart()
        await anyio.wait_all_tasks_blocked()
        assert (runner["api"].attempts, runner["page"].attempts) == (1, 1)
        launcher["db"].write(b"up\n")
        messages = aiter(runner)
        reasons: dict[str, str] = {}
        while len(reasons) < 2:
            message = await next_of(Restarting, messages)
            if message.command != "db":
                reasons[message.command] = message.reason
        assert reasons == {"api": "db was restarted", "page": "api was restarted"}
        await runner["page"].until_started()
        assert (runner["api"].attempts, runner["page"].attempts) == (2, 2)
        runner.kill()


@pytest.mark.parametrize("exit_code", [0, 1])
async def test_a_command_restarts_with_a_build_that_has_succeeded(exit_code: int) -> None:
    """After a build that has failed, it goes on as it is."""
    launcher = FakeLauncher({"build": [Script(), Script(exit=exit_code)], "web": Script(exit=None)})
    web = Command(["web"], after={"build": "succeeded"}, restart_with=["build"])
    async with Runner(["build", web], launcher=launcher) as runner:
        await runner["web"].ready()
        await runner["build"].restart()
        await runner["build"].wait()
        await anyio.wait_all_tasks_blocked()
        assert runner["web"].attempts == (2 if exit_code == 0 else 1)
        runner.kill()


async def test_a_command_that_has_started_since_is_not_restarted() -> None:
    """It has found the other command as it is now."""
    launcher = FakeLauncher(
        {"db": [Script(exit=None, stdout=b"up\n"), Script(exit=None)]}, default=Script(exit=None)
    )
    db = Command(["db"], ready=ready.line("up"))
    api = Command(["api"], restart_with=["db"], restart=RestartPolicy("on-failure", delay=0))
    with anyio.fail_after(LIMIT):
        async with Runner([db, api], launcher=launcher) as runner:
            await runner["db"].ready()
            await runner["api"].ready()
            await runner["db"].restart()
            await anyio.wait_all_tasks_blocked()
            await launcher["api"].send_signal(SIGKILL)
            while runner["api"].attempts == 1:
                await anyio.wait_all_tasks_blocked()
            launcher["db"].write(b"up\n")
            await runner["db"].ready()
            await anyio.wait_all_tasks_blocked()
            assert runner["api"].attempts == 2
            runner.kill()


async def test_a_restart_by_the_policy_and_another_life_count_as_restarts() -> None:
    """And a command that has ended itself is run again."""
    launcher = FakeLauncher({"db": [Script(exit=1), Script(exit=None)], "job": Script()})
    db = Command(["db"], restart=RestartPolicy("on-failure", delay=0.01))
    job = Command(["job"], restart_with=["db"])
    async with Runner([db, job], launcher=launcher) as runner:
        with anyio.fail_after(LIMIT):
            while runner["job"].attempts < 2:
                await anyio.wait_all_tasks_blocked()
            await runner["job"].wait()
            runner["db"].kill()
            await runner["db"].wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner["db"].restart)
                while runner["job"].attempts < 3:
                    await anyio.wait_all_tasks_blocked()
        runner.kill()


# ---- what is refused ----


@pytest.mark.parametrize(
    ("commands", "problem"),
    [
        ([Command(["a"], restart_with="b")], "command 'a': restart_with: there is no command 'b'"),
        (
            [Command(["a"], restart_with="b"), Command(["b"], restart_with=["a"])],
            "restart_with: commands restart with one another: 'a' with 'b' with 'a'",
        ),
        ([Command(["a"], restart_with="a")], "restart with one another"),
    ],
)
def test_names_that_cannot_be_restarted_with_are_refused(
    commands: list[Command], problem: str
) -> None:
    """An unknown name and a cycle are found when the Runner is built."""
    with pytest.raises(CommandError, match=problem):
        Runner(commands)


async def test_links_of_a_command_that_runs_again_are_checked() -> None:
    """A cycle is refused, and nothing has changed."""
    async with Runner(["true", Command(["b"], restart_with="true")], launcher=FakeLauncher()) as r:
        await r.join()
        with pytest.raises(CommandError, match="restart_with"):
            r.start_soon(Command(["true"], name="true", restart_with=["b"]))
        assert r["true"].attempts == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"watch": ()}, "at least one path"),
        ({"watch": 5}, "watch must be a path or a sequence of them, not 5"),
        ({"watch": [""]}, "empty"),
        ({"watch": ["a\0b"]}, "NUL"),
        ({"watch": ["a"], "host": "n1"}, "command 'c': watch .* runs on 'n1'"),
        ({"restart_with": [1]}, "restart_with must be names"),
        ({"restart_with": 1}, "restart_with must be names"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], problem: str) -> None:
    """The error comes in the caller's frame, and names the option."""
    with pytest.raises(CommandError, match=problem):
        Command(["c"], **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"debounce": -1}, "debounce"),
        ({"debounce": float("inf")}, "debounce"),
        ({"action": "again"}, "action of watch must be a signal"),
        ({"include": [5]}, "each of include"),
        ({"ignore": [""]}, "ignore"),
    ],
)
def test_a_wrong_watch_is_refused(options: dict[str, Any], problem: str) -> None:
    """The error names the field."""
    with pytest.raises(CommandError, match=problem):
        Watch("src", **options)


async def test_a_launcher_with_hosts_and_a_wrong_pattern_are_refused_on_entry() -> None:
    """Nothing is started."""
    launcher = FakeLauncher(hosts=["n1"])
    with pytest.raises(CommandError, match="launcher runs commands on hosts"):
        async with Runner([Command(["c"], watch="src")], launcher=launcher):
            pass
    runner = Runner([Command(["true"], watch=Watch("src", ignore="!"))])
    with pytest.raises(CommandError, match="'!' is not a pattern"):
        async with runner:
            pass
    with pytest.raises(CommandError, match="watch and restart_with need a Runner"):
        await run_process("true", restart_with=["b"])  # type: ignore[call-arg]
    assert not launcher.launched
    assert not runner.jobs


async def test_a_missing_package_is_named_on_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra; commands without `watch` need no package."""
    for package in ("watchfiles", "pathspec"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtraError, match=r"currant\[watch\]"):
                async with Runner([Command(["true"], watch="src")]):
                    pass
            async with Runner(["true"]):
                pass


def test_a_watch_is_a_value() -> None:
    """Paths stand for a `Watch`, and a command with one can be pickled and compared."""
    command = Command(["c"], watch=["src"], restart_with="db")
    assert command.watch == Watch("src") == Watch(["src"], debounce=0.2)
    assert Watch("conf", action="hup").action == SIGHUP
    assert Watch("conf", action="hup").restarts is False
    assert command.restart_with == ("db",)
    assert pickle.loads(pickle.dumps(command)) == command


async def test_a_kill_before_the_entry_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started or watched, and the block ends."""
    monkeypatch.setitem(sys.modules, "pathspec", None)

    class NeverReady(FakeLauncher):
        """A launcher whose entry a kill ends."""

        @asynccontextmanager
        async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
            await anyio.sleep_forever()
            yield self

    runner = Runner([Command(["true"], watch="src")], launcher=NeverReady())
    runner.barrier.throw()
    with anyio.fail_after(LIMIT):
        async with runner:
            pass
    assert runner.results["true"].status == "stopped"
