"""Tests that few hosts are connected to at a time, because a thousand would all be too slow."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from currant.cli._check_hosts import check_hosts
from currant.hosts import Host, Hosts, _turns
from currant.hosts._turns import AT_A_TIME
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

COUNT = 2 * AT_A_TIME + 1


class Mute:
    """The ways to hosts that send nothing; `hang_up` ends the oldest connection."""

    def __init__(self) -> None:
        self.opened = 0
        self.change = anyio.Event()
        self._ends: list[int] = []

    def connect(self, host: Host) -> MuteTransport:
        """Return the way to a host."""
        return MuteTransport(self)

    def open(self) -> tuple[int, int]:
        """Return the files of one more connection."""
        read_fd, write_fd = os.pipe()
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
        self._ends.append(write_fd)
        self.opened += 1
        self.change.set()
        return read_fd, os.dup(read_fd)

    def hang_up(self) -> None:
        """End the oldest connection."""
        os.close(self._ends.pop(0))

    def close(self) -> None:
        """End all connections."""
        while self._ends:
            self.hang_up()

    async def wait_for(self, count: int) -> None:
        """Wait until so many connections were opened."""
        with anyio.fail_after(LIMIT):
            while self.opened < count:
                self.change = anyio.Event()
                await self.change.wait()
        await anyio.wait_all_tasks_blocked()


class MuteTransport:
    """A transport to a host that sends nothing."""

    def __init__(self, mute: Mute) -> None:
        self._mute = mute
        self._files: tuple[int, ...] = ()

    def open(self) -> tuple[int, int]:
        """Open the way."""
        files = self._files = self._mute.open()
        return files

    async def listen(self) -> None:
        """Return at once, because there are no error messages."""

    def said(self) -> str:
        """Return no error message."""
        return ""

    def was_turned_away(self) -> bool:
        """Return False."""
        return False

    async def aclose(self) -> None:
        """Close the files."""
        files, self._files = self._files, ()
        for fd in files:
            with suppress(OSError):
                anyio.notify_closing(fd)
            os.close(fd)


@pytest.fixture
def mute() -> Iterator[Mute]:
    """Return the ways to hosts that send nothing."""
    ways = Mute()
    yield ways
    ways.close()


async def enter(ways: Mute) -> None:
    """Enter a `Hosts` with many such hosts."""
    hosts = Hosts([f"h{number}" for number in range(COUNT)], connect=ways.connect, reconnect=False)
    async with hosts:
        pytest.fail("no host has answered")


async def test_few_hosts_are_connected_to_at_a_time(
    mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next host has its turn when one has failed; a cancelled entry leaves nothing."""
    monkeypatch.setattr(_turns, "LONGEST", inf)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter, mute)
        await mute.wait_for(AT_A_TIME)
        assert mute.opened == AT_A_TIME
        mute.hang_up()
        await mute.wait_for(AT_A_TIME + 1)
        assert mute.opened == AT_A_TIME + 1
        tasks.cancel_scope.cancel()


async def test_few_hosts_are_checked_at_a_time(mute: Mute, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the last of many hosts would seem to be silent."""
    monkeypatch.setattr(_turns, "LONGEST", inf)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(check_hosts, [Host(f"h{number}") for number in range(COUNT)], mute.connect)
        await mute.wait_for(AT_A_TIME)
        assert mute.opened == AT_A_TIME
        mute.hang_up()
        await mute.wait_for(AT_A_TIME + 1)
        assert mute.opened == AT_A_TIME + 1
        tasks.cancel_scope.cancel()


async def test_silent_hosts_do_not_hold_up_others(
    mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn ends after a while, although the host may still answer."""
    monkeypatch.setattr(_turns, "LONGEST", 0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter, mute)
        await mute.wait_for(COUNT)
        tasks.cancel_scope.cancel()
