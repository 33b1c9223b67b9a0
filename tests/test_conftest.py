"""Tests of `conftest`: each leak check fails a leaking test; ``--backend`` selects event loops."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import _stat
from tests.waiting import is_alive

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # Each test runs pytest.

LEFTOVERS = """
import asyncio, os, signal, subprocess, sys, trio, pytest

def spawn(script):
    return os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", script)

def test_file():
    os.pipe()

def test_signal():
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)

def test_child():
    print("pid", spawn("exec sleep 9999"))

def test_zombie():
    print("pid", spawn("exit 0"))

def test_escaped():
    print("pid", subprocess.check_output(["sh", "-c", "sleep 9999 >&2 & echo $!"], text=True))

@pytest.mark.anyio
async def test_task(anyio_backend_name):
    if anyio_backend_name == "trio":
        trio.lowlevel.spawn_system_task(trio.sleep, 9999)
    else:
        asyncio.get_running_loop().create_task(asyncio.sleep(9999))
"""

CLEAN = """
import asyncio, os, subprocess, anyio, pytest

def test_file():
    for fd in os.pipe():
        os.close(fd)

def test_child():
    subprocess.run(["true"])

@pytest.mark.anyio
async def test_task():
    await anyio.run_process(["true"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 9999)
        tasks.cancel_scope.cancel()

OWN = [pytest.param(("trio", {}), id="own_trio"), pytest.param("asyncio", id="own_asyncio")]

@pytest.mark.parametrize("anyio_backend", OWN)
@pytest.mark.anyio
async def test_own():
    pass
"""


def outcomes(
    folder: Path, tests: str, *options: str, time_to_settle: float | None = None
) -> tuple[dict[str, str], str]:
    """Run `tests` in a separate pytest; return the outcome of each, and the output."""
    conftest = Path(__file__).with_name("conftest.py").read_text()
    if time_to_settle is not None:
        assert "\nTIME_TO_SETTLE = 20.0\n" in conftest
        conftest = conftest.replace("TIME_TO_SETTLE = 20.0", f"TIME_TO_SETTLE = {time_to_settle}")
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "no_uvloop.py").write_text("import sys; sys.modules['uvloop'] = None\n")
    pytest_ = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        pytest_, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(PASSED|ERROR|FAILED) test_it.py::test_(\S+)", done.stdout, re.MULTILINE)
    # pytest lists a test twice if it passes and then fails a leak check; ERROR wins here.
    return {name: outcome for outcome, name in sorted(found, reverse=True)}, done.stdout


@pytest.mark.skipif(not os.path.exists("/proc/loadavg"), reason="processes are found in /proc")
def test_leftovers_fail_their_test_and_leftover_processes_are_killed(tmp_path: Path) -> None:
    """The checks find a file, a signal, a child, a zombie, an escaped grandchild and a task."""
    found, text = outcomes(tmp_path, LEFTOVERS, "-p", "no:pytest_asyncio", time_to_settle=0.1)
    names = ["file", "signal", "child", "zombie", "escaped"]
    names += [f"task[{backend}]" for backend in ("asyncio", "uvloop", "trio")]
    assert found == dict.fromkeys(names, "ERROR"), text
    # pytest shows the output twice, once for the pass and once for the error; hence a set.
    pids = {int(pid) for pid in re.findall(r"^pid (\d+)", text, re.MULTILINE)}
    assert len(pids) == 3
    assert [pid for pid in pids if is_alive(pid)] == []


def test_a_test_without_leftovers_passes(tmp_path: Path) -> None:
    """A closed file, a reaped child, an awaited process and a cancelled task are no leftovers."""
    found, text = outcomes(tmp_path, CLEAN)
    names = ["file", "child", "own[own_trio]", "own[own_asyncio]"]
    names += [f"task[{backend}]" for backend in ("asyncio", "uvloop", "trio")]
    assert found == dict.fromkeys(names, "PASSED"), text


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--backend=uvloop"], ["task[uvloop]"]),
        (
            ["--backend=asyncio", "--backend=trio"],
            ["own[own_trio]", "own[own_asyncio]", "task[asyncio]", "task[trio]"],
        ),
        (
            ["-p", "no_uvloop"],
            ["own[own_trio]", "own[own_asyncio]", "task[asyncio]", "task[trio]"],
        ),
    ],
    ids=" ".join,
)
def test_async_tests_run_on_the_selected_event_loops(
    tmp_path: Path, options: list[str], names: list[str]
) -> None:
    """``--backend`` deselects the other loops; a missing loop is skipped with a hint."""
    found, text = outcomes(tmp_path, CLEAN, *options)
    assert found == dict.fromkeys(["file", "child", *names], "PASSED"), text
    assert ("pip install uvloop" in text) is ("no_uvloop" in options)


def test_a_process_of_any_name_is_described(tmp_path: Path) -> None:
    """The search for leftovers reads the names of all processes, also of those it did not start."""
    program = os.fsencode(tmp_path) + b"/\xff"
    os.symlink(b"/bin/sleep", program)
    with subprocess.Popen([program, "9999"]) as process:
        try:
            assert _stat(process.pid)[0] == rf"{process.pid} (\xff"
        finally:
            process.kill()
