"""Test `Command.new_session`: a process in the session of the host program."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from currant import Command, Runner, ready, run_process
from tests.waiting import EXEC_FOREVER

if TYPE_CHECKING:
    from tests.lifeline import Lifeline

pytestmark = pytest.mark.anyio


async def test_process_keeps_the_session_in_a_group_of_its_own() -> None:
    """The process leads a process group in the session of this program."""
    show = "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))"
    result = await run_process([sys.executable, "-c", show], new_session=False)
    assert result.stdout is not None
    pid, group, session = map(int, result.stdout.split())
    assert pid == group
    assert session == os.getsid(0)


JOB = "import os, time; os.setpgrp(); print('up', flush=True); time.sleep(9999)"
"""A program with a process group of its own, as a job of a shell has."""


async def test_stop_ends_the_jobs_of_a_shell(lifeline: Lifeline) -> None:
    """Groups that a command has made in the session of this program end with the command."""
    shell = f'{lifeline.hold("shell")}; {sys.executable} -c "{JOB}" & {EXEC_FOREVER}'
    async with Runner() as runner:
        await runner.start(Command.shell(shell, new_session=False, ready=ready.line("up")))
        runner.kill()
    assert lifeline.ended() == {"shell"}
