"""Test how `currant run` handles signals, and that currant leaves no process in any way of ending.

A leftover process would hold the `Lifeline` open.  The tests check the `Lifeline` as soon as
currant has ended.
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable  # noqa: TC003 - NamedTuple reads the annotation
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest

from currant import Runner
from currant.cli import _restore_signals, _run, _signals
from currant.cli._run import pause_and_resume
from currant.testing import FakeLauncher, Script
from tests.clis import (
    BUFFERED,
    CURRANT,
    NO_TERMINAL,
    PAUSES,
    ROOT,
    STUBBORN_WHEN_READY,
    Cli,
    environment,
    lines_of,
)
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import ExitStack

    from tests.clis import Start
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # Each test starts its own Python process.


SIGNALS = {
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    signal.SIGHUP: 129,
    signal.SIGQUIT: 131,
    signal.SIGALRM: 142,
}


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_stops_all_commands_gracefully(
    start: Start, lifeline: Lifeline, number: signal.Signals
) -> None:
    """On a signal, currant stops all commands, shows late output and dies of the signal."""
    tidy = f"trap 'echo bye; exit 3' TERM; trap 'echo wrong' INT HUP; echo ready; {TRAPS_SIGNALS}"
    cli = start("-n", "a,b", *[f"{lifeline.hold(name)}; {tidy}" for name in "ab"])
    cli.read_until(b"a | ready\n", b"b | ready\n")
    cli.signal(number)
    status, out, err = cli.end()
    assert lifeline.ended() == {"a", "b"}
    assert (status, err) == (SIGNALS[number], b"")
    assert cli.process.returncode == -number
    assert sorted(out.splitlines()[2:]) == [b"a | bye", b"b | bye"]


def test_status_of_a_command_is_not_the_death_of_currant(start: Start) -> None:
    """If a signal kills a command, or a command exits with 128 + n, currant exits by itself."""
    for command in ("kill -TERM $$", "exit 143"):
        cli = start("-q", command)
        assert cli.end().status == 143
        assert cli.process.returncode == 143


def test_sigquit_leaves_no_core_file(start: Start, lifeline: Lifeline, tmp_path: Path) -> None:
    """Currant dies of SIGQUIT without a core dump, even if core files are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("the hard limit of core files is 0")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        cli = start(f"{lifeline.hold('a')}; {EXEC_FOREVER}", cwd=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    lifeline.wait_for("a")
    before = set(os.listdir(tmp_path))
    cli.signal(signal.SIGQUIT)
    end = os.waitid(os.P_PID, cli.process.pid, os.WEXITED | os.WNOWAIT)
    assert end is not None
    assert (end.si_code, end.si_status) == (os.CLD_KILLED, signal.SIGQUIT)
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH])
def test_signal_without_a_meaning_for_currant_reaches_the_commands(
    start: Start, number: signal.Signals
) -> None:
    """SIGUSR1, SIGUSR2 and SIGWINCH go to all commands; currant and the commands go on."""
    heeds = f"trap 'echo got it' {number.name[3:]}; echo ready; {TRAPS_SIGNALS}"
    cli = start("-n", "a", heeds)
    cli.read_until(b"a | ready\n")
    cli.signal(number)
    cli.read_until(b"a | got it\n")
    cli.signal(signal.SIGTERM)
    assert cli.end() == (143, b"a | ready\na | got it\n", b"")


def test_program_that_handles_a_signal_survives_it(start: Start) -> None:
    """A forwarded signal does not end the shell of a program that handles the signal."""
    handles = (
        "import signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('got it', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    cli = start("-n", "a", shlex.join([sys.executable, "-c", handles]))
    cli.read_until(b"a | ready\n")
    for count in (1, 2):
        cli.signal(signal.SIGUSR1)
        cli.read_until(b"a | got it\n" * count)
    cli.signal(signal.SIGTERM)
    assert cli.end() == (143, b"a | ready\na | got it\na | got it\n", b"")


# ---- as PID 1 ----

NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")


def _start_as_init(start: Start, *arguments: str) -> tuple[Cli, int]:
    """Start currant as the first process of a PID namespace; return its PID outside, too."""
    try:
        subprocess.run([*NAMESPACE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no permission for a PID namespace: {error}")
    cli = start(*arguments, before=NAMESPACE)
    cli.read_until(b"a | ready\n")
    unshare = cli.process.pid
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text()
    return cli, int(children.split()[0])


@needs_proc
@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGUSR1])
def test_pid_1_heeds_signals(start: Start, lifeline: Lifeline, number: signal.Signals) -> None:
    """As PID 1, currant handles each signal as elsewhere, and exits with 128 + n."""
    heeds = f"trap 'echo bye; exit 3' TERM USR1; {lifeline.hold('a')}; echo ready; {TRAPS_SIGNALS}"
    cli, init = _start_as_init(start, "-q", "-n", "a", heeds)
    os.kill(init, number)
    assert cli.end() == (SIGNALS.get(number, 3), b"a | ready\na | bye\n", b"")
    assert lifeline.ended() == {"a"}


@needs_proc
def test_pid_1_reaps_orphans_and_no_exit_of_its_commands(start: Start, tmp_path: Path) -> None:
    """As PID 1, currant reaps each orphan, and does not lose the exit of a command."""
    pid = tmp_path / "pid"
    orphan = f"(sh -c 'echo $$ >\"{pid}\"' &); until [ -s '{pid}' ]; do sleep 0.01; done"
    reaped = f"while [ -e /proc/$(cat '{pid}') ]; do sleep 0.01; done; echo reaped; exit 3"
    commands = ("echo ready", f"{orphan}; {reaped}")
    cli, _ = _start_as_init(start, "-n", "a,b", *commands)
    status, out, err = cli.end()
    assert (status, err) == (3, b"currant: b: exit code 3\n")
    assert set(out.splitlines()) == {b"a | ready", b"b | reaped"}


# ---- more signals ----


def test_command_has_its_grace_after_one_signal(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """After the stop request, a command may run until its grace ends, and its output is shown."""
    slow = f"trap 'echo asked; {gate.wait}; echo done; exit' TERM; echo ready; {TRAPS_SIGNALS}"
    cli = start("-n", "a", "--grace", "60", f"{lifeline.hold('a')}; {slow}")
    cli.read_until(b"a | ready\n")
    cli.signal(signal.SIGINT)
    cli.read_until(b"a | asked\n")
    gate.open()
    assert cli.end() == (130, b"a | ready\na | asked\na | done\n", b"")
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("second", SIGNALS)
def test_second_signal_kills_all_commands_at_once(
    start: Start, lifeline: Lifeline, second: signal.Signals
) -> None:
    """A second signal ends the grace at once; the first signal sets the status."""
    stubborn = f"{lifeline.hold('a')}; trap 'echo asked' TERM; echo ready; {TRAPS_SIGNALS}"
    cli = start("-n", "a", "--grace", "9999", stubborn)
    cli.read_until(b"a | ready\n")
    cli.signal(signal.SIGTERM)
    cli.read_until(b"a | asked\n")
    cli.signal(second)
    assert cli.end() == (143, b"a | ready\na | asked\n", b"")
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("grace", ["0", "0.2"])
def test_command_is_killed_after_the_grace(start: Start, lifeline: Lifeline, grace: str) -> None:
    """A command that ignores SIGTERM is killed after --grace seconds, without a second signal."""
    cli = start("-n", "a", "--grace", grace, f"{lifeline.hold('a')}; {STUBBORN_WHEN_READY}")
    cli.read_until(b"a | ready\n")
    cli.signal(signal.SIGTERM)
    assert cli.end() == (143, b"a | ready\n", b"")
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("then", ["exit", "true"])
def test_two_signals_end_currant_with_unread_output(
    start: Start, lifeline: Lifeline, then: str
) -> None:
    """Two signals end currant even if the reader (a pager, a stopped process) does not read."""
    listens = f"trap '{lifeline.say('asked')}; {then}' TERM; {lifeline.say('done')}"
    write = f"{lifeline.hold('begun')}; seq {BUFFERED}; {listens}; while :; do sleep 0.01; done"
    cli = start("-n", "a", "--grace", "9999", write)
    lifeline.wait_for("done")
    cli.signal(signal.SIGTERM)
    lifeline.wait_for("asked")
    cli.signal(signal.SIGINT)
    assert cli.wait() == 143
    assert lifeline.ended() == {"begun", "done", "asked"}


def test_two_simultaneous_signals_count_as_one(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """A second simultaneous signal, as from `timeout`, or npm and the terminal, keeps the grace."""
    slow = f"trap 'echo asked; {gate.wait}; echo done; exit' TERM; echo ready; {TRAPS_SIGNALS}"
    cli = start("-n", "a", "--grace", "9999", f"{lifeline.hold('a')}; {slow}")
    cli.read_until(b"a | ready\n")
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        cli.signal(number)  # Both signals arrive when currant continues.
    cli.read_until(b"a | asked\n")
    gate.open()
    status, out, err = cli.end()
    assert status in (130, 143)  # The system may deliver either signal first.
    assert (out, err) == (b"a | ready\na | asked\na | done\n", b"")
    assert lifeline.ended() == {"a"}


def test_ignored_signal_stays_ignored(
    processes_of_currant: ExitStack, lifeline: Lifeline, gate: Gate
) -> None:
    """A signal that was ignored when currant started, as under ``nohup``, does not stop currant."""
    commands = (f"{lifeline.hold('a')}; {EXEC_FOREVER}", f"{gate.wait}; {lifeline.hold('b')}")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *CURRANT, "run", "-n", "a,b", *commands],
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
    )
    cli = processes_of_currant.enter_context(Cli(process, {}))
    lifeline.wait_for("a")
    cli.signal(signal.SIGHUP)
    gate.open()
    lifeline.wait_for("b")
    cli.signal(signal.SIGTERM)
    assert cli.wait() == 143
    assert lifeline.ended() == {"a", "b"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_that_the_starter_of_currant_blocks_is_heeded(
    start: Start, lifeline: Lifeline, number: signal.Signals
) -> None:
    """A program with a signalfd blocks signals, and currant inherits its mask."""
    block = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    before = (sys.executable, "-c", block)
    cli = start("-n", "a", f"{lifeline.hold('a')}; {EXEC_FOREVER}", before=before)
    lifeline.wait_for("a")
    cli.signal(number)
    assert cli.end().status == SIGNALS[number]
    assert lifeline.ended() == {"a"}


def test_ctrl_c_raises_no_exception_beside_a_run() -> None:
    """An exception would be a traceback if it came twice, or inside of a library."""
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _restore_signals()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL

        async def receive() -> None:
            with _signals.receive_signals([signal.SIGINT]):
                assert signal.getsignal(signal.SIGINT) != signal.SIG_DFL

        anyio.run(receive)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        with _signals.raising_interrupts():
            assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


# ---- pause and resume ----


@needs_proc
def test_sigtstp_pauses_the_commands_and_sigcont_resumes_them(start: Start) -> None:
    """SIGTSTP stops even a command that ignores SIGTSTP; all commands resume with currant."""
    deaf = "trap '' TSTP; echo $$; exec sleep 9999"
    cli = start("-n", "a,b", PAUSES, deaf, before=NO_TERMINAL)
    cli.read_until(b"a | ", b"b | ")
    cli.signal(signal.SIGTSTP)
    _, status = os.waitpid(cli.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    cli.read_until(b"\n")
    for name in ("a", "b"):
        (number,) = lines_of(name, cli.written("stdout"))
        _wait_for_state(int(number), "T")
    cli.signal(signal.SIGCONT)
    cli.read_until(b"a | resumed\n")
    cli.signal(signal.SIGTERM)
    assert cli.end().status == 143


def _wait_for_state(pid: int, state: str) -> None:
    """Poll until a process is in `state`, because no event reports that the process has stopped."""
    deadline = time.monotonic() + LIMIT
    path = f"/proc/{pid}/stat"
    while (now := Path(path).read_text().rpartition(")")[2].split()[0]) != state:
        assert time.monotonic() < deadline, f"{pid} is in state {now}"


@pytest.mark.anyio
async def test_sigtstp_reaches_the_commands_before_sigstop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands get SIGTSTP, which a command may handle, then SIGSTOP; currant stops last."""
    launcher = FakeLauncher({"a": Script(exit=None)})
    sent: list[tuple[int, int, list[int]]] = []
    monkeypatch.setattr(_signals, "_has_terminal", lambda: False)
    monkeypatch.setattr(
        os, "kill", lambda pid, number: sent.append((pid, number, [*launcher["a"].signals]))
    )

    async def pause_then_resume() -> AsyncIterator[signal.Signals]:
        yield signal.SIGTSTP
        yield signal.SIGCONT

    async with Runner(["a"], launcher=launcher) as runner:
        await runner["a"].until_started()
        began = anyio.current_time()
        await pause_and_resume(runner, pause_then_resume())
        assert anyio.current_time() - began > _run.PAUSE_GRACE / 2  # Clocks are coarse.
        assert launcher["a"].signals == [signal.SIGTSTP, signal.SIGSTOP, signal.SIGCONT]
        runner.kill()
    assert sent == [(os.getpid(), signal.SIGSTOP, [signal.SIGTSTP, signal.SIGSTOP])]


@pytest.mark.anyio
@pytest.mark.parametrize("answers", [True, False])
async def test_launcher_of_hosts_is_held_before_a_pause(
    monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    """Its commands go on although currant is silent; a host that is dead prevents no pause."""
    done: list[str] = []

    class Holding(FakeLauncher):
        async def hold(self) -> None:
            done.append(f"hold after {len(self['a'].signals)} signals")
            if not answers:
                await anyio.sleep_forever()

    async def pause_then_resume() -> AsyncIterator[signal.Signals]:
        yield signal.SIGTSTP
        yield signal.SIGCONT

    monkeypatch.setattr(_run, "HOLD_LIMIT", 0.1)
    monkeypatch.setattr(_run, "pause_this_process", lambda: done.append("pause"))
    async with Runner(["a"], launcher=Holding(default=Script(exit=None))) as runner:
        await runner["a"].until_started()
        await pause_and_resume(runner, pause_then_resume())
        runner.kill()
    assert done == ["hold after 2 signals", "pause"]


def test_signal_ends_a_paused_command(start: Start, lifeline: Lifeline) -> None:
    """SIGTERM and then SIGCONT, as from a shell that ends a stopped job, end a paused command."""
    cli = start("-n", "a", f"{lifeline.hold('a')}; {EXEC_FOREVER}", before=NO_TERMINAL)
    lifeline.wait_for("a")
    cli.signal(signal.SIGTSTP)
    os.waitpid(cli.process.pid, os.WUNTRACED)
    cli.signal(signal.SIGTERM)
    cli.signal(signal.SIGCONT)
    assert cli.end().status == 143
    assert lifeline.ended() == {"a"}


# ---- no process is left ----


TREE = """
sh -c 'trap "" TERM; {child}; sleep 9999 & {grandchild}; : >"{up}"; wait' 2>/dev/null &
: <"{up}"
echo ready
{gate}
echo more
{then}
"""
"""A command with a child and a grandchild that ignore SIGTERM."""


def _open_gate(cli: Cli, gate: Gate) -> None:
    gate.open()


def _interrupt(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGINT)


def _interrupt_twice(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGINT)
    cli.read_until(b"b | asked\n")
    cli.signal(signal.SIGINT)


def _terminate(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGTERM)


def _hang_up(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGHUP)


def _close_stdout(cli: Cli, gate: Gate) -> None:
    cli.close()
    gate.open()


def _close_stderr(cli: Cli, gate: Gate) -> None:
    cli.close("stderr")
    gate.open()


class Way(NamedTuple):
    """A way in which currant ends.

    Attributes:
        end: the action that ends currant, called when all commands run.
        status: the expected exit status.
        options: command-line options for currant.
        then: shell code that the command with the tree runs after the gate opens.
        other: shell code of a second command; if ``GATE`` is in the code, the second command
            waits at the gate and the first does not.
    """

    end: Callable[[Cli, Gate], None]
    status: int
    options: tuple[str, ...] = ("--grace", "0.2")
    then: str = EXEC_FOREVER
    other: str = "echo ready; exec sleep 9999"


WAYS = {
    "the leader exits": Way(_open_gate, 3, then="exit 3", other="echo ready"),
    "another command fails": Way(
        _open_gate, 5, ("--grace", "0.2", "-k", "failure"), other="echo ready; GATE; exit 5"
    ),
    "restart and SIGTERM": Way(_terminate, 143, ("--grace", "0.2", "--restart", "always")),
    "SIGINT": Way(_interrupt, 130),
    "SIGTERM": Way(_terminate, 143),
    "SIGHUP": Way(_hang_up, 129),
    "two signals": Way(
        _interrupt_twice,
        130,
        ("--grace", "9999"),
        other=f"trap 'echo asked' TERM; echo ready; {TRAPS_SIGNALS}",
    ),
    "stdout is closed": Way(_close_stdout, 141),
    "stderr is closed": Way(_close_stderr, 141, then=f"echo more >&2; {EXEC_FOREVER}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_neither_child_nor_grandchild_outlives_currant(
    start: Start, lifeline: Lifeline, gate: Gate, tmp_path: Path, way: str
) -> None:
    """For each way in which currant ends, all processes of its commands end before currant."""
    end, status, options, then, other = WAYS[way]
    os.mkfifo(tmp_path / "up")
    tree = TREE.format(
        child=lifeline.hold("child").replace("'", ""),
        grandchild=lifeline.say("grandchild"),
        up=tmp_path / "up",
        gate=":" if "GATE" in other else gate.wait,
        then=then,
    )
    commands = (f"{lifeline.hold('leader')}; {tree}", other.replace("GATE", gate.wait))
    cli = start("-n", "a,b", *options, *commands)
    cli.read_until(b"a | ready\n", b"b | ready\n")
    end(cli, gate)
    assert cli.end().status == status
    assert lifeline.ended() == {"leader", "child", "grandchild"}
