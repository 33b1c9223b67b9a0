"""Commands begin with an empty signal mask and with the default action of every signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGRTMIN, SIGTERM, SIGUSR1, SIGUSR2
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest

from currant import Command, Exit, LocalLauncher
from currant._process import child
from currant._process.spawn import start_with_pidfd, start_without_pidfd
from currant._system import dispositions, forks
from currant._system.groups import has_pidfds
from tests.clis import CURRANT
from tests.streams import read_all, read_until
from tests.system import needs_proc
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant._process.spawn import StartProcess

STARTS = [start_without_pidfd, *([start_with_pidfd] if has_pidfds() else ())]

BLOCKED, IGNORED = (SIGTERM, SIGRTMIN + 3), (SIGHUP, SIGUSR2)

SHOW = Command(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])


KNOWN = sum(1 << number - 1 for number in signal.valid_signals())
"""The signals that a program can use; glibc ignores two others in the processes that it spawns."""


class Masks(NamedTuple):
    """The blocked and the ignored signals of a process, as bits."""

    blocked: int
    ignored: int


def masks(status: str) -> Masks:
    """Return the masks that a file /proc/PID/status shows."""
    values = dict(line.split(":", 1) for line in status.splitlines())
    return Masks(int(values["SigBlk"], 16) & KNOWN, int(values["SigIgn"], 16) & KNOWN)


@contextmanager
def ignoring(*numbers: int) -> Iterator[None]:
    """Ignore some signals."""
    actions = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, action in actions.items():
            signal.signal(number, action)


@contextmanager
def deaf_host() -> Iterator[None]:
    """Block some signals in this thread, and ignore others."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        with ignoring(*IGNORED):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


async def masks_of_command(command: Command, start: StartProcess | None = None) -> Masks:
    """Return the masks of a command that prints them."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(_start=start) as launcher:
            process = await launcher.launch(command)
            output = await read_all(process.stdout)
            await process.stop(SIGTERM, HOURS)
    return masks(output.decode())


@needs_proc
@pytest.mark.anyio
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("pty", [False, True])
async def test_command_inherits_no_blocked_and_no_ignored_signal(
    start: StartProcess, pty: bool
) -> None:
    """A command begins with empty masks, however it is started."""
    command = Command(SHOW.argv, pty=pty)
    with deaf_host():
        assert await masks_of_command(command, start) == Masks(0, 0)
        # The host's own masks are unchanged.
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(BLOCKED)
        assert signal.getsignal(SIGHUP) is signal.SIG_IGN


@needs_proc
@pytest.mark.anyio
async def test_signals_that_are_only_ignored_do_not_slow_a_start_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a host, under `nohup` or in the background of a script, starts commands by vfork."""
    hooks: list[object] = []

    def popen(argv: Any, preexec_fn: Any, **options: Any) -> subprocess.Popen[bytes]:
        hooks.append(preexec_fn)
        os.kill(os.getpid(), SIGHUP)  # It stays without effect.
        return forks.popen(argv, preexec_fn, **options)

    monkeypatch.setattr(child, "popen", popen)
    with ignoring(SIGHUP, SIGINT):
        assert await masks_of_command(SHOW) == Masks(0, 0)
        assert signal.getsignal(SIGHUP) is signal.SIG_IGN
    assert hooks == [None]
    assert dispositions.need_reset([SIGCHLD])  # Children would stay as zombies meanwhile.


@needs_proc
@pytest.mark.anyio
async def test_guard_inherits_no_blocked_and_no_ignored_signal() -> None:
    """The orphan guard ignores only the signals that it chooses to ignore."""
    with deaf_host():
        async with LocalLauncher() as launcher:
            assert launcher._guard._process is not None
            status = Path("/proc", str(launcher._guard._process.pid), "status").read_text()
    assert not masks(status).blocked
    assert not masks(status).ignored & 1 << (SIGUSR2 - 1)


@pytest.mark.anyio
async def test_command_of_a_host_that_blocks_the_stop_signal_stops_gracefully() -> None:
    """A handler of the stop signal runs, so the command needs no SIGKILL."""
    source = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""
    with deaf_host(), anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            process = await launcher.launch(Command([sys.executable, "-ISc", source]))
            assert await read_until(process.stdout, b"\n") == b"ready\n"
            assert await process.stop(SIGTERM, HOURS) == Exit(5, None, stopped=True)


@pytest.mark.anyio
async def test_start_leaves_a_blocked_signal_pending() -> None:
    """A blocked signal that the host has yet to take is neither delivered nor lost."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {SIGUSR1})
    try:
        signal.pthread_kill(threading.get_ident(), SIGUSR1)
        await masks_of_command(SHOW)
        assert SIGUSR1 in signal.sigpending()
        assert signal.sigwait({SIGUSR1}) == SIGUSR1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@needs_proc
def test_event_loop_in_another_thread_may_block_signals(
    anyio_backend: tuple[str, dict[str, object]],
) -> None:
    """The mask of the thread that starts a command has no effect on the command."""
    found: list[Masks] = []

    backend, options = anyio_backend

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        found.append(anyio.run(masks_of_command, SHOW, backend=backend, backend_options=options))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [Masks(0, 0)]


@needs_proc
def test_commands_of_a_command_line_in_the_background_have_default_signals() -> None:
    """What a shell's ``&``, `nohup` or a parent ignores, SIGCHLD included, is not passed on."""

    def ignore() -> None:
        for number in (SIGHUP, SIGINT, SIGQUIT, SIGCHLD):
            signal.signal(number, signal.SIG_IGN)

    line = f"{SHOW}; exit 7"
    ended = subprocess.run(
        [*CURRANT, "run", "--raw", "--quiet", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=ignore,
        timeout=LIMIT,
        check=False,
    )
    assert ended.returncode == 7, ended.stderr
    assert masks(ended.stdout.decode()) == Masks(0, 0)
