"""docs/parallel.md: GNU parallel and `currant map` side by side, as the tables of the page say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.clis import ROOT
from tests.maps import program
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "parallel.md"
VERSION = "20221122"
PARALLEL = shutil.which("parallel")

FILES = {
    "abc": "A\nB\nC\n",
    "def": "D\nE\nF\n",
    "nul": "A\0B\0C\0",
    "t.tsv": "f1\tf2\nA\tB\nC\tD\n",
    "num": "".join(f"{number}\n" for number in range(1, 101)),
}

ONLY_OF_CURRANT = ("exit", "usage")
"""The files in a results folder that parallel does not write."""

KEEPS_ORDER = re.compile(r"(?:parallel|currant map) (?:-k|-j1)")

LINE_OF_LOG = re.compile(rb"^(\d+)\t:\t[ \d.]+\t[ \d.]+\t\d+\t\d+\t([^\n]*)$", re.MULTILINE)


def is_there() -> bool:
    """Return whether the version of parallel that the page is about is installed."""
    if PARALLEL is None:
        return False
    shown = subprocess.run([PARALLEL, "--version"], capture_output=True, timeout=LIMIT, check=False)
    return shown.stdout.startswith(f"GNU parallel {VERSION}".encode())


class Row(NamedTuple):
    """A row of a table: what parallel runs, what currant runs, and whether that is the same."""

    section: str
    title: str
    parallel: str
    currant: str | None
    verdict: str

    @property
    def same_words(self) -> str:
        """The line of parallel, with `currant map` in its place."""
        return re.sub(r"\bparallel(?= )", "currant map", self.parallel)


def rows() -> list[Row]:
    """Return the rows of all tables on the page."""
    found = []
    sections = re.split(r"^## (.*)\n", PAGE.read_text(), flags=re.MULTILINE)[1:]
    for section, text in zip(sections[::2], sections[1::2], strict=True):
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if len(cells) != 4 or not cells[1].startswith("`"):
                continue
            parallel, currant = (cell.replace("\\|", "|").strip("`") for cell in cells[1:3])
            verdict = cells[3].partition(":")[0]
            row = Row(section, cells[0], parallel, currant, verdict)
            if currant in ("same words", "–"):
                row = row._replace(currant=row.same_words if currant == "same words" else None)
            found.append(row)
    return found


ROWS = rows()


class Outcome(NamedTuple):
    """What a line of a shell has done."""

    status: int
    lines: list[str]
    files: dict[str, bytes]
    complaint: str


@pytest.fixture
def programs(tmp_path: Path, preloaded: None) -> Path:
    """A folder with `currant`, and with `parallel` that does not ask to be cited."""
    folder = tmp_path / "bin"
    folder.mkdir()
    lines = {"currant": shlex.join(program()), "parallel": f"{PARALLEL} --will-cite"}
    for name, line in lines.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def outcome_of(programs: Path, number: int, line: str) -> Outcome:
    """Run a line in a folder of its own."""
    folder, home = programs.parent / f"{number}" / "work", programs.parent / f"{number}" / "home"
    for path in (folder, home):
        path.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    env = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "PARALLEL_HOME": str(home),
        "TMPDIR": str(home),
        "SHELL": "/bin/sh",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
    files = {
        str(path.relative_to(folder)): without_times(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ONLY_OF_CURRANT
    }
    lines = done.stdout.splitlines()
    if not KEEPS_ORDER.search(line):
        lines.sort()
    return Outcome(done.returncode, lines, files, done.stderr)


def without_times(content: bytes) -> bytes:
    """Return the content of a file; of a job log without the times and the amounts of bytes."""
    if not content.startswith(b"Seq\tHost\t"):
        return content
    return LINE_OF_LOG.sub(rb"\1\t\2", content)


def faults_of(programs: Path, number: int, row: Row) -> list[str]:
    """Run what the row says, and return what is not as it says."""
    run = partial(outcome_of, programs)
    theirs, ours = run(3 * number, row.parallel), run(3 * number + 1, row.same_words)
    is_same = theirs[:3] == ours[:3]
    if row.verdict == "same":
        return [] if is_same else [f"{row.parallel}\n  {theirs}\n  {ours}"]
    if is_same:
        return [f"{row.parallel}: the same words do the same"]
    if row.verdict == "not" or row.currant is None:
        return []
    other = run(3 * number + 2, row.currant)
    return [] if theirs[:3] == other[:3] else [f"{row.currant}\n  {theirs}\n  {other}"]


@pytest.mark.slow
@pytest.mark.skipif(not is_there(), reason=f"GNU parallel {VERSION} is not installed")
@pytest.mark.parametrize("section", dict.fromkeys(row.section for row in ROWS))
def test_both_programs_do_what_the_tables_say(section: str, programs: Path) -> None:
    """Equal words do the same, or other words do, or nothing does: as the verdict says."""
    chosen = [row for row in ROWS if row.section == section]
    with ThreadPoolExecutor(2) as pool:
        faults = pool.map(partial(faults_of, programs), range(len(chosen)), chosen)
    assert [fault for each in faults for fault in each] == []


def test_tables_are_complete() -> None:
    """Each row has a known verdict, and no example stands twice."""
    assert len(ROWS) >= 60
    assert {row.verdict for row in ROWS} == {"same", "otherwise", "not"}
    assert all(row.currant for row in ROWS if row.verdict != "not")
    assert len({row.parallel for row in ROWS}) == len(ROWS)
    text = PAGE.read_text()
    assert len(ROWS) == len(re.findall(r"^\|[^|]*\| `", text, re.MULTILINE))
