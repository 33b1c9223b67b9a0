"""`SharedProcesses`: the processes of a fixture that run in a stack, with other users.

The modules of stacks are imported only if a test shares a process, because their import takes
longer than the start of a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import DuplicateNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from currant._values.command import Command
    from currant.pytest_plugin._keeper_stack import KeeperStack
    from currant.pytest_plugin._keeping import Keeping
    from currant.pytest_plugin._shared_job import SharedJob
    from currant.pytest_plugin._shared_stack import SharedStack

__all__ = ["SharedProcesses"]

__tracebackhide__ = True  # pytest leaves these frames out


class SharedProcesses:
    """The processes of `session_processes` that others use, too.

    Args:
        folder: the folder that all workers share.
        logs: where the keeper writes the output of processes.
        grace: seconds that a process has to stop.
        portal: the event loop of this worker.
        keeping: what ``--currant-keep`` leaves running; None: nothing.
        on_use: is called with each process that a test or a fixture asks for.

    Attributes:
        folder: as given.
        jobs: the processes by name.
    """

    def __init__(
        self,
        folder: Path,
        logs: Path,
        grace: float,
        portal: BlockingPortal,
        keeping: Keeping | None,
        on_use: Callable[[SharedJob], None],
    ) -> None:
        self.folder = folder
        self.jobs: dict[str, SharedJob] = {}
        self._logs = logs
        self._grace = grace
        self._portal = portal
        self._keeping = keeping
        self._on_use = on_use
        self._keeper: KeeperStack | None = None
        self._last_deaths: list[tuple[SharedJob, str]] = []

    def stack_for(
        self, command: Command, *, shared: bool, is_as_defined: bool
    ) -> SharedStack | None:
        """Return the stack that is to run a command; None: this worker runs it for itself.

        Args:
            command: the command.
            shared: whether the test has asked for a shared process.
            is_as_defined: whether the command is as ``currant.toml`` has it.
        """
        if self._keeping is not None:
            if is_as_defined and self._keeping.stack is not None:
                return self._keeping.stack
            self._keeping.note_not_kept(command.name)
        if not shared:
            return None
        if self._keeper is None:
            from currant.pytest_plugin._keeper_stack import KeeperStack  # noqa: PLC0415 - see above

            self._keeper = KeeperStack(self.folder, self._logs, self._grace, self._portal)
        return self._keeper

    def start(self, stack: SharedStack, commands: Sequence[Command], timeout: float) -> SharedJob:
        """Start a command in a stack, or find it there; return when it is ready.

        Args:
            stack: the stack.
            commands: the dependencies, and last the command.
            timeout: seconds to wait.

        Raises:
            DuplicateNameError: this worker has a process of that name that has not ended.
            CommandError: the command cannot be shared.
            CurrantError, TimeoutError: as by `SharedJob.begin`.
        """
        from currant.pytest_plugin._shared_job import SharedJob  # noqa: PLC0415 - see above

        name = commands[-1].name
        job = self.jobs.get(name)
        if job is None:
            job = SharedJob(stack, stack.open(commands, timeout), self._portal)
            self.jobs[name] = job
        elif job.state != "ended":
            raise DuplicateNameError(name)
        return self.begin(job, timeout)

    def begin(self, job: SharedJob, timeout: float) -> SharedJob:
        """Start a process unless it runs, and return it when it is ready.

        Args:
            job: the process.
            timeout: seconds to wait.

        Raises:
            CurrantError, TimeoutError: as by `SharedJob.begin`.
        """
        self._on_use(job)
        job.begin(timeout)
        return job

    def take_deaths(self) -> Iterator[tuple[SharedJob, str]]:
        """Return the processes that have died since the last call, and how."""
        last, self._last_deaths = self._last_deaths, []
        yield from last
        for job in self.jobs.values():
            for how in job.take_deaths():
                yield job, how

    def log(self, name: str) -> Path | None:
        """Return the file with all output of a process; None: it is not shared, or in no file."""
        job = self.jobs.get(name)
        return None if job is None else job.log

    def close(self) -> None:
        """Stop using the processes; the last user stops those of the keeper."""
        self._last_deaths = list(self.take_deaths())
        for job in self.jobs.values():
            job.forget()
        if self._keeper is not None:
            self._keeper.leave()
