"""`Commands`: the commands of a stack, and what its clients and `reload` have done to them.

A stack ends when all of its commands have ended by themselves, as `currant run` does.  A command
that a client has stopped keeps the stack open, because a client may start the command again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from currant._supervisor.job import begin_again
from currant._synchronization import Notifier
from currant._values.errors import CurrantError, JobEndedError, suggestion
from currant.stack._errors import RequestError
from currant.stack._needs import replicas_of, waits_for
from currant.stack._waiting import until_ready

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence

    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._values.command import Command
    from currant.stack._history import History

__all__ = ["Commands", "unknown_name"]


class Commands:
    """The commands of one stack.

    Args:
        runner: the Runner, which has been entered.
        history: a sink of that Runner.

    Attributes:
        change: is notified when `are_over` may have changed, or a command is no longer held.
    """

    def __init__(self, runner: Runner, history: History) -> None:
        self.change: Notifier = Notifier()
        self._runner = runner
        self._history = history
        self._gone: set[str] = set()  # by `reload`
        self._held: set[str] = set()  # by a `reload` that is under way
        self._stopped: set[str] = set()  # by a client
        self._changes = 0  # requests under way that may start a command

    @property
    def jobs(self) -> dict[str, Job]:
        """The commands by name, except commands that `reload` has removed."""
        return {name: job for name, job in self._runner.jobs.items() if name not in self._gone}

    @property
    def are_over(self) -> bool:
        """Whether nothing runs, and no client may want to start a command again."""
        is_stopped = self._runner.barrier.thrown
        is_held = self._changes > 0 or bool(self._stopped - self._gone)
        jobs = self._runner.jobs.values()
        return (is_stopped or not is_held) and all(
            job.state == "ended" and (is_stopped or not job.is_watched) for job in jobs
        )

    def select(self, names: Sequence[str]) -> list[Job]:
        """Return the jobs with these names, each once; without names, all jobs.

        ``web`` stands for ``web.1`` and ``web.2``, too.

        Raises:
            RequestError: there is no such command.
        """
        jobs = self.jobs
        if not names:
            return list(jobs.values())
        chosen: dict[str, Job] = {}
        for name in names:
            found = replicas_of(name, jobs)
            if not found:
                raise unknown_name(name, list(jobs))
            chosen |= {each: jobs[each] for each in found}
        return list(chosen.values())

    def select_one(self, name: str) -> Job:
        """Return the job with a name, or the only replica of a command with that name.

        Raises:
            RequestError: there is no such command, or there are several.
        """
        jobs = self.select([name])
        if len(jobs) > 1:
            several = ", ".join(job.name for job in jobs)
            raise RequestError("request", f"{name!r} stands for several commands: {several}")
        return jobs[0]

    @contextmanager
    def changing(self) -> Generator[None]:
        """Keep the stack open: the block may start a command."""
        self._changes += 1
        try:
            yield
        finally:
            self._changes -= 1
            self.change.notify_all()

    @contextmanager
    def holding(self, names: Collection[str]) -> Generator[None]:
        """Let no other client start these commands; they are free once the caller waits again."""
        self._held |= set(names)
        try:
            yield
        finally:
            self._held -= set(names)
            self.change.notify_all()

    # ---- starts ----

    def add(self, command: Command) -> Job:
        """Start a command that is new or has changed, and return at once.

        Raises:
            CurrantError, RuntimeError: as for `Runner.start_soon`.
        """
        job = self._runner.start_soon(command)
        self._gone.discard(job.name)
        self._note_start(job.name)
        self.change.notify_all()
        return job

    async def begin(self, jobs: Iterable[Job]) -> tuple[dict[str, Job], dict[str, str]]:
        """Start commands that have ended, in this order; return at once, unless one is stopping.

        Returns:
            The commands that were started, and why others could not be started, by name.
        """
        begun: dict[str, Job] = {}
        problems: dict[str, str] = {}
        for job in jobs:
            try:
                await self._until_free(job)
                self._note_start(job.name)
                if job.state == "ended":
                    begin_again(job)
                    begun[job.name] = job
            except JobEndedError as error:
                problems[job.name] = error.reason
            except CurrantError as error:
                problems[job.name] = str(error)
        return begun, problems

    async def restart(self, job: Job) -> str | None:
        """Restart a command, and wait until it is ready; return why it is not, otherwise None.

        Cancellation: the restart goes on.

        Raises:
            RequestError: the command cannot be restarted, or `reload` has removed it.
        """
        with self.changing():
            await self._until_free(job)
            self._note_start(job.name)
            try:
                await job.restart()
            except JobEndedError as error:
                raise RequestError("failed", error.reason) from error
        return await self.until_ready(job)

    async def until_ready(self, job: Job) -> str | None:
        """Wait as `_waiting.until_ready` does, and through a stop and a start by `reload`.

        Cancellation: harmless.

        Raises:
            RequestError: `reload` has removed the command.
        """
        while (problem := await until_ready(job)) is not None:
            await self.change.wait_for(lambda: not self._held)  # Bounded by the grace.
            self._check_not_removed(job)
            if job.result is not None:
                return problem
        return None

    def _note_start(self, name: str) -> None:
        """Forget how a command was stopped, or has failed: a client starts it again."""
        self._stopped.discard(name)
        self._history.failures.pop(name, None)

    async def _until_free(self, job: Job) -> None:
        """Wait until a command is not being stopped, by a client or by `reload`.

        Raises:
            RequestError: `reload` has removed it.
        """
        while job.state == "stopping" or job.name in self._held:
            await self.change.wait_for(lambda: job.name not in self._held)
            if job.state == "stopping":
                await job.wait()
        self._check_not_removed(job)

    def _check_not_removed(self, job: Job) -> None:
        if job.name in self._gone:
            raise RequestError("failed", f"'currant reload' has removed {job.name!r}")

    # ---- stops ----

    def note_stop(self, names: Iterable[str]) -> None:
        """Keep the stack open for commands that a client stops."""
        self._stopped |= set(names)

    async def stop(self, job: Job, among: Collection[str], now: bool) -> None:
        """Stop a command, after its dependents, and wait for its end.

        Cancellation: harmless.

        Args:
            job: the command.
            among: the names of all commands that are being stopped.
            now: whether to skip the rest of the grace of a stop that is under way.
        """
        for other in self.jobs.values():
            if other.name in among and waits_for(other.command, job.name):
                await other.wait()
        if now or job.state not in ("stopping", "ended"):
            job.kill("currant stop")
        await job.wait()

    def remove(self, name: str) -> None:
        """Forget a command that has ended, and is in the configuration no longer."""
        self._gone.add(name)
        self._stopped.discard(name)
        self._history.forget(name)


def unknown_name(name: str, known: Iterable[str]) -> RequestError:
    """Return the error for a name that no command has."""
    known = list(dict.fromkeys(known))
    return RequestError("unknown_name", f"there is no command {name!r}{suggestion(name, known)}")
