"""Test `currant run` on a terminal: keys, a closed window, colours, the progress line, tmux."""

from __future__ import annotations

import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.clis import (
    COLOR,
    CURRANT,
    PAUSES,
    plain,
    type_on,
)
from tests.tmux import Tmux
from tests.waiting import EXEC_FOREVER, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clis import Start
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # Each test starts its own Python process.


def test_ctrl_c_stops_a_command_gracefully(on_terminal: Start, lifeline: Lifeline) -> None:
    """Ctrl-C reaches only currant, which sends SIGTERM to its commands; the status is 130."""
    tidy = f"trap 'echo wrong' INT; trap 'echo bye; exit 3' TERM; echo ready; {TRAPS_SIGNALS}"
    cli = on_terminal("-n", "a", f"{lifeline.hold('a')}; {tidy}")
    cli.read_until(b"ready\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert lifeline.ended() == {"a"}
    assert plain(ended.out).replace(b"^C\n", b"") == b"a | ready\na | bye\n"


def test_second_ctrl_c_kills_a_command_at_once(on_terminal: Start, lifeline: Lifeline) -> None:
    """A second Ctrl-C kills a command that ignores SIGTERM, even if the grace is long."""
    stubborn = f"{lifeline.hold('a')}; trap 'echo asked' TERM; echo ready; {TRAPS_SIGNALS}"
    cli = on_terminal("-n", "a", "--grace", "9999", stubborn)
    cli.read_until(b"ready\r\n")
    type_on(cli, b"\x03")
    cli.read_until(b"asked\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert lifeline.ended() == {"a"}
    assert b"Traceback" not in ended.out


def test_ctrl_c_ends_the_loop_of_a_shell(
    on_terminal: Start, lifeline: Lifeline, tmp_path: Path
) -> None:
    """In a loop of a bash script, Ctrl-C ends currant and the loop, not only this turn."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = tmp_path / "loop"
    script.write_text('for i in 1 2 3; do "$@"; echo "after $i"; done; echo "still here"\n')
    command = f"{lifeline.hold('a')}; echo ready; {EXEC_FOREVER}"
    cli = on_terminal("-n", "a", command, before=(bash, str(script)))
    cli.read_until(b"ready\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert cli.process.returncode == -signal.SIGINT
    assert lifeline.ended() == {"a"}
    assert plain(ended.out).replace(b"^C\n", b"") == b"a | ready\n"


def test_ctrl_z_does_not_freeze_a_terminal_without_a_shell(
    on_terminal: Start, lifeline: Lifeline
) -> None:
    """Where no shell could continue currant, the commands continue, and Ctrl-C works."""
    cli = on_terminal("-n", "a", f"{lifeline.hold('a')}; {PAUSES}")
    cli.read_until(b"a | ")
    type_on(cli, b"\x1a")
    cli.read_until(b"resumed\r\n")
    type_on(cli, b"\x03")
    assert cli.end().status == 130
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("command", [EXEC_FOREVER, "while :; do echo line; done"])
def test_closed_terminal_stops_all_commands(
    on_terminal: Start, lifeline: Lifeline, command: str
) -> None:
    """A closed window sends SIGHUP to currant, and currant leaves no process."""
    cli = on_terminal("-n", "a", f"{lifeline.hold('a')}; echo ready; {command}")
    cli.read_until(b"ready\r\n")
    cli.close()
    # A write to the terminal may fail before the signal arrives.
    assert cli.wait() in ((129,) if command == EXEC_FOREVER else (129, 1))
    assert lifeline.ended() == {"a"}


def test_command_cannot_read_the_terminal(on_terminal: Start) -> None:
    """Commands have no terminal: a read from /dev/tty fails at once and suspends no process."""
    command = "(: </dev/tty) 2>/dev/null || echo no terminal"
    status, out, _ = on_terminal("-n", "a", command).end()
    assert (status, plain(out)) == (0, b"a | no terminal\n")


def test_prefixes_are_coloured_on_a_terminal(on_terminal: Start) -> None:
    """Each command's prefix has its own colour; the text of the line is not coloured."""
    ended = on_terminal("-q", "-m", "1", "-n", "a,b", "echo 1; echo 2", "echo 3; echo 4 >&2").end()
    colors = {name: color for color, name in COLOR.findall(ended.out)}
    assert set(colors) == {b"a | ", b"b | "}
    assert colors[b"a | "] != colors[b"b | "]
    assert len(COLOR.findall(ended.out)) == 4
    lines = plain(ended.out).splitlines()
    assert lines[:2] == [b"a | 1", b"a | 2"]
    assert sorted(lines[2:]) == [b"b | 3", b"b | 4"]  # Two pipes: either order is correct.


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "false"}, False),
        ({"CLICOLOR": "0"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_variables_control_colours_on_a_terminal(
    on_terminal: Start, env: dict[str, str], *, colored: bool
) -> None:
    """NO_COLOR, FORCE_COLOR=0, CLICOLOR=0 and TERM=dumb turn colours off, if they are not empty."""
    ended = on_terminal("-n", "a", "echo hi; echo err >&2", env=env).end()
    assert (b"\x1b" in ended.out) is colored
    assert sorted(plain(ended.out).splitlines()) == [b"a | err", b"a | hi"]


def test_only_a_stream_on_a_terminal_is_coloured(on_terminal: Start, tmp_path: Path) -> None:
    """With ``currant run … >log``, the terminal has colours and the log has none."""
    with open(tmp_path / "log", "wb") as log:
        cli = on_terminal("-n", "a", "echo hi; echo err >&2", stdout=log.fileno())
        on_screen = cli.end().out
    assert (tmp_path / "log").read_bytes() == b"a | hi\n"
    assert COLOR.match(on_screen)
    assert plain(on_screen) == b"a | err\n"


def test_summary_is_shown_after_ctrl_c(on_terminal: Start, gate: Gate) -> None:
    """On a terminal, the summary after Ctrl-C has status colours and follows all output."""
    cli = on_terminal("-n", "a", "--summary", f"echo ready; {gate.wait}")
    cli.read_until(b"ready")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert re.search(rb"\x1b\[33mstopped", ended.out)
    assert plain(ended.out).splitlines()[-1].split()[:3] == [b"a", b"stopped", b"stopped"]


def test_progress_line_is_shown_for_queued_commands(on_terminal: Start, gate: Gate) -> None:
    """If commands wait for a free slot, a progress line is shown, and cleared at the end."""
    commands = ("echo 1", f"{gate.wait}; exit 3")
    cli = on_terminal("-m", "1", "--color", "never", "-n", "a,b", *commands)
    cli.read_until(b"currant: 1/2 done, 1 running, 0 failed")
    gate.open()
    out = cli.end().out
    assert b"currant: 2/2 done, 0 running, 1 failed\r\r\x1b[J" in out
    short = on_terminal("-m", "2", "-n", "a,b", "echo 1", "exit 3").end().out
    assert b"done" not in short


@pytest.mark.parametrize(
    ("options", "env", "shown"),
    [
        ([], {}, b"1"),
        ([], {"NO_COLOR": "1"}, b""),
        ([], {"FORCE_COLOR": "3"}, b"3"),
        ([], {"FORCE_COLOR": "0"}, b"0"),
        ([], {"TERM": "dumb"}, b""),
        ([], {"CLICOLOR": "0"}, b""),
        (["--color", "always"], {"TERM": "dumb"}, b"1"),
        (["--color", "always"], {"NO_COLOR": "1"}, b""),
        (["--color", "never"], {}, b""),
        (["--json"], {}, b""),
    ],
)
def test_commands_get_force_color_on_a_terminal(
    on_terminal: Start, options: list[str], env: dict[str, str], shown: bytes
) -> None:
    """On a terminal, commands get FORCE_COLOR unless an option or a variable turns colours off."""
    out = on_terminal("-n", "a", *options, "echo is=$FORCE_COLOR.", env=env).end().out
    assert b"is=%s." % shown in out


def test_dumb_terminal_gets_no_progress_line(on_terminal: Start) -> None:
    """A terminal that cannot move the cursor gets whole lines only."""
    commands = ("echo 1", "printf '1%%\\r2%%\\r'; exit 3")
    cli = on_terminal("-m", "1", "-n", "a,b", *commands, env={"TERM": "dumb"})
    out = cli.end().out
    assert out == b"a | 1\r\nb | 1%\r\nb | 2%\r\ncurrant: b: exit code 3\r\n"


def test_log_files_have_no_colours_unless_asked_for(on_terminal: Start, tmp_path: Path) -> None:
    """On a terminal commands write colours, which --log-dir leaves out without --color always."""
    logs = {"auto": b"is=1 red\n", "always": b"\x1b[31mis=1 red\x1b[0m\n"}
    for color, log in logs.items():
        folder = tmp_path / color
        options = ("-n", "a", "--color", color, "--log-dir", str(folder))
        shown = on_terminal(*options, r"printf '\033[31mis=%s red\033[0m\n' $FORCE_COLOR").end().out
        assert b"\x1b[31mis=1 red\x1b[0m" in shown
        assert (folder / "a.log").read_bytes() == log


@pytest.mark.parametrize(
    ("options", "env", "columns"),
    [
        ([], {}, 80 - len("a      | ")),
        (["-p", "[{name} {stream}] "], {}, 80 - len("[a      stdout] ")),
        (["--timestamps"], {}, 80 - len("12:00:00 a      | ")),
        (["--raw"], {}, 80),
        (["--json"], {}, None),
        ([], {"COLUMNS": "123"}, 123),
    ],
)
def test_commands_get_the_columns_beside_the_prefix(
    on_terminal: Start, options: list[str], env: dict[str, str], columns: int | None
) -> None:
    """On a terminal, COLUMNS is the width that the prefix leaves, unless the variable is set."""
    cli = on_terminal("-n", "a,longer", *options, "echo is=$COLUMNS.", "true", env=env, columns=80)
    assert b"is=%s." % (b"" if columns is None else b"%d" % columns) in cli.end().out


def test_commands_get_no_columns_without_a_terminal(start: Start) -> None:
    """If the output goes to a pipe, COLUMNS is not set."""
    assert start("-n", "a", "echo is=$COLUMNS.").end().out == b"a | is=.\n"


# ---- in tmux ----


@pytest.fixture
def tmux(lifeline: Lifeline) -> Iterator[Tmux]:
    """Start a tmux shell with currant in ``$currant`` and commands in ``$web`` and so on."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: apt-get install tmux, or brew install tmux")
    saves = f"trap 'echo saved; exit 0' TERM; echo up >&2; {TRAPS_SIGNALS}"
    tmux = Tmux(
        {
            "currant": " ".join(CURRANT),
            "web": f"{lifeline.hold('web')}; echo listening; {EXEC_FOREVER}",
            "tick": f"{lifeline.hold('tick')}; seq 3; {EXEC_FOREVER}",
            "db": f"{lifeline.hold('db')}; {saves}",
            "pause": f"{lifeline.hold('pause')}; {PAUSES}",
        }
    )
    try:
        yield tmux
    finally:
        tmux.close()


RUN_THREE = '$currant run --no-keys --names web,tick,db "$web" "$tick" "$db"'
SHOW_STATUS = 'echo "status=$?"'
"""A line of its own: the shell drops the rest of a line in which a program dies of SIGINT."""
SHOWN = ("^web  \\| listening$", *(f"^tick \\| {n}$" for n in "123"), "^db   \\| up$")


def test_three_commands_run_in_a_tmux_window(tmux: Tmux, lifeline: Lifeline) -> None:
    """The screen shows each line with its prefix; Ctrl-C brings back the prompt with status 130."""
    tmux.wait_for(r"prompt>\s*$")
    tmux.type(RUN_THREE)
    tmux.wait_for(*SHOWN)
    tmux("send-keys", "C-c")
    tmux.wait_for(r"^db   \| saved$|\^Cdb   \| saved$", r"^prompt>\s*\Z")
    tmux.type(SHOW_STATUS)
    screen = tmux.wait_for(r"^status=130$", r"^db   \| saved$|\^Cdb   \| saved$", r"^prompt>\s*\Z")
    assert lifeline.ended() == {"web", "tick", "db"}
    assert "Traceback" not in screen
    assert "\x1b[" in tmux("capture-pane", "-p", "-e")


def test_ctrl_z_pauses_and_fg_resumes_in_a_tmux_window(tmux: Tmux, lifeline: Lifeline) -> None:
    """Ctrl-Z stops the commands and brings back the prompt; fg resumes currant and its commands."""
    tmux.wait_for(r"prompt>\s*$")
    tmux.type('$currant run --no-keys -n a "$pause"; echo "status=$?"')
    tmux.wait_for(r"^a \| \d+$")
    tmux("send-keys", "C-z")
    tmux.wait_for(r"Stopped", r"^prompt>\s*\Z")
    tmux.type("fg")
    tmux.wait_for(r"^a \| resumed$")
    tmux("send-keys", "C-c")
    tmux.wait_for(r"^prompt>\s*\Z")
    tmux.type(SHOW_STATUS)
    tmux.wait_for(r"status=130$", r"^prompt>\s*\Z")
    assert lifeline.ended() == {"pause"}


def test_closed_tmux_window_leaves_no_process(tmux: Tmux, lifeline: Lifeline) -> None:
    """If a tmux window closes, all commands that run in the window end."""
    tmux.wait_for(r"prompt>\s*$")
    tmux.type(RUN_THREE)
    tmux.wait_for(*SHOWN)
    tmux("new-window", "exec sh")
    tmux("kill-window", "-t", "0")
    assert lifeline.wait_for_end() == {"web", "tick", "db"}
