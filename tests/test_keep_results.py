"""``Runner(keep_results=N)``: a Runner that is given commands without end."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from anyio.lowlevel import checkpoint

from currant import Command, CommandError, JobEndedError, Runner, UnknownNameError
from currant.sinks import DirectorySink, SinkWarning
from currant.testing import FakeLauncher, Script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]


async def test_only_the_last_results_are_remembered() -> None:
    """A job that the caller holds keeps its result; its name is free again."""
    launcher = FakeLauncher({"bad": Script(exit=3)})
    async with Runner(keep_results=2, keep_open=True, launcher=launcher) as runner:
        first = runner.start_soon(Command(["x"], name="bad"))
        await first.wait()
        for name in ("a", "b", "c"):
            await runner.start_soon(Command(["x"], name=name)).wait()
        await _until_forgotten(runner, "bad")
        assert list(runner.results) == list(runner.jobs) == ["b", "c"]
        assert first.result is not None
        assert first.result.exit is not None
        assert first.result.exit.code == 3
        with pytest.raises(UnknownNameError):
            runner["bad"]
        again = runner.start_soon(Command(["x"], name="bad"))
        assert again is not first
        await again.wait()
        runner.kill()


async def _until_forgotten(runner: Runner, name: str) -> None:
    """Wait for the last steps of a job that has ended."""
    while name in runner.jobs:
        await checkpoint()


async def test_default_names_go_on_counting() -> None:
    """No two commands get the same default name, although the first is forgotten."""
    async with Runner(keep_results=0, keep_open=True, launcher=FakeLauncher()) as runner:
        names: list[str] = []
        for _ in range(3):
            job = runner.start_soon("x")
            names.append(job.name)
            await job.wait()
            await _until_forgotten(runner, job.name)
        assert names == ["x", "x#2", "x#3"]
        runner.kill()


async def test_a_command_that_others_wait_for_is_remembered() -> None:
    """Its end still decides about a command that is added later."""
    commands = {"first": "x", "then": Command(["x"], after={"first": "succeeded"})}
    async with Runner(commands, keep_results=0, keep_open=True, launcher=FakeLauncher()) as runner:
        await runner["then"].wait()
        await _until_forgotten(runner, "then")
        assert list(runner.jobs) == ["first"]
        runner.kill()


async def test_memory_does_not_grow_with_the_number_of_commands() -> None:
    """Nothing of a command is left after it was forgotten."""
    launcher = FakeLauncher(keep=10)
    at: dict[int, int] = {}
    async with Runner(keep_results=5, keep_open=True, iterable=False, launcher=launcher) as runner:
        for count in range(1, 2501):
            await runner.start_soon("x").wait()
            if count in (500, 2500):
                gc.collect()
                at[count] = len(gc.get_objects())
        runner.kill()
    assert at[2500] - at[500] < 1500  # of 2000 commands


async def test_logs_of_forgotten_commands_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning of lost output comes then, and a command that starts again has the same file."""
    monkeypatch.setattr("currant.sinks._directory.MAX_FORGOTTEN", 10)
    sink = DirectorySink(tmp_path, on_error="warn")
    (tmp_path / "lost.log").mkdir()
    launcher = FakeLauncher(default=Script(stdout=b"out\n"))
    with pytest.warns(SinkWarning) as warned:
        async with Runner(
            {"first": "x"}, keep_results=0, keep_open=True, sinks=[sink], launcher=launcher
        ) as runner:
            for name in ("lost", *map(str, range(100)), "first"):
                await runner.start_soon(Command(["x"], name=name)).wait()
                await _until_forgotten(runner, name)
            remembered = [value for value in vars(sink).values() if isinstance(value, dict)]
            assert max(map(len, remembered)) <= 30
            runner.kill()
    assert "lacks 4 bytes of output" in str(warned[-1].message)
    assert len(warned) == 2
    assert (tmp_path / "first.log").read_bytes() == 2 * b"out\n"
    assert (tmp_path / "99.log").read_bytes() == b"out\n"


async def test_a_forgotten_command_does_not_run_again() -> None:
    """Its name may be that of another command, which goes on as it is."""
    async with Runner(keep_results=1, keep_open=True, launcher=FakeLauncher()) as runner:
        first = runner.start_soon(Command(["x"], name="a"))
        await first.wait()
        await runner.start_soon(Command(["x"], name="b")).wait()
        await _until_forgotten(runner, "a")
        with pytest.raises(JobEndedError, match="'a'"):
            await first.restart()
        second = runner.start_soon(Command(["x"], name="a"))
        await second.wait()
        with pytest.raises(JobEndedError, match="'a'"):
            await first.restart()
        assert (first.attempts, second.attempts) == (1, 1)
        runner.kill()


@pytest.mark.parametrize("number", [-1, 1.5, "all", True])
async def test_wrong_number(number: object) -> None:
    """The error names the argument."""
    with pytest.raises(CommandError, match="keep_results"):
        Runner(keep_results=number)  # type: ignore[arg-type]
