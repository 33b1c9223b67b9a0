"""Our ends of the pipes to a process, read and written by readiness: they never block the loop.

`currant._process.stdio` opens them, and gives the other ends to the child.

We use pipes of our own instead of the streams of `anyio.open_process` for three reasons: on
asyncio these stop at 64 KiB, they do not report the exit and the end of output separately, and a
read by readiness is 2 to 4 times as fast.

The child's ends stay blocking, because programs expect that.

A terminal is read and written in the same way, with three differences:

- We use two descriptors of our end, because no event loop lets a reader and a writer wait for the
  same descriptor.
- We keep a copy of the child's end until the group is gone.  Otherwise the output would end, and
  input would fail, as soon as no process has the terminal open.  But a command may redirect its
  standard files and open ``/dev/tty`` later, as ssh, sudo and git do to ask for a password.
- Our end is for output as well as for input, so closing it would end both.  To end the input alone,
  we type the end-of-file character.
"""

from __future__ import annotations

import errno
import os
from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint

from currant._system.files import bytes_in_pipe, enlarge_pipe
from currant._system.forks import no_fork
from currant._system.terminal import end_of_file_character, resize_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InputPipe", "OutputPipe", "Pipe", "TerminalInput", "TerminalOutput"]


CHUNK = 64 * 1024
"""The most bytes of a read: the capacity of a pipe on Linux."""

BUSY_CHUNK = 256 * 1024
"""The same for a pipe that was found full, which is enlarged to this capacity.

The event loop's work per read is divided by up to four: 4 × 100 MB in batches take 0.7 s of
processor time instead of 1.1 s.
"""

FREED_BLOCK = 1024 * 1024
"""Bytes of a block that is freed once, so that malloc keeps the memory of smaller blocks.

The malloc of glibc gets each block of 128 KiB or more from the system, and returns it at once, with
64 page faults for each read of a busy pipe.  After a larger block was freed, it no longer does so
for blocks up to that size: lines of 1,000 bytes are read 20 % faster.
"""

LOOK_INTERVAL = 0.5
"""Seconds between two looks whether the group of a silent terminal is gone."""


class Pipe:
    """Our end of a pipe, made non-blocking."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._is_waited_for = False

    def fileno(self) -> int:
        """Return the descriptor; -1 if it is closed."""
        return self._fd

    def close(self) -> None:
        """Close our end: unread bytes are lost, and a child that reads reaches end-of-file."""
        with no_fork:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                if self._is_waited_for:  # The call takes as long as two system calls.
                    anyio.notify_closing(fd)
                os.close(fd)

    def close_in_fork(self) -> None:
        """Close our end in a fork, without a word to the event loop of the parent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    async def aclose(self) -> None:
        """Close our end; see `close`."""
        self.close()
        await checkpoint()


class OutputPipe(Pipe, ByteReceiveStream):
    """Our end of a pipe that the child writes to."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._chunk = CHUNK
        self._may_grow = True
        self._deadline = inf
        self._bytes_to_drain = 0
        self._ended = False

    async def receive(self, max_bytes: int = BUSY_CHUNK) -> bytes:
        """Return the bytes in the pipe, at most `max_bytes`; wait for the first byte.

        If the pipe is not empty, this is no checkpoint, which saves 15 % of a busy stream's time.
        After each read, `Output` makes a checkpoint.
        """
        max_bytes = min(max_bytes, self._chunk)
        while True:
            if self._fd < 0:
                raise anyio.ClosedResourceError
            if self._ended:
                raise anyio.EndOfStream
            if self._deadline != inf and anyio.current_time() >= self._deadline:
                max_bytes = min(max_bytes, max(0, self._bytes_to_drain))
            if not max_bytes:
                raise anyio.EndOfStream
            try:
                data = self._read(max_bytes)
            except BlockingIOError:
                self._bytes_to_drain = 0
            else:
                if not data:
                    self._ended = True
                    raise anyio.EndOfStream
                self._bytes_to_drain -= len(data)
                if self._may_grow and len(data) == CHUNK:
                    self._grow()
                return data
            await self._wait_readable()

    def _read(self, max_bytes: int) -> bytes:
        try:
            return os.read(self._fd, max_bytes)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""  # On Linux, EIO means that no process has the terminal open any longer.

    async def _wait_readable(self) -> None:
        """Wait until the pipe is readable, the deadline has passed, or a deadline is set."""
        self._is_waited_for = True
        try:
            if self._deadline == inf:  # without a cancel scope, which costs as much as the wait
                await anyio.wait_readable(self._fd)
            else:
                with anyio.CancelScope(deadline=self._deadline):
                    await anyio.wait_readable(self._fd)
        except anyio.ClosedResourceError:
            if self._fd < 0:
                raise
        finally:
            self._is_waited_for = False

    def note_end(self) -> None:
        """Note that the pipe has ended, and is empty."""
        self._ended = True

    def _grow(self) -> None:
        """Enlarge the pipe and all later reads: the pipe was full, so the command waited."""
        self._may_grow = False
        if enlarge_pipe(self._fd, BUSY_CHUNK):
            self._chunk = BUSY_CHUNK
            bytes(FREED_BLOCK)

    def set_drain_deadline(self, seconds: float) -> None:
        """End the stream in `seconds`, but not before all bytes now in the pipe are received.

        Only the first call has an effect.
        """
        if self._deadline == inf and self._fd >= 0 and not self._ended:
            self._bytes_to_drain = bytes_in_pipe(self._fd)
            self._deadline = anyio.current_time() + seconds
            if self._is_waited_for:  # The reader has to look at the deadline.
                anyio.notify_closing(self._fd)


class TerminalOutput(OutputPipe):
    """Our end of a terminal, as the screen.

    Attributes:
        is_group_gone: is called until it returns True, which lets the output end.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._child_end = -1
        self.is_group_gone: Callable[[], bool] = lambda: False

    def hold(self, child_end: int) -> None:
        """Keep the terminal open through a copy of the child's end, until the group is gone."""
        self._child_end = os.dup(child_end)

    async def _wait_readable(self) -> None:
        """Wait until the terminal is readable, or its output may have ended."""
        if self._child_end < 0:
            await super()._wait_readable()
            return
        # After the exit of the leader a Runner calls `stop`, and so `set_drain_deadline`, at once.
        # Only for another caller do we look ourselves.
        with anyio.move_on_after(LOOK_INTERVAL):
            await super()._wait_readable()
            return
        if self.is_group_gone():
            self._release()

    def set_drain_deadline(self, seconds: float) -> None:
        """End the stream when the terminal is empty and no process has it open, or in `seconds`."""
        super().set_drain_deadline(seconds)
        self._release()

    def close(self) -> None:
        """Close both ends: a process that still has the terminal open gets SIGHUP."""
        self._release()
        super().close()

    def close_in_fork(self) -> None:
        """Close both ends in a fork."""
        self._release()
        super().close_in_fork()

    def _release(self) -> None:
        """Close our copy of the child's end: from now on the output ends with the last process."""
        with no_fork:
            child_end, self._child_end = self._child_end, -1
            if child_end >= 0:
                os.close(child_end)


class InputPipe(Pipe, ByteSendStream):
    """Our end of a pipe that the child reads from."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._send_lock = anyio.Lock()
        self._is_broken = False

    async def send(self, item: bytes) -> None:
        """Write all of `item`, waiting while the pipe is full."""
        async with self._send_lock:  # so that the bytes of two senders do not mix
            rest = memoryview(item)
            while rest:
                if self._fd < 0:
                    raise anyio.ClosedResourceError
                if self._is_broken:
                    raise anyio.BrokenResourceError
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._wait_writable()
                except OSError as error:
                    if error.errno not in (errno.EPIPE, errno.EIO):  # EIO comes from a terminal.
                        raise
                    raise anyio.BrokenResourceError from error

    async def _wait_writable(self) -> None:
        """Wait until the pipe has room, or is broken."""
        self._is_waited_for = True
        try:
            await anyio.wait_writable(self._fd)
        except anyio.ClosedResourceError:
            if self._fd < 0:
                raise
        finally:
            self._is_waited_for = False


class TerminalInput(InputPipe):
    """Our end of a terminal, as the keyboard."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._is_inside_line = False

    async def send(self, item: bytes) -> None:
        """Type all of `item`, waiting while the terminal is full."""
        await super().send(item)
        if item:
            self._is_inside_line = bytes(item[-1:]) not in (b"\n", b"\r")

    async def aclose(self) -> None:
        """Type the end-of-file character, after which more may be sent.

        Inside a line it takes two characters: the first only passes on the unfinished line.  Does
        nothing if no process has the terminal open any longer.
        """
        character = end_of_file_character(self._fd) if self._fd >= 0 else b""
        try:
            await super().send(character * (2 if self._is_inside_line else 1))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            await checkpoint()
        self._is_inside_line = False

    def break_off(self) -> None:
        """Fail pending and later sends: the process is gone."""
        self._is_broken = True
        if self._is_waited_for:
            anyio.notify_closing(self._fd)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; does nothing after `close`."""
        if self._fd >= 0:
            resize_terminal(self._fd, rows, columns)
