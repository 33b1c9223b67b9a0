"""A task group whose block raises its own errors."""

from __future__ import annotations

import anyio
import pytest

from currant._synchronization import task_group_beside
from tests.waiting import LIMIT

pytestmark = pytest.mark.anyio


async def test_error_of_the_block_leaves_unchanged_after_the_tasks() -> None:
    """The error cancels no task: the group waits until the block has ended them."""
    error, ended = KeyError("x"), anyio.Event()

    async def work() -> None:
        await anyio.wait_all_tasks_blocked()
        ended.set()

    with anyio.fail_after(LIMIT), pytest.raises(KeyError) as caught:
        async with task_group_beside() as tasks:
            tasks.start_soon(work)
            raise error
    assert caught.value is error
    assert ended.is_set()


async def test_cancellation_reaches_the_block_and_the_tasks() -> None:
    """As in a task group of anyio."""
    with anyio.fail_after(LIMIT), anyio.CancelScope() as scope:
        async with task_group_beside() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_error_of_a_task_is_in_a_group_and_ends_the_block() -> None:
    """The block is cancelled."""

    async def fail() -> None:
        raise KeyError

    with anyio.fail_after(LIMIT), pytest.raises(ExceptionGroup):
        async with task_group_beside() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep_forever()
