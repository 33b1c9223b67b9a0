"""`Job`: the public handle of one command in a Runner.  `lifecycle` does the work.

Only `kill` may be called from other threads and from signal handlers.  Every other call first
checks that it comes from the Runner's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from anyio.lowlevel import checkpoint_if_cancelled

from currant._supervisor.conversation import Conversation
from currant._supervisor.job_conditions import not_ready_error, until_ready
from currant._supervisor.job_input import JobInput
from currant._values.checks import check_choice, checked_signal, naming
from currant._values.errors import CommandError
from currant._values.launch_spec import Pty, SignalTarget

if TYPE_CHECKING:
    import re
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractContextManager

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from currant._supervisor.job_conditions import JobCondition
    from currant._supervisor.lifecycle import JobState, Lifecycle
    from currant._values.command import Command
    from currant._values.excerpt import Excerpt
    from currant._values.lines import Line, StreamName
    from currant._values.results import Result

__all__ = [
    "Job",
    "begin_again",
    "hold_output",
    "keep_life",
    "life_of",
    "until_changed",
]


class Job:
    """One command inside a Runner; made by `Runner.start_soon` and `Runner.start`.

    A command that has ended may be run again, by `restart` or by `Runner.start` with its name.  The
    job stays the same object and begins another *life*: `state` is ``"queued"`` again, and `result`
    is None until that life ends, too.  A call that waits, such as `wait`, waits for the life in
    which it was called.  Attempts are numbered through all lives, and a `Result` is about one life.
    """

    __slots__ = ("_conversation", "_lives", "_name")

    def __init__(self, name: str, lives: Mapping[str, Lifecycle]) -> None:
        self._name = name
        self._lives = lives
        self._conversation: Conversation | None = None

    @property
    def _talk(self) -> Conversation:
        """The conversation of the current or last life."""
        if self._conversation is None or self._conversation.life is not self._life:
            self._conversation = Conversation(self._life)
        return self._conversation

    @property
    def _life(self) -> Lifecycle:
        """The current or last life."""
        return self._lives[self._name]

    def __repr__(self) -> str:
        pid = f" pid={self.pid}" if self.pid is not None else ""
        return f"<Job {self.name!r} {self.state}{pid} attempts={self.attempts}>"

    @property
    def name(self) -> str:
        """The command's name in the Runner."""
        return self._name

    @property
    def command(self) -> Command:
        """The command of the current or last life, with the name that it has in the Runner."""
        return self._life.command

    @property
    def result(self) -> Result | None:
        """How the command ended; None before, and again while a later life lasts."""
        return self._life.result

    @property
    def pid(self) -> int | None:
        """The process ID of the command; None while no process runs."""
        return self._life.attempt.pid

    @property
    def host(self) -> str | None:
        """The host of the current or last attempt; None: this machine, or it has not started."""
        return self._life.attempt.host

    @property
    def attempts(self) -> int:
        """How often the command was started, in all lives, failed starts included."""
        return self._life.attempts

    @property
    def state(self) -> JobState:
        """``"queued"``, ``"running"``, ``"restarting"`` (soon), ``"stopping"`` or ``"ended"``."""
        return self._life.state

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and is ready; without a `ready` probe, whether it runs."""
        return self._life.is_ready

    @property
    def is_watched(self) -> bool:
        """Whether a change of files (`Command.watch`) restarts the command, also if it has ended.

        False after a kill of the command, until it is run again.
        """
        return self._life.is_watched

    @property
    def restarts(self) -> int:
        """How often the command has been started again, by its policy or on request."""
        return self._life.restarts

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines of the current or last attempt, both streams, at most twenty."""
        return self._life.attempt.output.tail

    async def ready(self) -> None:
        """Wait until the process is ready; without a `ready` probe, until the process runs.

        If no process runs, this waits for the next process.  Meanwhile, unread output that does not
        fit is discarded (see `Dropped`).
        Cancellation: harmless.

        Raises:
            NotReadyError: the process has exited, is being stopped, or has taken too long; the
                error carries the last lines of the output.  A restart does not change that.
        """
        self._check_loop("Job.ready")
        life = self._life
        with self._waiting():
            if (unready := await until_ready(life)) is not None:
                raise await not_ready_error(life, unready)

    async def wait(self) -> Result:
        """Wait until the command has ended, with all restarts by its policy, and return how.

        If the command is run again after that, this returns the result of the life in which it was
        called.  Any number of tasks may wait, any number of times.  Meanwhile, unread output that
        does not fit is discarded (see `Dropped`).
        Cancellation: harmless; the command goes on.
        """
        self._check_loop("Job.wait")
        life = self._life
        with self._waiting():
            await life.context.change.wait_for(lambda: life.result is not None)
        assert life.result is not None
        return life.result

    def kill(self, reason: str | None = None) -> None:
        """Stop this command and do not start it again; return at once.

        Each call after the first skips the rest of the grace, while the command is stopping.  The
        first does not, even if something else has begun the stop, such as `Runner.kill`.  When the
        command has ended, `restart` may run it again, and the calls count anew.  Any thread and any
        signal handler may call this.
        """
        self._life.kill(reason)

    async def restart(self) -> None:
        """Stop the process if there is one, and return when a new process runs.

        This counts as a restart, but bypasses the policy's limit and delay.  A command that has
        ended is run again, however it ended: it waits for its dependencies and in the queue of
        `max_processes`, as before its first start.
        Cancellation: a restart that has begun goes on.

        Raises:
            JobEndedError: the command is being stopped, the Runner has ended, is being stopped or
                has forgotten the command (`keep_results`), the last process survived SIGKILL, or
                the command ends before it runs (`__cause__` is the reason if there is one: a
                `LaunchError` or `DependencyError`).
        """
        self._check_loop("Job.restart")
        # A cancelled scope stops the commands, perhaps before it reaches this task.
        await checkpoint_if_cancelled()
        if self._life.has_ended and not self._life.is_forgotten:
            self._life.context.runner.run_again(self._name)
        await self._life.restart()

    async def until_started(self) -> None:
        """Wait until the process runs, or no process will; return at once if a process runs.

        Cancellation: harmless.
        """
        self._check_loop("Job.until_started")
        with self._waiting():
            await self._life.started()

    async def send_signal(self, signal: int | str, to: SignalTarget = "group") -> bool:
        """Send `signal` to the command's process group; return whether it reached a process.

        `signal` is a number or a name, such as ``"HUP"``.  With ``to="leader"`` only the process
        that currant started gets the signal, and not the processes that it has started.

        A command that does not run is not an error.
        Cancellation: the signal may or may not have been sent.

        Raises:
            CommandError: there is no such signal, or `to` is neither ``"group"`` nor ``"leader"``.
        """
        self._check_loop("Job.send_signal")
        check_choice("to", to, get_args(SignalTarget))
        # Signal 0 reaches a process without doing anything.
        number = 0 if signal == 0 else checked_signal("signal", signal)
        return await self._life.attempt.send_signal(number, to)

    async def send(self, data: bytes) -> None:
        """Write all of `data` to the command's stdin; wait for the start and for room in the pipe.

        Meanwhile, unread output that does not fit is discarded (see `Dropped`).  If the command has
        a `pty`, the data is typed there, whatever `stdin` is.
        Cancellation: a part of the data may have been written.

        Raises:
            StdinClosedError: the command cannot read the data: it was built with neither
                ``stdin=PIPE`` nor a `pty`, no process runs, or the process closed the pipe.
            CommandError: `data` is not bytes.
        """
        self._check_loop("Job.send")
        await JobInput(self._life).send(data)

    async def close_stdin(self) -> None:
        """Close the command's stdin: the command reads end-of-file.

        This waits until the command runs, and does nothing if the command has ended or the pipe is
        closed.  A terminal (`pty`) stays open: the end-of-file character (^D) is typed, which ends
        the input of a program that reads line by line, but not of a program that reads each key.
        Cancellation: the pipe may be open or closed, the character typed or not.

        Raises:
            StdinClosedError: the command was built without ``stdin=PIPE`` or a `pty`.
        """
        self._check_loop("Job.close_stdin")
        await JobInput(self._life).aclose()

    @property
    def stdin(self) -> ByteSendStream | None:
        """The stdin as a byte stream of anyio; None without ``stdin=PIPE`` or a `pty`.

        Its `send` waits for the start of the command and for room in the pipe.  It raises
        `anyio.BrokenResourceError` if the command has ended or has closed its stdin, with a text
        that says how the command ended, and `anyio.ClosedResourceError` if the pipe was closed
        here.  `aclose` does what `close_stdin` does.
        """
        self._check_loop("Job.stdin")
        return self._talk.stdin

    @property
    def stdout(self) -> ByteReceiveStream:
        """The stdout as a byte stream of anyio, with unsplit bytes from the start of the output.

        From the first access on, the stream is read: the command waits if its reader is more than
        about 128 KiB behind, until the stream is closed.  A stream goes on through all restarts by
        the policy, and ends with the command.  Unread bytes can be received after that, and after
        the block.  Other readers of the output get everything all the same.

        The reader is the task that received last, unless that task waits for a command (in `wait`,
        for example), or has ended and no other task receives within a second.  If there is no
        reader, the oldest output is discarded while any task waits for a command.  While no task
        does, the command waits for a reader: for a second, or without limit in `open_process` and
        with ``Runner(unread="wait")``.  While the block stops its commands, the command waits at
        most a second for each step of the reader.

        If bytes were discarded, also before the first access, `receive` raises
        `OutputDiscardedError`, which says how many, and the next call goes on after the gap.
        """
        self._check_loop("Job.stdout")
        return self._talk.stream("stdout")

    @property
    def stderr(self) -> ByteReceiveStream:
        """The stderr as a byte stream, as `stdout`; it ends at once if stderr goes to stdout."""
        self._check_loop("Job.stderr")
        return self._talk.stream("stderr")

    def lines(self, stream: StreamName | None = None) -> AsyncIterator[Line]:
        """Iterate over the lines of the output, from its start, until the command has ended.

        The lines are cut as those of the Runner are, with the `line_limit` and the `flush_after` of
        the command.  The lines of both streams come in the order in which they were read.  The
        command waits for a slow loop, as it waits for the readers of `stdout`.

        A loop may be left with `break`; the next one goes on with the next line.  Two loops share
        the lines.  Only the last 128 KiB of each stream, or a little more, are kept while no loop
        runs.  If output was discarded, the loop raises `OutputDiscardedError` in its place.  A loop
        that begins after that goes on after the gap, perhaps inside a line.
        Cancellation: loses nothing.

        Args:
            stream: ``"stdout"`` or ``"stderr"``; None: both.

        Raises:
            CommandError: there is no such stream, or it goes elsewhere than to currant.
        """
        self._check_loop("Job.lines")
        return self._talk.lines(stream)

    async def expect(
        self,
        pattern: bytes | str | re.Pattern[bytes],
        *,
        stream: StreamName | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the error carries what has come
    ) -> re.Match[bytes]:
        r"""Wait until the output matches a regular expression, and return the match.

        This searches what has come since the last match, from the start of the output, without
        waiting for the end of a line::

            from currant import open_process

            async with open_process("python3 -i -q", pty=True, env={"TERM": "dumb"}) as job:
                await job.expect(">>> ")
                await job.send(b"6 * 7\n")
                match = await job.expect(r"\r\n(\d+)\r\n>>> ")
                assert match[1] == b"42"

        `before` has what came before the match, and so has ``match.string``, up to 64 KiB; the next
        call begins behind the match.  Each stream is searched by itself, and keeps its own place.
        The match is the first that there is when the output is looked at: a repetition at its end
        (``\d+``) may lack bytes that come later.  If the bytes that follow can undo the match, as
        with ``$``, ``\b`` and lookaheads, the match counts after a tenth of a second of silence.
        Without an upper limit to its length (``.*``), a match that comes in parts is certainly
        found if it is not longer than 8 KiB.  Escape sequences are searched like other bytes.
        Each search begins behind the last match, so ``^`` and lookbehinds see nothing before it.  A
        pattern such as ``a*a*b`` may take exponential time, and no timeout ends a step of `re`.

        Between two calls at least the last 128 KiB of each stream are kept (less, if the command
        writes a few bytes to each stream in turn).  Older output is not searched, and the error
        says how much there was.  During the call, the task counts as waiting for the commands: if
        nothing iterates over the Runner, output that does not fit is discarded there (see
        `Dropped`).
        Cancellation: harmless; the next call searches the same output again.

        Args:
            pattern: a regular expression, for bytes; a str is encoded as UTF-8.
            stream: ``"stdout"`` or ``"stderr"``; None: both.
            timeout: seconds to wait; None: until the output ends.

        Raises:
            ExpectError: the time is over, or the output has ended; the error comes at once then.
                The next call searches the same output again.
            anyio.BusyResourceError: another task is in `expect`, and searches the same stream.
            CommandError: an argument is invalid.
        """
        self._check_loop("Job.expect")
        return await self._talk.expect(pattern, stream, timeout)

    @property
    def before(self) -> bytes:
        """What came before the last match of `expect`, or what came if there was no match.

        At most some 64 KiB, of one stream after a match.
        """
        return self._talk.before

    async def until(
        self,
        *conditions: JobCondition,
        idle: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a timeout is a result, not an error
    ) -> JobCondition | None:
        """Wait for the first of several conditions, and return which it was.

        ``"exit"``: the command has ended, with all restarts by its policy.  This ends the wait in
        any case, whether or not it is among the conditions.  ``"ready"``: the process runs and is
        ready, as for `ready`.  ``"idle"``: the process runs and has written nothing for `idle`
        seconds, counted from the call at the earliest.  While a slow reader or sink holds the
        process up, the process is not idle.

        Meanwhile, unread output that does not fit is discarded (see `Dropped`).
        Cancellation: harmless.

        Args:
            conditions: one or more of the three words.
            idle: seconds of silence, for ``"idle"``.
            timeout: seconds to wait; then the result is None.

        Raises:
            CommandError: a condition or a number of seconds is missing or invalid.
        """
        self._check_loop("Job.until")
        return await self._talk.until(conditions, idle, timeout)

    def since(self, mark: int = 0) -> Excerpt:
        """Return what the command has written since `mark`, without waiting.

        For a look at a command that runs on: the `mark` of an excerpt is where the next begins.
        At least the last 128 KiB of each stream are kept; `Excerpt.omitted` counts the rest.  In
        `open_process`, the command waits from then on only for a byte stream that was taken.  When
        the command has ended, any thread may call this.

        Args:
            mark: the mark of the last excerpt of the same life; 0: all that is kept.

        Raises:
            CommandError: `mark` is not an integer >= 0.
        """
        if not self._life.has_ended:
            self._check_loop("Job.since")
        return self._talk.since(mark)

    async def next_output(self, mark: int = 0) -> Excerpt:
        """Wait until the command has written something after `mark`, and return it as `since` does.

        An excerpt without bytes is the end: the command has ended, and has written nothing more.
        The command never waits for this reader; `Excerpt.omitted` counts what came too fast.
        Meanwhile, unread output that does not fit is discarded (see `Dropped`).
        Cancellation: harmless.

        Args:
            mark: the mark of the last excerpt of the same life; 0: all that is kept.

        Raises:
            CommandError: `mark` is not an integer >= 0.
        """
        self._check_loop("Job.next_output")
        return await self._talk.next_output(mark)

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the command's terminal; the programs there get SIGWINCH.

        Later processes start with that size, too.
        Cancellation: the size may or may not have been set.

        Args:
            rows: the number of lines, from 1 to 65535.
            columns: the number of characters in a line, from 1 to 65535.

        Raises:
            CommandError: a number is out of range, or the command was built without a `pty`.
        """
        self._check_loop("Job.resize")
        with naming(self.name):
            size = Pty(rows, columns)
            if not self.command.pty:
                raise CommandError("it has no terminal, because it was built without a pty")
        await self._life.resize(size)

    def _check_loop(self, call: str) -> None:
        self._life.context.runner.home.check(call)

    def _waiting(self) -> AbstractContextManager[None]:
        """Mark this task as waiting for the commands, so that unread output does not block them."""
        return self._life.context.runner.channel.waiting()


def life_of(job: Job) -> Lifecycle:
    """Return the current or last life of a job."""
    return job._life  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def keep_life(job: Job, life: Lifecycle) -> None:
    """Have a job show `life` from now on, because the Runner forgets the command."""
    life.is_forgotten = True
    job._lives = {life.name: life}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def until_changed(job: Job) -> None:
    """Wait until something about a command changes: its state, or which life is the last.

    Cancellation: harmless.
    """
    await life_of(job).context.change.wait()


def begin_again(job: Job) -> None:
    """Run a command that has ended again, as `Job.restart` does, but return at once.

    Raises:
        JobEndedError, CommandError: as for `Job.restart`.
    """
    life_of(job).context.runner.run_again(job.name)


def hold_output(job: Job) -> None:
    """Have the command wait for its first reader, for a second at most.

    Only while this task goes on, and does not itself wait for the commands.  The reader of a thread
    comes late, because each step of it is a call into the event loop.
    """
    life = life_of(job)
    if not life.has_ended:
        life.context.transcript.hold()
