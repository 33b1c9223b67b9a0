"""`Job`: one command of a blocking Runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._supervisor.startup import until_up, why_unready

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from currant._supervisor.job import Job as AsyncJob
    from currant._supervisor.job_conditions import JobCondition
    from currant._supervisor.lifecycle import JobState
    from currant._values.command import Command
    from currant._values.excerpt import Excerpt
    from currant._values.launch_spec import SignalTarget
    from currant._values.lines import Line, StreamName
    from currant._values.results import Result
    from currant.blocking._callers import Callers

__all__ = ["Job"]

__tracebackhide__ = True  # pytest leaves these frames out


class Job:
    """One command of a blocking Runner; does what `currant.Job` does, from any thread.

    Ctrl-C may interrupt each call that waits, and leaves the command as it is.  After the block,
    the properties and `since` still work, `kill` does nothing, and the other methods raise a
    `RuntimeError`.
    """

    __slots__ = ("__weakref__", "_callers", "_job")

    def __init__(self, job: AsyncJob, callers: Callers) -> None:
        self._job = job
        self._callers = callers

    def __repr__(self) -> str:
        return repr(self._job)

    @property
    def name(self) -> str:
        """The command's name in the Runner."""
        return self._job.name

    @property
    def command(self) -> Command:
        """The command of the current or last life, with the name that it has in the Runner."""
        return self._job.command

    @property
    def result(self) -> Result | None:
        """How the command ended; None before, and again while a later life lasts."""
        return self._job.result

    @property
    def pid(self) -> int | None:
        """The process ID of the command; None while no process runs."""
        return self._job.pid

    @property
    def host(self) -> str | None:
        """The host of the current or last attempt; None: this machine, or it has not started."""
        return self._job.host

    @property
    def attempts(self) -> int:
        """How often the command was started, in all lives, failed starts included."""
        return self._job.attempts

    @property
    def state(self) -> JobState:
        """``"queued"``, ``"running"``, ``"restarting"`` (soon), ``"stopping"`` or ``"ended"``."""
        return self._job.state

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and is ready; without a `ready` probe, whether it runs."""
        return self._job.is_ready

    @property
    def restarts(self) -> int:
        """How often the command has been started again, by its policy or on request."""
        return self._job.restarts

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines of the current or last attempt, both streams, at most twenty."""
        return self._callers.look(lambda: self._job.tail)

    @property
    def before(self) -> bytes:
        """What came before the last match of `expect`, or what came if there was no match."""
        return self._callers.look(lambda: self._job.before)

    def up(self, *, timeout: float | None = None) -> None:
        """Wait until the command runs; with a `ready` probe, until it is ready, as `Runner.start`.

        Args:
            timeout: seconds to wait; None: no limit but that of the probe.

        Raises:
            LaunchError, NotReadyError, DependencyError: as by `currant.Runner.start`.
            TimeoutError: the time is over; the command goes on.
        """
        what = self._is_not("running" if self.command.ready is None else "ready")
        self._callers.call_within(
            timeout, what, lambda: until_up(self._job), lambda: why_unready(self._job)
        )

    def ready(self, *, timeout: float | None = None) -> None:
        """Wait until the process is ready; without a `ready` probe, until the process runs.

        Args:
            timeout: seconds to wait; None: no limit but that of the probe.

        Raises:
            NotReadyError: as by `currant.Job.ready`.
            TimeoutError: the time is over; the command goes on.
        """
        what = self._is_not("ready")
        self._callers.call_within(timeout, what, self._job.ready, lambda: why_unready(self._job))

    def wait(self, *, timeout: float | None = None) -> Result:
        """Wait until the command has ended, with all restarts by its policy, and return how.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            TimeoutError: the time is over; the command goes on.
        """
        return self._callers.call_within(timeout, self._is_not("over"), self._job.wait)

    def kill(self, reason: str | None = None) -> None:
        """Stop this command and do not start it again; return at once, as `currant.Job.kill`.

        A second call while the command is stopping skips the rest of the grace.  Any signal handler
        may call this.
        """
        self._job.kill(reason)

    def restart(self, *, timeout: float | None = None) -> None:
        """Stop the process if there is one, and return when a new process runs.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            JobEndedError: as by `currant.Job.restart`.
            TimeoutError: the time is over; the restart goes on.
        """
        self._callers.call_within(timeout, self._is_not("running again"), self._job.restart)

    def send_signal(self, signal: int | str, to: SignalTarget = "group") -> bool:
        """Send a signal, as `currant.Job.send_signal`; return whether it reached a process.

        Raises:
            CommandError: there is no such signal, or `to` is neither ``"group"`` nor ``"leader"``.
        """
        return self._callers.call(lambda: self._job.send_signal(signal, to))

    def send(self, data: bytes) -> None:
        """Write all of `data` to the command's stdin; wait for the start and for room in the pipe.

        Raises:
            StdinClosedError, CommandError: as by `currant.Job.send`.
        """
        self._callers.call(lambda: self._job.send(data))

    def close_stdin(self) -> None:
        """Close the command's stdin: the command reads end-of-file; as `currant.Job.close_stdin`.

        Raises:
            StdinClosedError: the command was built without ``stdin=PIPE`` or a `pty`.
        """
        self._callers.call(self._job.close_stdin)

    def lines(self, stream: StreamName | None = None) -> Iterator[Line]:
        """Iterate over the lines of the output, from its start, until the command has ended.

        You may leave the loop and go on later with another one, as with `currant.Job.lines`.  Each
        line is a call into the event loop: for much output, use a sink.

        Args:
            stream: ``"stdout"`` or ``"stderr"``; None: both.

        Raises:
            CommandError: there is no such stream, or it goes elsewhere than to currant.
            OutputDiscardedError: the next lines were discarded; a new loop goes on after them.
        """
        lines = self._callers.call_sync(lambda: self._job.lines(stream))

        async def following() -> Line | None:
            return await anext(lines, None)

        return iter(lambda: self._callers.call(following), None)

    def expect(
        self,
        pattern: bytes | str | re.Pattern[bytes],
        *,
        stream: StreamName | None = None,
        timeout: float | None = None,
    ) -> re.Match[bytes]:
        """Wait until the output matches a regular expression; as `currant.Job.expect`.

        Args:
            pattern: a regular expression, for bytes; a str is encoded as UTF-8.
            stream: ``"stdout"`` or ``"stderr"``; None: both.
            timeout: seconds to wait; None: until the output ends.

        Raises:
            ExpectError: the time is over, or the output has ended.
            anyio.BusyResourceError: another thread is in `expect`, and searches the same stream.
            CommandError: an argument is invalid.
        """

        async def matched() -> re.Match[bytes]:
            return await self._job.expect(pattern, stream=stream, timeout=timeout)

        return self._callers.call(matched)

    def until(
        self,
        *conditions: JobCondition,
        idle: float | None = None,
        timeout: float | None = None,
    ) -> JobCondition | None:
        """Wait for the first of several conditions, and return which; as `currant.Job.until`.

        Args:
            conditions: one or more of ``"exit"``, ``"ready"`` and ``"idle"``.
            idle: seconds of silence, for ``"idle"``.
            timeout: seconds to wait; then the result is None.

        Raises:
            CommandError: a condition or a number of seconds is missing or invalid.
        """

        async def met() -> JobCondition | None:
            return await self._job.until(*conditions, idle=idle, timeout=timeout)

        return self._callers.call(met)

    def since(self, mark: int = 0) -> Excerpt:
        """Return what the command has written since `mark`, without waiting; see `currant.Job`.

        Raises:
            CommandError: `mark` is not an integer >= 0.
        """
        return self._callers.look(lambda: self._job.since(mark))

    def next_output(self, mark: int = 0) -> Excerpt:
        """Wait until the command has written something after `mark`; see `currant.Job`.

        Raises:
            CommandError: `mark` is not an integer >= 0.
        """
        return self._callers.call(lambda: self._job.next_output(mark))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the command's terminal; as `currant.Job.resize`.

        Raises:
            CommandError: a number is out of range, or the command was built without a `pty`.
        """
        self._callers.call(lambda: self._job.resize(rows, columns))

    def _is_not(self, what: str) -> str:
        return f"command {self.name!r} is not {what}"
