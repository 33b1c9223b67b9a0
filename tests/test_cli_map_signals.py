"""How `currant map` handles signals, and that it leaves no process in any way of ending."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.clis import PAUSES, type_on
from tests.waiting import EXEC_FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clis import Start
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # Each test starts its own Python process.


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The read end of a pipe that is full of values, and never ends."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    while True:
        try:
            os.write(theirs, b"x\n" * 512)
        except BlockingIOError:
            break
    yield ours
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_signal_stops_all_commands_and_takes_no_more_values(
    start: Start, lifeline: Lifeline, full_pipe: int, number: signal.Signals
) -> None:
    """Sixteen commands are stopped, and currant dies of the signal, however many values wait."""
    script = f"{lifeline.hold('{%}')}; trap 'echo bye; exit 3' TERM; echo up; {TRAPS_SIGNALS}"
    words = ("--grace", "9999", "--line", "-j", "16", script)
    cli = start(*words, subcommand="map", stdin=full_pipe)
    lifeline.wait_for(*map(str, range(1, 17)))
    cli.read_until(b"up\n" * 16)
    cli.signal(number)
    ended = cli.end()
    assert cli.process.returncode == -number
    assert lifeline.ended() == set(map(str, range(1, 17)))
    assert ended.out.count(b"bye\n") == 16
    assert b"16 jobs: 0 succeeded, 0 failed, 16 stopped" in ended.err


def test_second_signal_kills_at_once(start: Start, lifeline: Lifeline) -> None:
    """It does not wait for the grace."""
    script = f"{lifeline.hold('{}')}; trap 'echo asked' TERM; echo up; {TRAPS_SIGNALS}"
    cli = start(
        *("--grace", "9999", "--line", "-j", "2"), script, ":::", "a", "b", subcommand="map"
    )
    cli.read_until(b"up\nup\n")
    cli.signal(signal.SIGINT)
    cli.read_until(b"asked\nasked\n")
    cli.signal(signal.SIGINT)
    assert cli.end().status == 130
    assert lifeline.ended() == {"a", "b"}


def test_reader_that_dies_of_the_same_ctrl_c_costs_no_grace(
    start: Start, gate: Gate, tmp_path: Path
) -> None:
    """A terminal interrupts a whole pipeline, so Ctrl-C and a reader that is gone are one stop."""
    clean_up = f"echo hurry >&3; {gate.wait}; echo > clean; exit"
    traps = f"exec 3>&2; trap 'echo asked >&3' TERM; trap '{clean_up}' USR1"
    words = ("--grace", "9999", "--line", f": {{}}; {traps}; echo up >&2; {TRAPS_SIGNALS}")
    cli = start(*words, ":::", "a", subcommand="map", cwd=tmp_path)
    cli.read_until(b"up")
    cli.signal(signal.SIGINT)
    cli.read_until(b"asked")
    cli.close()
    cli.signal(signal.SIGUSR1)  # The loop has seen the closed pipe when it forwards this.
    cli.read_until(b"hurry")
    gate.open()
    assert cli.end().status == 130
    assert (tmp_path / "clean").exists()


def test_signals_end_a_map_whose_last_output_is_stuck(start: Start, tmp_path: Path) -> None:
    """After all commands have ended, a second signal gives the output up."""
    report = tmp_path / "report.xml"
    script = ": {}; head -c 3000000 /dev/zero"
    cli = start("--junit", str(report), script, ":::", "a", subcommand="map")
    deadline = time.monotonic() + LIMIT
    while not report.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while cli.process.poll() is None:  # Two signals at once would count as one.
        assert time.monotonic() < deadline
        cli.signal(signal.SIGTERM)
        time.sleep(0.1)
    assert cli.wait() == 143


def test_signal_while_no_value_comes(start: Start) -> None:
    """A map that waits for its first value, or for the names of the columns, ends as well."""
    for arguments in (["echo"], ["--header", "echo", "{x}"], ["--stdin", "cat"]):
        ours, theirs = os.pipe()
        os.write(theirs, b"x")
        cli = start(*arguments, subcommand="map", stdin=ours)
        deadline = time.monotonic() + LIMIT
        while not _is_empty(ours):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        cli.signal(signal.SIGINT)
        status, out, err = cli.end()
        assert (status, out, err.strip()) == (130, b"", b"")
        os.close(ours)
        os.close(theirs)


def _is_empty(pipe: int) -> bool:
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))) == (0,)


def test_ctrl_c_on_a_terminal(on_terminal: Start, lifeline: Lifeline) -> None:
    """The summary says what was stopped; the progress line is gone."""
    script = f"{lifeline.hold('{}')}; echo up; {EXEC_FOREVER}"
    cli = on_terminal("--line", script, ":::", "a", subcommand="map", env={"CI": ""}, columns=80)
    cli.read_until(b"up", b"slowest")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert cli.process.returncode == -signal.SIGINT
    assert b"1 job: 0 succeeded, 0 failed, 1 stopped" in ended.out
    assert ended.out.endswith((b"\x1b[J", b"\n"))
    assert lifeline.ended() == {"a"}


def test_ctrl_z_pauses_the_commands_until_fg(on_terminal: Start) -> None:
    """The shell sees currant stop; the commands pause, and go on with currant."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = '"$@"; echo "paused: $?"; read -r _; fg; echo "status: $?"'
    cli = on_terminal(
        *("--line", f": {{}}; {PAUSES}", ":::", "a"),
        subcommand="map",
        before=(bash, "--norc", "-ic", script, "bash"),
    )
    deadline = time.monotonic() + LIMIT
    pid = b""
    while not pid:
        assert time.monotonic() < deadline
        cli.read_until(b"\n")
        pid = next((line for line in cli.written("stdout").split() if line.isdigit()), b"")
    type_on(cli, b"\x1a")
    cli.read_until(b"paused: 148")
    while _state(int(pid)) != "T":  # The kernel stops a process when it next runs.
        assert time.monotonic() < deadline
    type_on(cli, b"\n")
    cli.read_until(b"resumed\r\n")  # The progress line has the word, too.
    type_on(cli, b"\x03")
    cli.end()


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_other_signals_reach_the_commands(start: Start) -> None:
    """SIGUSR1 goes to all commands, and the map goes on."""
    script = f"trap 'echo got it; exit 0' USR1; echo ready {{}}; {TRAPS_SIGNALS}"
    cli = start("--line", "-j", "2", script, ":::", "a", "b", subcommand="map")
    cli.read_until(b"ready a", b"ready b")
    cli.signal(signal.SIGUSR1)
    ended = cli.end()
    assert (ended.status, ended.out.count(b"got it\n")) == (0, 2)


def test_no_command_outlives_currant(start: Start, lifeline: Lifeline) -> None:
    """After SIGKILL of currant, its commands end."""
    script = f"{lifeline.hold('{}')}; echo up; {EXEC_FOREVER}"
    cli = start("--line", "-j", "2", script, ":::", "a", "b", subcommand="map")
    lifeline.wait_for("a", "b")
    cli.signal(signal.SIGKILL)
    assert cli.end().status == 137
    assert lifeline.wait_for_end() == {"a", "b"}
