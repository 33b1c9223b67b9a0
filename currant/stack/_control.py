"""`Control` carries out the requests to the Runner of a stack.

This module does not know sockets.  A method returns the fields of the answer, or raises a
`RequestError` or another error of currant; the server turns errors into ``error`` objects.

`Commands` knows the commands, and `Reloading` the configuration.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio

from currant._supervisor.job import until_changed
from currant._values.errors import CurrantError
from currant.stack._commands import Commands
from currant.stack._description import Descriptions
from currant.stack._errors import RequestError
from currant.stack._needs import with_needs
from currant.stack._reloading import Reloading
from currant.stack._waiting import has_succeeded, is_skipped, until_ended, why_ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._values.results import Result
    from currant.stack._configuration import Configuration, Difference
    from currant.stack._description import Description
    from currant.stack._history import History
    from currant.stack._protocol import Down, Reload, Restart, Send, Signal, Start, Stop, Wait

__all__ = ["Answer", "Control"]

Answer: TypeAlias = dict[str, object]

NO_PROBLEMS: Mapping[str, str] = {}


class Control:
    """Carries out requests to one Runner.

    Args:
        runner: the Runner, which has been entered.
        history: a sink of that Runner.
        configuration: the source of the commands; None: `reload` is refused.

    Attributes:
        commands: the commands of the stack.
        history: as given.
        on_end: called with the name and the result of a command that has ended.
    """

    def __init__(
        self,
        runner: Runner,
        history: History,
        configuration: Configuration | None = None,
    ) -> None:
        self.commands: Commands = Commands(runner, history)
        self.history: History = history
        self.on_end: Callable[[str, Result], object] = lambda _name, _result: None
        self._runner = runner
        self._reloading = Reloading(self.commands, configuration)
        self._descriptions = Descriptions(history)

    # ---- for the program that runs the stack ----

    async def until_over(self) -> None:
        """Wait until nothing runs and no client may want to start a command again.

        Meanwhile, call `on_end` for each command that ends.

        Cancellation: harmless.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._note_stop)
            results: dict[str, Result | None] = {}
            while True:
                for name, job in list(self._runner.jobs.items()):
                    if name not in results:  # `reload` may add a command.
                        tasks.start_soon(self._follow, job)
                    before, results[name] = results.get(name), job.result
                    if job.result is not None and job.result is not before:
                        self.on_end(name, job.result)
                if self.commands.are_over:
                    break
                await self.commands.change.wait()
            tasks.cancel_scope.cancel()

    async def _follow(self, job: Job) -> None:
        """Announce each change of a command; a key may begin a life that no client asked for."""
        while True:
            self.commands.change.notify_all()
            await until_changed(job)

    async def _note_stop(self) -> None:
        await self._runner.barrier.wait()
        self.commands.change.notify_all()

    # ---- requests ----

    async def list(self, names: Sequence[str] = ()) -> Answer:
        """Describe commands.  Cancellation: harmless."""
        described = await self._describe(self.commands.select(names))
        return {"commands": described, "ending": self._is_ending}

    async def start(self, request: Start) -> Answer:
        """Start commands that do not run, with what they need, and wait until all are ready.

        Without names, these are all commands that have not succeeded.
        Cancellation: the commands that have been started go on.
        """
        with self.commands.changing():
            started = await self._reloading.add(request.names)
            jobs = self.commands.select(request.names)
            if not request.names:
                jobs = [job for job in jobs if not has_succeeded(job)]
            begun, problems = await self.commands.begin(with_needs(jobs, self.commands.jobs))
        started |= begun
        concerned = {job.name: job for job in jobs} | started
        answer = await self._until_all_ready(list(concerned.values()), known=problems)
        names = [name for name, job in started.items() if not is_skipped(job)]
        return answer | {"started": names}

    async def restart(self, request: Restart) -> Answer:
        """Restart commands, and wait until they are ready.  Cancellation: the restarts go on."""
        jobs = self.commands.select(request.names)
        if not request.names:
            jobs = [job for job in jobs if job.state != "ended"]
        return await self._until_all_ready(jobs, self.commands.restart)

    async def stop(self, request: Stop) -> Answer:
        """Stop commands, dependents first, and wait for their ends.  Cancellation: harmless."""
        jobs = self.commands.select(request.names)
        stopping = {job.name for job in jobs}
        self.commands.note_stop(stopping)

        async def stop(job: Job) -> None:
            await self.commands.stop(job, stopping, now=request.now)

        return await self._answer(jobs, await self._each(jobs, stop))

    async def signal(self, request: Signal) -> Answer:
        """Send a signal.  Cancellation: the signal may or may not have been sent."""
        reached = 0
        for job in self.commands.select([request.name]):
            reached += await job.send_signal(request.signal, request.to)
        return {"reached": reached}

    async def wait(self, request: Wait) -> Answer:
        """Wait until commands are ready, or have ended.  Cancellation: harmless."""
        jobs = self.commands.select(request.names)
        with anyio.move_on_after(request.timeout) as limit:
            if request.until == "ready":
                return await self._until_all_ready(jobs)
            return await self._answer(jobs, await self._each(jobs, until_ended))
        assert limit.cancelled_caught
        late = [job.name for job in jobs if not _is_reached(job, request.until)]
        problem = f"it is not {request.until} after {request.timeout:g} s"
        if request.until == "ended":
            problem = f"it has not ended after {request.timeout:g} s"
        return await self._answer(jobs, dict.fromkeys(late, problem))

    async def send(self, request: Send) -> Answer:
        """Write to the stdin of a command.  Cancellation: a part may have been written."""
        return await self.write(self.commands.select_one(request.name), request.data)

    async def write(self, job: Job, data: bytes) -> Answer:
        """Write to the stdin of a command.  Cancellation: a part may have been written.

        Raises:
            CurrantError: the command has no stdin, or does not run.
        """
        if job.stdin is None:
            raise RequestError(
                "failed",
                f'{job.name!r} has no stdin to write to; give it stdin = "pipe" or pty = true in '
                "the configuration, or start the stack with --stdin pipe",
            )
        await job.send(data)
        return {}

    def down(self, request: Down) -> None:
        """Stop all commands, so that the stack ends; return at once."""
        if not self._runner.barrier.thrown:
            self._runner.kill("currant down")
        elif request.now:
            for _ in range(2):  # The second call hurries; without any, a failure began the end.
                self._runner.kill()
        self.commands.change.notify_all()

    async def reload(
        self, request: Reload, tell: Callable[[Difference], Awaitable[None]]
    ) -> Callable[[], Awaitable[Answer]]:
        """Read the configuration again, pass the difference to `tell`, and apply the difference.

        Cancellation: some commands may not have been started again.

        Returns:
            A function that waits until the started commands are ready, and answers.

        Raises:
            RequestError: the configuration is wrong; nothing has changed.
        """
        changed, problems = await self._reloading.reload(tell, apply=request.apply)
        jobs = [job for name, job in self.commands.jobs.items() if name in changed]
        return partial(self._until_all_ready, jobs, known=problems)

    # ---- parts of requests ----

    async def _until_all_ready(
        self,
        jobs: Sequence[Job],
        do: Callable[[Job], Awaitable[str | None]] | None = None,
        known: Mapping[str, str] = NO_PROBLEMS,
    ) -> Answer:
        """Wait for all jobs at once, and answer with their states and problems.

        A command without a probe is ready when it runs, but it may fail while this waits for
        another: that is a problem, and often why the other one was skipped.
        """
        problems = await self._each(jobs, do or self.commands.until_ready, known)
        failed: dict[str, str] = {}
        for job in jobs:
            if job.result is not None and job.result.status == "failed":
                failed[job.name] = why_ended(job, job.result) or ""
        return await self._answer(jobs, failed | problems)

    async def _each(
        self,
        jobs: Sequence[Job],
        do: Callable[[Job], Awaitable[str | None]],
        known: Mapping[str, str] = NO_PROBLEMS,
    ) -> dict[str, str]:
        """Do the same with all jobs at once; return the problems by name."""
        problems = dict(known)

        async def do_one(job: Job) -> None:
            try:
                problem = await do(job)
            except CurrantError as error:
                problem = str(error)
            if problem is not None:
                problems[job.name] = problem

        async with anyio.create_task_group() as tasks:
            for job in jobs:
                if job.name not in problems:
                    tasks.start_soon(do_one, job)
        return problems

    async def _answer(self, jobs: Sequence[Job], problems: dict[str, str]) -> Answer:
        described = await self._describe(jobs)
        return {"commands": described, "problems": problems, "ending": self._is_ending}

    @property
    def _is_ending(self) -> bool:
        return self._runner.barrier.thrown or self.commands.are_over

    async def _describe(self, jobs: Sequence[Job]) -> Sequence[Description]:
        return await self._descriptions.of(jobs, among=self.commands.jobs.values())


def _is_reached(job: Job, until: str) -> bool:
    return job.is_ready if until == "ready" else job.result is not None
