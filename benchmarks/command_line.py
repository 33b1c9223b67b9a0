"""How fast does `currant run` pass output on, does all of it arrive, and what memory does it take?

One command and four, each `cat` of a file with lines of 79 bytes, with stdout at ``/dev/null``, a
file or a pipe, which is read by a loop of `os.read`.  Measured from before the program is started
until it has ended and, for a pipe, its last byte has been read; the rate counts the bytes of the
commands, not the prefixes.  The lines lost are those that were written and did not arrive.

The peers: ``cat FILE ... | cat``, which marks no line, concurrently, honcho (with a Procfile), and
GNU parallel with ``--line-buffer --tag``.  Those that are slower are given fewer bytes, and one
that does not end within 20 seconds is cut off: the rate is then that of what had arrived, and for
``/dev/null``, where nobody counts, the most that it can have been.

The memory is the peak of currant's process while a pipe is read that takes a pause after each
megabyte; there no byte may be missing.
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
"""What each line of a command ends with, and what is nowhere in the lines that programs add."""

PATIENCE = 20.0
"""Seconds until a program is cut off."""

MOST_MEMORY = 64
"""Megabytes that currant may have at any time."""

CURRANT = (sys.executable, "-m", "currant", "run", "--quiet")


@dataclass(frozen=True, slots=True)
class Program:
    """One of the programs that are compared.

    Attributes:
        argv: makes its arguments, from a folder, and the file and the number of the commands.
        megabytes: what all commands write together; None: 100 MB each.
        requires: without what it is skipped.
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
    """Return a file of that size, and how many lines it has."""
    lines = int(megabytes * 1e6) // len(LINE % 0) // (10 if setting.quick else 1)
    file = setting.folder / f"{lines}-of-79.txt"
    if not file.exists():
        with file.open("wb") as out:
            out.writelines(LINE % number for number in range(lines))
    return file, lines


def run(name: str, count: int, where: str, setting: Setting) -> Sample:
    """Run one program once, with its output going where it is to go."""
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
    """Return how long a program takes, and whether it was cut off."""
    began = perf_counter()
    with _start(argv, out) as process:
        try:
            process.wait(PATIENCE)
            return perf_counter() - began, False
        except subprocess.TimeoutExpired:
            _end(process)
            return PATIENCE, True


def _into_a_pipe(argv: list[str], _setting: Setting) -> tuple[int, float, bool]:
    began = perf_counter()
    with _start(argv, subprocess.PIPE) as process:
        assert process.stdout is not None
        chunks = _read(process.stdout.fileno(), began + PATIENCE)
        lines = sum(chunk.count(END) for chunk in chunks)
        seconds = perf_counter() - began
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, PATIENCE - seconds))
            return lines, perf_counter() - began, False
        _end(process)
        return lines, PATIENCE, True


def _read(fd: int, deadline: float) -> Iterable[bytes]:
    """Read until there is no more, or it is too late."""
    while select.select([fd], [], [], max(0.0, deadline - perf_counter()))[0]:
        data = os.read(fd, 1 << 20)
        if not data:
            return
        yield data


def _start(argv: list[str], stdout: BinaryIO | int) -> subprocess.Popen[bytes]:
    """Start a program whose modules are compiled, as after an installation."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=stdout, env=env, start_new_session=True
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def memory(setting: Setting) -> Sample:
    """Read the output of four commands slowly; every line has to arrive."""
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
    """Return the most KiB that a process has had so far."""
    # Not ru_maxrss: that begins with the peak of the process that we were forked from.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return max(peaks, default=0)


def _trial(count: int, where: str) -> Trial:
    what = f"currant run: {count} × cat to {where}"

    def rows(_setting: Setting) -> list[Row]:
        targets = {"shell": 1 / 3, "parallel": 4, "honcho": 50} if where == "/dev/null" else {}
        if where == "a file":
            targets["concurrently"] = 1
        if count != 4:
            targets.clear()
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
