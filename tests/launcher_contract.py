"""The contract of all launchers, as one class of tests that runs against each launcher.

The test module of a launcher subclasses `LauncherContract` and defines two things: how to make the
launcher, and the command whose process shows each `Behaviour`.  The tests need nothing else, so
they hold for processes that follow a script as well as for real processes.

No test waits for time to pass: a process that keeps running prints ``ready`` first and runs for
hours, and the limit around each test only ends a test that has failed.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from currant import PIPE, Exit, LaunchError, Pty
from currant._process.launcher import Measured, Outlived, Resizable, host_of
from tests.streams import read_all, read_until
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from signal import Signals
    from typing import Unpack

    from anyio.abc import ByteReceiveStream

    from currant import Command, Launcher, Process
    from currant._values.command import CommandOptions

__all__ = ["MEGABYTE", "Behaviour", "LauncherContract"]

MEGABYTE = 1024 * 1024


class Behaviour(Enum):
    """The behaviour of a process in a test."""

    SPEAKS = auto()
    """Prints hi on stdout, then oops on stderr, and exits with code 3."""

    RUNS = auto()
    """Prints ready and runs until a signal ends it; any signal does."""

    IGNORES_SIGTERM = auto()
    """Prints ready and runs until a signal ends it; SIGTERM does not."""

    CLOSES_OUTPUT = auto()
    """Closes its stdout and stderr and runs until a signal ends it."""

    FILLS_STDOUT = auto()
    """Fills its stdout with x, prints their number on stderr, and goes on writing."""

    WRITES_MEGABYTE = auto()
    """Prints 1 MiB of x and exits with code 0."""

    READS_STDIN = auto()
    """Reads its stdin until a signal ends it, or the end of the input."""

    LEAVES_A_PROCESS = auto()
    """Prints done and exits with code 0; a process of its group goes on, and holds the output."""

    CANNOT_START = auto()
    """Names a program that does not exist."""


class LauncherContract(ABC):
    """The tests; each launcher has a subclass that is collected.

    Attributes:
        host: the host that messages and results name; None: this machine.
    """

    host: str | None = None

    pytestmark = pytest.mark.anyio

    # ---- to be defined by a subclass ----

    @abstractmethod
    def new_launcher(self) -> Launcher:
        """Return a launcher that has not been entered."""

    @abstractmethod
    def command(self, behaviour: Behaviour) -> Command:
        """Return the command of that behaviour; only READS_STDIN has stdin=PIPE."""

    async def start(self, launcher: Launcher, command: Command) -> Process:
        """Launch `command`; a fake process is then played by hand if needed."""
        return await launcher.launch(command)

    @abstractmethod
    async def read_from_stdin(self, process: Process, count: int) -> bytes:
        """Return the first `count` bytes that a READS_STDIN process has read."""

    @abstractmethod
    def count_alive(self, launcher: Launcher) -> int:
        """Return how many processes of `launcher` are alive."""

    @abstractmethod
    def end_what_was_left(self, process: Process) -> None:
        """End the processes that were left in the group; fail if there is none."""

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """Return why the end of output cannot be seen before the exit; None if it can."""
        return None

    # ---- shared by the tests ----

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[Launcher]:
        """Enter a launcher, with a limit on the time."""
        with anyio.fail_after(LIMIT):
            launcher = self.new_launcher()
            async with launcher:
                yield launcher

    @asynccontextmanager
    async def process(
        self, behaviour: Behaviour, **changes: Unpack[CommandOptions]
    ) -> AsyncIterator[Process]:
        """Launch a process of that behaviour, and wait until it is ready."""
        async with self.entered() as launcher:
            yield await self.launched(launcher, behaviour, **changes)

    async def launched(
        self, launcher: Launcher, behaviour: Behaviour, **changes: Unpack[CommandOptions]
    ) -> Process:
        """Launch a process of that behaviour in `launcher`, and wait until it is ready."""
        command = replace(self.command(behaviour), **changes)  # type: ignore[arg-type]  # may be wider
        process = await self.start(launcher, command)
        if behaviour in (Behaviour.RUNS, Behaviour.IGNORES_SIGTERM):
            assert await read_until(process.stdout, b"\n") == b"ready\n"
        return process

    # ---- launching ----

    async def test_launched_process_has_a_host_and_a_pid(self) -> None:
        """Launching returns a running process, with a host and a pid to show."""
        async with self.process(Behaviour.RUNS) as process:
            assert process.host
            assert host_of(process) == self.host
            assert process.pid > 0
            assert await process.send_signal(0)

    async def test_processes_that_run_together_have_different_pids(self) -> None:
        """Several processes run at the same time, and their pids differ."""
        async with self.entered() as launcher:
            processes = [await self.launched(launcher, Behaviour.RUNS) for _ in range(3)]
            assert len({process.pid for process in processes}) == 3
            assert self.count_alive(launcher) == 3

    async def test_failed_start_raises_and_leaves_no_process(self) -> None:
        """A command that cannot start raises a LaunchError with its name and a reason."""
        async with self.entered() as launcher:
            command = self.command(Behaviour.CANNOT_START)
            with pytest.raises(LaunchError) as caught:
                await self.start(launcher, command)
            assert caught.value.name == command.name
            assert caught.value.reason
            assert not self.count_alive(launcher)

    async def test_launcher_works_after_a_failed_start(self) -> None:
        """A failed start does not affect the next start."""
        async with self.entered() as launcher:
            with pytest.raises(LaunchError):
                await self.start(launcher, self.command(Behaviour.CANNOT_START))
            process = await self.launched(launcher, Behaviour.SPEAKS)
            assert await process.wait() == Exit(3, None)

    async def test_cancelled_launch_leaves_no_process(self) -> None:
        """A launch that is cancelled at any point leaves no process, or returns it."""
        async with self.entered() as launcher:
            started: list[Process] = []

            async def launch() -> None:
                started.append(await self.start(launcher, self.command(Behaviour.RUNS)))

            for turns in range(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(launch)
                    for _ in range(turns):
                        await checkpoint()
                    tasks.cancel_scope.cancel()
                assert self.count_alive(launcher) == len(started)
                while started:
                    await started.pop().aclose()
                assert not self.count_alive(launcher)

    # ---- output ----

    async def test_stdout_and_stderr_are_separate(self) -> None:
        """Output arrives on the stream that it was written to."""
        async with self.process(Behaviour.SPEAKS) as process:
            assert await read_all(process.stdout) == b"hi\n"
            assert await read_all(process.stderr) == b"oops\n"

    async def test_stderr_to_stdout_is_one_stream_in_order(self) -> None:
        """With stderr="stdout" both arrive on stdout, and there is no stream for stderr."""
        async with self.process(Behaviour.SPEAKS, stderr="stdout") as process:
            assert process.stderr is None
            assert await read_all(process.stdout) == b"hi\noops\n"

    async def test_stream_that_goes_to_a_file_is_not_received(self) -> None:
        """There is no stream for it, and the other stream arrives as ever."""
        null = Path(os.devnull)
        async with self.process(Behaviour.SPEAKS, stdout=null) as process:
            assert process.stdout is None
            assert await read_all(process.stderr) == b"oops\n"
        async with self.process(Behaviour.SPEAKS, stderr=null) as process:
            assert await read_all(process.stdout) == b"hi\n"
            assert process.stderr is None

    async def test_process_without_any_stream_is_stopped_like_others(self) -> None:
        """With no stream at all, the exit is what there is to wait for."""
        async with self.entered() as launcher:
            command = replace(
                self.command(Behaviour.RUNS), stdout=Path(os.devnull), stderr="stdout"
            )
            process = await self.start(launcher, command)
            assert process.stdout is None
            assert process.stderr is None
            assert (await process.stop(SIGTERM, LIMIT)).stopped

    async def test_receive_returns_at_most_max_bytes(self) -> None:
        """A read is never longer than its bound, and the next read goes on where it ended."""
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            assert process.stdout is not None
            assert await process.stdout.receive(1) == b"h"
            assert await process.stdout.receive(2) == b"i\n"

    async def test_end_of_output_is_repeated(self) -> None:
        """Every read after the end raises EndOfStream."""
        async with self.process(Behaviour.SPEAKS) as process:
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                assert await read_all(stream)
                for _ in range(3):
                    with pytest.raises(anyio.EndOfStream):
                        await stream.receive(1)

    async def test_much_output_is_complete(self) -> None:
        """More output than a pipe holds arrives to the last byte while it is read."""
        async with self.process(Behaviour.WRITES_MEGABYTE) as process:
            assert await read_all(process.stdout) == b"x" * MEGABYTE
            assert await process.wait() == Exit(0, None)

    async def test_output_may_end_before_the_exit(self, anyio_backend: object) -> None:
        """A process that closes its output keeps running."""
        if reason := self.cannot_show_closed_output(anyio_backend):
            pytest.skip(reason)
        async with self.process(Behaviour.CLOSES_OUTPUT) as process:
            assert await read_all(process.stdout) == b""
            assert await read_all(process.stderr) == b""
            assert await process.send_signal(0)
            assert (await process.stop(SIGTERM, HOURS)).signal == SIGTERM

    async def test_exit_is_known_before_output_is_read(self) -> None:
        """Waiting for the exit does not wait for a reader, and takes no output from it."""
        async with self.process(Behaviour.SPEAKS) as process:
            assert await process.wait() == Exit(3, None)
            assert await read_all(process.stdout) == b"hi\n"
            assert await read_all(process.stderr) == b"oops\n"

    async def test_pending_read_ends_with_the_process(self) -> None:
        """Tasks that wait for output reach its end when the process is stopped."""
        async with self.process(Behaviour.RUNS) as process:
            rest: list[bytes] = []

            async def read(stream: ByteReceiveStream | None) -> None:
                rest.append(await read_all(stream))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, process.stdout)
                tasks.start_soon(read, process.stderr)
                await wait_all_tasks_blocked()
                await process.stop(SIGTERM, HOURS)
            assert rest == [b"", b""]

    async def test_cancelled_read_loses_no_output(self) -> None:
        """A read that is cancelled while it waits takes nothing from the next read."""
        async with self.process(Behaviour.READS_STDIN, stderr="stdout") as process:
            assert process.stdin is not None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_all, process.stdout)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await process.stdin.send(b"one")
            assert await self.read_from_stdin(process, 3) == b"one"

    # ---- waiting ----

    async def test_many_tasks_may_wait_for_the_exit_many_times(self) -> None:
        """Every task gets the same exit, whether it waits before or after it."""
        async with self.process(Behaviour.RUNS) as process:
            exits: list[Exit] = []

            async def wait() -> None:
                exits.append(await process.wait())

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(wait)
                await wait_all_tasks_blocked()
                assert not exits
                await process.send_signal(SIGUSR1)
            await wait()
            await wait()
            assert exits == [Exit(None, SIGUSR1)] * 5

    async def test_cancelled_wait_has_no_effect(self) -> None:
        """The process goes on, and so do other tasks that wait."""
        async with self.process(Behaviour.RUNS) as process:
            exits: list[Exit] = []

            async def wait(scope: anyio.CancelScope) -> None:
                with scope:
                    exits.append(await process.wait())

            scopes = [anyio.CancelScope() for _ in range(2)]
            async with anyio.create_task_group() as tasks:
                for scope in scopes:
                    tasks.start_soon(wait, scope)
                await wait_all_tasks_blocked()
                scopes[0].cancel()
                await wait_all_tasks_blocked()
                assert await process.send_signal(SIGUSR1)
            assert exits == [Exit(None, SIGUSR1)]

    async def test_usage_is_known_from_the_exit_on(self) -> None:
        """A process that reports its usage does so after its exit, and after aclose as well."""
        async with self.process(Behaviour.RUNS) as process:
            assert not isinstance(process, Measured) or process.usage is None
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            used = process.usage if isinstance(process, Measured) else None
            assert used is None or min(used.user, used.system, used.peak_memory) >= 0
            await process.aclose()
            assert not isinstance(process, Measured) or process.usage is used

    # ---- signals ----

    @pytest.mark.parametrize("signal", [SIGTERM, SIGUSR1, SIGKILL])
    async def test_death_by_a_signal_has_no_exit_code(self, signal: Signals) -> None:
        """The exit has the signal, and the process does not count as stopped."""
        async with self.process(Behaviour.RUNS) as process:
            assert await process.send_signal(signal)
            assert await process.wait() == Exit(None, signal)

    async def test_ignored_signal_does_not_end_the_process(self) -> None:
        """send_signal returns True for a process that ignores the signal."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            assert await process.send_signal(SIGTERM)
            assert await process.send_signal(SIGCONT)
            assert await process.send_signal(SIGUSR2)
            assert await process.wait() == Exit(None, SIGUSR2)

    async def test_signal_after_the_exit_returns_false(self) -> None:
        """A signal to a process that has exited raises no error."""
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            assert not await process.send_signal(SIGTERM)
            assert not await process.send_signal(SIGKILL)

    async def test_signal_at_any_time_around_the_exit_is_no_error(self) -> None:
        """A signal that races with the exit raises no error and does not change the exit."""
        async with self.process(Behaviour.SPEAKS) as process:
            while await process.send_signal(SIGCONT):
                await checkpoint()
            assert await process.wait() == Exit(3, None)
            assert not await process.send_signal(SIGCONT)

    async def test_signal_to_the_leader_reaches_the_process(self) -> None:
        """A signal may go to the leader alone; after its exit it reaches no process."""
        async with self.process(Behaviour.RUNS) as process:
            assert await process.send_signal(SIGUSR1, "leader")
            assert await process.wait() == Exit(None, SIGUSR1)
            assert not await process.send_signal(SIGUSR1, "leader")

    # ---- stopping ----

    async def test_mixed_stop_ends_a_process_with_the_signal(self) -> None:
        """With kill_mode="mixed" a process that obeys needs no SIGKILL; another gets one."""
        async with self.process(Behaviour.RUNS, kill_mode="mixed") as process:
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)
        async with self.process(Behaviour.IGNORES_SIGTERM, kill_mode="mixed") as process:
            end = await process.stop(SIGTERM, 0.05)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)

    @pytest.mark.parametrize("signal", [SIGTERM, SIGUSR2, SIGKILL])
    async def test_stop_returns_when_the_signal_has_ended_the_process(
        self, signal: Signals
    ) -> None:
        """A process that obeys was stopped by that signal, without SIGKILL and at once."""
        async with self.process(Behaviour.RUNS) as process:
            end = await process.stop(signal, HOURS)
            assert end == Exit(None, signal, stopped=True, forced=False)
            assert await process.wait() == end
            assert not await process.send_signal(SIGCONT)

    async def test_process_that_ignores_the_signal_is_killed_after_its_grace(self) -> None:
        """A process that ignores the stop signal has its whole grace before SIGKILL."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            began, grace = anyio.current_time(), 0.05
            end = await process.stop(SIGTERM, grace)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)
            # To the hundredth: uvloop's clock counts milliseconds, and floats do not add up.
            assert round(anyio.current_time() - began, 2) >= grace

    async def test_stop_without_a_grace_kills_at_once(self) -> None:
        """A grace of zero is valid: a process that ignores the signal gets SIGKILL at once."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            end = await process.stop(SIGTERM, 0)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)

    async def test_second_stop_with_a_shorter_grace_hurries_the_first(self) -> None:
        """A second call with less grace also ends the wait of the first."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            ends: list[Exit] = []

            async def stop() -> None:
                ends.append(await process.stop(SIGTERM, HOURS))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop)
                await wait_all_tasks_blocked()
                ends.append(await process.stop(SIGTERM, 0))
            assert ends == [Exit(None, SIGKILL, stopped=True, forced=True)] * 2

    async def test_second_stop_with_a_longer_grace_delays_nothing(self) -> None:
        """A second call with more grace gives the process no more time."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            ends: list[Exit] = []

            async def stop(grace: float) -> None:
                ends.append(await process.stop(SIGTERM, grace))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop, 0.05)
                await wait_all_tasks_blocked()
                tasks.start_soon(stop, HOURS)
            assert ends == [Exit(None, SIGKILL, stopped=True, forced=True)] * 2

    async def test_many_tasks_may_stop_a_process_at_the_same_time(self) -> None:
        """All tasks that stop the process or wait for it get the same exit."""
        async with self.process(Behaviour.RUNS) as process:
            ends: list[Exit] = []

            async def stop() -> None:
                ends.append(await process.stop(SIGTERM, HOURS))

            async def wait() -> None:
                ends.append(await process.wait())

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(stop)
                    tasks.start_soon(wait)
            assert ends == [Exit(None, SIGTERM, stopped=True)] * 6

    async def test_stop_after_the_exit_does_not_count_as_stopped(self) -> None:
        """Stopping a process that has exited returns its own exit."""
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            for grace in (HOURS, 0):
                assert await process.stop(SIGTERM, grace) == Exit(3, None)

    async def test_group_lasts_as_long_as_its_last_process(self) -> None:
        """The exit of the leader is known before, and the output does not end before."""
        async with self.process(Behaviour.LEAVES_A_PROCESS) as process:
            assert isinstance(process, Outlived)
            assert await process.wait() == Exit(0, None)
            with anyio.move_on_after(0.05) as scope:
                await process.wait_group()
            assert scope.cancelled_caught
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.wait_group)
                await process.stop(SIGTERM, LIMIT)
            assert await read_all(process.stdout) == b"done\n"

    async def test_process_that_is_left_gets_no_signal(self) -> None:
        """The group counts as gone, and the output ends."""
        async with self.process(Behaviour.LEAVES_A_PROCESS, leftovers="leave") as process:
            assert isinstance(process, Outlived)
            await process.wait()
            process.leave_group()
            assert await process.stop(SIGTERM, 0) == Exit(0, None)
            assert not await process.send_signal(SIGTERM)
            assert await read_all(process.stdout) == b"done\n"
            self.end_what_was_left(process)

    async def test_stop_is_idempotent(self) -> None:
        """A second stop does not change the exit."""
        async with self.process(Behaviour.RUNS) as process:
            end = await process.stop(SIGTERM, HOURS)
            assert await process.stop(SIGKILL, 0) == end
            assert await process.wait() == end

    async def test_cancelled_stop_has_not_killed(self) -> None:
        """A cancelled stop leaves the process as it is; a later stop ends it."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.stop, SIGTERM, HOURS)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            assert await process.send_signal(0)
            end = await process.stop(SIGTERM, 0)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)

    async def test_stop_does_not_wait_for_a_reader(self) -> None:
        """A process that is blocked by unread output is stopped all the same."""
        async with self.process(Behaviour.FILLS_STDOUT) as process:
            await read_until(process.stderr, b"\n")
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)

    async def test_stop_does_not_queue_behind_reading_or_launching(self) -> None:
        """A stop goes on while another task reads and a third one launches."""
        async with self.entered() as launcher, anyio.create_task_group() as tasks:
            process = await self.launched(launcher, Behaviour.RUNS)
            tasks.start_soon(read_all, process.stdout)
            tasks.start_soon(self.start, launcher, self.command(Behaviour.RUNS))
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)

    async def test_output_in_the_pipe_is_received_after_the_stop(self) -> None:
        """Output that was in the pipe when the process was stopped is not lost."""
        async with self.process(Behaviour.FILLS_STDOUT) as process:
            written = int(await read_until(process.stderr, b"\n"))
            await process.stop(SIGTERM, HOURS)
            received = await read_all(process.stdout)
            assert len(received) >= written > 0
            assert not received.strip(b"x")

    # ---- freeing ----

    @pytest.mark.parametrize(
        "behaviour", [Behaviour.RUNS, Behaviour.IGNORES_SIGTERM, Behaviour.SPEAKS]
    )
    async def test_aclose_ends_the_process_and_may_be_repeated(self, behaviour: Behaviour) -> None:
        """A second aclose does nothing."""
        async with self.entered() as launcher:
            process = await self.launched(launcher, behaviour)
            await process.aclose()
            assert not self.count_alive(launcher)
            assert not await process.send_signal(SIGTERM)
            end = await process.wait()
            await process.aclose()
            assert await process.wait() == end

    async def test_aclose_after_the_exit_does_not_change_the_exit(self) -> None:
        """A process that exited by itself has the same exit after aclose."""
        async with self.process(Behaviour.SPEAKS) as process:
            end = await process.wait()
            await process.aclose()
            assert await process.wait() == end == Exit(3, None)

    async def test_aclose_drops_unread_output(self) -> None:
        """The streams of a closed process are closed, whatever was in them."""
        async with self.process(Behaviour.FILLS_STDOUT) as process:
            await read_until(process.stderr, b"\n")
            await process.aclose()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()

    async def test_aclose_in_a_cancelled_scope_ends_the_process(self) -> None:
        """A clean-up in a cancelled scope leaves no process."""
        async with self.entered() as launcher:
            process = await self.launched(launcher, Behaviour.IGNORES_SIGTERM)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await process.aclose()
            assert not self.count_alive(launcher)

    async def test_leaving_the_launcher_ends_all_processes(self) -> None:
        """No process outlives the block of its launcher."""
        async with self.entered() as launcher:
            processes = [
                await self.launched(launcher, behaviour)
                for behaviour in (
                    Behaviour.RUNS,
                    Behaviour.IGNORES_SIGTERM,
                    Behaviour.CLOSES_OUTPUT,
                    Behaviour.FILLS_STDOUT,
                    Behaviour.READS_STDIN,
                    Behaviour.SPEAKS,
                )
            ]
        assert not self.count_alive(launcher)
        for process in processes:
            await process.wait()
            assert not await process.send_signal(SIGTERM)

    async def test_leaving_the_launcher_with_an_error_ends_all_processes(self) -> None:
        """The exception leaves the block unchanged."""
        mine = RuntimeError("mine")
        launchers = []
        with pytest.raises(RuntimeError) as caught:
            async with self.entered() as launcher:
                launchers.append(launcher)
                await self.launched(launcher, Behaviour.IGNORES_SIGTERM)
                raise mine
        assert caught.value is mine
        assert not self.count_alive(launchers[0])

    async def test_leaving_the_launcher_by_cancellation_ends_all_processes(self) -> None:
        """A launcher whose block is cancelled leaves no process."""
        async with anyio.create_task_group() as tasks, self.entered() as launcher:
            await self.launched(launcher, Behaviour.IGNORES_SIGTERM)
            tasks.cancel_scope.cancel()
            await checkpoint()
        assert not self.count_alive(launcher)

    # ---- stdin ----

    async def test_process_without_a_pipe_has_no_stdin(self) -> None:
        """Without stdin=PIPE there is no stream to send to."""
        async with self.process(Behaviour.RUNS) as process:
            assert process.stdin is None

    async def test_sent_bytes_are_read_in_order(self) -> None:
        """All bytes arrive at the process, in the order in which they were sent."""
        async with self.process(Behaviour.READS_STDIN) as process:
            assert process.stdin is not None
            await process.stdin.send(b"one\n")
            await process.stdin.send(b"")
            await process.stdin.send(b"two\n")
            assert await self.read_from_stdin(process, 8) == b"one\ntwo\n"

    async def test_send_after_closing_stdin_raises(self) -> None:
        """Closing stdin twice is allowed; sending afterwards is an error."""
        async with self.process(Behaviour.READS_STDIN) as process:
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.stdin.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdin.send(b"late")

    async def test_send_to_a_process_that_is_gone_raises(self) -> None:
        """Each send that no process will read raises."""
        async with self.process(Behaviour.RUNS, stdin=PIPE) as process:
            assert process.stdin is not None
            await process.stop(SIGTERM, HOURS)
            for _ in range(2):
                with pytest.raises(anyio.BrokenResourceError):
                    await process.stdin.send(b"late")

    # ---- terminals ----

    async def test_terminal_has_one_output_stream(self) -> None:
        """Both outputs of a process in a terminal arrive on stdout, in order."""
        async with self.process(Behaviour.SPEAKS, pty=True) as process:
            assert process.stderr is None
            output = await read_all(process.stdout)
            assert output.replace(b"\r\n", b"\n") == b"hi\noops\n"
            assert await process.wait() == Exit(3, None)

    async def test_terminal_may_be_resized_at_any_time(self) -> None:
        """A process in a terminal is resizable while it runs; later a resize does nothing."""
        async with self.entered() as launcher:
            command = replace(self.command(Behaviour.RUNS), pty=Pty(30, 100))
            process = await self.start(launcher, command)
            assert isinstance(process, Resizable)
            await process.resize(50, 120)
            await process.resize(50, 120)
            assert await process.send_signal(0)
            await process.stop(SIGTERM, HOURS)
            await process.resize(1, 1)
            await process.aclose()
            await process.resize(65535, 65535)

    async def test_terminal_stays_open_after_its_end_is_typed(self) -> None:
        """Closing the stdin of a terminal closes nothing until the process is gone."""
        async with self.entered() as launcher:
            command = replace(self.command(Behaviour.RUNS), pty=Pty())
            process = await self.start(launcher, command)
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.stdin.send(b"one\n")
            await process.stdin.aclose()
            await process.stop(SIGTERM, HOURS)
            with pytest.raises(anyio.BrokenResourceError):
                await process.stdin.send(b"late")
            await process.stdin.aclose()
