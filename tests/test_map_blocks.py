"""The blocks of stdin that `currant map --stdin` gives to its jobs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import CommandError
from currant.cli._map.blocks import BlockReader
from currant.cli._map.chunks import ChunkReader, open_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Parts(ChunkReader):
    """Bytes that come in given parts."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = [part for part in parts if part]

    async def read(self) -> bytes:
        """Return the next part."""
        return self._parts.pop(0) if self._parts else b""


def blocks_of(
    *parts: bytes, size: int = 4, record_end: bytes = b"\n", records: int | None = None
) -> list[bytes]:
    """Return the blocks of bytes that come in parts."""

    async def main() -> list[bytes]:
        reader = BlockReader(Parts(parts), size=size, record_end=record_end, records=records)
        return [block async for block in reader]

    return anyio.run(main)


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        ((), []),
        ((b"\n",), [b"\n"]),
        ((b"a\nb\nc\n",), [b"a\nb\n", b"c\n"]),
        ((b"a\n", b"b", b"\nc"), [b"a\nb\n", b"c"]),
        ((b"abc\nd\n",), [b"abc\n", b"d\n"]),
        ((b"abcd\ne\n",), [b"abcd\n", b"e\n"]),
        ((b"a\nbcdefgh\ni\nj\n",), [b"a\n", b"bcdefgh\n", b"i\nj\n"]),
        ((b"abcdefgh", b"ijk", b"l\nm"), [b"abcdefghijkl\n", b"m"]),
        ((b"abcdefgh",), [b"abcdefgh"]),
        ((b"\n\n\n\n\n",), [b"\n\n\n\n", b"\n"]),
    ],
)
def test_block_ends_where_a_record_ends(parts: tuple[bytes, ...], blocks: list[bytes]) -> None:
    """A block has as many records as fit into its size, and at least one."""
    assert blocks_of(*parts) == blocks


@pytest.mark.parametrize(
    ("parts", "records", "blocks"),
    [
        ((b"a\nb\nc\n",), 1, [b"a\n", b"b\n", b"c\n"]),
        ((b"a\nb\nc",), 2, [b"a\nb\n", b"c"]),
        ((b"abcdef", b"gh\nb", b"\nc\n"), 2, [b"abcdefgh\nb\n", b"c\n"]),
        ((b"a\n",), 3, [b"a\n"]),
    ],
)
def test_block_has_a_number_of_records(
    parts: tuple[bytes, ...], records: int, blocks: list[bytes]
) -> None:
    """With a number of records, the size of a block does not matter; the last may have fewer."""
    assert blocks_of(*parts, records=records) == blocks


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        ((b"a--b--c",), [b"a--", b"b--", b"c"]),
        ((b"abcdefg-", b"-h"), [b"abcdefg--", b"h"]),
        ((b"a-b-c-d--e",), [b"a-b-c-d--", b"e"]),
        ((b"abc--d",), [b"abc--", b"d"]),
        ((b"ab--d",), [b"ab--", b"d"]),
    ],
)
def test_end_of_a_record_may_be_long(parts: tuple[bytes, ...], blocks: list[bytes]) -> None:
    """The end of a record may have several bytes, and come in parts."""
    assert blocks_of(*parts, record_end=b"--") == blocks


@given(
    st.lists(st.binary(max_size=9).map(lambda data: bytes(b"a\n-"[byte % 3] for byte in data))),
    st.integers(1, 7),
    st.sampled_from([b"\n", b"-\n", b"\n\n"]),
    st.none() | st.integers(1, 3),
)
def test_blocks_are_the_input(
    parts: list[bytes], size: int, record_end: bytes, records: int | None
) -> None:
    """Whatever comes, the blocks together are the input, and all but the last end with a record."""
    blocks = blocks_of(*parts, size=size, record_end=record_end, records=records)
    data = b"".join(parts)
    assert b"".join(blocks) == data
    assert all(blocks)
    assert all(block.endswith(record_end) for block in blocks[:-1])
    assert blocks == blocks_of(data, size=size, record_end=record_end, records=records)
    if records is not None and record_end == b"\n":
        assert all(block.count(b"\n") == records for block in blocks[:-1])
    elif record_end == b"\n":
        assert all(len(block) <= size or block.count(b"\n") == 1 for block in blocks[:-1])


def test_end_of_a_record_cannot_be_empty() -> None:
    """Without an end of records, there would be no place for a cut."""
    with pytest.raises(CommandError, match="cannot be empty"):
        blocks_of(b"a", record_end=b"")


@pytest.mark.anyio
async def test_blocks_of_a_file(tmp_path: Path) -> None:
    """A file is read in chunks, and cut into blocks of about the size."""
    data = b"".join(b"%d\n" % number for number in range(100_000))
    (tmp_path / "f").write_bytes(data)
    fd = open_file(str(tmp_path / "f"))
    try:
        reader = BlockReader(ChunkReader("f", fd), size=100_000, record_end=b"\n")
        blocks = [block async for block in reader]
    finally:
        os.close(fd)
    assert b"".join(blocks) == data
    assert {len(block) // 1000 for block in blocks[:-1]} == {99}


@pytest.mark.anyio
async def test_block_of_a_pipe_comes_as_soon_as_it_is_complete() -> None:
    """A block does not wait for the end of the input, and a wait for one can be cancelled."""
    read, write = os.pipe()
    reader = BlockReader(ChunkReader("stdin", read), size=4, record_end=b"\n")
    try:
        with anyio.fail_after(30):
            os.write(write, b"a\n")
            with anyio.move_on_after(0):
                await anext(reader)
            os.write(write, b"b\nc")
            assert await anext(reader) == b"a\nb\n"
            os.close(write)
            assert [block async for block in reader] == [b"c"]
    finally:
        os.close(read)


@pytest.mark.anyio
async def test_one_end_of_a_terminal_ends_the_blocks() -> None:
    """Ctrl-D ends what a terminal gives for the moment; a person types it once."""
    master, terminal = os.openpty()
    reader = BlockReader(ChunkReader("stdin", terminal), size=100, record_end=b"\n")
    try:
        with anyio.fail_after(30):
            os.write(master, b"a\nb\n\x04")
            assert [block async for block in reader] == [b"a\nb\n"]
    finally:
        os.close(master)
        os.close(terminal)
