"""The job log of `currant map`, and what a later run reads from it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import Command, run
from currant._batch.rows import Row
from currant._values.errors import CommandNotFoundError, LaunchError, TimeLimitError
from currant._values.exit import Exit
from currant.cli._errors import OutputError
from currant.cli._map.job import Job
from currant.cli._map.job_log import create_job_log, logged_exit, reopen_job_log
from currant.cli._map.logged_jobs import HEADER, MAX_GAP, JobLogError, LoggedJobs
from currant.cli._map.resume import jobs_not_logged
from tests.ended_jobs import ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from currant.cli._map.ended import Ended

PARALLEL = pytest.mark.skipif(shutil.which("parallel") is None, reason="there is no GNU parallel")
NO_FULL_DISK = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="there is no /dev/full: Linux only"
)

COMMANDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The path of a job log that does not exist."""
    return str(tmp_path / "log")


def write(path: str, *jobs: Ended) -> None:
    """Write a job log."""
    with closing(create_job_log(path)) as log:
        for job in jobs:
            log.add(job)


@contextmanager
def reopened(path: str) -> Iterator[LoggedJobs]:
    """The jobs of a job log, with which a run goes on."""
    with closing(reopen_job_log(path)) as log:
        log.begin()
        assert log.logged is not None
        yield log.logged


def parallel(*arguments: str) -> str:
    """Run GNU parallel; return its stdout."""
    command = ["parallel", "--will-cite", "-k", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


# ---- the format ----


def test_line_has_the_columns_of_parallel(path: str) -> None:
    """The columns are those of parallel, separated by tabs, with three decimals for seconds."""
    write(path, ended(12, "echo a\tb", 3, host="far", sent=7), ended(3, "kill", SIGTERM))
    assert Path(path).read_bytes() == (
        b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
        b"12\tfar\t1000000000.000\t     1.500\t7\t11\t3\t0\techo a\tb\n"
        b"3\t:\t1000000000.000\t     1.500\t0\t11\t0\t15\tkill\n"
    )


@PARALLEL
def test_parallel_writes_the_same_format(path: str, tmp_path: Path) -> None:
    """Parallel's own lines differ from ours in the times and in the bytes of its output alone."""
    commands = ["true", "exit 3", "kill -TERM $$", "echo a\tb", "/nonexistent/program"]
    parallel("-j1", "--joblog", path, ":::", *commands)
    ours = str(tmp_path / "ours")
    missing = CommandNotFoundError("job", "missing")
    ends = [0, 3, SIGTERM, 0, None]
    jobs = [
        ended(number, line, end, error=missing if end is None else None)
        for number, (line, end) in enumerate(zip(commands, ends, strict=True), 1)
    ]
    write(ours, *jobs)

    def columns(path: str) -> list[list[bytes]]:
        rows = [line.split(b"\t", 8) for line in Path(path).read_bytes().splitlines()]
        return [row[:2] + row[6:] for row in rows]

    assert columns(ours) == columns(path)


@pytest.mark.parametrize(
    ("job", "columns"),
    [
        (ended(end=0), (0, 0)),
        (ended(end=200), (200, 0)),
        (ended(end=SIGKILL), (0, 9)),
        (ended(end=Exit(None, 34)), (0, 34)),
        (ended(end=Exit(None, SIGTERM, timed_out=True), error=TimeLimitError("a", 1.0)), (-1, 15)),
        (ended(end=Exit(0, None, timed_out=True), error=TimeLimitError("a", 1.0)), (-1, 0)),
        (ended(end=Exit(None, None)), (-1, 0)),
        (ended(end=None, error=CommandNotFoundError("a", "missing")), (127, 0)),
        (ended(end=None, error=LaunchError("a", "no memory")), (126, 0)),
        (ended(end=0, status="failed"), (-1, 0)),
        (ended(end=3, status="succeeded"), (3, 0)),
    ],
)
def test_exit_columns(job: Ended, columns: tuple[int, int]) -> None:
    """Exitval and Signal are as in parallel's log; one of both differs from 0 after a failure."""
    assert logged_exit(job.result) == columns


def test_exit_columns_of_real_processes() -> None:
    """The results of a Runner fit into the columns."""
    results = run(
        Command.shell("exit 3", name="code"),
        Command.shell("kill -KILL $$", name="signal"),
        Command(["sleep", "9999"], name="timeout", timeout=0.1),
        Command(["yes"], max_output=10),
    )
    exits = {name: logged_exit(result) for name, result in results.items()}
    assert exits["code"] == (3, 0)
    assert exits["signal"] == (0, SIGKILL)
    assert exits["timeout"] == (-1, SIGTERM)
    assert exits["yes"][0] == -1


@given(st.lists(COMMANDS, min_size=1))
def test_any_command_is_read_back_exactly(commands: list[str]) -> None:
    """Tabs, newlines and bytes that are not UTF-8 come back as they were, each job on one line."""
    commands = [*commands, "a\nb\tc\\n\r", os.fsdecode(b"\xff\xfe")]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        write(path, *(ended(number, line, 1) for number, line in enumerate(commands, 1)))
        assert Path(path).read_bytes().count(b"\n") == 1 + len(commands)
        with reopened(path) as logged:
            assert list(logged.failed()) == list(enumerate(commands, 1))
            assert all(logged.has(number, line) for number, line in enumerate(commands, 1))


def test_long_command_is_read_back(path: str) -> None:
    """A command may be longer than one read from the file."""
    line = "echo " + "x" * 1_000_000
    write(path, ended(1, line, 1), ended(2, "true", 1))
    with reopened(path) as logged:
        assert list(logged.failed()) == [(1, line), (2, "true")]


def test_stopped_job_is_not_logged(path: str) -> None:
    """A job that currant stopped is missing in the log, so that a later run has it."""
    write(path, ended(1, "sleep 9", Exit(None, SIGTERM, stopped=True), status="stopped"))
    assert Path(path).read_bytes() == HEADER


# ---- what a later run reads ----


def test_resumed_run_skips_logged_jobs(path: str) -> None:
    """`has` counts every job in the log, `has_success` only those that succeeded."""
    write(path, ended(2, "b", 0), ended(4, "d", 1), ended(5, "e", SIGTERM), ended(6, "f", 0))
    with reopened(path) as logged:
        lines = [*enumerate("abcdefg", 1)]
        assert logged.first == 2
        assert [number for number, line in lines if logged.has(number, line)] == [2, 4, 5, 6]
        assert [number for number, line in lines if logged.has_success(number, line)] == [2, 6]
        assert list(logged.failed()) == [(4, "d"), (5, "e")]


def test_other_tasks_get_turns_while_logged_jobs_are_skipped(path: str) -> None:
    """So a signal ends a run that skips a million jobs, and the jobs that run are served."""
    write(path, *(ended(number, "a") for number in range(1, 1001)))
    skipped: list[Job] = []

    async def jobs() -> AsyncIterator[Job]:
        for number in range(1, 1001):
            yield Job(number, Row(("a",)))

    async def main(logged: LoggedJobs) -> None:
        left = await jobs_not_logged(
            jobs(), lambda job: job.row.text, logged, redo_failed=False, on_skip=skipped.append
        )
        with anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in left:
                pytest.fail("a logged job is left")

    with reopened(path) as logged:
        anyio.run(main, logged)
    assert 0 < len(skipped) < 1000


def test_last_line_of_a_job_counts(path: str) -> None:
    """A job that failed and later succeeded has succeeded, and the other way round."""
    write(path, ended(1, "a", 1), ended(2, "b", 0), ended(1, "a", 0), ended(2, "edited", 1))
    with reopened(path) as logged:
        assert logged.has_success(1, "a")
        assert list(logged.failed()) == [(2, "edited")]


def test_lines_of_the_resumed_run_are_not_retried(path: str) -> None:
    """A run that retries jobs and logs them meanwhile gets each job once."""
    write(path, ended(1, "a", 1), ended(2, "b", 1))
    with closing(reopen_job_log(path)) as log:
        assert log.logged is not None
        retried = []
        for number, line in log.logged.failed():
            retried.append(number)
            log.add(ended(number, line, 1))
    assert retried == [1, 2]
    assert Path(path).read_bytes().count(b"\n") == 5


@pytest.mark.parametrize("failed_again", [False, True])
def test_log_of_another_command_is_refused(path: str, failed_again: bool) -> None:
    """The error names the line, the command that was expected and the command found."""
    write(path, ended(2, "echo b"), ended(1, "echo a\n"))
    with reopened(path) as logged:
        check = logged.has_success if failed_again else logged.has
        assert check(2, "echo b")
        with pytest.raises(JobLogError) as caught:
            check(1, "echo x")
    text = str(caught.value)
    assert "line 3 " in text
    assert "expected 'echo x', found 'echo a\\n'" in text


def test_job_that_had_stdin_cannot_be_retried(path: str) -> None:
    """The log does not have the bytes, so a retry would run the job with other ones."""
    write(path, ended(1, "a", 1), ended(2, "b", 0, sent=4), ended(3, "c", 1, sent=5000))
    with reopened(path) as logged:
        assert logged.has_success(2, "b")
        with pytest.raises(JobLogError, match="job 3 had 5,000 bytes on stdin"):
            list(logged.failed())


def test_missing_log_is_begun_or_refused(path: str) -> None:
    """A run may resume without a log, but a retry needs one."""
    with pytest.raises(JobLogError, match="No such file"):
        reopen_job_log(path, must_exist=True)
    with reopened(path) as logged:
        assert logged.first is None
        assert not logged.has(1, "true")
    assert Path(path).read_bytes() == HEADER


@PARALLEL
def test_run_resumes_with_the_log_of_parallel(path: str) -> None:
    """A log that parallel wrote is read, with its failures and its quoted newlines."""
    commands = ["echo a\necho b; exit 2", "exit\t3"]
    parallel("-0", "--joblog", path, ":::", *commands)
    with reopened(path) as logged:
        assert list(logged.failed()) == list(enumerate(commands, 1))


@PARALLEL
def test_parallel_resumes_with_our_log(path: str) -> None:
    """Parallel skips the jobs in our log, and retries those that failed.

    With ``-k``, this version of parallel loses a job that ends before an earlier one, if the log
    has a job between the two.  So one job runs at a time.
    """
    write(path, ended(1, "echo a"), ended(3, "echo failed\necho twice", 1))
    resumed = parallel("-j1", "--joblog", path, "--resume", "echo", ":::", "a", "b", "c", "d")
    assert resumed == "b\nd\n"
    assert parallel("-j1", "--joblog", path, "--retry-failed") == "failed\ntwice\n"


# ---- crashes, and files that are something else ----


@given(st.data())
def test_torn_last_line_is_cut_off(data: st.DataObject) -> None:
    """Wherever a crash cuts the file, the complete lines count and the next line fits."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        write(path, ended(1, "a\nb", 1), ended(2, "c\td"))
        whole = Path(path).read_bytes()
        size = data.draw(st.integers(0, len(whole)))
        zeros = data.draw(st.sampled_from([b"", b"\0" * 40])) if size >= len(HEADER) else b""
        Path(path).write_bytes(whole[:size] + zeros)
        complete = whole[:size].count(b"\n") - 1
        with closing(reopen_job_log(path)) as log:
            assert log.logged is not None
            assert log.logged.has(1, "a\nb") == (complete >= 1)
            assert log.logged.has(2, "c\td") == (complete >= 2)
            log.add(ended(3, "e"))
        with reopened(path) as logged:
            assert logged.has(3, "e")


@pytest.mark.parametrize(
    "line",
    [
        b"what\n",
        b"\n",
        b"0\t:\t1.000\t     1.000\t0\t0\t0\t0\ta\n",
        b"-1\t:\t1.000\t     1.000\t0\t0\t0\t0\ta\n",
        b"1\t:\tnow\t     1.000\t0\t0\t0\t0\ta\n",
        b"1\t:\t1.000\t     1.000\t0\t0\t\t0\ta\n",
        b"1\t:\t1.000\t     1.000\t0\t0\t0\n",
        b"%d\t:\t1.000\t     1.000\t0\t0\t0\t0\ta\n" % (MAX_GAP + 10),
        HEADER,
    ],
)
def test_broken_line_is_an_error_unless_it_is_the_last(path: str, line: bytes) -> None:
    """A crash tears the last line only; any other broken line is reported by its number."""
    write(path, ended(1, "a"))
    whole = Path(path).read_bytes()
    broken = whole + line + whole.removeprefix(HEADER)
    Path(path).write_bytes(broken)
    with pytest.raises(JobLogError, match="line 3 is not a line of a job log"):
        reopen_job_log(path)
    assert Path(path).read_bytes() == broken
    Path(path).write_bytes(whole + line)
    reopen_job_log(path).close()
    assert Path(path).read_bytes() == whole + line  # A dry run does not write.
    with reopened(path) as logged:
        assert logged.has(1, "a")
    assert Path(path).read_bytes() == whole


@pytest.mark.parametrize("contents", [b"precious", b"precious\n", b"Seq\tHost\tprecious\n"])
def test_file_that_is_no_job_log_is_not_touched(path: str, contents: bytes) -> None:
    """A mistyped path must not cost its file."""
    Path(path).write_bytes(contents)
    for open_log in (create_job_log, reopen_job_log):
        with pytest.raises(JobLogError, match="not a job log"):
            open_log(path)
    assert Path(path).read_bytes() == contents


def test_new_run_empties_an_older_log(path: str) -> None:
    """Without ``--resume`` the log has the jobs of the last run alone."""
    write(path, ended(1, "a"), ended(2, "b"))
    write(path, ended(1, "c"))
    with reopened(path) as logged:
        assert logged.has(1, "c")
        assert not logged.has(2, "b")


def test_log_of_another_run_is_refused(path: str) -> None:
    """Two runs do not write to one log at the same time, and the second does not empty it."""
    with closing(create_job_log(path)) as log:
        log.add(ended(1, "a"))
        for open_log in (create_job_log, reopen_job_log):
            with pytest.raises(JobLogError, match="another run"):
                open_log(path)
    with reopened(path) as logged:
        assert logged.has(1, "a")


def test_log_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The error says which file, and why."""
    with pytest.raises(JobLogError, match=r"nowhere/log: cannot open the file: No such file"):
        create_job_log(str(tmp_path / "nowhere" / "log"))


def test_special_file_takes_a_log_but_gives_none() -> None:
    """A log may go to a terminal or a pipe, from which no run can resume."""
    write(os.devnull, ended())
    with pytest.raises(JobLogError, match="not a regular file"):
        reopen_job_log(os.devnull)


@NO_FULL_DISK
def test_full_disk_is_an_error_that_names_the_log() -> None:
    """The error says what could not be written, and why."""
    with pytest.raises(OutputError, match="cannot write the job log /dev/full: No space left"):
        create_job_log("/dev/full")


def test_part_of_a_line_is_removed_if_the_rest_does_not_fit(path: str) -> None:
    """After a short write, the log still ends with a whole line, so the next one fits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(create_job_log(path)) as log:
        log.add(ended(1, "a"))
        size = os.path.getsize(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        try:
            with pytest.raises(OutputError, match="File too large"):
                log.add(ended(2, "b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert os.path.getsize(path) == size
        log.add(ended(3, "c"))
    with reopened(path) as logged:
        assert [logged.has(number, line) for number, line in enumerate("abc", 1)] == [1, 0, 1]


WRITER = """
import itertools, sys
from currant.cli._map.job_log import create_job_log
from tests.ended_jobs import ended
log = create_job_log(sys.argv[1])
for number in itertools.count(1):
    log.add(ended(number, f"echo {number}"))
    print(number, flush=True)
"""


def test_log_is_complete_after_kill_of_the_writer(path: str) -> None:
    """Every job that was added before SIGKILL is in the log, and the lock is gone."""
    command = [sys.executable, "-c", WRITER, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 100:
                writer.kill()
                break
        *_, last = [100, *map(int, writer.stdout)]
    with reopened(path) as logged:
        assert all(logged.has(number, f"echo {number}") for number in range(1, last + 1))
