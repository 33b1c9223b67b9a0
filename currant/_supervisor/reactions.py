"""`Reactions`: restart a command when its files change, or after a restart of another command.

A life with reactions has a task for them, from its registration until a kill or the next life of
the command.  A watched command may have ended by itself; then a change begins another life.  So the
life of such a command holds the Runner open, as a producer of the channel.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import anyio

from currant._channel.threads import in_thread
from currant._supervisor.file_changes import FileChanges, require_watchfiles
from currant._supervisor.watch_rules import IgnoreFiles, WatchRules
from currant._synchronization import Notifier
from currant._values.errors import CommandError, JobEndedError
from currant._values.messages import Restarting
from currant._values.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import TaskGroup

    from currant._channel.channel import Channel
    from currant._supervisor.conditions import Conditions
    from currant._supervisor.context import RunnerContext
    from currant._supervisor.failure import Failure
    from currant._supervisor.lifecycle import Lifecycle
    from currant._values.command import Command
    from currant._values.launch_spec import SignalTarget
    from currant._values.plan import Plan
    from currant._values.watch import Watch

__all__ = ["Reactions"]

UNCEASING = 10
"""The most times its `debounce` that a command waits while changes do not cease."""

SOON = 3.0
"""Two restarts because of changes are close if fewer seconds are between them."""

SUSPECT = 4
"""How many close restarts in a row bring the advice; as many more bring it again."""


class Reactions:
    """The reactions of all commands of a Runner.

    Args:
        plan: the commands, and the links of `restart_with`.
        lives: the current life of each command, by name; the mapping changes.
        conditions: lets a command wait until another command is up.
        channel: takes the messages.
        context: shared by the commands.
        failure: records an error, such as a limit of the system.
    """

    def __init__(
        self,
        plan: Plan,
        lives: Mapping[str, Lifecycle],
        conditions: Conditions,
        channel: Channel,
        context: RunnerContext,
        failure: Failure,
    ) -> None:
        self._plan = plan
        self._lives = lives
        self._conditions = conditions
        self._channel = channel
        self._context = context
        self._failure = failure
        self._files = FileChanges(context.home)
        self._watched: dict[str, _Watched] = {}
        self._reasons = defaultdict[str, _Reasons](_Reasons)  # through all lives of a command
        self._tasks: TaskGroup | None = None
        self._is_looking = False

    async def prepare(self) -> None:
        """Watch the files of all planned commands, before any of them starts.

        Cancellation: call `close`.

        Raises:
            MissingExtraError: a package of the extra ``watch`` is not installed.
            CommandError: a pattern is wrong.
            CurrantError: the system cannot watch the folders, for example because of a limit.
        """
        for command in self._plan.commands.values():
            self.check(command)
            self._note_watch(command)
        if self._watched:
            self._follow()
            await self._files.begin()

    def check(self, command: Command) -> None:
        """Check that the files of a command can be watched; see `prepare` for the errors."""
        if command.watch is None:
            return
        require_watchfiles()
        if getattr(self._context.launcher, "has_hosts", False):
            raise CommandError(
                f"command {command.name!r}: watch looks at the files of this machine, and the "
                "launcher runs commands on hosts"
            )
        WatchRules(command, command.watch)

    def start(self, tasks: TaskGroup) -> None:
        """Run all tasks in `tasks`, from now on."""
        self._tasks = tasks

    def close(self) -> None:
        """Stop watching."""
        self._files.close()

    def register(self, life: Lifecycle) -> None:
        """Prepare the reactions of a life that is registered, and hold the Runner open for it."""
        # After a kill no files are watched, and the packages may be missing.
        if not self._context.barrier.thrown and self._note_watch(life.command):
            self._follow()
        if life.command.watch is not None or life.name in self._plan.restart_links:
            life.reactions = anyio.CancelScope()
        if life.may_start_again:
            self._channel.add_producer()

    def begin(self, life: Lifecycle) -> None:
        """Begin the task of a life.  Call this once, from a task."""
        if life.reactions is not None:
            assert self._tasks is not None
            self._tasks.start_soon(self._react, life, life.reactions)

    def end_all(self) -> None:
        """End the reactions of all lives, because of a kill."""
        for life in self._lives.values():
            life.end_reactions()

    def _note_watch(self, command: Command) -> bool:
        """Note the files that a command watches; return whether it watches or watched any."""
        before = self._watched.pop(command.name, None)
        if command.watch is not None:
            rules = WatchRules(command, command.watch)
            self._watched[command.name] = _Watched(command.watch, rules, _Changes())
        return before is not None or command.watch is not None

    async def _react(self, life: Lifecycle, scope: anyio.CancelScope) -> None:
        """Run the reactions of a life, until a kill or the next life."""
        watched = self._watched.get(life.name)
        if self._context.barrier.thrown:
            scope.cancel()
        try:
            with scope:
                async with anyio.create_task_group() as tasks:
                    if watched is not None:
                        self._look_soon()
                        tasks.start_soon(self._watch, life, watched)
                    for other in self._plan.restart_links[life.name]:
                        tasks.start_soon(self._restart_with, life, other)
        finally:
            if life.may_start_again:
                self._channel.remove_producer()

    # ---- files ----

    def _look_soon(self) -> None:
        """Start the task that reads changes, for the first command with a `watch`."""
        if not self._is_looking and self._tasks is not None:
            self._is_looking = True
            self._tasks.start_soon(self._failure.noting, self._look_at_changes)

    def _follow(self) -> None:
        self._files.follow({path for each in self._watched.values() for path in each.rules.paths})

    async def _look_at_changes(self) -> None:
        """Pass changes on to the commands that they concern."""
        while True:
            paths = await self._files.next()
            watched = dict(self._watched)
            for name, path in (await in_thread(partial(_matches, watched, paths))).items():
                watched[name].changes.note(path)

    async def _watch(self, life: Lifecycle, watched: _Watched) -> None:
        """Restart or signal the command after each change."""
        watch, changes = watched.watch, watched.changes
        while True:
            path = await changes.next(watch.debounce)
            if watch.action == "restart":
                reason = self._reasons[life.name].next(path, anyio.current_time())
                await self._restart(life, reason)
            else:
                await life.context.change.wait_for(lambda: life.is_ready or life.has_ended)
                is_mixed = life.context.policies.kill_mode == "mixed"
                to: SignalTarget = "leader" if is_mixed else "group"
                await life.attempt.send_signal(watch.action, to)

    # ---- other commands ----

    async def _restart_with(self, life: Lifecycle, name: str) -> None:
        """Restart the command after each restart of another command, once that is up again."""
        condition = self._plan.dependencies[life.name].get(name)
        seen = max(1, self._lives[name].attempts)
        while True:
            while self._lives[name].attempts <= seen:
                await self._lives[name].context.change.wait()
            starts = life.starts
            problem = await self._conditions.wait_for(life, name, condition)
            seen = self._lives[name].attempts
            # A process that has begun in the meantime already uses the restarted command.
            if problem is None and 0 < starts == life.starts:
                await self._restart(life, f"{printable(name)} was restarted")

    async def _restart(self, life: Lifecycle, reason: str) -> None:
        """Stop the process if there is one, and start another, in another life if need be."""
        # A process that is being started may already have read the old files.
        await life.context.change.wait_for(lambda: not life.attempt.is_starting)
        if life.attempt.outcome.cannot_be_stopped:
            life.end_reactions()
        elif life.has_ended:
            again = Restarting(life.name, life.attempts + 1, 0.0, time.time(), reason)
            await life.context.send(again)
            with suppress(JobEndedError):  # A kill came before this.
                self._context.run_again(life.name)
        elif life.state != "queued":
            life.restart_soon(reason)


class _Changes:
    """The changes that one command has not reacted to."""

    def __init__(self) -> None:
        self._first: str | None = None
        self._last_at = 0.0
        self._arrived = Notifier()

    def note(self, path: str) -> None:
        """Add a change."""
        self._first = self._first or path
        self._last_at = anyio.current_time()
        self._arrived.notify_all()

    async def next(self, debounce: float) -> str:
        """Wait for a change, and until no more changes follow; return the first path."""
        await self._arrived.wait_for(lambda: self._first is not None)
        latest = anyio.current_time() + debounce * UNCEASING
        while (until := min(self._last_at + debounce, latest)) > anyio.current_time():  # noqa: ASYNC110
            await anyio.sleep_until(until)
        path, self._first = self._first, None
        assert path is not None
        return path


class _Reasons:
    """Why one command restarts after changes; with advice if it seems to write the files itself.

    Rejected: a growing delay, which would also hold up the restart after an edit.
    """

    def __init__(self) -> None:
        self._last_at = float("-inf")
        self._in_a_row = 0

    def next(self, path: str, now: float) -> str:
        """Return the reason for a restart because of the change of `path`."""
        self._in_a_row = self._in_a_row + 1 if now - self._last_at < SOON else 1
        self._last_at = now
        reason = f"{path} changed"
        if self._in_a_row % SUSPECT == 0:
            reason += (
                " just after the start, again; if the command writes this file, ignore the file "
                "or watch another folder"
            )
        return reason


class _Watched(NamedTuple):
    """The `Watch` of one command, its rules, and its changes."""

    watch: Watch
    rules: WatchRules
    changes: _Changes


def _matches(watched: Mapping[str, _Watched], paths: set[str]) -> dict[str, str]:
    """Return the first path that concerns each command, by the command's name."""
    files, ordered = IgnoreFiles(), sorted(paths)
    found = {name: each.rules.first_match(ordered, files) for name, each in watched.items()}
    return {name: path for name, path in found.items() if path is not None}
