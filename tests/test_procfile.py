"""Test ``currant start`` and ``currant check`` with Procfiles, `.env` files and real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from currant import CommandError
from currant.config._procfile import read_application
from tests.clis import environment, lines_of, plain
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run, Start
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.slow  # Each test starts Python at least once.


def write_files(folder: Path, procfile: str, *, env: str | None = None) -> Path:
    """Write a Procfile and, if `env` is given, an `.env` file beside the Procfile."""
    folder.mkdir(exist_ok=True)
    (folder / "Procfile").write_text(procfile)
    if env is not None:
        (folder / ".env").write_text(env)
    return folder


def line_set(output: bytes) -> set[bytes]:
    """Return the lines of several processes as a set."""
    return set(output.splitlines())


# ---- processes ----


def test_each_process_runs_in_the_shell_with_its_own_port(run: Run, tmp_path: Path) -> None:
    """Blank lines and comments are ignored, and ports start at 5000 in steps of 100."""
    write_files(
        tmp_path, '# all\n\nweb: echo "$PORT $PS"\r\n  # two\nwork_er-2:echo $PORT | tr 0 o\n'
    )
    ended = run("-k", "failure", subcommand="start", cwd=tmp_path)
    assert ended.status == 0
    assert line_set(ended.out) == {b"web.1       | 5000 web.1", b"work_er-2.1 | 51oo"}


def test_start_reports_each_start_and_exit(run: Run, tmp_path: Path) -> None:
    """`currant start` reports the start and the exit of each process."""
    write_files(tmp_path, "web: echo $$")
    status, out, err = run(subcommand="start", cwd=tmp_path)
    pid = out.removeprefix(b"web.1 | ").strip()
    assert status == 0
    assert err == b"currant: web.1 started (pid %s)\ncurrant: web.1: exit code 0\n" % pid


@pytest.mark.parametrize("status", [0, 3])
def test_first_exit_stops_the_other_processes(
    start: Start, tmp_path: Path, lifeline: Lifeline, gate: Gate, status: int
) -> None:
    """The first exit stops the others, which have not failed, and sets the exit status."""
    write_files(
        tmp_path,
        f"web: {lifeline.hold('web')}; {EXEC_FOREVER}\n"
        f"worker: {lifeline.hold('worker')}; {gate.wait}; exit {status}\n",
    )
    cli = start(subcommand="start", cwd=tmp_path)
    lifeline.wait_for("web", "worker")
    gate.open()
    ended = cli.end()
    assert ended.status == status
    assert lifeline.ended() == {"web", "worker"}
    assert b"currant: web.1: stopped (SIGTERM)\n" in ended.err


def test_kill_others_on_selects_the_exits_that_stop_the_others(run: Run, tmp_path: Path) -> None:
    """With `-k failure`, a process that succeeds stops no other process."""
    write_files(
        tmp_path,
        f"once: exit 0\nweb: {EXEC_FOREVER}\nfails: while kill -0 $PPID; do exit 4; done\n",
    )
    ended = run("-k", "failure", "-q", subcommand="start", cwd=tmp_path)
    assert ended == (4, b"", b"")


def test_the_exit_that_stops_the_others_is_reported(run: Run, tmp_path: Path) -> None:
    """A line says which process ended, how, and that the others are being stopped."""
    write_files(tmp_path, f"web: {EXEC_FOREVER}\nonce: true\n")
    ended = run(subcommand="start", cwd=tmp_path)
    assert b"currant: once.1 ended: exit code 0; stopping the other commands\n" in ended.err


def test_process_names_select_the_processes_and_their_order(run: Run, tmp_path: Path) -> None:
    """Ports follow the order of the process names in the arguments, as with honcho."""
    write_files(tmp_path, "a: echo $PORT\nb: echo $PORT\nc: echo $PORT\n")
    ended = run("-q", "-k", "failure", "c", "a", subcommand="start", cwd=tmp_path)
    assert line_set(ended.out) == {b"c.1 | 5000", b"a.1 | 5100"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "web=2"], {b"web.1 | 5000", b"web.2 | 5001"}),
        (["-m", "job=1", "-m", "web=1"], {b"web.1 | 5000", b"job.1 | 5100"}),
        (["--formation", "all=1,web=2"], {b"web.1 | 5000", b"web.2 | 5001", b"job.1 | 5100"}),
        (["-m", "job=3,web=0"], {b"job.1 | 5100", b"job.2 | 5101", b"job.3 | 5102"}),
        (["-m", "all=0, web=1"], {b"web.1 | 5000"}),
        (["-m", "web=2", "job", "web"], {b"job.1 | 5000", b"web.1 | 5100", b"web.2 | 5101"}),
        (["-c", "web=2"], {b"web.1 | 5000", b"web.2 | 5001", b"job.1 | 5100"}),
        (["--concurrency", "web=0"], {b"job.1 | 5100"}),
        (["-c", "all=2,web=1"], {b"web.1 | 5000", b"job.1 | 5100", b"job.2 | 5101"}),
    ],
)
def test_formation_sets_the_number_of_each_process(
    run: Run, tmp_path: Path, arguments: list[str], expected: set[bytes]
) -> None:
    """With `-m`, as in foreman, unnamed processes do not start; with `-c`, as in honcho, once."""
    write_files(tmp_path, "web: echo $PORT\njob: echo $PORT\n")
    ended = run("-q", "-k", "failure", *arguments, subcommand="start", cwd=tmp_path)
    assert ended.status == 0
    assert line_set(ended.out) == expected


@pytest.mark.parametrize(
    ("arguments", "shown", "ran"),
    [
        (["-c", "c=2", "-q", "b"], {b"a.1 | a", b"c.1 | c", b"c.2 | c"}, "a.1 b.1 c.1 c.2"),
        (["--quiet=b,c"], {b"a.1 | a"}, "a.1 b.1 c.1"),
        (["-c", "c=2", "--hide", "c.1,a"], {b"b.1 | b", b"c.2 | c"}, "a.1 b.1 c.1 c.2"),
        (["-q", "c", "b"], {b"b.1 | b"}, "b.1"),
    ],
)
def test_quiet_with_names_hides_the_output_of_these_processes(
    run: Run, tmp_path: Path, arguments: list[str], shown: set[bytes], ran: str
) -> None:
    """As in honcho, the processes still run; their starts and exits are still reported."""
    write_files(tmp_path, "".join(f"{name}: echo {name}\n" for name in "abc"))
    ended = run("-k", "failure", *arguments, subcommand="start", cwd=tmp_path)
    assert (ended.status, line_set(ended.out)) == (0, shown)
    started = [line.split()[1].decode() for line in ended.err.splitlines() if b"started" in line]
    assert sorted(started) == ran.split()


@pytest.mark.parametrize(
    "arguments", [["-q", "-q", "b,long"], ["-q", "b", "-q", "--quiet=long"], ["-q", "b,long", "-q"]]
)
def test_each_quiet_counts(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    """An option without names and one with names hide both, and no label is padded to them."""
    write_files(tmp_path, "a: echo a\nb: echo b\nlong: echo long\n")
    ended = run("-k", "failure", *arguments, subcommand="start", cwd=tmp_path)
    assert ended == (0, b"a.1 | a\n", b"")


@pytest.mark.parametrize(
    ("options", "env", "variables", "port"),
    [
        ([], None, {}, b"5000"),
        ([], None, {"PORT": "7000"}, b"7000"),
        ([], "PORT=8000", {"PORT": "7000"}, b"8000"),
        (["-p", "9000"], "PORT=8000", {"PORT": "7000"}, b"9000"),
        (["--port", "9000"], None, {}, b"9000"),
        ([], "PORT=", {"PORT": ""}, b"5000"),
    ],
)
def test_first_port_comes_from_the_option_or_a_variable(
    run: Run,
    tmp_path: Path,
    options: list[str],
    env: str | None,
    variables: dict[str, str],
    port: bytes,
) -> None:
    """The option overrides the `.env` file, which overrides currant's own variables."""
    write_files(tmp_path, "web: echo $PORT", env=env)
    ended = run("-q", *options, subcommand="start", cwd=tmp_path, env=variables)
    assert ended == (0, b"web.1 | " + port + b"\n", b"")


# ---- compatibility with honcho ----

PROCFILE = """
# comment
web: echo "$PORT $NAME $HONCHO_PROCESS_NAME"; exit 0

other_1:   printf 'no newline'
third: echo "out $PORT"; echo err >&2
"""


@pytest.mark.parametrize(
    ("procfile", "env", "arguments", "concurrency"),
    [
        (PROCFILE, None, ["web"], None),
        (PROCFILE, "NAME='a b' # c\nPORT=6000\n", ["web"], None),
        (PROCFILE, None, ["third"], "third=1"),
        (PROCFILE, "PROCFILE=Other\n", [], None),
        ("web: exit 3", None, [], None),
        ("web: true\n", "A=1", ["web"], "web=2"),
        ("slow: sleep 9999\nweb: exit 4\n", None, [], None),
        ("slow: sleep 9999\nweb: exit 0\n", None, [], None),
        ("web: echo $PORT $A; exit 5", "A=1", ["-f", "Procfile", "-e", ".env"], None),
        ("web: echo one | tr o 0 && echo two; exit 6\n", None, [], None),
    ],
)
def test_procfile_gives_the_same_result_as_with_honcho(
    run: Run,
    tmp_path: Path,
    procfile: str,
    env: str | None,
    arguments: list[str],
    concurrency: str | None,
) -> None:
    """Currant and honcho give the same output and exit status for the same files."""
    write_files(tmp_path, procfile, env=env)
    (tmp_path / "Other").write_text("web: echo other $PORT")
    own, theirs = [*arguments], [*arguments]
    if concurrency is not None:
        own, theirs = ["-c", concurrency, *own], ["-c", concurrency, *theirs]
    ended = run(*own, "-q", subcommand="start", cwd=tmp_path)
    honcho = subprocess.run(
        [sys.executable, "-m", "honcho", "start", *theirs],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert output_by_name(ended.out + b"\n" + ended.err) == output_by_name(
        honcho.stdout, times=True
    )
    assert ended.status == honcho.returncode


def output_by_name(output: bytes, *, times: bool = False) -> set[tuple[bytes, bytes]]:
    """Return the names and texts, without honcho's own messages."""
    lines = (line for line in output.splitlines() if line)
    if times:
        lines = (line.partition(b" ")[2] for line in lines)
    pairs = (line.partition(b" | ") for line in lines)
    return {(name.strip(), text) for name, _, text in pairs if name.strip() != b"system"}


# ---- files ----


def test_env_file_beside_the_procfile_sets_variables(run: Run, tmp_path: Path) -> None:
    """`.env` overrides currant's variables; quotes, comments and `export` go, `$` is literal."""
    env = "# a\n\nexport A=1\nB='two words' # b\nC=\"x\\ny\"\nD=$A\nE=\nHOME=/there\nF\n"
    write_files(
        tmp_path, """web: printf '%s.' "$A" "$B" "$C" "$D" "$E" "$HOME" "$F"; echo""", env=env
    )
    ended = run("-r", "-q", subcommand="start", cwd=tmp_path, env={"F": "f", "A": "no"})
    assert ended == (0, b"1.two words.x\ny.$A../there.f.\n", b"")


def test_procfile_in_another_folder_uses_that_folder(run: Run, tmp_path: Path) -> None:
    """The `.env` file and cwd are those of the Procfile's folder; `--cwd` overrides the cwd."""
    folder = write_files(tmp_path / "deploy", "web: echo $A; pwd", env="A=there")
    (tmp_path / ".env").write_text("A=here")
    for options, cwd in (([], folder), (["--cwd", "."], tmp_path)):
        ended = run("-r", "-q", "-f", "deploy/Procfile", *options, subcommand="start", cwd=tmp_path)
        assert ended == (0, f"there\n{cwd}\n".encode(), b"")


def test_env_option_names_the_files_of_variables(run: Run, tmp_path: Path) -> None:
    """`-e` replaces the default `.env` file, and a later file overrides an earlier file."""
    write_files(tmp_path, "web: echo $A $B $C", env="C=3")
    (tmp_path / "one").write_text("A=1\nB=1\n")
    (tmp_path / "two").write_text("B=2\n")
    assert run("-q", "-e", "one, two", subcommand="start", cwd=tmp_path).out == b"web.1 | 1 2\n"
    assert run("-q", "-e", ".env", subcommand="start", cwd=tmp_path).out == b"web.1 | 3\n"


@pytest.mark.parametrize("where", ["file", "variable"])
def test_procfile_variable_names_the_procfile(run: Run, tmp_path: Path, where: str) -> None:
    """PROCFILE in `.env` overrides currant's own variable, and `-f` overrides both."""
    write_files(
        tmp_path, "web: echo usual", env="PROCFILE=Procfile.dev" if where == "file" else None
    )
    (tmp_path / "Procfile.dev").write_text("web: echo dev")
    env = {"PROCFILE": "missing" if where == "file" else "Procfile.dev"}
    assert run("-q", subcommand="start", cwd=tmp_path, env=env).out == b"web.1 | dev\n"
    ended = run("-q", "-f", "Procfile", subcommand="start", cwd=tmp_path, env=env)
    assert ended.out == b"web.1 | usual\n"


def test_invalid_utf8_reaches_the_shell_unchanged(run: Run, tmp_path: Path) -> None:
    """A Procfile need not be UTF-8, and a byte order mark is ignored."""
    (tmp_path / "Procfile").write_bytes(b"\xef\xbb\xbfweb: echo \xff\xc3\xa4\n")
    assert run("-q", subcommand="start", cwd=tmp_path).out == b"web.1 | \xff\xc3\xa4\n"


# ---- usage errors ----


def test_advice_to_write_a_configuration_is_for_a_missing_procfile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`currant init` would read the same Procfile, so it does not help with one that is wrong."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=r"no Procfile in this folder; 'currant init' writes"):
        read_application([], None)
    (tmp_path / "Procfile").mkdir()
    with pytest.raises(CommandError, match=r"cannot read the Procfile Procfile: Is a directory$"):
        read_application([], None)


@pytest.mark.parametrize(
    ("procfile", "arguments", "message"),
    [
        (None, [], "there is no currant.toml in this folder or above it, and no Procfile in"),
        (None, ["-f", "there/Proc"], "cannot read the Procfile there/Proc: No such file"),
        (None, ["-f", "/dev/zero"], "/dev/zero is larger than 1 MiB, so it is no Procfile"),
        ("a: {}\n\nb {}\n", [], "Procfile, line 3: 'b {}' is not"),
        ("a: {}\nb:\n", [], "Procfile, line 2: 'b:' is not"),
        ("a: {}\n:x\n", [], "line 2"),
        ("a: {}\n b: {}\n", [], "line 2"),
        ("a.b: {}\n", [], "line 1"),
        ("a: {}\nb: {}\na: {}\n", [], "line 3: process 'a' is already defined"),
        ("", [], "no process"),
        ("# a: {}\n", [], "no process"),
        ("a: {}\0\n", [], "NUL"),
        ("a: {}\n", ["b"], "no process 'b'"),
        ("a: {}\n", ["a", "b"], "no process 'b'"),
        ("a: {}\n", ["-m", "b=1"], "--formation b=1: there is no process 'b' in the Procfile"),
        (
            "a: {}\nb: {}\n",
            ["-m", "b=1", "a"],
            "--formation b: the arguments do not select this process, only a",
        ),
        ("a: {}\n", ["-m", "a"], "'a' is not of the form"),
        ("a: {}\n", ["-m", "a=x"], "'a=x' is not of the form"),
        ("a: {}\n", ["-m", "a=-1"], "'a=-1' is not of the form"),
        ("a: {}\n", ["-m", "a=0"], "--formation a=0 leaves no process to start"),
        ("a: {}\n", ["-c", "a=0"], "--concurrency a=0 leaves no process to start"),
        ("a: {}\n", ["-c", "a"], "--concurrency: 'a' is not of the form"),
        ("a: {}\n", ["-c", "a=1", "-m", "a=1"], "--formation and --concurrency"),
        ("a: {}\n", ["-l", "a"], "Use the names as arguments"),
        ("a: {}\n", ["-q", "b"], "--quiet b: there is no such command; there are: 'a.1'"),
        ("a: {}\n", ["--hide", "a,b"], "--hide b"),
        ("a: {}\n", ["-p", "soon"], "--port: 'soon' is not a valid port"),
        ("a: {}\n", ["-p", "0"], "--port"),
        ("a: {}\nb: {}\n", ["-p", "65500"], "b.1: '65600' is not a valid port"),
        ("a: {}\n", ["-e", "none"], "cannot read the variables in none: No such file"),
        ("a: {}\n", ["-e", "bad"], "bad, line 3: 'X Y' is not of the form"),
        ("a: {}\n", ["-e", "latin"], "cannot read the variables in latin"),
        ("a: {}\n", ["-e", "port"], "PORT in the file of variables: 'x' is not a valid port"),
        ("a: {}\n", ["-s", "a"], "--success a"),
        ("a: {}\n", ["--raw", "--json"], "--raw and --json"),
    ],
)
def test_usage_error_is_reported_and_starts_no_process(
    run: Run, tmp_path: Path, procfile: str | None, arguments: list[str], message: str
) -> None:
    """A usage error is one line that names the mistake, and the status is 2."""
    (tmp_path / "bad").write_text("A=1\n\nX Y\nB=2\n")
    (tmp_path / "latin").write_bytes(b"A=\xe4\n")
    (tmp_path / "port").write_text("PORT=x")
    if procfile is not None:
        (tmp_path / "Procfile").write_text(procfile.replace("{}", "touch started"))
        message = message.replace("{}", "touch started")
    status, out, err = run(*arguments, subcommand="start", cwd=tmp_path)
    assert (status, out) == (2, b"")
    assert err.startswith(b"currant: ")
    assert err.count(b"\n") == 1
    assert message in err.decode()
    assert not (tmp_path / "started").exists()


# ---- check ----


def test_check_lists_the_processes_and_starts_no_process(run: Run, tmp_path: Path) -> None:
    """`currant check` prints one line for each process, in the order of the Procfile."""
    write_files(tmp_path, "# all\nweb: touch started\nworker: exit 3\n", env="A=1")
    ended = run(subcommand="check", cwd=tmp_path)
    assert ended == (0, b"web    | touch started\nworker | exit 3\n", b"")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("procfile", "env", "message"),
    [
        ("web true\n", "", b"currant: Procfile, line 1: 'web true' is not of the form"),
        ("web: true\n", "A B\n", b"currant: .env, line 1: 'A B' is not of the form"),
        ("", "", b"currant: Procfile defines no process\n"),
    ],
)
def test_check_reports_an_invalid_file(
    run: Run, tmp_path: Path, procfile: str, env: str, message: bytes
) -> None:
    """`currant check` reports an invalid file in one line with status 2."""
    write_files(tmp_path, procfile, env=env)
    status, out, err = run(subcommand="check", cwd=tmp_path)
    assert (status, out) == (2, b"")
    assert err.startswith(message)
    assert err.count(b"\n") == 1


# ---- signals and terminals ----


def test_signal_stops_all_processes(start: Start, tmp_path: Path, lifeline: Lifeline) -> None:
    """As with `currant run`, a signal stops the processes gracefully and sets the status."""
    write_files(
        tmp_path,
        "".join(f"{name}: {lifeline.hold(name)}; {EXEC_FOREVER}\n" for name in ("web", "worker")),
    )
    cli = start(subcommand="start", cwd=tmp_path)
    lifeline.wait_for("web", "worker")
    cli.signal(signal.SIGINT)
    assert cli.end().status == 130
    assert lifeline.ended() == {"web", "worker"}


def test_names_are_coloured_on_a_terminal(on_terminal: Start, tmp_path: Path) -> None:
    """On a terminal, each process has a colour and is allowed to write colours."""
    write_files(tmp_path, "web: echo $FORCE_COLOR")
    out = on_terminal(subcommand="start", cwd=tmp_path).end().out
    assert b"\x1b[36mweb.1 | " in out.replace(b"\x1b[0;", b"\x1b[")
    assert lines_of("web.1", plain(out)) == [b"1"]
