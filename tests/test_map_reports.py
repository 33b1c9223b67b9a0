"""JSON and the summary of `currant map`."""

from __future__ import annotations

import base64
import json
import os
from signal import SIGTERM
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant._values.errors import CommandNotFoundError
from currant._values.exit import Exit
from currant._values.usage import Usage
from currant.cli._map.json_lines import json_line
from currant.cli._map.summary import Summary
from tests.ended_jobs import ended, lines

if TYPE_CHECKING:
    from currant.cli._map.ended import Ended

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

STOPPED = ended(4, "sleep 9", Exit(None, SIGTERM, stopped=True), status="stopped")
MISSING = ended(3, "nothing", None, error=CommandNotFoundError("nothing", "not in PATH"))

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
