"""The folder of ``currant map --results``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant._batch.rows import Row
from currant._values.errors import CommandNotFoundError
from currant._values.exit import Exit
from currant._values.usage import Usage
from currant.cli._errors import OutputError
from currant.cli._map.results_folder import FILES, ResultsFolder
from tests.ended_jobs import ended

if TYPE_CHECKING:
    from currant.cli._map.ended import Ended

VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


def run_jobs(path: Path, *jobs: Ended, resumes: bool = False) -> None:
    """Write jobs, each with an output that has its number."""
    folder = ResultsFolder(str(path), resumes=resumes)
    for job in jobs:
        folder.begin(job.number, job.row)
        folder.write(job.number, "stdout", b"out %d\n" % job.number)
        folder.write(job.number, "stderr", b"err %d\n" % job.number)
        folder.end(job)


def age(path: Path) -> None:
    """Make all files old, as those of an earlier run."""
    for file in path.rglob("*"):
        os.utime(file, (1e9, 1e9))


def folders(path: Path) -> set[str]:
    """Return the folders of jobs, relative to `path`."""
    return {str(file.parent.relative_to(path)) for file in path.rglob("seq")}


def test_files_of_a_job(tmp_path: Path) -> None:
    """The output is there while the job runs, and its end is added."""
    folder = ResultsFolder(str(tmp_path / "new" / "results"))
    folder.begin(7, Row(("a", "b c")))
    place = tmp_path / "new" / "results" / "1" / "a" / "2" / "b c"
    assert {file.name for file in place.iterdir()} == {"stdout", "stderr", "seq"}
    for data in (b"\xff\n", b"more"):
        folder.write(7, "stdout", data)
    assert (place / "stdout").read_bytes() == b"\xff\nmore"
    usage = Usage(0.25, 0.5, 4096)
    folder.end(ended(7, values=("a", "b c"), usage=usage, attempts=2))
    assert {file.name: file.read_text("latin-1") for file in place.iterdir()} == {
        "stdout": "\xff\nmore",
        "stderr": "",
        "seq": "7",
        "exit": "0\n",
        "usage": "started_at=1000000000.000\nduration=1.500\nattempts=2\n"
        "user=0.250\nsystem=0.500\nmax_rss=4096\n",
    }


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (ended(end=3), "3\n"),
        (ended(end=SIGTERM), "SIGTERM\n"),
        (ended(end=Exit(None, 34)), "signal 34\n"),
        (ended(end=Exit(None, None)), "exit status unknown\n"),
        (ended(end=None, error=CommandNotFoundError("a", "gone")), "command 'a': gone\n"),
        (ended(end=None, status="stopped"), "stopped\n"),
    ],
)
def test_exit_file_says_how_the_job_ended(tmp_path: Path, job: Ended, text: str) -> None:
    """The file has the exit code, the signal, or the reason why there is neither."""
    run_jobs(tmp_path, job)
    assert (tmp_path / "1" / "a" / "exit").read_text() == text


@pytest.mark.skipif(shutil.which("parallel") is None, reason="there is no GNU parallel")
@pytest.mark.parametrize(
    ("names", "rows"),
    [
        ((), [("a",), ("b/c",), ("x y",), ("t\tb",), ("back\\slash",), ("é%+:",), ("x" * 300,)]),
        ((), [("a", "b"), ("a", "c/d")]),
        (("z", "Z", "10", "9", "a b", "z"), [("a", "b", "c", "d", "e", "f"), tuple("123456")]),
    ],
)
def test_folders_are_those_of_parallel(
    tmp_path: Path, names: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    """The same values give the same folders."""
    lines = ["\t".join(names)] * bool(names) + ["\t".join(row) for row in rows]
    header = ["--header", ":"] * bool(names)
    columns = ["--colsep", "\t"] if len(rows[0]) > 1 else []
    theirs = tmp_path / "theirs"
    command = ["parallel", "--will-cite", *header, *columns, "--results", str(theirs), "true"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True)
    ours = tmp_path / "ours"
    jobs = [ended(number, values=row, names=names) for number, row in enumerate(rows, 1)]
    run_jobs(ours, *jobs)
    assert folders(ours) == folders(theirs)


@given(st.lists(st.lists(VALUES, max_size=3).map(tuple), max_size=6))
def test_each_job_has_a_folder_of_its_own(rows: list[tuple[str, ...]]) -> None:
    """Whatever the values are, no output is lost, and no file is outside the folder."""
    rows = [*rows, *rows[:2], (".",), ("..",), ("",), ("\\.",), ("/",), ("/" * 300,), ("/" * 301,)]
    jobs = [ended(number, values=row) for number, row in enumerate(rows, 1)]
    with tempfile.TemporaryDirectory() as outside:
        path = Path(outside, "results")
        run_jobs(path, *jobs)
        assert [file.name for file in Path(outside).iterdir()] == ["results"]
        outputs = Counter(file.read_text() for file in path.rglob("stdout") if file.is_file())
        assert outputs == Counter(f"out {job.number}\n" for job in jobs)
        for file in path.rglob("seq"):
            if file.is_file():
                row = rows[int(file.read_text()) - 1]
                assert len(file.relative_to(path).parts) == 2 * max(1, len(row)) + 1


@pytest.mark.parametrize("name", ["stdout", "stderr", "seq", "exit", "usage"])
@pytest.mark.parametrize("order", [1, -1])
def test_column_may_be_called_as_a_file(tmp_path: Path, name: str, order: int) -> None:
    """The folder of a job may be inside that of a job with fewer columns, and hides no file."""
    columns = [(), ("a",), (name,), ("a", name), (name, "z"), (name, "z", f"{name}z")][::order]
    jobs = [
        ended(number, names=names, values=("1",) * len(names))
        for number, names in enumerate(columns, 1)
    ]
    run_jobs(tmp_path, *jobs)
    for names, job in zip(columns, jobs, strict=True):
        parts = [part for each in sorted(names) for part in (each, "1")]
        if name in parts[2:]:
            parts[parts.index(name)] = f"\\{name}"
        place = tmp_path.joinpath(*(parts or ["1", "\\0noarg"]))
        assert {file.name for file in place.iterdir() if file.is_file()} == FILES
        assert (place / "stdout").read_text() == f"out {job.number}\n"


def test_column_may_be_called_by_a_long_number(tmp_path: Path) -> None:
    """Columns are sorted by the number in their names, however long it is."""
    run_jobs(tmp_path, ended(1, names=("9" * 5000, "10", "2"), values=("a", "b", "c")))
    assert (tmp_path / "2/c/10/b" / ("9" * 255) / "a/stdout").read_text() == "out 1\n"


def test_jobs_with_the_same_values_keep_their_outputs(tmp_path: Path) -> None:
    """The folder of the second one has the number of the job, also if a value has that name."""
    run_jobs(tmp_path, *(ended(number, values=("a",)) for number in (1, 2)))
    assert folders(tmp_path) == {"1/a", "1/a#2"}
    run_jobs(tmp_path, ended(1, values=("a",)), ended(2, values=("a#3",)), ended(3, values=("a",)))
    assert (tmp_path / "1" / "a#3#3" / "seq").read_text() == "3"


@pytest.mark.parametrize("value", ["x" * 200, "y"])
def test_path_of_many_values_has_as_many_as_fit(value: str, tmp_path: Path) -> None:
    """The first values name the folder, and the number of the job if that is not enough."""
    values = (value,) * 1000
    run_jobs(tmp_path, ended(1, values=values), ended(2, values=(*values, "z")))
    first, second = sorted(folders(tmp_path))
    assert second == f"{first}#2"
    assert first.startswith(f"1/{value}/2/{value}/3/{value}/")
    assert (tmp_path / second / "stdout").read_bytes() == b"out 2\n"


def test_new_run_replaces_the_files_of_an_older_one(tmp_path: Path) -> None:
    """Nothing in a folder is of the older run, also while the new job still runs."""
    run_jobs(tmp_path, ended(1, values=("a",)))
    age(tmp_path)
    folder = ResultsFolder(str(tmp_path))
    folder.begin(5, Row(("a",)))
    files = {file.name: file.read_text() for file in (tmp_path / "1" / "a").iterdir()}
    assert files == {"seq": "5", "stdout": "", "stderr": ""}
    assert folders(tmp_path) == {"1/a"}


def test_resumed_run_keeps_the_files_of_other_jobs(tmp_path: Path) -> None:
    """A job that failed gets its own folder again, and no folder of another job."""
    run_jobs(tmp_path, ended(1, values=("a",)), ended(2, values=("a",)))
    age(tmp_path)
    run_jobs(tmp_path, ended(2, values=("a",), end=3), ended(3, values=("a",)), resumes=True)
    assert folders(tmp_path) == {"1/a", "1/a#2", "1/a#3"}
    assert (tmp_path / "1" / "a" / "stdout").read_text() == "out 1\n"
    assert (tmp_path / "1" / "a#2" / "exit").read_text() == "3\n"


def test_next_attempt_begins_with_empty_files(tmp_path: Path) -> None:
    """The files have the output of the last attempt alone."""
    folder = ResultsFolder(str(tmp_path))
    for attempt in (b"first", b"second"):
        folder.begin(1, Row(("a",)))
        folder.write(1, "stdout", attempt)
    assert (tmp_path / "1" / "a" / "stdout").read_bytes() == b"second"
    assert folders(tmp_path) == {"1/a"}


def test_job_that_never_began_has_a_folder(tmp_path: Path) -> None:
    """A job without a process ends without a beginning."""
    job = ended(1, end=None, error=CommandNotFoundError("a", "gone"))
    ResultsFolder(str(tmp_path)).end(job)
    assert (tmp_path / "1" / "a" / "stdout").read_bytes() == b""


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names the file, and says why."""
    folder = ResultsFolder(str(tmp_path))
    folder.begin(1, Row(("a",)))
    os.unlink(tmp_path / "1" / "a" / "stdout")
    os.symlink("/dev/full", tmp_path / "1" / "a" / "stdout")
    if os.path.exists("/dev/full"):
        with pytest.raises(OutputError, match="1/a/stdout: No space left on device"):
            folder.write(1, "stdout", b"x")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write the results file .*/file: File exists"):
        ResultsFolder(str(tmp_path / "file"))
    (tmp_path / "1" / "b").write_text("")
    with pytest.raises(OutputError, match=r"cannot write the results file .*/1/b/2/c: Not a dir"):
        folder.begin(2, Row(("b", "c")))
