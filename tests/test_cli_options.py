"""Test the options of `currant run` that set how commands run, and the usage errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pytest

from currant.cli._commands import currant
from tests.clis import (
    CURRANT,
    ROOT,
    environment,
)
from tests.waiting import LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run, Start

pytestmark = pytest.mark.slow  # Each test starts a Python interpreter.


def test_python_m_currant_equals_the_currant_script() -> None:
    """The entry point of the `currant` script does the same as ``python -m currant``."""
    script = "import sys; sys.argv[0] = 'currant'; from currant.cli import main; main()"
    arguments = ["run", "-n", "a", "echo out; echo err >&2; exit 7"]
    ended = [
        subprocess.run(
            [*words, *arguments],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        for words in (CURRANT, (sys.executable, "-c", script))
    ]
    shown = [(end.returncode, end.stdout, end.stderr) for end in ended]
    assert shown == [(7, b"a | out\n", b"a | err\ncurrant: a: exit code 7\n")] * 2


IMPORTED = """
import gc, os, sys
from currant.cli import main
def end(status):
    print("\\n", *sys.modules, *["frozen"] * bool(gc.get_freeze_count()), flush=True)
    leave(status)
leave, os._exit = os._exit, end
sys.argv = ["currant", *sys.argv[1:]]
main()
"""
"""Runs a command line, and prints the modules that it has imported.

The last word is "frozen" if no search for cycles looks at them.
"""

FEW_NEED = {
    *("difflib", "json", "logging.handlers", "shutil"),
    *("dotenv", "importlib.metadata", "pydantic", "rich", "watchfiles"),
    *("currant._remote", "currant.hosts", "currant.ready", "currant.sinks._directory"),
    *("currant.sinks._json", "currant.testing", "currant.view"),
}
"""What a command line without the option in question must not import, because it takes long."""


def imported(folder: Path, *words: str) -> set[str]:
    """Return the modules that a command line imports, in a folder with a configuration."""
    (folder / "currant.toml").write_text('[commands]\na = "true"\nb = "true"\n')
    script = [sys.executable, "-c", IMPORTED, *words]
    env = {**environment(), "PYTHONPATH": str(ROOT)}
    shown = subprocess.check_output(script, cwd=folder, env=env, text=True, timeout=LIMIT)
    return set(shown.splitlines()[-1].split())


def test_run_imports_only_what_it_needs(tmp_path: Path) -> None:
    """`currant run` starts at once: what reads files, and talks to clients, is not imported."""
    modules = imported(tmp_path, "run", "--quiet", "true")
    assert "currant._supervisor.runner" in modules
    others = {"tomllib", "currant.stack", "currant.config._load", "currant.config._problems"}
    assert modules & (FEW_NEED | others) == set()


def test_start_imports_only_what_it_needs(tmp_path: Path) -> None:
    """`currant start` needs pydantic's core and JSON, and nothing else that takes long."""
    modules = imported(tmp_path, "start", "--quiet")
    assert {"currant.config._load", "currant.stack._server", "frozen"} <= modules
    assert "pydantic_core" in modules
    assert modules & FEW_NEED == {"json"}


def test_interrupted_imports_show_no_traceback(tmp_path: Path) -> None:
    """Most of the start is imports: Ctrl-C there ends the program as if it came later."""
    (tmp_path / "anyio.py").write_text("raise KeyboardInterrupt")
    env = {**environment(), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "currant", "run", "true"]
    done = subprocess.run(command, env=env, capture_output=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_options(run: Run, option: str) -> None:
    """`--help` lists the options, explains the exit status and starts no command."""
    status, out, err = run(option)
    assert (status, err) == (0, b"")
    for text in ("--names", "--restart", "--kill-others-on", "--max-processes", "--grace", "128"):
        assert text in out.decode()


def test_help_has_a_whole_line_for_each_subcommand() -> None:
    """`currant --help` describes each subcommand once, in sections, in 80 columns."""
    shown = subprocess.run(
        [*CURRANT, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    titles = {
        "Run commands": "run",
        "Talk to a running stack": "ps",
        "Write and check": "init",
        "Look at a run": "report",
        "Other commands": "hosts",
    }
    sections = shown.stdout.split("\n\n")[-len(titles) :]
    for (title, name), section in zip(titles.items(), sections, strict=True):
        assert section.startswith(title)
        assert f"\n  {name} " in section
    lines = [line for section in sections for line in section.splitlines()[1:]]
    names = [line.split()[0] for line in lines]
    assert len(names) == len(set(names))
    assert [line for line in lines if line.endswith("...") or line[:4].isspace()] == []


def test_version_option_prints_the_package_version() -> None:
    """`--version` prints the installed version."""
    try:
        expected = version("currant")
    except PackageNotFoundError:
        pytest.skip("currant is not installed: pip install -e .")
    command = [*CURRANT, "--version"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=LIMIT, check=True)
    assert expected in shown.stdout.decode()
    assert shown.stderr == b""


def test_copy_without_metadata_has_no_version() -> None:
    """In a zipapp of the package alone, `--version` says that the version is not known."""
    program = (
        "import sys\n"
        "from importlib import metadata\n"
        "def version(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\n"
        "sys.argv = ['currant', '--version']\n"
        "from currant.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", program]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=LIMIT, check=True)
    assert shown.stdout == b"currant, version unknown: currant was copied without its metadata\n"
    assert shown.stderr == b""


# ---- how commands run ----


def test_cwd_sets_the_working_directory_of_all_commands(run: Run, tmp_path: Path) -> None:
    """`--cwd` sets the working directory of every command."""
    assert run("-n", "a", "--cwd", str(tmp_path), "pwd").out == b"a | %s\n" % bytes(tmp_path)


@pytest.mark.parametrize("name", ["INT", "sigint", "2"])
def test_stop_signal_option_sets_the_signal_of_the_stop_request(start: Start, name: str) -> None:
    """`--stop-signal` accepts a signal name with or without SIG, or a number."""
    command = f"trap 'echo int; exit' INT; echo go; {TRAPS_SIGNALS}"
    cli = start("-n", "a", "--stop-signal", name, command)
    cli.read_until(b"go\n")
    cli.signal(signal.SIGTERM)
    cli.read_until(b"int\n")
    assert cli.end().status == 143


def test_wrap_option_puts_words_before_each_command(run: Run) -> None:
    """The words are quoted as in a shell; a program that is missing is reported once."""
    end = run("-n", "a", "--wrap", "env MARK='a b'", 'echo "$MARK"')
    assert end == (0, b"a | a b\n", b"")
    status, out, err = run("-n", "a", "--wrap", "no-such-box --", "true")
    assert (status, out) == (2, b"")
    assert b"there is no program 'no-such-box'" in err


def test_restart_options_limit_and_delay_the_restarts(run: Run) -> None:
    """`--max-restarts` limits the restarts, and `--restart-delay` sets the first delay."""
    options = ("--restart", "on-failure", "--max-restarts", "1", "--restart-delay", "0")
    status, out, err = run("-n", "a", *options, "echo 1; exit 3")
    assert (status, out) == (3, b"a | 1\na | 1\n")
    assert b"restarting in 0.0 s" in err


def test_restart_factor_multiplies_the_delays(run: Run) -> None:
    """With a factor of 1, the delay stays the first delay, give or take a tenth."""
    options = ("--restart", "on-failure", "--max-restarts", "3", "--restart-delay", "0.2")
    _, _, err = run("-n", "a", *options, "--restart-factor", "1", "exit 3")
    assert err.count(b"restarting in 0.2 s") == 3


@pytest.mark.parametrize("percentage", ["1%", "100%"])
def test_max_processes_accepts_a_percentage_of_the_cpus(run: Run, percentage: str) -> None:
    """At least one command runs, however small the percentage."""
    assert run("-n", "a", "-m", percentage, "echo 1") == (0, b"a | 1\n", b"")


@pytest.mark.parametrize(
    ("env", "shown"),
    [({}, b"1"), ({"PYTHONUNBUFFERED": ""}, b""), ({"PYTHONUNBUFFERED": "x"}, b"x")],
)
def test_python_commands_do_not_buffer_their_output(
    run: Run, env: dict[str, str], shown: bytes
) -> None:
    """Currant sets PYTHONUNBUFFERED for the commands unless the variable is already set."""
    assert run("-n", "a", "echo $PYTHONUNBUFFERED", env=env).out == b"a | " + shown + b"\n"


def test_force_color_is_not_set_if_the_output_is_a_pipe(run: Run) -> None:
    """Output to a file or a pipe is for programs, so currant does not ask commands for colours."""
    assert run("-n", "a", "echo $FORCE_COLOR").out == b"a | \n"


def test_env_file_option_sets_variables(run: Run, tmp_path: Path) -> None:
    """A later `--env-file` overrides an earlier file, and both override currant's variables."""
    (tmp_path / "one").write_text("A=1\nB='b b'\nPYTHONUNBUFFERED=\n")
    (tmp_path / "two").write_text("A=2\n")
    files = [f"--env-file={tmp_path / name}" for name in ("one", "two")]
    command = 'echo "$A $B $C [$PYTHONUNBUFFERED]"'
    assert run("-r", *files, command, env={"A": "0", "C": "3"}).out == b"2 b b 3 []\n"


def test_currant_raises_the_file_descriptor_limit_for_many_commands(run: Run) -> None:
    """If the system allows, the soft limit of open files is raised as far as the commands need."""
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh", *CURRANT, "run", *["echo $$"] * 100],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(ended.stdout.splitlines()) == 100


# ---- usage errors ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["--no-such-option", "{}"], "--no-such-option"),
        (["--kill-others", "{}"], "Use --kill-others-on exit."),
        (["--restart-tries", "3", "{}"], "Use --restart on-failure --max-restarts N."),
        (["--timeout", "60", "{}"], "for a time limit the command 'timeout 60 make'."),
        (["--no-color", "{}"], "Use --color never."),
        (["--restart", "sometimes", "{}"], "sometimes"),
        (["--kill-others-on", "boredom", "{}"], "boredom"),
        (["--max-processes", "0", "{}"], "--max-processes"),
        (["--metrics", "0", "{}"], "0 is not in the range"),  # Nobody would know the port.
        (["--max-processes", "many", "{}"], "many"),
        (["--grace", "-1", "{}"], "--grace"),
        (["--grace", "soon", "{}"], "soon"),
        (["--grace", "5s", "{}"], "'5s' is not a valid number of seconds"),
        (["--grace", "nan", "{}"], "grace"),
        (["--max-output", "0", "{}"], "'0' must be a number of bytes >= 1"),
        (["--max-output", "10MB", "{}"], "'10MB' must be a number of bytes >= 1, or of KiB"),
        (["--max-output", "", "{}"], "--max-output"),
        (["--names", "a,b", "{}"], "2 names for 1 command"),
        (["--names", "a", "{}", "{}"], "1 name"),
        (["--names", "a,a", "{}", "{}"], "'a'"),
        (["--names", "a,", "{}", "{}"], "name"),
        (["{}", ""], "blank"),
        (["{}", " "], "blank"),
        (["--prefix", "{nmae}", "{}"], "unknown field {nmae}"),
        (["--colors", "blurple", "{}"], "blurple"),
        (["--colors", "red,red", "{}"], "2 colours for 1 command"),
        (["--raw", "--group", "{}"], "--raw and --group"),
        (["--json", "--raw", "{}"], "--raw and --json"),
        (["--max-restarts", "3", "{}"], "--restart"),
        (["--restart-delay", "3", "{}"], "--restart"),
        (["--stop-signal", "FOO", "{}"], "'FOO'; give a name such as TERM, or a number"),
        (["--wrap", "nice 'x", "{}"], 'cannot split "nice \'x": No closing quotation'),
        (["--max-processes", "0%", "{}"], "0%"),
        (["--restart-factor", "3", "{}"], "--restart-factor requires --restart"),
        (["--restart-factor", "0.5", "--restart", "always", "{}"], "--restart-factor"),
        (["--success", "b", "-n", "a", "{}"], "--success b"),
        (["--success", "!b", "-n", "a", "{}"], "--success !b"),
        (["--success", "command-1", "-n", "a", "{}"], "--success command-1"),
        (["--hide", "b", "-n", "a", "{}"], "--hide b"),
        (["--hide", "1", "-n", "a", "{}"], "--hide 1"),
        (["--cwd", "/no/such/folder", "{}"], "/no/such/folder"),
        (["--env-file", "/no/such/file", "{}"], "cannot read the variables in /no/such/file"),
    ],
)
def test_usage_error_is_reported_and_starts_no_command(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """A usage error is one line that names the mistake, and the status is 2."""
    touch = f"touch '{tmp_path}/started'"
    status, out, err = run(*[argument.replace("{}", touch) for argument in arguments])
    assert (status, out) == (2, b"")
    lines = err.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("currant: ")
    assert message in lines[0]
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("arguments", [["walk"], ["--no-such-option"]])
def test_unknown_subcommand_is_a_usage_error(arguments: list[str]) -> None:
    """An unknown subcommand or global option gives status 2 and a message that names it."""
    ended = subprocess.run(
        [*CURRANT, *arguments, "true"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert arguments[0] in ended.stderr.decode().splitlines()[-1]


@pytest.mark.parametrize(
    ("given", "hint"), [("pss", "; did you mean 'currant ps'? "), ("zzzz", "; ")]
)
def test_unknown_subcommand_gets_the_nearest_right_one(given: str, hint: str) -> None:
    """The error names the nearest subcommand, if one is near, and the help."""
    from click import UsageError

    expected = f"there is no subcommand {given!r}{hint}'currant --help' lists them all"
    with pytest.raises(UsageError) as caught:
        currant.main([given], prog_name="currant", standalone_mode=False)
    assert caught.value.message == expected


def test_missing_program_is_reported_by_the_shell(run: Run) -> None:
    """If the shell cannot find the program, the command fails with the shell's exit code 127."""
    status, out, err = run("-n", "a", "no-such-program")
    assert (status, out) == (127, b"")
    assert b"a | " in err
    assert b"not found" in err
    assert err.endswith(b"currant: a: exit code 127\n")


def test_watched_files_restart_the_commands(start: Start, tmp_path: Path) -> None:
    """`--watch` restarts a command that has failed, except for the files of `--watch-ignore`."""
    options = ("-n", "a", "--watch", "src", "--watch-ignore", "*.txt", "--restart", "never")
    (tmp_path / "src").mkdir()
    cli = start(*options, "cat src/app && exec sleep 9999", cwd=tmp_path)
    cli.read_until(b"a: exit code 1")
    (tmp_path / "src/a.txt").write_text("x")
    (tmp_path / "src/app").write_text("works\n")
    cli.read_until(b"a | works\n")
    assert b"currant: a: restarting: src/app changed\n" in cli.written("stderr")
    cli.signal(signal.SIGTERM)
    assert cli.end().status == 143


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--watch-ignore", "x"], b"--watch-ignore requires --watch"),
        (["--watch", "src", "--hosts", "a"], b"--watch and --hosts cannot be combined"),
        (["--watch", "src", "--watch-ignore", "!"], b"'!' is not a pattern of .gitignore"),
    ],
)
def test_wrong_options_of_a_watch_start_nothing(
    run: Run, options: list[str], problem: bytes
) -> None:
    """One line says what is wrong."""
    status, out, err = run(*options, "echo started")
    assert (status, out) == (2, b"")
    assert problem in err
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    "words",
    [["run", "npm:x"], ["run", "--watch", "x", "true"], ["start"], ["ps"], ["init"]],
    ids=" ".join,
)
def test_deleted_current_folder_is_told(start: Start, tmp_path: Path, words: list[str]) -> None:
    """A command that looks for files from the current folder on says that the folder is gone."""
    before = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"]
    cli = start(*words[1:], subcommand=words[0], before=before, cwd=tmp_path)
    message = b"currant: the current folder was deleted; change to another one\n"
    assert cli.end() == (2, b"", message)
