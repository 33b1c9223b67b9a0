"""A child process: waiting for its exit, reaping it, and a start that fails after the fork."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from signal import SIGKILL
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from currant import Runner
from currant._process.child import Child, SpawnSpec
from currant._system.groups import has_pidfds
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lifeline import Lifeline

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not has_pidfds(), reason="waits through pidfds: Linux 5.3 or later"),
]


@contextmanager
def child(*argv: str) -> Iterator[Child]:
    """Start a child without files; it is killed and reaped at the end."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        started = Child(SpawnSpec(argv, null, null, null, None, dict(os.environ)))
    finally:
        os.close(null)
    try:
        yield started
    finally:
        if started.returncode is None:
            os.kill(started.pid, SIGKILL)
            os.waitpid(started.pid, 0)
            assert started.returncode is not None
        started.close()


async def test_many_tasks_wait_for_the_exit_and_some_are_cancelled() -> None:
    """One task waits for the pidfd; if that task is cancelled, another takes its place."""
    ends: list[int] = []

    async def wait() -> None:
        ends.append(await process.wait())

    with child("sleep", "9999") as process, anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as patient:
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(wait)
                await wait_all_tasks_blocked()
                patient.start_soon(wait)
                patient.start_soon(wait)
                await wait_all_tasks_blocked()
                impatient.cancel_scope.cancel()
            assert not ends
            os.kill(process.pid, SIGKILL)
        assert ends == [-SIGKILL, -SIGKILL]
        assert await process.wait() == process.returncode == -SIGKILL


async def test_close_fails_pending_waits() -> None:
    """No task goes on waiting for a descriptor whose number may belong to another file by now."""

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await process.wait()
        failed.append(True)

    failed: list[bool] = []
    with child("sleep", "9999") as process, anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await wait_all_tasks_blocked()
            process.close()
    assert failed == [True]


async def test_exit_reaped_elsewhere_is_not_a_success() -> None:
    """A program that reaps all children leaves us no exit code; that counts as a failure."""
    with anyio.fail_after(LIMIT):
        async with Runner({"c": "sleep 9999"}) as runner:
            job = runner["c"]
            await job.until_started()
            assert job.pid is not None
            os.kill(job.pid, SIGKILL)
            os.waitid(os.P_PID, job.pid, os.WEXITED)  # noqa: ASYNC222 - before anybody else can
        assert runner.results["c"].status == "failed"
        assert str(runner.results["c"].exit) == "exit code 255"


async def test_pending_waits_learn_of_an_exit_right_before_close() -> None:
    """All waiting tasks get the return code: a known exit is no closed resource."""
    with anyio.fail_after(LIMIT), child("sleep", "9999") as process:
        codes: list[int] = []

        async def wait() -> None:
            codes.append(await process.wait())

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await wait_all_tasks_blocked()
            os.kill(process.pid, SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - at once
            process.close()
        assert codes == [-SIGKILL] * 3


async def test_child_without_a_pidfd_is_killed(
    monkeypatch: pytest.MonkeyPatch, lifeline: Lifeline
) -> None:
    """A start that fails after the fork leaves no process, and reports what was missing."""

    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, f"no file left for {pid}")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    line = f"{lifeline.hold('c')}; exec sleep 9999"
    with pytest.raises(OSError, match="no file left"), child("/bin/sh", "-c", line):
        pass
    assert lifeline.ended() <= {"c"}
