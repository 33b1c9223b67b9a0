"""Test the output of `currant run`: whole lines with prefixes, in the format that the options set.

Real processes write to pipes and files, including a pipe without a reader and a full disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from anyio.lowlevel import checkpoint

from currant import Exit, Runner
from currant.cli import _run
from currant.cli._run import run_commands
from currant.testing import FakeLauncher, Script
from tests.clis import (
    BUFFERED,
    COLOR,
    CURRANT,
    ROOT,
    STUBBORN,
    Cli,
    environment,
    lines_of,
    numbers,
    plain,
)
from tests.waiting import EXEC_FOREVER, LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from tests.clis import Run, Start
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.slow  # Each test starts its own Python process.


NO_FULL_DISK = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="there is no /dev/full: Linux only"
)


def test_output_has_a_name_prefix_and_stays_on_its_stream(run: Run) -> None:
    """Each line follows ``name | ``; stdout goes to stdout and stderr goes to stderr."""
    assert run("--names", "a", "echo out; echo err >&2") == (0, b"a | out\n", b"a | err\n")


def test_names_default_to_the_program_names(run: Run) -> None:
    """Without --names, a command has its program's name, with #2 and so on if the name is taken."""
    ended = run("-m", "1", "echo 1", "/bin/echo 2", "X=3 sh -c 'echo $X'")
    assert ended == (0, b"echo   | 1\necho#2 | 2\nsh     | 3\n", b"")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-p", "none"], r"1\n2\n"),
        (["-p", "name"], r"echo   \| 1\necho#2 \| 2\n"),
        (["--prefix", "index"], r"0 \| 1\n1 \| 2\n"),
        (["-p", "pid"], r"\d+ \| 1\n\d+ \| 2\n"),
        (["-p", "time"], r"\d\d:\d\d:\d\d \| 1\n\d\d:\d\d:\d\d \| 2\n"),
        (["-p", "command"], r"echo 1     \| 1\necho\.\.#two \| 2\n"),
        (["-p", "command", "-l", "30"], r"echo 1      \| 1\necho 2 #two \| 2\n"),
        (["-p", "{index}{command}>", "--prefix-length", "4"], r"0e\.\.1>1\n1e\.\.o>2\n"),
        (["-p", "[index] "], r"\[index\] 1\n\[index\] 2\n"),
        (["--hide", "1"], r"echo \| 1\n"),
        (["--hide", "1", "-p", "command"], r"echo 1 \| 1\n"),
        (["--hide", "echo", "--raw"], r"2\n"),
        (["-n", "a,b", "--hide", "b,a"], r""),
    ],
)
def test_prefix_styles_and_hidden_commands(run: Run, options: list[str], shown: str) -> None:
    """`-p` takes the words of concurrently, and `--hide` takes names and indexes."""
    status, out, err = run("-m", "1", *options, "echo 1", "echo 2 #two")
    assert (status, err) == (0, b"")
    assert re.fullmatch(shown, out.decode())


def test_hidden_command_is_logged_and_its_failure_shown(run: Run, tmp_path: Path) -> None:
    """`--hide` leaves out the output on the console and in JSON, and nothing else."""
    options = ("-n", "a", "--hide", "a", "--log-dir", str(tmp_path))
    assert run(*options, "echo 1; exit 3") == (3, b"", b"currant: a: exit code 3\n")
    assert (tmp_path / "a.log").read_bytes() == b"1\n"
    status, out, _ = run(*options, "--json", "echo 1")
    assert (status, [json.loads(line)["type"] for line in out.splitlines()]) == (
        0,
        ["started", "exited"],
    )


def test_command_is_a_shell_command_line(run: Run) -> None:
    """The shell runs pipes, variables and lists in currant's working directory and environment."""
    ended = run("-n", "a", 'echo "$WORD" | tr a b && pwd', env={"WORD": "banana"})
    assert ended == (0, b"a | bbnbnb\na | " + os.fsencode(ROOT) + b"\n", b"")


@pytest.mark.parametrize("subcommand", ["run", "start"])
def test_stdin_of_a_command_is_open_and_silent(
    start: Start, tmp_path: Path, subcommand: str
) -> None:
    """A command that reads waits until it is stopped, and takes no other process's input."""
    script = "exec 3<&0; (cat <&3; echo end) & echo $!; wait"  # A job with & would read /dev/null.
    (tmp_path / "Procfile").write_text(f"a: {script}\n")
    words = ["-q", "--raw", *(["-n", "a", script] if subcommand == "run" else [])]
    cli = start(*words, subcommand=subcommand, cwd=tmp_path)
    cli.read_until(b"\n")
    cli.signal(signal.SIGTERM)
    assert b"end" not in cli.end().out


def test_stdin_of_a_command_may_be_null(start: Start) -> None:
    """With `--stdin null` a command that reads finds the end at once."""
    cli = start("--stdin", "null", "-n", "a", "cat; echo end")
    assert cli.end() == (0, b"a | end\n", b"")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param(r"printf 'a\nb'", b"x | a\nx | b\n", id="last line without newline"),
        pytest.param(r"printf a; printf b >&2", b"x | a\n", id="only line without newline"),
        pytest.param(r"printf 'a\r\nb\r\n'", b"x | a\nx | b\n", id="CR LF"),
        pytest.param(r"printf '1%%\r2%%\r'", b"x | 1%\nx | 2%\n", id="progress bar"),
        pytest.param(r"printf '\n\na\n'", b"x | \nx | \nx | a\n", id="empty lines"),
        pytest.param(r"printf '\377\000\303\n'", b"x | \xff\0\xc3\n", id="no text"),
        pytest.param("true", b"", id="nothing"),
    ],
)
def test_every_kind_of_line_is_shown_whole(run: Run, command: str, shown: bytes) -> None:
    """Each line gets the prefix and a newline, with any line ending; the bytes are unchanged."""
    assert run("-n", "x", command)[:2] == (0, shown)


def test_non_utf8_command_line_reaches_the_shell_unchanged(run: Run) -> None:
    """The shell receives bytes that are not valid UTF-8 unchanged."""
    assert run("-n", "x", b"echo \xff\xfe") == (0, b"x | \xff\xfe\n", b"")


def test_long_line_stays_one_line(run: Run) -> None:
    """A one-megabyte line is shown as one line if no other output interrupts it."""
    status, out, err = run("-n", "x", "head -c 1000000 /dev/zero | tr '\\0' y; echo; echo end")
    assert (status, err) == (0, b"")
    assert out == b"x | " + b"y" * 1_000_000 + b"\nx | end\n"


def test_long_lines_of_two_commands_are_not_mixed(run: Run) -> None:
    """If pieces of long lines alternate, no shown line mixes two commands and no byte is lost."""
    write = "head -c 1000000 /dev/zero | tr '\\0' "
    status, out, err = run("-n", "A,B", write + "a", write + "b")
    assert (status, err) == (0, b"")
    lines = out.splitlines()
    assert len(lines) == len(lines_of("A", out)) + len(lines_of("B", out))
    assert b"".join(lines_of("A", out)) == b"a" * 1_000_000
    assert b"".join(lines_of("B", out)) == b"b" * 1_000_000


@pytest.mark.parametrize("where", ["a pipe", "a terminal"])
@pytest.mark.parametrize(
    ("last", "shown"),
    [
        pytest.param("echo err >&2", b"b | err", id="line on stderr"),
        pytest.param("exit 3", b"currant: b: exit code 3", id="note"),
    ],
)
def test_unfinished_line_ends_before_another_stream_is_shown(
    start: Start, on_terminal: Start, gate: Gate, where: str, last: str, shown: bytes
) -> None:
    """If stdout and stderr are one file, no line is joined to an unfinished line of the other."""
    arguments = ("-n", "a,b", "printf unfinished", f"{gate.wait}; {last}")
    cli = on_terminal(*arguments) if where == "a terminal" else _with_one_pipe(start, arguments)
    cli.read_until(b"unfinished")
    gate.open()
    assert plain(cli.end().out) == b"a | unfinished\n" + shown + b"\n"


def _with_one_pipe(start: Start, arguments: Sequence[str]) -> Cli:
    """Start currant with stderr on the same pipe as stdout, as ``2>&1`` does."""
    return start(*arguments, stderr=subprocess.STDOUT)


ALTERNATING = "for n in 1 2 3 4 5; do echo out$n; echo err$n >&2; done"
IN_ORDER = b"".join(b"a | out%d\na | err%d\n" % (n, n) for n in range(1, 6))


@pytest.mark.parametrize("where", ["a pipe", "a terminal", "a file"])
@pytest.mark.parametrize("options", [(), ("--raw",), ("--group",)])
def test_streams_that_end_in_one_place_keep_their_order(
    start: Start, on_terminal: Start, tmp_path: Path, where: str, options: tuple[str, ...]
) -> None:
    """If stdout and stderr of currant are one file, a command's lines come as it wrote them."""
    arguments = (*options, "-n", "a", "--color", "never", ALTERNATING)
    if where == "a file":
        with open(tmp_path / "out", "wb") as file:
            start(*arguments, stdout=file.fileno(), stderr=file.fileno()).end()
        out = (tmp_path / "out").read_bytes()
    else:
        cli = on_terminal(*arguments) if where == "a terminal" else _with_one_pipe(start, arguments)
        out = plain(cli.end().out)
    assert out == (IN_ORDER.replace(b"a | ", b"") if "--raw" in options else IN_ORDER)


@pytest.mark.parametrize("redirection", [">/dev/tty", "2>/dev/tty"])
def test_terminal_is_one_place_under_both_of_its_names(
    on_terminal: Start, redirection: str
) -> None:
    """With ``currant run … >/dev/tty``, lines keep their order, and unfinished lines end."""
    before = ("/bin/sh", "-c", f'exec "$@" {redirection}', "sh")
    arguments = ("-n", "a", f"{ALTERNATING}; printf unfinished; exit 3")
    ended = on_terminal(*arguments, before=before).end()
    assert plain(ended.out) == IN_ORDER + b"a | unfinished\ncurrant: a: exit code 3\n"


def test_streams_stay_apart_if_they_are_told_apart(start: Start) -> None:
    """With --json, {stream} in the prefix or --no-merge, stderr stays a stream of its own."""
    out = _with_one_pipe(start, ("--json", "-n", "a", "echo err >&2")).end().out
    assert b'"stream": "stderr"' in out or b'"stream":"stderr"' in out
    assert _with_one_pipe(start, ("-p", "{stream} ", "echo err >&2")).end().out == b"stderr err\n"
    arguments = ("--no-merge", "--merge", "-p", "{stream} ", "echo err >&2")
    assert _with_one_pipe(start, arguments).end().out == b"stdout err\n"


def test_merge_option_shows_stderr_on_stdout(run: Run) -> None:
    """With --merge, stderr of commands goes to stdout, and texts of currant stay on stderr."""
    ended = run("--merge", "-n", "a", f"{ALTERNATING}; exit 3")
    assert ended == (3, IN_ORDER, b"currant: a: exit code 3\n")


# ---- no byte is lost ----


@pytest.mark.parametrize("where", ["a file", "a pipe", "a slow pipe"])
def test_lines_of_four_commands_are_neither_lost_nor_joined(
    start: Start, tmp_path: Path, where: str
) -> None:
    """All lines of all commands arrive in order, at any speed of the reader."""
    arguments = ("-n", "a,b,c,d", *["seq 50000"] * 4)
    if where == "a file":
        with open(tmp_path / "out", "wb") as file:
            ended = start(*arguments, stdout=file.fileno()).end()
        out = (tmp_path / "out").read_bytes()
    elif where == "a pipe":
        ended = start(*arguments).end()
        out = ended.out
    else:
        read_end, write_end = os.pipe()
        _limit_capacity_to_a_page(read_end)
        cli = start(*arguments, stdout=write_end)
        os.close(write_end)
        with open(read_end, "rb", buffering=0) as pipe:
            out = b"".join(iter(lambda: pipe.read(509), b""))
        ended = cli.end()
    assert (ended.status, ended.err) == (0, b"")
    assert out.count(b"\n") == 200_000
    for name in "abcd":
        assert lines_of(name, out) == numbers(50_000)


def _limit_capacity_to_a_page(pipe: int) -> None:
    """Limit the capacity of `pipe` to one page, if the system supports a limit."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)


def test_output_written_before_a_reader_reads_is_complete(start: Start, lifeline: Lifeline) -> None:
    """A reader that starts after the commands have ended receives all output."""
    cli = start("-n", "a", f"{lifeline.hold('begun')}; seq {BUFFERED}; {lifeline.say('done')}")
    lifeline.wait_for("done")
    lifeline.wait_for_end()
    status, out, err = cli.end()
    assert (status, err) == (0, b"")
    assert lines_of("a", out) == numbers(BUFFERED)


def test_simultaneous_stdout_and_stderr_are_both_complete(run: Run) -> None:
    """If a command writes to both streams at once, each is complete, in order and unmixed."""
    status, out, err = run("-n", "a", "seq 50000 & seq 50000 | sed s/^/e/ >&2; wait")
    assert status == 0
    assert out == b"".join(b"a | %s\n" % number for number in numbers(50_000))
    assert err == b"".join(b"a | e%s\n" % number for number in numbers(50_000))


def test_stdout_and_stderr_lines_stay_whole_in_one_pipe(start: Start) -> None:
    """With ``2>&1``, each line has one prefix and one number, and no line is missing.

    ``--no-merge`` is needed because `seq` does not write whole lines into a pipe.
    """
    both = "seq 20000 & seq 20000 >&2; wait"
    status, out, _ = _with_one_pipe(start, ("-n", "a,b", "--no-merge", both, both)).end()
    assert status == 0
    for name in "ab":
        assert sorted(lines_of(name, out)) == sorted(numbers(20_000) * 2)
    assert out.count(b"\n") == 80_000


def test_output_written_before_a_signal_is_not_lost(start: Start, lifeline: Lifeline) -> None:
    """All output of a stopped command is shown, even if the output was unread at the signal."""
    write = f"{lifeline.hold('begun')}; seq {BUFFERED}; {lifeline.say('done')}; {EXEC_FOREVER}"
    cli = start("-n", "a", write)
    lifeline.wait_for("done")
    cli.signal(signal.SIGTERM)
    lifeline.wait_for_end()
    status, out, err = cli.end()
    assert (status, err) == (143, b"")
    assert lines_of("a", out) == numbers(BUFFERED)


# ---- options about output ----


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-p", "[{name}] {stream}: "], b"[a] stdout: 1\n[a] stdout: 2\n"),
        (["--prefix", ""], b"1\n2\n"),
        (["--raw"], b"1\n2"),
        (["-g"], b"a | 1\na | 2\n"),
        (["-q"], b"a | 1\na | 2\n"),
        (["--color", "never"], b"a | 1\na | 2\n"),
        (["-c", "red"], b"a | 1\na | 2\n"),
    ],
)
def test_options_set_the_output_format(run: Run, options: list[str], shown: bytes) -> None:
    """The options set the prefix, raw bytes, grouping and colours."""
    assert run("-n", "a", *options, r"printf '1\n2'") == (0, shown, b"")


@pytest.mark.parametrize(("options", "shown"), [([], b"a | Name? "), (["--raw"], b"Name? ")])
def test_prompt_is_shown_before_its_line_ends(
    start: Start, gate: Gate, options: list[str], shown: bytes
) -> None:
    """An unfinished line is shown after a moment of silence; the rest follows without a label."""
    cli = start(*options, "-n", "a", f"printf 'Name? '; {gate.wait}; echo Tim")
    cli.read_until(shown)
    gate.open()
    assert cli.end() == (0, shown + b"Tim\n", b"")


def test_timestamps_precede_the_lines(run: Run) -> None:
    """Each line starts with the time of day; currant's own lines, too, as a log needs them."""
    ended = run("-n", "a", "--timestamps", "echo 1; exit 3")
    assert re.fullmatch(rb"\d\d:\d\d:\d\d a \| 1\n", ended.out)
    assert re.fullmatch(rb"\d\d:\d\d:\d\d currant: a: exit code 3\n", ended.err)


def test_quiet_option_hides_failure_notes(run: Run) -> None:
    """With -q, only the exit status reports a failure."""
    assert run("-q", "-n", "a", "echo err >&2; exit 3") == (3, b"", b"a | err\n")


def test_group_option_shows_one_command_after_another(start: Start, gate: Gate) -> None:
    """The first command to end is shown first, in one block, in any order of writing."""
    cli = start("-g", "-n", "a,b", f"echo 1; {gate.wait}; echo 2", "echo 3; echo 4")
    cli.read_until(b"b | 4\n")
    gate.open()
    assert cli.end() == (0, b"b | 3\nb | 4\na | 1\na | 2\n", b"")


def test_prefix_colours_can_be_chosen(run: Run) -> None:
    """--colors lists Rich styles in command order; --color always shows colours in a pipe too."""
    options = ("--color", "always", "-n", "a,b,c", "-m", "1", "-c", "magenta,auto")
    out = run(*options, "echo 1", "echo 2", "echo 3").out
    colors = [code.removeprefix(b"0;") for code, _ in COLOR.findall(out)]
    assert colors[0] == b"35"
    assert len(set(colors)) == 3


def test_json_output_has_one_object_per_message(run: Run) -> None:
    """With --json, stdout has all messages, including stderr lines; the status is the same."""
    status, out, err = run("--json", "-n", "a", "echo 1; echo 2 >&2; exit 3")
    objects = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (3, b"")
    assert sorted((o["stream"], o["text"]) for o in objects if o["type"] == "line") == [
        ("stderr", "2"),
        ("stdout", "1"),
    ]
    assert objects[-1]["exit"]["code"] == 3


def test_log_dir_stores_the_bytes_of_each_command(run: Run, tmp_path: Path) -> None:
    """--log-dir creates a directory with a file per command and does not change stdout."""
    options = ("-n", "a,b", "--log-dir", str(tmp_path / "logs"))
    assert run(*options, r"printf '1\r\n'", "true").out == b"a | 1\n"
    files = {file.name: file.read_bytes() for file in (tmp_path / "logs").iterdir()}
    assert files == {"a.log": b"1\r\n", "b.log": b""}


def test_summary_lists_the_result_of_each_command(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """A final table on stderr has name, status, exit, attempts and duration in command order."""
    fails, dies = f"{gate.wait}; exit 3", f"{gate.wait}; kill -SEGV $$"
    commands = (fails, lifeline.hold("works"), f"echo up; {EXEC_FOREVER}", dies)
    options = ("-q", "-n", "fails,works,stays,[dies]", "-m", "4", "--summary", "-s", "works")
    kill = ("--restart", "on-failure", "--max-restarts", "1", "--restart-delay", "0")
    cli = start(*options, *kill, "-k", "failure", *commands)
    # The success of "works" stops no command. The final failure of a command stops "stays".
    lifeline.wait_for("works")
    lifeline.wait_for_end()
    cli.read_until(b"stays  | up\n")
    for _ in range(4):
        gate.open()
    status, out, err = cli.end()
    assert (status, out) == (0, b"stays  | up\n")
    table = [line.split() for line in err.decode().splitlines()]
    assert table[0] == ["name", "status", "exit", "attempts", "duration"]
    assert [row[0] for row in table[1:]] == ["fails", "works", "stays", "[dies]"]
    rows = {row[0]: row for row in table}
    assert rows["works"][1:-2] == ["succeeded", "exit", "code", "0", "1"]
    assert rows["stays"][1:-2] == ["stopped", "stopped", "(SIGTERM)", "1"]
    failed = {"fails": ["failed", "exit", "code", "3", "2"], "[dies]": ["failed", "SIGSEGV", "2"]}
    ended = {name: rows[name][1:-2] for name in failed}
    assert any(ended[name] == failed[name] for name in failed), ended


def test_summary_on_a_narrow_terminal_cuts_no_word(on_terminal: Start) -> None:
    """The terminal wraps the rows."""
    options = ("-n", "a-long-name", "--summary", "--color", "never")
    status, out, _ = on_terminal(*options, "true", columns=30).end()
    assert status == 0
    assert out.splitlines()[-1].split()[:3] == [b"a-long-name", b"succeeded", b"exit"]


def test_spaces_beside_a_name_do_not_count(run: Run) -> None:
    """A space after a comma is no part of the name, which `--hide` can give."""
    assert run("-n", "a, b", "--hide", "b", "echo 1", "echo 2") == (0, b"a | 1\n", b"")


def test_summary_shows_each_unusual_name_on_one_line(run: Run) -> None:
    """A newline or an escape code in a name is shown escaped; brackets are not markup."""
    names = "new\nline,\x1b[31mred,[bold]"
    err = run("-q", "-n", names, "--summary", *["true"] * 3, env={"FORCE_COLOR": ""}).err
    shown = [line.split()[0] for line in err.decode().splitlines()[1:]]
    assert shown == ["new\\nline", "\\x1b[31mred", "[bold]"]


def test_log_dir_that_cannot_be_created_is_reported(run: Run) -> None:
    """One line names the directory that cannot be created; no command starts."""
    status, _, err = run("-n", "a", "--log-dir", "/dev/null/logs", "echo 1")
    assert (status, err) == (2, b"currant: --log-dir /dev/null/logs: Not a directory\n")


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1"}, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "0", "CLICOLOR_FORCE": "1"}, False),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
    ],
)
def test_pipes_are_coloured_only_on_request(
    run: Run, env: dict[str, str], *, colored: bool
) -> None:
    """Output in a pipe has colours only if FORCE_COLOR is set and NO_COLOR is not."""
    ended = run("-n", "a", "echo hi; echo err >&2", env=env)
    assert [bool(COLOR.match(data)) for data in ended[1:]] == [colored] * 2
    assert [plain(data) for data in ended[1:]] == [b"a | hi\n", b"a | err\n"]


# ---- output that cannot be written ----


def test_closed_stdout_stops_all_commands_quietly(start: Start, lifeline: Lifeline) -> None:
    """As in ``currant run … | head -1``, all commands stop, status is 141 and stderr is empty."""
    endless = f"{lifeline.hold('a')}; while :; do echo line; done"
    cli = start("-n", "a,b", "--grace", "60", endless, f"{lifeline.hold('b')}; {EXEC_FOREVER}")
    lifeline.wait_for("a", "b")
    cli.read_until(b"a | line\n")
    cli.close()
    assert cli.wait() == 141
    assert lifeline.ended() == {"a", "b"}
    assert cli.end().err == b""


def test_head_gets_one_line_in_a_shell_pipeline() -> None:
    """In ``currant run … | head -1``, head gets its line, status is 141 and no error is printed."""
    pipeline = '{ "$@"; echo "status=$?" >&2; } | head -1'
    ended = subprocess.run(
        ["sh", "-c", pipeline, "sh", *CURRANT, "run", "-n", "a,b", "seq 1000000", EXEC_FOREVER],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.stdout == b"a | 1\n"
    assert ended.stderr == b"status=141\n"


def test_reader_of_a_list_may_go_away() -> None:
    """Each subcommand exits with 141 then, also one that runs no command."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [*CURRANT, "schema"]
        ended = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, timeout=LIMIT, check=False
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_closed_pipe_stops_silent_commands(start: Start, lifeline: Lifeline) -> None:
    """If stdout closes, silent commands stop too; status is 141 and stderr is empty."""
    cli = start("-n", "a,b", *(f"{lifeline.hold(name)}; {EXEC_FOREVER}" for name in "ab"))
    lifeline.wait_for("a", "b")
    cli.close()
    assert cli.wait() == 141
    assert lifeline.ended() == {"a", "b"}
    assert cli.end().err == b""


def test_one_signal_after_a_closed_pipe_keeps_the_grace(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """If a closed pipe has begun the stop, one signal does not shorten the commands' grace."""
    leave = f"{lifeline.say('asked')}; {gate.wait}; {lifeline.say('bye')}; exit"
    listens = f"trap '{leave}' TERM; {lifeline.hold('a')}; while :; do sleep 0.01; done"
    cli = start("-n", "a", "--grace", "60", listens)
    lifeline.wait_for("a")
    cli.close()
    lifeline.wait_for("asked")
    cli.signal(signal.SIGTERM)
    gate.open()
    assert cli.wait() == 141
    assert lifeline.ended() == {"a", "asked", "bye"}


@pytest.mark.parametrize("order", ["signal first", "pipe first"])
def test_signal_together_with_a_closed_pipe_keeps_the_grace(
    monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """As with Ctrl-C and ``| tee log``, commands keep their grace; the first event sets status."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={signal.SIGTERM}))
    received: list[str | None] = []
    kill = Runner.kill

    def kill_and_record(runner: Runner, reason: str | None = None) -> None:
        kill(runner, reason)
        received.append(reason)

    async def wait_for_closed_pipe(pipe: int) -> None:
        if order == "signal first":
            await runner.barrier.wait()

    async def send_signal_and_exit(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        if order == "pipe first":
            await runner.barrier.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        while not received:
            await checkpoint()
        for _ in range(10):  # Let the other event take effect too.
            await checkpoint()
        launcher["a"].exit(0)

    monkeypatch.setattr(_run, "is_pipe", lambda fd: True)
    monkeypatch.setattr(_run, "wait_reader_gone", wait_for_closed_pipe)
    monkeypatch.setattr(Runner, "kill", kill_and_record)
    runner = Runner(["a"], launcher=launcher, sinks=[send_signal_and_exit], grace=9999)
    assert run_commands(runner) == (143 if order == "signal first" else 141)
    assert runner.results["a"].exit == Exit(0, None, stopped=True)


@NO_FULL_DISK
@pytest.mark.parametrize("command", ["echo hi", f"echo hi; {EXEC_FOREVER}", "seq 100000"])
def test_full_disk_is_reported_in_one_line(start: Start, lifeline: Lifeline, command: str) -> None:
    """If the disk is full, one clear line and no traceback is printed, and no process is left."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        commands = [f"{lifeline.hold('a')}; {command}", f"{lifeline.hold('b')}; {STUBBORN}"]
        status, _, err = start("--grace", "0.2", *commands, stdout=full).end()
    finally:
        os.close(full)
    assert status == 1
    assert err == b"currant: cannot write the output to stdout: No space left on device\n"
    assert "a" in lifeline.ended()


@NO_FULL_DISK
def test_full_disk_for_stderr_ends_currant_too(start: Start, lifeline: Lifeline) -> None:
    """If the error line cannot be written, the status reports the failure; no process is left."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        command = f"{lifeline.hold('a')}; echo err >&2; {EXEC_FOREVER}"
        ended = start("-n", "a", command, stderr=full).end()
    finally:
        os.close(full)
    assert ended == (1, b"", b"")
    assert lifeline.ended() == {"a"}


@NO_FULL_DISK
@pytest.mark.parametrize("arguments", [("run", "--help"), ("check",)])
def test_full_disk_for_help_or_a_list_is_reported_in_one_line(
    start: Start, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """A full disk gives one error line and no traceback, for help and for a list."""
    (tmp_path / "Procfile").write_text("web: true\n")
    full = os.open("/dev/full", os.O_WRONLY)
    subcommand, *options = arguments
    try:
        status, _, err = start(*options, subcommand=subcommand, cwd=tmp_path, stdout=full).end()
    finally:
        os.close(full)
    assert status == 1
    assert err == b"currant: cannot write the output to stdout: No space left on device\n"


@NO_FULL_DISK
def test_lost_output_does_not_hide_the_signal(start: Start, lifeline: Lifeline) -> None:
    """If last words cannot be written, currant says so and dies of the signal nevertheless."""
    command = f"trap 'echo bye; exit 3' TERM; {lifeline.hold('a')}; {TRAPS_SIGNALS}"
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        cli = start("-n", "a", command, stdout=full)
    finally:
        os.close(full)
    lifeline.wait_for("a")
    cli.signal(signal.SIGTERM)
    error = b"currant: cannot write the output to stdout: No space left on device\n"
    assert cli.end() == (143, b"", error)
    assert cli.process.returncode == -signal.SIGTERM


def test_one_signal_ends_an_unread_summary(start: Start) -> None:
    """One signal ends currant while the summary is unread, because all commands have ended."""
    names = ",".join(f"{'long' * 100}{number}" for number in range(200))
    cli = start("-q", "-m", "20", "--summary", "-n", names, *["true"] * 200)
    cli.wait_until_full("stderr")
    cli.signal(signal.SIGINT)
    assert cli.wait() == 130


@NO_FULL_DISK
def test_unwritable_summary_does_not_change_the_status(start: Start) -> None:
    """If the summary cannot be written, the exit status is still the commands' status."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = start("-q", "-n", "a", "--summary", "echo hi; exit 3", stderr=full).end()
    finally:
        os.close(full)
    assert ended == (3, b"a | hi\n", b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_never_opened_stream_gives_no_traceback(closed: str) -> None:
    """A closed stderr is ignored; a closed stdout, as with ``>&-``, gives only error lines."""
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *CURRANT, "run", "-n", "a", "echo hi; exit 7"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert b"Traceback" not in ended.stderr
    if closed == ">&-":
        assert all(line.startswith(b"currant: ") for line in ended.stderr.splitlines())
        assert ended.returncode != 0
    else:
        assert ended.stdout == b"a | hi\n"
        assert ended.returncode in (7, 141)
