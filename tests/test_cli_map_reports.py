"""The reports of `currant map`: JSON, JUnit, annotations, folders, and lines in the log of a CI."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from tests.maps import run_map

if TYPE_CHECKING:
    from tests.clis import Start
    from tests.lifeline import Gate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("preloaded")]

LINES = b"echo fine\necho bad >&2; exit 3\nsleep 9999\nkill -9 $$\n"
"""Commands that end in different ways; the third one times out."""

BYTES = b"printf 'a\\377\\001b'\n"


def test_every_line_of_json_is_an_object() -> None:
    """One for each command, however it ended, with its output; nothing else is on stdout."""
    ended = run_map("--json", "--timeout", "1", "-k", stdin=LINES + BYTES)
    assert ended.status == 3
    jobs: list[dict[str, Any]] = [json.loads(line) for line in ended.out.splitlines()]
    assert [job["seq"] for job in jobs] == [1, 2, 3, 4, 5]
    assert [job["status"] for job in jobs] == ["succeeded", *["failed"] * 3, "succeeded"]
    assert [job["stdout"] for job in jobs] == ["fine\n", "", "", "", "a\ufffd\x01b"]
    assert jobs[1]["stderr"] == "bad\n"
    assert jobs[1]["exit"]["code"] == 3
    assert jobs[2]["exit"]["timed_out"]
    assert jobs[3]["exit"]["signal"] == "SIGKILL"
    missing = run_map("--json", "{}", ":::", "no-such-program", "echo")
    jobs = [json.loads(line) for line in missing.out.splitlines()]
    assert sorted((job["status"], job["exit"] is None) for job in jobs) == [
        ("failed", True),
        ("succeeded", False),
    ]


def test_junit_has_a_case_for_each_command(tmp_path: Path) -> None:
    """Failures and what was stopped are marked; the file is valid XML whatever the output."""
    report = tmp_path / "report.xml"
    ended = run_map("--junit", str(report), "--timeout", "1", "-q", stdin=LINES + BYTES)
    assert ended.status == 3
    cases = list(ET.fromstring(report.read_bytes()).iter("testcase"))
    assert len(cases) == 5
    bad = [case for case in cases if case.find("failure") is not None or case.find("error")]
    assert len(bad) == 3
    assert any("bad" in "".join(case.itertext()) for case in bad)


def test_annotations_in_a_step_of_github() -> None:
    """Each failure is an error on stderr, one line; successes are none."""
    github = {"GITHUB_ACTIONS": "true"}
    ended = run_map("--timeout", "1", "-k", "-q", stdin=LINES, env=github)
    lines = ended.err.decode().splitlines()
    errors = [line for line in lines if line.startswith("::error title=job ")]
    assert len(errors) == 3
    assert any("exit code 3" in line and "bad" in line for line in errors)
    assert ended.out == b"fine\n"


def test_results_have_a_folder_for_each_command(tmp_path: Path) -> None:
    """The output of the last attempt is there, for each pair of values; it is shown, too."""
    ended = run_map(
        *("--results", str(tmp_path / "r"), "-k", "-q", "--retries", "1"),
        *("echo out {1}; echo err {2} >&2; test {1} = a", ":::", "a", "b", ":::", "x/y"),
    )
    assert (ended.status, ended.out) == (1, b"out a\nout b\n")
    assert ended.err.splitlines() == [b"err x/y"] * 2
    folders = sorted(Path(root) for root, _, files in os.walk(tmp_path / "r") if "stdout" in files)
    assert len(folders) == 2
    assert [(each / "stdout").read_text() for each in folders] == ["out a\n", "out b\n"]
    assert [(each / "stderr").read_text() for each in folders] == ["err x/y\n"] * 2


def test_first_failure_is_the_one_that_ended_first(tmp_path: Path) -> None:
    """With ``-k``, too, which shows the output in the order of the input."""
    script = "test {} = b || until grep -q ^2 log; do sleep 0.05; done; exit 3"
    ended = run_map("-k", "-j", "2", "--joblog", "log", script, ":::", "a", "b", cwd=tmp_path)
    assert ended.status == 2
    assert b"first failure: job 2: exit code 3: test b = b" in ended.err


def test_all_reports_at_once(tmp_path: Path) -> None:
    """Reports do not disturb one another, nor the log."""
    ended = run_map(
        *("--json", "--tag", "--junit", "junit", "--results", "r", "--joblog", "log", "-j", "4"),
        *("sh", "-c", "echo {}; exit {}", ":::", *"0120"),
        cwd=tmp_path,
        env={"GITHUB_ACTIONS": "true"},
    )
    assert ended.status == 2
    assert len(ended.out.splitlines()) == 4
    assert ended.err.count(b"::error") == 2
    assert (tmp_path / "log").read_bytes().count(b"\n") == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit", "log", "r"]


FASTER = """
import sys
from currant import cli
from currant.cli._map import main
main.CI_INTERVAL = 0.05
sys.argv[:4] = ["currant"]
cli.main()
"""
"""A program that is currant, but for less time between two lines."""


def test_ci_gets_a_line_now_and_then(start: Start, gate: Gate) -> None:
    """With ``CI``, a line says how far it is, while the total is still unknown, and after that."""
    ours, theirs = os.pipe()
    before = (sys.executable, "-c", FASTER)
    with open(theirs, "wb", buffering=0) as values:
        cli = start("-q", subcommand="map", before=before, env={"CI": "1"}, stdin=ours)
        os.close(ours)
        values.write(b"true\n")
        cli.read_until(b"currant: 1/?, ")
        values.write(f"{gate.wait}\n".encode())
    cli.read_until(b"currant: 1/2, ", f", slowest: 0 s {gate.wait}\n".encode())
    gate.open()
    ended = cli.end()
    assert (ended.status, ended.out) == (0, b"")
    assert all(line.startswith(b"currant: ") for line in ended.err.splitlines())
