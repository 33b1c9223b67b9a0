"""Checks of a running process: readiness, liveness, the time limit and the limit of silence.

A `Health` reports to the attempt, and stops nothing.  Only a command with a probe or a time limit
needs a task.

A readiness line counts even if the process exits right after writing the line.  So the checks may
go on after the exit, until all output has been read.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio.lowlevel import checkpoint

from currant._process.exchange import exchange
from currant._process.launcher import Examiner, Exchanger
from currant._supervisor.side_commands import command_beside, name_of_probes, run_beside
from currant._synchronization import start_task
from currant._system.file_states import FileStates
from currant._values.errors import NotReadyError, TimeLimitError, UnresponsiveError
from currant._values.probe import ALIVE_INTERVAL, InUse

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from currant._channel.output import Output
    from currant._process.launcher import Launcher, Process
    from currant._supervisor.outcome import Readiness
    from currant._synchronization import Notifier
    from currant._values.command import Command
    from currant._values.errors import CurrantError
    from currant._values.exchange import Answer, FileState, Request
    from currant._values.exit import Exit
    from currant._values.probe import LineProbe, Probe, ProbeCommand

__all__ = ["Health", "has_checks"]


def has_checks(command: Command) -> bool:
    """Return whether a process of `command` is checked while it runs."""
    checks = (command.ready, command.alive, command.timeout, command.idle_timeout)
    return checks != (None, None, None, None)


class HealthListener(Protocol):
    """An attempt, as its checks see it."""

    def on_ready(self, after: float) -> None:
        """React to readiness, so many seconds after the start."""

    def on_fault(self, fault: CurrantError) -> None:
        """Fail because of `fault`."""


class Health:
    """The readiness of one attempt, and the checks that determine it.

    Args:
        command: the command.
        launcher: starts the commands of probes.
        output: the output of the attempt.
        change: is notified when the readiness changes.
        listener: the attempt, which is told of readiness and faults.

    Attributes:
        readiness: whether the attempt is ready, may become so by the checks, or will not.
        ready_at: when the attempt became ready, on the event loop's clock; inf before.
        passed_at: when a check was passed last: of liveness, of silence, or of readiness before.
    """

    __slots__ = (
        "_change",
        "_command",
        "_launcher",
        "_listener",
        "_output",
        "_scope",
        "_target",
        "passed_at",
        "readiness",
        "ready_at",
    )

    def __init__(
        self,
        command: Command,
        launcher: Launcher,
        output: Output,
        change: Notifier,
        listener: HealthListener,
    ) -> None:
        self.readiness: Readiness = "missed"
        self.ready_at: float = inf
        self.passed_at: float = -inf
        self._command = command
        self._launcher = launcher
        self._output = output
        self._change = change
        self._listener = listener
        self._scope: anyio.CancelScope | None = None  # of the checks, while there are any
        self._target: _Target | None = None  # of the checks, once there are any

    @property
    def why_unready(self) -> str | None:
        """What a probe that is not met has found last; None if no check has failed."""
        failure = None if self._target is None else self._target.failure
        return None if failure is None else _text_of(failure)

    def start(self, process: Process, tasks: TaskGroup, *, is_stopped: bool) -> None:
        """Begin the checks of `process`, in `tasks`; a process that is being stopped has none."""
        if self._command.ready is None:
            self._set("ready")
        if has_checks(self._command) and not is_stopped:
            self._scope = anyio.CancelScope()
            if self.readiness == "missed":
                self._set("pending")
            start_task(tasks, self._check, process, self._scope)

    def cancel(self) -> None:
        """End the checks; an attempt that is not ready will not become so."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None
        self._set("missed" if self.readiness == "pending" else self.readiness)

    def leader_exited(self, tasks: TaskGroup, timeout: float) -> None:
        """End the checks, or if a readiness line may be unread, let them see the last lines.

        Args:
            tasks: the task group of the attempt; `readiness` is final when the group has ended.
            timeout: seconds in which a probe with several parts reacts to a line.
        """
        ready = self._command.ready
        if self.readiness == "pending" and ready is not None and ready.line_probes:
            start_task(tasks, self._check_last_lines, timeout)
        else:
            self.cancel()

    async def _check_last_lines(self, seconds: float) -> None:
        await self._output.ended()
        if self._output.matched:
            with anyio.move_on_after(seconds):
                await self._change.wait_for(lambda: self.readiness != "pending")
        self.cancel()

    def _set(self, readiness: Readiness) -> None:
        if readiness == "ready" and self.readiness != "ready":
            self.ready_at = self.passed_at = anyio.current_time()
        self.readiness = readiness
        self._change.notify_all()

    async def _check(self, process: Process, scope: anyio.CancelScope) -> None:
        target = _Target(self._command, process, self._launcher, self._output)
        self._target = target
        with scope:
            async with anyio.create_task_group() as tasks:
                if self._command.timeout is not None:
                    start_task(tasks, self._limit_time, self._command.timeout)
                if self._command.idle_timeout is not None:
                    start_task(tasks, self._limit_silence, self._command.idle_timeout)
                ready, alive = self._command.ready, self._command.alive
                is_ready = ready is None or await self._becomes_ready(ready, target)
                if is_ready and alive is not None:
                    await self._stays_alive(alive, target)
        self.cancel()

    async def _limit_time(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        await checkpoint()  # If the event loop was busy, the process may have exited in time.
        self._listener.on_fault(TimeLimitError(self._command.name, seconds))

    async def _limit_silence(self, seconds: float) -> None:
        silence = self._output.silence
        assert silence is not None
        await silence.wait(seconds)
        self.passed_at = silence.since
        self._listener.on_fault(TimeLimitError(self._command.name, seconds, "idle"))

    async def _becomes_ready(self, probe: Probe, target: _Target) -> bool:
        began = anyio.current_time()
        problem = await probe.wait_until_met(target)
        after = anyio.current_time() - began
        if problem is None:
            if self._scope is not None:  # else the checks ended in this moment
                self._set("ready")
                self._listener.on_ready(after)
            return True
        within = (
            "cannot be met" if isinstance(problem, InUse) else f"was not met within {after:.2f} s"
        )
        reason = f"its probe {within} ({_text_of(problem)})"
        error = NotReadyError(self._command.name, reason, self._output.tail)
        error.__cause__ = problem
        self._listener.on_fault(error)
        return False

    async def _stays_alive(self, probe: Probe, target: _Target) -> None:
        failures = 0
        while True:
            await anyio.sleep(ALIVE_INTERVAL if probe.interval is None else probe.interval)
            problem = await probe.check_once(target)
            if problem is None:
                failures, self.passed_at = 0, anyio.current_time()
                continue
            failures += 1
            if failures == self._command.failure_threshold:
                error = UnresponsiveError(self._command.name, failures, _text_of(problem))
                error.__cause__ = problem
                self._listener.on_fault(error)
                return


class _Target:
    """The `ProbeTarget` of one process."""

    __slots__ = ("_command", "_failures", "_launcher", "_output", "_process")

    def __init__(
        self, command: Command, process: Process, launcher: Launcher, output: Output
    ) -> None:
        self._command = command
        self._process = process
        self._launcher = launcher
        self._output = output
        self._failures: dict[int, Exception] = {}  # of probes that are not met, by their identity

    def note(self, probe: Probe, failure: Exception | None) -> None:
        """Keep why a probe is not met; None: it is met."""
        self._failures.pop(id(probe), None)
        if failure is not None:
            self._failures[id(probe)] = failure  # the newest is the last

    @property
    def failure(self) -> Exception | None:
        """The failure of a probe that is not met, the newest if there are several."""
        return next(reversed(self._failures.values()), None)

    async def line(self, probe: LineProbe) -> None:
        """Wait for a line that `probe` matches."""
        await self._output.line(probe)

    async def run(self, command: ProbeCommand) -> Exit:
        """Run a command with the environment and the user of the process, and return the exit."""
        own = self._command
        probing = command_beside(own, command, name_of_probes(own.name))
        return await run_beside(probing, self._process, self._launcher)

    async def exchange(self, request: Request) -> Answer:
        """Send a request to a server from where the process lives, and return the answer."""
        if isinstance(self._process, Exchanger):
            return await self._process.exchange(request)
        return await exchange(request.seen_from(self._command.cwd or ""))

    async def examine(self, path: str) -> FileState:
        """Look at a file from where the process lives."""
        if isinstance(self._process, Examiner):
            return await self._process.examine(path)
        return FileStates(self._command.cwd, ()).of(path)  # Its state before is not known.


def _text_of(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
