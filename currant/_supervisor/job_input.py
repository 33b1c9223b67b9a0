"""The stdin of a job, for `Job.send`, `Job.close_stdin` and `Job.stdin`.

Two faces of one thing: `JobInput` raises currant's own errors, which carry the exit and the last
lines of the command, and `InputStream` raises the errors that anyio promises of a byte stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import anyio
from anyio.abc import ByteSendStream
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from currant._values.command import PIPE
from currant._values.errors import CommandError, StdinClosedError

if TYPE_CHECKING:
    from currant._supervisor.lifecycle import Lifecycle

__all__ = ["InputStream", "JobInput"]

EXIT_AFTER_STDIN = 0.2
"""Seconds to wait for the exit of a process that has closed its stdin, for the error's text."""


class JobInput:
    """The stdin of one life of a command.

    Args:
        life: the life.
    """

    def __init__(self, life: Lifecycle) -> None:
        self._life = life

    @property
    def is_writable(self) -> bool:
        """Whether the command was built with an input to write to."""
        return self._life.command.stdin == PIPE or bool(self._life.command.pty)

    @property
    def was_closed_here(self) -> bool:
        """Whether the program has closed the pipe of the present process."""
        return self._life.attempt.input_was_closed

    async def send(self, data: bytes) -> None:
        """Write all of `data`; see `Job.send`."""
        given = cast("object", data)
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise CommandError(
                f"command {self._life.name!r}: send takes bytes, not {type(given).__name__}; "
                "encode a str with .encode()"
            )
        if isinstance(given, memoryview):
            data = given.tobytes()  # A view may have gaps, and elements of several bytes.
        stdin = await self._open()
        if stdin is None:
            await checkpoint_if_cancelled()  # A cancellation of the block ends the command, too.
            is_running = self._life.attempt.is_running  # A later attempt may have no pipe.
            raise self._closed("it is closed" if is_running else "the command does not run")
        with self._life.context.runner.channel.waiting():
            try:
                await stdin.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                with anyio.move_on_after(EXIT_AFTER_STDIN):
                    await self._life.exited()
                raise self._closed("it is closed") from error

    async def aclose(self) -> None:
        """Close the input; see `Job.close_stdin`."""
        if await self._open() is not None:
            # This waits, too: a terminal may have no room to type.
            with self._life.context.runner.channel.waiting():
                await self._life.attempt.close_input()

    async def _open(self) -> ByteSendStream | None:
        """Wait until the command runs, and return the pipe; None if the command has ended."""
        life = self._life
        if not self.is_writable:
            raise StdinClosedError(life.name, "the command was built without stdin=PIPE or a pty")
        with life.context.runner.channel.waiting():
            await life.context.change.wait_for(
                lambda: life.attempt.is_running or life.starts_no_more
            )
        process = life.attempt.process
        return process.stdin if process is not None and life.attempt.is_running else None

    def _closed(self, problem: str) -> StdinClosedError:
        """Return the error of `send`, with the end and the last lines of a command that ended."""
        end = self._life.end_so_far
        if end is None:
            return StdinClosedError(self._life.name, problem)
        attempt = self._life.attempt
        reason = f"{problem}; it has ended: {end}"
        return StdinClosedError(self._life.name, reason, attempt.output.tail, attempt.outcome.exit)


class InputStream(ByteSendStream):
    """The stdin of a command, as a byte stream of anyio.

    Args:
        life: the life of the command.
    """

    def __init__(self, life: Lifecycle) -> None:
        self._input = JobInput(life)
        self._check_loop = life.context.runner.home.check
        self._is_closed = False

    async def send(self, item: bytes) -> None:
        """Write all of `item`; wait until the command runs, and for room in the pipe.

        Cancellation: a part of `item` may have been written.

        Raises:
            anyio.BrokenResourceError: the command has ended, or has closed its stdin; the text says
                how it ended, and has its last lines.
            anyio.ClosedResourceError: the stream or the pipe was closed here.
            CommandError: `item` is not bytes.
        """
        self._check_loop("Job.stdin.send")
        await checkpoint()
        if self._is_closed:
            raise anyio.ClosedResourceError
        try:
            await self._input.send(item)
        except StdinClosedError as error:
            # The end of a command closes the pipe, too.
            was_closed = isinstance(error.__cause__, anyio.ClosedResourceError)
            if was_closed and self._input.was_closed_here:
                raise anyio.ClosedResourceError(str(error)) from error
            raise anyio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        """Close the pipe: the command reads end-of-file.  On a terminal, type ``^D``.

        Cancellation: the pipe may be open or closed; nothing more can be sent here.
        """
        self._check_loop("Job.stdin.aclose")
        self._is_closed = True
        await self._input.aclose()  # No checkpoint before this: a cancelled scope closes it, too.
        await checkpoint()
