"""`map`: run a command for each item, and iterate over the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, Unpack, cast

import anyio

from currant._batch.background import start_in_background
from currant._batch.halt import checked_halt
from currant._batch.makers import maker_of
from currant._batch.work import Settings, Work
from currant._process.launcher import check_launcher
from currant._process.local import LocalLauncher
from currant._supervisor.sink_tasks import checked_sinks
from currant._synchronization import KillBarrier, running_loop
from currant._system.groups import require_posix
from currant._values.checks import check_count, check_flag, check_seconds, checked_signal
from currant._values.errors import CommandError, WrongLoopError
from currant._values.policies import Policies, check_policies
from currant._values.restart import RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    from currant._batch.halt import HaltWhen
    from currant._batch.items import Items
    from currant._process.launcher import Launcher
    from currant._supervisor.sink_tasks import Sink
    from currant._values.capture import CaptureLike
    from currant._values.command import CommandLike, CommandOptions, MapOptions
    from currant._values.launch_spec import SignalTarget
    from currant._values.results import Result

__all__ = ["Map", "map"]

T = TypeVar("T")


def map(  # noqa: A001 - as the builtin
    template: CommandLike | Callable[[T], CommandLike],
    items: Items[T],
    *,
    max_processes: int | None = None,
    retries: int | RestartPolicy = 0,
    keep_order: bool = False,
    halt: HaltWhen | None = None,
    halt_after: float = 1,
    timeout: float | None = None,
    grace: float = 5.0,
    capture: CaptureLike = True,
    sinks: Iterable[Sink] = (),
    buffer_size: int = 16,
    launcher: Launcher | None = None,
    **command_options: Unpack[MapOptions],
) -> Map[T]:
    """Run one command for each item, several at a time, and iterate over the results.

    Count the lines of files, and say which cannot be read::

        import currant

        files = ["/etc/passwd", "/no/such/file"]
        async for file, result in currant.map("wc -l {}", files):
            if result.status == "failed":
                print(file, result.exit, result.stderr_text)

    The items are taken one by one, as commands end, so there may be any number of them.  Memory
    holds only the commands that run and the results that nobody has taken yet.  If the loop is
    slower than the commands, or if these results have more than 64 MiB, no more commands start
    until it has caught up.

    In a template, ``{}`` stands for the item, ``{.}`` for the item without its extension, ``{/}``
    for its last path component, ``{//}`` for its folder, and ``{/.}`` for its last path component
    without the extension; ``{#}`` for the number of the item, from 1, and ``{%}`` for that of the
    slot.  If the items are tuples, ``{1}`` is the first value, and if they are mappings, ``{name}``
    is the value of a key.  Without any of these, the item becomes the last argument.  A value is
    always a whole argument, or a part of one.  In a `Command.shell`, and in a line that needs a
    shell, the shell gets the values as parameters, and not as a part of the script.

    Leaving the loop early, by `break` for example, is a kill: the commands are stopped in the
    background.  To wait until they are gone, use a block::

        import currant

        words = ["sparrow", "finch", "wren"]
        async with currant.map("grep -q {} /etc/passwd", words, max_processes=8) as results:
            async for word, result in results:
                if result.status == "succeeded":
                    break

    Args:
        template: a command with placeholders, or a function that returns the command of an item.
        items: an iterable or an async iterable, of any length.  A plain one should not block.
        max_processes: how many commands run at the same time; None: as many as this program has
            processors, or as the hosts of the launcher have places.
        retries: how often a command that fails is run again, after a delay that grows from 0.1 s;
            or a `RestartPolicy`.  The result is that of the last attempt.
        keep_order: whether the results come in the order of the items.  Up to 1,000 results, or
            64 MiB of output and input, wait for an earlier one; then no more commands start.
        halt: what to do after too many failures: ``"now"``: stop all commands; ``"soon"``: start no
            more; None: go on.  All commands that were started still have a result.
        halt_after: how many failures are too many; a float below 1 is a share of the commands that
            have ended, and counts from the third failure on.
        timeout: seconds that each attempt may take; then it is stopped and has failed.
        grace: seconds that a command has to stop after the request, before SIGKILL.
        capture: the part of the output that results carry; see `Runner`.
        sinks: async callables that take all messages; see `Runner`.
        buffer_size: how many messages wait for a slow sink before the commands wait.
        launcher: starts the processes; None: a `LocalLauncher`.
        command_options: as for `Command`, for each command.

    Returns:
        An async iterator of pairs of an item and its result, in the order in which the commands
        end.  If an item does not fit into the template, its result has failed, with a
        `CommandError`; if its program is missing, with a `LaunchError`.

    Raises:
        CommandError: at the call: an argument or the template is wrong.  If `items` is lazy, a
            wrong template may be found only at the first step.  At the first step: the first item
            does not fit into the template, so the template counts as wrong.
        WrongLoopError: at the call: no event loop runs here, as in synchronous code.
        CommandNotFoundError: at the first step: the program of the template does not exist.
        Exception: at the next step: whatever `items`, `template` or a sink has raised.

    Cancellation: a step that is cancelled stops all commands, as the end of a block does.  The
    cancellation continues when they are gone: after the grace and a few seconds at most.  A second
    Ctrl-C skips the rest of the grace.
    """
    require_posix()
    policies = _policies(retries, grace, capture)
    check_count("max_processes", 1 if max_processes is None else max_processes)
    check_count("buffer_size", buffer_size)
    check_seconds("timeout", timeout)
    check_flag("keep_order", keep_order)
    options = cast("CommandOptions", {**command_options})
    if timeout is not None:
        options["timeout"] = timeout
    check_launcher(launcher)
    make = maker_of(template, items, options)
    launcher = LocalLauncher() if launcher is None else launcher
    settings = Settings(
        slots=max_processes,
        keep_order=keep_order,
        halt=checked_halt(halt, halt_after),
        policies=policies,
        launcher=launcher,
        sinks=checked_sinks(sinks),
        buffer_size=buffer_size,
        checks_first=make.has_program,
    )
    _require_event_loop()
    barrier = KillBarrier()
    return Map(Work(make, items, settings, barrier), barrier)


class Map(Generic[T]):
    """The results of `map`: an async iterator, and an async context manager for one use."""

    def __init__(self, work: Work[T], barrier: KillBarrier) -> None:
        self._work = work
        self._barrier = barrier
        self._has_begun = False
        self._is_entered = False
        self._is_killed = False

    def __repr__(self) -> str:
        work = self._work
        return (
            f"<Map {len(work.running)} running, {work.succeeded} succeeded, {work.failed} failed, "
            f"{work.stopped} stopped>"
        )

    @property
    def barrier(self) -> KillBarrier:
        """The gate that is thrown to stop all commands, whatever the reason."""
        return self._barrier

    @property
    def launcher(self) -> Launcher:
        """The launcher that starts the processes."""
        return self._work.launcher

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[T, Result]:
        """Return the next item that has ended, with its result; see `map`."""
        self._begin()
        try:
            ended = await self._work.outbox.take()
        except BaseException as error:  # a cancellation, or Ctrl-C
            await self._wait_until_over(f"the iteration was left by {type(error).__name__}")
            raise
        if ended is None:
            await self._wait_until_over("all commands have ended")
            self._raise_failure()
            raise StopAsyncIteration
        return ended.item, ended.result

    async def aclose(self) -> None:
        """Stop all commands, and wait until they are gone.

        Cancellation: continues when they are gone.
        """
        reason = "the map was closed"
        self._barrier.throw(reason)  # Nothing starts in a later step, either.
        if self._has_begun:
            self._work.home.check("Map.aclose")
            await self._wait_until_over(reason)

    def kill(self, reason: str | None = None) -> None:
        """Throw the barrier: stop all commands and start no more; return at once.

        Any thread and any signal handler may call this, any number of times; a second call while
        commands are still stopping skips the rest of the grace.  The iteration goes on with the
        results of the commands that were stopped.
        """
        is_repeated, self._is_killed = self._is_killed, True
        self._barrier.throw(reason)
        if is_repeated:
            self._work.home.call_in_task_soon(self._work.hurry)

    async def send_signal(self, signal: int | str, to: SignalTarget = "group") -> int:
        """Send a signal to all commands that run, and return how many got it.

        Cancellation: some of the commands may have got the signal.

        Raises:
            CommandError: there is no such signal, or `to` is neither ``"group"`` nor ``"leader"``.
        """
        number = checked_signal("signal", signal)
        if self._has_begun:
            self._work.home.check("Map.send_signal")
        attempts = [running.life.attempt for running in self._work.running.values()]
        return sum([await attempt.send_signal(number, to) for attempt in attempts])

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a Map is for one use; call map again")
        self._begin()
        self._is_entered = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop what still runs, and wait until it is gone."""
        end = "was left" if exc_type is None else f"raised {exc_type.__name__}"
        await self._wait_until_over(f"the block {end}")
        if exc_type is None:
            self._raise_failure()

    def __del__(self) -> None:
        if self._has_begun:
            self._barrier.throw("nobody iterates any more")

    def _begin(self) -> None:
        self._work.home.check("currant.map")
        if not self._has_begun:
            self._has_begun = True
            start_in_background(self._work.run, "currant map")

    def _raise_failure(self) -> None:
        error = self._work.failure.error
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            # As it is, it would end the loop as if there were no more items.
            problem = f"the items or the template raised {error!r}"
            raise RuntimeError(problem) from error  # noqa: TRY004 - as Python does in a generator
        self._work.failure.raise_first()

    async def _wait_until_over(self, reason: str) -> None:
        """Kill, and wait until no process is left.

        Cancellation: continues then.  A native cancellation of asyncio or a Ctrl-C in the meantime
        skips the rest of the grace.
        """
        work, interrupt = self._work, None
        if not work.over.is_set():
            self._barrier.throw(reason)
        while not work.over.is_set():
            try:
                with anyio.CancelScope(shield=True):  # Bounded: see `Work.run`.
                    await work.over.wait()
            except BaseException as error:  # a native cancellation of asyncio, or Ctrl-C
                work.hurry()
                interrupt = error
        if interrupt is not None:
            raise interrupt


def _require_event_loop() -> None:
    try:
        running_loop()
    except RuntimeError:
        raise WrongLoopError(
            "currant.map",
            "works only where an event loop runs: iterate over it with 'async for' in a coroutine "
            "function, such as main, and call anyio.run(main)",
        ) from None


def _policies(retries: object, grace: float, capture: CaptureLike) -> Policies:
    if isinstance(retries, RestartPolicy):
        restart = retries
    else:
        check_count("retries", retries, minimum=0)
        count = cast("int", retries)
        restart = RestartPolicy(
            "on-failure" if count else "never", max_restarts=count, reset_after=float("inf")
        )
    check_policies(restart, None, grace, capture, None, None)
    if None in (cast("object", grace), cast("object", capture)):
        raise CommandError("the grace and the capture of a map cannot be None")
    return Policies(restart=restart, kill_others_on=None, grace=grace, capture=capture)
