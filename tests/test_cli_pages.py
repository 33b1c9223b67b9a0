"""docs/command-line.md and docs/stack.md: their commands print what the pages show below them.

`tests/test_cli_config.py` does the same for docs/config.md.
"""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT
from tests.system import needs_proc
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run

pytestmark = [pytest.mark.slow, needs_proc]  # `ps` shows the memory on Linux alone.

FILE_OR_COMMANDS = re.compile(
    r"^```toml\n(?P<file># (?P<name>\S+)\n.*?)^```$"
    r"|^```sh\n(?P<commands>[^`]*?)^```\n\n```text\n(?P<output>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

VARYING = (
    (r"\(pid \d+\)", "(pid N)"),
    (r"/\S+/app-\w+\.log", "LOG"),
    (r"/\S+/app\b", "FOLDER"),
    (r"\d+\.\d s\b", "N s"),
    (r"yes +\d+ ", "yes PID "),
    (r"\b\d+s +\d+\.\d MiB +\d+\.\d%|\b\d+s +\d+ KiB +\d+\.\d%", "UPTIME MEMORY CPU"),
    (r" +", " "),
)
"""What differs from one run to the next, and what takes its place."""


def fixed(output: str) -> str:
    """Return output without what differs from one run to the next."""
    for pattern, text in VARYING:
        output = re.sub(pattern, text, output)
    return output


@pytest.mark.parametrize(
    ("page", "count"), [("command-line.md", 4), ("stack.md", 6), ("tutorial.md", 3)]
)
def test_page_shows_what_the_commands_print(
    page: str, count: int, tmp_path: Path, runtime: Path, run: Run
) -> None:
    """Each file is written, and each command after it prints the text: stdout, then stderr."""
    folder = tmp_path / "app"
    folder.mkdir()
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    shown, deadline = 0, time.monotonic() + LIMIT
    try:
        for block in FILE_OR_COMMANDS.finditer((ROOT / "docs" / page).read_text()):
            if block["file"]:
                (folder / block["name"]).write_text(block["file"])
                continue
            printed = ""
            for line in block["commands"].splitlines():
                _, subcommand, *words = shlex.split(line, comments=True)
                ended = run(*words, subcommand=subcommand, cwd=folder, env=env)
                while subcommand == "logs" and time.monotonic() < deadline:
                    if fixed(ended.out.decode()) == fixed(block["output"]):
                        break  # The output of a command takes its time.
                    ended = run(*words, subcommand=subcommand, cwd=folder, env=env)
                printed += (ended.out + ended.err).decode()
            assert fixed(printed) == fixed(block["output"])
            shown += 1
    finally:
        run("--now", subcommand="down", cwd=folder, env=env)
    assert shown == count
    assert list(runtime.iterdir()) == []
