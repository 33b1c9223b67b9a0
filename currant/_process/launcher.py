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
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from currant._values.errors import CommandError
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from currant._values.command import Command
    from currant._values.exchange import Answer, FileState, Request
    from currant._values.exit import Exit
    from currant._values.launch_spec import LaunchSpec, SignalTarget
    from currant._values.lines import StreamName
    from currant._values.messages import HostMessage
    from currant._values.usage import Usage

__all__ = [
    "Activity",
    "Checker",
    "Examiner",
    "Exchanger",
    "Holder",
    "HostReporter",
    "Launcher",
    "Limited",
    "Local",
    "Measured",
    "Outlived",
    "Placing",
    "Process",
    "ProcessWatch",
    "Resizable",
    "Sweeper",
    "Watched",
    "check_launcher",
    "check_place",
    "host_of",
    "is_interrupted",
    "limits_of",
    "waited_of",
]


class Process(Protocol):
    """A started process with the process group that it leads.

    Attributes:
        host: the name of the machine on which the process lives; messages and results name it,
            unless its `Local.is_local` is true.
        pid: the pid there, for display.
        stdin: the input if that is a pipe or a terminal, else None.  `send` raises
            `anyio.BrokenResourceError` if no process reads the input any more.  Closing a
            terminal's input types the end-of-file character and allows further sends; after a stop
            has ended the group, closing does nothing.
        stdout: the output; None if that is a file.
        stderr: the error output; None if that is a file, or goes to stdout, as in a terminal.  If
            you close one of them, a process that writes there gets SIGPIPE, as from any pipe.
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
                `send_signal` returns False, and `aclose` returns.  If the host is lost after that,
                a stream that has not ended raises `HostLostError` after what has arrived.
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
class Exchanger(Protocol):
    """A process that sends requests to servers from its own host."""

    async def exchange(self, request: Request, /) -> Answer:
        """Connect to a server, as the host knows it, send a request, and receive the answer.

        The server may belong to the process or a descendant, or not; the answer says so.  Relative
        paths begin at the working directory of the process.
        Cancellation: harmless.

        Raises:
            OSError: no server accepts the connection.
            HostLostError: the host of the process is lost.
        """
        ...


@runtime_checkable
class Examiner(Protocol):
    """A process that looks at files on its own host."""

    async def examine(self, path: str, /) -> FileState:
        """Return whether a file was made or changed since the start of the process.

        A relative path begins at the working directory of the process.  A path that is not one of
        the command's `probe_files` counts as new if the file exists.
        Cancellation: harmless.

        Raises:
            OSError: the system does not show the file.
            HostLostError: the host of the process is lost.
        """
        ...


class Activity(NamedTuple):
    """What has happened since the last look at a process.

    Attributes:
        has_exited: whether the process itself has exited.
        begun: the streams that have output, for the first time.
        ended: the streams that have ended without any output.
    """

    has_exited: bool
    begun: tuple[StreamName, ...]
    ended: tuple[StreamName, ...]


class ProcessWatch(Protocol):
    """Watches a process until its exit, and each of its streams until the first output."""

    async def next(self) -> Activity:
        """Wait until something has happened, and return it; each stream is reported once.

        Cancellation: harmless.

        Raises:
            anyio.ClosedResourceError: the process was closed.
        """
        ...


@runtime_checkable
class Watched(Protocol):
    """A process whose exit and first output can be waited for in one task."""

    @property
    def watch(self) -> ProcessWatch | None:
        """Watches the process, for one task; None if that is not possible."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A process that reports the processor time and the memory that it has used."""

    @property
    def usage(self) -> Usage | None:
        """What the process and the descendants it waited for have used.

        None until `Process.wait` has returned, and if the system did not report it.
        """
        ...


@runtime_checkable
class Local(Protocol):
    """A process that knows whether it lives on this machine.

    If it does, messages and results name no host.
    """

    @property
    def is_local(self) -> bool: ...


def host_of(process: Process) -> str | None:
    """Return the host of a process; None: this machine."""
    # An isinstance of a protocol takes 15 µs, a hundredth of a short call of `run_process`.
    return None if getattr(process, "is_local", False) else process.host


def waited_of(process: Process) -> float:
    """Return for how many seconds the launch of a process waited for a place on a host."""
    waited: float = getattr(process, "waited", 0.0)
    return waited


def is_interrupted(process: Process) -> bool:
    """Return whether a process that has exited was stopped because its host is about to end."""
    interrupted: bool = getattr(process, "is_interrupted", False)
    return interrupted


class Launcher(Protocol):
    """Starts processes; an async context manager that ends all of them on exit.

    One launcher belongs to one Runner.  A launcher may also be a `Checker`, a `Sweeper`, a
    `HostReporter`, a `Holder` or `Limited`.  Its processes are `Outlived`, in a terminal they are
    `Resizable`, and they may be `Local`, `Exchanger`, `Examiner`, `Measured` and `Watched`.
    """

    async def __aenter__(self) -> object:
        """Get ready to start processes.

        Cancellation: nothing is left behind; a kill does that to an entry that takes long.
        """
        ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None: ...

    async def launch(self, command: Command, /) -> Process:
        """Start `command` and return once the program runs.

        The command's `name`, `grace`, `kill_mode` and `leftovers` are set; `host` and `resources`
        only if the launcher is `Placing`, and then the call may wait for a place.  With
        ``leftovers="leave"``, no process is a `Sweeper`'s business.
        Cancellation: nothing is left running.

        Raises:
            LaunchError: the command could not be started; nothing is left behind.
        """
        ...


@runtime_checkable
class Checker(Protocol):
    """A launcher that can find out in advance that a command cannot be started.

    The Runner calls `check` when it has entered the launcher, before it starts any command.  If
    that raises an error, it leaves the launcher, and may enter it again later.
    """

    async def check(self, commands: Sequence[Command], /) -> None:
        """Look up the files and users that commands need, and check their limits; run nothing.

        All of that is done where the commands would run.
        Cancellation: harmless.

        Raises:
            CommandNotFoundError: of a command, a file is missing or cannot be used.
            CommandError: there is no such user or group, or a limit or a socket cannot be set.
            HostLostError: the host that was asked is lost.
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
class Placing(Protocol):
    """A launcher with hosts, which chooses one by a command's `host` and `resources`.

    For any other launcher, the Runner refuses a command that has one of them.
    """

    @property
    def has_hosts(self) -> bool: ...


def check_launcher(value: object) -> None:
    """Check that an argument `launcher` is a launcher or None.

    Raises:
        CommandError: it is not.
    """
    if isinstance(value, type):
        name = value.__name__
        raise CommandError(f"launcher is the class {name}; did you forget to call it: {name}()?")
    if value is not None and not callable(getattr(value, "launch", None)):
        raise CommandError(f"launcher must be a Launcher or None, not {value!r}")


def check_place(command: LaunchSpec, launcher: object) -> None:
    """Check that the launcher can choose a host if the command says anything about its host.

    Raises:
        CommandError: it cannot.
    """
    if (command.host is None and not command.resources) or getattr(launcher, "has_hosts", False):
        return
    field = "resources" if command.host is None else "host"
    value = dict(command.resources) if command.host is None else command.host
    raise CommandError(
        f"command {command.name!r}: {field}={value!r} needs a launcher with hosts, such as "
        f"currant.hosts.Hosts, and {type(launcher).__name__} has none"
    )


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


@runtime_checkable
class HostReporter(Protocol):
    """A launcher whose hosts come and go.  A Runner runs `watch` beside its sinks."""

    async def launch(self, command: Command, /, *, beside: Process | None = None) -> Process:
        """Start `command`; see `Launcher.launch`.

        If `beside` is a process of this launcher, `command` belongs to a probe of that process.
        The command runs on the same host, and takes no place there.  The Runner does not pass
        `beside` to launchers that are not a `HostReporter`, because they have a single host.
        """
        ...

    async def watch(self, report: Callable[[HostMessage], Awaitable[None]], /) -> None:
        """Send a message for each host that is up, and for each that is lost.

        The Runner calls this once, when it has entered the launcher, and cancels the call at its
        end.  Messages for the hosts that are up then come first.  The message for a lost host comes
        before its processes fail.  An exception stops all commands, and leaves the Runner's block.

        Args:
            report: sends a message; waits while readers and sinks are behind, so nothing but this
                call may depend on it.

        Cancellation: harmless.
        """
        ...


@runtime_checkable
class Holder(Protocol):
    """A launcher whose processes end if this program is silent for too long."""

    async def hold(self) -> None:
        """Keep the processes alive although this program will be suspended, as by Ctrl-Z.

        Call this right before the suspension.  When the program goes on, the launcher ends the hold
        by itself.  A process whose host is lost does not keep the call from returning.
        Cancellation: some of the processes may be held, and others not.
        """
        ...
