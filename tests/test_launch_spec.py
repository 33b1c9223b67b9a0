"""The launch spec: the fields of a command that a process needs, and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path

import pytest

from currant import PIPE, Command, LocalLauncher, Pty, RestartPolicy, ready
from currant._values.launch_spec import LaunchSpec, has_input, read_streams
from tests.streams import read_all

COMMAND = Command(
    ["sh", "-c", "echo $WORD"],
    name="say",
    env={"WORD": "hi"},
    restart=RestartPolicy("always"),
    ready=ready.line("hi"),
    grace=3.0,
)


def test_launch_spec_has_the_fields_of_its_command() -> None:
    """Each field is the command's; policies and probes stay behind."""
    spec = LaunchSpec.of(COMMAND)
    assert type(spec) is LaunchSpec
    for field in fields(LaunchSpec):
        assert getattr(spec, field.name) == getattr(COMMAND, field.name)


def test_launch_spec_survives_pickle_with_its_environment() -> None:
    """A spec can be sent to another process, although a command's env is a read-only view."""
    spec = LaunchSpec.of(COMMAND)
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.anyio
async def test_launcher_starts_a_spec_as_it_starts_a_command() -> None:
    """A launcher needs no field beyond those of the spec."""
    async with LocalLauncher(orphan_guard=False) as launcher:
        await launcher.check([LaunchSpec.of(COMMAND)])
        process = await launcher.launch(LaunchSpec.of(COMMAND))
        assert await read_all(process.stdout) == b"hi\n"
        assert (await process.wait()).code == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Command(["cat"]), False),
        (Command(["cat"], stdin=Path("in.txt")), False),
        (Command(["cat"], stdin=0), False),
        (Command(["cat"], stdin=b""), True),
        (Command(["cat"], stdin=PIPE), True),
        (Command(["cat"], pty=Pty(30, 90)), True),
    ],
)
def test_has_input_is_about_writing_to_the_process(command: Command, expected: bool) -> None:
    """currant writes to a pipe or a terminal, but not to any file or to ``/dev/null``."""
    assert has_input(command) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Command(["c"]), {"stdout", "stderr"}),
        (Command(["c"], stderr="stdout"), {"stdout"}),
        (Command(["c"], pty=True), {"stdout"}),
        (Command(["c"], stdout=Path("log")), {"stderr"}),
        (Command(["c"], stderr=2), {"stdout"}),
        (Command(["c"], stdout="inherit", stderr="stdout"), set()),
        (Command(["c"], stdout=1, stderr="inherit"), set()),
    ],
)
def test_read_streams_are_those_that_come_to_currant(command: Command, expected: set[str]) -> None:
    """A stream that is merged into another or goes to a file is not read."""
    assert read_streams(command) == expected
