"""The seam between supervising and running: only a launcher knows where processes live.

The supervising code knows only the protocols below, so a process may live on this machine or on
another host, with pipes or in a terminal.  Every launcher keeps these rules, which
tests/launcher_contract.py checks for each launcher:

- Stopping never queues behind reading or launching.
- The exit and the end of output are two events, in either order.
- Each output stream ends at most a second after the process group is gone, even if another process
  holds the pipe open; but not before all output of the group has been received.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from currant._process.watch import Watch
    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant._values.launch_spec import SignalTarget
    from currant._values.usage import Usage

__all__ = [
    "Checker",
    "Launcher",
    "Limited",
    "Measured",
    "Outlived",
    "PortOwner",
    "Process",
    "Resizable",
    "Sweeper",
    "Watched",
    "limits_of",
]


class Process(Protocol):
    """A started process with the process group that it leads.

    Attributes:
        host: the name of the machine on which the process lives.
        pid: the pid there, for display.
        stdin: the input if that is a pipe or a terminal, else None.  `send` raises
            `anyio.BrokenResourceError` if no process reads the input any more.  Closing a
            terminal's input types the end-of-file character and allows further sends; after a stop
            has ended the group, closing does nothing.
        stdout: the output; None if that is a file.
        stderr: the error output; None if that is a file, or goes to stdout, as in a terminal.
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
        """Wait until the process itself has exited, and return the exit.

        Any number of tasks may wait, any number of times; none waits for output to be read.
        Cancellation: harmless.

        Raises:
            HostLostError: the host of the process is lost before the exit is known.  Then the
                streams end after what has arrived, `send` raises `anyio.BrokenResourceError`,
                `send_signal` returns False, and `aclose` returns.
        """
        ...

    async def send_signal(self, signal: int, /, to: SignalTarget = "group") -> bool:
        """Send a signal to the whole group, or to the leader alone.

        Return whether any process got the signal.

        Cancellation: the signal may have been sent or not.
        """
        ...

    async def stop(self, signal: int, grace: float, /) -> Exit:
        """End the whole group: request with `signal`, wait up to `grace` seconds, kill, reap.

        A launcher that keeps all descendants of a process in a set, such as a control group, then
        ends those that left the group, in the same way and within what is left of the grace.

        If the `kill_mode` of the command is ``"mixed"``, the request goes to the leader alone, and
        the rest of the group is killed when the leader has exited.

        Only the steps that are left are done: if the process has exited by itself, the rest of the
        group is ended; if the group is gone, the call returns at once.  A second call with a
        shorter grace hurries the first.
        Cancellation: the stop was requested; SIGKILL may or may not have been sent.

        Raises:
            CannotStopError: a process of the group outlived SIGKILL for seconds.
            HostLostError: as for `wait`.
        """
        ...

    async def aclose(self) -> None:
        """Kill the group if it is alive, drop unread output, and release all resources.

        Cancellation: all of this is done nevertheless, within seconds.
        """
        ...


@runtime_checkable
class Outlived(Protocol):
    """A process whose group may outlive it; only used for a command with such `leftovers`."""

    async def wait_group(self) -> None:
        """Wait until the process has exited and no other process of its group is left.

        Cancellation: harmless.
        """
        ...

    def leave_group(self) -> None:
        """Let the processes that are left in the group go on; from now on the group is gone.

        Called after the exit, and nothing signals the group later.  The output ends in a moment,
        but not before all output until now has been received.
        """
        ...


@runtime_checkable
class PortOwner(Protocol):
    """A process that knows whether a server is its own."""

    async def listens(self, address: str, port: int, /) -> bool | None:
        """Return whether the process or a descendant listens on that TCP port of the host.

        Return None if no process listens there, or if the owner cannot be determined.  The address
        is numeric.
        Cancellation: harmless.
        """
        ...


@runtime_checkable
class Watched(Protocol):
    """A process whose exit and first output can be waited for in one task."""

    @property
    def watch(self) -> Watch | None:
        """Watches the process, for one task; None if that is not possible."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A process of which it is known what it has used."""

    @property
    def usage(self) -> Usage | None:
        """What the process and the descendants it waited for have used.

        None until `Process.wait` has returned, and if the system did not report it.
        """
        ...


class Launcher(Protocol):
    """Starts processes; an async context manager that ends all of them on exit.

    One launcher belongs to one Runner.  A launcher may also be a `Checker`, a `Sweeper` or
    `Limited`.  Its processes are `Outlived`, in a terminal they are `Resizable`, and they may be
    `PortOwner`, `Measured` and `Watched`.
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
        """Start `command` and return once the program runs.

        The command's `name`, `grace`, `kill_mode` and `leftovers` are set.  With
        ``leftovers="leave"``, no process is a `Sweeper`'s business.
        Cancellation: nothing is left running.

        Raises:
            LaunchError: the command could not be started; nothing is left behind.
        """
        ...


@runtime_checkable
class Checker(Protocol):
    """A launcher that can find out in advance that a command cannot be started.

    The Runner calls `check` for each command on entry.
    """

    def check(self, command: Command, /) -> None:
        """Look up the files and users that the command needs, and check its limits; run nothing.

        Raises:
            CommandNotFoundError: a file is missing or cannot be used.
            CommandError: there is no such user or group, or a limit or a socket cannot be set.
        """
        ...


@runtime_checkable
class Limited(Protocol):
    """A launcher that states how long each step of ending a process may take.

    For any other launcher the Runner uses the default `ShutdownLimits`.
    """

    @property
    def limits(self) -> ShutdownLimits: ...


def limits_of(launcher: Launcher) -> ShutdownLimits:
    """Return the limits of a `Limited` launcher, or the default ones of another."""
    # An isinstance of a protocol takes 15 µs, a hundredth of a short call of `run_process`.
    limits: ShutdownLimits | None = getattr(launcher, "limits", None)
    return ShutdownLimits() if limits is None else limits


@runtime_checkable
class Resizable(Protocol):
    """A process in a terminal, which can be resized; only used for a command with a `pty`."""

    async def resize(self, rows: int, columns: int, /) -> None:
        """Set the size of the terminal; the process gets SIGWINCH.

        Does nothing if the process has exited.
        Cancellation: the size may have been set or not.
        """
        ...


@runtime_checkable
class Sweeper(Protocol):
    """A launcher that can find escapees: descendants of a command that left its process group.

    The Runner calls `sweep` before a command's restart, and at its own end.
    """

    async def sweep(self, name: str | None = None, grace: float = inf, /) -> None:
        """End the escapees of a command, as a group is ended, and return when they are gone.

        Args:
            name: the command; None: all commands.  A running command is left alone, because it may
                end its escapees itself.
            grace: an upper bound in seconds for the graces that the commands were started with; a
                second call with a shorter grace hurries the first.

        Cancellation: the stop was requested; SIGKILL may or may not have been sent.

        Raises:
            CannotStopError: an escapee outlived SIGKILL for seconds.
        """
        ...
