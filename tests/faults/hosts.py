"""What tools for many hosts leave on the hosts: the matrix again, over ssh.

Each host is a network namespace of this machine with a server of ssh in it, so all processes are
found in ``/proc``.  A cell has a tool run the same command on each host, waits until it is up
everywhere, sends a signal to the tool, and then looks for processes of the command.  The command
carries a mark in its environment.  The tool, ssh and its servers do not, so they are not counted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import pytest

from tests.faults import marked
from tests.faults.cell import START_LIMIT, Pipe, signals_that_end
from tests.faults.kinds import KINDS
from tests.sshd import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.faults.kinds import Kind
    from tests.sshd import Server

__all__ = ["TOOLS", "HostCell", "HostOutcome", "HostTool", "host_table", "main", "run_host_cells"]


EVENTS_OF_HOSTS = ("SIGTERM", "SIGKILL")
KINDS_OF_HOSTS = ("plain", "ignores signals", "setsid")

COUNT = 3
"""How many hosts there are."""

GRACE = 1.0
"""Seconds between the request to stop and SIGKILL, for tools that have such an option."""

WITHIN = 4.0
"""Seconds after the event until a process counts as leftover: the grace, and time to notice."""

SETTLES = 0.5
"""Seconds to wait after all commands are up, which favours the peers."""


@dataclass(frozen=True, slots=True)
class HostTool:
    """A program that runs a command on hosts.

    Attributes:
        name: its name in the report.
        program: the program, which may not be installed.
        arguments: returns its arguments for a command and the addresses of the hosts.
        hosts: the most hosts that it takes.
    """

    name: str
    program: str
    arguments: Callable[[str, Sequence[str]], Sequence[str]]
    hosts: int = COUNT


_RUN_CURRANT = ("-m", "tests.faults.hosts_currant", str(GRACE))

TOOLS = (
    HostTool("ssh", "ssh", lambda command, hosts: [*hosts, command], hosts=1),
    HostTool("ssh -tt", "ssh", lambda command, hosts: ["-tt", *hosts, command], hosts=1),
    HostTool(
        "GNU parallel",
        "parallel",
        lambda command, hosts: [
            *("--will-cite", "--ungroup", "--jobs=1", f"--termseq=TERM,{GRACE * 1000:.0f},KILL,25"),
            *("-S", ",".join(hosts), ":::", *[command] * len(hosts)),
        ],
    ),
    HostTool(
        "clush", "clush", lambda command, hosts: ["--nostdin", "-w", ",".join(hosts), command]
    ),
    HostTool("pdsh", "pdsh", lambda command, hosts: ["-R", "ssh", "-w", ",".join(hosts), command]),
    HostTool("currant", sys.executable, lambda command, hosts: [*_RUN_CURRANT, command, *hosts]),
)
"""The tools, currant last."""


@dataclass(frozen=True, slots=True)
class HostCell:
    """A combination of tool, kind of command and event, the name of a signal that the tool gets."""

    tool: HostTool
    kind: Kind
    event: str

    def __str__(self) -> str:
        return f"{self.tool.name}: {self.kind.name}: {self.event}"


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """The outcome of a cell.

    Attributes:
        started: how many processes there were on the hosts.
        left: how many of them were left.
        problem: why the cell could not be measured; "" if it was.
    """

    started: int = 0
    left: int = 0
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return "broken"
        return f"{self.left} of {self.started}" if self.left else "0"


def main(arguments: Sequence[str]) -> int:
    """Measure all tools, print the table, and return 0 if currant has left nothing."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults --hosts",
        description=f"Count what tools leave on {COUNT} hosts. Needs root, sshd, ip and nsenter.",
    )
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    names = [tool.name for tool in TOOLS]
    parser.add_argument("--tool", action="append", choices=names, help="default: all; repeatable")
    options = parser.parse_args(arguments)
    os.environ.setdefault("CURRANT_TEST", uuid4().hex)  # what servers of ssh give their sessions
    chosen = [tool for tool in TOOLS if not options.tool or tool.name in options.tool]
    installed = [tool for tool in chosen if shutil.which(tool.program) is not None]
    missing = {tool.program for tool in chosen if tool not in installed}
    cells = [
        HostCell(tool, KINDS[kind], event)
        for tool in installed
        for kind in KINDS_OF_HOSTS
        for event in EVENTS_OF_HOSTS
    ]
    with TemporaryDirectory(prefix="currant-faults-") as folder:
        try:
            with namespaces(Path(folder), COUNT) as server:
                outcomes = run_host_cells(cells, server, jobs=options.jobs, show=_show)
        except pytest.skip.Exception as reason:
            sys.exit(f"hosts cannot be measured: {reason}")
    print("\n".join(host_table(outcomes)))
    if missing:
        print(f"\nNot installed: {', '.join(sorted(missing))}.")
    for cell, outcome in outcomes.items():
        if outcome.problem:
            print(f"\n{cell}: {outcome.problem}")
    ours = [outcome for cell, outcome in outcomes.items() if cell.tool.name == "currant"]
    return 0 if all(not (outcome.left or outcome.problem) for outcome in ours) else 1


def _show(line: str) -> None:
    print(line, file=sys.stderr)


def host_table(outcomes: Mapping[HostCell, HostOutcome]) -> Iterator[str]:
    """Yield the lines of a table with a row for each tool."""
    kinds = list(dict.fromkeys(cell.kind for cell in outcomes))
    events = list(dict.fromkeys(cell.event for cell in outcomes))
    yield f"| left after {' / '.join(events)} | {' | '.join(kind.name for kind in kinds)} |"
    yield "|---" * (len(kinds) + 1) + "|"
    for tool in dict.fromkeys(cell.tool for cell in outcomes):
        found = [
            " / ".join(str(outcomes.get(HostCell(tool, kind, event), "–")) for event in events)
            for kind in kinds
        ]
        yield f"| {' | '.join((tool.name, *found))} |"


def run_host_cells(
    cells: Sequence[HostCell],
    server: Server,
    *,
    jobs: int,
    within: float = WITHIN,
    show: Callable[[str], None] = lambda line: None,
) -> dict[HostCell, HostOutcome]:
    """Run cells, and kill the processes that they leave, even if this process is killed.

    Args:
        cells: the cells to run.
        server: the hosts.
        jobs: how many cells run at a time.
        within: seconds after the event until a process counts as leftover.
        show: is called with a line about each cell as soon as its outcome is known.
    """
    outcomes: dict[HostCell, HostOutcome] = {}

    async def run_all(mark: str) -> None:
        limiter = anyio.CapacityLimiter(jobs)
        async with anyio.create_task_group() as tasks:
            for cell in cells:
                tasks.start_soon(run_one, cell, mark, limiter)

    async def run_one(cell: HostCell, mark: str, limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            outcomes[cell] = await _run_cell(cell, server, mark, within)
            show(f"{len(outcomes)} of {len(cells)}: {cell}: {outcomes[cell]}")

    with marked.swept() as mark, signals_that_end():
        anyio.run(run_all, mark)
    return {cell: outcomes[cell] for cell in cells}


async def _run_cell(cell: HostCell, server: Server, run_mark: str, within: float) -> HostOutcome:
    """Run one cell; kill all of its processes at the end, also after an error."""
    mark, mark_of_tool = (f"FAULTS_{name}={uuid4().hex}" for name in ("HOST", "TOOL"))
    addresses = list(server.addresses.values())[: cell.tool.hosts]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="currant-faults-")))
        up = stack.enter_context(Pipe(folder / "up"))
        errors = stack.enter_context(TemporaryFile())
        command = _command(cell.kind, folder, [run_mark, mark, f"FAULTS_UP={up.path}"])
        tool = stack.enter_context(
            subprocess.Popen(  # noqa: ASYNC220 - takes a few ms, and no timing is affected
                [cell.tool.program, *cell.tool.arguments(command, addresses)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_environment(server, folder, [run_mark, mark_of_tool]),
                start_new_session=True,
            )
        )
        stack.callback(marked.end, mark)
        stack.callback(marked.end, mark_of_tool)
        if problem := await _start(tool, up, len(cell.kind.words) * len(addresses)):
            errors.seek(0)
            return HostOutcome(problem=f"{problem}\n{errors.read().decode(errors='replace')}")
        await anyio.sleep(SETTLES)
        started = len(marked.find(mark))
        tool.send_signal(Signals[cell.event])
        return HostOutcome(started, await _count_left(mark, within))


def _command(kind: Kind, folder: Path, variables: Sequence[str]) -> str:
    """Write the script; return the command that runs it on a host, whose files are the same."""
    script = folder / "subject.sh"
    script.write_text(kind.script)
    return shlex.join(["env", *variables, "sh", str(script)])


def _environment(server: Server, folder: Path, marks: Sequence[str]) -> dict[str, str]:
    """Return an environment whose ``ssh`` reaches the hosts without a word."""
    client, path = folder / "ssh", os.environ["PATH"]
    client.write_text(
        f'#!/bin/sh\nPATH={shlex.quote(path)} exec {server.program} -F {server.config} "$@"\n'
    )
    client.chmod(0o755)
    return os.environ | {
        **dict(mark.split("=", 1) for mark in marks),
        "PATH": f"{folder}:{path}",
        "TMPDIR": str(folder),
        "PARALLEL_HOME": str(folder),  # By default, GNU parallel makes a folder in the home.
    }


async def _start(tool: subprocess.Popen[bytes], up: Pipe, count: int) -> str:
    """Wait until the commands have written `count` words; return the problem, or ""."""
    deadline = time.monotonic() + START_LIMIT
    while count > 0:
        count -= len(await up.read())
        if tool.poll() is not None:
            return f"the tool exited with {tool.returncode} before all commands were up"
        if time.monotonic() > deadline:
            return f"never written by the commands: {count} words"
    return ""


async def _count_left(mark: str, within: float) -> int:
    """Search until several searches in a row find no process, or the time is over."""
    deadline = time.monotonic() + within
    clean_looks = 0
    while clean_looks < marked.CLEAN_LOOKS:
        left = len(marked.find(mark))
        if left and time.monotonic() > deadline:
            return left
        clean_looks = 0 if left else clean_looks + 1
        await anyio.sleep(marked.PAUSE)
    return 0
