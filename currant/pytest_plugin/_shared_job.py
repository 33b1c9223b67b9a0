"""`SharedJob`: a process that several workers of pytest, or several runs, use.

The process runs in a stack: in that of the keeper of this run, or in that of the project.  A
`SharedJob` is a `Job`, so a fixture need not know whether its process is shared.  But a call that
would disturb the other users raises an error.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from math import nan
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, get_args

import anyio

from currant._values.errors import CommandError, CurrantError
from currant._values.lines import Line
from currant._values.messages import Exited
from currant._values.results import Result, Status
from currant.blocking import Job
from currant.pytest_plugin._deaths import TIME_TO_TELL, has_gone, is_death
from currant.pytest_plugin._event_loop import call
from currant.stack import RequestError, StackError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from currant._supervisor.lifecycle import JobState
    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant.pytest_plugin._shared_stack import SharedStack
    from currant.stack import CommandInfo, Listing, StackClient

__all__ = ["SharedJob"]

__tracebackhide__ = True  # pytest leaves these frames out

T = TypeVar("T")

TAIL_LINES = 20
"""As many lines as `Job.tail` of a process that is not shared."""

TIME_TO_END = 10.0
"""Seconds to wait for the message about a process that has just exited.

The stack first stops the processes that the exited one has left behind.
"""


DISTURBS = "start a process that is not shared for tests that change it"
READS_ALL = "its last lines are in `tail`, and all its output is in a file"


def _error(job: SharedJob, call: str, advice: str) -> CommandError:
    return CommandError(f"{call}: {job.name!r} is shared with others; {advice}")


def _refused(call: str, advice: str) -> Callable[..., NoReturn]:
    """Return a method that raises an error, whatever its arguments are."""

    def refuse(self: SharedJob, *_args: object, **_options: object) -> NoReturn:
        raise _error(self, call, advice)

    return refuse


class SharedJob(Job):
    """A process that others use, too; refuses what would disturb them.

    `kill`, `restart`, `send_signal`, `send`, `close_stdin` and `resize` raise a `CommandError`, and
    so does whatever reads all output, such as `expect`.

    Args:
        stack: where the process runs.
        command: the command that the stack runs, perhaps from another worker.
        portal: the event loop.
    """

    __slots__ = ("_began_at", "_command", "_deaths", "_exit", "_pid", "_portal", "_stack")

    def __init__(self, stack: SharedStack, command: Command, portal: BlockingPortal) -> None:
        self._stack = stack
        self._command = command
        self._portal = portal
        self._pid: int | None = None  # of the process whose death is to be noted
        self._began_at: float | None = None
        self._exit: Exit | None = None
        self._deaths: list[str] = []

    def __repr__(self) -> str:
        return f"<SharedJob {self.name!r}>"

    @property
    def name(self) -> str:
        """The command's name."""
        return self._command.name

    @property
    def command(self) -> Command:
        """The command that runs: the one of the worker that was the first to ask for it."""
        return self._command

    @property
    def result(self) -> Result | None:
        """How the command ended, with an unknown duration; None while it goes on."""
        return _result(self.name, self._info(), self._exit)

    @property
    def pid(self) -> int | None:
        """The process ID of the command; None while no process runs."""
        info = self._info()
        return None if info is None else info.pid

    @property
    def host(self) -> str | None:
        """The host of the process; None: this machine, or no process runs."""
        info = self._info()
        return None if info is None else info.host

    @property
    def attempts(self) -> int:
        """How often the command was started; 1 if the stack has ended."""
        return self.restarts + 1

    @property
    def state(self) -> JobState:
        """As `currant.Job.state`; ``"ended"`` also if the stack has ended."""
        info = self._info()
        if info is None or info.state in get_args(Status):
            return "ended"
        return cast("JobState", info.state)

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and is ready; without a `ready` probe, whether it runs."""
        info = self._info()
        return info is not None and info.ready

    @property
    def restarts(self) -> int:
        """How often the command has been started again; 0 if the stack has ended."""
        info = self._info()
        return 0 if info is None else info.restarts

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines, both streams, at most twenty; none if the stack has ended."""
        with suppress(StackError):
            return self._call(self._last_lines)
        return ()

    @property
    def log(self) -> Path | None:
        """The file with all output; None: the stack writes to a terminal."""
        return self._stack.log(self.name)

    def begin(self, timeout: float) -> None:
        """Start the process unless it runs, and return when it is ready.

        Args:
            timeout: seconds to wait.

        Raises:
            CurrantError: the process cannot be started, or has ended before it was ready.
            TimeoutError: the time is over; the process goes on.
        """
        if self._note_death():
            self._wait_for_end()
        try:
            self._start(timeout)
        except StackError:
            if not self._call(self._stack.has_ended):
                raise
            self._start(timeout)

    def _start(self, timeout: float) -> None:
        self._stack.open([self._command], timeout)
        listing = self._within(timeout, "ready", lambda: self._client.start([self.name]))
        self._check(listing)
        self._watch(next(iter(listing.commands), None))

    def up(self, *, timeout: float | None = None) -> None:
        """Wait until the process is ready; as `ready`."""
        self.ready(timeout=timeout)

    def ready(self, *, timeout: float | None = None) -> None:
        """Wait until the process is ready; without a `ready` probe, until the process runs.

        Raises:
            CurrantError: the process has ended before it was ready, or the stack has ended.
            TimeoutError: the time is over; the process goes on.
        """
        wait = self._client.wait
        self._check(self._within(timeout, "ready", lambda: wait([self.name], until="ready")))

    def wait(self, *, timeout: float | None = None) -> Result:
        """Wait until the command has ended, and return how.

        Raises:
            StackError: the stack has ended before.
            TimeoutError: the time is over; the command goes on.
        """
        listing = self._within(timeout, "over", lambda: self._client.wait([self.name]))
        result = _result(self.name, listing.commands[0], None)
        assert result is not None
        return result

    kill: Any = _refused("kill", DISTURBS)
    restart: Any = _refused("restart", DISTURBS)
    send_signal: Any = _refused("send_signal", DISTURBS)
    send: Any = _refused("send", DISTURBS)
    close_stdin: Any = _refused("close_stdin", DISTURBS)
    resize: Any = _refused("resize", DISTURBS)
    lines: Any = _refused("lines", READS_ALL)
    expect: Any = _refused("expect", READS_ALL)
    until: Any = _refused("until", READS_ALL)
    since: Any = _refused("since", READS_ALL)
    next_output: Any = _refused("next_output", READS_ALL)

    @property
    def before(self) -> NoReturn:
        """Refused, as `expect` is."""
        raise _error(self, "before", READS_ALL)

    def take_deaths(self) -> list[str]:
        """Return each death of the process since the last call, as a text.

        See `is_death`.  An exit that somebody asked for is no death.
        """
        self._note_death()
        deaths, self._deaths = self._deaths, []
        return deaths

    def forget(self) -> None:
        """Note no more deaths."""
        self._pid = None

    def _note_death(self) -> bool:
        """Note how the process has ended if it has, and return whether it has.

        While the process runs, this makes no request to the stack.
        """
        pid = self._pid
        if pid is None or not has_gone(pid):
            return False
        end = self._exit = self._call(self._end)
        self._watch(self._info())
        self._pid = None if self._pid == pid else self._pid
        if end is None:
            self._deaths.append(f"pid {pid} is gone, and perhaps the stack that ran it")
        elif not end.stopped and is_death(self._command, end):
            self._deaths.append(str(end))
        return True

    def _wait_for_end(self) -> None:
        """Wait until the stack has noted the end of the command, unless it restarts by itself."""
        with suppress(StackError):
            self._call(lambda: self._client.wait([self.name], timeout=TIME_TO_TELL))

    @property
    def _client(self) -> StackClient:
        return self._stack.client

    def _watch(self, info: CommandInfo | None) -> None:
        """From now on, note the death of the process that runs, unless it is on another host."""
        is_here = info is not None and info.host is None
        self._pid = info.pid if info is not None and is_here else None
        self._began_at = None if info is None else info.started_at

    async def _end(self) -> Exit | None:
        """Wait for the message about the end of the process; None if the stack has ended."""
        with suppress(StackError), anyio.move_on_after(TIME_TO_END):
            logs = self._client.logs([self.name], since=self._began_at, follow=True, events=True)
            async with aclosing(logs) as messages:
                async for message in messages:
                    if isinstance(message, Exited):
                        return message.exit
        return None

    async def _last_lines(self) -> tuple[Line, ...]:
        async with aclosing(self._client.logs([self.name], last=TAIL_LINES)) as messages:
            return tuple([message async for message in messages if isinstance(message, Line)])

    def _info(self) -> CommandInfo | None:
        """Return what the stack says about the process; None if the stack has ended."""
        try:
            listing = self._call(self._client.list)
        except StackError:
            return None
        return next((info for info in listing.commands if info.name == self.name), None)

    def _check(self, listing: Listing) -> None:
        """Raise the problem that the stack has had with the process, if any."""
        problem = listing.problems.get(self.name)
        if problem is not None:
            text = problem if repr(self.name) in problem else f"{self.name!r}: {problem}"
            raise RequestError("failed", text)

    def _within(self, timeout: float | None, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        async def within() -> T:
            with anyio.move_on_after(timeout):
                return await ask()
            raise TimeoutError(f"command {self.name!r} is not {what} after {timeout:g} s")

        return self._call(within)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        try:
            return call(self._portal, function)
        except (CurrantError, TimeoutError) as error:
            raise error.with_traceback(None) from None  # its message says it all


def _result(name: str, info: CommandInfo | None, known: Exit | None) -> Result | None:
    """Return how a command has ended, with nan as its duration; None while it goes on.

    Args:
        name: the command.
        info: what the stack says; None: the stack has ended.
        known: the last exit before that.
    """
    if info is None:
        gone = None if known is not None else CurrantError("the stack that ran it has ended")
        return Result(name, known, gone, "failed", 1, nan, None)
    if info.state not in get_args(Status):
        return None
    error = None if info.error is None else RequestError("failed", info.error)
    status = cast("Status", info.state)
    return Result(name, info.exit, error, status, info.restarts + 1, nan, None)
