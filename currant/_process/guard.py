"""The orphan guard: a tiny helper process that ends the commands if this program dies.

The helper is a shell script, `guard.sh`, in a session of its own; the shell gets the script as
text.  The script reads from a pipe that only this program writes to; the kernel closes that pipe
when this program dies, even by SIGKILL.  Then the script reads the *register*, a file in memory
with a line for each process group.  So a start wakes no other process.

Three things must hold.  A group is registered before anything else is awaited after the start, and
unregistered once, when the group is gone.  No other process has the write end of the pipe: each
exec closes that end, and so does each fork.  The end of the pipe without a final full stop means
that this program died, and nothing else has that meaning.

Rejected: ``PR_SET_PDEATHSIG``, which fires when the *thread* that started a process ends.  A Python
interpreter as the helper, which takes 20 times as long to start and 5 times the memory.
"""

from __future__ import annotations

import os
import pkgutil
import subprocess
import warnings
from contextlib import contextmanager, suppress
from errno import ENOENT
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from currant._system.dispositions import differ_from_default, reset
from currant._system.files import open_file_in_memory
from currant._system.forks import close_in_forks, no_fork, popen
from currant._system.marks import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Generator

    from currant._process.stop import StopSpec

__all__ = ["OrphanGuard"]


SCRIPT = Path(__file__).with_name("guard.sh")
"""The script, which the package's loader reads: within a zip archive it is no file."""

LINE_LENGTH = 32
"""The bytes of each line of the register, the line end included."""

TICKS_PER_SECOND = 10
"""The script's unit of time."""

USUAL_TICKS = 50
"""The ticks of the default grace, which stay: most calls of `run_process` need no others."""

ENDLESS = 10**9
"""A number of ticks that never passes."""


class OrphanGuard:
    """Ends the process groups of a run if this program dies before the guard is closed.

    On Linux the guard also ends all processes that carry the run's mark (see
    `currant._process.escapees`), and all members of a control group.  Before `start`, and if the
    helper cannot be started, the guard does nothing.

    Args:
        run: the run.
        exit_limit: how long `aclose` waits for the exit of the helper, in seconds.
    """

    def __init__(self, run: str, exit_limit: float) -> None:
        self._run = run
        self._parts = count(1)
        self._exit_limit = exit_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._read_end: int | None = None
        self._register: int | None = None
        self._escapee_ticks = 0
        self._lines: dict[int, int] = {}  # the line numbers of the groups
        self._expected: set[int] = set()  # the line numbers of the processes that are being started
        self._free_lines: list[int] = []
        self._line_count = 1  # the first line has the grace of escapees

    def start(self, cgroup: str | None = None) -> None:
        """Start the helper, in about a millisecond.

        Args:
            cgroup: the folder of a control group, which may not exist yet; the guard kills its
                members, and removes it with the groups inside.
        """
        self._escapee_ticks = 0  # The register is new, also if the launcher is used again.
        try:
            script = _read_script()
            with no_fork:
                self._read_end, self._pipe = os.pipe()
                self._register = open_file_in_memory("currant-guard")
                close_in_forks(self)
            self._process = popen(
                ["/bin/sh", "-c", script, "currant-guard", self._run, cgroup or ""],
                reset if differ_from_default() else None,
                stdin=self._read_end,
                stdout=self._register,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            self._close_files()
            _warn(f"could not be started ({error})")
        finally:
            self._close_read_end()

    @property
    def is_alive(self) -> bool:
        """Whether the helper runs."""
        return self._process is not None and self._process.poll() is None

    def part_of_run(self) -> str:
        """Return a new run, whose processes the guard ends along with those of its own run."""
        return f"{self._run}.{next(self._parts)}"

    def raise_escapee_grace(self, grace: float) -> None:
        """Give escapees at least `grace` seconds to end.

        To be called before a process is started: until the group is registered, the guard treats
        the process as an escapee.
        """
        ticks = _ticks(grace)
        if ticks > self._escapee_ticks:
            self._escapee_ticks = ticks
            self._write(0, f"= {ticks}")

    def lower_escapee_grace(self) -> None:
        """Forget a long grace of escapees, if no group is registered."""
        if not self._lines and self._escapee_ticks > USUAL_TICKS:
            self._escapee_ticks = 0
            self._write(0, "")

    @contextmanager
    def expecting(self, run: str) -> Generator[int]:
        """Have the guard wait for the exec of a process that is being started in the block.

        Until its exec, such a process has neither a registered group nor a mark, and it outlives
        this program.

        Args:
            run: the run of the process, which may be another one.

        Yields:
            The line of the register for the group of the process.
        """
        number = self._take_line()
        self._write(number, f"? {run}")
        self._expected.add(number)
        try:
            yield number
        finally:
            if number in self._expected:
                self._expected.remove(number)
                self._free(number)

    def register(self, group: int, spec: StopSpec, line: int | None = None) -> None:
        """Have the guard end a process group if this program dies.

        Args:
            group: the number of the group.
            spec: how to end it.
            line: the line of `expecting`, which needs no more room; None: another line.
        """
        self._lines[group] = number = self._take_line() if line is None else line
        mode = "" if spec.kill_mode == "group" else f" {spec.kill_mode}"
        self._write(number, f"{group} {spec.signal} {_ticks(spec.grace)}{mode}")
        self._expected.discard(number)

    def unregister(self, group: int) -> None:
        """Have the guard forget a process group, which is gone; it may not be registered."""
        if (number := self._lines.pop(group, None)) is not None:
            self._free(number)

    async def aclose(self) -> None:
        """Ask the helper to exit, and wait for that.

        Cancellation: the helper is killed.
        """
        if (process := self._process) is not None:
            with self._exit_of(process), anyio.move_on_after(self._exit_limit):
                while process.poll() is None:  # noqa: ASYNC110 - no event loop watches it
                    await anyio.sleep(0.001)

    def close(self) -> None:
        """Do the same as `aclose`, and block the event loop meanwhile: for a millisecond or two."""
        if (process := self._process) is not None:
            with self._exit_of(process), suppress(subprocess.TimeoutExpired):
                process.wait(self._exit_limit)

    @contextmanager
    def _exit_of(self, process: subprocess.Popen[bytes]) -> Generator[None]:
        """Ask the helper to exit, have the caller wait for that, and kill a helper that did not."""
        exited_early = process.poll() is not None
        self._ask_to_exit()
        try:
            yield
        finally:
            process.kill()  # does nothing after an exit
            process.wait()
        if exited_early:
            _warn("exited before it was asked to; another process may have killed it")

    def close_in_fork(self) -> None:
        """Close the pipe in a fork, which may outlive this program, and forget the helper."""
        if self._process is not None:
            self._process.returncode = 0  # It is no child of the fork.
            self._process = None
        self._close_files()
        self._close_read_end()

    def _ask_to_exit(self) -> None:
        if self._pipe is not None:
            with suppress(BrokenPipeError):  # The helper is gone.
                os.write(self._pipe, b".\n")
        self._close_files()

    def _take_line(self) -> int:
        if self._free_lines:
            return self._free_lines.pop()
        self._line_count += 1
        return self._line_count - 1

    def _free(self, number: int) -> None:
        self._write(number, "")
        self._free_lines.append(number)

    def _write(self, number: int, line: str) -> None:
        """Write a line of the register: a single call, so that the line is never half written."""
        if self._register is not None:
            text = line.encode().ljust(LINE_LENGTH - 1) + b"\n"
            os.pwrite(self._register, text, number * LINE_LENGTH)

    def _close_files(self) -> None:
        with no_fork:
            for file in (self._pipe, self._register):
                if file is not None:
                    os.close(file)
            self._pipe = self._register = None

    def _close_read_end(self) -> None:
        with no_fork:
            if self._read_end is not None:
                os.close(self._read_end)
                self._read_end = None


def _read_script() -> str:
    """Return the text of the script.

    Not through `importlib.resources`, because importing that takes several milliseconds.

    Raises:
        OSError: the package was installed without the script.
    """
    script = pkgutil.get_data("currant._process", SCRIPT.name)
    if script is None:
        raise FileNotFoundError(ENOENT, "the loader of currant._process cannot read", SCRIPT.name)
    return script.decode()


def _environment() -> dict[str, str]:
    """Return as few variables as a shell needs, because others may change how the script runs.

    They include the mark of an outer Runner, so that the outer Runner finds the helper.
    """
    inherited = {name: os.environ[name] for name in ("PATH", VARIABLE) if name in os.environ}
    return inherited | {"LC_ALL": "C"}


def _ticks(seconds: float) -> int:
    return ENDLESS if seconds * TICKS_PER_SECOND >= ENDLESS else ceil(seconds * TICKS_PER_SECOND)


def _warn(problem: str) -> None:
    warnings.warn(
        f"currant's orphan guard {problem}: if this program is killed, its commands keep running",
        RuntimeWarning,
        stacklevel=2,
    )
