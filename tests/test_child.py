"""A child process: waiting for its exit, reaping it, and a start that fails after the fork."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import contextmanager, suppress
from signal import SIGKILL
from typing import TYPE_CHECKING, Literal

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from currant import Exit, ExitStatusLostError, Runner
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
        started = Child(SpawnSpec(argv, null, null, null, None, dict(os.environb)))
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
        assert str(runner.results["c"].exit) == "exit status unknown"


@contextmanager
def reaping_host(how: str) -> Iterator[None]:
    """Reap all children in a SIGCHLD handler, or have the system do so."""

    def reap(*_: object) -> None:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    before = signal.signal(signal.SIGCHLD, reap if how == "handler" else signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("how", ["handler", "ignored"])
@pytest.mark.parametrize("restart", ["never", "on-failure", "always"])
async def test_lost_exit_status_is_told_and_ends_all_restarts(
    how: str, restart: Literal["never", "on-failure", "always"]
) -> None:
    """The error says what happened; the command may have succeeded, so it is not run again."""
    with anyio.fail_after(LIMIT):
        async with Runner(keep_open=True, restart=restart) as runner:
            with reaping_host(how):
                result = await runner.start_soon("true").wait()
                while result.exit is not None and result.exit.code == 0:  # We were first.
                    result = await runner.start_soon("true").wait()
            runner.kill()
    assert result.status == "failed"
    assert isinstance(result.error, ExitStatusLostError)
    assert "SIGCHLD" in str(result.error)
    assert result.exit == Exit(None, None)


async def test_command_that_was_stopped_has_not_failed_if_its_status_is_lost() -> None:
    """A stop is no failure, whatever became of the exit status."""
    with anyio.fail_after(LIMIT), reaping_host("handler"):
        async with Runner({"c": "sleep 9999"}) as runner:
            await runner["c"].until_started()
            runner.kill()
    assert runner.results["c"].status == "stopped"
    assert runner.results["c"].error is None


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
