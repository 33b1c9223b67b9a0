"""`Command.host` and `Command.resources`: which launchers accept them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from currant import Command, CommandError, LaunchError, LocalLauncher, Runner, open_process
from currant import run_process as run_one
from currant.testing import FakeLauncher

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant import Launcher

pytestmark = pytest.mark.anyio

PLACED: list[dict[str, Any]] = [{"host": "b"}, {"resources": {"gpus": 1}}]


@pytest.mark.parametrize("options", PLACED)
@pytest.mark.parametrize("launcher", [LocalLauncher, FakeLauncher])
async def test_launcher_without_hosts_refuses_placed_commands(
    launcher: Callable[[], Launcher], options: dict[str, Any]
) -> None:
    """On entry, before any process is started, with the name of the command and of the field."""
    placed = Command(["true"], name="web", **options)
    field, value = next(iter(options.items()))
    text = re.escape(f"command 'web': {field}={value!r} needs a launcher with hosts, such as ")
    runner = Runner([Command(["true"]), placed], launcher=launcher())
    with pytest.raises(CommandError, match=text):
        async with runner:
            pytest.fail("the block was entered")
    assert [job.pid for job in runner.jobs.values()] in ([], [None, None])
    async with Runner(launcher=launcher()) as runner:
        with pytest.raises(CommandError, match=text):
            runner.start_soon(placed)
        assert not runner.jobs
        await runner.start(Command(["true"], resources={}, name="web"))
    with pytest.raises(CommandError, match=text):
        await run_one(placed, launcher=launcher())


@pytest.mark.parametrize("options", PLACED)
async def test_processes_without_a_launcher_refuse_places(options: dict[str, Any]) -> None:
    """What always runs on this machine has no hosts."""
    with pytest.raises(CommandError, match=r"command 'true': .* needs a launcher with hosts"):
        await run_one("true", **options)
    with pytest.raises(CommandError, match=r"command 'true': .* needs a launcher with hosts"):
        async with open_process("true", **options):
            pytest.fail("the block was entered")


async def test_fake_launcher_may_have_hosts() -> None:
    """A pinned process runs on its host, any other one on the first."""
    launcher = FakeLauncher(hosts=("a", "b"))
    commands = {"one": Command(["x"]), "two": Command(["x"], host="b", resources={"gpus": 1})}
    async with Runner(commands, launcher=launcher):
        pass
    assert (launcher["one"].host, launcher["two"].host) == ("a", "b")


async def test_unknown_host_of_a_fake_launcher_fails_the_start() -> None:
    """A test of an application finds a mistake in the name of a host."""
    async with Runner(launcher=FakeLauncher(hosts=("a", "b"))) as runner:
        result = await runner.start_soon(Command(["x"], host="c")).wait()
    assert isinstance(result.error, LaunchError)
    assert "there is no host 'c'; there are: 'a', 'b'" in str(result.error)
