"""`Runner`: the block of a `currant.Runner` for a thread without an event loop."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import ExitStack
from functools import partial
from threading import local
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from anyio.from_thread import start_blocking_portal

from currant._supervisor.runner import Runner as AsyncRunner
from currant._synchronization import HomeLoop, task_group_beside
from currant._values.names import ByName
from currant.blocking._caller import Caller
from currant.blocking._job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from anyio.abc import TaskGroup
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

T = TypeVar("T")

NOT_ENTERED = "the blocking Runner has not been entered; use 'with Runner(...)'"


class _BodyError(Exception):
    """Stands in the event loop for the exception that the block of the thread has raised."""


class _PerThread(local):
    """The caller of each thread, which ends when the thread ends."""

    caller: Caller | None = None

    def __del__(self) -> None:
        if self.caller is not None:
            self.caller.close()


class Runner:
    r"""Run many commands from synchronous code; a context manager for one use.

    It does what `currant.Runner` does, in an event loop in a thread of its own::

        from currant import Command, blocking

        server = Command.parse("python3 -u -m http.server 0", name="web", ready="line:Serving")
        with blocking.Runner(on_exit="stop") as runner:
            job = runner.start(server)  # returns when the server is ready
            port = int(job.expect(r"port (\d+)")[1])

    Output goes to the sinks, to `Job.lines` and the other methods of a `Job`, and into the results.
    There is no iteration over the messages of all commands; a sink gets them.

    Any thread may call any method.  The calls of one thread are made one after the other.  Ctrl-C,
    or another exception that a signal handler raises, interrupts each call.  At the end of the
    block the first Ctrl-C stops the commands, and the second skips the rest of the grace.

    A callback of a probe (`currant.ready.when`) that is no async function is called in a thread.

    Args:
        commands: as for `currant.Runner`.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: as for `anyio.run`, such as ``{"use_uvloop": True}``.
        portal: run in the event loop of this portal of anyio instead of a new one.
        options: as for `currant.Runner`.

    Raises:
        CommandError, DuplicateNameError, NotImplementedError: when built, as by `currant.Runner`.
        CommandNotFoundError, CurrantError: on entry, as by `currant.Runner`.
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
        self._runner = AsyncRunner(commands, **options)
        self._loop = (backend, backend_options)
        self._portal = portal
        self._resources = ExitStack()
        self._home = HomeLoop()
        self._jobs: dict[str, Job] = {}
        self._threads = _PerThread()
        self._owner = Caller(self._home)
        self._callers: TaskGroup | None = None  # the tasks of the other threads
        self._body_error: BaseException | None = None
        self._block: Future[None] | None = None

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
        jobs = self._look(lambda: dict(self._runner.jobs))
        return MappingProxyType(ByName({name: self._job(job) for name, job in jobs.items()}))

    @property
    def results(self) -> Results:
        """The results of the commands that have ended and do not run again, in the order given."""
        return self._look(lambda: self._runner.results)

    @property
    def barrier(self) -> KillBarrier:
        """The gate that is thrown to stop all commands, whatever the reason."""
        return self._runner.barrier

    def start(self, command: CommandLike, *, timeout: float | None = None) -> Job:
        """Start one more command, and return when it runs (and is ready, if it has a probe).

        Args:
            command: as for `currant.Runner`.
            timeout: seconds to wait; None: no limit but that of the probe.  The command stays.

        Raises:
            TimeoutError: the time is over.
            LaunchError, NotReadyError, DependencyError, CommandError, DuplicateNameError: as by
                `currant.Runner.start`.
            RuntimeError: the Runner has not been entered, or has ended.
        """
        job = self.start_soon(command)
        job.up(timeout=timeout)
        return job

    def start_soon(self, command: CommandLike) -> Job:
        """Start one more command, or queue it, without waiting; as `currant.Runner.start_soon`."""
        return self._job(self._caller.look(lambda: self._runner.start_soon(command)))

    def join(self, *, timeout: float | None = None) -> Results:
        """Wait until every command has ended and every sink has had all messages.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            TimeoutError: the time is over; the commands go on.
            RuntimeError: the Runner has not been entered, or has ended.
        """
        what = "the commands have not ended"
        return self._caller.call_within(timeout, what, self._runner.join)

    def kill(self, reason: str | None = None) -> None:
        """Stop all commands and start no more; return at once, as `currant.Runner.kill` does."""
        self._runner.kill(reason)

    def send_signal(
        self, signal: int | str, name: str | None = None, to: SignalTarget = "group"
    ) -> int:
        """Send a signal to one command or to all; return how many got it.

        Raises:
            UnknownNameError, CommandError: as by `currant.Runner.send_signal`.
        """
        return self._caller.call(lambda: self._runner.send_signal(signal, name, to))

    def __enter__(self) -> Self:
        """Enter the block; see `Runner`."""
        if self._block is not None:
            raise RuntimeError("a Runner is for one use; build another one")
        entered: Future[None] = Future()
        try:
            if self._portal is None:
                self._portal = self._resources.enter_context(start_blocking_portal(*self._loop))
            self._threads.caller = self._owner
            self._block = self._portal.start_task_soon(self._run_block, entered)
            entered.result()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Leave the block; see `Runner`."""
        if self._block is None:
            raise RuntimeError(NOT_ENTERED)
        self._leave(exc_val)

    async def _run_block(self, entered: Future[None]) -> None:
        """Run the block in the event loop; its task makes the calls of the thread that entered."""
        self._home.check("the entry of a blocking Runner")
        try:
            async with task_group_beside() as self._callers:
                self._callers.start_soon(self._home.run_calls)
                try:
                    async with self._runner:
                        entered.set_result(None)
                        await self._owner.serve()
                        if self._body_error is not None:
                            name = type(self._body_error).__name__
                            self.barrier.throw(f"the block was left by {name}")
                            raise _BodyError
                finally:
                    self._callers.cancel_scope.cancel()
        except _BodyError:
            pass
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    def _leave(self, error: BaseException | None) -> None:
        """Wait for the end of the block; an exception in this thread stops it sooner.

        Raises:
            BaseException: the first exception of a signal handler, such as `KeyboardInterrupt`, or
                that of the block, such as the error of a sink.
        """
        self._body_error = error
        self._owner.close()
        interrupt: BaseException | None = None
        while self._block is not None and not self._block.done():
            try:
                wait([self._block])
            except BaseException as raised:
                interrupt = interrupt or raised
                self._stop_sooner()
        self._resources.close()
        if interrupt is not None:
            raise interrupt
        if self._block is not None:
            self._block.result()

    def _stop_sooner(self) -> None:
        """Stop the commands; if they are stopping, skip the rest of the grace."""
        if self.barrier.thrown:
            self._runner.kill()
            self._runner.kill()
        else:
            self.barrier.throw("an interrupt")

    def _job(self, job: AsyncJob) -> Job:
        """Return the job for threads, always the same object for the same job."""
        return self._jobs.setdefault(job.name, Job(job, lambda: self._caller))

    def _look(self, function: Callable[[], T]) -> T:
        """Return what `function` finds; before the entry of the block and after it, too."""
        if self._block is None or self._block.done():
            return function()
        return self._caller.look(function)

    @property
    def _caller(self) -> Caller:
        """The caller of this thread.

        Raises:
            RuntimeError: the block has not been entered.
        """
        if self._threads.caller is None:
            if self._callers is None:
                raise RuntimeError(NOT_ENTERED)
            self._threads.caller = caller = Caller(self._home)
            self._home.call_in_task_soon(partial(self._callers.start_soon, caller.serve))
        return self._threads.caller
