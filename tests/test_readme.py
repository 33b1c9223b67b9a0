"""The README's code runs as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.ports import free_port

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_example_runs_as_printed(block: str) -> None:
    """Each block of Python is a program: it runs, and what it defines can be used."""
    # Another port than the one that may be in use on this machine.
    program = block.replace("http.server 8000", "http.server 0")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "kill_others_on" in block and "anyio.run" in block:
        assert "tick ended: exit code 3" in done.stdout
        assert done.stdout.endswith("stopped\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name", ["migrate_and_serve", "serve", "ask", "test_a_deaf_worker_is_killed"]
)
async def test_each_async_example_does_what_it_says(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The coroutines that examples define run to their end."""
    (block,) = [block for block in BLOCKS if f"async def {name}" in block]
    namespace: dict[str, object] = {}
    with free_port() as port, anyio.fail_after(60):
        # Another port than the one that may be in use on this machine.
        exec(compile(block.replace("8765", str(port)), str(README), "exec"), namespace)
        await namespace[name]()  # type: ignore[operator]
    told = capsys.readouterr().out
    match name:
        case "serve":
            assert told == "the api answers\n"
        case "ask":
            assert "data=b'40 100', ending=b'\\r\\n'" in told
            assert told.count("data=b'hello'") == 2
        case _:
            pass


def test_the_set_up_lines_are_the_ones_that_ci_runs() -> None:
    """Two lines, copied and pasted, are the whole set-up."""
    lines = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].count("currant run") == 1
    assert lines[1].endswith("-m pytest")
