"""A stack inside of a test: a Runner that listens on a socket, and clients of it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from currant import Command, Runner
from currant.stack import StackClient
from currant.stack._configuration import Configuration
from currant.stack._folder import Claim
from currant.stack._history import KEPT, History
from currant.stack._server import StackServer
from currant.stack._stream import StackStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from currant.stack._control import Control

__all__ = ["RunningStack", "running", "talk"]


@dataclass
class RunningStack:
    """A stack that runs in the test.

    Attributes:
        client: a client of it.
        runner: its Runner.
        control: carries out the requests.
        history: the sink behind ``logs``.
    """

    client: StackClient
    runner: Runner
    control: Control
    history: History


@asynccontextmanager
async def running(
    commands: Mapping[str, Command | str],
    folder: Path,
    *,
    kept: int = KEPT,
    read: Callable[[Collection[str]], Iterable[Command]] | None = None,
    **options: Any,
) -> AsyncIterator[RunningStack]:
    """Run commands as a stack of `folder`, and stop them at the end of the block.

    Args:
        commands: the commands by name.
        folder: the project's folder.
        kept: the bytes that the history keeps of each command.
        read: reads the configuration again, with further commands; None: there is none.
        options: of the Runner.
    """
    claim, history = Claim(str(folder)), History(kept)
    configuration = read and Configuration(tuple(read(())), read, lambda command: command)
    server = StackServer(claim, history, configuration)
    async with server.open():
        runner = Runner(
            commands, sinks=[history], keep_open=True, iterable=False, on_exit="stop", **options
        )
        async with runner:
            control = await server.listen(runner)
            paths = claim.paths
            yield RunningStack(StackClient(paths.folder, paths.socket), runner, control, history)


async def talk(stack: RunningStack, *sent: bytes) -> list[dict[str, Any]]:
    """Send lines to a stack, as they are; return the objects that come until it hangs up."""
    stream: StackStream = await StackStream.connect(stack.client.socket)
    async with stream:
        for each in sent:
            try:
                await stream.send(each)
            except anyio.BrokenResourceError:
                break
        return await received(stream)


async def received(stream: StackStream) -> list[dict[str, Any]]:
    """Return all objects until the stack hangs up."""
    data = b""
    try:
        while True:
            data += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return [json.loads(line) for line in data.splitlines()]
