"""The recipes of docs/recipes.md with the real tools, above all when things go wrong.

`tests/test_readme.py` runs each recipe as printed.  Here, the functions of the page are called with
other commands.  The MCP server has tests of its own, in `tests/test_mcp.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread

from currant import Command, CommandFailed, ExpectError, Runner, StdinClosedError, open_process
from tests.recipes import PAGE, recipe
from tests.system import needs_proc
from tests.waiting import FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

# ---- a tool call ----


@pytest.fixture
def run_tool() -> Any:
    """The function of the recipe."""
    return recipe("A tool call").run_tool


async def test_tool_shows_both_ends_of_a_long_output(run_tool: Any) -> None:
    """The model learns how much is missing, and where."""
    text = await run_tool("seq 100000")
    assert text.startswith("1\n2\n3\n")
    assert text.endswith("99999\n100000\n[exit code 0]")
    assert "[... 572,895 bytes omitted ...]" in text
    assert len(text) < 17_000


async def test_tool_that_writes_too_much_is_stopped(run_tool: Any) -> None:
    """The model learns the reason."""
    with anyio.fail_after(LIMIT):
        text = await run_tool("yes")
    assert text.endswith("['bash' wrote more than 100000000 bytes, the limit of its max_output]")


async def test_tool_that_takes_too_long_is_stopped_with_its_tree(
    run_tool: Any, lifeline: Lifeline
) -> None:
    """The model learns the reason, and no background process is left."""
    line = f"{lifeline.hold('tool')}; trap '' TERM; {FOREVER} & echo begun; wait"
    with anyio.fail_after(LIMIT):
        text = await run_tool(line, timeout=0.5)
    assert lifeline.ended() <= {"tool"}  # A slow machine may not have come so far.
    assert text.removeprefix("begun\n") == "['bash' exceeded its time limit of 0.5 s]"


@pytest.mark.parametrize(
    "prefix", ["", "exec ", "nohup ", pytest.param("setsid ", marks=needs_proc)]
)
async def test_tool_that_leaves_a_process_returns_at_once(
    run_tool: Any, lifeline: Lifeline, prefix: str
) -> None:
    """A background process holds the pipe, and the call does not wait for it."""
    line = f"{lifeline.hold('left')}; {prefix}{FOREVER} & echo done"
    with anyio.fail_after(LIMIT):
        text = await run_tool(line, timeout=HOURS)
    assert text == "done\n[exit code 0]"
    assert lifeline.ended() == {"left"}


async def test_tool_that_asks_a_question_gets_no_answer(run_tool: Any) -> None:
    """It reads the end of the file instead of hanging."""
    with anyio.fail_after(LIMIT):
        assert await run_tool("read -r answer || echo no answer") == "no answer\n[exit code 0]"


async def test_cancelled_tool_leaves_nothing(run_tool: Any, lifeline: Lifeline) -> None:
    """The cancellation goes on when the whole tree is gone."""
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_tool, f"{lifeline.hold('tool')}; {FOREVER} & {FOREVER}")
            await to_thread.run_sync(lifeline.wait_for, "tool")
            tasks.cancel_scope.cancel()
    assert lifeline.ended() == {"tool"}


# ---- the same in a sandbox ----


@cache
def why_no_sandbox() -> str | None:
    """Return why bubblewrap cannot run here; None if it can."""
    if which("bwrap") is None:
        return "bubblewrap is not installed: 'apt-get install bubblewrap'"
    words = [*recipe("A tool call in a sandbox").sandbox("/tmp"), "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    return f"bubblewrap cannot run here: {done.stderr}" if done.returncode else None


@pytest.fixture
def sandbox(tmp_path: Path) -> list[str]:
    """The words before a command that may write to `tmp_path`."""
    if reason := why_no_sandbox():
        pytest.skip(reason)
    words: list[str] = recipe("A tool call in a sandbox").sandbox(str(tmp_path))
    return words


async def test_tool_in_a_sandbox_writes_to_its_folder_alone(
    run_tool: Any, sandbox: list[str], tmp_path: Path
) -> None:
    """Exit code and output are those of the tool."""
    line = "pwd; touch here; touch /there 2>/dev/null || echo read-only; exit 3"
    text = await run_tool(line, wrap=sandbox)
    assert text == f"{tmp_path}\nread-only\n[exit code 3]"
    assert (tmp_path / "here").exists()


async def test_tool_in_a_sandbox_sees_no_process_of_the_host(
    run_tool: Any, sandbox: list[str]
) -> None:
    """This test itself runs outside."""
    text = await run_tool("ls -d /proc/[0-9]* | wc -l", wrap=sandbox)
    assert int(text.split()[0]) < 10


async def test_tool_in_a_sandbox_is_stopped_with_it(run_tool: Any, sandbox: list[str]) -> None:
    """The time limit holds inside, for a process that has left its session as well."""
    line = f"setsid {FOREVER} & trap '' TERM; echo begun; wait"
    with anyio.fail_after(LIMIT):
        text = await run_tool(line, wrap=sandbox, timeout=1)
    assert text.removeprefix("begun\n") == "['bash' exceeded its time limit of 1 s]"


# ---- a command that goes on ----


async def test_look_shows_what_is_new(gate: Gate) -> None:
    """Each look begins where the last one ended, and the last shows the exit."""
    look = recipe("A command that goes on").look
    script = f"echo one; {gate.wait}; echo two; exit 3"
    with anyio.fail_after(LIMIT):
        async with open_process(["sh", "-c", script]) as job:
            await job.expect("one")
            text, mark = await look(job)
            assert text == "one\n[waiting]"
            gate.open()
            await job.wait()
            text, mark = await look(job, mark)
            assert text == "two\n[exit code 3]"
            assert await look(job, mark) == ("[exit code 3]", mark)


async def test_tasks_of_a_session_look_at_the_job_of_a_runner(gate: Gate) -> None:
    """As the page says, the Runner belongs to the session, and each call is another task."""
    look = recipe("A command that goes on").look
    looks: list[tuple[str, int]] = []

    async def call(name: str) -> None:
        looks.append(await look(runner[name]))

    with anyio.fail_after(LIMIT):
        async with Runner(keep_open=True, on_exit="stop", iterable=False) as runner:
            server = await runner.start(Command.shell(f"echo up; {gate.wait}", name="server"))
            await server.expect("up")
            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call, "server")
    assert [text for text, _ in looks] == ["up\n[waiting]"] * 2


# ---- a language server ----

needs_ruff = pytest.mark.skipif(
    find_spec("ruff") is None, reason="ruff is not installed: pip install -e '.[test]'"
)


@needs_ruff
async def test_language_server_that_dies_says_why() -> None:
    """A client that reads gets the end of the stream, and a client that writes the last lines."""
    with anyio.fail_after(LIMIT):
        async with open_process([sys.executable, "-m", "ruff", "server", "--nonsense"]) as job:
            server = recipe("A language server").LanguageServer(job)
            with pytest.raises(anyio.IncompleteRead):
                await server.receive()
            assert any("--nonsense" in line.text for line in (await job.wait()).tail)
            with pytest.raises(StdinClosedError, match="--nonsense"):
                await server.send("initialize")


async def test_message_of_a_language_server_may_come_in_parts() -> None:
    """Neither the pipe nor the end of a line cuts a message; other header fields are allowed."""
    script = r"""
        body='{"id": 1, "text": "two\nlines"}'
        printf 'Content-Type: utf8\r\nCont'; sleep 0.01; printf 'ent-Length: %s\r\n\r' ${#body}
        printf '\n'; printf '%.5s' "$body"; sleep 0.01; printf '%s' "${body#?????}"
    """
    with anyio.fail_after(LIMIT):
        async with open_process(["bash", "-c", script]) as job:
            server = recipe("A language server").LanguageServer(job)
            assert await server.receive() == {"id": 1, "text": "two\nlines"}


# ---- a prompt ----


def login() -> dict[str, Any]:
    """Return the options of the program that asks for a password."""
    program = recipe("A prompt").PROGRAM
    return {
        "command": [sys.executable, "-c", program],
        "name": "login",
        "pty": True,
        "env": {"TERM": "dumb"},
    }


async def test_wrong_password_is_known_at_once() -> None:
    """The error is the one that the page shows."""
    with anyio.fail_after(LIMIT):
        async with open_process(**login()) as job:
            with pytest.raises(ExpectError) as caught:
                await recipe("A prompt").log_in(job, "wrong")
    assert caught.value.before == b"\r\nwrong password\r\n"
    if caught.value.exit is not None:  # A slow machine may know only that the output has ended.
        assert str(caught.value) in PAGE.read_text()


async def test_password_is_not_in_the_output() -> None:
    """The program has turned the echo off before it asks."""
    with anyio.fail_after(LIMIT):
        async with open_process(**login()) as job:
            await recipe("A prompt").log_in(job, "secret")
            assert "secret" not in job.since(0).text


async def test_answer_is_what_comes_between_two_prompts() -> None:
    """An error is an answer as well, and the prompt comes after it."""
    prompt = recipe("A prompt")
    with anyio.fail_after(LIMIT):
        async with open_process(**login()) as job:
            await prompt.log_in(job, "secret")
            assert "ZeroDivisionError" in await prompt.evaluate(job, "1 / 0")
            assert await prompt.evaluate(job, "x = 1") == ""
            assert await prompt.evaluate(job, "x + 1") == "2\n"


# ---- what is left behind ----

GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_NAME": "A. Tester" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "tester@example.org" for who in ("AUTHOR", "COMMITTER")},
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one file to commit."""
    if which("git") is None:
        pytest.skip("git is not installed: 'apt-get install git'")
    for name, value in GIT.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", folder], check=True, timeout=LIMIT)
    (folder / "file").write_text("text")
    subprocess.run(["git", "add", "file"], cwd=folder, check=True, timeout=LIMIT)
    return folder


def add_hook(repository: Path, name: str, script: str) -> None:
    """Write a hook of git."""
    hook = repository / ".git" / "hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


async def test_commit_has_the_late_output_of_a_hook(repository: Path) -> None:
    """The hook's background process writes when git has exited."""
    wait = "git=$PPID; while kill -0 $git 2>/dev/null; do sleep 0.01; done"
    add_hook(repository, "post-commit", f"({wait}; echo late) &")
    with anyio.fail_after(LIMIT):
        text = await recipe("What is left behind").commit(str(repository), "first")
    assert "first" in text
    assert text.endswith("late\n")


async def test_hook_that_refuses_a_commit_is_an_error_with_its_reason(repository: Path) -> None:
    """The agent has to read what the hook said."""
    add_hook(repository, "pre-commit", "echo 'a line is too long' >&2; exit 1")
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandFailed, match="a line is too long"):
            await recipe("What is left behind").commit(str(repository), "first")
