"""`FakeLauncher`: processes that only say what their script says, for tests without real ones.

A fake process keeps the contract of `currant.Process` and goes through the same kill path as a real
one, so what is decided above it (restarts, kills, who waits for whom) can be tested without a
program, without the machine's speed and, with trio's `MockClock`, without waiting.

    launcher = FakeLauncher({"web": Script(exit=None, ignores={SIGTERM})}, Script(exit=3))
    async with Runner({"web": "serve", "job": "migrate"}, launcher=launcher) as runner: ...
"""

from __future__ import annotations

import signal as signals
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import AsyncContextManagerMixin
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint

from currant._process.stop import end_group
from currant._synchronization import Notifier
from currant._values.errors import CannotStopError, LaunchError
from currant._values.exit import Exit
from currant._values.launch_spec import Pty, has_input
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from typing import Self

    from currant._values.command import Command
    from currant._values.launch_spec import LaunchSpec
    from currant._values.lines import StreamName

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
"""Signals that do not end a process which has no handler for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one fake process does.

    Attributes:
        stdout: what it writes at once.
        stderr: the same to its stderr.
        exit: the code it exits with by itself; None: it runs until it is ended.
        after: seconds until then.
        ignores: signals that do not end it; with SIGKILL among them nothing does.
        starting: seconds that it takes to start.
        error: why it cannot be started; None: it can.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    exit: int | None = 0
    after: float = 0.0
    ignores: Collection[int] = ()
    starting: float = 0.0
    error: str | None = None


Scripts: TypeAlias = Mapping[str, Script | Sequence[Script]]
"""By a command's name what it does: always the same, or one after the other, the last for good."""


class FakeLauncher(AsyncContextManagerMixin):
    """A launcher whose processes follow scripts.

    Args:
        scripts: by the commands' names what they do.
        default: what a command does that has no script.

    Attributes:
        launched: all processes that were started, in order.
        limits: how long each step of ending its processes may take; tests of currant itself may
            set other limits with `_limits`.
    """

    def __init__(
        self,
        scripts: Scripts | None = None,
        default: Script | None = None,
        *,
        _limits: ShutdownLimits | None = None,
    ) -> None:
        self.limits: ShutdownLimits = _limits or ShutdownLimits()
        self.launched: list[FakeProcess] = []
        self._scripts = dict(scripts or {})
        self._default = default or Script()
        self._tries: dict[str, int] = {}
        self._pids = count(1)

    def __getitem__(self, name: str) -> FakeProcess:
        """Return the last process of the command of that name; `KeyError` where there is none."""
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
            with anyio.CancelScope(shield=True):  # bounded: nothing in it waits
                for process in self.launched:
                    await process.aclose()
        if error is not None:
            raise error

    async def launch(self, command: Command) -> FakeProcess:
        """Start a process that follows the script of `command`.

        Raises:
            LaunchError: its script says so.
        """
        script = self._next_script(command.name)
        await anyio.sleep(script.starting)
        if script.error is not None:
            raise LaunchError(command.name, script.error)
        process = FakeProcess(command, script, next(self._pids), self.limits)
        self.launched.append(process)
        if script.exit is not None:
            self._tasks.start_soon(process.exit_after, script.after, script.exit)
        return process

    def _next_script(self, name: str) -> Script:
        scripts = self._scripts.get(name, self._default)
        if isinstance(scripts, Script):
            return scripts
        tries = self._tries.get(name, 0)
        self._tries[name] = tries + 1
        return scripts[min(tries, len(scripts) - 1)]


class FakeProcess:
    r"""A process that follows a script; a test may also play it by hand.

    Attributes:
        command: what was launched.
        signals: every signal that reached it, in order.
        received: what was sent to its stdin; where that is a terminal, with ``b"\x04"`` for each
            time that it was closed.
        terminal: its terminal, of the size that it has now; None where it has none.
        pid: a number that no other process of its launcher has.
    """

    def __init__(
        self, command: LaunchSpec, script: Script, pid: int, limits: ShutdownLimits
    ) -> None:
        self.command = command
        self.signals: list[int] = []
        self.received: bytearray = bytearray()
        self.host: str = "fake"
        self.pid: int = pid
        self.terminal: Pty | None = command.pty if isinstance(command.pty, Pty) else None
        self.stdin: ByteSendStream | None = _FakeInput(self) if has_input(command) else None
        self.stdout: FakeOutput = FakeOutput()
        separate = command.stderr == "separate" and self.terminal is None
        self.stderr: FakeOutput | None = FakeOutput() if separate else None
        self._limits = limits
        self._ignores = frozenset(script.ignores)
        self._end: Exit | None = None
        self._ended = anyio.Event()
        self._asked = False
        self._stopped = False
        self._forced = False
        self.write(script.stdout)
        self.write(script.stderr, "stderr")

    def __repr__(self) -> str:
        return f"<FakeProcess {self.command.name!r} pid={self.pid} {self._end or 'running'}>"

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._end is None

    def write(self, data: bytes, stream: StreamName = "stdout") -> None:
        """Have it write `data`, never waiting."""
        output = self.stdout if stream == "stdout" or self.stderr is None else self.stderr
        output.add(data)

    def close_output(self) -> None:
        """Have it close its stdout and stderr, and run on."""
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.end()

    def exit(self, code: int) -> None:
        """Have it exit by itself; does nothing where it has ended."""
        self._finish(Exit(code, None, self._stopped))

    async def exit_after(self, seconds: float, code: int) -> None:
        """Have it exit by itself in `seconds`, unless it ends before."""
        with anyio.move_on_after(seconds):
            await self._ended.wait()
        self.exit(code)

    async def wait(self) -> Exit:
        """Wait for its end; see `currant.Process.wait`."""
        await self._ended.wait()
        assert self._end is not None
        return self._end

    async def send_signal(self, signal: int) -> bool:
        """Send it a signal; return whether it was there to get it."""
        await checkpoint()
        return self._deliver(signal)

    async def stop(self, signal: int, grace: float) -> Exit:
        """End it; see `currant.Process.stop`."""
        if not await end_group(self, signal, grace, self._limits.reap):
            raise CannotStopError(self.command.name, self.pid, self._limits.reap)
        return await self.wait()

    async def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size; SIGWINCH tells it so."""
        await checkpoint()
        size = Pty(rows, columns)
        if self.terminal is not None and self.terminal != size and self.running:
            self.terminal = size
            self._deliver(signals.SIGWINCH)

    async def aclose(self) -> None:
        """End it at once, whatever its script says."""
        self._deliver(signals.SIGKILL)
        self._finish(Exit(None, signals.SIGKILL, stopped=True, forced=True))
        with anyio.CancelScope(shield=True):  # each is a checkpoint
            for pipe in (self.stdin, self.stdout, self.stderr):
                if pipe is not None:
                    await pipe.aclose()

    def ask(self, signal: int) -> None:
        """Ask it to end, once."""
        if not self._asked and self.running:
            self._asked = self._stopped = True
            self._deliver(signal)
            self._deliver(signals.SIGCONT)

    def force(self) -> None:
        """Kill it."""
        self._forced = self._stopped and self.running
        self._deliver(signals.SIGKILL)

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()

    def _deliver(self, signal: int) -> bool:
        if not self.running:
            return False
        self.signals.append(signal)
        if signal not in self._ignores and signal not in HARMLESS:
            end = Exit.from_returncode(-signal)
            self._finish(replace(end, stopped=self._stopped, forced=self._forced))
        return True

    def _finish(self, end: Exit) -> None:
        if self._end is None:
            self._end = end
            self.close_output()
            self._ended.set()


class FakeOutput(ByteReceiveStream):
    """Bytes that were written and not yet received."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._over = False
        self._closed = False
        self._change = Notifier()

    def add(self, data: bytes) -> None:
        self._written += data
        self._change.notify_all()

    def end(self) -> None:
        self._over = True
        self._change.notify_all()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await checkpoint()
        while not self._written:
            if self._closed:
                raise anyio.ClosedResourceError
            if self._over:
                raise anyio.EndOfStream
            await self._change.wait()
        data = bytes(self._written[:max_bytes])
        del self._written[:max_bytes]
        return data

    async def aclose(self) -> None:
        self._closed = True
        self._written.clear()
        self._change.notify_all()
        await checkpoint()


class _FakeInput(ByteSendStream):
    """Hands what is sent to its process."""

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
