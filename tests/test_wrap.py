"""`wrap`: words put before the program, of a command or for all commands of a Runner."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import anyio
import pytest

import currant
from currant import (
    Command,
    CommandError,
    CommandNotFoundError,
    LaunchError,
    Line,
    LocalLauncher,
    Runner,
)
from currant._values.launch_spec import LaunchSpec, wrapped_argv
from currant._values.plan import Plan
from currant._values.policies import Policies
from currant._values.restart import RestartPolicy
from currant.testing import FakeLauncher
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.command import CommandLike
    from tests.lifeline import Lifeline

pytestmark = pytest.mark.anyio

SHOW = [sys.executable, "-ISc", "import sys; print(sys.argv[1:])"]
"""Prints the words that follow."""

CAREFUL = ("env", "MARK=a b")
"""A wrapper that runs what follows, with one more variable."""

IN_WRAP = "the first word of its wrap:"


async def outputs(commands: Mapping[str, CommandLike], *wrap: str) -> dict[str, str]:
    """Run commands that succeed, and return their output by name."""
    with anyio.fail_after(LIMIT):
        async with Runner(commands, wrap=wrap, capture=True) as runner:
            results = await runner.join()
    results.check()
    return {name: (result.stdout or b"").decode() for name, result in results.items()}


async def test_wrapper_runs_the_program_with_its_arguments() -> None:
    """Each word arrives as it is: no shell splits it or expands it."""
    words = ["a b", "", "$HOME", "--", "*"]
    shown = await outputs({"c": Command([*SHOW, *words], wrap=CAREFUL)})
    assert shown["c"] == f"{words}\n"


async def test_wrapper_of_the_runner_is_the_default_of_its_commands() -> None:
    """None is the Runner's wrapper; a command may have another one, or none."""
    line = 'echo "$MARK"'
    commands = {
        "default": Command.shell(line),
        "own": Command.shell(line, wrap=("env", "MARK=own")),
        "none": Command.shell(line, wrap=()),
    }
    shown = await outputs(commands, *CAREFUL)
    assert shown == {"default": "a b\n", "own": "own\n", "none": "\n"}


async def test_name_is_that_of_the_program() -> None:
    """The wrapper changes how a program runs, and not which one."""
    command = Command(["true"], wrap=("nice", "-n", "1"))
    assert (command.name, str(command)) == ("true", "true")
    async with Runner([command], wrap=CAREFUL) as runner:
        await runner.join()
    assert list(runner.results) == ["true"]


@pytest.mark.parametrize("where", ["command", "runner"])
async def test_missing_wrapper_is_named_before_anything_starts(where: str) -> None:
    """The wrapper is looked up on entry, as a program is."""
    command = Command(["true"], name="c", wrap=["no-such-box"] if where == "command" else None)
    runner = Runner([command], wrap=["no-such-box"] if where == "runner" else ())
    with pytest.raises(
        CommandNotFoundError, match=f"command 'c': {IN_WRAP} there is no program 'no-such-box'"
    ):
        async with runner:
            pass
    launched = Command(["true"], name="c", wrap=["no-such-box"])
    async with LocalLauncher(orphan_guard=False) as launcher:
        with pytest.raises(
            LaunchError, match=f"cannot start 'c': {IN_WRAP} there is no program 'no-such-box'"
        ):
            await launcher.launch(launched)


async def test_program_inside_a_wrapper_is_not_looked_up() -> None:
    """A sandbox may have other files, so the wrapper itself reports a missing program."""
    with anyio.fail_after(LIMIT):
        async with Runner([Command(["no-such-program"], wrap=("env",))]) as runner:
            result = await runner["no-such-program"].wait()
    assert str(result.exit) == "exit code 127"
    assert "no-such-program" in result.tail[-1].text


async def test_wrapper_is_found_in_the_path_of_the_command(tmp_path: Path) -> None:
    """PATH is that of the command's environment, and a relative path starts at its cwd."""
    box = tmp_path / "box"
    box.write_text('#!/bin/sh\necho boxed\nexec "$@"\n')
    box.chmod(0o755)
    commands = {
        "path": Command(["/bin/true"], wrap=["box"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}),
        "cwd": Command(["/bin/true"], wrap=["./box"], cwd=tmp_path),
    }
    assert await outputs(commands) == {"path": "boxed\n", "cwd": "boxed\n"}


SANDBOX = [
    *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    *("--unshare-all", "--die-with-parent", "--"),
]


@pytest.mark.skipif(
    which("bwrap") is None, reason="bubblewrap is not installed: 'apt-get install bubblewrap'"
)
async def test_sandbox_contains_the_program_and_is_stopped_with_it(lifeline: Lifeline) -> None:
    """Inside bubblewrap there are no other processes, and a stop leaves none behind."""
    line = (
        f"{lifeline.hold('c')}; echo $$; touch /here 2>/dev/null || echo read-only; {EXEC_FOREVER}"
    )
    with anyio.fail_after(LIMIT):
        async with Runner([Command.shell(line, name="c", wrap=SANDBOX)], grace=HOURS) as runner:
            seen = list[str]()
            async for message in runner:
                if isinstance(message, Line):
                    seen.append(message.text)
                if seen[-1:] == ["read-only"]:
                    runner.kill()
    assert seen == ["2", "read-only"]
    assert runner.results["c"].status == "stopped"
    assert lifeline.ended() >= {"c"}


async def test_launcher_gets_the_wrapper_that_holds() -> None:
    """A launcher needs to know no Runner."""
    launcher = FakeLauncher()
    commands = {"own": Command(["c"], wrap=("a", Path("b"))), "default": Command(["c"])}
    async with Runner(commands, launcher=launcher, wrap=["box", "--"]):
        pass
    assert launcher["own"].command.wrap == ("a", "b")
    assert wrapped_argv(launcher["default"].command) == ("box", "--", "c")
    assert wrapped_argv(LaunchSpec.of(launcher["own"].command)) == ("a", "b", "c")


def test_plan_fills_in_the_wrapper() -> None:
    """A wrapper alone makes a command's policies differ from the defaults."""
    defaults = Policies(RestartPolicy("never"), None, 1.0, capture=False, wrap=("box",))
    command = Command(["c"], wrap=())
    assert Plan([command], defaults).policies_of(command).wrap == ()
    assert Plan([command], defaults).to_launch(Command(["c"])).wrap == ("box",)


@pytest.mark.parametrize("wrap", ["nice -n 5", b"nice", 3, [3], ["a\0b"], ["", "x"]])
def test_wrong_wrapper_is_refused(wrap: object) -> None:
    """The mistake is named where the command or the Runner is built."""
    with pytest.raises(CommandError, match=r"command 'c': .*wrap"):
        Command(["c"], wrap=wrap)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="wrap"):
        Runner(["c"], wrap=wrap)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="wrap"):
        currant.run("c", wrap=wrap)  # type: ignore[arg-type]


def test_runner_has_a_wrapper_of_its_own() -> None:
    """None means the Runner's, so a Runner cannot have it."""
    with pytest.raises(CommandError, match="wrap"):
        Runner(wrap=None)  # type: ignore[arg-type]
