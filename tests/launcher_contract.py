"""What every launcher keeps, as one class of tests that is run against each of them.

A launcher's own test module subclasses `LauncherContract` and says two things: how the launcher is
made, and by which command one of its processes shows each `Behaviour`.  The tests know nothing
else, so they hold for processes that only play a script as well as for real ones.

No test waits for time to pass: a process that goes on says ``ready`` first, one that is to be
stopped would go on for hours, and the limit around each test only ends one that has failed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum, auto
from signal import SIGCONT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from currant import PIPE, Exit, LaunchError, Pty
from currant._process.launcher import Resizable
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
    """What a process does that a test is about."""

    SPEAKS = auto()
    """Prints hi on stdout, then oops on stderr, and exits with code 3."""

    RUNS = auto()
    """Prints ready and runs until a signal ends it; any signal does."""

    IGNORES_SIGTERM = auto()
    """Prints ready and runs until a signal ends it; SIGTERM does not."""

    CLOSES_OUTPUT = auto()
    """Closes its stdout and stderr and runs until a signal ends it."""

    FILLS_STDOUT = auto()
    """Fills its stdout with x, says on stderr how many there are, and goes on writing."""

    WRITES_MEGABYTE = auto()
    """Prints 1 MiB of x and exits with code 0."""

    READS_STDIN = auto()
    """Reads its stdin until a signal ends it, or the end of the input."""

    CANNOT_START = auto()
    """Is not a program that exists."""


class LauncherContract(ABC):
    """The tests; each launcher has a subclass that is collected."""

    pytestmark = pytest.mark.anyio

    # ---- what a subclass says ----

    @abstractmethod
    def new_launcher(self) -> Launcher:
        """Return a launcher that has not been entered."""

    @abstractmethod
    def command(self, behaviour: Behaviour) -> Command:
        """Return the command whose process behaves so; stdin is a pipe for READS_STDIN only."""

    async def start(self, launcher: Launcher, command: Command) -> Process:
        """Launch `command`; a process that is played by hand is made to start playing."""
        return await launcher.launch(command)

    @abstractmethod
    async def read_from_stdin(self, process: Process, count: int) -> bytes:
        """Return the first `count` bytes that a process that READS_STDIN has read."""

    @abstractmethod
    def count_alive(self, launcher: Launcher) -> int:
        """Return how many processes there are that `launcher` has started."""

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """Return why the end of output is not seen before the exit; None: it is."""
        return None

    # ---- what the tests share ----

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
        """Launch a process that behaves so; it has said that it is ready where it does."""
        async with self.entered() as launcher:
            yield await self.launched(launcher, behaviour, **changes)

    async def launched(
        self, launcher: Launcher, behaviour: Behaviour, **changes: Unpack[CommandOptions]
    ) -> Process:
        """Launch a process that behaves so in `launcher`, and wait until it is ready."""
        command = replace(self.command(behaviour), **changes)  # type: ignore[arg-type]  # may be wider
        process = await self.start(launcher, command)
        if behaviour in (Behaviour.RUNS, Behaviour.IGNORES_SIGTERM):
            assert await read_until(process.stdout, b"\n") == b"ready\n"
        return process

    # ---- launching ----

    async def test_a_launched_process_has_a_host_and_a_number(self) -> None:
        """Launching returns a process that runs, with a host and a number to show."""
        async with self.process(Behaviour.RUNS) as process:
            assert process.host
            assert process.pid > 0
            assert await process.send_signal(0)

    async def test_processes_that_run_at_the_same_time_have_numbers_of_their_own(self) -> None:
        """Several processes run at the same time, and their numbers tell them apart."""
        async with self.entered() as launcher:
            processes = [await self.launched(launcher, Behaviour.RUNS) for _ in range(3)]
            assert len({process.pid for process in processes}) == 3
            assert self.count_alive(launcher) == 3

    async def test_what_cannot_be_started_is_an_error_that_leaves_nothing_behind(self) -> None:
        """Launching what is not there raises LaunchError with a name and a reason, nothing else."""
        async with self.entered() as launcher:
            command = self.command(Behaviour.CANNOT_START)
            with pytest.raises(LaunchError) as caught:
                await self.start(launcher, command)
            assert caught.value.name == command.name
            assert caught.value.reason
            assert not self.count_alive(launcher)

    async def test_a_launcher_goes_on_after_a_start_that_failed(self) -> None:
        """What could not be started is no trouble for what is started next."""
        async with self.entered() as launcher:
            with pytest.raises(LaunchError):
                await self.start(launcher, self.command(Behaviour.CANNOT_START))
            process = await self.launched(launcher, Behaviour.SPEAKS)
            assert await process.wait() == Exit(3, None)

    async def test_a_cancelled_launch_leaves_nothing_running(self) -> None:
        """A launch that is cancelled at any point either leaves nothing, or returns its process."""
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

    async def test_stdout_and_stderr_are_apart(self) -> None:
        """What a process writes to stdout and to stderr arrives on the stream it wrote to."""
        async with self.process(Behaviour.SPEAKS) as process:
            assert await read_all(process.stdout) == b"hi\n"
            assert await read_all(process.stderr) == b"oops\n"

    async def test_stderr_as_stdout_is_one_stream_in_the_order_written(self) -> None:
        """With stderr="stdout" both arrive on stdout, and there is no stream for stderr."""
        async with self.process(Behaviour.SPEAKS, stderr="stdout") as process:
            assert process.stderr is None
            assert await read_all(process.stdout) == b"hi\noops\n"

    async def test_a_read_returns_at_most_what_was_asked_for(self) -> None:
        """A read is never longer than its bound, and the next one goes on where it ended."""
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            assert process.stdout is not None
            assert await process.stdout.receive(1) == b"h"
            assert await process.stdout.receive(2) == b"i\n"

    async def test_the_end_of_output_is_told_again_and_again(self) -> None:
        """Every read after the end says that it is the end."""
        async with self.process(Behaviour.SPEAKS) as process:
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                assert await read_all(stream)
                for _ in range(3):
                    with pytest.raises(anyio.EndOfStream):
                        await stream.receive(1)

    async def test_much_output_arrives_whole(self) -> None:
        """More output than a pipe holds arrives to the last byte while it is read."""
        async with self.process(Behaviour.WRITES_MEGABYTE) as process:
            assert await read_all(process.stdout) == b"x" * MEGABYTE
            assert await process.wait() == Exit(0, None)

    async def test_output_ends_before_the_exit(self, anyio_backend: object) -> None:
        """A process that closes its output has ended nothing but its output."""
        if reason := self.cannot_show_closed_output(anyio_backend):
            pytest.skip(reason)
        async with self.process(Behaviour.CLOSES_OUTPUT) as process:
            assert await read_all(process.stdout) == b""
            assert await read_all(process.stderr) == b""
            assert await process.send_signal(0)
            assert (await process.stop(SIGTERM, HOURS)).signal == SIGTERM

    async def test_the_exit_comes_before_the_output_is_read(self) -> None:
        """Waiting for the exit does not wait for a reader, and takes nothing from it."""
        async with self.process(Behaviour.SPEAKS) as process:
            assert await process.wait() == Exit(3, None)
            assert await read_all(process.stdout) == b"hi\n"
            assert await read_all(process.stderr) == b"oops\n"

    async def test_a_waiting_reader_learns_of_the_end(self) -> None:
        """Tasks that wait for output get the end of it when the process is stopped."""
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

    async def test_a_cancelled_read_loses_nothing(self) -> None:
        """A read that is cancelled while it waits has taken nothing from the one after it."""
        async with self.process(Behaviour.READS_STDIN, stderr="stdout") as process:
            assert process.stdin is not None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_all, process.stdout)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await process.stdin.send(b"one")
            assert await self.read_from_stdin(process, 3) == b"one"

    # ---- waiting ----

    async def test_the_exit_may_be_awaited_by_many_tasks_many_times(self) -> None:
        """Every waiter gets the same exit, those that wait before it and those that come after."""
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

    async def test_a_cancelled_wait_harms_nobody(self) -> None:
        """A waiter that is cancelled leaves the process running and the other waiters waiting."""
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

    # ---- signals ----

    @pytest.mark.parametrize("signal", [SIGTERM, SIGUSR1, SIGKILL])
    async def test_a_death_by_a_signal_is_told_as_that(self, signal: Signals) -> None:
        """A process that a signal ended has no exit code, and was not stopped by us."""
        async with self.process(Behaviour.RUNS) as process:
            assert await process.send_signal(signal)
            assert await process.wait() == Exit(None, signal)

    async def test_a_signal_that_is_ignored_ends_nothing(self) -> None:
        """A signal is told to have reached a process that goes on in spite of it."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            assert await process.send_signal(SIGTERM)
            assert await process.send_signal(SIGCONT)
            assert await process.send_signal(SIGUSR2)
            assert await process.wait() == Exit(None, SIGUSR2)

    async def test_a_signal_after_the_end_reaches_nobody(self) -> None:
        """A signal to a process that has ended is no error; it is told to have reached nobody."""
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            assert not await process.send_signal(SIGTERM)
            assert not await process.send_signal(SIGKILL)

    async def test_a_signal_at_any_time_around_the_end_is_no_error(self) -> None:
        """However a signal and the exit meet, sending it raises nothing and changes no exit."""
        async with self.process(Behaviour.SPEAKS) as process:
            while await process.send_signal(SIGCONT):
                await checkpoint()
            assert await process.wait() == Exit(3, None)
            assert not await process.send_signal(SIGCONT)

    # ---- stopping ----

    @pytest.mark.parametrize("signal", [SIGTERM, SIGUSR2, SIGKILL])
    async def test_stop_asks_with_the_signal_and_returns_when_it_has_worked(
        self, signal: Signals
    ) -> None:
        """A process that ends when asked was stopped by that signal, not forced, and at once."""
        async with self.process(Behaviour.RUNS) as process:
            end = await process.stop(signal, HOURS)
            assert end == Exit(None, signal, stopped=True, forced=False)
            assert await process.wait() == end
            assert not await process.send_signal(SIGCONT)

    async def test_what_does_not_end_when_asked_is_forced_after_its_grace(self) -> None:
        """A process that ignores the request has its whole grace, and is then killed."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            began, grace = anyio.current_time(), 0.05
            end = await process.stop(SIGTERM, grace)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)
            # To the hundredth: uvloop's clock counts milliseconds, and floats do not add up.
            assert round(anyio.current_time() - began, 2) >= grace

    async def test_stop_without_a_grace_forces_at_once(self) -> None:
        """A grace of nothing is fine: what ignores the request is killed right away."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            end = await process.stop(SIGTERM, 0)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)

    async def test_a_second_stop_with_a_shorter_grace_hurries_the_first(self) -> None:
        """Stopping again with less grace ends the wait of the first call, too."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            ends: list[Exit] = []

            async def stop() -> None:
                ends.append(await process.stop(SIGTERM, HOURS))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop)
                await wait_all_tasks_blocked()
                ends.append(await process.stop(SIGTERM, 0))
            assert ends == [Exit(None, SIGKILL, stopped=True, forced=True)] * 2

    async def test_a_second_stop_with_a_longer_grace_delays_nothing(self) -> None:
        """Stopping again with more grace gives the process no more time than it had."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            ends: list[Exit] = []

            async def stop(grace: float) -> None:
                ends.append(await process.stop(SIGTERM, grace))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop, 0.05)
                await wait_all_tasks_blocked()
                tasks.start_soon(stop, HOURS)
            assert ends == [Exit(None, SIGKILL, stopped=True, forced=True)] * 2

    async def test_many_tasks_may_stop_it_at_the_same_time(self) -> None:
        """All who stop a process get the same exit, and so do those who only wait."""
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

    async def test_what_has_ended_by_itself_was_not_stopped(self) -> None:
        """Stopping a process that has ended returns how it ended, and does not claim the deed."""
        async with self.process(Behaviour.SPEAKS) as process:
            await process.wait()
            for grace in (HOURS, 0):
                assert await process.stop(SIGTERM, grace) == Exit(3, None)

    async def test_a_process_that_was_stopped_can_be_stopped_again(self) -> None:
        """Stopping is idempotent: the exit stays what it was."""
        async with self.process(Behaviour.RUNS) as process:
            end = await process.stop(SIGTERM, HOURS)
            assert await process.stop(SIGKILL, 0) == end
            assert await process.wait() == end

    async def test_a_cancelled_stop_has_asked_but_not_forced(self) -> None:
        """Who cancels a stop leaves the process as it is; a later stop ends it."""
        async with self.process(Behaviour.IGNORES_SIGTERM) as process:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.stop, SIGTERM, HOURS)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            assert await process.send_signal(0)
            end = await process.stop(SIGTERM, 0)
            assert end == Exit(None, SIGKILL, stopped=True, forced=True)

    async def test_stop_does_not_wait_for_a_reader(self) -> None:
        """A process that is stuck because nobody reads its output is stopped all the same."""
        async with self.process(Behaviour.FILLS_STDOUT) as process:
            await read_until(process.stderr, b"\n")
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)

    async def test_stop_does_not_queue_behind_reading_or_launching(self) -> None:
        """A stop goes on while another task reads and yet another one launches."""
        async with self.entered() as launcher, anyio.create_task_group() as tasks:
            process = await self.launched(launcher, Behaviour.RUNS)
            tasks.start_soon(read_all, process.stdout)
            tasks.start_soon(self.start, launcher, self.command(Behaviour.RUNS))
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)

    async def test_output_written_before_the_end_is_received_after_the_stop(self) -> None:
        """What was in the pipe when the process was stopped is there for who reads it then."""
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
    async def test_closing_ends_it_and_may_be_repeated(self, behaviour: Behaviour) -> None:
        """Closing a process ends it, whatever it does; closing it again does nothing."""
        async with self.entered() as launcher:
            process = await self.launched(launcher, behaviour)
            await process.aclose()
            assert not self.count_alive(launcher)
            assert not await process.send_signal(SIGTERM)
            end = await process.wait()
            await process.aclose()
            assert await process.wait() == end

    async def test_closing_after_the_end_does_not_change_the_exit(self) -> None:
        """A process that ended by itself has done so after it is closed, too."""
        async with self.process(Behaviour.SPEAKS) as process:
            end = await process.wait()
            await process.aclose()
            assert await process.wait() == end == Exit(3, None)

    async def test_closing_drops_output_that_nobody_has_read(self) -> None:
        """A stream of a process that was closed is closed, whatever was in it."""
        async with self.process(Behaviour.FILLS_STDOUT) as process:
            await read_until(process.stderr, b"\n")
            await process.aclose()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()

    async def test_closing_under_cancellation_ends_it_all_the_same(self) -> None:
        """A clean-up in a cancelled scope leaves nothing running."""
        async with self.entered() as launcher:
            process = await self.launched(launcher, Behaviour.IGNORES_SIGTERM)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await process.aclose()
            assert not self.count_alive(launcher)

    async def test_leaving_the_launcher_ends_everything(self) -> None:
        """No process lives longer than the block of its launcher."""
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

    async def test_leaving_the_launcher_with_an_error_ends_everything(self) -> None:
        """An exception leaves the block as it was raised, and leaves no process behind."""
        mine = RuntimeError("mine")
        launchers = []
        with pytest.raises(RuntimeError) as caught:
            async with self.entered() as launcher:
                launchers.append(launcher)
                await self.launched(launcher, Behaviour.IGNORES_SIGTERM)
                raise mine
        assert caught.value is mine
        assert not self.count_alive(launchers[0])

    async def test_leaving_the_launcher_by_cancellation_ends_everything(self) -> None:
        """A launcher whose block is cancelled leaves no process behind."""
        async with anyio.create_task_group() as tasks, self.entered() as launcher:
            await self.launched(launcher, Behaviour.IGNORES_SIGTERM)
            tasks.cancel_scope.cancel()
            await checkpoint()
        assert not self.count_alive(launcher)

    # ---- stdin ----

    async def test_there_is_no_stdin_where_none_was_asked_for(self) -> None:
        """Without stdin=PIPE a process has no stream to send to."""
        async with self.process(Behaviour.RUNS) as process:
            assert process.stdin is None

    async def test_what_is_sent_is_read_in_the_order_sent(self) -> None:
        """Bytes that are sent arrive at the process, all and in order."""
        async with self.process(Behaviour.READS_STDIN) as process:
            assert process.stdin is not None
            await process.stdin.send(b"one\n")
            await process.stdin.send(b"")
            await process.stdin.send(b"two\n")
            assert await self.read_from_stdin(process, 8) == b"one\ntwo\n"

    async def test_a_closed_stdin_takes_nothing_more(self) -> None:
        """Closing the stdin twice is fine; sending to it afterwards is an error."""
        async with self.process(Behaviour.READS_STDIN) as process:
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.stdin.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdin.send(b"late")

    async def test_sending_to_a_process_that_is_gone_is_told(self) -> None:
        """A send that nobody will read raises, and goes on raising."""
        async with self.process(Behaviour.RUNS, stdin=PIPE) as process:
            assert process.stdin is not None
            await process.stop(SIGTERM, HOURS)
            for _ in range(2):
                with pytest.raises(anyio.BrokenResourceError):
                    await process.stdin.send(b"late")

    # ---- terminals ----

    async def test_in_a_terminal_there_is_one_stream(self) -> None:
        """Both outputs of a process in a terminal are its stdout, in the order written."""
        async with self.process(Behaviour.SPEAKS, pty=True) as process:
            assert process.stderr is None
            output = await read_all(process.stdout)
            assert output.replace(b"\r\n", b"\n") == b"hi\noops\n"
            assert await process.wait() == Exit(3, None)

    async def test_a_terminal_takes_another_size_at_any_time(self) -> None:
        """A process in a terminal is resizable while it runs, and it is no error later."""
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

    async def test_a_terminal_stays_open_when_its_end_is_typed(self) -> None:
        """Closing the stdin of a terminal closes nothing, until the process is gone."""
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
