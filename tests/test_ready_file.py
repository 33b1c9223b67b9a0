"""The probe `file`: a file of this attempt counts, and one of an earlier run does not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after

from currant import (
    Command,
    CommandError,
    RestartPolicy,
    Runner,
    UnresponsiveError,
    ready,
)
from currant._supervisor.health import _Target
from currant.testing import FakeLauncher, Script
from tests.lifeline import Gate
from tests.probing import OFTEN, WHERES
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from currant import Launcher
    from currant._values.exchange import FileState
    from currant.ready import Probe

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

NUMBER: Any = 3


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that keeps a command waiting."""
    with Gate(tmp_path / "gate") as gate:
        yield gate


def shell(text: str, probe: Probe, folder: Path, **options: Any) -> Command:
    """Return a command with the name "c", a probe and a working directory."""
    return Command.shell(text, name="c", ready=probe, cwd=folder, **options)


@pytest.mark.parametrize("launcher", WHERES)
@pytest.mark.parametrize(
    "change",
    [
        "echo two > up",
        "touch up",
        "echo one > new; touch -r up new; mv new up",
        "echo one > new; touch -d 2001-01-01 new; cp -p new up",
        "rm up; echo one > up",
    ],
    ids=["written", "touched", "replaced", "copied", "made"],
)
async def test_file_of_an_earlier_run_counts_once_it_is_changed(
    tmp_path: Path, gate: Gate, change: str, launcher: Callable[[], Launcher]
) -> None:
    """However old the file says it is; the path begins at the folder of the command."""
    (tmp_path / "up").write_text("one\n")
    probe = pickle.loads(pickle.dumps(ready.file("up", interval=OFTEN)))
    command = shell(f"{gate.wait}; {change}; exec sleep 9999", probe, tmp_path)
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher()) as runner:
            await runner["c"].until_started()
            assert not runner["c"].is_ready
            gate.open()
            await runner["c"].ready()
            runner.kill()


@pytest.mark.parametrize("launcher", WHERES)
@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("true", {}, "there is no file up"),
        ("touch up", {"non_empty": True}, "the file up is empty"),
        ("rm -f old", {"path": "old/x"}, "there is no file old/x"),
        ("true", {"path": "old"}, "the file old has not changed since the start of the command"),
        (
            "chmod 600 old; ln old other; mv old x; mv x old",
            {"path": "old"},
            "the file old has not changed since the start of the command",
        ),
        ("true", {"path": "a" * 300}, "File name too long"),
    ],
    ids=["missing", "empty", "no folder", "old", "same content", "impossible"],
)
async def test_reason_says_what_is_missing(
    tmp_path: Path,
    text: str,
    options: dict[str, Any],
    reason: str,
    launcher: Callable[[], Launcher],
) -> None:
    """The error shows the state of the file at the last check."""
    (tmp_path / "old").touch()
    alive = ready.file(**{"path": "up", "interval": OFTEN, "timeout": LIMIT, **options})
    command = shell(
        f"{text}; echo done; exec sleep 9999",
        ready.line("done"),
        tmp_path,
        alive=alive,
        failure_threshold=1,
    )
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher()) as runner:
            error = (await runner["c"].wait()).error
    assert isinstance(error, UnresponsiveError)
    assert reason in error.reason


@pytest.mark.parametrize("launcher", WHERES)
async def test_file_of_the_attempt_before_does_not_count(
    tmp_path: Path, gate: Gate, launcher: Callable[[], Launcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the next attempt begins in the same moment, which clocks of files cannot tell."""
    states: list[FileState] = []
    examine = _Target.examine

    async def note(target: _Target, path: str) -> FileState:
        states.append(await examine(target, path))
        return states[-1]

    monkeypatch.setattr(_Target, "examine", note)
    text = f"test -e up || {{ touch up; {gate.wait}; exit 3; }}; exec sleep 9999"
    policy = RestartPolicy("on-failure", delay=0)
    command = shell(text, ready.file("up", interval=OFTEN), tmp_path, restart=policy)
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher()) as runner:
            await runner["c"].ready()
            gate.open()
            while states.count("old") < 3:  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(OFTEN)
            assert runner["c"].attempts == 2
            assert not runner["c"].is_ready
            runner.kill()


def test_command_knows_the_files_of_its_probes(tmp_path: Path) -> None:
    """Each once, also in copies."""
    one, two = ready.file("one"), ready.file(tmp_path / "two", non_empty=True)
    command = Command(["c"], ready=ready.all_of(one, two), alive=ready.any_of(two, ready.file("x")))
    for each in (command, replace(command, name="d"), pickle.loads(pickle.dumps(command))):
        assert each.probe_files == ("one", str(tmp_path / "two"), "x")
    assert replace(command, ready=None, alive=None).probe_files == ()


async def test_fake_process_has_the_files_of_this_machine(tmp_path: Path) -> None:
    """Their state before the start is not known."""
    (tmp_path / "up").touch()
    command = Command(["c"], ready=ready.file("up"), cwd=tmp_path)
    with fail_after(LIMIT):
        async with Runner(launcher=FakeLauncher(default=Script(exit=None))) as runner:
            await runner.start(command)
            runner.kill()


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: ready.file(""), "file: path must not be empty"),
        (lambda: ready.file(NUMBER), "file: path must be"),
        (lambda: ready.file("a\0b"), "file: path contains a NUL"),
        (lambda: ready.file("a", non_empty=NUMBER), "file: non_empty"),
    ],
)
def test_invalid_argument_is_refused_when_built(build: Callable[[], object], text: str) -> None:
    """The error is raised in the caller's frame."""
    with pytest.raises(CommandError, match=text):
        build()


async def test_file_that_cannot_be_seen_fails_the_check_and_not_the_start(tmp_path: Path) -> None:
    """Its state before the start does not matter then."""
    (tmp_path / "loop").symlink_to("loop")
    alive = ready.file("loop", interval=OFTEN, timeout=LIMIT)
    command = Command(["sleep", "9999"], cwd=tmp_path, alive=alive, failure_threshold=1)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            error = (await runner["sleep"].wait()).error
    assert "cannot look at loop: " in str(error)
