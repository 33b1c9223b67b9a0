"""`Control` carries out the requests to the Runner of a stack.

This module does not know sockets.  A method returns the fields of the answer, or raises a
`RequestError` or another error of currant; the server turns errors into ``error`` objects.

A stack ends when all of its commands have ended by themselves, as `currant run` does.  A command
that a client has stopped keeps the stack open, because a client may start the command again.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import to_thread

from currant._supervisor.job import begin_again, until_changed
from currant._synchronization import Notifier
from currant._values.dependencies import in_order
from currant._values.errors import CurrantError, JobEndedError, suggestion
from currant.stack._description import Descriptions
from currant.stack._errors import RequestError
from currant.stack._needs import replicas_of, skipped_dependents, waits_for, with_needs
from currant.stack._reload import Difference, by_name, difference
from currant.stack._waiting import has_succeeded, is_skipped, until_ended, until_ready, why_ended

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Generator,
        Iterable,
        Mapping,
        Sequence,
    )

    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner
    from currant._values.command import Command
    from currant._values.results import Result
    from currant.stack._description import Description
    from currant.stack._history import History
    from currant.stack._protocol import Down, Reload, Restart, Send, Signal, Start, Stop, Wait
    from currant.stack._reload import Configuration

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
        history: as given.
        on_end: called with the name and the result of a command that has ended.
    """

    def __init__(
        self,
        runner: Runner,
        history: History,
        configuration: Configuration | None = None,
    ) -> None:
        self.history: History = history
        self.on_end: Callable[[str, Result], object] = lambda _name, _result: None
        self._runner = runner
        self._configuration = configuration
        self._source = by_name(() if configuration is None else configuration.commands)
        self._added: set[str] = set()  # by a client, and not by the start of the stack
        self._gone: set[str] = set()  # by `reload`
        self._held: set[str] = set()  # by a `reload` that is under way
        self._stopped: set[str] = set()  # by a client
        self._changes = 0  # requests under way that may start a command
        self._change = Notifier()
        self._reloading = anyio.Lock()
        self._descriptions = Descriptions(history)

    # ---- for the program that runs the stack ----

    @property
    def jobs(self) -> dict[str, Job]:
        """The commands by name, except commands that `reload` has removed."""
        return {name: job for name, job in self._runner.jobs.items() if name not in self._gone}

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
                if self._is_over():
                    break
                await self._change.wait()
            tasks.cancel_scope.cancel()

    async def _follow(self, job: Job) -> None:
        """Announce each change of a command; a key may begin a life that no client asked for."""
        while True:
            self._change.notify_all()
            await until_changed(job)

    async def _note_stop(self) -> None:
        await self._runner.barrier.wait()
        self._change.notify_all()

    def _is_over(self) -> bool:
        is_stopped = self._runner.barrier.thrown
        is_held = self._changes > 0 or bool(self._stopped - self._gone)
        jobs = self._runner.jobs.values()
        return (is_stopped or not is_held) and all(
            job.state == "ended" and (is_stopped or not job.is_watched) for job in jobs
        )

    @contextmanager
    def _changing(self) -> Generator[None]:
        self._changes += 1
        try:
            yield
        finally:
            self._changes -= 1
            self._change.notify_all()

    @contextmanager
    def _holding(self, names: Collection[str]) -> Generator[None]:
        """Let no other client start these commands; they are free once the caller waits again."""
        self._held |= set(names)
        try:
            yield
        finally:
            self._held -= set(names)
            self._change.notify_all()

    # ---- requests ----

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
                raise _unknown(name, list(jobs))
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

    async def list(self, names: Sequence[str] = ()) -> Answer:
        """Describe commands.  Cancellation: harmless."""
        return {"commands": await self._describe(self.select(names))}

    async def start(self, request: Start) -> Answer:
        """Start commands that do not run, with what they need, and wait until all are ready.

        Without names, these are all commands that have not succeeded.
        Cancellation: the commands that have been started go on.
        """
        with self._changing():
            started: dict[str, Job] = {}
            if self._configuration is not None:
                lacking = [name for name in request.names if not replicas_of(name, self.jobs)]
                started = await self._add(lacking)
            jobs = self.select(request.names)
            if not request.names:
                jobs = [job for job in jobs if not has_succeeded(job)]
            begun, problems = await self._begin(with_needs(jobs, self.jobs))
        started |= begun
        concerned = {job.name: job for job in jobs} | started
        answer = await self._until_all_ready(list(concerned.values()), known=problems)
        names = [name for name, job in started.items() if not is_skipped(job)]
        return answer | {"started": names}

    async def restart(self, request: Restart) -> Answer:
        """Restart commands, and wait until they are ready.  Cancellation: the restarts go on."""
        jobs = self.select(request.names)
        if not request.names:
            jobs = [job for job in jobs if job.state != "ended"]
        return await self._until_all_ready(jobs, self._restart)

    async def stop(self, request: Stop) -> Answer:
        """Stop commands, dependents first, and wait for their ends.  Cancellation: harmless."""
        jobs = self.select(request.names)
        self._stopped |= {job.name for job in jobs}
        stopping = {job.name for job in jobs}
        stop = partial(self._stop, among=stopping, now=request.now)
        return await self._answer(jobs, await self._each(jobs, stop))

    async def signal(self, request: Signal) -> Answer:
        """Send a signal.  Cancellation: the signal may or may not have been sent."""
        reached = 0
        for job in self.select([request.name]):
            reached += await job.send_signal(request.signal, request.to)
        return {"reached": reached}

    async def wait(self, request: Wait) -> Answer:
        """Wait until commands are ready, or have ended.  Cancellation: harmless."""
        jobs = self.select(request.names)
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
        return await self.write(self.select_one(request.name), request.data)

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
        if request.now or not self._runner.barrier.thrown:
            self._runner.kill("currant down")
        self._change.notify_all()

    async def read_difference(self) -> tuple[Difference, dict[str, Command]]:
        """Read the configuration again, and compare.  Cancellation: harmless.

        Raises:
            RequestError: the configuration is wrong, or there is none.
        """
        after = await self._read()
        change = difference(self._source, after)
        begun = {*change.start, *change.restart}
        again = skipped_dependents(
            begun, {name: after[name] for name in change.unchanged}, self.jobs
        )
        unchanged = tuple(name for name in change.unchanged if name not in again)
        return replace(change, unchanged=unchanged, again=again), after

    async def _read(self, also: Collection[str] = ()) -> dict[str, Command]:
        """Read the configuration again, with the commands that clients have added, and `also`.

        Cancellation: harmless.

        Raises:
            RequestError: the configuration is wrong, or there is none.
        """
        if self._configuration is None:
            raise RequestError("request", "this stack has no configuration that can be read again")
        names = {*self._added, *also}
        try:
            return by_name(await to_thread.run_sync(self._configuration.read, names))
        except CurrantError as error:
            raise RequestError("request", str(error)) from error

    async def _read_names(self) -> Iterable[str]:
        assert self._configuration is not None
        return await to_thread.run_sync(self._configuration.names)

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
        async with self._reloading:
            change, after = await self.read_difference()
            await tell(change)
            changed, problems = await self._apply(change, after) if request.apply else ((), {})
        jobs = [job for name, job in self.jobs.items() if name in changed]
        return partial(self._until_all_ready, jobs, known=problems)

    # ---- parts of requests ----

    async def _add(self, names: Collection[str]) -> dict[str, Job]:
        """Start commands of the configuration that the stack lacks, with what they need.

        Cancellation: some commands may not have been started.

        Returns:
            The commands that were started, by name.

        Raises:
            RequestError: the configuration is wrong, or a command cannot be started.
        """
        if not names:
            return {}
        async with self._reloading:
            after = await self._read(names)
            for name in names:
                if not replicas_of(name, after):
                    raise _unknown(name, [*self.jobs, *after, *await self._read_names()])
            lacking = [name for each in names for name in replicas_of(each, after)]
            new: set[str] = set()
            while lacking:
                name = lacking.pop()
                if name not in self.jobs and name not in new:
                    new.add(name)
                    lacking += after[name].after
            self._added |= set(names)
            sources = {name: source for name, source in after.items() if name in new}
            needed = with_needs((), self.jobs, sources.values())
            begun, problems = await self._begin(needed)
            problems |= self._start_all_new(sources)
        if problems:
            raise RequestError("failed", "; ".join(problems.values()))
        return begun | {name: self.jobs[name] for name in sources}

    async def _begin(self, jobs: Iterable[Job]) -> tuple[dict[str, Job], dict[str, str]]:
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
        problems = await self._each(jobs, do or self._until_ready, known)
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
        is_ending = self._runner.barrier.thrown or self._is_over()
        return {"commands": described, "problems": problems, "ending": is_ending}

    async def _describe(self, jobs: Sequence[Job]) -> Sequence[Description]:
        return await self._descriptions.of(jobs, among=self.jobs.values())

    async def _restart(self, job: Job) -> str | None:
        with self._changing():
            await self._until_free(job)
            self._note_start(job.name)
            try:
                await job.restart()
            except JobEndedError as error:
                raise RequestError("failed", error.reason) from error
        return await self._until_ready(job)

    async def _until_ready(self, job: Job) -> str | None:
        """Do the same as `until_ready`; if `reload` stops the command, wait for its next life.

        Raises:
            RequestError: `reload` has removed it.
        """
        while (problem := await until_ready(job)) is not None:
            await self._change.wait_for(lambda: not self._held)  # Bounded by the grace.
            self._check_not_removed(job)
            if job.result is not None:
                return problem
        return None

    def _check_not_removed(self, job: Job) -> None:
        if job.name in self._gone:
            raise RequestError("failed", f"'currant reload' has removed {job.name!r}")

    def _note_start(self, name: str) -> None:
        """Forget how a command was stopped, or has failed: a client starts it again."""
        self._stopped.discard(name)
        self.history.failures.pop(name, None)

    async def _until_free(self, job: Job) -> None:
        """Wait until a command is not being stopped, by a client or by `reload`.

        Raises:
            RequestError: `reload` has removed it.
        """
        while job.state == "stopping" or job.name in self._held:
            await self._change.wait_for(lambda: job.name not in self._held)
            if job.state == "stopping":
                await job.wait()
        self._check_not_removed(job)

    async def _stop(self, job: Job, among: Collection[str], now: bool) -> None:
        for other in self.jobs.values():
            if other.name in among and waits_for(other.command, job.name):
                await other.wait()
        if now or job.state not in ("stopping", "ended"):
            job.kill("currant stop")
        await job.wait()

    async def _apply(
        self, change: Difference, after: dict[str, Command]
    ) -> tuple[Sequence[str], dict[str, str]]:
        """Stop and start commands.

        Returns:
            The names of the commands that start, and why some could not be started.
        """
        with self._changing():
            jobs = self._runner.jobs
            ending = {*change.stop, *change.restart}
            with self._holding(ending):
                async with anyio.create_task_group() as tasks:
                    for name in ending:
                        tasks.start_soon(partial(self._stop, jobs[name], ending, now=False))
            for name in change.stop:
                self._gone.add(name)
                self._stopped.discard(name)
                self.history.forget(name)
                del self._source[name]
            changed = (*change.start, *change.restart)
            problems = self._start_all_new({name: after[name] for name in changed})
            # The stops may have caused further commands to be skipped, which a client had started.
            others = {name: after[name] for name in (*change.unchanged, *change.again)}
            again = skipped_dependents(changed, others, jobs)
            problems |= (await self._begin([jobs[name] for name in again]))[1]
            return (*changed, *again), problems

    def _start_all_new(self, sources: Mapping[str, Command]) -> dict[str, str]:
        """Start commands that are new or have changed; return why some could not be started."""
        problems: dict[str, str] = {}
        for name in in_order({name: source.after for name, source in sources.items()}):
            try:
                self._start_new(sources[name])
            except (CurrantError, RuntimeError) as error:  # RuntimeError: the Runner has ended.
                problems[name] = str(error)
        return problems

    def _start_new(self, source: Command) -> None:
        assert self._configuration is not None
        job = self._runner.start_soon(self._configuration.prepare(source))
        self._gone.discard(job.name)
        self._note_start(job.name)
        self._source[job.name] = source
        self._change.notify_all()


def _unknown(name: str, known: list[str]) -> RequestError:
    known = list(dict.fromkeys(known))
    return RequestError("unknown_name", f"there is no command {name!r}{suggestion(name, known)}")


def _is_reached(job: Job, until: str) -> bool:
    return job.is_ready if until == "ready" else job.result is not None
