"""`Runner`: the public task group whose tasks are processes.

The Runner checks its arguments and builds a `Plan` of the commands.  From the entry of the block,
a `Supervisor` runs the plan.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast, get_args

from currant._channel.readers import BatchReader, LineReader, Readers
from currant._channel.unread import CodeLine
from currant._process.launcher import check_launcher
from currant._process.local import LocalLauncher
from currant._supervisor.job import Job
from currant._supervisor.sink_tasks import checked_sinks
from currant._supervisor.startup import until_up
from currant._supervisor.supervisor import Settings, Supervisor
from currant._synchronization import KillBarrier
from currant._system.groups import require_posix
from currant._values.checks import (
    StrOrPath,
    check_choice,
    check_count,
    check_flag,
    check_seconds,
    checked_signal,
    checked_words,
)
from currant._values.errors import CommandError, UnknownNameError
from currant._values.names import ByName
from currant._values.options import RUNNER_HINTS, explains_options
from currant._values.plan import Plan
from currant._values.policies import OnExit, Policies, check_policies
from currant._values.restart import RestartPolicy, RestartWhen, as_restart_policy
from currant._values.results import Results

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    import anyio

    from currant._process.launcher import Launcher
    from currant._supervisor.sink_tasks import Sink
    from currant._values.capture import CaptureLike
    from currant._values.command import CommandLike
    from currant._values.launch_spec import KillMode, Leftovers, SignalTarget
    from currant._values.messages import BatchMessage, Message
    from currant._values.names import Commands
    from currant._values.policies import KillOthersOn

__all__ = ["Runner"]

NOT_ENTERED = "the Runner has not been entered; use 'async with Runner(...)'"


class Runner:
    """Run many commands as one task group; an async context manager for one use.

    For example, this runs two commands and stops both when one of them fails::

        import anyio
        from currant import Command, Runner

        async def main() -> None:
            commands = {"disk": ["df", "-h", "/"], "count": Command.shell("seq 3; exit 4")}
            async with Runner(commands, kill_others_on="failure") as runner:
                async for message in runner:
                    print(message)
            print(runner.results["count"].exit)  # exit code 4

        anyio.run(main)

    On entry the program, the working directory and the files of every command are looked up; then
    all commands are started.  Leaving the block normally closes the stdin of commands with
    ``stdin=PIPE`` (but closes no terminal), and waits for all commands, as `join` does; with
    ``on_exit="stop"`` it stops them.  If the body raises or is cancelled, all commands are stopped,
    which takes at most their grace and a little; then the body's own exception goes on, unchanged.

    Only `kill` may be called from other threads and from signal handlers.  Enter and leave the
    block in the same task; another task may leave it only when the first task has ended, as in the
    fixtures of pytest-asyncio and in the cells of a notebook.

    Args:
        commands: an iterable of commands, or a mapping from names to commands.  A command is a
            `Command`, a str (split as by `Command.parse`) or a sequence of words.
        restart: whether a command that ended by itself is started again: ``"never"``,
            ``"on-failure"``, ``"always"`` or a `RestartPolicy`.
        kill_others_on: stop all commands when one ends for good by ``"failure"``, by
            ``"success"``, or in any way (``"exit"``); None: never.
        grace: seconds that a command has to stop after the request, before SIGKILL.
        max_processes: how many commands may run at the same time; the others are queued in order.
            A command that waits for its restart counts as running.  A command that waits for its
            dependencies (`Command.after`) does not count.  None: no limit.
        capture: the part of the output that results carry: False (nothing), True (everything),
            the number of last bytes of each stream, or a `Capture`.
        buffer_size: how many messages (among them batches of output of up to 320 KiB) each reader
            may be behind before the commands wait for the reader.  Iteration may also be behind by
            256 KiB of output at most, or one larger batch, beside the batch that is being read, so
            that lines do not wait long behind the lines of a chatty command.
        sinks: async callables that take all messages.  Each sink has a subscription of its own, and
            `join` waits for all sinks.  Without a sink, see `unread`.  With a sink, output that
            no task iterates over is discarded for iteration: a loop that begins later finds what
            fits into the buffer, and a `Dropped` for the rest.
        launcher: starts the processes; None: a `LocalLauncher` with `orphan_guard` and `cgroup`.
        orphan_guard: whether a small helper process stops the commands if this program dies without
            leaving the block, even by SIGKILL.  The helper exits with the block.  If the helper
            cannot be started, a `RuntimeWarning` says so, and the commands run without it.
        cgroup: whether each attempt of a command has a control group of Linux, so that all of its
            descendants end with it, also those that hide.  True: an error on entry if this program
            may not create control groups.  ``"auto"``: control groups if the program may create
            them.  A start takes 10 to 20 ms longer.  Commands with ``leftovers="leave"`` have none.
        timeout: seconds that the whole Runner may take; then all commands are stopped, and the
            commands that were still running have failed.
        keep_open: whether the Runner waits for more commands when none is left, until a kill.
        on_exit: what the normal end of the block does: ``"wait"`` for all commands, or ``"stop"``
            them.  Use ``"stop"`` for side processes that do not exit by themselves.
        iterable: whether messages are kept for iteration.  False: only sinks and captures get the
            output, which saves a fifth of the time at full speed.
        kill_mode: the processes of a command that are asked to stop: ``"group"``, the whole process
            group, or ``"mixed"``, the leader alone; see `Command`.
        leftovers: what happens to the processes that the leader of a command leaves behind:
            ``"stop"``, ``"wait"`` or ``"leave"``; see `Command`.
        wrap: words to put before the words of each command, such as ``("nice", "-n", "5")`` or a
            sandbox; see `Command`.
        unread: what happens to output if no task iterates over the Runner and there is no sink.
            ``"discard"``: once the buffer has been full for a second without a reader, the oldest
            output is discarded, and an `UnreadOutputWarning` says so; a loop that begins later
            finds what fits into the buffer, and a `Dropped` for the rest.  A slow reader loses
            nothing.  ``"wait"``: the commands wait until a task iterates, or waits for a command.
        keep_results: how many commands that have ended `jobs` and `results` remember, for a Runner
            that is given commands without end; None: all.  A `Job` that you hold keeps its result
            and its `tail`, but no other output, and cannot run again.  `Results.ok` and
            `Results.check` do not count forgotten commands.  A command that another one names in
            `after` or `restart_with`, or that has `watch`, is always remembered.  The name of a
            forgotten command is free again.

    Raises:
        CommandError: when built: a command or a policy is invalid.
        UnknownOptionError: when built; a `TypeError`: there is no such argument.
        DuplicateNameError: when built: two commands were given the same name.
        NotImplementedError: when built: the system has no process groups.
        CommandNotFoundError: on entry: a program or working directory is missing; no command has
            been started.  For a user, a limit or a socket, a `CommandError` in the same way.
        CurrantError: on entry: `cgroup` is True, and this program may not create control groups.
        WrongTaskError: on leaving: the block was left in another task, while the task that entered
            it goes on; all commands have been stopped.
        WrongLoopError: on leaving: the block was left in another event loop; nothing has changed.

    Cancellation: a kill.  The cancellation continues when all commands have stopped: after the
    longest grace and a few seconds at most.  (Commands stop after their dependents, so the graces
    of dependent commands add up.)  Slow sinks may double that time.  A second Ctrl-C skips the rest
    of the grace.
    """

    @explains_options("Runner", RUNNER_HINTS, "a list or a mapping of commands")
    def __init__(
        self,
        commands: Commands = (),
        *,
        restart: RestartWhen | RestartPolicy = "never",
        kill_others_on: KillOthersOn | None = None,
        grace: float = 5.0,
        max_processes: int | None = None,
        capture: CaptureLike = False,
        buffer_size: int = 16,
        sinks: Iterable[Sink] = (),
        launcher: Launcher | None = None,
        orphan_guard: bool = True,
        cgroup: bool | Literal["auto"] = False,
        timeout: float | None = None,
        keep_open: bool = False,
        iterable: bool = True,
        on_exit: OnExit = "wait",
        kill_mode: KillMode = "group",
        leftovers: Leftovers = "stop",
        wrap: Sequence[StrOrPath] = (),
        unread: Literal["discard", "wait"] = "discard",
        keep_results: int | None = None,
    ) -> None:
        require_posix()
        check_policies(restart, kill_others_on, grace, capture, kill_mode, leftovers)
        own = cast("tuple[object, ...]", (restart, grace, capture, kill_mode, leftovers))
        if any(policy is None for policy in own):
            raise CommandError(
                "a Runner's own restart, grace, capture, kill_mode and leftovers cannot be None"
            )
        check_count("max_processes", 1 if max_processes is None else max_processes)
        check_count("buffer_size", buffer_size)
        check_seconds("timeout", timeout)
        check_flag("orphan_guard", orphan_guard)
        _check_cgroup(cgroup, launcher)
        check_flag("keep_open", keep_open)
        check_flag("iterable", iterable)
        check_choice("on_exit", on_exit, get_args(OnExit))
        check_choice("unread", unread, ("discard", "wait"))
        check_count("keep_results", 0 if keep_results is None else keep_results, minimum=0)
        check_launcher(launcher)
        if launcher is None:
            launcher = LocalLauncher(orphan_guard=orphan_guard, cgroup=cgroup)
        policies = Policies(
            restart=as_restart_policy(restart),
            kill_others_on=kill_others_on,
            grace=grace,
            capture=capture,
            kill_mode=kill_mode,
            leftovers=leftovers,
            wrap=checked_words("wrap", wrap),
        )
        self._plan = Plan(commands, policies)
        self._settings = Settings(
            max_processes=max_processes,
            buffer_size=buffer_size,
            sinks=checked_sinks(sinks),
            launcher=launcher,
            timeout=timeout,
            keep_open=keep_open,
            iterable=iterable,
            stop_on_exit=on_exit == "stop",
            waits_for_reader=unread == "wait",
            keep_results=keep_results,
            built_at=CodeLine.of_caller(),
        )
        self._barrier = KillBarrier()
        self._is_killed = False
        self._supervisor: Supervisor | None = None  # from the entry on
        self._block: AbstractAsyncContextManager[None] | None = None  # inside of the block

    def __repr__(self) -> str:
        counts = Counter(job.state for job in self.jobs.values())
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        return f"<Runner {states or 'without commands'}>"

    def __getitem__(self, name: str) -> Job:
        """Return the job of that name.

        Raises:
            UnknownNameError: a `KeyError`: there is no such job, or the Runner was not entered.
        """
        return self._job(name)

    def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate over the messages, output line by line, until no command is left.

        The loop may be left with `break` and taken up again; two tasks may share the messages.
        Cancellation: loses nothing.

        Raises:
            RuntimeError: the Runner has not been entered, or was built with ``iterable=False``.
        """
        return LineReader(self._readers())

    def batches(self) -> AsyncIterator[BatchMessage]:
        """Iterate over the same messages with the output in whole batches, which is faster."""
        return BatchReader(self._readers())

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The commands by name, in the order given; empty before the Runner is entered."""
        jobs = ByName[Job]() if self._supervisor is None else self._supervisor.dispatcher.jobs
        return MappingProxyType(jobs)

    @property
    def results(self) -> Results:
        """The results of the commands that have ended and do not run again, in the order given."""
        return Results({n: job.result for n, job in self.jobs.items() if job.result is not None})

    @property
    def barrier(self) -> KillBarrier:
        """The gate that is thrown to stop all commands, whatever the reason."""
        return self._barrier

    @property
    def launcher(self) -> Launcher:
        """The launcher that starts the processes."""
        return self._settings.launcher

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The scope of the block: cancelling it stops everything, and the block ends normally."""
        return self._opened("Runner.cancel_scope").scope

    def start_soon(self, command: CommandLike) -> Job:
        """Start one more command, or queue it if `max_processes` run; never waits.

        A command that cannot be started is reported by a `Failed` message and in the results.
        A command with the name of a command that has ended takes its place: the same `Job` begins
        another life, with the new command.  A default name gets a number instead (``sleep#2``).
        After a kill, the job ends as ``"stopped"`` and is never started.

        Raises:
            CommandError: the command is wrong.
            DuplicateNameError: the command was given the name of a command that has not ended.
            RuntimeError: the Runner has not been entered, or has ended.
        """
        supervisor = self._opened("Runner.start_soon")
        if supervisor.is_closing:
            raise RuntimeError("the Runner has ended; its block starts no more commands")
        return supervisor.add(command)

    async def start(self, command: CommandLike) -> Job:
        """Start one more command, and wait until it runs; with a `ready` probe, until it is ready.

        If `max_processes` run, this waits in the queue, and it waits for dependencies.  Meanwhile,
        unread output that does not fit is discarded (see `Dropped`).  After a kill, or if the job
        is killed in the queue, this returns the stopped job at once; with a `ready` probe, it
        raises `NotReadyError`.
        Cancellation: the command goes on.

        Raises:
            LaunchError: the command could not be started, and the restart policy has given up.
            NotReadyError: the command exited, was stopped or took too long before it was ready.
                The error is raised when all processes of the attempt are gone, after the grace at
                the latest, and when readers and sinks have taken its output.
            DependencyError: the command was skipped, because a dependency can never be met.
            CommandError, DuplicateNameError, RuntimeError: as for `start_soon`.
        """
        job = self.start_soon(command)
        await until_up(job)
        return job

    async def join(self) -> Results:
        """Wait until all is over, and return the results.

        Then every command has ended, and every reader and sink has had all messages.  Any number of
        tasks may wait, any number of times.  Meanwhile, unread output that does not fit is
        discarded (see `Dropped`).
        Cancellation: harmless; the commands go on.
        """
        await self._opened("Runner.join").join()
        return self.results

    def kill(self, reason: str | None = None) -> None:
        """Throw the barrier: stop all commands and start no more; return at once.

        Any thread and any signal handler may call this, any number of times.  Each call after the
        first skips the rest of the grace of the commands that are still stopping.  The first does
        not, even if something else has begun the stop: a failure, a time limit or `Job.kill`.  To
        wait until all commands are gone, await `join` or leave the block.  A kill during the entry
        counts: nothing starts.

        Raises:
            RuntimeError: the entry of the Runner has not begun.
        """
        supervisor = self._supervisor  # While the block is being entered, too.
        if supervisor is None:
            raise RuntimeError(NOT_ENTERED)
        is_repeated, self._is_killed = self._is_killed, True
        self._barrier.throw(reason)
        if is_repeated:
            supervisor.hurry_soon()

    async def send_signal(
        self, signal: int | str, name: str | None = None, to: SignalTarget = "group"
    ) -> int:
        """Send `signal` to the process group of one command, or of all; return how many got it.

        `signal` is a number or a name, such as ``"HUP"``.  With ``to="leader"`` only the process
        that currant started gets the signal; see `Job.send_signal`.

        A command that does not run is not an error.
        Cancellation: some of the commands may have got the signal.

        Raises:
            UnknownNameError: a `KeyError`: there is no command of that name.
            CommandError: there is no such signal, or `to` is neither ``"group"`` nor ``"leader"``.
        """
        if signal != 0:
            checked_signal("signal", signal)
        if self._supervisor is not None:
            self._supervisor.home.check("Runner.send_signal")
        jobs = list(self.jobs.values()) if name is None else [self._job(name)]
        return sum([await job.send_signal(signal, to) for job in jobs])

    async def __aenter__(self) -> Self:
        """Enter the block; see `Runner`."""
        if self._supervisor is not None and self._supervisor.has_begun:
            raise RuntimeError("a Runner is for one use; build another one")
        self._supervisor = supervisor = Supervisor(self._plan, self._settings, self._barrier)
        block = supervisor.block()
        await block.__aenter__()
        self._block = block
        return self

    # Rejected: anyio.AsyncContextManagerMixin, which takes an exit that is refused for the exit.
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        """Leave the block; see `Runner`."""
        supervisor, block = self._supervisor, self._block
        if supervisor is None or block is None:
            raise RuntimeError(NOT_ENTERED)
        supervisor.check_exit()
        self._block = None
        return await block.__aexit__(exc_type, exc_val, exc_tb)

    def _opened(self, call: str) -> Supervisor:
        """Return the supervisor; check that `call` comes from the Runner's event loop."""
        supervisor = self._supervisor
        if supervisor is None or not supervisor.is_open:
            raise RuntimeError(NOT_ENTERED)
        supervisor.home.check(call)
        return supervisor

    def _job(self, name: str) -> Job:
        if self._supervisor is None:
            raise UnknownNameError(name, (), f"there is no job {name!r} yet: {NOT_ENTERED}")
        return self.jobs[name]

    def _readers(self) -> Readers:
        if not self._settings.iterable:
            raise RuntimeError("the Runner was built with iterable=False; its messages go to sinks")
        return self._opened("the iteration over a Runner").channel.readers


def _check_cgroup(cgroup: object, launcher: object) -> None:
    if cgroup not in (True, False, "auto"):
        raise CommandError(f"cgroup must be True, False or 'auto', not {cgroup!r}")
    if cgroup and launcher is not None:
        raise CommandError(
            "cgroup is for the launcher of this machine; with a launcher of your own, "
            "use LocalLauncher(cgroup=...)"
        )
