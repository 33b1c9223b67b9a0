"""How fast does `currant run` forward output, does any get lost, and how much memory does it need?

One command and four commands, each `cat` of a file with lines of 79 bytes, with stdout at
``/dev/null``, a file or a pipe, which a loop of `os.read` reads.  The time runs from before the
start of the program until its exit, or, with a pipe, until its last byte has been read, if that is
later.  The rate counts the bytes of the commands, without the prefixes.  Lost lines are those that
were written and did not arrive.

The peers are ``cat FILE ... | cat``, which adds no prefixes, concurrently, honcho (with a Procfile)
and GNU parallel with ``--line-buffer --tag``.  Slower peers get fewer bytes, and a run that takes
longer than 20 seconds is cut off.  Its rate is then that of the bytes that had arrived; with
``/dev/null``, where arriving bytes cannot be counted, it is the most that the rate can have been.

The memory is the peak of currant's process while a slow reader pauses after each megabyte from the
pipe.  In that trial no byte may be lost.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, BinaryIO

from benchmarks._measure import CUT_OFF, PlainSide, Question, Row, Sample, Setting, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COUNTS = (1, 4)
LINE = b"%08d " + b"x" * 68 + b"~\n"
END = b"~"
"""The end of each line of a command; it occurs in no line that a program adds."""

PATIENCE = 20.0
"""Seconds after which a program is cut off."""

MOST_MEMORY = 64
"""The peak of currant's memory must stay below this number of megabytes."""

TARGETS: dict[str, dict[str, float]] = {
    "/dev/null": {"shell": 1 / 3, "parallel": 4, "honcho": 50},
    "a file": {"shell": 0.6, "concurrently": 1},
    "a pipe": {"shell": 0.8},
}
"""The least ratio to each peer, for four commands."""

CURRANT = (sys.executable, "-m", "currant", "run", "--quiet")


@dataclass(frozen=True, slots=True)
class Program:
    """A program to compare.

    Attributes:
        argv: returns its command line for a folder, the file and the number of commands.
        megabytes: the total output of all commands; None: 100 MB for each command.
        requires: a module or program; if it is not installed, the program is skipped.
    """

    argv: Callable[[Path, Path, int], list[str]]
    megabytes: int | None = None
    requires: str | None = None


def _currant(_folder: Path, file: Path, count: int) -> list[str]:
    return [*CURRANT, *[f"exec cat '{file}'"] * count]


def _shell(_folder: Path, file: Path, count: int) -> list[str]:
    return ["/bin/sh", "-c", 'cat "$@" | cat', "sh", *[str(file)] * count]


def _concurrently(_folder: Path, file: Path, count: int) -> list[str]:
    return ["concurrently", *[f"cat '{file}'"] * count]


def _honcho(folder: Path, file: Path, count: int) -> list[str]:
    procfile = folder / f"Procfile-{count}"
    procfile.write_text("".join(f"cat{n}: cat '{file}'\n" for n in range(count)))
    return [sys.executable, "-m", "honcho", "--procfile", str(procfile), "start"]


def _parallel(_folder: Path, file: Path, count: int) -> list[str]:
    options = ["--will-cite", "--line-buffer", "--tag", f"--jobs={count}"]
    return ["parallel", *options, "cat", ":::", *[str(file)] * count]


PROGRAMS = {
    "currant": Program(_currant),
    "shell": Program(_shell),
    "concurrently": Program(_concurrently, 40, "concurrently"),
    "honcho": Program(_honcho, 2, "honcho"),
    "parallel": Program(_parallel, 40, "parallel"),
}
PEERS = [name for name in PROGRAMS if name != "currant"]


def _file(megabytes: float, setting: Setting) -> tuple[Path, int]:
    """Return a file of `megabytes` MB, and the number of its lines."""
    lines = int(megabytes * 1e6) // len(LINE % 0) // (10 if setting.quick else 1)
    file = setting.folder / f"{lines}-of-79.txt"
    if not file.exists():
        with file.open("wb") as out:
            out.writelines(LINE % number for number in range(lines))
    return file, lines


def run(name: str, count: int, where: str, setting: Setting) -> Sample:
    """Run one program once, with its stdout at `where`."""
    program = PROGRAMS[name]
    each = 100 if program.megabytes is None else program.megabytes / count
    file, lines = _file(each, setting)
    argv = program.argv(setting.folder, file, count)
    arrived, seconds, cut_off = {
        "/dev/null": _into_nothing,
        "a file": _into_a_file,
        "a pipe": _into_a_pipe,
    }[where](argv, setting)
    written = lines * count
    came = written if arrived is None else arrived
    return {
        "rate": came * len(LINE % 0) / seconds / 1e6,
        "lost": written - came,
        CUT_OFF: float(cut_off),
    }


def _into_nothing(argv: list[str], _setting: Setting) -> tuple[int | None, float, bool]:
    with Path(os.devnull).open("wb") as out:
        return None, *_seconds(argv, out)


def _into_a_file(argv: list[str], setting: Setting) -> tuple[int, float, bool]:
    path = setting.folder / "output"
    with path.open("wb") as out:
        seconds, cut_off = _seconds(argv, out)
    with path.open("rb") as written:
        lines = sum(chunk.count(END) for chunk in iter(lambda: written.read(1 << 20), b""))
    path.unlink()
    return lines, seconds, cut_off


def _seconds(argv: list[str], out: BinaryIO) -> tuple[float, bool]:
    """Return the seconds that a program takes, and whether it was cut off."""
    began = perf_counter()
    with _start(argv, out) as process:
        if _ends(process, PATIENCE):
            return perf_counter() - began, False
        _end(process)
        return PATIENCE, True


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for an exit; `Popen.wait` would look for it every 50 ms only."""
    pidfd = os.pidfd_open(process.pid)
    try:
        return bool(select.select([pidfd], [], [], seconds)[0])
    finally:
        os.close(pidfd)


def _into_a_pipe(argv: list[str], _setting: Setting) -> tuple[int, float, bool]:
    began = perf_counter()
    with _start(argv, subprocess.PIPE) as process:
        assert process.stdout is not None
        chunks = _read(process.stdout.fileno(), began + PATIENCE)
        lines = sum(chunk.count(END) for chunk in chunks)
        seconds = perf_counter() - began
        if _ends(process, max(0.0, PATIENCE - seconds)):
            return lines, perf_counter() - began, False
        _end(process)
        return lines, PATIENCE, True


def _read(fd: int, deadline: float) -> Iterable[bytes]:
    """Read until end-of-file or the deadline."""
    while select.select([fd], [], [], max(0.0, deadline - perf_counter()))[0]:
        data = os.read(fd, 1 << 20)
        if not data:
            return
        yield data


def _start(argv: list[str], stdout: BinaryIO | int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def memory(setting: Setting) -> Sample:
    """Read the output of four commands slowly, and check that every line arrives."""
    file, lines = _file(100, setting)
    argv = [*CURRANT, "--raw", *[f"exec cat '{file}'"] * 4]
    newlines = size = peak = 0
    with _start(argv, subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), 1 << 20):
            newlines += data.count(b"\n")
            size += len(data)
            peak = max(peak, _peak_of(process.pid))
            time.sleep(0.001)
    assert process.returncode == 0, f"currant ended with {process.returncode}"
    assert newlines == 4 * lines, f"{newlines} lines came"
    assert size == 4 * file.stat().st_size, f"{size} bytes came"
    return {"memory": peak * 1024 / 1e6}


def _peak_of(pid: int) -> int:
    """Return the peak memory of a process in KiB."""
    # We do not use ru_maxrss: it starts with the peak of the process that forked this one.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return max(peaks, default=0)


def _trial(count: int, where: str) -> Trial:
    what = f"currant run: {count} × cat to {where}"

    def rows(_setting: Setting) -> list[Row]:
        targets = TARGETS[where] if count == 4 else {}
        rates = [
            Row(what, "MB/s", "rate", peer, _versus(peer), at_least=targets.get(peer))
            for peer in PEERS
        ]
        if where == "/dev/null":
            return rates
        lost = [
            Row(f"{what}, lost", "lines", "lost", peer, _versus(peer), limit=0) for peer in PEERS
        ]
        return [*rates, *lost]

    sides = {
        name: PlainSide(partial(run, name, count, where), program.requires)
        for name, program in PROGRAMS.items()
    }
    return Trial(what, 5 if count == 4 and where != "a pipe" else 3, sides, rows)


def _versus(peer: str) -> str:
    megabytes = PROGRAMS[peer].megabytes
    name = {"shell": "cat … | cat", "parallel": "GNU parallel --line-buffer --tag"}.get(peer, peer)
    return name if megabytes is None else f"{name}, with {megabytes} MB"


def _memory_rows(setting: Setting) -> list[Row]:
    size = 40 if setting.quick else 400
    what = f"currant run: most memory, {size} MB to a slow reader"
    return [Row(what, "MB", "memory", limit=MOST_MEMORY)]


QUESTION = Question(
    "command_line",
    [
        *(_trial(count, where) for where in ("/dev/null", "a file", "a pipe") for count in COUNTS),
        Trial("memory", 5, {"currant": PlainSide(memory)}, _memory_rows),
    ],
)
