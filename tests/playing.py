"""Build messages, and pass them to sinks without a Runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.abc import ObjectReceiveStream

from currant import Batch, BatchMessage, Command, Exit, Exited, Started
from currant.sinks import SinkAttribute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from currant import Sink

__all__ = ["Messages", "err", "exited", "out", "play", "started"]


def out(name: str, data: bytes, time: float = 0.0) -> Batch:
    """Return a batch of stdout."""
    return Batch(name, "stdout", data, time)


def err(name: str, data: bytes, time: float = 0.0) -> Batch:
    """Return a batch of stderr."""
    return Batch(name, "stderr", data, time)


def started(name: str, pid: int = 1, attempt: int = 1, time: float = 0.0) -> Started:
    """Return the message that a process has started."""
    return Started(name, pid, attempt, time)


def exited(name: str, exit_: Exit | int = 0) -> Exited:
    """Return the message that a process has exited; a number is an exit code."""
    return Exited(name, Exit(exit_, None) if isinstance(exit_, int) else exit_, 1, 0.0)


class Messages(ObjectReceiveStream[BatchMessage]):
    """A stream of `messages` that provides the `commands` as an attribute, as a Runner's does."""

    def __init__(self, messages: Sequence[BatchMessage], commands: Sequence[Command] = ()) -> None:
        self._left = list(messages)
        self._commands = {str(command.name): command for command in commands}

    async def receive(self) -> BatchMessage:
        """Return the next message."""
        await anyio.lowlevel.checkpoint()
        if not self._left:
            raise anyio.EndOfStream
        return self._left.pop(0)

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the stream: the commands."""
        return {cast("Any", SinkAttribute.commands): lambda: self._commands}

    async def aclose(self) -> None:
        """Do nothing."""


async def play(
    sink: Sink, messages: Sequence[BatchMessage], commands: Sequence[Command] = ()
) -> None:
    """Run `sink` on the `messages` of `commands`."""
    await sink(Messages(messages, commands))
