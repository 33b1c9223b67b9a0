"""What the Runner asks of a host: what commands need there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from currant import (
    Command,
    CommandError,
    CommandFailed,
    CommandNotFoundError,
    HostLostError,
    Runner,
    run_process,
)
from tests.agents import over_pipe
from tests.system import needs_proc
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, needs_proc]


# ---- the check before the first start ----


async def test_missing_program_of_a_host_starts_nothing(tmp_path: Path) -> None:
    """The first of the commands that cannot start is named, with the host, and nothing has run."""
    commands = {
        "fine": ["touch", tmp_path / "trace"],
        "first": ["no-such-program"],
        "second": ["nor-this-one"],
    }
    runner = Runner(commands, launcher=over_pipe())
    with anyio.fail_after(LIMIT), pytest.raises(CommandNotFoundError) as caught:
        async with runner:
            pytest.fail("the body was entered")
    text = "command 'first': on h1: there is no program 'no-such-program' in its PATH"
    assert str(caught.value).startswith(text)
    assert not list(tmp_path.iterdir())
    assert not runner.results
    assert not runner.barrier.thrown


async def test_host_looks_up_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's PATH finds nothing for the host, whose own PATH does."""
    program = tmp_path / "only-there"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    launcher = over_pipe()
    with anyio.fail_after(LIMIT):
        async with launcher:
            monkeypatch.undo()
            await launcher.check([Command(["only-there"])])
            with pytest.raises(CommandNotFoundError, match="on h1: its working directory"):
                await launcher.check([Command(["true"], cwd="/no/such/place")])
            with pytest.raises(CommandError, match=r"on h1: .*'nobody-at-all'"):
                await launcher.check([Command(["true"], user="nobody-at-all")])


async def test_command_that_cannot_be_sent_is_refused_on_entry() -> None:
    """An open file of this program means nothing on another host."""
    command = Command(["cat"], name="c", stdin=0)
    with anyio.fail_after(LIMIT), pytest.raises(CommandError, match=r"'c'.*its stdin is an open"):
        async with Runner([command], launcher=over_pipe()):
            pytest.fail("the body was entered")


async def test_runner_may_be_entered_after_a_refusal(tmp_path: Path) -> None:
    """The connection of the first entry is closed, and the second has its own."""
    program = tmp_path / "program"
    runner = Runner([[program]], launcher=over_pipe())
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandNotFoundError):
            async with runner:
                pytest.fail("the body was entered")
        program.symlink_to("/bin/sh")
        async with runner:
            pass
    assert runner.results.ok


async def test_lost_host_answers_no_check() -> None:
    """It is a lost host, not a missing program."""
    launcher = over_pipe()
    with anyio.fail_after(LIMIT):
        async with launcher:
            launcher.connection._lose("a mouse has bitten the cable")
            with pytest.raises(HostLostError, match="a mouse"):
                await launcher.check([Command(["no-such-program"])])


async def test_run_process_names_the_missing_program_of_a_host() -> None:
    """As on this machine, that is more exact than a failed start; a lost host is not."""
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandNotFoundError, match="on h1: there is no program 'nope'"):
            await run_process(["nope"], launcher=over_pipe())
        with pytest.raises(CommandFailed):
            await run_process(["false"], launcher=over_pipe(), check=True)
