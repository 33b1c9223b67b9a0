"""How fast is `currant map`, and does it stay small, however many values there are?

Five thousand times `true`, sixteen at a time, through `currant.map` and `currant map`, whose
time contains its own start.  The peers are ``xargs -P`` and GNU parallel, which runs 200 commands.

Four commands that each write 100 MB, with the output in a pipe that a loop of `os.read` reads: in
one piece for each command (``--group``), or line by line (``--line``).  The peer is
``cat FILE ... | cat``.  Not a byte may be lost.

A hundred thousand items of `currant.map`, and a million values of `currant map` from a pipe, with
processes that are not real: the peak of the memory, and the processor time of the last tenth
compared with the second.  The million takes about ten minutes.

Ctrl-C while sixteen commands run and a million values wait in a pipe: the time until the program
has ended.  The commands end as soon as they are asked to.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial
from itertools import pairwise
from time import perf_counter, process_time
from typing import TYPE_CHECKING
from unittest.mock import patch

import currant
from benchmarks._measure import LoopSide, PlainSide, Question, Row, Sample, Setting, Trial
from benchmarks.spawn import TRUE, parallel, xargs
from currant.cli._commands import currant as commands
from currant.cli._map import settings
from currant.testing import FakeLauncher

if TYPE_CHECKING:
    from pathlib import Path

    from currant.testing import FakeProcess

AT_A_TIME = 16

OF_XARGS, OF_PARALLEL = 0.8, 4.0
"""The least ratios of our rate to those of the peers."""

OF_CAT = 2.0
"""The most times as long as ``cat FILE ... | cat`` that output by the line may take."""

MOST_MEMORY = 150
"""Megabytes."""

MOST_GROWTH = 1.1

LONGEST_STOP = 200
"""Milliseconds, beyond the grace, which nothing needs here."""

SEQ = shutil.which("seq") or "seq"

QUIETLY = ("--quiet", "--no-progress")

CURRANT_MAP = (sys.executable, "-m", "currant", "map", *QUIETLY)


ITEMS, VALUES = 100_000, 1_000_000


def _count(setting: Setting) -> int:
    return 100 if setting.quick else 5000


def _amount(wanted: int, setting: Setting) -> int:
    return wanted // 100 if setting.quick else wanted


async def library(setting: Setting) -> Sample:
    """Run the commands through `currant.map`."""
    began, count = perf_counter(), 0
    items = range(_count(setting))
    async for _, result in currant.map(TRUE, items, max_processes=AT_A_TIME, capture=False):
        count += result.status == "succeeded"
    assert count == _count(setting)
    return {"rate": count / (perf_counter() - began)}


def command_line(setting: Setting) -> Sample:
    """Run the commands through `currant map`."""
    lines = b"".join(b"%d\n" % number for number in range(_count(setting)))
    began = perf_counter()
    subprocess.run([*CURRANT_MAP, f"-j{AT_A_TIME}", TRUE], input=lines, check=True)
    return {"rate": _count(setting) / (perf_counter() - began)}


def _rates(setting: Setting) -> list[Row]:
    what = f"{_count(setting):,} × true, {AT_A_TIME} at a time"
    return [
        Row(f"{name}: {what}", "commands/s", "rate", peer, versus, ours=side, at_least=least)
        for side, name in (("library", "currant.map"), ("command", "currant map"))
        for peer, versus, least in (
            ("xargs", "xargs -P", OF_XARGS),
            ("parallel", "GNU parallel --jobs", OF_PARALLEL),
        )
    ]


def _file(setting: Setting) -> Path:
    path = setting.folder / "batch-lines"
    size = 1 << 20 if setting.quick else 100_000_000
    if not path.exists():
        line = b"x" * 79 + b"\n"
        path.write_bytes(line * (size // len(line)))
    return path


def _read_all(argv: list[str], expected: int) -> Sample:
    """Run a program, read all that it writes, and return the time."""
    began, total = perf_counter(), 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        while data := os.read(program.stdout.fileno(), 1 << 18):
            total += len(data)
    seconds = perf_counter() - began
    assert total == expected, f"{total} bytes of {expected}"
    assert program.returncode == 0
    return {"seconds": seconds}


def output(option: str, setting: Setting) -> Sample:
    """Show the output of four commands."""
    file = _file(setting)
    argv = [*CURRANT_MAP, option, "-j4", "cat", ":::", *[str(file)] * 4]
    return _read_all(argv, 4 * file.stat().st_size)


def cat(setting: Setting) -> Sample:
    """Copy the same bytes with `cat`."""
    file = _file(setting)
    argv = ["/bin/sh", "-c", 'cat "$@" | cat', "sh", *[str(file)] * 4]
    return _read_all(argv, 4 * file.stat().st_size)


def _output_rows(setting: Setting) -> list[Row]:
    what = f"4 × {_file(setting).stat().st_size // 1_000_000} MB to a pipe"
    peer = "cat … | cat"
    return [
        Row(f"currant map --line: {what}", "s", "seconds", "cat", peer, at_most=OF_CAT),
        Row(f"currant map --group: {what}", "s", "seconds", "cat", peer, ours="group"),
    ]


class _Marking(FakeLauncher):
    """Notes the processor time of this program after each tenth of the starts."""

    def __init__(self, total: int) -> None:
        super().__init__(keep=AT_A_TIME)
        self._left = self._tenth = total // 10
        self._marks = [process_time()]

    async def launch(self, command: currant.Command) -> FakeProcess:
        self._left -= 1
        if not self._left:
            self._left = self._tenth
            self._marks.append(process_time())
        return await super().launch(command)

    def sample(self) -> Sample:
        """Return the milliseconds of a start in the second and the last tenth, and the memory."""
        second, *_, last = [later - earlier for earlier, later in pairwise(self._marks)][1:]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "peak": peak,
            "second": second / self._tenth * 1e3,
            "last": last / self._tenth * 1e3,
        }


async def many(setting: Setting) -> Sample:
    """Map very many items."""
    total = _amount(ITEMS, setting)
    launcher = _Marking(total)
    async for _ in currant.map("x", range(total), max_processes=AT_A_TIME, launcher=launcher):
        pass
    return launcher.sample()


def many_values(setting: Setting) -> Sample:
    """Run ``seq ... | currant map`` in this program."""
    total = _amount(VALUES, setting)
    launcher = _Marking(total)
    with (
        patch.object(settings, "LocalLauncher", return_value=launcher),
        subprocess.Popen([SEQ, str(total)], stdout=subprocess.PIPE) as feeder,
    ):
        assert feeder.stdout is not None
        os.dup2(feeder.stdout.fileno(), 0)
        feeder.stdout.close()
        status = commands.main(["map", *QUIETLY, f"-j{AT_A_TIME}", TRUE], standalone_mode=False)
    assert status == 0
    return launcher.sample()


def _items_rows(setting: Setting) -> list[Row]:
    return _many_rows("currant.map", _amount(ITEMS, setting))


def _values_rows(setting: Setting) -> list[Row]:
    return _many_rows("seq | currant map", _amount(VALUES, setting))


def _many_rows(door: str, total: int) -> list[Row]:
    what = f"{door}: {total:,} items, processes that are not real"
    tenth = f"each of the second {total // 10:,}"
    return [
        Row(f"{what}: peak of the memory", "MB", "peak", limit=MOST_MEMORY),
        Row(
            f"{what}: processor time of each of the last {total // 10:,}",
            "ms",
            "last",
            "currant",
            tenth,
            of="second",
            at_most=MOST_GROWTH,
        ),
    ]


def interrupt(setting: Setting) -> Sample:
    """Press Ctrl-C while a million values wait."""
    values = "1000" if setting.quick else "1000000"
    argv = [*CURRANT_MAP, f"-j{AT_A_TIME}", "--line", "sh", "-c", "echo on; exec sleep 99"]
    with (
        subprocess.Popen([SEQ, values], stdout=subprocess.PIPE) as feeder,
        subprocess.Popen(argv, stdin=feeder.stdout, stdout=subprocess.PIPE) as program,
    ):
        assert feeder.stdout is not None
        assert program.stdout is not None
        feeder.stdout.close()
        for _ in range(AT_A_TIME):
            assert program.stdout.readline() == b"on\n"
        began = perf_counter()
        program.send_signal(signal.SIGINT)
        program.wait()
        return {"stop": (perf_counter() - began) * 1e3}


def _interrupt_rows(setting: Setting) -> list[Row]:
    waiting = "1,000" if setting.quick else "1,000,000"
    what = f"currant map: Ctrl-C with {AT_A_TIME} running and {waiting} waiting"
    return [Row(what, "ms", "stop", limit=LONGEST_STOP)]


QUESTION = Question(
    "batch",
    [
        Trial(
            "commands",
            5,
            {
                "library": LoopSide(library),
                "command": PlainSide(command_line),
                "xargs": PlainSide(partial(xargs, AT_A_TIME), "xargs"),
                "parallel": PlainSide(partial(parallel, AT_A_TIME), "parallel"),
            },
            _rates,
        ),
        Trial(
            "output",
            5,
            {
                "currant": PlainSide(partial(output, "--line")),
                "group": PlainSide(partial(output, "--group")),
                "cat": PlainSide(cat),
            },
            _output_rows,
        ),
        Trial("many items", 1, {"currant": LoopSide(many)}, _items_rows),
        Trial("many values", 1, {"currant": PlainSide(many_values)}, _values_rows),
        Trial("Ctrl-C", 5, {"currant": PlainSide(interrupt)}, _interrupt_rows),
    ],
)
