"""What `currant run` and `currant with` write for a CI: JUnit reports, and GitHub's formats."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.waiting import EXEC_FOREVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run, Start

pytestmark = pytest.mark.slow  # Each test starts Python.

GITHUB = {"GITHUB_ACTIONS": "true"}

FAILS = "echo out; echo bad >&2; exit 3"


def outcomes(report: Path) -> dict[str, list[tuple[str, str | None]]]:
    """Return the elements of each case of a JUnit report, with their messages, by name."""
    cases = ET.parse(report).getroot().iter("testcase")
    return {
        case.attrib["name"]: [(each.tag, each.get("message")) for each in case] for case in cases
    }


# ---- JUnit ----


def test_run_reports_each_command(run: Run, tmp_path: Path) -> None:
    """A failure is one, what was stopped is skipped, and the commands of a teardown are there."""
    report = tmp_path / "x.xml"
    ended = run(
        *("--junit", str(report), "-n", "ok,bad,forever", "--kill-others-on", "failure"),
        *("--max-processes", "2", "--teardown", "echo tidy; exit 4"),
        *("echo fine", FAILS, EXEC_FOREVER),
    )
    assert ended.status == 3
    found = outcomes(report)
    ((kind, stopped),) = found.pop("forever")
    assert kind == "skipped"
    assert (stopped or "").startswith("stopped")
    assert found == {
        "ok": [("system-out", None)],
        "bad": [("failure", "exit code 3"), ("system-out", None), ("system-err", None)],
        "echo": [("failure", "exit code 4"), ("system-out", None)],
    }
    suite = ET.parse(report).getroot()[0]
    assert (suite.get("name"), suite[1].findtext("system-err")) == ("currant run", "bad\n")


def test_report_is_in_place_after_ctrl_c(start: Start, tmp_path: Path) -> None:
    """The command that Ctrl-C has stopped is skipped."""
    report = tmp_path / "x.xml"
    cli = start("--junit", str(report), "-n", "a", f"echo up; {EXEC_FOREVER}")
    cli.read_until(b"up")
    cli.signal(signal.SIGINT)
    assert cli.end().status == 130
    assert outcomes(report) == {"a": [("skipped", "stopped (SIGTERM)"), ("system-out", None)]}
    assert list(tmp_path.iterdir()) == [report]


def test_report_of_a_test_with_servers(run: Run, tmp_path: Path) -> None:
    """The test is a case; its output went to the terminal, and that of the server is there."""
    report = tmp_path / "x.xml"
    words = ("--junit", str(report), f"echo up; {EXEC_FOREVER}", "--ready", "line:up")
    assert run(*words, "--", "sh", "-c", "exit 5", subcommand="with").status == 5
    assert outcomes(report) == {
        "echo": [("skipped", "stopped (SIGTERM)"), ("system-out", None)],
        "sh": [("failure", "exit code 5")],
    }


def test_server_that_ends_before_the_test_has_failed(run: Run, tmp_path: Path) -> None:
    """It has, even with exit code 0, because the test did not run to its end."""
    report = tmp_path / "x.xml"
    words = ("--junit", str(report), "echo bye", "--", "sleep", "9999")
    assert run(*words, subcommand="with").status == 1
    found = outcomes(report)
    assert found["echo"] == [("failure", "exit code 0"), ("system-out", None)]
    assert found["sleep"][0][0] == "skipped"


@pytest.mark.parametrize(
    ("subcommand", "words"), [("run", ["touch pwned"]), ("with", ["touch pwned", "--", "true"])]
)
def test_report_that_cannot_be_written_starts_nothing(
    run: Run, tmp_path: Path, subcommand: str, words: list[str]
) -> None:
    """The error is one line."""
    ended = run("--junit", "no/file", *words, subcommand=subcommand, cwd=tmp_path)
    assert ended == (2, b"", b"currant: --junit no/file: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("subcommand", "words"),
    [
        ("run", ["--env-file", "nope", "true"]),
        ("start", ["nope"]),
        ("with", ["--env-file", "nope", "true", "--", "true"]),
        ("map", ["-a", "nope", "true"]),
    ],
)
def test_usage_error_leaves_no_report_of_an_earlier_run(
    run: Run, tmp_path: Path, subcommand: str, words: list[str]
) -> None:
    """A CI would show the earlier report as that of this run."""
    report = tmp_path / "x.xml"
    report.write_text("<testsuites>old")
    ended = run("--junit", "x.xml", *words, subcommand=subcommand, cwd=tmp_path)
    assert (ended.status, list(tmp_path.iterdir())) == (2, [])


# ---- GitHub ----


def test_blocks_of_several_commands_are_groups(run: Run, tmp_path: Path) -> None:
    """Lines of tools for GitHub stay at the beginning of a line, and each failure is annotated."""
    summary = tmp_path / "summary"
    words = ("--group", "-m", "1", "-n", "lint,test,silent")
    lines = ("echo ::error file=a.js::x; printf unfinished", FAILS, "true")
    ended = run(*words, *lines, env={**GITHUB, "GITHUB_STEP_SUMMARY": str(summary)})
    assert ended.out.decode().splitlines() == [
        *("::group::lint", "::error file=a.js::x", "unfinished", "::endgroup::"),
        *("::group::test", "out", "bad", "::endgroup::"),
    ]
    assert ended.err.decode().splitlines() == [
        *("currant: test: exit code 3", ""),
        f"::error title=test%3A exit code 3::{FAILS}%0Aout%0Abad",
    ]
    text = summary.read_text()
    assert text.startswith("### currant run\n\n3 commands: 2 succeeded, 1 failed\n\n| command |")
    assert text.endswith("The last lines of test:\n\n```text\nout\nbad\n```\n\n")


def test_single_block_and_a_file_have_no_groups(run: Run, start: Start, tmp_path: Path) -> None:
    """A file is not the log of the step.  A summary that cannot be written changes nothing."""
    github = {**GITHUB, "GITHUB_STEP_SUMMARY": str(tmp_path)}
    assert run("--group", "-n", "a", "echo hi", env=github) == (0, b"a | hi\n", b"")
    with open(tmp_path / "log", "wb") as log:
        start("--group", "-n", "a,b", "echo hi", "true", env=github, stdout=log.fileno()).end()
    assert (tmp_path / "log").read_bytes() == b"a | hi\n"


def test_map_has_groups_if_they_are_asked_for(run: Run, tmp_path: Path) -> None:
    """Without ``--group`` another program may read the output; a job without output has none."""
    summary = tmp_path / "summary"
    github = {**GITHUB, "GITHUB_STEP_SUMMARY": str(summary)}
    words = ("-k", "test {} = b || { printf {}; echo err >&2; exit {}; }", ":::")
    ended = run("--group", *words, "0", "b", "2", subcommand="map", env=github)
    assert ended.out.decode().splitlines() == [
        *("::group::1: test 0 = b || { printf 0; echo err >&2; exit 0; }", "0err", "::endgroup::"),
        *("::group::3: test 2 = b || { printf 2; echo err >&2; exit 2; }", "2err", "::endgroup::"),
    ]
    assert "3 jobs: 2 succeeded, 1 failed, 0 stopped" in summary.read_text()
    assert "\n| 3\\: test 2 = b \\|\\| {" in summary.read_text()
    assert run("--group", *words, "0", subcommand="map", env=GITHUB).out == b"0err\n"
    assert run(*words, "0", "2", subcommand="map", env=GITHUB).out == b"02"


def test_failures_of_a_test_with_servers_are_annotated(run: Run) -> None:
    """A server fails with its last lines; the output of the test is on the terminal."""
    server = f"echo up; {EXEC_FOREVER}"
    ended = run("-q", server, "--", "sh", "-c", "exit 5", subcommand="with", env=GITHUB)
    assert ended == (5, b"", b"\n::error title=sh%3A exit code 5::sh -c 'exit 5'\n")
    ended = run("echo bye", "--", "sleep", "9999", subcommand="with", env=GITHUB)
    assert ended.err.endswith(b"\n::error title=echo%3A exit code 0::echo bye%0Abye\n")


def test_annotation_begins_a_line(start: Start) -> None:
    """The test may have left a line unfinished, which currant does not see."""
    words = ("-q", EXEC_FOREVER, "--", "sh", "-c", "printf abc >&2; exit 3")
    ended = start(*words, subcommand="with", env=GITHUB).end()
    assert ended.err.startswith(b"abc\n::error title=sh%3A exit code 3::")


@pytest.mark.parametrize(
    ("options", "shown"), [(["--raw"], b"abcabc\n%b"), ([], b"abc\n%babc")], ids=["raw", "whole"]
)
def test_annotation_of_a_job_begins_a_line(options: list[str], shown: bytes, start: Start) -> None:
    """The output is shown byte for byte, and may have left a line unfinished."""
    words = (*options, "-q", "-j1", "printf abc; exit {}", ":::", "0", "3")
    cli = start(*words, subcommand="map", stderr=subprocess.STDOUT, env=GITHUB)
    assert (
        cli.end().out == shown % b"::error title=job 2%3A exit code 3::printf abc; exit 3%0Aabc\n"
    )
