"""`Runner`: the task group whose tasks are processes.

One supervisor task owns everything, nested in the order in which it has to end: the commands within
the sinks within the launcher.  It is shielded, so whatever happens to the task of the block, a
cancelled scope or a native `asyncio.Task.cancel`, there is one way to end a command: the kill
barrier, with its grace.  The block's own task yields to the body, throws the barrier where the body
did not end normally, and waits.

Rejected: letting the cancellation reach each command's task.  It puts the kill path into every
`except`, and the exit and the last output of what was cancelled are lost.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

import anyio
from anyio import AsyncContextManagerMixin
from anyio.lowlevel import checkpoint

from currant._channel.channel import Channel
from currant._channel.readers import BatchReader, LineReader
from currant._process.launcher import Checker, Launcher, Sweeper
from currant._process.local import LocalLauncher
from currant._supervisor.attempt import LAST_GRACE
from currant._supervisor.conditions import Dependencies, Needs, needs_among
from currant._supervisor.job import Job, JobContext
from currant._synchronization import KillBarrier
from currant._system.groups import require_posix
from currant._values.checks import check_count, check_flag, check_seconds
from currant._values.command import Command, CommandLike, as_command
from currant._values.errors import (
    CannotStopError,
    CommandError,
    CurrantError,
    DependencyError,
    LaunchError,
    NotReadyError,
    TimeLimitError,
)
from currant._values.names import Commands, Names, name_all
from currant._values.policies import KillOthersOn, Policies, check_policies
from currant._values.restart import RestartPolicy, RestartWhen, as_restart_policy
from currant._values.results import Results

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream

    from currant._channel.feed import SinkFeed
    from currant._values.messages import BatchMessage, Message

__all__ = ["Runner", "Sink"]


Sink: TypeAlias = "Callable[[ObjectReceiveStream[BatchMessage]], Awaitable[None]]"
"""An async callable that takes all messages from its stream, until that ends."""

SINK_TIME = 1.0
"""Seconds that sinks have when the block is left early, on top of twice the longest grace."""

AT_ONCE = 50
"""Commands dealt with before other tasks have their turn: a thousand in one go take 10 ms."""


class Runner(AsyncContextManagerMixin):
    """Run many commands as one task group; an async context manager for one use.

    On entry every command's program and working directory are looked up; then all are started.
    Leaving the block normally waits for all of them, as `join` does.  When the body raises or is
    cancelled, all are killed and waited for, at most their grace and a little; then the body's own
    exception goes on, unchanged.

    Args:
        commands: what to run: an iterable of `Command`, texts (read as by `Command.parse`) or
            sequences of words, or a mapping from names to these.
        restart: whether a command that ended by itself is started again: ``"never"``,
            ``"on-failure"``, ``"always"`` or a `RestartPolicy`.
        kill_others_on: the final end of a command that stops all others: ``"failure"``,
            ``"success"`` or ``"exit"``; None: none does.
        grace: seconds that a command has to end after it was asked to, before SIGKILL.
        max_processes: how many commands may run at the same time; the others wait their turn, in
            order.  A command keeps its place while it waits for its restart.  One that waits for
            others (`Command.after`) takes none yet; those others need theirs.  None: all.
        capture: whether results carry the output: False, True, or how many last bytes of each
            stream.
        buffer_size: how many messages (batches of output of up to 320 KiB among them) each reader
            may be behind before the commands have to wait for it.  Those who iterate may be behind
            by 256 KiB of output, or one batch if that is more, so that the lines of a quiet command
            do not wait for long behind those of a chatty one.
        sinks: async callables that take all messages; each has a subscription of its own, and
            `join` waits for it.  Without a sink, output that nobody iterates over makes the
            commands wait; with one, such output is for the sinks only: iteration that begins, or
            is taken up, later finds what fits into the buffer, and a `Dropped` for the rest.
        launcher: what starts the processes; None: processes of this machine, with `orphan_guard`.
        orphan_guard: whether a small helper process ends the commands when this program dies
            without leaving the block, even by SIGKILL.  It ends with the block.  Where it cannot be
            started, a `RuntimeWarning` says so, and the commands run without it.
        timeout: seconds that all of it may take; then all commands are stopped, and those that were
            still running have failed.
        keep_open: whether it goes on when no command is left, until it is killed.

    Raises:
        CommandError: when built: a command or a policy is wrong.
        DuplicateNameError: when built: two commands were given the same name.
        NotImplementedError: when built: the system has no process groups.
        CommandNotFoundError: on entry: a program or working directory is missing; nothing is
            started.

    Cancellation: a kill.  It goes on when all is over: after the longest grace and a few seconds at
    most, and where a sink is slow, after as long again.
    """

    # Whether nothing is kept for iteration.  Of a console's output at full speed, keeping it, and
    # counting the lines that nobody read, takes a fifth of the time: 0.99 s against 0.81 s.
    _for_sinks_only: ClassVar[bool] = False

    def __init__(
        self,
        commands: Commands = (),
        *,
        restart: RestartWhen | RestartPolicy = "never",
        kill_others_on: KillOthersOn | None = None,
        grace: float = 5.0,
        max_processes: int | None = None,
        capture: bool | int = False,
        buffer_size: int = 16,
        sinks: Iterable[Sink] = (),
        launcher: Launcher | None = None,
        orphan_guard: bool = True,
        timeout: float | None = None,
        keep_open: bool = False,
    ) -> None:
        require_posix()
        check_policies(restart, kill_others_on, grace, capture)
        if any(policy is None for policy in cast("tuple[object, ...]", (restart, grace, capture))):
            raise CommandError("a Runner's own restart, grace and capture cannot be None")
        check_count("max_processes", 1 if max_processes is None else max_processes)
        check_count("buffer_size", buffer_size)
        check_seconds("timeout", timeout)
        check_flag("orphan_guard", orphan_guard)
        check_flag("keep_open", keep_open)
        self._names = Names()
        named = name_all(commands, self._names)
        self._replicas = {
            name: [each.name for each in several]
            for name, several in named.items()
            if several[0].name != name
        }
        self._commands = [command for several in named.values() for command in several]
        self._known = {command.name: command for command in self._commands}
        self._policies = Policies(as_restart_policy(restart), kill_others_on, grace, capture)
        self._dependencies = Dependencies()
        for command in self._commands:
            self._dependencies.add(command.name, self._needs_of(command))
        self._dependencies.check()
        self._max_processes = max_processes
        self._buffer_size = buffer_size
        self._sinks = _checked_sinks(sinks)
        if launcher is not None and not callable(getattr(launcher, "launch", None)):
            raise CommandError(f"launcher must be a Launcher or None, not {launcher!r}")
        if launcher is None:
            launcher = LocalLauncher(orphan_guard=orphan_guard)
        self._launcher = launcher
        self._timeout = timeout
        self._keep_open = keep_open

        self._barrier = KillBarrier()
        self._killed = False
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._waiting: dict[Job, anyio.CancelScope] = {}  # for other commands
        self._active = 0
        self._error: BaseException | None = None
        self._entered = False
        self._is_open = False  # for calls: from the moment on in which all jobs are there
        self._channel: Channel  # from the entry on
        self._sink_scopes: list[anyio.CancelScope] = []
        self._sink_deadline = inf
        self._sweep_deadline = inf

    def __repr__(self) -> str:
        counts = Counter(job.state for job in self._jobs.values())
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        return f"<Runner {states or 'without commands'}>"

    def __getitem__(self, name: str) -> Job:
        """Return the job of that name; `KeyError` where there is none."""
        return self._jobs[name]

    def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate over the messages, output line by line, until no command is left.

        May be left with `break` and taken up again; two tasks may share the messages.
        Cancellation: loses nothing.

        Raises:
            RuntimeError: the Runner has not been entered.
        """
        return LineReader(self._opened_channel().readers)

    def batches(self) -> AsyncIterator[BatchMessage]:
        """Iterate over the same messages with the output in whole batches, which is faster."""
        return BatchReader(self._opened_channel().readers)

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The commands by name, in the order in which they were given."""
        return MappingProxyType(self._jobs)

    @property
    def results(self) -> Results:
        """The results of those commands that have ended, in the order given."""
        return Results({n: job.result for n, job in self._jobs.items() if job.result is not None})

    @property
    def barrier(self) -> KillBarrier:
        """What is thrown to stop all commands, whoever asks for it."""
        return self._barrier

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The scope of the block: cancelling it kills all, and the block ends normally."""
        self._opened_channel()
        return self._scope

    def start_soon(self, command: CommandLike) -> Job:
        """Start one more command, or queue it where `max_processes` run; never waits.

        What cannot be started is reported by a `Failed` message and in the result.  After a kill,
        the job ends as ``"stopped"`` and is never started.

        Raises:
            CommandError: the command is wrong.
            DuplicateNameError: its name was given, and is taken.
            RuntimeError: the Runner has not been entered, or has ended.
        """
        self._opened_channel()
        if self._closing.is_set():
            raise RuntimeError("the Runner has ended; its block starts no more commands")
        built = as_command(command)
        if built.replicas != 1:
            raise CommandError(
                f"command {built.name!r}: replicas: those are for the commands that a Runner "
                "is built with; start each one by itself"
            )
        needs = self._needs_of(built)
        job = self._register(self._names.give(built))
        self._dependencies.add(job.name, needs)
        self._admit(job)
        return job

    def _needs_of(self, command: Command) -> Needs:
        """Return what `command` waits for, where there are such commands, and it can come true."""
        needs = needs_among(command, self._known, self._replicas)
        for other, condition in needs.items():
            restart = _resolved(self._known[other], self._policies).restart
            if condition == "succeeded" and restart.is_endless:
                raise CommandError(
                    f"command {command.name!r}: after: {other!r} never has succeeded, since it "
                    "is always started again; wait until it is 'ready' or 'started'"
                )
        return needs

    def _register(self, command: Command) -> Job:
        """Make the job of a command that has the name it goes by."""
        job = Job(command, _resolved(command, self._policies), self._context)
        self._channel.add_producer()
        self._jobs[job.name] = job
        self._known[job.name] = command
        return job

    def _admit(self, job: Job) -> None:
        """Queue a job, as soon as what it waits for has come true."""
        if job.is_ending:  # it was killed before
            self._end_unstarted(job)
        elif job.name in self._dependencies:
            self._waiting[job] = scope = anyio.CancelScope()
            self._tasks.start_soon(self._wait_for_needs, job, scope)
        else:
            self._enqueue(job)

    async def _admit_all(self) -> None:
        """Make the first jobs and admit them, all, also where the block is cancelled meanwhile."""
        for number, command in enumerate(self._commands, 1):
            self._register(command)
            if number % AT_ONCE == 0:
                await checkpoint()
        self._is_open = True
        self._registered.set()
        for number, job in enumerate(list(self._jobs.values()), 1):
            self._admit(job)
            if number % AT_ONCE == 0:
                await checkpoint()
        self._admitted.set()

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job)
        self._start_queued()

    async def _wait_for_needs(self, job: Job, scope: anyio.CancelScope) -> None:
        """Wait in no place of the queue, until all has come true, or something cannot any more."""
        reason: str | None = None
        with scope:  # cancelled where the job is killed
            reason = await self._dependencies.come_true(job, self._jobs)
        del self._waiting[job]
        if job.is_ending:
            self._end_unstarted(job)
        elif reason is None:
            self._enqueue(job)
        else:
            try:
                await job.skip(reason)
            finally:
                self._channel.remove_producer()

    async def _until_unneeded(self, job: Job) -> None:
        await self._dependencies.until_unneeded(job.name, self._jobs)

    async def start(self, command: CommandLike) -> Job:
        """Start one more command, and return once it runs (or was killed before it could).

        Where it has a probe `ready`, once it is ready.

        While it waits and nobody iterates, output that does not fit is discarded (see `Dropped`).
        Cancellation: the command stays.

        Raises:
            LaunchError: it could not be started, and its restart policy has given up.
            NotReadyError: it has ended, was stopped or took too long before it was ready.
            DependencyError: it was skipped: what it waits for cannot come any more.
            CommandError, DuplicateNameError, RuntimeError: as for `start_soon`.
        """
        job = self.start_soon(command)
        problem: NotReadyError | None = None
        if job.command.ready is None:
            await job.until_started()
        else:
            try:
                await job.ready()
            except NotReadyError as error:
                problem = error
        if job.result is not None and isinstance(job.result.error, LaunchError | DependencyError):
            raise job.result.error
        if problem is not None:
            raise problem
        return job

    async def join(self) -> Results:
        """Wait until all is over, and return the results.

        That is: every command has ended, every reader has had its messages, and every sink has
        dealt with its own.

        For any number of tasks, any number of times.  While it waits and nobody iterates, output
        that does not fit is discarded (see `Dropped`).
        Cancellation: harmless; the commands go on.
        """
        channel = self._opened_channel()
        with channel.waiting():
            await channel.settled()
            while channel.producing:
                await channel.ended()
                await channel.settled()
        return self.results

    def kill(self, reason: str | None = None) -> None:
        """Throw the barrier: stop all commands and start no more; return at once.

        Callable any number of times; a second call while commands are still stopping skips what is
        left of their grace.  Whoever needs them gone awaits `join` or leaves the block.
        """
        self._opened_channel()
        if self._killed:
            self._hurried.set()
            for job in self._jobs.values():
                job.hurry()
        self._killed = True
        self._barrier.throw(reason)
        self._start_queued()

    async def send_signal(self, signal: int, name: str | None = None) -> int:
        """Send `signal` to the process group of one command, or of all; return how many it reached.

        A command that does not run is not an error.
        Cancellation: some of the commands may have got the signal.

        Raises:
            KeyError: there is no command of that name.
            CommandError: there is no such signal.
        """
        jobs = list(self._jobs.values()) if name is None else [self._jobs[name]]
        return sum([await job.send_signal(signal) for job in jobs])

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Runner]:
        if self._entered:
            raise RuntimeError("a Runner is for one use; build another one")
        if isinstance(self._launcher, Checker):
            for number, command in enumerate(self._commands, 1):
                self._launcher.check(command)
                if number % AT_ONCE == 0:
                    await checkpoint()
        self._entered = True
        self._channel = Channel(
            self._buffer_size,
            MappingProxyType(self._known),
            for_sinks_only=self._for_sinks_only,
        )
        self._context = JobContext(
            launcher=self._launcher,
            channel=self._channel,
            barrier=self._barrier,
            starting=anyio.Lock(fast_acquire=True),
            take_from_queue=self._take_from_queue,
            until_unneeded=self._until_unneeded,
        )
        if self._keep_open:
            self._channel.add_producer()
        self._closing, self._ready, self._registered = anyio.Event(), anyio.Event(), anyio.Event()
        self._admitted, self._hurried = anyio.Event(), anyio.Event()
        self._watching = anyio.CancelScope()
        error: BaseException | None = None
        with anyio.CancelScope() as self._scope:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._supervise, name="currant supervisor")
                    tasks.start_soon(self._watch_barrier, name="currant barrier")
                    try:
                        await self._ready.wait()
                        self._raise_error()
                        self._tasks.start_soon(self._admit_all)
                        await self._admitted.wait()
                        self._raise_error()
                        yield self
                        await self.join()
                    except BaseException as raised:
                        # Raised again below; from here the task group would wrap it into a group.
                        error = raised
                        self._leave_early(f"the block was left by {type(raised).__name__}")
                    self._closing.set()
                    self._channel.begin_to_wait()
            finally:  # so that this leaves, and not what leaving the task group raises
                if error is not None:
                    try:
                        raise error
                    finally:
                        del error  # it refers to this frame
        self._raise_error()

    async def _supervise(self) -> None:
        """Hold all that the Runner runs; ends when the block is left and all is over."""
        try:
            # Bounded: once the block is left, by the graces, REAP_LIMIT and the sinks' time.
            with anyio.CancelScope(shield=True):
                async with self._launcher, anyio.create_task_group() as sinks:
                    for sink in self._sinks:
                        sinks.start_soon(self._run_sink, sink, self._channel.subscribe())
                    async with anyio.create_task_group() as killing:
                        killing.start_soon(self._sweep_when_killed)
                        if self._timeout is not None:
                            killing.start_soon(self._limit_time, self._timeout)
                        async with anyio.create_task_group() as self._tasks:
                            self._ready.set()
                            await self._closing.wait()
                        self._channel.close()
                        await self._sweep()
                        killing.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # of the launcher, on entry or exit, or Ctrl-C on trio
            self._fail(_without_our_groups(error))
        finally:
            self._ready.set()
            self._admitted.set()
            self._channel.close()
            self._watching.cancel()

    async def _limit_time(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        for job in self._jobs.values():
            job.abort(TimeLimitError(job.name, seconds, "runner"))
        self._barrier.throw(f"the time limit of {seconds:g} s is over")

    async def _sweep_when_killed(self) -> None:
        """After a kill, end escapees within the grace of that kill.

        While a command runs its escapees are left to it, so most are ended when all commands are
        gone.  But one slow command must not use up the grace of what the others left behind: at
        half of it, those of the commands that are gone are asked.  A second kill hurries both.
        """
        await self._barrier.wait()
        grace = self._longest_stop(self._jobs.values())
        self._sweep_deadline = anyio.current_time() + grace
        async with anyio.create_task_group() as sweeping:
            sweeping.start_soon(self._sweep_after, grace / 2)
            await self._hurried.wait()
            sweeping.cancel_scope.cancel()
        await self._sweep()

    async def _sweep_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        await self._sweep()

    async def _sweep(self) -> None:
        """End what has left the groups of the commands that are gone."""
        left = max(self._sweep_deadline - anyio.current_time(), LAST_GRACE)
        if isinstance(self._launcher, Sweeper):
            try:
                await self._launcher.sweep(None, 0 if self._hurried.is_set() else left)
            except CannotStopError as error:
                self._fail(error)

    async def _watch_barrier(self) -> None:
        """When the barrier is thrown, end what is queued, and what keeps the Runner open.

        This is the one task of the Runner's that the cancellation of the block reaches: it takes
        that for a kill.
        """
        try:
            with self._watching:
                await self._barrier.wait()
                self._let_all_end()
                await anyio.sleep_forever()
        finally:
            if not self._watching.cancel_called:
                if self._closing.is_set():  # while it waits for the sinks
                    self._leave_early("the block was cancelled")
                else:
                    self._barrier.throw("the block was cancelled")
            self._let_all_end()

    def _let_all_end(self) -> None:
        self._start_queued()
        if self._keep_open:
            self._keep_open = False
            self._channel.remove_producer()

    def _leave_early(self, reason: str) -> None:
        """Stop everything: the body will take no more messages."""
        self._barrier.throw(reason)
        self._registered.set()  # the sinks may still wait for it
        self._channel.abandon()
        # The commands are gone after their grace; a sink has as long again for what they wrote.
        grace = 0.0
        if not self._hurried.is_set():
            grace = self._longest_stop(job for job in self._jobs.values() if not job.result)
        self._sink_deadline = anyio.current_time() + 2 * grace + SINK_TIME
        for scope in self._sink_scopes:
            scope.deadline = self._sink_deadline

    def _longest_stop(self, jobs: Iterable[Job]) -> float:
        """Return the seconds that these may take to end: those that need others go before them."""
        return self._dependencies.longest_chain({job.name: job.grace for job in jobs})

    async def _run_sink(self, sink: Sink, feed: SinkFeed) -> None:
        try:
            with anyio.CancelScope(deadline=self._sink_deadline) as scope:
                self._sink_scopes.append(scope)
                await self._registered.wait()  # so that it finds a Runner that is whole
                await sink(feed)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            # Of something that the sink awaited.  Passed on, it would end the commands' tasks.
            problem = CurrantError(
                f"the sink {sink!r} ended by a cancellation that was not its own"
            )
            problem.__cause__ = error
            self._fail(problem)
        except BaseException as error:  # KeyboardInterrupt too; it is raised again by the block
            self._fail(error)
        finally:
            feed.close()

    async def _run_job(self, job: Job) -> None:
        try:
            await job.live()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # of a launcher that keeps no contract, or Ctrl-C on trio
            self._fail(_without_our_groups(error))
        finally:
            self._active -= 1
            self._channel.remove_producer()
            self._start_queued()

    async def _run_watcher(self, job: Job) -> None:
        try:
            await job.watch()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # of a launcher that keeps no contract
            self._fail(error)

    def _start_queued(self) -> None:
        """Begin the lives for which there is room; after a kill, end all that have not begun."""
        while self._queue and self._barrier.thrown:
            self._end_unstarted(self._queue.popleft())
        room = inf if self._max_processes is None else self._max_processes
        while self._queue and self._active < room:
            self._begin(self._queue.popleft())

    def _take_from_queue(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting[job].cancel()
        elif job in self._queue:
            self._queue.remove(job)
            self._end_unstarted(job)

    def _end_unstarted(self, job: Job) -> None:
        job.end_unstarted()
        self._channel.remove_producer()

    def _begin(self, job: Job) -> None:
        self._active += 1
        self._tasks.start_soon(self._run_job, job, name=f"currant job {job.name}")
        self._tasks.start_soon(self._run_watcher, job, name=f"watcher of {job.name}")

    def _fail(self, error: BaseException) -> None:
        """Stop all because of `error`; the first one leaves the block."""
        if self._error is None:
            self._error = error
        self._barrier.throw(f"{type(error).__name__}: {error}")

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _opened_channel(self) -> Channel:
        if not self._is_open:
            raise RuntimeError("the Runner has not been entered; use 'async with Runner(...)'")
        return self._channel


def _without_our_groups(error: BaseException) -> BaseException:
    """Return what an attempt's task groups wrapped."""
    while isinstance(error, BaseExceptionGroup):
        wrapped = cast("BaseExceptionGroup[BaseException]", error).exceptions
        ends = anyio.get_cancelled_exc_class()  # what the error has ended
        error = next((each for each in wrapped if not isinstance(each, ends)), wrapped[0])
    return error


def _checked_sinks(sinks: Iterable[Sink]) -> tuple[Sink, ...]:
    if not isinstance(cast("object", sinks), Iterable):
        raise CommandError(f"sinks must be a list of async callables, not {sinks!r}")
    checked = tuple(sinks)
    for sink in checked:
        if not callable(sink):
            raise CommandError(f"a sink must be an async callable, not {sink!r}")
    return checked


def _resolved(command: Command, defaults: Policies) -> Policies:
    """Return the policies of `command`, with those of the Runner where it has none."""
    restart, others = command.restart, command.kill_others_on
    if (restart, others, command.grace, command.capture) == (None, None, None, None):
        return defaults
    return Policies(
        restart=defaults.restart if restart is None else as_restart_policy(restart),
        kill_others_on=defaults.kill_others_on if others is None else others,
        grace=defaults.grace if command.grace is None else command.grace,
        capture=defaults.capture if command.capture is None else command.capture,
    )
