"""How long does it take to import currant, and to run a command with `currant run`?

All times are those of processes whose modules are compiled, as after an installation.  They run
from before the start of the process until after its exit; each is the median of several, taken in
turn with the others.  The import is the time of ``python -c 'import currant'`` minus that of
``python -c 'import anyio'``; the peer is the time of the latter minus that of ``python -c pass``.

The start is that of ``currant run true``.  The peers do the same: ``honcho run true``, ``honcho
start`` with a Procfile of `true`, ``concurrently true`` and ``parallel true ::: 1``.
"""

from __future__ import annotations

import os
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

PASS = (sys.executable, "-c", "pass")
ANYIO = (sys.executable, "-c", "import anyio")
IMPORT = (sys.executable, "-c", "import currant")
CURRANT = (sys.executable, "-m", "currant", "run", "--quiet", "true")
HONCHO = (sys.executable, "-m", "honcho")


def _medians(*programs: Sequence[str], setting: Setting) -> list[float]:
    """Return the median time of each program in milliseconds; run the programs in turn."""
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(3 if setting.quick else 8):
        for program, taken in zip(programs, times, strict=True):
            taken.append(_milliseconds(program))
    return [median(taken[1:]) for taken in times]  # The first run may have compiled modules.


def _milliseconds(argv: Sequence[str]) -> float:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env, check=True)
    return (perf_counter() - began) * 1e3


def imports(setting: Setting) -> Sample:
    """Run programs that import nothing, anyio and currant."""
    nothing, anyio, currant = _medians(PASS, ANYIO, IMPORT, setting=setting)
    return {"currant": currant - anyio, "anyio": anyio - nothing}


def start(setting: Setting) -> Sample:
    """Run an empty program and `currant run`."""
    nothing, currant = _medians(PASS, CURRANT, setting=setting)
    return {"time": currant, "beyond": currant - nothing}


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
    what, versus = "import currant, beyond import anyio", "import anyio, beyond python -c pass"
    return [Row(what, "ms", "currant", "currant", versus, of="anyio")]


def _start_rows(_setting: Setting) -> list[Row]:
    return [
        Row("currant run true, beyond python -c pass", "ms", "beyond", limit=MOST),
        *(Row("currant run true", "ms", "time", versus, versus) for versus in PEERS),
    ]


IMPORT_SIDES = {"currant": PlainSide(imports)}
START_SIDES = {
    "currant": PlainSide(start),
    **{name: PlainSide(partial(peer, argv), needs) for name, (argv, needs) in PEERS.items()},
}
QUESTION = Question(
    "start",
    [Trial("import", 3, IMPORT_SIDES, _import_rows), Trial("run", 3, START_SIDES, _start_rows)],
)
