"""JUnit XML, annotations for GitHub and its step summary: what a CI shows of commands."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from signal import SIGTERM
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant._values.capture import Omitted
from currant._values.errors import CommandError, CommandNotFoundError
from currant._values.exit import Exit
from currant.cli._ci import junit
from currant.cli._ci.annotations import Annotations, is_on_github
from currant.cli._ci.groups import group_lines
from currant.cli._ci.junit import JUnitFile, remove_report
from currant.cli._ci.reports import EndedCommand, Reports
from currant.cli._ci.result_texts import MAX_OUTPUT
from currant.cli._ci.step_summary import (
    MAX_ROWS,
    MAX_SIZE,
    SummaryRow,
    add_to_summary,
    summary_text,
)
from currant.cli._errors import OutputError
from tests.ended_jobs import ended, lines

if TYPE_CHECKING:
    from pathlib import Path

    from currant.cli._map.ended import Ended

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

STOPPED = ended(4, "sleep 9", Exit(None, SIGTERM, stopped=True), status="stopped")
MISSING = ended(3, "nothing", None, error=CommandNotFoundError("nothing", "not in PATH"))

# ---- JUnit ----


def suite_of(path: Path, *jobs: Ended, name: str = "template") -> ET.Element:
    """Write a report, and return its suite as a parser reads it."""
    with closing(JUnitFile(str(path), name)) as report:
        for job in jobs:
            report.add(job.line, job.result)
        report.finish(12.25)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    (suite,) = ET.parse(path).getroot()
    return suite


def test_report_has_a_case_for_each_job(tmp_path: Path) -> None:
    """The totals are at the beginning, and each case says how its job ended."""
    failed = ended(2, "false b", 3, tail=lines("one", "\x1b[31mtwo\x1b[0m"), stderr=b"<err>\n")
    suite = suite_of(
        tmp_path / "x.xml", ended(1, "echo a", stdout=b"a\n"), failed, MISSING, STOPPED
    )
    assert suite.tag == "testsuite"
    assert suite.attrib == {
        "name": "template",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "12.250",
    }
    assert [case.attrib for case in suite] == [
        {"classname": "template", "name": name, "time": "1.500"}
        for name in ("echo a", "false b", "nothing", "sleep 9")
    ]
    parts = [[(part.tag, part.get("message"), part.text) for part in case] for case in suite]
    assert parts == [
        [("system-out", None, "a\n")],
        [("failure", "exit code 3", "one\ntwo"), ("system-err", None, "<err>\n")],
        [("error", "command 'nothing': not in PATH", None)],
        [("skipped", "stopped (SIGTERM)", None)],
    ]


def test_empty_report_is_valid(tmp_path: Path) -> None:
    """A run without jobs has a suite without cases."""
    assert suite_of(tmp_path / "x.xml").get("tests") == "0"


@given(data=st.binary(), text=TEXTS, name=TEXTS)
def test_report_is_valid_for_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, text: str, name: str
) -> None:
    """Control characters are left out, and bytes that are not UTF-8 are replaced."""
    data += b"\n\x1b[1m\x00]]>&\xff\r\n\xef\xbf\xbf"
    line = os.fsdecode(b"\xff" + text.encode()) + "\x00\n\t'\""
    path = tmp_path_factory.mktemp("report") / "x.xml"
    suite = suite_of(path, ended(1, line, 1, stdout=data, tail=lines(data)), name=name)
    (case,) = suite
    out = case.findtext("system-out")
    assert out is not None
    assert out.endswith("]]>&�\r\n")
    assert (case.get("name") or "").startswith("�")
    assert (case.get("name") or "").endswith("\n\t'\"")


def test_long_output_is_cut(tmp_path: Path) -> None:
    """A case has the end of an output, and says how much is missing; a long name is cut, too."""
    output = b"x" * 100 + b"y" * MAX_OUTPUT
    (case,) = suite_of(tmp_path / "x.xml", ended(1, "z" * 100_000, stdout=output))
    assert case.findtext("system-out") == ("[... 100 bytes omitted ...]\n" + "y" * MAX_OUTPUT)
    assert case.get("name") == "z" * junit.MAX_NAME + "…"
    captured = ended(1, stdout=b"end", omitted=Omitted(stdout=1_000))
    (case,) = suite_of(tmp_path / "x.xml", captured)
    assert case.findtext("system-out") == "[... 1,000 bytes omitted ...]\nend"


def test_broken_run_leaves_no_report(tmp_path: Path) -> None:
    """An earlier report would pass for that of this run; a symbolic link stays a link."""
    path = tmp_path / "x.xml"
    path.write_text("<testsuites>old")
    (tmp_path / "link").symlink_to(path)
    with closing(JUnitFile(str(tmp_path / "link"), "name")) as report:
        report.add("true", ended().result)
    assert [each.name for each in tmp_path.iterdir()] == ["link"]
    with closing(JUnitFile(str(tmp_path / "link"), "name")) as report:
        report.finish(1.0)
    assert (tmp_path / "link").is_symlink()
    assert ET.parse(path).getroot().tag == "testsuites"


def test_report_takes_the_place_of_no_other_file(tmp_path: Path) -> None:
    """If the name of the report is forgotten, the next word is a file that must not be lost."""
    path = tmp_path / "file"
    for other in ("#!/bin/sh\necho precious\n", '<?xml version="1.0"?>\n<project/>\n', "x"):
        path.write_text(other)
        with pytest.raises(CommandError, match=r"--junit .*file: the file is not a JUnit report"):
            JUnitFile(str(path), "name")
        assert (os.listdir(tmp_path), path.read_text()) == (["file"], other)
    mark = "<?xml version='1.0'?>\n<!-- by another program -->\n"
    for report in ("", "<testsuite/>", f"{mark}<testsuites name='x'>"):
        path.write_text(report)
        remove_report(str(path))
        assert not path.exists()


def test_report_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The error comes before any job, and names the option and the file."""
    with pytest.raises(CommandError, match=r"--junit .*/nowhere/x: No such file or directory"):
        JUnitFile(str(tmp_path / "nowhere" / "x"), "name")
    with pytest.raises(CommandError, match="--junit /dev/null: not a regular file"):
        JUnitFile(os.devnull, "name")


def test_report_whose_place_is_gone_is_an_error(tmp_path: Path) -> None:
    """An error at the end names the report, too."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(JUnitFile(str(folder / "x.xml"), "name")) as report:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()
        with pytest.raises(OutputError, match=r"cannot write the JUnit report .*x\.xml: No such"):
            report.finish(1.0)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (3, 3)])
def test_run_without_its_report_has_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: int, after: int
) -> None:
    """The exit status of a command that failed wins over that of the report."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(Reports("currant run", str(folder / "x.xml"))) as reports:
        shutil.rmtree(folder)
        assert reports.write([EndedCommand("true", ended().result)], before) == after
    assert "currant: cannot write the JUnit report" in capsys.readouterr().err


# ---- annotations ----


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"GITHUB_ACTIONS": "true"}, True), ({"GITHUB_ACTIONS": ""}, False), ({}, False)],
)
def test_annotations_are_for_github(environment: dict[str, str], expected: bool) -> None:
    """GitHub documents the value of its variable."""
    assert is_on_github(environment) == expected


def annotation(job: Ended, annotations: Annotations | None = None) -> str:
    """Return the line for a job."""
    annotations = annotations or Annotations("currant map", "job")
    return annotations.add(f"job {job.number}", job.line, job.result)


def test_annotation_is_one_line_with_escapes() -> None:
    """Neither the command nor its output can end the line or begin another annotation."""
    job = ended(3, "echo 100%, a:b\n::error::", 2, tail=lines("50%", "\x1b[1m::warning::x\r"))
    assert annotation(job) == (
        "::error title=job 3%3A exit code 2::echo 100%25, a:b%0A::error::%0A50%25%0A::warning::x\n"
    )
    error = CommandNotFoundError("a,b", "gone")
    assert annotation(ended(4, os.fsdecode(b"\xff"), None, error=error)) == (
        "::error title=job 4%3A command 'a%2Cb'%3A gone::�\n"
    )


def test_annotations_are_few() -> None:
    """GitHub shows ten errors of a step, so the others are counted."""
    annotations = Annotations("currant map", "job")
    shown = [annotation(ended(number, end=1), annotations) for number in range(1, 11)]
    assert all(shown)
    assert annotations.finish() == ""
    assert annotation(ended(), annotations) == annotation(STOPPED, annotations) == ""
    assert annotation(ended(11, end=1), annotations) == ""
    assert annotations.finish() == "::warning title=currant map::1 more job has failed\n"
    assert annotation(ended(12, end=1), annotations) == ""
    assert annotations.finish() == "::warning title=currant map::2 more jobs have failed\n"


# ---- groups ----


def test_title_of_a_group_is_one_line() -> None:
    """GitHub decodes the title, and a newline would end it."""
    assert group_lines("100%\n::error::") == ("::group::100%25\\n::error::", "::endgroup::")


# ---- the summary of a step ----


def row(name: str, end: int = 0, at: float = 0.0, *texts: str) -> SummaryRow:
    """Return a row of a command that began at a time, and took a second and a half."""
    return SummaryRow(name, ended(1, end=end, started_at=at, tail=lines(*texts)).result)


def test_summary_shows_failures_first() -> None:
    """The first is the one that failed first, and its last lines follow."""
    rows = [row("a"), row("b", 1, 20.0, "late"), row("c", 2, 10.0, "one", "two")]
    assert summary_text("currant run", "3 commands", rows) == (
        "### currant run\n\n3 commands\n\n"
        "| command | status | end | duration |\n|---|---|---|--:|\n"
        "| c | failed | exit code 2 | 1.5 s |\n"
        "| b | failed | exit code 1 | 1.5 s |\n"
        "| a | succeeded | exit code 0 | 1.5 s |\n\n"
        "The last lines of the first failure, c:\n\n```text\none\ntwo\n```\n\n"
    )


def test_text_of_a_command_is_no_markup() -> None:
    """Neither its name nor its output can end a cell or the block of code."""
    text = summary_text("t", "", [row("a|b\n<b>`x`", 1, 0.0, "```", "````text")])
    assert "| a\\|b\\\\n\\<b\\>\\`x\\` | failed |" in text
    assert text.endswith(":\n\n`````text\n```\n````text\n`````\n\n")


def test_summary_is_short() -> None:
    """It has some of very many commands, and the beginning of a long name."""
    text = summary_text("t", "", [row("x" * 10_000) for _ in range(MAX_ROWS + 2)])
    assert text.count(" succeeded ") == MAX_ROWS
    assert text.endswith("\n\n2 more are not shown.\n\n")
    assert len(text) < 30_000
    assert summary_text("currant map", "no jobs", []) == "### currant map\n\nno jobs\n\n"


def test_summary_is_added_if_the_file_takes_it(tmp_path: Path) -> None:
    """Other programs of the step have written before; a file without room stays as it is."""
    path = tmp_path / "summary"
    path.write_text("old\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(path)}
    add_to_summary(github, "\ud800new\n")
    assert path.read_text() == "old\n?new\n"
    path.write_bytes(b"x" * (MAX_SIZE - 3))
    add_to_summary(github, "four")
    assert path.stat().st_size == MAX_SIZE - 3
    for environment in ({**github, "GITHUB_ACTIONS": ""}, {"GITHUB_ACTIONS": "true"}):
        add_to_summary(environment, "x")
    assert path.stat().st_size == MAX_SIZE - 3
    add_to_summary({**github, "GITHUB_STEP_SUMMARY": str(tmp_path)}, "a folder takes nothing")
    os.mkfifo(tmp_path / "pipe")
    add_to_summary({**github, "GITHUB_STEP_SUMMARY": str(tmp_path / "pipe")}, "nobody reads it")
