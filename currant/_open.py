"""`open_process`: one command as a block, with its three streams."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from currant._process.local import LocalLauncher
from currant._supervisor.job import Job, life_of
from currant._supervisor.runner import Runner
from currant._supervisor.side_commands import with_stop_commands
from currant._supervisor.startup import until_up
from currant._values.command import PIPE, single_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from currant._values.command import Command, CommandLike, CommandOptions

__all__ = ["open_process"]


def open_process(
    command: CommandLike, **options: Unpack[CommandOptions]
) -> AbstractAsyncContextManager[Job]:
    r"""Run one command for the length of a block, and talk to it.

    Ask a calculator for one sum::

        from anyio.streams.buffered import BufferedByteReceiveStream
        from currant import open_process

        async with open_process("python3 -i -q") as job:
            await job.send(b"print(6 * 7)\n")
            answers = BufferedByteReceiveStream(job.stdout)
            assert await answers.receive_until(b"\n", 100) == b"42"

    The block begins when the process runs.  Leaving the block stops the process with all
    descendants: its stdin is closed, then come the `stop_signal`, the grace, and SIGKILL.  To let
    the process end by itself, await `Job.wait` in the block.

    Read the output from `Job.stdout` and `Job.stderr`, `Job.lines` or `Job.expect`.  The first call
    may come late: a command that has written about 128 KiB more than was read waits.  `Job.stdout`
    says when output is discarded instead.  `Job.since` and `Job.next_output` hold no command up:
    from their first call on, the command waits only for a byte stream that was taken.

    Args:
        command: as for `Runner`.
        options: as for `Command`; they replace those of a `Command`.  The default of `stdin` is
            `PIPE` here, also for a `Command` whose `stdin` is None.  For ``/dev/null``, pass
            ``stdin=None`` to this function.

    Raises:
        CommandError: at the call: the command is invalid, or has `replicas` or dependencies.
        CommandNotFoundError: on entry: the program, the working directory or a file of the
            command is missing.
        LaunchError: on entry: the process could not be started.
        NotReadyError: on entry: the command has a `ready` probe and did not become ready.
        RuntimeError: on entry: the block was entered before; call `open_process` again.

    Cancellation: stops the command, with its grace, as in a Runner.
    """
    return _Block(_opened(_prepared(command, options)))


class _Block(AbstractAsyncContextManager[Job]):
    """A context manager of `asynccontextmanager`, with an error of its own for a second use."""

    def __init__(self, block: AbstractAsyncContextManager[Job]) -> None:
        self._block = block
        self._is_used = False

    async def __aenter__(self) -> Job:
        if self._is_used:
            raise RuntimeError("the block of open_process is for one use; call open_process again")
        self._is_used = True
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._block.__aexit__(exc_type, exc_val, exc_tb)


@asynccontextmanager
async def _opened(command: Command) -> AsyncGenerator[Job, None]:
    launcher = LocalLauncher()
    async with Runner(launcher=launcher, on_exit="stop", iterable=False, unread="wait") as runner:
        await launcher.check(with_stop_commands([command]))
        job = runner.start_soon(command)
        life_of(job).context.transcript.reserve()
        # Unlike `until_started`, this does not count as a wait, so that no output is discarded.
        await life_of(job).started()
        await until_up(job)
        yield job


def _prepared(command: CommandLike, options: CommandOptions) -> Command:
    """Return the command with its options.

    Raises:
        CommandError: the command is invalid, or is more than one process.
    """
    prepared = single_command("open_process", command, options)
    if prepared.stdin is None and not prepared.pty and "stdin" not in options:
        prepared = replace(prepared, stdin=PIPE)
    return prepared
