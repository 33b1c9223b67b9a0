"""`SameOutput`: the output of commands on many hosts, held back so that equal output is shown once.

Two commands have the same output if both streams have the same bytes, and if both have ended in the
same way.  Streams are compared by their digests.  As soon as a command has ended like another one,
both share the chunks of the output, so a thousand equal outputs take the room of one.  Chunks that
are in memory go to one temporary file, all together, when they are too many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from currant._values.errors import LaunchError
from currant._values.host_names import natural_key, without_host
from currant._values.messages import Exited, Started
from currant._values.results import lost_host
from currant._values.state import QUEUED, state_after
from currant.sinks._events import fate_of
from currant.sinks._temporary import temporary_file, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO

    from currant._values.command import Command
    from currant._values.lines import Batch, StreamName
    from currant._values.state import CommandState
    from currant.sinks._events import EventMessage

__all__ = ["Group", "SameOutput"]

MAX_IN_MEMORY = 16 << 20
"""Bytes of output that are held in memory; if there are more, all of them go to disk."""

MAX_CHUNK = 1 << 16
"""Bytes at which no more output is added to a chunk."""

STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")

Key: TypeAlias = "tuple[str, bytes, bytes]"
"""The command, and the digests of both streams."""


@dataclass(slots=True, eq=False)
class _Chunk:
    """Output of one stream; several commands may have the same chunk.

    Attributes:
        stream: the stream.
        data: the output while it is in memory.
        begin: where it begins in the file, once it is there.
        size: the number of bytes.
    """

    stream: StreamName
    data: bytearray | None
    begin: int = 0
    size: int = 0

    @property
    def held(self) -> int:
        """How many bytes are in memory."""
        return 0 if self.data is None else len(self.data)


@dataclass(slots=True, eq=False)
class _Record:
    """What a command has written, and how it has ended."""

    host: str
    state: CommandState = QUEUED
    chunks: list[_Chunk] = field(default_factory=list[_Chunk])
    digests: dict[str, blake2b] = field(
        default_factory=lambda: {stream: blake2b(digest_size=16) for stream in STREAMS}
    )
    grows: bool = False
    """Whether output may be added to the last chunk."""


class Group(NamedTuple):
    """Commands with the same output and the same end, each on a host of its own.

    Attributes:
        command: the name of the command, without the hosts.
        first: the full name of the first of them, in the order of the hosts.
        hosts: the hosts.
        end: how all of them ended, unless they succeeded.
    """

    command: str
    first: str
    hosts: tuple[str, ...]
    end: str | None


class SameOutput:
    """The output of all commands until the end, and which of them is the same.

    Args:
        unknown: the host of a command that was not started and has none.
    """

    def __init__(self, unknown: str) -> None:
        self._unknown = unknown
        self._records: dict[str, _Record] = {}
        self._commands: Mapping[str, Command] = {}
        self._shared: dict[Key, list[_Chunk]] = {}
        self._in_memory: set[_Chunk] = set()
        self._size: float = 0  # of the chunks in memory
        self._max_size: float = MAX_IN_MEMORY
        self._disk: FileIO | None = None

    # ---- what happens ----

    def add_commands(self, commands: Mapping[str, Command]) -> None:
        """Take note of commands, in their order."""
        if self._commands is commands and len(self._records) >= len(commands):
            return
        self._commands = commands
        for name, command in commands.items():
            if name not in self._records:
                self._records[name] = _Record(command.host or self._unknown)

    def add(self, batch: Batch) -> None:
        """Hold output back.

        Raises:
            OSError: the disk has no room.  From then on, all output is held in memory.
        """
        record = self._of(batch.command)
        record.digests[batch.stream].update(batch.data)
        last = record.chunks[-1] if record.grows else None
        if last is None or last.data is None or last.stream != batch.stream:
            last = _Chunk(batch.stream, bytearray())
            record.chunks.append(last)
            self._in_memory.add(last)
        assert last.data is not None
        last.data += batch.data
        record.grows = len(last.data) < MAX_CHUNK
        self._size += len(batch.data)
        if self._size > self._max_size:
            self._move_to_disk()

    def note(self, message: EventMessage) -> None:
        """Take note of what happened to a command."""
        if message.command is None:
            return
        record = self._of(message.command)
        command = self._commands.get(message.command)
        record.state = state_after(message, record.state, command)
        if isinstance(message, Started):
            record.host = message.host or self._unknown
        elif isinstance(message, Exited):
            self._share(message.command, record)

    # ---- what is the same ----

    def groups(self) -> Iterator[Group]:
        """Yield the groups of each command, in the order of the commands; the largest first."""
        by_command: dict[str, dict[tuple[str | None, bytes, bytes], list[str]]] = {}
        for name, record in self._records.items():
            key = _end_of(record.state, name), *_digests(record)
            by_command.setdefault(self._base(name), {}).setdefault(key, []).append(name)
        for command, by_key in by_command.items():
            groups = [self._group(command, names) for names in by_key.values()]
            groups.sort(key=lambda each: (-len(each.hosts), natural_key(each.hosts[0])))
            yield from groups

    def output_of(self, command: str) -> Iterator[tuple[StreamName, bytes]]:
        """Yield what a command has written, piece by piece."""
        for chunk in self._of(command).chunks:
            yield chunk.stream, self._read(chunk)

    def _group(self, command: str, names: list[str]) -> Group:
        names.sort(key=lambda name: natural_key(self._records[name].host))
        first = self._records[names[0]]
        hosts = tuple(self._records[name].host for name in names)
        return Group(command, names[0], hosts, _end_of(first.state, names[0]))

    def _share(self, command: str, record: _Record) -> None:
        """Give a command that has ended the chunks of an earlier one, if they are the same."""
        record.grows = False
        key = self._base(command), *_digests(record)
        # A list of its own, because the command may be started again.
        twins = self._shared.setdefault(key, list(record.chunks))
        for chunk in self._in_memory.intersection(record.chunks).difference(twins):
            self._in_memory.discard(chunk)
            self._size -= chunk.held
        record.chunks = list(twins)

    def _of(self, command: str) -> _Record:
        return self._records.setdefault(command, _Record(self._unknown))

    def _base(self, command: str) -> str:
        return without_host(command, self._records[command].host)

    # ---- where it is held ----

    def _move_to_disk(self) -> None:
        try:
            if self._disk is None:
                self._disk = temporary_file(self)
            for chunk in list(self._in_memory):
                self._write(self._disk, chunk)
        except OSError:
            self._max_size = inf
            raise

    def _write(self, disk: FileIO, chunk: _Chunk) -> None:
        assert chunk.data is not None
        begin = disk.seek(0, 2)
        write_all(disk, chunk.data)
        self._size -= len(chunk.data)
        chunk.begin, chunk.size, chunk.data = begin, len(chunk.data), None
        self._in_memory.discard(chunk)

    def _read(self, chunk: _Chunk) -> bytes:
        if chunk.data is not None:
            return bytes(chunk.data)
        assert self._disk is not None
        self._disk.seek(chunk.begin)
        return self._disk.read(chunk.size)


def _digests(record: _Record) -> tuple[bytes, bytes]:
    stdout, stderr = (record.digests[stream].digest() for stream in STREAMS)
    return stdout, stderr


def _end_of(state: CommandState, name: str) -> str | None:
    """Return how a command ended, in words that are the same for each host; None: with success."""
    if (lost := lost_host(state.error)) is not None:
        return f"its host {fate_of(lost)}"
    match state.error:
        case LaunchError(reason=reason):
            return f"cannot start: {reason}"
        case None:
            return None if state.phase == "succeeded" else str(state.exit or state.phase)
        case error:
            return str(error).partition("\n")[0].removeprefix(f"{name!r} ")
