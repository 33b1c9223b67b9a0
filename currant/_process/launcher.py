"""The seam between supervising and running: where a process lives is the launcher's business.

The supervising code knows these protocols only, so a process may live on this machine or on another
host, with pipes or in a terminal.  What every launcher keeps (tests/launcher_contract.py checks it
against each):

- Stopping never queues behind reading or launching.
- The exit and the end of output are two events, in either order.
- Each output stream ends: at the latest a second after the process's group is gone, whoever else
  holds the pipe; and not before all that the group wrote has been received.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["Checker", "Launcher", "Limited", "PortOwner", "Process", "Resizable", "Sweeper"]


class Process(Protocol):
    """One started process with all that belongs to its process group.

    Attributes:
        host: the name of the machine on which it lives.
        pid: its number there, for display.
        stdin: its input, where that is a pipe or a terminal; a send raises
            `anyio.BrokenResourceError` when nobody reads any more.  Closing that of a terminal
            types its end-of-file character, and it may be written to further; once a stop has
            ended the group it does nothing.
        stdout: its output.
        stderr: its error output; None where it goes to stdout, as to a terminal.
    """

    @property
    def host(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def stdin(self) -> ByteSendStream | None: ...
    @property
    def stdout(self) -> ByteReceiveStream | None: ...
    @property
    def stderr(self) -> ByteReceiveStream | None: ...

    async def wait(self) -> Exit:
        """Wait until the process itself has ended, and return how.

        For any number of tasks, any number of times; does not wait for output to be read.
        Cancellation: harmless.
        """
        ...

    async def send_signal(self, signal: int, /) -> bool:
        """Send a signal to the whole group; return whether there was anybody to get it.

        Cancellation: it may have been sent or not.
        """
        ...

    async def stop(self, signal: int, grace: float, /) -> Exit:
        """End the whole group: ask with `signal`, wait up to `grace` seconds, force, reap.

        Does only what is left to do: when the process has ended by itself it ends the rest of the
        group, and when all are gone it returns at once.  A second call with a shorter grace hurries
        the first.  Cancellation: leaves the group asked, but not forced.

        Raises:
            CannotStopError: something outlived SIGKILL for seconds.
        """
        ...

    async def aclose(self) -> None:
        """End the group at once if it is alive, drop unread output, free everything.

        Cancellation: all of it is done nevertheless; that takes seconds at most.
        """
        ...


@runtime_checkable
class PortOwner(Protocol):
    """A process that can tell whether a server is its own."""

    async def listens(self, address: str, port: int, /) -> bool | None:
        """Tell whether it, or who comes from it, listens on that TCP port of its host.

        None where nobody listens there, or that cannot be told; the address is numeric.
        Cancellation: harmless.
        """
        ...


class Launcher(Protocol):
    """Starts processes; an async context manager that ends what is left when it is left.

    One launcher belongs to one Runner.  It may have two methods more: `check` (see `Checker`) and
    `sweep` (see `Sweeper`).  A process in a terminal is `Resizable`, and one that can tell whose a
    port is is a `PortOwner`.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None: ...

    async def launch(self, command: Command, /) -> Process:
        """Start `command` and return once its program runs.

        The command's `name` and `grace` are set.
        Cancellation: nothing is left running.

        Raises:
            LaunchError: it could not be started; nothing is left behind.
        """
        ...


@runtime_checkable
class Checker(Protocol):
    """A launcher that can tell beforehand that a command cannot be started.

    The Runner asks it for each command on entry.
    """

    def check(self, command: Command, /) -> None:
        """Look the command's program, working directory and input file up; run nothing.

        Raises:
            CommandNotFoundError: one of them is missing or cannot be used.
        """
        ...


@runtime_checkable
class Limited(Protocol):
    """A launcher that states how long each step of ending its processes may take.

    For any other launcher the Runner uses the default `ShutdownLimits`.
    """

    @property
    def limits(self) -> ShutdownLimits: ...


@runtime_checkable
class Resizable(Protocol):
    """A process whose terminal's size can be set; called only where its command has a `pty`."""

    async def resize(self, rows: int, columns: int, /) -> None:
        """Set the size of its terminal, and tell the process of it (SIGWINCH).

        Does nothing where the process has ended.
        Cancellation: the size may have been set or not.
        """
        ...


@runtime_checkable
class Sweeper(Protocol):
    """A launcher that can find what left the process group of the command that started it.

    The Runner has it do so before a command's restart, and at its end.
    """

    async def sweep(self, name: str | None = None, grace: float = inf, /) -> None:
        """End what has left its process group, as a group is ended, and return when it is gone.

        Args:
            name: whose processes' escapees; None: those of all commands.  A command that runs is
                left alone: it may end them itself.
            grace: an upper bound in seconds for the graces that the commands were started with; a
                second call with a shorter one hurries the first.

        Cancellation: leaves them asked, but not forced.

        Raises:
            CannotStopError: something outlived SIGKILL for seconds.
        """
        ...
