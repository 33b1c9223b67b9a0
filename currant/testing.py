"""`FakeLauncher`: processes that follow a script, for tests without real processes.

A fake process keeps the contract of `currant.Process` and goes through the same kill path as a real
one.  So decisions above the launcher (restarts, kills, dependencies) can be tested without a
program, independent of the machine's speed and, with trio's `MockClock`, without waiting.
"""

from __future__ import annotations

import signal as signals
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import AsyncContextManagerMixin
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint

from currant._process.stop import Stopper
from currant._synchronization import Notifier
from currant._values.checks import check_count
from currant._values.errors import CannotStopError, HostLostError, LaunchError, suggestion
from currant._values.exit import Exit
from currant._values.launch_spec import Pty, has_input, read_streams
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from currant._values.command import Command
    from currant._values.launch_spec import LaunchSpec, SignalTarget
    from currant._values.lines import StreamName
    from currant._values.usage import Usage

__all__ = ["FakeLauncher", "FakeProcess", "Script", "Scripts"]

HARMLESS = frozenset(
    {0}
    | {
        number
        for number in signals.Signals
        if number.name
        in ("SIGCONT", "SIGCHLD", "SIGWINCH", "SIGURG", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU")
    }
)
"""Signals that do not end a process that has no handler for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    r"""The behaviour of a fake process.

    Describe a server, a process that has to be killed, a crash, and a failed start::

        from signal import SIGTERM
        from currant.testing import Script

        server = Script(stdout=b"ready\n", exit=None)
        deaf = Script(exit=None, ignores={SIGTERM})
        crash = Script(stderr=b"no such table\n", exit=1, after=0.01)
        broken = Script(error="the program does not exist")

    Attributes:
        stdout: the bytes that the process writes to stdout at once.
        stderr: the bytes that the process writes to stderr at once.
        exit: the exit code; None: the process runs until a signal ends it.
        after: seconds from the start to the exit.
        leftovers: seconds for which another process of the group goes on after the exit, with the
            output; inf: until a signal ends that process.
        ignores: the signals that do not end the process; with SIGKILL among them, no signal does.
        starting: seconds that the start takes.
        error: the reason why the start fails; None: the start succeeds.
        usage: what the process reports to have used when it has exited.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    exit: int | None = 0
    after: float = 0.0
    leftovers: float = 0.0
    ignores: Collection[int] = ()
    starting: float = 0.0
    error: str | None = None
    usage: Usage | None = None


Scripts: TypeAlias = Mapping[str, Script | Sequence[Script]]
"""Scripts by command name; in a sequence, each start uses the next script; the last one repeats."""


class FakeLauncher(AsyncContextManagerMixin):
    """A launcher of processes that follow scripts.

    Test how an application reacts when one of its commands fails::

        from signal import SIGTERM
        from currant import Runner
        from currant.testing import FakeLauncher, Script

        launcher = FakeLauncher({"web": Script(exit=None)}, default=Script(exit=3))
        commands = {"web": "serve", "job": "migrate"}
        async with Runner(commands, launcher=launcher, kill_others_on="failure") as runner:
            await runner["job"].wait()
        assert launcher["web"].signals == [SIGTERM]

    Args:
        scripts: the scripts by command name.
        default: the script of each other command; None: exit at once with code 0.
        hosts: the names of the hosts; a process runs on the `Command.host`, or else on the first.
            Empty: there are none, and the Runner refuses commands with `host` or `resources`.
        keep: how many processes `launched` has at least, for a test with very many: those that run,
            and the last ones that have exited; None: all.

    Attributes:
        launched: the processes that were started, in order.
        has_hosts: whether there are `hosts`.
        limits: how long each step of ending a process may take.

    Raises:
        CommandError: when built: `keep` is not an integer from 1.
    """

    # `_limits` is for tests of currant itself.
    def __init__(
        self,
        scripts: Scripts | None = None,
        default: Script | None = None,
        *,
        hosts: Sequence[str] = (),
        keep: int | None = None,
        _limits: ShutdownLimits | None = None,
    ) -> None:
        if keep is not None:
            check_count("keep", keep)
        self.limits: ShutdownLimits = _limits or ShutdownLimits()
        self.launched: list[FakeProcess] = []
        self.has_hosts: bool = bool(hosts)
        self._hosts = tuple(hosts)
        self._keep = keep
        self._most = 2 * (keep or 0)  # processes in `launched`, before old ones are dropped
        self._scripts = dict(scripts or {})
        self._default = default or Script()
        self._starts: dict[str, int] = {}
        self._pids = count(1)

    def __getitem__(self, name: str) -> FakeProcess:
        """Return the last process of a command; raise `KeyError` if `launched` has none."""
        for process in reversed(self.launched):
            if process.command.name == name:
                return process
        raise KeyError(name)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        error: BaseException | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield self
            except BaseException as raised:  # raised again below, unwrapped
                error = raised
            with anyio.CancelScope(shield=True):  # Bounded: no call waits.
                for process in self.launched:
                    await process.aclose()
            self._tasks.cancel_scope.cancel()  # A leftover process that was dropped may go on.
        if error is not None:
            raise error

    async def launch(self, command: Command) -> FakeProcess:
        """Start a process that follows the script of `command`.

        Raises:
            LaunchError: the script has an `error`, or there is no such host.
        """
        script = self._next_script(command.name)
        host = command.host or next(iter(self._hosts), None)
        if self.has_hosts and host not in self._hosts:
            raise LaunchError(
                command.name, f"there is no host {host!r}{suggestion(host, self._hosts)}"
            )
        await anyio.sleep(script.starting)
        if script.error is not None:
            raise LaunchError(command.name, script.error)
        process = FakeProcess(command, script, next(self._pids), self.limits, host)
        self.launched.append(process)
        self._drop_old(self._keep)
        if script.exit is not None:
            self._tasks.start_soon(process.exit_after, script.after, script.exit)
        if script.leftovers:
            self._tasks.start_soon(process.end_leftovers_after, script.leftovers)
        return process

    def _drop_old(self, keep: int | None) -> None:
        """Drop processes that have exited, all but the last ones."""
        if keep is not None and len(self.launched) > self._most:
            self.launched[:-keep] = [each for each in self.launched[:-keep] if each.running]
            self._most = 2 * max(keep, len(self.launched))

    def _next_script(self, name: str) -> Script:
        scripts = self._scripts.get(name, self._default)
        if isinstance(scripts, Script):
            return scripts
        starts = self._starts.get(name, 0)
        self._starts[name] = starts + 1
        return scripts[min(starts, len(scripts) - 1)]


class FakeProcess:
    r"""A process that follows a script; a test may also play it by hand.

    Attributes:
        command: the command that was launched.
        signals: all signals that arrived, in order.
        received: the bytes that were sent to stdin, with a ``b"\x04"`` for each time that the stdin
            of a terminal was closed.
        terminal: the terminal with the present size; None if there is no terminal.
        host: the host of the launcher on which it runs; ``"fake"`` if there are none.
        is_local: whether there are none, so that the process would be on this machine.
        was_left: whether currant has let the rest of the group go on.
        pid: a number that no other process of the launcher has.
        stdin: the input if that is a pipe or a terminal, else None.
        stdout: the output; None if that is a file, to which nothing is written.
        stderr: the error output; None if that is a file, or goes to stdout.
    """

    def __init__(
        self,
        command: LaunchSpec,
        script: Script,
        pid: int,
        limits: ShutdownLimits,
        host: str | None = None,
    ) -> None:
        self.command = command
        self.signals: list[int] = []
        self.received: bytearray = bytearray()
        self.host: str = "fake" if host is None else host
        self.is_local: bool = host is None
        self.pid: int = pid
        self.terminal: Pty | None = command.pty if isinstance(command.pty, Pty) else None
        self.stdin: ByteSendStream | None = _FakeInput(self) if has_input(command) else None
        is_merged = command.stderr == "stdout" or self.terminal is not None
        self._stdout = _Buffer()
        self._stderr = self._stdout if is_merged else _Buffer()
        read = read_streams(command)
        self.stdout: ByteReceiveStream | None = (
            _FakeOutput(self._stdout) if "stdout" in read else None
        )
        self.stderr: ByteReceiveStream | None = (
            _FakeOutput(self._stderr) if "stderr" in read else None
        )
        self.was_left: bool = False
        self._group = _FakeGroup(
            script.ignores,
            self.signals,
            on_gone=self.close_output,
            has_leftovers=script.leftovers > 0,
        )
        self._stopper = Stopper(self._group, limits.reap, command.kill_mode or "group")
        self._limits = limits
        self._usage = script.usage
        self._lost: HostLostError | None = None
        self.write(script.stdout)
        self.write(script.stderr, "stderr")

    def __repr__(self) -> str:
        end = self._group.exit
        state = self._lost or ("running" if end is None else self._stopper.annotate(end))
        return f"<FakeProcess {self.command.name!r} pid={self.pid} {state}>"

    @property
    def running(self) -> bool:
        """Whether the process has not exited."""
        return self._group.exit is None and self._lost is None

    @property
    def usage(self) -> Usage | None:
        """The usage that the script states, once the process has exited; None before."""
        return None if self.running else self._usage

    def write(self, data: bytes, stream: StreamName = "stdout") -> None:
        """Write `data`, without waiting."""
        buffer = self._stdout if stream == "stdout" else self._stderr
        buffer.add(data)

    def close_output(self) -> None:
        """Close stdout and stderr; the process goes on running."""
        self._stdout.end()
        self._stderr.end()

    def exit(self, code: int) -> None:
        """Exit with `code` by itself; does nothing if the process has exited."""
        self._group.finish(Exit(code, None))

    def lose(self, reason: str = "the connection has ended") -> None:
        """Lose the host of a process that runs, so that its exit will never be known."""
        if self.running:
            self._lost = HostLostError(self.host, reason)
            self._group.vanish()

    async def exit_after(self, seconds: float, code: int) -> None:
        """Exit with `code` after `seconds`; does nothing if the process exits before."""
        with anyio.move_on_after(seconds):
            await self._group.wait_leader()
        self.exit(code)

    async def end_leftovers_after(self, seconds: float) -> None:
        """End the rest of the group so many seconds after the exit of the process."""
        await self._group.wait_leader()
        with anyio.move_on_after(seconds):
            await self._group.wait_gone()
        self._group.end_leftovers()

    async def wait_group(self) -> None:
        """Wait until no process of the group is left; see `currant.Process`."""
        await self._group.wait_gone()

    def leave_group(self) -> None:
        """Let the rest of the group go on: for currant, the group is gone."""
        self.was_left = True
        self._group.end_leftovers()

    async def wait(self) -> Exit:
        """Wait for the exit; see `currant.Process.wait`."""
        end = await self._group.wait_exit()
        if end is None:
            assert self._lost is not None
            raise HostLostError(self._lost.host, self._lost.reason)
        return self._stopper.annotate(end)

    async def send_signal(self, signal: int, to: SignalTarget = "group") -> bool:
        """Send a signal, to the group or to the leader; the process is the only one in both.

        Return whether the process was running.
        """
        await checkpoint()
        return self._group.send_to_leader(signal) if to == "leader" else self._group.send(signal)

    async def stop(self, signal: int, grace: float) -> Exit:
        """End the process; see `currant.Process.stop`."""
        if not await self._stopper.end(signal, grace):
            raise CannotStopError(self.command.name, self.pid, self._limits.reap)
        return await self.wait()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; the process gets SIGWINCH if that is a change."""
        await checkpoint()
        size = Pty(rows, columns)
        if self.terminal is not None and self.terminal != size and self.running:
            self.terminal = size
            self._group.send(signals.SIGWINCH)

    async def aclose(self) -> None:
        """End the process at once, whatever the script says."""
        self._group.send(signals.SIGKILL)
        self._group.finish(Exit(None, signals.SIGKILL))
        self._group.end_leftovers()
        with anyio.CancelScope(shield=True):  # Bounded: each `aclose` is only a checkpoint.
            for pipe in (self.stdin, self.stdout, self.stderr):
                if pipe is not None:
                    await pipe.aclose()


class _FakeGroup:
    """The process group of a fake process, in the form that a `Stopper` needs.

    Its only other member is the process that may be left over.
    """

    def __init__(
        self,
        ignores: Collection[int],
        received: list[int],
        on_gone: Callable[[], None],
        *,
        has_leftovers: bool,
    ) -> None:
        self.exit: Exit | None = None
        self._has_leftovers = has_leftovers
        self._ignores = frozenset(ignores)
        self._received = received
        self._on_gone = on_gone
        self._exited = anyio.Event()
        self._gone = anyio.Event()

    def leader_is_alive(self) -> bool:
        return not self._exited.is_set()

    def send(self, *numbers: int) -> bool:
        reached = [self._deliver(number) for number in numbers]
        return reached[0]

    def send_to_leader(self, number: int) -> bool:
        return not self._exited.is_set() and self._deliver(number, to_all=False)

    async def wait_leader(self) -> None:
        await self._exited.wait()

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def wait_exit(self) -> Exit | None:
        await self._exited.wait()
        return self.exit

    def vanish(self) -> None:
        self._exited.set()
        self._end()

    def finish(self, end: Exit) -> None:
        if self.exit is None and not self._exited.is_set():
            self.exit = end
            self._exited.set()
            if not self._has_leftovers:
                self._end()

    def end_leftovers(self) -> None:
        self._has_leftovers = False
        if self.exit is not None:
            self._end()

    def _end(self) -> None:
        if not self._gone.is_set():
            self._on_gone()
            self._gone.set()

    def _deliver(self, number: int, *, to_all: bool = True) -> bool:
        if self._gone.is_set():
            return False
        self._received.append(number)
        if number not in self._ignores and number not in HARMLESS:
            self.finish(Exit.from_returncode(-number))
            if to_all:
                self.end_leftovers()
        return True


class _Buffer:
    """Bytes that were written to a stream and not yet received."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_ended = False
        self.change = Notifier()

    def add(self, data: bytes) -> None:
        self.data += data
        self.change.notify_all()

    def end(self) -> None:
        self.is_ended = True
        self.change.notify_all()


class _FakeOutput(ByteReceiveStream):
    """The reader's end of an output stream."""

    def __init__(self, buffer: _Buffer) -> None:
        self._buffer = buffer
        self._closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await checkpoint()
        buffer = self._buffer
        while not buffer.data:
            if self._closed:
                raise anyio.ClosedResourceError
            if buffer.is_ended:
                raise anyio.EndOfStream
            await buffer.change.wait()
        data = bytes(buffer.data[:max_bytes])
        del buffer.data[:max_bytes]
        return data

    async def aclose(self) -> None:
        self._closed = True
        self._buffer.data.clear()
        self._buffer.change.notify_all()
        await checkpoint()


class _FakeInput(ByteSendStream):
    """Passes the bytes that are sent on to the process."""

    def __init__(self, process: FakeProcess) -> None:
        self._process = process
        self._closed = False

    async def send(self, item: bytes) -> None:
        await checkpoint()
        if self._closed:
            raise anyio.ClosedResourceError
        if not self._process.running:
            raise anyio.BrokenResourceError
        self._process.received += item

    async def aclose(self) -> None:
        await checkpoint()
        if self._process.terminal is None:
            self._closed = True
        elif self._process.running:
            self._process.received += b"\x04"
