"""How long does it take to import currant, to run a command, and to start a configuration?

All times are those of processes whose modules are compiled, as after an installation.  They run
from before the start of the process until after its exit; each is the median of several, taken in
turn with the others.

The import is that of a Runner, in a program that runs an event loop of anyio: the time of this
program minus that of the same program without a Runner.  The peer is the time of the latter minus
that of ``python -c pass``.  ``import currant`` and ``import anyio`` by themselves say nothing:
both import their modules when their names are first used.

The start of one command is that of ``currant run true``.  The peers do the same: ``honcho run
true``, ``honcho start`` with a Procfile of `true`, ``concurrently true`` and ``parallel true :::
1``.  The start of a configuration is that of ``currant start``, for 20 commands that end at once.
The peer is a program with a Runner of the same commands.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks._measure import PlainSide, Question, Row, Sample, Setting, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 250
"""Milliseconds that `currant run true` may take in addition to the start of the interpreter."""

AT_MOST = {"honcho run true": 1.0}
"""The targets for `currant run true`, as a ratio to each peer."""

COMMANDS = 20
"""The commands of a configuration."""

PASS = (sys.executable, "-c", "pass")
LOOP = (sys.executable, "-c", "import anyio; anyio.run(anyio.sleep, 0)")
IMPORT = (
    sys.executable,
    "-c",
    "from currant import Runner; import anyio; anyio.run(anyio.sleep, 0)",
)
CURRANT = (sys.executable, "-m", "currant", "run", "--quiet", "true")
START = (sys.executable, "-m", "currant", "start", "--quiet")
RUNNER = """
import anyio
from currant import Command, Runner

async def main():
    commands = {f"c{number}": Command.shell("true") for number in range(COMMANDS)}
    async with Runner(commands) as runner:
        await runner.join()

anyio.run(main)
""".replace("COMMANDS", str(COMMANDS))
"""A program that runs the commands of the configuration."""
HONCHO = (sys.executable, "-m", "honcho")


def _medians(*programs: Sequence[str], setting: Setting) -> list[float]:
    """Return the median time of each program in milliseconds; run the programs in turn."""
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(3 if setting.quick else 8):
        for program, taken in zip(programs, times, strict=True):
            taken.append(_milliseconds(program))
    return [median(taken[1:]) for taken in times]  # The first run may have compiled modules.


def _milliseconds(argv: Sequence[str]) -> float:
    began = perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return (perf_counter() - began) * 1e3


def imports(setting: Setting) -> Sample:
    """Run an empty program, one with an event loop, and one that imports a Runner, too."""
    nothing, loop, currant = _medians(PASS, LOOP, IMPORT, setting=setting)
    return {"currant": currant - loop, "anyio": loop - nothing}


def start(setting: Setting) -> Sample:
    """Run an empty program and `currant run`."""
    nothing, currant = _medians(PASS, CURRANT, setting=setting)
    return {"time": currant, "beyond": currant - nothing}


def configuration(setting: Setting) -> Sample:
    """Run `currant start` with a configuration, and a program with the same commands."""
    lines = [f'c{number} = "true"\n' for number in range(COMMANDS)]
    file = setting.folder / "currant.toml"
    file.write_text(f"[commands]\n{''.join(lines)}")
    programs = (*START, "-f", str(file)), (sys.executable, "-c", RUNNER)
    start, runner = _medians(*programs, setting=setting)
    return {"start": start, "runner": runner}


def peer(argv: Sequence[str], setting: Setting) -> Sample:
    """Run a peer; the word ``PROCFILE`` in its arguments stands for the path of a Procfile."""
    procfile = setting.folder / "Procfile"
    procfile.write_text("true: true\n")
    program = [str(procfile) if word == "PROCFILE" else word for word in argv]
    return {"time": _medians(program, setting=setting)[0]}


PEERS = {
    "honcho run true": ((*HONCHO, "run", "true"), "honcho"),
    "honcho start": ((*HONCHO, "--procfile", "PROCFILE", "start"), "honcho"),
    "concurrently true": (("concurrently", "true"), "concurrently"),
    "parallel true ::: 1": (("parallel", "--will-cite", "true", ":::", "1"), "parallel"),
}


def _import_rows(_setting: Setting) -> list[Row]:
    what = "import a Runner, beyond an event loop of anyio"
    versus = "an event loop of anyio, beyond python -c pass"
    return [Row(what, "ms", "currant", "currant", versus, of="anyio", at_most=1.6)]


def _start_rows(_setting: Setting) -> list[Row]:
    return [
        Row("currant run true, beyond python -c pass", "ms", "beyond", limit=MOST),
        *(
            Row("currant run true", "ms", "time", peer, peer, at_most=AT_MOST.get(peer))
            for peer in PEERS
        ),
    ]


def _configuration_rows(_setting: Setting) -> list[Row]:
    what, versus = (
        f"currant start, {COMMANDS} commands of currant.toml",
        "the same Runner in Python",
    )
    return [Row(what, "ms", "start", "currant", versus, of="runner", at_most=1.5)]


IMPORT_SIDES = {"currant": PlainSide(imports)}
START_SIDES = {
    "currant": PlainSide(start),
    **{name: PlainSide(partial(peer, argv), needs) for name, (argv, needs) in PEERS.items()},
}
CONFIGURATION_SIDES = {"currant": PlainSide(configuration)}
QUESTION = Question(
    "start",
    [
        Trial("import", 3, IMPORT_SIDES, _import_rows),
        Trial("run", 3, START_SIDES, _start_rows),
        Trial("configuration", 3, CONFIGURATION_SIDES, _configuration_rows),
    ],
)
