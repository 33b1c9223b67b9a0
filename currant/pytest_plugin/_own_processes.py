"""`OwnProcesses`: the processes of a fixture that this worker runs, in a blocking Runner."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from currant._process.local import LocalLauncher
from currant._process.shared_guard import shared_guard
from currant._values.errors import CurrantError, LaunchError
from currant._values.shutdown_limits import ShutdownLimits
from currant.blocking import Runner
from currant.pytest_plugin._deaths import TIME_TO_TELL, Deaths, is_death
from currant.pytest_plugin._event_loop import call
from currant.pytest_plugin._log import Log
from currant.sinks._threaded import receive_available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream
    from anyio.from_thread import BlockingPortal

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant.blocking import Job

__all__ = ["OwnProcesses"]

__tracebackhide__ = True  # pytest leaves these frames out


class OwnProcesses:
    """The processes of a fixture that run in a Runner of the fixture; the first start enters it.

    Args:
        logs: where the files with the output are.
        grace: seconds that a process has to stop.
        portal: the event loop.
        on_use: is called with each process that a test or a fixture asks for.
    """

    def __init__(
        self, logs: Path, grace: float, portal: BlockingPortal, on_use: Callable[[Job], None]
    ) -> None:
        self._grace = grace
        self._on_use = on_use
        self._deaths = Deaths()
        self._log = Log(logs)
        # A guard for each test would cost a third of the start and the stop.
        guard = call(portal, lambda: shared_guard(ShutdownLimits().guard_exit))
        self._runner = Runner(
            on_exit="stop",
            grace=grace,
            sinks=[self._follow],
            launcher=LocalLauncher(_guard=guard),
            portal=portal,
        )
        self._is_entered = False
        self._entry = Lock()  # Several threads may start processes at the same time.

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The processes that were started, by name."""
        return self._runner.jobs

    def start_soon(self, command: Command) -> Job:
        """Start a command, and do not wait until it is ready.

        Raises:
            CurrantError: as by `currant.Runner.start_soon`.
        """
        with self._entry:
            if not self._is_entered:
                self._runner.__enter__()
                self._is_entered = True
        job = self._runner.start_soon(command)
        self._on_use(job)
        return job

    def start(self, command: Command, timeout: float) -> Job:
        """Start a command and return when it is ready; if it does not become ready, stop it.

        Args:
            command: the command.
            timeout: seconds to wait.

        Raises:
            CurrantError: as by `currant.Runner.start`.
            TimeoutError: the time is over.
        """
        job = self.start_soon(command)
        try:
            job.up(timeout=timeout)
        except (CurrantError, TimeoutError) as error:
            job.kill("it was not ready in time")
            job.wait()
            if not isinstance(error, LaunchError):
                self._deaths.wait_for_start(job.name, job.attempts)
                self._deaths.forget(job.name)
            raise
        self._deaths.wait_for_start(job.name, job.attempts)
        return job

    def has_ended(self, job: Job) -> bool:
        """Return whether a process has ended; wait for the end of one that is about to end."""
        with suppress(TimeoutError):  # It starts again by itself.
            if job.state == "stopping":
                job.wait(timeout=self._grace + TIME_TO_TELL)
            elif self._deaths.is_ending(job.name):
                job.wait(timeout=TIME_TO_TELL)
        return job.state == "ended"

    def take_deaths(self) -> Iterator[tuple[Job, str]]:
        """Return the processes that have died since the last call, and how."""
        for end in self._deaths.take():
            job = self._runner[end.command]
            if is_death(job.command, end.exit):
                yield job, str(end.exit)

    def log(self, name: str) -> Path:
        """Return the file with all output of a process; it exists once there is output."""
        return self._log.path(name)

    def close(self, error: BaseException | None) -> None:
        """Stop all processes; an error of the block around them throws the barrier."""
        if self._is_entered:
            self._is_entered = False
            self._runner.__exit__(None if error is None else type(error), error, None)

    async def _follow(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Take the messages of the Runner, as its sink."""
        while backlog := await receive_available(messages):
            self._deaths.note(backlog)
            await self._log.write(backlog)
