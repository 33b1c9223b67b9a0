"""The output of `currant map`: in groups, by lines, raw; slow readers, full disks, terminals."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from currant._batch.rows import Row
from currant._batch.work import Running
from currant._values.lines import Batch
from currant._values.messages import Restarting
from currant.cli._map.held_output import HeldOutput
from currant.cli._map.job import Job
from currant.cli._map.output import Output
from currant.cli._map.progress import MapProgress
from tests.clis import CURRANT, environment, type_on
from tests.ended_jobs import ended as ended_job
from tests.maps import run_map
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from currant.cli._map.output import Mode
    from tests.clis import Start
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("preloaded")]

WRITES = """
import sys
seed = sys.argv[1].encode()
data = (seed + bytes(range(256)) + b"\\r\\n\\0") * 12_000
for at in range(0, len(data), 70_001):
    sys.stdout.buffer.write(data[at : at + 70_001])
    sys.stdout.flush()
"""
"""A program that writes 3 MB of any bytes, without a newline at the end."""


def _written(seed: str) -> bytes:
    return (seed.encode() + bytes(range(256)) + b"\r\n\0") * 12_000


# ---- which bytes, and in which order ----


def test_groups_are_whole_and_not_mixed(tmp_path: Path) -> None:
    """Not a byte is lost, added or mixed, to a pipe and to a file; with ``-k`` in order."""
    values = "abcdefgh"
    wanted = [_written(value) for value in values]
    command = ["-j", "8", sys.executable, "-c", WRITES, ":::", *values]
    ended = run_map("-k", *command)
    assert (ended.status, ended.err) == (0, b"")
    assert ended.out == b"".join(wanted)
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([*CURRANT, "map", *command], stdout=file, timeout=LIMIT, check=True)
    found = (tmp_path / "out").read_bytes()
    size = len(wanted[0])
    assert sorted(found[at : at + size] for at in range(0, len(found), size)) == wanted


def test_stderr_is_kept_apart_and_its_order_is_kept_in_one_file(tmp_path: Path) -> None:
    """Each stream goes where it belongs; with ``2>&1`` the job's own order is kept."""
    script = "echo out {}; echo err {} >&2; echo more {}"
    ended = run_map("-k", script, ":::", "1", "2")
    assert ended == (0, b"out 1\nmore 1\nout 2\nmore 2\n", b"err 1\nerr 2\n")
    with (tmp_path / "both").open("wb") as file:
        arguments = [*CURRANT, "map", "-k", script, ":::", "1", "2"]
        subprocess.run(arguments, stdout=file, stderr=file, timeout=LIMIT, check=True)
    both = (tmp_path / "both").read_text()
    assert both == "".join(f"out {number}\nerr {number}\nmore {number}\n" for number in "12")


def test_lines_of_commands_are_never_mixed() -> None:
    """With ``--line``, whole lines come from any command; an unfinished one is ended."""
    script = "i=0; while test $i -lt 300; do printf {}; printf '%s\\n' {}; i=$((i+1)); done"
    ended = run_map("--line", "-j", "4", f"{script}; printf last", ":::", "a", "b", "c", "d")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert len(lines) == 4 * 301
    for value in (b"a", b"b", b"c", b"d"):
        assert lines.count(value * 2) == 300
    assert lines.count(b"last") == 4


def test_tags_are_before_each_line() -> None:
    """``--tag`` puts the values and a tab before each line of both streams, in any mode."""
    script = "echo 1; echo 2 >&2; printf 3"
    for mode in ("--group", "--line"):
        ended = run_map("--tag", mode, "-j", "1", f": {{}}; {script}", ":::", "a\nb", "c")
        assert ended == (0, b"a\\nb\t1\na\\nb\t3\nc\t1\nc\t3\n", b"a\\nb\t2\nc\t2\n")


def test_raw_output_comes_at_once(start: Start, gate: Gate) -> None:
    """``--raw`` shows a part of a line while the command runs, and adds nothing."""
    cli = start("--raw", f"printf part; {gate.wait}; printf {{}}", ":::", "s", subcommand="map")
    cli.read_until(b"part")
    gate.open()
    assert cli.end() == (0, b"parts", b"")


def test_lines_come_while_a_command_runs(start: Start, gate: Gate) -> None:
    """``--line`` shows a line when it is whole; a group comes at the end."""
    script = f"echo {{}}; {gate.wait}; echo end"
    for mode, shown in (("--line", b""), ("--group", b"x\nend\n")):
        cli = start(mode, script, ":::", "x", subcommand="map")
        if mode == "--line":
            cli.read_until(b"x\n")
        gate.open()
        assert cli.end().out == (shown or b"x\nend\n")


def test_output_of_many_jobs_is_held_in_bounded_memory() -> None:
    """Jobs share a budget; the output comes back as it was, from memory and from disk."""
    held = HeldOutput(budget=10_000)
    data = {number: b"%d\n" % number * 300 for number in range(50)}
    for number, text in data.items():
        for at in range(0, len(text), 100):
            held.add(number, Batch(f"x#{number}", "stdout", text[at : at + 100], 0.0))
            assert held.in_memory <= 10_000
    held.discard(49)
    assert list(held.numbers) == list(range(49))
    for number in range(49):
        assert b"".join(batch.data for batch in held.take(number)) == data[number]
    assert (held.in_memory, list(held.take(49))) == (0, [])


@pytest.mark.anyio
async def test_retry_without_output_loses_no_output_of_the_attempt_before(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """What a failed attempt has written needs the values of its job until it is shown."""
    output = Output("tagged lines", {1: Job(1, Row(("a",)))}, "never")
    await output.send(Batch("sh#1", "stdout", b"out\n", 0.0))
    await output.send(Restarting("sh#1", 2, 0.1, 0.0))
    await output.finish(ended_job(1))
    output.close()
    await output.run()
    assert capfdbinary.readouterr() == (b"a\tout\n", b"")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("lines", b"1\r\n2\r3\r\n"),
        ("tagged lines", b"a\t1\r\na\t2\r3\r\n"),
        ("tagged groups", b"a\t1\r\na\t2\r3\r\n"),
    ],
)
async def test_carriage_returns_are_kept(
    mode: Mode, shown: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A file or a pipe gets each byte of the commands, and only a newline ends a line."""
    output = Output(mode, {1: Job(1, Row(("a",)))}, "never")
    for data in (b"1\r\n2\r", b"3\r\n"):
        await output.send(Batch("sh#1", "stdout", data, 0.0))
    await output.finish(ended_job(1))
    output.close()
    await output.run()
    assert capfdbinary.readouterr() == (shown, b"")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("mode", "shown"),
    [("tagged lines", b"a\ttry \na\ttry done\n"), ("raw", b"try try done\n")],
)
async def test_retry_begins_a_line_of_its_own(
    mode: Mode, shown: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """It does not go on with a line that the attempt before has left; ``--raw`` adds nothing."""
    output = Output(mode, {1: Job(1, Row(("a",)))}, "never")
    await output.send(Batch("sh#1", "stdout", b"try ", 0.0))
    await output.send(Restarting("sh#1", 2, 0.1, 0.0))
    await output.send(Batch("sh#1", "stdout", b"try done\n", 0.0))
    await output.finish(ended_job(1))
    output.close()
    await output.run()
    assert capfdbinary.readouterr() == (shown, b"")


# ---- readers and files ----


@needs_proc
def test_slow_reader_slows_the_commands_down(start: Start) -> None:
    """If nobody reads, currant does not hold the output in memory."""
    endless = "dd if=/dev/zero bs=64k count=4000 2>/dev/null; : {}"
    cli = start("--raw", "-j", "2", endless, ":::", "1", "2", subcommand="map")
    cli.wait_until_full("stdout")
    with open(f"/proc/{cli.process.pid}/status") as file:
        [peak] = [int(line.split()[1]) for line in file if line.startswith("VmHWM")]
    assert peak < 150_000  # KiB; the commands want to write 500 MB
    cli.close()
    assert cli.end().status == 141


def test_reader_that_goes_away_stops_all(start: Start, lifeline: Lifeline) -> None:
    """As with ``| head -1``: currant exits with 141, says nothing, and leaves nothing."""
    script = f"{lifeline.hold('a')}; echo {{}}; {EXEC_FOREVER}"
    cli = start("--line", "-j", "2", script, ":::", *map(str, range(99)), subcommand="map")
    cli.read_until(b"\n")
    cli.close()
    ended = cli.end()
    assert (ended.status, lifeline.ended()) == (141, {"a"})
    assert b"Traceback" not in ended.err


@pytest.mark.parametrize("mode", ["--group", "--line", "--json"])
def test_full_disk_ends_the_run(start: Start, lifeline: Lifeline, mode: str) -> None:
    """One error and status 1; the commands are stopped."""
    script = f"{lifeline.hold('a')}; echo; test {{}} = 1 || {EXEC_FOREVER}"
    with open("/dev/full", "wb") as full:
        cli = start(mode, "-j", "2", script, ":::", *"123", subcommand="map", stdout=full.fileno())
        status, _, err = cli.end()
    assert status == 1
    assert err.count(b"cannot write the output") == len(err.splitlines()) == 1
    assert lifeline.ended() == {"a"}


def test_closed_stdout_is_no_error() -> None:
    """Without stdout, and without stderr, the commands run; without stdin there are no values."""
    for closed, values in ((">&-", "::: a"), (">&- 2>&-", "::: a"), ("<&-", "::: a")):
        script = f'"$@" map --json echo {values} {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *CURRANT],
            capture_output=True,
            env=environment(),
            timeout=LIMIT,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert bool(done.stdout) == (">&-" not in closed)


# ---- progress ----


class _Work:
    """A stand-in for the jobs, with as many as the test says."""

    def __init__(self, succeeded: int, failed: int, running: dict[int, Running[Any]]) -> None:
        self.succeeded, self.failed, self.running = succeeded, failed, running


def _progress(total: int | None, line: str = "", color: str | None = None) -> MapProgress:
    life: Any = None
    running = {7: Running("x", life, 0.0)} if line else {}
    work: Any = _Work(3, 1, running)
    return MapProgress(work, lambda: total, lambda _: line, color)


def test_progress_says_how_far_it_is() -> None:
    """With the total or without; the command that has run longest is shown."""
    assert _progress(1234).text().startswith("4/1,234, 1 failed")
    text = _progress(None, "gzip a").text()
    assert text.startswith("4/?, 1 failed")
    assert re.search(r"slowest: [\d:]+ gzip a$|slowest: \d+ s gzip a$", text)


@pytest.mark.parametrize("columns", [10, 40, 80, 200])
@pytest.mark.parametrize("line", ["cat a", "cat " + "世界" * 200])
def test_progress_fits_the_terminal(columns: int, line: str) -> None:
    """The line never wraps: wide characters count twice, and colours nothing."""
    from rich.cells import cell_len

    for color in (None, "truecolor"):
        progress = _progress(10, line, color)
        _, below = progress.wrap(columns, fits=True, changed=True)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", below.decode()).rstrip("\r")
        assert 0 < cell_len(shown) < columns


def test_progress_on_a_terminal_is_erased(on_terminal: Start, gate: Gate) -> None:
    """The line counts below the output, and is gone at the end, when the summary is shown."""
    cli = on_terminal(
        *("-j", "1", f"echo out {{}}; test {{}} = a || {gate.wait}", ":::", "a", "b"),
        subcommand="map",
        env={"CI": ""},
        columns=100,
    )
    cli.read_until(b"1/2", b"slowest: ")
    gate.open()
    status, out, _ = cli.end()
    assert status == 0
    # What a terminal shows in the end: each erasure removes what is written after the last line.
    shown = re.sub(rb"[^\n]*\r\x1b\[J", b"", out.replace(b"\r\n", b"\n"))
    first, second, summary, rest = shown.split(b"\n")
    assert (first, second, rest) == (b"out a", b"out b", b"")
    assert summary.startswith(b"currant: 2 jobs: 2 succeeded, 0 failed, 0 stopped, ")


def test_no_progress_on_a_terminal(on_terminal: Start) -> None:
    """``--no-progress`` shows no line, and ``-q`` no summary."""
    cli = on_terminal(
        *("--no-progress", "-q", "echo", ":::", "a"), subcommand="map", env={"CI": ""}, columns=80
    )
    status, out, _ = cli.end()
    assert (status, out) == (0, b"a\r\n")


def test_values_are_read_from_a_terminal_until_its_end(on_terminal: Start) -> None:
    """Currant says that it waits for values, and shows no progress."""
    # Progress would be shown while a command takes its time.
    words = ("-q", 'sleep 0.5; echo "<{}>"')
    cli = on_terminal(*words, subcommand="map", env={"CI": ""}, columns=80)
    cli.read_until(b"reading the values from the terminal")
    type_on(cli, b"x\n\x04")
    status, out, _ = cli.end()
    assert status == 0
    assert b"<x>\r\n" in out
    assert b"0/1" not in out  # It would be mixed with what is typed.
    assert b"0/?" not in out
