"""`Work`: the commands of one `map`, a limited number at a time.

    watching             the kill barrier; outside, because entering the launcher may take long
      launcher           ends last of the rest, and stops leftover processes
        sinks            end after the last message
          killing        calls from other threads, news of hosts, sweeps
            slots        each runs one command after the other

A slot is a task.  It takes an item, runs the whole life of its command, and hands over the result.
So an item that waits for its turn has no task, and nothing is left of a command after its end.  A
Runner starts a watcher with each command.  Here the watchers start at a kill, one for each command
that runs then, and stop the commands.
"""

from __future__ import annotations

import time
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from currant._batch.items import ItemSource
from currant._batch.outbox import Outbox
from currant._batch.tee import Tee
from currant._channel.channel import Channel
from currant._channel.discard import Discard
from currant._process.launcher import Checker, HostReporter, check_place, limits_of
from currant._supervisor.context import RunnerContext
from currant._supervisor.failure import Failure, unwrapped
from currant._supervisor.lifecycle import Lifecycle
from currant._supervisor.sink_tasks import SinkTasks
from currant._supervisor.sweep import FinalSweep
from currant._synchronization import HomeLoop, Notifier, keep_interrupts_out
from currant._system.processors import usable_processors
from currant._values.command import with_name, with_policies
from currant._values.errors import CommandError, CurrantError
from currant._values.messages import HostUp
from currant._values.plan import policies_of
from currant._values.results import Result, end_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

    from currant._batch.halt import Halt
    from currant._batch.items import Items, NumberedItem
    from currant._process.launcher import Launcher
    from currant._supervisor.sink_tasks import Sink
    from currant._synchronization import KillBarrier
    from currant._values.command import Command
    from currant._values.messages import HostMessage
    from currant._values.policies import Policies

__all__ = ["EndedItem", "Running", "Settings", "Work"]

T = TypeVar("T")

WINDOW = 1000
"""How many items later than the first unfinished one may start, if the results keep the order."""


MAX_HELD = 64 << 20
"""Bytes of output and input of the commands whose results nobody has taken, before others wait."""


class Settings(NamedTuple):
    """The options of `map` that do not concern single commands."""

    slots: int | None  # None: as many as the launcher has places
    keep_order: bool
    halt: Halt | None
    policies: Policies
    launcher: Launcher
    sinks: Sequence[Sink]
    buffer_size: int
    checks_first: bool  # whether the program of the first command is looked up before all others
    take_turn: Callable[[], Awaitable[None]] | None = None  # waits before each start of a process
    window: int = WINDOW  # see `Outbox`


class Running(NamedTuple, Generic[T]):
    """A command that runs; `since` is the `time.monotonic` of its start."""

    item: T
    life: Lifecycle
    since: float


class EndedItem(NamedTuple, Generic[T]):
    """An item whose command has ended."""

    number: int
    item: T
    command: Command | None  # None: the item did not fit into the template
    result: Result


class Work(Generic[T]):
    """Runs a command for each item.

    Args:
        make: builds the command of an item, from its number and its slot, both from 1.
        items: the items.
        settings: see `Settings`.
        barrier: stops everything when it is thrown.
        channel: takes the messages, in addition to the sinks; None: only the sinks take them.
        on_end: called when a command has ended, before its result is handed over; None: nothing.

    Attributes:
        launcher: starts the processes.
        outbox: the results.
        source: the items that are left.
        running: the commands that run, by number, the oldest first.
        succeeded, failed, stopped: how many commands have ended in this way.
        halted_by: the item whose end reached the limit of `Settings.halt`; None if none did yet.
        failure: the first error that is no failure of a command; see `currant.map`, Raises.
        home: the event loop that the commands run in, for calls from other threads.
        over: an event that is set when no process is left.
    """

    def __init__(
        self,
        make: Callable[[T, int, int], Command],
        items: Items[T],
        settings: Settings,
        barrier: KillBarrier,
        channel: Discard | None = None,
        on_end: Callable[[EndedItem[T]], Awaitable[None]] | None = None,
    ) -> None:
        self.source: ItemSource[T] = ItemSource(items)
        self.outbox: Outbox[EndedItem[T]] = Outbox(
            settings.slots or WINDOW, MAX_HELD, settings.window, keep_order=settings.keep_order
        )
        self.running: dict[int, Running[T]] = {}
        self.halted_by: EndedItem[T] | None = None
        self.succeeded: int = 0
        self.failed: int = 0
        self.stopped: int = 0
        self.over: anyio.Event = anyio.Event()
        self._make = make
        self._settings = settings
        self._barrier = barrier
        self._on_end = on_end
        self.launcher: Launcher = settings.launcher
        self._limits = limits_of(self.launcher)
        self.home: HomeLoop = HomeLoop()
        self._channel = channel
        self._commands: dict[str, Command] = {}  # those that run, for the sinks
        self.failure: Failure = Failure(barrier, self._on_interrupt)
        self._sinks = SinkTasks(settings.sinks, self.failure, self._limits)
        self._sweep = FinalSweep(self.launcher, self.failure, self._limits)
        self._context: RunnerContext  # as soon as there is a channel
        self._some_ended = Notifier()
        self._entry = anyio.CancelScope()  # of the launcher, which may take long
        self._is_entered = False
        self._slots = 0
        self._most_slots = 0
        self._slot_tasks: TaskGroup | None = None  # as soon as there is a first item
        self._idle_slots = 0  # those that wait for an item
        self._waiting_for_turn: set[anyio.CancelScope] = set()

    @property
    def has_started(self) -> bool:
        """Whether any command has been started."""
        return bool(self.running or self.succeeded or self.failed or self.stopped)

    async def run(self) -> None:
        """Run all commands until none is left; never raises, see `failure`.

        Cancellation: stops all commands.  Only the end of the event loop cancels this.
        """
        keep_interrupts_out(type(self).run)
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._watch_barrier)
                # Bounded: after a kill by the grace, limits.reap and limits.sinks.
                with anyio.CancelScope(shield=True), self._entry:
                    async with self.launcher:
                        self._is_entered = True
                        await self._run_all()
                watching.cancel_scope.cancel()
        except BaseException as error:  # of the launcher, or the end of the event loop
            self.failure.note(unwrapped(error))
        finally:
            self.outbox.close()
            self.over.set()

    def hurry(self) -> None:
        """Skip the rest of the grace of what is being stopped; called by a task."""
        self._sweep.hurry()
        self._sinks.hurry()
        for running in self.running.values():
            running.life.hurry()

    def _on_interrupt(self) -> None:
        """Hurry, if a signal handler has raised in one of our tasks: a second Ctrl-C on asyncio."""
        if self._barrier.thrown:
            self.hurry()

    async def _run_all(self) -> None:
        """Run the sinks, the helpers of a kill and the slots, inside the launcher."""
        async with anyio.create_task_group() as sinks:
            to_sinks = self._open_channel(sinks) if self._settings.sinks else None
            channel = _joined(to_sinks, self._channel)
            async with anyio.create_task_group() as killing:
                killing.start_soon(self.home.run_calls)
                killing.start_soon(self.failure.noting, partial(self._watch_hosts, channel))
                killing.start_soon(self._sweep.each_second, self._some_ended)
                killing.start_soon(self._sweep.after_kill, self._barrier, self._longest_stop)
                self._context = self._new_context(channel)
                await self._run_slots()
                if to_sinks is not None:
                    to_sinks.close()
                await self._sweep.run()
                killing.cancel_scope.cancel()

    def _open_channel(self, tasks: TaskGroup) -> Channel:
        """Return the channel to the sinks, and start their tasks."""
        size, home = self._settings.buffer_size, self.home
        channel = Channel(
            size, self._commands, for_sinks_only=True, home=home, max_ended=0, in_slots=True
        )
        self._sinks.start(channel, tasks)
        self._sinks.release()
        return channel

    def _new_context(self, channel: Channel | Discard) -> RunnerContext:
        turn = self._settings.take_turn
        return RunnerContext(
            launcher=self.launcher,
            channel=channel,
            barrier=self._barrier,
            home=self.home,
            limits=self._limits,
            take_turn=checkpoint_if_cancelled if turn is None else partial(self._take_turn, turn),
        )

    async def _take_turn(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Wait for the turn of a process to start, or for a kill."""
        with anyio.CancelScope() as waiting:
            self._waiting_for_turn.add(waiting)
            try:
                if not self._barrier.thrown:
                    await turn()
            finally:
                self._waiting_for_turn.remove(waiting)

    async def _run_slots(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._guarded, self.source.run, name="currant items")
            first = await self._first()
            if first is None:
                self.source.close()
                return
            self._set_most_slots()
            self._slot_tasks = tasks
            self._add_slot(first)

    def _add_slot(self, numbered: NumberedItem[T] | None = None) -> None:
        """Start one more slot, unless there are enough; it begins with `numbered`."""
        if self._slot_tasks is not None and self._slots < self._most_slots:
            self._slots += 1
            run = partial(self._run_slot, self._slots, numbered)
            self._slot_tasks.start_soon(self._guarded, run, name=f"currant slot {self._slots}")

    def _set_most_slots(self) -> None:
        self._most_slots = self._settings.slots or _places(self.launcher)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part; an error of it stops all commands."""
        try:
            await part()
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            # The caller's code awaited something that was cancelled.  Passed on, this exception
            # would cancel the other slots.
            problem = CurrantError("the items or the template ended by a cancellation of their own")
            problem.__cause__ = error
            self.failure.note(problem)
        except BaseException as error:  # of the caller's functions, or of the launcher
            self.failure.note(unwrapped(error))

    async def _first(self) -> NumberedItem[T] | None:
        """Take the first item, and look up the program of its command; None if there is none."""
        try:
            first = await self.source.next()
            if first is not None and self._settings.checks_first:
                command = self._make(first.item, first.number, 1)
                command = with_name(command, command.name.removesuffix("#1"))
                if isinstance(self.launcher, Checker):
                    policies = policies_of(command, self._settings.policies)
                    await self.launcher.check([with_policies(command, policies)])
        except Exception as error:
            self.failure.note(error)
            return None
        return first

    async def _run_slot(self, slot: int, numbered: NumberedItem[T] | None) -> None:
        """Run one command after the other, until no item is left.

        A slot that has an item adds the next one, unless some slot is idle.  So there are no more
        slots than items, however large the number of slots may be.
        """
        while not self._barrier.thrown:
            if numbered is None:
                self._idle_slots += 1
                numbered = await self.source.next()
                self._idle_slots -= 1
            if numbered is None:
                return
            await self.outbox.admit(numbered.number)
            if not self._idle_slots:
                self._add_slot()
            is_wanted = self.halted_by is None
            ended = await self._run_item(numbered, slot) if is_wanted else None
            if ended is not None:
                self._note(ended)
                if self._on_end is not None:
                    await self._on_end(ended)
            await self.outbox.put(numbered.number, ended, _size_of(ended))
            numbered = None

    async def _run_item(self, numbered: NumberedItem[T], slot: int) -> EndedItem[T] | None:
        """Run the command of one item; return None if a kill came before its start."""
        number, item = numbered
        try:
            command = self._make(item, number, slot)
            if command.name in self._commands:
                command = with_name(command, f"{command.name}#{number}")
            check_place(command, self.launcher)
        except CommandError as error:
            output = None if self._settings.policies.capture is False else b""
            return EndedItem(number, item, None, _refused(f"#{number}", error, output))
        policies = policies_of(command, self._settings.policies)
        life = Lifecycle(command, policies, self._context)
        self.running[number] = Running(item, life, time.monotonic())
        self._commands[command.name] = command
        try:
            await life.run()
        finally:
            del self.running[number], self._commands[command.name]
        assert life.result is not None
        return EndedItem(number, item, command, life.result) if life.attempts else None

    def _note(self, ended: EndedItem[T]) -> None:
        """Count an end, and halt if it reaches the limit."""
        self._some_ended.notify_all()
        match ended.result.status:
            case "succeeded":
                self.succeeded += 1
            case "stopped":
                self.stopped += 1
                return
            case _:
                self.failed += 1
        halt = self._settings.halt
        if halt is not None and halt.is_reached(succeeded=self.succeeded, failed=self.failed):
            self.halted_by = self.halted_by or ended
            self.source.close()
            if halt.when == "now":
                self._barrier.throw(f"halt: {ended.result.command!r} {end_of(ended.result)}")

    async def _watch_barrier(self) -> None:
        """When the barrier is thrown, start no more commands, and stop those that run.

        When the event loop ends, it cancels this task, and not the others, which are shielded.
        That is a kill, too.
        """
        try:
            await self._barrier.wait()
        finally:
            self._barrier.throw("the event loop ended")
            if not self._is_entered:
                self._entry.cancel()
            self.source.close()
            for waiting in self._waiting_for_turn:
                waiting.cancel()
            self.outbox.take_all()
            self._sinks.limit(self._longest_stop())
            # Bounded: by the grace, and limits.reap.
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as stopping:
                    for running in list(self.running.values()):
                        stopping.start_soon(self._guarded, running.life.stop_when_killed)

    async def _watch_hosts(self, channel: Channel | Discard) -> None:
        async def report(message: HostMessage) -> None:
            if isinstance(message, HostUp):
                self._use_host()
            await channel.send(message)

        if isinstance(self.launcher, HostReporter):
            await self.launcher.watch(report)

    def _use_host(self) -> None:
        """Add a slot if a host that has come brings places; the slot adds the others."""
        if self._slot_tasks is None or self.source.has_ended or self._barrier.thrown:
            return  # The slots have not begun, or are about to end.
        self._set_most_slots()
        if not self._idle_slots:
            self._add_slot()

    def _longest_stop(self) -> float:
        graces = (each.life.context.policies.grace for each in self.running.values())
        return max(graces, default=0.0)


def _joined(sinks: Channel | None, other: Discard | None) -> Channel | Discard:
    """Return a channel to the sinks and to the other channel, or to the one that exists."""
    if sinks is None or other is None:
        return sinks or other or Discard()
    return Tee(sinks, other)


def _places(launcher: Launcher) -> int:
    """Return how many commands run at the same time by default."""
    places = getattr(launcher, "places", None)
    return usable_processors() if places is None else max(1, cast("int", places))


def _size_of(ended: EndedItem[T] | None) -> int:
    """Return how many bytes of output a result holds, and of input its command."""
    if ended is None:
        return 0
    stdin = None if ended.command is None else ended.command.stdin
    sent = len(stdin) if isinstance(stdin, bytes) else 0
    return sent + len(ended.result.stdout or b"") + len(ended.result.stderr or b"")


def _refused(name: str, error: CommandError, output: bytes | None) -> Result:
    """Return the result of an item for which no command could be built.

    Args:
        name: stands for the name of the command.
        error: why there is none.
        output: what was captured; None: nothing is captured.
    """
    return Result(
        name,
        None,
        error,
        "failed",
        attempts=0,
        duration=0.0,
        started_at=None,
        stdout=output,
        stderr=output,
    )
