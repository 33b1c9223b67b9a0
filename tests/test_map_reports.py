"""JUnit XML, annotations for GitHub, JSON and the summary of `currant map`."""

from __future__ import annotations

import base64
import json
import os
from signal import SIGTERM
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant._values.errors import CommandError, CommandNotFoundError
from currant._values.exit import Exit
from currant._values.usage import Usage
from currant.cli._map import junit
from currant.cli._map.annotations import Annotations, is_on_github
from currant.cli._map.ended import Ended, OutputError
from currant.cli._map.json_lines import json_line
from currant.cli._map.junit import JUnitFile
from currant.cli._map.summary import Summary
from tests.ended_jobs import ended, lines

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

STOPPED = ended(4, "sleep 9", Exit(None, SIGTERM, stopped=True), status="stopped")
MISSING = ended(3, "nothing", None, error=CommandNotFoundError("nothing", "not in PATH"))

# ---- JUnit ----


def suite_of(path: Path, *jobs: Ended, name: str = "template") -> ET.Element:
    """Write a report, and return its suite as a parser reads it."""
    with JUnitFile(str(path), name) as report:
        for job in jobs:
            report.add(job)
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
    output = b"x" * 100 + b"y" * junit.MAX_OUTPUT
    (case,) = suite_of(tmp_path / "x.xml", ended(1, "z" * 100_000, stdout=output))
    assert case.findtext("system-out") == ("[... 100 bytes omitted ...]\n" + "y" * junit.MAX_OUTPUT)
    assert case.get("name") == "z" * junit.MAX_NAME + "…"


def test_broken_run_leaves_the_old_report(tmp_path: Path) -> None:
    """Without `finish` nothing changes; with it, a symbolic link stays a link."""
    path = tmp_path / "x.xml"
    path.write_text("old")
    (tmp_path / "link").symlink_to(path)
    with JUnitFile(str(tmp_path / "link"), "name") as report:
        report.add(ended())
    assert path.read_text() == "old"
    assert {each.name for each in tmp_path.iterdir()} == {"x.xml", "link"}
    with JUnitFile(str(tmp_path / "link"), "name") as report:
        report.finish(1.0)
    assert (tmp_path / "link").is_symlink()
    assert ET.parse(path).getroot().tag == "testsuites"


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
    with JUnitFile(str(folder / "x.xml"), "name") as report:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()
        with pytest.raises(OutputError, match=r"cannot write the JUnit report .*x\.xml: No such"):
            report.finish(1.0)


# ---- annotations ----


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"GITHUB_ACTIONS": "true"}, True), ({"GITHUB_ACTIONS": ""}, False), ({}, False)],
)
def test_annotations_are_for_github(environment: dict[str, str], expected: bool) -> None:
    """GitHub documents the value of its variable."""
    assert is_on_github(environment) == expected


def test_annotation_is_one_line_with_escapes() -> None:
    """Neither the command nor its output can end the line or begin another annotation."""
    job = ended(3, "echo 100%, a:b\n::error::", 2, tail=lines("50%", "\x1b[1m::warning::x\r"))
    assert Annotations().add(job) == (
        "::error title=job 3%3A exit code 2::echo 100%25, a:b%0A::error::%0A50%25%0A::warning::x\n"
    )
    error = CommandNotFoundError("a,b", "gone")
    assert Annotations().add(ended(4, os.fsdecode(b"\xff"), None, error=error)) == (
        "::error title=job 4%3A command 'a%2Cb'%3A gone::�\n"
    )


def test_annotations_are_few() -> None:
    """GitHub shows ten errors of a step, so the others are counted."""
    annotations = Annotations()
    shown = [annotations.add(ended(number, end=1)) for number in range(1, 11)]
    assert all(shown)
    assert annotations.finish() == ""
    assert annotations.add(ended()) == annotations.add(STOPPED) == ""
    assert annotations.add(ended(11, end=1)) == ""
    assert annotations.finish() == "::warning title=currant map::1 more job has failed\n"
    assert annotations.add(ended(12, end=1)) == ""
    assert annotations.finish() == "::warning title=currant map::2 more jobs have failed\n"


# ---- JSON ----


def test_json_has_all_of_a_job() -> None:
    """The exit is written as in the messages of `JSONSink`."""
    job = ended(
        5,
        "echo 'a b'",
        SIGTERM,
        values=("a b",),
        names=("file",),
        host="far",
        usage=Usage(0.5, 0.25, 4096),
        stdout="é\n".encode(),
    )
    line = json_line(job)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert json.loads(line) == {
        "seq": 5,
        "args": ["a b"],
        "names": ["file"],
        "command": "echo 'a b'",
        "status": "failed",
        "exit": {
            "code": None,
            "signal": "SIGTERM",
            "stopped": False,
            "forced": False,
            "timed_out": False,
        },
        "error": None,
        "attempts": 1,
        "started_at": 1e9,
        "duration": 1.5,
        "host": "far",
        "usage": {"user": 0.5, "system": 0.25, "peak_memory": 4096},
        "stdout": "é\n",
        "stderr": None,
    }


def test_json_of_a_job_without_a_process() -> None:
    """The error is a text, with its type and its fields."""
    keys = json.loads(json_line(MISSING))
    assert keys["exit"] is None
    assert keys["usage"] is None
    assert keys["error"] == "command 'nothing': not in PATH"
    assert keys["error_type"] == "CommandNotFoundError"
    assert keys["error_fields"] == {"name": "nothing", "reason": "not in PATH"}


@given(st.binary(), st.binary())
def test_json_keeps_all_bytes(argument: bytes, output: bytes) -> None:
    """Text is readable in any case, and what is not UTF-8 is there in base64 as well."""
    value = os.fsdecode(argument)
    keys = json.loads(json_line(ended(1, value, values=(value, "b"), stdout=output, stderr=output)))
    assert "names" not in keys
    for name, data in (("command", argument), ("stdout", output), ("stderr", output)):
        encoded = keys.get(f"{name}_base64")
        assert (keys[name].encode() if encoded is None else base64.b64decode(encoded)) == data
    args = keys.get("args_base64")
    values = [*map(str.encode, keys["args"])] if args is None else [*map(base64.b64decode, args)]
    assert values == [argument, b"b"]
    assert keys["args"][0] == argument.decode(errors="replace")


# ---- the summary ----


def summary_of(*jobs: Ended) -> Summary:
    """Return the summary of jobs, in the order of their ends."""
    summary = Summary()
    for job in jobs:
        summary.add(job)
    return summary


def test_summary_counts_jobs_and_shows_the_first_failure() -> None:
    """The first is the one that failed first, not the one with the smallest number."""
    tail = lines(*(f"line {number}" for number in range(1, 13)), "\x1b[2Jlast")
    first = ended(9, "grep x\n", 2, tail=tail, attempts=3)
    summary = summary_of(ended(5), first, ended(2, end=1), STOPPED)
    shown = "".join(f"    stdout: line {number}\n" for number in range(4, 13))
    assert summary.text(8.0) == (
        "currant: 4 jobs: 1 succeeded, 2 failed, 1 stopped, 8.0 s (0.5/s)\n"
        "currant: first failure: job 9: exit code 2 after 3 attempts: grep x\\n\n"
        f"{shown}    stdout: last\n"
    )


def test_summary_of_a_single_failure() -> None:
    """A long command line is cut."""
    assert summary_of(ended(1, "x" * 501, end=SIGTERM)).text(0.0) == (
        "currant: 1 job: 0 succeeded, 1 failed, 0 stopped, 0.0 s\n"
        f"currant: job 1: SIGTERM: {'x' * 500}…\n"
    )


def test_summary_without_failures() -> None:
    """Numbers are grouped, and jobs of an earlier run are counted apart."""
    summary = Summary()
    summary.succeeded = 1_234_567
    assert summary.text(3600.0, logged=1000) == (
        "currant: 1,234,567 jobs: 1,234,567 succeeded, 0 failed, 0 stopped, "
        "1,000 more in the job log, 1 h 0 min (343/s)\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (3599.9, "1 h 0 min")],
)
def test_summary_shows_times_in_fitting_units(seconds: float, text: str) -> None:
    """No time has sixty seconds or sixty minutes."""
    assert f" stopped, {text}\n" in summary_of().text(seconds)


def test_summary_is_wanted_after_failures_and_on_a_terminal() -> None:
    """The stderr of a script stays clean if all jobs succeeded."""
    assert not summary_of(ended()).is_wanted(on_terminal=False)
    assert summary_of(ended()).is_wanted(on_terminal=True)
    assert summary_of(ended(end=1)).is_wanted(on_terminal=False)
    assert summary_of(STOPPED).is_wanted(on_terminal=False)
