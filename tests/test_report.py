"""`currant report`: from a trace, also a broken one, to a report and a page."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import pytest

from currant._timeline import Report, TraceError, read_report, write_page
from currant._timeline._critical_path import critical_path
from currant._timeline._report import Link, Row, Slice
from tests.clis import CURRANT, ROOT
from tests.test_trace import wait_for_text
from tests.waiting import EXEC_FOREVER

if TYPE_CHECKING:
    from tests.clis import Ended, Run, Start
    from tests.lifeline import Lifeline

HEAD = '[{"ph":"M","pid":1,"tid":1,"name":"process_name","args":{"name":"currant"}}'


def event(phase: str, time: int, name: str, track: int = 2, /, **facts: Any) -> str:
    """Return a line of a trace; ``_`` in the name of a fact stands for a space."""
    args = {key.replace("_", " "): value for key, value in facts.items()}
    values = {"ph": phase, "ts": time, "pid": 1, "tid": track, "name": name, "args": args}
    return "," + json.dumps(values)


def arrow(phase: str, time: int, track: int, number: int) -> str:
    """Return the line of an end of an arrow."""
    values = {"ph": phase, "ts": time, "tid": track, "name": "after", "id": number}
    return "," + json.dumps(values)


def track(number: int, name: str) -> str:
    """Return the line with the name of a track."""
    return event("M", 0, "thread_name", number, name=name)


def read(*lines: str, end: str = "]\n") -> Report:
    """Read a trace of these lines."""
    return read_report(io.BytesIO("\n".join([HEAD, *lines, end]).encode()))


def test_attempt_is_a_row_with_its_phases() -> None:
    """A row has the times, the wait before, the phases, and the facts of its begin and its end."""
    report = read(
        track(2, "web"),
        event("B", 0, "waiting"),
        event("E", 4, "waiting"),
        event("B", 4, "starting"),
        event("E", 5, "starting"),
        event("B", 5, "web", pid=42, attempt=1),
        event("B", 5, "until ready"),
        event("E", 7, "until ready"),
        event("B", 7, "running"),
        event("E", 9, "running"),
        event("E", 9, "web", status="failed", exit="exit code 3"),
        event("i", 9, "failed", command="web", exit="exit code 3"),
    )
    facts = {"pid": 42, "attempt": 1, "status": "failed", "exit": "exit code 3"}
    phases = [Slice("until ready", 5, 7), Slice("running", 7, 9)]
    before = [Slice("waiting", 0, 4), Slice("starting", 4, 5)]
    assert report.rows == [Row(2, "web", 5, True, 9, before, phases, facts)]
    assert (report.tracks, report.duration, report.is_whole) == ({2: "web"}, 9, True)
    assert [mark.name for mark in report.marks] == ["failed"]


def test_skipped_command_is_a_row_that_has_not_run() -> None:
    """A command that waited and never ran has a row, and not another one for its mark."""
    report = read(
        track(2, "last"),
        event("B", 0, "waiting"),
        event("E", 5, "waiting", status="skipped", error="no"),
        event("i", 5, "skipped", command="last", error="no"),
    )
    facts = {"status": "skipped", "error": "no"}
    assert report.rows == [Row(2, "last", 5, False, 5, [Slice("waiting", 0, 5)], [], facts)]


@pytest.mark.parametrize(
    ("more", "end", "status"),
    [([event("E", 5, "waiting")], 5, "stopped"), ([], None, "unfinished")],
)
def test_command_that_still_waited_is_a_row(more: list[str], end: int | None, status: str) -> None:
    """A command that a stop or a SIGKILL of currant kept from its start is not left out."""
    other = (event("B", 1, "a", 3, pid=1), event("E", 6, "a", 3, status="failed"))
    report = read(track(2, "last"), event("B", 0, "waiting"), *other, *more)
    assert [(row.name, row.begin, row.end, row.has_run) for row in report.rows] == [
        ("a", 1, 6, True),
        ("last", 5 if end else 6, end, False),
    ]
    assert report.rows[1].facts["status"] == status


def test_failed_start_in_a_slot_is_a_row() -> None:
    """A command of `map` that could not be started has only a mark in the trace."""
    report = read(track(2, "slot 1"), event("i", 5, "failed", command="x#1", error="no"))
    facts = {"status": "failed", "error": "no"}
    assert report.rows == [Row(2, "x#1", 5, False, 5, [], [], facts)]


def test_failed_restart_in_a_slot_has_the_name_of_its_command() -> None:
    """The slice of a wait in a slot names the command, which is not the name of the track."""
    report = read(
        track(2, "slot 1"),
        event("B", 1, "x#1: waiting to restart"),
        event("E", 5, "x#1: waiting to restart", status="failed", error="no"),
        event("i", 5, "failed", command="x#1", error="no"),
    )
    assert [(row.name, row.before) for row in report.rows] == [
        ("x#1", [Slice("waiting to restart", 1, 5)])
    ]


def test_each_attempt_is_a_row() -> None:
    """A restart adds a row to the track, with the wait before it."""
    report = read(
        track(2, "a"),
        event("B", 1, "a", pid=1, attempt=1),
        event("E", 2, "a", status="failed"),
        event("B", 2, "waiting to restart"),
        event("E", 4, "waiting to restart"),
        event("B", 4, "a", pid=2, attempt=2),
        event("E", 6, "a", status="succeeded"),
    )
    assert [(row.begin, row.end, row.facts["status"]) for row in report.rows] == [
        (1, 2, "failed"),
        (4, 6, "succeeded"),
    ]
    assert report.rows[1].before == [Slice("waiting to restart", 2, 4)]


def test_arrows_are_links_between_attempts() -> None:
    """An arrow begins at the attempt that ran at its time, and leads to the one that begins."""
    report = read(
        event("B", 1, "a", 2, pid=1),
        event("E", 3, "a", 2),
        event("B", 5, "a", 2, pid=2),
        event("B", 6, "b", 3, pid=3),
        arrow("s", 2, 2, 1),
        arrow("f", 6, 3, 1),
        arrow("s", 5, 2, 2),
        arrow("f", 6, 3, 2),
        arrow("f", 6, 3, 99),
    )
    assert report.links == [Link(0, 2, 2), Link(1, 2, 5)]


def test_counters_have_their_samples() -> None:
    """The samples of a counter are in order; they do not make the run longer."""
    report = read(event("C", 0, "memory", 1, bytes=2), event("C", 100, "memory", 1, bytes=0))
    assert (report.counters, report.duration) == ({"memory bytes": [(0, 2), (100, 0)]}, 0)


@pytest.mark.parametrize("end", ["", ',{"ph":"E","ts":9,"pid', ',{"ph":"E"', ","])
def test_torn_trace_is_read_as_far_as_it_goes(end: str) -> None:
    """After a SIGKILL the last line is missing or unfinished, and the attempt has no end."""
    report = read(event("B", 1, "a", pid=1), event("B", 2, "running"), end=end)
    assert [(row.name, row.end, row.phases) for row in report.rows] == [
        ("a", None, [Slice("running", 2, None)])
    ]
    assert not report.is_whole


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"hello\n", "not a trace of currant"),
        (b"\x7fELF\xff\x00", "not a trace of currant"),
        (b"[]\n", "not a trace of currant"),
        (b"[1, 2]\n", "not a trace of currant"),
        (b"[" * 100_000, "not a trace of currant"),
        (b'[{"ph":"M","name":"process_name","args":{"name":"chrome"}}\n', "not a trace of currant"),
        (HEAD.encode() + b'\n,{"ph":"B",\n]\n', "line 2 is not an event"),
        (HEAD.encode() + b'\n,{"ph":"B","ts":"soon","name":"a"}\n]\n', "line 2 is not an event"),
        (HEAD.encode() + b"\nother\n]\n", "line 2 is not an event"),
    ],
)
def test_other_file_is_refused(content: bytes, problem: str) -> None:
    """The error says that the file is no trace, or which line is damaged."""
    with pytest.raises(TraceError, match=problem):
        read_report(io.BytesIO(content))


def rows(*ends: int | None) -> list[Row]:
    """Return rows with these ends."""
    return [Row(2, str(number), 0, end=end) for number, end in enumerate(ends)]


@pytest.mark.parametrize(
    ("ends", "links", "path"),
    [
        ([5, 9], [], []),
        ([5, 9], [Link(0, 1, 5)], [(0, 5), (1, 9)]),
        ([5, 7, 9], [Link(0, 2, 5), Link(1, 2, 7)], [(1, 7), (2, 9)]),
        ([5, 9, 7], [Link(0, 1, 5), Link(0, 2, 5)], [(0, 5), (1, 9)]),
        ([50, 9, 7], [Link(0, 1, 5), Link(0, 2, 5)], [(0, 5), (1, 9)]),
        ([5, None, 7], [Link(0, 1, 5), Link(1, 2, 6)], [(0, 5), (1, 6), (2, 7)]),
        ([5, 9], [Link(0, 1, 5), Link(1, 0, 4)], [(0, 5), (1, 9)]),
    ],
)
def test_critical_path_ends_last(
    ends: list[int | None], links: list[Link], path: list[tuple[int, int]]
) -> None:
    """The last row ended last of those that waited; before each is the one that let it go on."""
    assert critical_path(Report(rows=rows(*ends), links=links, duration=10)) == path


@pytest.mark.parametrize(("ready", "path"), [(6, [(0, 5), (2, 7)]), (8, [(0, 5), (1, 8)])])
def test_server_that_was_stopped_is_done_when_it_is_ready(ready: int, path: list[Any]) -> None:
    """Its end says when someone asked for the stop, and not what the run has waited for."""
    db, test, web = rows(5, 100, 7)
    test.facts["status"] = "stopped"
    test.phases = [Slice("until ready", 1, ready), Slice("running", ready, 100)]
    report = Report(rows=[db, test, web], links=[Link(0, 1, 5), Link(0, 2, 5)], duration=100)
    assert critical_path(report) == path


def test_page_is_one_file_that_loads_nothing() -> None:
    """No text of a command ends the element of the data, and no other file is named."""
    bad = "</script><!--<script>$title"
    report = read(track(2, bad), event("B", 1, bad, pid=1, command=bad), event("E", 2, bad))
    page = write_page(report, "<&>")
    assert page.count("</script>") == 2
    assert "<!--" not in page
    assert "<title>&lt;&amp;&gt; – currant report</title>" in page
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["rows"][0]["command"] == bad
    for foreign in ("http:", "https:", "src=", "@import", "url(", "fetch(", "import("):
        assert foreign not in page.replace(data, "")


def report_of(run: Run, trace: Path, *options: str) -> Ended:
    """Run `currant report`."""
    return run(str(trace), *options, subcommand="report")


def test_report_of_a_run(run: Run, tmp_path: Path) -> None:
    """`currant report` writes the page beside the trace, and what failed is in it."""
    trace = tmp_path / "run.json"
    run("--trace", str(trace), "--names", "a,b", "true", "echo bad; exit 3")
    shown = report_of(run, trace)
    assert (shown.status, shown.out, shown.err) == (0, b"", b"")
    page = (tmp_path / "run.html").read_text()
    assert '"exit":"exit code 3"' in page
    assert '"lines":["bad"]' in page
    assert '"cpu":[' in page


def test_report_of_a_map(run: Run, tmp_path: Path) -> None:
    """Each command of a `currant map` is a row."""
    trace = tmp_path / "map.json"
    run("--trace", str(trace), "test {} != 2", ":::", "1", "2", "3", subcommand="map")
    with trace.open("rb") as file:
        report = read_report(file)
    statuses = sorted(row.facts["status"] for row in report.rows)
    assert statuses == ["failed", "succeeded", "succeeded"]


def test_report_of_a_killed_run(run: Run, start: Start, lifeline: Lifeline, tmp_path: Path) -> None:
    """After SIGKILL of currant, the page has the command that ran, without an end."""
    trace = tmp_path / "run.json"
    cli = start("-n", "stays", "--trace", str(trace), f"{lifeline.hold('on')}; {EXEC_FOREVER}")
    lifeline.wait_for("on")
    wait_for_text(trace, b'"name":"stays","cat":"command","args"')
    cli.signal(SIGKILL)
    cli.wait()
    lifeline.wait_for_end()
    assert report_of(run, trace).status == 0
    page = (tmp_path / "run.html").read_text()
    assert '"hasRun":true,"status":"unfinished"' in page
    assert '"isWhole":false' in page


def test_report_on_stdout(run: Run, tmp_path: Path) -> None:
    """With ``-o -`` the page is on stdout, and no file is written."""
    trace = tmp_path / "run.json"
    trace.write_text(HEAD + "\n]\n")
    assert report_of(run, trace, "-o", "-").out.startswith(b"<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [trace]


def test_reader_of_the_report_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """As in ``| head``, the status is that of SIGPIPE, and nothing is said."""
    trace = tmp_path / "run.json"
    trace.write_text(HEAD + "\n]\n")
    reader, writer = os.pipe()
    os.close(reader)
    command = [*CURRANT, "report", str(trace), "-o", "-"]
    with open(writer, "wb") as pipe:
        shown = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert (shown.returncode, shown.stderr) == (141, b"")


@pytest.mark.parametrize("name", ["run.html", "link.html"])
def test_report_spares_the_trace(run: Run, tmp_path: Path, name: str) -> None:
    """A page must not replace the trace that it is made from, under whatever name."""
    trace = tmp_path / "run.html"
    trace.write_text(HEAD + "\n]\n")
    (tmp_path / "link.html").symlink_to(trace)
    shown = report_of(run, trace, "-o", str(tmp_path / name))
    assert shown.status == 2
    assert b"is the trace itself" in shown.err
    assert trace.read_text() == HEAD + "\n]\n"


def test_report_of_another_file_fails(run: Run, tmp_path: Path) -> None:
    """A file that is no trace, or that is missing, gets one line on stderr and status 2."""
    other = tmp_path / "other.json"
    other.write_text("{}\n")
    shown = report_of(run, other)
    assert (shown.status, shown.out) == (2, b"")
    assert shown.err.decode() == (
        f"currant: {other}: this is not a trace of currant; give a file that currant wrote, "
        "with --trace FILE or a TraceSink\n"
    )
    missing = report_of(run, tmp_path / "none")
    assert missing.status == 2
    assert missing.err.decode() == f"currant: {tmp_path / 'none'}: No such file or directory\n"
    assert report_of(run, Path()).err == b"currant: .: Is a directory\n"
    assert not (tmp_path / "other.html").exists()
