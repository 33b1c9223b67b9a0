"""`currant map`: values and placeholders, how many run at a time, halts, limits, and mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import click  # noqa: TID253 - the values of options are read without a process
import pytest

from currant._batch.halt import Halt
from currant._system.processors import usable_processors
from currant.cli._map import parsers, settings
from currant.cli._map.pace import Pace, Pacer, available_memory
from currant.cli._map.parsers import MAX_SLOTS, parse_halt, parse_load, parse_slots
from tests.clis import CURRANT
from tests.maps import run_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("preloaded")]

SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"
"""A program that prints its arguments, a list in a line of its own."""

HOSTILE = [
    "$(touch pwned); 'x'\n",
    "`touch pwned`",
    "a b",
    "*",
    "~",
    "-n",
    "#",
    "\\",
    '"',
    "'; touch pwned; '",
    "",
    "{} {1}",
    "é\udcff",
    "!!",
    "\t",
]
"""Values that mean something to a shell, or that are hard to print."""


def _shown(out: bytes) -> list[list[str]]:
    return [json.loads(line) for line in out.splitlines()]


# ---- values ----


def test_values_are_arguments_whatever_is_in_them(tmp_path: Path) -> None:
    """A value reaches a command as it is, from the command line and from stdin."""
    ended = run_map(
        *("-k", sys.executable, "-c", SHOW, "{}", "<{}>", ":::"), *HOSTILE, cwd=tmp_path
    )
    assert (ended.status, ended.err) == (0, b"")
    assert _shown(ended.out) == [[value, f"<{value}>"] for value in HOSTILE]
    given = b"".join(os.fsencode(value) + b"\0" for value in HOSTILE)
    ended = run_map("-0", "-k", sys.executable, "-c", SHOW, stdin=given, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, b"")
    assert _shown(ended.out) == [[value] for value in HOSTILE]
    assert os.listdir(tmp_path) == []


def test_shell_never_reads_a_value_as_a_script(tmp_path: Path) -> None:
    """In a template with shell syntax, a value is data, within quotes and outside."""
    line = f"{sys.executable} -c '{SHOW}' {{}} \"<{{}}>\" '<{{}}>' pre{{}}post | cat"
    ended = run_map("-k", line, ":::", *HOSTILE, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, b"")
    assert _shown(ended.out) == [
        [value, f"<{value}>", f"<{value}>", f"pre{value}post"] for value in HOSTILE
    ]
    run_map("echo $(printf %s {}) `printf %s {}`", ":::", *HOSTILE, cwd=tmp_path)
    assert os.listdir(tmp_path) == []


def test_hostile_name_of_a_file_is_a_name(tmp_path: Path) -> None:
    """The value works as a file in both modes, and as a target of a redirection."""
    name = "$(touch pwned); 'x'\n"
    (tmp_path / name).write_text("contents\n")
    for template in (["cat", "{}"], ["cat < {} > {}.copy; cat {}.copy"], ["--shell", "cat", "{}"]):
        ended = run_map(*template, ":::", name, cwd=tmp_path)
        assert ended == (0, b"contents\n", b"")
    assert sorted(os.listdir(tmp_path)) == [name, f"{name}.copy"]


def test_placeholders_for_paths_numbers_and_slots() -> None:
    """All placeholders together; without any, the value is appended."""
    words = ["{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}", "{1}", "{1/.}", "{2.}"]
    ended = run_map("-k", "-j", "1", "echo", *words, ":::", "d/a.b.c", "e", ":::", "x.y")
    assert ended == (
        0,
        (
            b"d/a.b.c x.y d/a.b x a.b.c x.y d . a.b x 1 1 d/a.b.c a.b x\n"
            b"e x.y e x e x.y . . e x 2 1 e e x\n"
        ),
        b"",
    )


def test_product_and_links() -> None:
    """Several ``:::`` make all combinations; ``:::+`` belongs to the one before."""
    ended = run_map("-k", "echo", ":::", "a", "b", ":::", "1", "2", ":::+", "x", "y")
    assert ended.out.splitlines() == [b"a 1 x", b"a 2 y", b"b 1 x", b"b 2 y"]


def test_values_of_files_and_of_stdin_together(tmp_path: Path) -> None:
    """``::::`` reads files, ``-`` is stdin; an unfinished last line counts."""
    (tmp_path / "file").write_text("a\nb")
    ended = run_map("-k", "echo", "::::", "file", "-", stdin=b"1\n2", cwd=tmp_path)
    assert ended.out.splitlines() == [b"a 1", b"a 2", b"b 1", b"b 2"]
    ended = run_map("-k", "echo", "::::", "file", "::::+", "-", stdin=b"1\n2\n", cwd=tmp_path)
    assert ended.out.splitlines() == [b"a 1", b"b 2"]


def test_several_values_for_each_command() -> None:
    """``-n`` takes so many; the last command gets what is left."""
    ended = run_map("-k", "-n", "2", "echo", "<{}>", ":::", *"12345")
    assert ended == (0, b"<1 2>\n<3 4>\n<5>\n", b"")
    ended = run_map("-k", "-n", "2", "echo", stdin=b"1\n2\n3\n")
    assert ended == (0, b"1 2\n3\n", b"")
    ended = run_map("-k", "-n", "2", "echo", "{2}", "{1}", ":::", *"123")
    assert (ended.status, ended.out) == (1, b"2 1\n")
    assert b"job 2 has no value for {2}" in ended.err


def test_columns_of_tables() -> None:
    """CSV, TSV and JSON lines have columns with names, and a pattern splits lines."""
    both = ("-k", "echo", "{name}={size}")
    csv = b'name,size\n"a,""b""\nc",1\nd,2\n'
    assert run_map("--csv", "--header", *both, stdin=csv).out == b'a,"b"\nc=1\nd=2\n'
    tsv = b"name\tsize\na\t1\n"
    assert run_map("--tsv", "--header", *both, stdin=tsv).out == b"a=1\n"
    jsonl = b'{"name": "a", "size": 1}\n{"size": 2, "name": "b c"}\n'
    assert run_map("--jsonl", *both, stdin=jsonl).out == b"a=1\nb c=2\n"
    # The keys of the first row are the names; a row without one fails alone.
    ended = run_map("--jsonl", "echo", "{a}", stdin=b'{"a":1}\n{"b":2}\n')
    assert (ended.status, ended.out) == (1, b"1\n")
    assert b"job 2 has no value for {a}: its columns are 'b'" in ended.err
    ended = run_map("-k", "--colsep", " +", "echo", "{2}-{1}", stdin=b"a  b\nc d\n")
    assert ended.out == b"b-a\nd-c\n"
    ended = run_map("-k", "--header", "echo", "{x.}", ":::", "x", "f.c", ":::", "y", "1", "2")
    assert ended.out == b"f\nf\n"


def test_blocks_of_stdin() -> None:
    """Each command reads whole records; all of them together are the input."""
    lines = b"".join(b"%d\n" % number for number in range(30_000))
    ended = run_map("-k", "--stdin", "--block", "10k", "cat", stdin=lines)
    assert ended == (0, lines, b"")
    ended = run_map("-k", "--stdin", "-n", "12000", "wc", "-l", stdin=lines)
    assert ended.out.split() == [b"12000", b"12000", b"6000"]
    ended = run_map(
        *("-k", "--stdin", "--recend", r"\x00", "-n", "2", "tr", r"\000", "."), stdin=b"a\0b\0c"
    )
    assert ended.out == b"a.b.c"
    # A command that does not read its block is no error.
    big = b"x" * 300_000 + b"\n"
    assert run_map("--stdin", "true", stdin=big).status == 0


@pytest.mark.parametrize("end", [r"\xff", b"\xff", "ÿ"], ids=["escape", "byte", "character"])
def test_record_may_end_with_any_bytes(end: str | bytes) -> None:
    """An escape is a byte, and bytes need not be UTF-8."""
    data = b"a%bb" % ("ÿ".encode() if end == "ÿ" else b"\xff")
    ended = run_map("-k", "--stdin", "-n", "1", "--recend", end, "cat; echo .", stdin=data)
    assert ended == (0, data[:-1] + b".\nb.\n", b"")


def test_lines_are_commands_without_a_template() -> None:
    """Each line of the input is a script for a shell."""
    ended = run_map("-k", stdin=b"echo a | tr a b\nexit 3\n")
    assert (ended.status, ended.out) == (1, b"b\n")
    assert b"exit code 3: exit 3" in ended.err


def test_nothing_to_do_is_a_success() -> None:
    """Without values, no command starts, not even one whose program is missing."""
    assert run_map("no-such-program") == (0, b"", b"")
    assert run_map("echo", ":::") == (0, b"", b"")


def test_dry_run_shows_lines_for_a_shell(tmp_path: Path) -> None:
    """The lines can be given to a shell, whatever is in the values."""
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    ended = run_map("--dry-run", "touch", ":::", "a b", "é\udcff", cwd=tmp_path, env=strict)
    assert (ended.status, ended.err) == (0, b"")
    assert ended.out == b"touch 'a b'\ntouch '\xc3\xa9\xff'\n"
    assert os.listdir(tmp_path) == []


def test_dry_run_waits_for_nothing() -> None:
    """It starts no command, so neither the delay nor the memory holds it up."""
    words = ("--dry-run", "--delay", "9999", "--memfree", "9999G")
    assert run_map(*words, "echo", ":::", "a", "b") == (0, b"echo a\necho b\n", b"")


def test_hundreds_of_values() -> None:
    """All commands of a long input run."""
    ended = run_map("-j", "4", "true", stdin=b"x\n" * 300)
    assert ended == (0, b"", b"")


# ---- how many at a time, and when ----


def test_number_of_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-j`` takes a number, a share, an offset, or 0 for as many as there are values."""
    monkeypatch.setattr(parsers, "usable_processors", lambda: 8)
    given = ["3", "50%", "200%", "1%", "+0", "+2", "-1", "-9", "0"]
    assert [*map(parse_slots, given)] == [3, 4, 16, 1, 8, 10, 7, 1, MAX_SLOTS]
    for wrong in ("x", "", "-50%", "1.5", "%"):
        with pytest.raises(click.BadParameter):
            parse_slots(wrong)


def test_as_many_commands_as_open_files_allow(tmp_path: Path) -> None:
    """With ``-j 0`` no command fails for want of file descriptors; they all run at once if it can.

    The commands wait for one another, so that only so many at a time can end.
    """
    together = "touch {}; until test -e 6; do sleep 0.05; done"
    ended = run_map("-j", "0", together, ":::", *"123456", cwd=tmp_path)
    assert ended == (0, b"", b"")
    for files, count, told in ((150, 60, b"6 commands run"), (110, 2, b"1 command runs")):
        script = f'ulimit -n {files}; exec "$@"'
        limited = ("/bin/sh", "-c", script, "sh", *CURRANT, "map", "-j", "50", "echo", ":::")
        done = subprocess.run([*limited, *map(str, range(count))], capture_output=True, check=False)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, count)
        assert b"at most " + told + b" at a time" in done.stderr


@pytest.mark.parametrize(
    ("keep_order", "limit", "jobs", "expected"),
    [
        (True, sys.maxsize, 4, (4, 1000)),
        (True, 200, 4, (4, 72)),
        (True, 200, 50, (12, 16)),
        (True, 90, 4, (1, 1)),
        (False, sys.maxsize, None, (usable_processors(), 1000)),
    ],
)
def test_fewer_outputs_wait_for_an_earlier_one_if_few_files_can_be_open(
    keep_order: bool,
    limit: int,
    jobs: int | None,
    expected: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ``-k`` each output that waits may be in a file."""
    monkeypatch.setattr(settings, "raise_file_limit", lambda wanted: limit)
    options = {"jobs": jobs, "keep_order": keep_order}
    plan = SimpleNamespace(launcher=None)
    assert settings._slots_and_window(cast("Any", plan), cast("Any", options)) == expected


@pytest.mark.parametrize(("jobs", "window"), [(None, 200), (8, 8)])
def test_what_may_run_on_hosts_waits_for_no_file(
    jobs: int | None, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one command at a time would run on fifty hosts, and nothing would say so."""
    monkeypatch.setattr(settings, "raise_file_limit", lambda wanted: 200)
    plan = SimpleNamespace(launcher=SimpleNamespace(hosts=range(50)))
    options = {"jobs": jobs, "keep_order": True}
    found = settings._slots_and_window(cast("Any", plan), cast("Any", options))
    assert found == (jobs, window)


@pytest.mark.anyio
async def test_pace_of_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A start or a retry waits for the load, the memory and the delay after the one before."""
    loads = iter([9.0, 9.0, 1.0, 1.0, 1.0])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def items() -> AsyncIterator[int]:
        yield 1
        yield 2

    monkeypatch.setattr(os, "getloadavg", lambda: (next(loads), 0.0, 0.0))
    monkeypatch.setattr(anyio, "sleep", sleep)
    monkeypatch.setattr(anyio, "current_time", lambda: 100.0)
    pacer = Pacer(Pace(delay=7.0, max_load=2.0))
    assert [item async for item in pacer.paced(items())] == [1, 2]
    assert slept == [0.0, 0.5, 0.5, 7.0]
    await pacer.take_turn()
    await pacer.take_turn()
    assert slept == [0.0, 0.5, 0.5, 7.0]
    await pacer.take_turn()
    assert slept == [0.0, 0.5, 0.5, 7.0, 7.0]
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemAvailable:   4 kB\n")
    assert available_memory(str(info)) == 4096
    assert Pace(memfree=1).allows_start()
    assert not Pace(memfree=1 << 60).allows_start()


def test_load_is_a_number_or_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--max-load`` takes both."""
    monkeypatch.setattr(parsers, "usable_processors", lambda: 8)
    assert [*map(parse_load, ["4", "0.5", "50%"])] == [4.0, 0.5, 4.0]
    with pytest.raises(click.BadParameter):
        parse_load("high")


# ---- failures ----


def test_status_is_the_number_of_failures() -> None:
    """Up to 100; 101 for more; the summary shows the first failure with its last lines."""
    ended = run_map("-j", "1", "echo line {}; exit {}", ":::", "0", "5", "7")
    assert ended.status == 2
    assert b"3 jobs: 1 succeeded, 2 failed, 0 stopped" in ended.err
    assert b"first failure: job 2: exit code 5: echo line 5; exit 5\n" in ended.err
    assert b"stdout: line 5" in ended.err
    ended = run_map("-q", "false", ":::", *["x"] * 102)
    assert ended == (101, b"", b"")


@pytest.mark.parametrize(
    ("halt", "status", "started"),
    [
        ("never", 4, b"030455"),
        ("now", 3, b"03"),
        ("soon", 3, b"03"),
        ("now,fail=2", 2, b"0304"),
        ("soon,fail=50%", 3, b"03045"),
        ("now,success=1", 0, b"0"),
        ("soon,success=2", 0, b"030"),
        ("soon,done=1", 0, b"0"),
        ("soon,done=2", 1, b"03"),
    ],
)
def test_halt(halt: str, status: int, started: bytes) -> None:
    """After a limit no command starts; one end that was enough, or a success, gives the status."""
    ended = run_map("-j", "1", "--halt", halt, "printf %s {}; exit {}", ":::", *"030455")
    assert (ended.status, ended.out) == (status, started)


def test_halt_now_stops_what_runs() -> None:
    """The commands that run are stopped, and count as stopped."""
    ended = run_map("-j", "2", "--halt", "now", stdin=b"sleep 9999\nexit 3\necho late\n")
    assert (ended.status, ended.out) == (3, b"")
    assert b"1 failed, 1 stopped" in ended.err


def test_limits_of_halt() -> None:
    """A limit is a number or a share; others are mistakes."""
    assert parse_halt("never") is None
    assert parse_halt("now") == Halt("now", 1)
    assert parse_halt("soon,fail=10%") == Halt("soon", 0.1)
    assert parse_halt("soon,done=100") == Halt("soon", 100, "ends")
    with pytest.raises(click.BadParameter, match="done= must be a number"):
        parse_halt("soon,done=50%")
    for wrong in ("later", "now,fail=0", "now,fail=0%", "now,fail=101%", "now,fail", "now,x=1"):
        with pytest.raises(click.BadParameter):
            parse_halt(wrong)


def test_timeout_is_a_failure() -> None:
    """A command that takes too long is stopped, also when it is tried again."""
    ended = run_map("--timeout", "0.2", "--retries", "1", "-q", "sleep", ":::", "9999", "0")
    assert ended == (1, b"", b"")


def test_retries_show_the_last_attempt_alone(tmp_path: Path) -> None:
    """A command that fails runs again; the output of the attempts before is not shown."""
    script = "echo x >> {}; echo try $(wc -l < {}); test $(wc -l < {}) = 3"
    ended = run_map("--retries", "2", script, ":::", "a", cwd=tmp_path)
    assert ended == (0, b"try 3\n", b"")
    ended = run_map("--retries", "1", "--line", "echo try; exit 1", ":::", "a")
    assert (ended.status, ended.out) == (1, b"try\ntry\n")
    assert b"after 2 attempts" in ended.err


def test_limits_and_variables_and_folder(tmp_path: Path) -> None:
    """Resource limits, a file of variables and the folder reach the commands."""
    (tmp_path / "env").write_text("GREETING=hello\n")
    limits = ["--limit-open-files", "50", "--limit-core", "0", "--limit-cpu-time", "77"]
    more = ["--limit-file-size", "1k", "--limit-memory", "1G"]
    ended = run_map(
        *limits,
        *more,
        *("--cwd", str(tmp_path), "--env-file", str(tmp_path / "env")),
        "echo {} $GREETING; pwd; ulimit -n; ulimit -c; ulimit -t; ulimit -f; ulimit -v",
        *(":::", "1"),
    )
    words = ended.out.decode().split()
    assert words == ["1", "hello", str(tmp_path), "50", "0", "77", "2", str(1 << 20)]


# ---- mistakes ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["echo", "{foo}", ":::", "a"], "unknown placeholder {foo}"),
        (["echo", "{2}", ":::", "a"], "{2}"),
        (["--header", "echo", "{b}", ":::", "a", "1"], "unknown placeholder {b}"),
        (["echo", "::::", "no-such-file"], "cannot read no-such-file: No such file"),
        (["echo", "::::", "."], "cannot read .: it is a directory"),
        (["echo", "::::"], ":::: needs a file"),
        (["--colsep", "(", "echo", ":::", "a"], "not a regular expression"),
        (["--colsep", "a{9999999999}", "echo", ":::", "a"], "repetition number is too large"),
        (["--csv", "--tsv", "echo", ":::", "a"], "--csv and --tsv cannot be combined"),
        (["-k", "--line", "echo", ":::", "a"], "--keep-order and --line cannot be combined"),
        (["--header", "--jsonl", "echo", ":::", "1"], "--header and --jsonl cannot be combined"),
        (["--header", ":", "--stdin", "cat"], "--stdin and --header cannot be combined"),
        (["-0", "--stdin", "cat"], "--stdin and --null cannot be combined"),
        (["--block", "9", "echo", ":::", "a"], "--block requires --stdin"),
        (["--recend", "x", "echo", ":::", "a"], "--recend requires --stdin"),
        (["--retry-failed", "/dev/null", "-n", "2"], "--retry-failed and --max-args cannot be"),
        (["--retry-failed", "/dev/null", "-a", "x"], "--retry-failed and --arg-file cannot be"),
        (["--header"], "stdin is empty, and its first line must name the columns"),
        (["--stdin", "cat", ":::", "a"], "with --stdin the input is stdin"),
        (["--stdin"], "give a command"),
        (["no-such-program", ":::", "a"], "there is no program 'no-such-program'"),
        (["--joblog", "no/log", "touch", ":::", "pwned"], "job log no/log: cannot open"),
        (["--joblog", "/dev/full", "touch", ":::", "pwned"], "job log /dev/full: No space"),
        (["--results", "/dev/null/x", "touch", ":::", "pwned"], "/dev/null/x"),
        (["--junit", "no/file", "touch", ":::", "pwned"], "--junit no/file: No such file"),
        (["--resume", "touch", ":::", "pwned"], "--resume requires --joblog"),
        (["--retry-failed", "no-log"], "'no-log' does not exist"),
        (["--retry-failed", "/dev/null", "--stdin"], "--retry-failed and --stdin cannot be"),
        (["--resume", "--joblog", "x", "--stdin", "touch", "pwned"], "--resume and --stdin cannot"),
        (
            ["--resume-failed", "--joblog", "x", "--stdin", "touch", "pwned"],
            "--resume-failed and --stdin cannot",
        ),
        (["--cwd", "no-folder", "touch", ":::", "pwned"], "'no-folder' does not exist"),
        (["--env-file", "no-file", "touch", ":::", "pwned"], "no-file"),
        (["--block", "x", "--stdin", "cat"], "--block"),
        (["--per-host", "2", "true", ":::", "a"], "--per-host requires --hosts"),
        (["-j", "many", "true", ":::", "a"], "'many' must be a number"),
        (["--no-such-option", "true", ":::", "a"], "--no-such-option"),
    ],
)
def test_mistake_is_one_line_and_starts_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """A mistake costs one clear line and status 2."""
    status, out, err = run_map(*arguments, cwd=tmp_path)
    assert (status, out) == (2, b"")
    assert message in err.decode().replace("cannot write the ", "").replace("file /dev", "/dev")
    assert err.startswith(b"currant: ")
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []
