"""Test `currant run` with a person at the terminal: keys, the status line, `-i` and `--pty`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from tests.clis import CURRANT, ROOT, STUBBORN_WHEN_READY, environment, plain, type_on
from tests.tmux import Tmux
from tests.waiting import EXEC_FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clis import Cli, Start
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.slow  # Each test starts its own Python process.

CRASHES_AT_SIGUSR1 = """
import selectors, signal, sys
from currant.cli import _run, main

SELECT = selectors.DefaultSelector.select

def crash(*_):
    selectors.DefaultSelector.select = SELECT
    1 / 0

def crash_soon(*_):
    # Not here: asyncio goes on if a signal handler that runs in a callback raises an error.
    selectors.DefaultSelector.select = crash

signal.signal(signal.SIGUSR1, crash_soon)
_run.FORWARDED_SIGNALS = ()
sys.argv = ["currant", *sys.argv[4:]]
main()
"""

PERSON = {"CI": ""}
"""The environment of a person, not of a program that runs currant."""

KEYS_OFF = termios.ECHO | termios.ICANON
"""The modes of a terminal that shows keys, and passes lines on."""


def modes_of(cli: Cli) -> int:
    """Return those of `KEYS_OFF` that the terminal of `cli` has."""
    modes = termios.tcgetattr(cli._open["stdout"])[3]
    assert isinstance(modes, int)
    return modes & KEYS_OFF


def test_keys_restart_select_explain_and_quit(
    on_terminal: Start, lifeline: Lifeline, tmp_path: Path
) -> None:
    """The status line is below the output, the answers are above it, and nothing else changes."""
    count = "if test -e first; then echo second; else >first; echo first; fi"
    web = f"{lifeline.hold('web')}; {count}; {EXEC_FOREVER}"
    words = ("-n", "web,db", "--color", "never", web, "exit 3")
    cli = on_terminal(*words, env=PERSON, columns=80, cwd=tmp_path)
    cli.read_until(b"web | first\r\n", b"currant: 1 failed (db), 1 running | ? for help\r")
    assert modes_of(cli) == 0
    type_on(cli, b"?")
    cli.read_until(b"r  restart a command\r\n")
    type_on(cli, b"l")
    cli.read_until(b": db: exit code 3\r\n", b"currant: the last failure, at ")
    type_on(cli, b"rw")
    cli.read_until(b"currant: restart: w_  web\r")
    type_on(cli, b"\r")
    cli.read_until(b"currant: web: restarting in 0.0 s\r\n", b"web | second\r\n")
    type_on(cli, b"sdb\r")
    cli.read_until(b"[only db] | ? for help\r")
    type_on(cli, b"s\rfdown\r")
    cli.read_until(b"[filter: down]")
    type_on(cli, b"rnobody\r")
    cli.read_until(b"there is no command 'nobody'\r\n")
    type_on(cli, b"q")
    ended = cli.end()
    assert ended.status == 3  # of db
    assert lifeline.ended() == {"web"}
    assert ended.out.endswith(b"\r\x1b[J")
    assert b"\x1b[?1049h" not in ended.out  # no alternate screen


def test_status_line_says_what_a_stop_waits_for(on_terminal: Start) -> None:
    """Without a word, a command that does not stop looks as if currant ignored Ctrl-C."""
    words = ("-n", "db", "--grace", "9999", STUBBORN_WHEN_READY)
    cli = on_terminal(*words, env=PERSON, columns=80)
    cli.read_until(b"ready\r\n", b"running")
    type_on(cli, b"\x03")
    cli.read_until(b"currant: stopping: 1 running (db) | q or Ctrl-C kills\r")
    type_on(cli, b"r")
    cli.read_until(b"cannot restart db: it has ended meanwhile, or is being stopped\r\n")
    type_on(cli, b"q")
    assert cli.end().status == 128 + signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_modes_of_the_terminal_come_back(on_terminal: Start, number: int) -> None:
    """However currant ends."""
    cli = on_terminal("-n", "a", f"echo up; {EXEC_FOREVER}", env=PERSON)
    cli.read_until(b"running")
    assert modes_of(cli) == 0
    if number == signal.SIGINT:
        type_on(cli, b"\x03")
    else:
        cli.signal(number)
    cli.read_until(b"\x1b[J")
    assert cli.wait() == 128 + number
    assert modes_of(cli) == KEYS_OFF
    cli.end()


def test_the_modes_come_back_after_a_crash(on_terminal: Start) -> None:
    """An error that nobody expects passes the code that restores them."""
    # The program runs this in place of `python -m currant`.
    before = (CURRANT[0], "-c", CRASHES_AT_SIGUSR1)
    cli = on_terminal("-n", "a", f"echo up; {EXEC_FOREVER}", env=PERSON, before=before)
    cli.read_until(b"running")
    assert modes_of(cli) == 0
    cli.signal(signal.SIGUSR1)
    cli.read_until(b"ZeroDivisionError")
    cli.wait()
    assert modes_of(cli) == KEYS_OFF
    cli.end()


@pytest.mark.parametrize(
    ("options", "env"),
    [(["--no-keys"], PERSON), ([], {"CI": "true"}), ([], {"CI": "", "TERM": "dumb"})],
)
def test_programs_get_plain_lines(
    on_terminal: Start, options: list[str], env: dict[str, str]
) -> None:
    """Without keys the modes of the terminal stay, and only the output is written."""
    cli = on_terminal(*options, "-n", "a", "--color", "never", "echo up; read _", env=env)
    cli.read_until(b"up")
    assert modes_of(cli) == KEYS_OFF
    type_on(cli, b"?")
    type_on(cli, b"\x03")
    assert plain(cli.end().out).replace(b"?", b"").replace(b"^C\n", b"") == b"a | up\n"


@pytest.mark.parametrize("env", [{"CI": "true"}, {"CI": "", "AGENT": "1"}])
def test_ci_and_agents_get_no_control_sequences(on_terminal: Start, env: dict[str, str]) -> None:
    """No line is below the output, nothing has a colour, and commands do not force theirs."""
    colored = "printf '\\033[31mred\\033[0m 1%%\\r2%%\\n'"
    cli = on_terminal("-m", "1", "-n", "a,b", colored, "echo $FORCE_COLOR.; exit 3", env=env)
    lines = [b"a | red 1%", b"a | 2%", b"b | .", b"currant: b: exit code 3"]
    assert cli.end().out == b"".join(line + b"\r\n" for line in lines)


def test_keys_option_wins_over_ci(on_terminal: Start) -> None:
    """A person who asks for them gets the status line, too."""
    cli = on_terminal("--keys", "-n", "a", EXEC_FOREVER, env={"CI": "true"}, columns=80)
    cli.read_until(b"currant: 1 running | ? for help\r")
    type_on(cli, b"q")
    assert cli.end().out.endswith(b"\r\x1b[J")


def test_output_after_ctrl_c_begins_on_a_line_of_its_own(on_terminal: Start) -> None:
    """A terminal without keys shows ``^C`` at the end of the line."""
    script = f"trap 'echo no' TERM; echo up; {TRAPS_SIGNALS}"
    words = ("-n", "a", "--grace", "9999", "--color", "never", script)
    cli = on_terminal(*words)
    cli.read_until(b"up")
    type_on(cli, b"\x03")
    cli.read_until(b"no")
    type_on(cli, b"\x03")
    shown = cli.end().out.replace(b"a | Terminated\r\n", b"")
    assert shown.startswith(b"a | up\r\n^C\r\na | no\r\n")


def test_progress_line_replaces_the_echo_of_ctrl_c(on_terminal: Start) -> None:
    """A line of its own would leave an empty line behind."""
    cli = on_terminal("--max-processes", "1", f"echo up; {EXEC_FOREVER}", "true")
    cli.read_until(b"up", b"0/2 done, 1 running, 0 failed")
    type_on(cli, b"\x03")
    assert cli.end().out.count(b"\n") == 1  # after "up"


# ---- the input of one command ----


@pytest.mark.parametrize("by_file", [True, False])
def test_a_pipe_or_a_file_is_the_input_of_a_command(*, by_file: bool) -> None:
    """`-i` passes all of it on, and its end."""
    words = [*CURRANT, "run", "-n", "a,b", "-i", "a", "cat; echo end", "true"]
    text = b"1\n2\n" * 10_000
    if by_file:
        with open(ROOT / "pyproject.toml", "rb") as file:
            text = file.read()
            file.seek(0)
            done = subprocess.run(
                words, stdin=file, env=environment(), capture_output=True, timeout=LIMIT, check=True
            )
    else:
        done = subprocess.run(
            words, input=text, env=environment(), capture_output=True, timeout=LIMIT, check=True
        )
    shown = b"".join(b"a | " + line + b"\n" for line in text.splitlines())
    assert done.stdout == shown + b"a | end\n"


def test_a_command_gets_what_is_typed(on_terminal: Start) -> None:
    """Without a terminal of its own, it gets lines; currant goes on when it has ended."""
    script = "while read line; do echo got $line; done; echo end"
    cli = on_terminal("-n", "a,b", "-i", "a", script, f"echo up; {EXEC_FOREVER}", env=PERSON)
    cli.read_until(b"up")
    assert modes_of(cli) == KEYS_OFF
    type_on(cli, b"rs\n")
    cli.read_until(b"got rs\r\n")
    type_on(cli, b"\x04")
    cli.read_until(b"end\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert b"? for help" not in ended.out


def test_a_command_with_a_terminal_gets_each_key(on_terminal: Start) -> None:
    """Its output is as written, other commands keep their label, and sizes follow."""
    ask = "stty size; trap 'echo size $(stty size)' WINCH; printf 'name? '; read n; echo hi $n; "
    wait = "while :; do sleep 0.01; done"
    cli = on_terminal(
        *("-n", "a,other", "-i", "a", "--pty", "--color", "never"),
        ask + wait,
        f"stty size; echo up; {EXEC_FOREVER}",
        env=PERSON,
        columns=80,
    )
    cli.read_until(b"name? ", b"other | up\r\n")
    assert modes_of(cli) == 0
    type_on(cli, b"me\x7f\x7fyou\r")
    cli.read_until(b"hi you\r")
    assert b"other | 24 72\r\n" in cli.written("stdout")
    assert b"\n24 80\r" in b"\n" + cli.written("stdout")
    termios.tcsetwinsize(cli._open["stdout"], (30, 90))
    cli.read_until(b"size 30 90\r")
    type_on(cli, b"\x03")
    assert cli.wait() == 130
    assert modes_of(cli) == KEYS_OFF
    cli.end()


def test_replica_gets_what_is_typed(on_terminal: Start, tmp_path: Path, runtime: Path) -> None:
    """By its own name; the common name stands for several commands, and is refused."""
    text = '[commands.web]\ncommand = "while read line; do echo got $line; done"\nreplicas = 2\n'
    (tmp_path / "currant.toml").write_text(text)
    cli = on_terminal("-i", "web", subcommand="start", env=PERSON, cwd=tmp_path)
    assert b"name one command: web.1, web.2" in cli.end().out
    cli = on_terminal("-i", "web.2", subcommand="start", env=PERSON, cwd=tmp_path)
    cli.read_until(b"web.2 started")
    type_on(cli, b"rs\n")
    cli.read_until(b"got rs\r\n")
    type_on(cli, b"\x03")
    out = plain(cli.end().out)
    assert b"web.2 | got rs" in out
    assert list(runtime.iterdir()) == []


def test_an_unknown_command_cannot_have_the_input() -> None:
    """The names are listed, and nothing starts."""
    words = [*CURRANT, "run", "-n", "web,db", "echo 1", "echo 2", "-i"]
    for name, problem in (("wep", b"did you mean 'web'"), ("", b"name one command: web, db")):
        done = subprocess.run(
            [*words, name], env=environment(), capture_output=True, timeout=LIMIT, check=False
        )
        assert (done.returncode, done.stdout) == (2, b"")
        assert problem in done.stderr


# ---- in tmux ----


@pytest.fixture
def tmux(lifeline: Lifeline, gate: Gate) -> Iterator[Tmux]:
    """Start tmux with a shell of 80 columns; currant is in ``$currant``, a command in ``$web``."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: apt-get install tmux, or brew install tmux")
    web = f"{lifeline.hold('web')}; echo one; {gate.wait}; echo two; {EXEC_FOREVER}"
    tmux = Tmux({"currant": " ".join(CURRANT), "web": web})
    try:
        tmux("resize-window", "-x", "80", "-y", "24")
        yield tmux
    finally:
        tmux.close()


def test_keys_leave_the_terminal_to_the_shell_in_the_background(
    tmux: Tmux, lifeline: Lifeline, gate: Gate
) -> None:
    """With ``&`` and after Ctrl-Z the shell has the terminal; after ``fg`` the keys work."""
    status = r"^currant: 1 running \| \? for help$"
    tmux.wait_for(r"prompt>\s*$")
    tmux.type('set -m; $currant run -n web "$web" &')
    tmux.wait_for(r"web \| one$")
    tmux.type("stty -a | grep -o -E '.?(icanon|echo) '")
    screen = tmux.wait_for(r"^ icanon\s*$", r"^ echo\s*$")
    assert "for help" not in screen
    tmux.type("fg")
    tmux.wait_for(status)
    tmux("resize-window", "-x", "30", "-y", "24")
    tmux.wait_for(r"^currant: 1 running$|^currant: 1 running \| \? for help$")
    tmux("resize-window", "-x", "80", "-y", "24")
    gate.open()
    screen = tmux.wait_for(r"^web \| two$", status)
    assert screen.count("? for help") == 1
    tmux("send-keys", "?")
    tmux.wait_for(r"^q  stop all commands", status)
    tmux("send-keys", "C-z")
    tmux.wait_for(r"^prompt>\s*\Z")
    tmux.type("clear; stty -a | grep -o -E '.?(icanon|echo) '")
    screen = tmux.wait_for(r"^ icanon\s*$", r"^ echo\s*$", r"^prompt>\s*\Z")
    assert "for help" not in screen
    tmux.type("fg")
    tmux.wait_for(status)
    tmux("send-keys", "q")
    tmux.wait_for(r"^prompt>\s*\Z")
    tmux.type('echo "status=$?"')
    assert "for help" not in tmux.wait_for(r"^status=0$")
    assert lifeline.ended() == {"web"}
