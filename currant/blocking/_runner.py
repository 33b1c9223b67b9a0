"""`Runner`: the block of a `currant.Runner` for a thread without an event loop."""

from __future__ import annotations

from contextlib import suppress
from threading import RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack
from weakref import WeakValueDictionary

from currant._supervisor.job import hold_output
from currant._supervisor.runner import Runner as AsyncRunner
from currant._values.names import ByName
from currant.blocking._background import Background
from currant.blocking._caller import BlockEndedError
from currant.blocking._callers import NOT_ENTERED, Callers
from currant.blocking._commands import all_for_threads, for_threads
from currant.blocking._job import Job

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from anyio.from_thread import BlockingPortal

    from currant._run import RunnerOptions
    from currant._supervisor.job import Job as AsyncJob
    from currant._synchronization import KillBarrier
    from currant._values.command import CommandLike
    from currant._values.launch_spec import SignalTarget
    from currant._values.names import Commands
    from currant._values.results import Results

__all__ = ["Runner"]

__tracebackhide__ = True  # pytest leaves these frames out


class _BodyError(Exception):
    """Stands in the event loop for the exception that the block of the thread has raised."""


class Runner:
    r"""Run many commands from synchronous code; a context manager for one use.

    It does what `currant.Runner` does, in an event loop in a thread of its own::

        from currant import Command, blocking, ready

        serving = ready.line("^Serving HTTP")
        server = Command.parse("python3 -u -m http.server 0", name="web", ready=serving)
        with blocking.Runner(on_exit="stop") as runner:
            job = runner.start(server)  # returns when the server is ready
            port = int(job.expect(r"port (\d+)")[1])

    Output goes to the sinks, to `Job.lines` and the other methods of a `Job`, and into the results.
    There is no iteration over the messages of all commands; a sink gets them.

    Output waits for the first call that reads it: without a sink, a command that has written more
    than about 128 KiB waits for the thread that started it, for a second at most.  It does not wait
    while that thread itself waits for a command.

    Any thread may call any method; end the threads that read before you leave the block.  Ctrl-C,
    or another exception that a signal handler raises, interrupts each call.  At the end of the
    block the first Ctrl-C stops the commands, and the second skips the rest of the grace.

    A function of a probe (`currant.ready.when`) that is not async is called in a worker thread.

    Args:
        commands: as for `currant.Runner`.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: as for `anyio.run`, such as ``{"use_uvloop": True}``.
        portal: run in the event loop of this portal of anyio instead of a new one; `backend` and
            `backend_options` then have no effect.
        options: as for `currant.Runner`.

    Raises:
        CommandError, DuplicateNameError, NotImplementedError: when built, as by `currant.Runner`.
        CommandNotFoundError, CurrantError: on entry, as by `currant.Runner`.
        RuntimeError: a call before the entry, after the end, in a fork of the program, or in the
            thread of the event loop.
        concurrent.futures.CancelledError: on leaving: the portal was stopped; all commands have
            been stopped.
    """

    def __init__(
        self,
        commands: Commands = (),
        *,
        backend: str = "asyncio",
        backend_options: dict[str, Any] | None = None,
        portal: BlockingPortal | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None:
        options.setdefault("iterable", False)
        self._runner = AsyncRunner(all_for_threads(commands), **options)
        self._has_sinks = bool(options.get("sinks"))
        loop: dict[str, Any] = {"backend": backend, "backend_options": backend_options}
        self._background = Background(self._run_block, loop, portal)
        self._callers = Callers()
        # By the job itself: a name is free again when the Runner has forgotten its job.
        self._jobs: WeakValueDictionary[AsyncJob, Job] = WeakValueDictionary()
        self._lock = RLock()  # so that two threads make no two of the same job
        self._is_used = False
        self._has_body_failed = False

    def __repr__(self) -> str:
        return repr(self._runner)

    def __getitem__(self, name: str) -> Job:
        """Return the job of that name.

        Raises:
            UnknownNameError: a `KeyError`: there is no such job.
        """
        return self.jobs[name]

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The commands by name, in the order given; empty before the Runner is entered."""
        jobs = self._callers.look(lambda: dict(self._runner.jobs))
        return MappingProxyType(ByName({name: self._job(job) for name, job in jobs.items()}))

    @property
    def results(self) -> Results:
        """The results of the commands that have ended and do not run again, in the order given."""
        return self._callers.look(lambda: self._runner.results)

    @property
    def barrier(self) -> KillBarrier:
        """The gate that is thrown to stop all commands, whatever the reason."""
        return self._runner.barrier

    def start(self, command: CommandLike, *, timeout: float | None = None) -> Job:
        """Start one more command, and return when it runs (and is ready, if it has a probe).

        Args:
            command: as for `currant.Runner`.
            timeout: seconds to wait; None: no limit but that of the probe.

        Raises:
            TimeoutError: the time is over; the command goes on.
            LaunchError, NotReadyError, DependencyError, CommandError, DuplicateNameError: as by
                `currant.Runner.start`.
            RuntimeError: the Runner has not been entered, or has ended.
        """
        job = self.start_soon(command)
        job.up(timeout=timeout)
        return job

    def start_soon(self, command: CommandLike) -> Job:
        """Start one more command, or queue it, without waiting; as `currant.Runner.start_soon`."""
        return self._job(self._callers.call_sync(lambda: self._add(command)))

    def join(self, *, timeout: float | None = None) -> Results:
        """Wait until every command has ended and every sink has had all messages.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            TimeoutError: the time is over; the commands go on.
            RuntimeError: the Runner has not been entered, or has ended.
        """
        what = "the commands have not ended"
        return self._callers.call_within(timeout, what, self._runner.join)

    def kill(self, reason: str | None = None) -> None:
        """Stop all commands and start no more; return at once, as `currant.Runner.kill` does.

        A second call while commands are stopping skips the rest of the grace.  Any signal handler
        may call this.

        Raises:
            RuntimeError: the entry of the Runner has not begun.
        """
        if not self._is_used:
            raise RuntimeError(NOT_ENTERED)
        self.barrier.throw(reason)
        with suppress(RuntimeError):  # The entry has not begun in the event loop.
            self._runner.kill(reason)

    def send_signal(
        self, signal: int | str, name: str | None = None, to: SignalTarget = "group"
    ) -> int:
        """Send a signal to one command or to all; return how many got it.

        Args:
            signal: a number, or a name such as ``"HUP"``.
            name: the name of the command; None: all commands.
            to: ``"group"``: the process group of the command; ``"leader"``: the process that
                currant started.

        Raises:
            UnknownNameError, CommandError: as by `currant.Runner.send_signal`.
        """
        return self._callers.call(lambda: self._runner.send_signal(signal, name, to))

    def __enter__(self) -> Self:
        """Enter the block; see `Runner`."""
        if self._is_used:
            raise RuntimeError("a Runner is for one use; build another one")
        self._is_used = True
        self._callers.adopt_owner()
        try:
            self._background.start()
            return self  # noqa: TRY300 - an interrupt after this line would leave the block entered
        except BaseException as error:
            self._leave(error)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Leave the block; see `Runner`."""
        try:
            self._leave(exc_val)
        except BaseException as error:
            self._leave(error)  # An interrupt may have come before the first step.
            raise

    async def _run_block(self) -> None:
        """Run the block in the event loop; its task makes the calls of the thread that entered."""
        with suppress(_BodyError):
            async with self._callers.open(), self._runner:
                for job in self._runner.jobs.values():
                    self._hold_output(job)
                self._background.enter()
                await self._callers.owner.serve()
                if self._has_body_failed:
                    raise _BodyError

    def _leave(self, error: BaseException | None) -> None:
        """Wait for the end of the block; an exception in this thread stops it sooner.

        Raises:
            BaseException: the first exception that a signal handler has raised here, such as
                `KeyboardInterrupt`.  If there is none, the failure of the block in the event loop,
                such as the error of a sink; `error` takes precedence over such a failure.
            RuntimeError: the block has not been entered, or this is the thread of the event loop.
        """
        if not self._is_used:
            raise RuntimeError(NOT_ENTERED)
        self._callers.check_thread()
        interrupts: list[BaseException] = []
        # An interrupt may come at any step; then all steps are made again.
        while not (self._background.is_over or self._callers.is_in_fork):
            try:
                if interrupts:
                    self._stop_sooner()
                self._begin_to_leave(error)
                self._background.wait_for_end()
            except BaseException as raised:
                interrupts.append(raised)
        if interrupts:
            raise interrupts[0]
        failure = self._background.failure
        # The reason why a call of the body was refused says more than the refusal.
        if failure is not None and (error is None or isinstance(error, BlockEndedError)):
            raise failure

    def _begin_to_leave(self, error: BaseException | None) -> None:
        if error is not None:
            self._has_body_failed = True
            self.barrier.throw(f"the block was left by {type(error).__name__}")
        self._callers.owner.abort()

    def _stop_sooner(self) -> None:
        """Stop the commands; if they are stopping, skip the rest of the grace."""
        if self.barrier.thrown:
            self.kill()
            self.kill()  # Only a repeated `kill` skips the grace.
        else:
            self.barrier.throw("an interrupt")

    def _add(self, command: CommandLike) -> AsyncJob:
        job = self._runner.start_soon(for_threads(command))
        self._hold_output(job)
        return job

    def _hold_output(self, job: AsyncJob) -> None:
        """Keep the output for the first call that reads it, unless the sinks take it."""
        if not self._has_sinks:
            hold_output(job)

    def _job(self, job: AsyncJob) -> Job:
        """Return the job for threads, always the same object for the same job."""
        with self._lock:
            return self._jobs.setdefault(job, Job(job, self._callers))
