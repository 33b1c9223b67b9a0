"""`open_process`: what it accepts and refuses, and how it starts and ends its command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import (
    PIPE,
    Command,
    CommandError,
    CommandNotFoundError,
    LaunchError,
    NotReadyError,
    UnknownOptionError,
    open_process,
    ready,
)
from tests.streams import read_all
from tests.waiting import EXEC_FOREVER, FOREVER, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("command", ["echo hi", ["echo", "hi"], Command(["echo", "hi"])])
async def test_command_in_each_form(command: Any) -> None:
    """A command is a line, a list of words or a `Command`, as for a Runner."""
    async with open_process(command) as job:
        with anyio.fail_after(LIMIT):
            assert await read_all(job.stdout) == b"hi\n"


@pytest.mark.parametrize("command", ["cat", ["cat"], Command(["cat"]), Command(["cat"], pty=True)])
async def test_stdin_is_a_pipe_by_default(command: Any) -> None:
    """Every command can be written to, unless it says otherwise."""
    async with open_process(command) as job:
        with anyio.fail_after(LIMIT):
            await job.send(b"hello\n")
            assert (await job.stdout.receive()).startswith(b"hello")


async def test_stdin_may_be_set() -> None:
    """``stdin=None`` is ``/dev/null``, and the bytes of a Command stay."""
    async with open_process(Command(["cat"], stdin=PIPE), stdin=None) as job:
        assert job.stdin is None
        assert await read_all(job.stdout) == b""
    async with open_process(Command(["cat"], stdin=b"given")) as job:
        assert job.stdin is None
        assert await read_all(job.stdout) == b"given"


async def test_options_replace_those_of_the_command(tmp_path: Path) -> None:
    """Options are those of `Command`, for each form of a command."""
    for command in ("pwd", ["pwd"], Command(["pwd"], cwd="/")):
        async with open_process(command, cwd=tmp_path, name="here") as job:
            assert job.name == "here"
            assert await read_all(job.stdout) == f"{tmp_path.resolve()}\n".encode()


@pytest.mark.parametrize(
    ("command", "options", "error"),
    [
        ("", {}, CommandError),
        ("a | b", {}, CommandError),
        ("true", {"grace": -1}, CommandError),
        (Command(["true"]), {"grace": -1}, CommandError),
        ("true", {"replicas": 2}, CommandError),
        ("true", {"after": "other"}, CommandError),
        ("true", {"shell": True}, UnknownOptionError),
        (Command(["true"]), {"shell": True}, UnknownOptionError),
    ],
)
async def test_invalid_command_is_refused_at_the_call(
    command: Any, options: Any, error: type[CommandError]
) -> None:
    """A mistake raises in the line that made it, before the block is entered."""
    with pytest.raises(error):
        open_process(command, **options)


async def test_missing_program_raises_on_entry() -> None:
    """A program or a directory that is missing is an error of the entry, not in a group."""
    for options in ({}, {"cwd": "/no/such/directory"}):
        program = "true" if options else "no-such-program"
        with pytest.raises(CommandNotFoundError):
            async with open_process(program, **options):  # type: ignore[arg-type]
                pytest.fail("the block was entered")


async def test_failed_start_raises_on_entry(tmp_path: Path) -> None:
    """A program that cannot be started is an error of the entry, not in a group."""
    script = tmp_path / "script"
    script.write_text("echo no interpreter is named\n")
    script.chmod(0o755)
    with pytest.raises(LaunchError, match="script"):
        async with open_process([script]):
            pytest.fail("the block was entered")


async def test_entry_waits_for_a_probe() -> None:
    """With a `ready` probe the block begins when the command is ready, and fails if it is not."""
    with anyio.fail_after(LIMIT):
        command = Command.shell(f"echo ready; {EXEC_FOREVER}", ready=ready.line("ready"))
        async with open_process(command) as job:
            assert job.is_ready
            assert await job.stdout.receive() == b"ready\n"
        with pytest.raises(NotReadyError):
            async with open_process("true", ready=ready.line("ready")):
                pytest.fail("the block was entered")


async def test_two_blocks_are_two_processes() -> None:
    """Each can be entered in the other."""
    async with open_process(FOREVER) as one, open_process(FOREVER) as two:
        assert one.pid != two.pid


async def test_block_is_for_one_use() -> None:
    """A second entry raises an error that says what to do, inside of the block and after it."""
    block = open_process(FOREVER)
    async with block as job:
        with pytest.raises(RuntimeError, match="for one use; call open_process again"):
            async with block:
                pytest.fail("entered again")
        assert job.state == "running"
    with pytest.raises(RuntimeError, match="for one use; call open_process again"):
        async with block:
            pytest.fail("entered again")
