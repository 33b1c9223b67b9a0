"""Test examples/batch as a user without hosts runs it: each host is an agent of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT
from tests.maps import logged
from tests.system import needs_proc
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run

pytestmark = [pytest.mark.slow, needs_proc]  # Each test starts Python interpreters.

BROKEN = {"BAD_HOST": "b"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    return shutil.copytree(ROOT / "examples" / "batch", tmp_path / "batch")


def test_batch_goes_around_a_broken_host(folder: Path) -> None:
    """The commands that fail on a host succeed on another one, and all results come."""
    done = subprocess.run(
        [sys.executable, "batch.py", "./here"],
        cwd=folder,
        env=os.environ | BROKEN,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    shown = [re.fullmatch(r"seed (\d): \d+ on (.+), attempt (\d)", line) for line in lines]
    assert sorted(match[1] for match in shown if match) == [*"12345678"]
    assert {match[2] for match in shown if match} == {"a", "this machine"}
    # The host has two slots, so at least two commands began there.
    assert Counter(match[3] for match in shown if match)["2"] >= 2
    assert last.startswith("pi is about 3.14")


def test_command_line_does_the_same(run: Run, folder: Path) -> None:
    """The lines come in order, and the job log says which host was the last one of each command."""
    hosts = ("--hosts-file", "hosts", "--ssh", "./here", "--forward-env", "BAD_HOST")
    status, out, err = run(
        *(*hosts, "-k", "--retries", "2", "--joblog", "log"),
        *("python3", "pi.py", "{}", "1000", ":::", *"12345678"),
        subcommand="map",
        cwd=folder,
        env=BROKEN,
    )
    assert (status, err) == (0, b"")
    assert len(out.splitlines()) == 8
    assert {job.host for job in logged(folder / "log")} == {"a", ":"}
