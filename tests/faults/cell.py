"""One cell of the matrix: start a tool, wait until all is up, cause an event, see what is left."""

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

__all__ = ["EVENTS", "LEEWAY", "Cell", "Outcome", "run_cells"]

EVENTS: dict[str, str | Signals] = {
    "another fails": "fail",
    "cancel": "cancel",
    "exception": "raise",
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
    "SIGHUP": signal.SIGHUP,
    "SIGKILL": signal.SIGKILL,
}
"""What happens: the word that the other command is told, or the signal that the tool gets."""

NEEDS_A_PROGRAM = frozenset({"cancel", "exception"})
"""Events that a command-line tool does not know."""

LEEWAY = 1.0
"""Seconds on top of a tool's grace until what is there counts as left."""

START_LIMIT = 60.0
"""Seconds that a tool and its commands have to be up; far more than they need."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A tool that runs a kind of command while something happens."""

    tool: Tool
    kind: Kind
    event: str

    def __str__(self) -> str:
        return f"{self.tool.name}: {self.kind.name}: {self.event}"

    @property
    def has_meaning(self) -> bool:
        """Whether this can happen to that tool."""
        return self.tool.is_program or self.event not in NEEDS_A_PROGRAM


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a cell.

    Attributes:
        seconds: how long after the event the last process was gone; None: it was not.
        left: the command lines of those that were left, by number.
        problem: why it could not be measured.
    """

    seconds: float | None = None
    left: tuple[tuple[int, str], ...] = ()
    problem: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was left."""
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
    tell: Callable[[str], None] = lambda line: None,
) -> dict[Cell, Outcome]:
    """Run cells, `jobs` of them at a time, and end whatever they leave, also where this is ended.

    Args:
        cells: what to run.
        jobs: how many at a time.
        limit: seconds after the event until what is there counts as left; None: the tool's grace
            and a second.
        tell: is called with each cell's outcome as soon as that is known.
    """
    outcomes: dict[Cell, Outcome] = {}
    with marked.swept() as mark, _signals_that_end():
        anyio.run(_run_all, cells, jobs, limit, mark, outcomes, tell)
    return {cell: outcomes[cell] for cell in cells}


@contextmanager
def _signals_that_end() -> Iterator[None]:
    """Have the signals of the matrix end this program like a Ctrl-C.

    And have the tools start with none of them ignored, as below ``nohup`` or a shell's ``&``.
    """
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in asked}
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
    tell: Callable[[str], None],
) -> None:
    limiter = anyio.CapacityLimiter(jobs)

    async def run_one(cell: Cell) -> None:
        async with limiter:
            within = cell.tool.grace + LEEWAY if limit is None else limit
            outcomes[cell] = await _run_cell(cell, mark, within)
            tell(f"{len(outcomes)} of {len(cells)}: {cell}: {outcomes[cell]}")

    async with anyio.create_task_group() as tasks:
        for cell in cells:
            tasks.start_soon(run_one, cell)


async def _run_cell(cell: Cell, run_mark: str, limit: float) -> Outcome:
    """Run one cell; however this is left, nothing of it is."""
    mark = f"FAULTS_CELL={uuid4().hex}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="currant-faults-")))
        up, trigger = (stack.enter_context(_Pipe(folder / name)) for name in ("up", "trigger"))
        errors = stack.enter_context(TemporaryFile())
        variables = dict(pair.split("=", 1) for pair in (run_mark, mark)) | {
            "FAULTS_UP": str(up.path),
            "FAULTS_TRIGGER": str(trigger.path),
            "TMPDIR": str(folder),
            "PARALLEL_HOME": str(folder),  # or it makes a folder in the user's home
        }
        host = stack.enter_context(
            subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds, of nobody's time
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
        return await _see_what_is_left(mark, known, began, limit)


def _command_line(cell: Cell, folder: Path) -> list[str]:
    """Write the scripts, and return the command line of the tool that runs them."""
    commands: dict[str, str] = {}
    for name, kind in (("subject", cell.kind), ("other", OTHER)):
        script = folder / f"{name}.sh"
        script.write_text(kind.script)
        commands[name] = shlex.join(["sh", str(script)])
    lines = [f"{name}: exec {command}\n" for name, command in commands.items()]
    (folder / "Procfile").write_text("".join(lines))
    return [word.format(folder=folder, **commands) for word in cell.tool.argv]


async def _start(cell: Cell, host: subprocess.Popen[bytes], up: _Pipe, mark: str) -> str:
    """Wait until all is up; return what is wrong, if anything is."""
    missing = cell.kind.words | OTHER.words
    deadline = time.monotonic() + START_LIMIT
    while missing:
        missing -= await up.read()
        if host.poll() is not None:
            return f"the tool ended with {host.returncode} before all was up"
        if time.monotonic() > deadline:
            return f"never said: {', '.join(missing)}"
    if host.pid not in marked.find(mark):
        return "the tool does not show its environment, so nothing can be found by it"
    return ""


async def _see_what_is_left(
    mark: str, known: dict[int, str], began: float, limit: float
) -> Outcome:
    """Look until nobody is found, several times in a row, or the time is over."""
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


class _Pipe:
    """A named pipe, open at this end for both, so that nobody's opening has to wait."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def __enter__(self) -> Self:
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)

    async def read(self) -> set[str]:
        """Return the words that were written, waiting for them for a tenth of a second."""
        with anyio.move_on_after(0.1):
            await anyio.wait_readable(self._fd)
            return set(os.read(self._fd, 65536).decode().split())
        return set()

    def write(self, word: str) -> None:
        """Write one line."""
        os.write(self._fd, f"{word}\n".encode())
