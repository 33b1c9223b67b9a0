"""docs/map.md: its commands print what the page shows, and it has all options."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT, environment
from tests.maps import program
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "map.md"

BLOCK = re.compile(r"^```sh\n(.*?)^```$\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")

VARYING = (
    (r"\d+\.\d+(?:e-\d+)?", "N"),
    (r"\([\d,N]+/s\)", "(RATE)"),
    (r'"peak_memory": \d+', "MEMORY"),
    (r" +", " "),
)
"""What differs from one run to the next, and what takes its place."""


def fixed(output: str) -> str:
    """Return output without what differs from one run to the next."""
    for pattern, text in VARYING:
        output = re.sub(pattern, text, output)
    return output


@pytest.mark.slow
def test_page_shows_what_the_commands_print(tmp_path: Path, preloaded: None) -> None:
    """A shell runs each block in one folder; it prints the text: stdout, then stderr."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "currant").write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    (tmp_path / "bin" / "currant").chmod(0o755)
    (tmp_path / "work").mkdir()
    env = environment({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})
    env.pop("GITHUB_ACTIONS", None)
    blocks = BLOCK.findall(PAGE.read_text())
    for commands, shown in blocks:
        done = subprocess.run(
            ["sh", "-c", commands],
            cwd=tmp_path / "work",
            env={**env, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * LIMIT,
            check=False,
        )
        assert fixed(done.stdout + done.stderr) == fixed(shown), commands
    assert len(blocks) == 8


def test_page_has_exactly_the_options_of_the_command() -> None:
    """A reader finds each option of the help on the page, and no other."""
    help_ = subprocess.check_output(
        [sys.executable, "-m", "currant", "map", "--help"], text=True, timeout=LIMIT
    )
    listed = set(OPTION.findall(help_))
    named = set(OPTION.findall(PAGE.read_text()))
    assert named - listed == set()
    other_names = {"--help", "--jobs", "--max-processes", "--max-args", "--arg-file", "--null"}
    other_names |= {"--pipe", "--line-buffer", "--linebuffer", "--ungroup", "--dryrun", "--load"}
    assert listed - named - other_names == {"--bar", "--eta"}
