"""One cell of the matrix: start a tool, wait until it is up, cause an event, find the leftovers."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio

from tests.faults import marked
from tests.faults.kinds import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from tests.faults.kinds import Kind
    from tests.faults.tools import Tool

__all__ = [
    "EVENTS",
    "LEEWAY",
    "START_LIMIT",
    "Cell",
    "Outcome",
    "Pipe",
    "run_cells",
    "signals_that_end",
]

EVENTS: dict[str, str | Signals] = {
    "another fails": "fail",
    "cancel": "cancel",
    "exception": "raise",
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
    "SIGHUP": signal.SIGHUP,
    "SIGKILL": signal.SIGKILL,
}
"""The event: a word that the other command receives, or a signal that the tool receives."""

NEEDS_A_PROGRAM = frozenset({"cancel", "exception"})
"""Events that need a program with a cancel scope; a command-line tool has none."""

LEEWAY = 1.0
"""Seconds after the tool's grace until a process counts as leftover."""

START_LIMIT = 60.0
"""Seconds until a tool and its commands must be up; far more than they need."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A combination of tool, kind of command and event."""

    tool: Tool
    kind: Kind
    event: str

    def __str__(self) -> str:
        return f"{self.tool.name}: {self.kind.name}: {self.event}"

    @property
    def has_meaning(self) -> bool:
        """Whether the event can happen to the tool."""
        return self.tool.is_program or self.event not in NEEDS_A_PROGRAM


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a cell.

    Attributes:
        seconds: time from the event until the last process was gone; None if one was left.
        left: PID and command line of each leftover process.
        problem: why the cell could not be measured; "" if it was.
    """

    seconds: float | None = None
    left: tuple[tuple[int, str], ...] = ()
    problem: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether no process was left."""
        return self.seconds is not None

    def __str__(self) -> str:
        if self.problem:
            return "broken"
        return f"left {len(self.left)}" if self.seconds is None else f"{self.seconds:.2f}"


def run_cells(
    cells: Sequence[Cell],
    *,
    jobs: int,
    limit: float | None = None,
    show: Callable[[str], None] = lambda line: None,
) -> dict[Cell, Outcome]:
    """Run cells, and kill the processes that they leave, even if this process is killed.

    Args:
        cells: the cells to run.
        jobs: how many cells run at a time.
        limit: seconds after the event until a process counts as leftover; None: the tool's grace
            plus `LEEWAY`.
        show: is called with a line about each cell as soon as its outcome is known.
    """
    outcomes: dict[Cell, Outcome] = {}
    with marked.swept() as mark, signals_that_end():
        anyio.run(_run_all, cells, jobs, limit, mark, outcomes, show)
    return {cell: outcomes[cell] for cell in cells}


@contextmanager
def signals_that_end() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end this program as Ctrl-C does.

    This also makes sure that the tools inherit no ignored signal: ``nohup`` and a shell's ``&``
    ignore some of them.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _run_all(
    cells: Sequence[Cell],
    jobs: int,
    limit: float | None,
    mark: str,
    outcomes: dict[Cell, Outcome],
    show: Callable[[str], None],
) -> None:
    limiter = anyio.CapacityLimiter(jobs)

    async def run_one(cell: Cell) -> None:
        async with limiter:
            within = cell.tool.grace + LEEWAY if limit is None else limit
            outcomes[cell] = await _run_cell(cell, mark, within)
            show(f"{len(outcomes)} of {len(cells)}: {cell}: {outcomes[cell]}")

    async with anyio.create_task_group() as tasks:
        for cell in cells:
            tasks.start_soon(run_one, cell)


async def _run_cell(cell: Cell, run_mark: str, limit: float) -> Outcome:
    """Run one cell; kill all of its processes at the end, also after an error."""
    mark = f"FAULTS_CELL={uuid4().hex}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="currant-faults-")))
        up, trigger = (stack.enter_context(Pipe(folder / name)) for name in ("up", "trigger"))
        errors = stack.enter_context(TemporaryFile())
        variables = dict(pair.split("=", 1) for pair in (run_mark, mark)) | {
            "FAULTS_UP": str(up.path),
            "FAULTS_TRIGGER": str(trigger.path),
            "TMPDIR": str(folder),
            "PARALLEL_HOME": str(folder),  # By default, GNU parallel makes a folder in the home.
        }
        host = stack.enter_context(
            subprocess.Popen(  # noqa: ASYNC220 - takes a few ms, and no timing is affected
                _command_line(cell, folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | variables,
                start_new_session=True,
            )
        )
        stack.callback(marked.end, mark)
        if problem := await _start(cell, host, up, mark):
            errors.seek(0)
            return Outcome(problem=f"{problem}\n{errors.read().decode(errors='replace')}")
        await anyio.sleep(cell.tool.settles)
        known = marked.descendants(host.pid)
        began = time.monotonic()
        match EVENTS[cell.event]:
            case Signals() as sent:
                host.send_signal(sent)
            case word:
                trigger.write(word)
        return await _find_leftovers(mark, known, began, limit)


def _command_line(cell: Cell, folder: Path) -> list[str]:
    """Write the scripts; return the command line of the tool that runs them."""
    commands: dict[str, str] = {}
    for name, kind in (("subject", cell.kind), ("other", OTHER)):
        script = folder / f"{name}.sh"
        script.write_text(kind.script)
        commands[name] = shlex.join(["sh", str(script)])
    lines = [f"{name}: exec {command}\n" for name, command in commands.items()]
    (folder / "Procfile").write_text("".join(lines))
    return [word.format(folder=folder, **commands) for word in cell.tool.argv]


async def _start(cell: Cell, host: subprocess.Popen[bytes], up: Pipe, mark: str) -> str:
    """Wait until both commands are up; return the problem, or "" if there is none."""
    missing = cell.kind.words | OTHER.words
    deadline = time.monotonic() + START_LIMIT
    while missing:
        missing -= set(await up.read())
        if host.poll() is not None:
            return f"the tool exited with {host.returncode} before all commands were up"
        if time.monotonic() > deadline:
            return f"never written by the commands: {', '.join(missing)}"
    if host.pid not in marked.find(mark):
        return "the environment of the tool cannot be read, so its processes cannot be found"
    return ""


async def _find_leftovers(mark: str, known: dict[int, str], began: float, limit: float) -> Outcome:
    """Search until several searches in a row find no process, or the time is over."""
    clean_looks: list[float] = []
    while len(clean_looks) < marked.CLEAN_LOOKS:
        left = marked.still_there(known) | marked.find(mark)
        seconds = time.monotonic() - began
        if not left:
            clean_looks.append(seconds)
        elif seconds > limit:
            return Outcome(left=tuple(left.items()))
        else:
            clean_looks.clear()
        await anyio.sleep(marked.PAUSE)
    return Outcome(seconds=clean_looks[0])


class Pipe:
    """A named pipe, open here for reading and writing, so that opening it blocks no process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def __enter__(self) -> Self:
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)

    async def read(self) -> list[str]:
        """Return the words that were written; wait at most a tenth of a second for them."""
        with anyio.move_on_after(0.1):
            await anyio.wait_readable(self._fd)
            return os.read(self._fd, 65536).decode().split()
        return []

    def write(self, word: str) -> None:
        """Write one line."""
        os.write(self._fd, f"{word}\n".encode())
