"""Carry bytes between a driver and an agent, through two file descriptors.

Any local program will do whose stdin and stdout lead to an agent: ``ssh HOST COMMAND``, ``docker
exec -i``, or the Python that runs the agent.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import anyio

from currant._agent.link import read_some
from currant._process.child import Child, SpawnSpec
from currant._system.files import enlarge_pipe
from currant._system.forks import close_in_forks, no_fork
from currant._system.groups import has_pidfds, kill_unreaped

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ArgvTransport", "PipeTransport", "Transport"]


PIPE_SIZE = 1024 * 1024
"""The capacity of our pipes, if the system allows it."""

MAX_SAID = 4096
"""How many bytes are kept of each of the last reads from the stderr of the program."""

EXIT_LIMIT = 1.0
"""Seconds that the program may take to exit once its pipes are closed."""


TURNED_AWAY = re.compile(r"^(kex|ssh)_exchange_identification: ", re.MULTILINE)
"""The error of ssh if a server ends the connection at once, because it has too many logins."""

NO_WAY_BEHIND = "stdio forwarding failed"
"""The second error of ssh if a jump host does not reach the host; another try would not help."""


class Transport(Protocol):
    """A connection to an agent, which may be opened again after it was closed."""

    def open(self) -> tuple[int, int]:
        """Connect; return a file descriptor to read from, and one to write to.

        Neither descriptor may block.

        Raises:
            OSError: no connection is possible; its text is shown to the user.
        """
        ...

    async def listen(self) -> None:
        """Collect the error messages of the connection, such as the stderr of ssh, until they end.

        Cancellation: harmless; a second call goes on.
        """
        ...

    def said(self) -> str:
        """Return the last error messages, to be shown if the host is unreachable or lost."""
        ...

    def was_turned_away(self) -> bool:
        """Return whether the host refused the connection, but may accept one a little later.

        If so, currant closes the transport and opens it again.
        """
        ...

    async def aclose(self) -> None:
        """Close the file descriptors, and end the connection.

        Tasks may still wait for the descriptors, so call `anyio.notify_closing` before.
        Cancellation: all of this is done nevertheless, within seconds.
        """
        ...


class PipeTransport:
    """Three pipes: the stdin, stdout and stderr of a program or thread that leads to the agent."""

    def __init__(self) -> None:
        self._files: list[int] = []
        self._error_fd = -1
        self._said: deque[bytes] = deque(maxlen=16)

    def open(self) -> tuple[int, int]:
        """Open the pipes, and connect their other ends; see `Transport.open`."""
        self._said.clear()
        with no_fork:
            stdin, write_fd, read_fd, stdout, self._error_fd, stderr = _three_pipes()
            self._files = [read_fd, write_fd, self._error_fd]
            close_in_forks(self)
        for fd in self._files:
            os.set_blocking(fd, False)
        for fd in (read_fd, write_fd):
            enlarge_pipe(fd, PIPE_SIZE)
        try:
            self._connect(stdin, stdout, stderr)
        except BaseException:
            self._close_files()
            raise
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        return read_fd, write_fd

    @abstractmethod
    def _connect(self, stdin: int, stdout: int, stderr: int) -> None:
        """Begin to carry bytes; the caller closes the three files when this returns."""

    async def listen(self) -> None:
        """Collect the last bytes of the stderr; see `Transport.listen`."""
        while data := await read_some(self._error_fd):
            self._said.append(data[-MAX_SAID:])

    def said(self) -> str:
        """Return the last lines from the stderr."""
        return b"".join(self._said).decode(errors="replace").strip()

    def close_in_fork(self) -> None:
        """Close the pipes in a fork, which must not hold the agent's stdin open."""
        files, self._files = self._files, []
        for fd in files:
            with suppress(OSError):
                os.close(fd)

    def _close_files(self) -> None:
        with no_fork:
            files, self._files = self._files, []
            for fd in files:
                anyio.notify_closing(fd)
                os.close(fd)


def _three_pipes() -> list[int]:
    """Return both ends of three pipes.

    Raises:
        OSError: no descriptors are left; none is open.
    """
    ends: list[int] = []
    try:
        for _ in range(3):
            ends += os.pipe()
    except OSError:
        for fd in ends:
            os.close(fd)
        raise
    return ends


class ArgvTransport(PipeTransport):
    """Runs a local program whose stdin and stdout lead to the agent.

    Args:
        argv: the program and its arguments.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        super().__init__()
        self.argv: Sequence[str] = argv
        self._child: Child | None = None

    def _connect(self, stdin: int, stdout: int, stderr: int) -> None:
        spec = SpawnSpec(self.argv, stdin, stdout, stderr, None, dict(os.environb))
        try:
            self._child = Child(spec, with_pidfd=has_pidfds())
        except FileNotFoundError as error:
            raise FileNotFoundError(f"this machine has no program {self.argv[0]!r}") from error

    def was_turned_away(self) -> bool:
        """Return whether ssh reports that a server ended the connection before the login."""
        said = self.said()
        return bool(TURNED_AWAY.search(said)) and NO_WAY_BEHIND not in said

    async def aclose(self) -> None:
        """Close the pipes, and kill the program if it does not exit then."""
        self._close_files()
        if self._child is None:
            return
        with anyio.move_on_after(EXIT_LIMIT, shield=True):
            await self._child.wait()
        if self._child.returncode is None:
            kill_unreaped(self._child.pid)
            with anyio.CancelScope(shield=True):  # Bounded: nothing survives SIGKILL for long.
                await self._child.wait()
        self._child.close()
        self._child = None
