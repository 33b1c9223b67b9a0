"""Test `currant exec` and `currant completion`."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from currant.cli._commands import currant
from tests.clis import environment

if TYPE_CHECKING:
    from tests.clis import Run

pytestmark = pytest.mark.slow  # Each test starts Python at least once.

PROGRAM = Path(sys.executable).with_name("currant")


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Return a folder with a Procfile and its variables."""
    (tmp_path / "Procfile").write_text("web: serve\nworker: work\n")
    (tmp_path / ".env").write_text("TOKEN=secret\n")
    return tmp_path


def test_command_has_the_environment_of_a_process(run: Run, application: Path) -> None:
    """The command has the variables, the port and the folder, and its exit status is currant's."""
    words = ("sh", "-c", 'echo $TOKEN $PORT $PS "$(pwd)"; exit 3')
    ended = run("-f", f"{application}/Procfile", "worker.2", "--", *words, subcommand="exec")
    assert ended.status == 3
    assert ended.out == f"secret 5101 worker.2 {application}\n".encode()


def test_command_has_the_environment_of_a_command_of_the_configuration(
    run: Run, tmp_path: Path
) -> None:
    """The command has the variables, the folder and the number of a replica."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "currant.toml").write_text(
        '[commands]\nweb = { command = "serve", cwd = "sub", env = { A = "1" }, replicas = 2 }\n'
    )
    words = ("sh", "-c", 'echo $A $CURRANT_REPLICA "$(pwd)"')
    ended = run("web.2", "--", *words, subcommand="exec", cwd=tmp_path)
    assert ended.out == f"1 2 {tmp_path}/sub\n".encode()
    assert ended.status == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["wob", "--", "true"], b"there is no process 'wob' in the Procfile; did you mean 'web'?"),
        (["web"], b"give the command to run: currant exec web -- COMMAND"),
        (["web", ""], b"give the command to run: currant exec web -- COMMAND"),
        (["web." + "9" * 5000, "true"], b"there is no process 'web.9"),
        (["-e", "nul", "web", "true"], b"the variable A contains a NUL byte"),
        (["web", "no-such-program"], b"there is no program 'no-such-program' in the PATH"),
        (["web", "./no"], b"'./no', or the interpreter that its first line names, does not exist"),
    ],
)
def test_wrong_name_or_command_is_an_error(
    run: Run, application: Path, words: list[str], text: bytes
) -> None:
    """A mistake is one line, and the status is 2."""
    (application / "nul").write_text("A=\0")
    ended = run(*words, subcommand="exec", cwd=application)
    assert (ended.status, ended.out) == (2, b"")
    assert ended.err.startswith(b"currant: " + text)


def test_bash_completes_processes_with_the_installed_script(run: Run, application: Path) -> None:
    """The script is written where bash-completion looks for it, and completes names."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    home = {"XDG_DATA_HOME": str(application)}
    installed = run("bash", "--install", subcommand="completion", env=home)
    script = application / "bash-completion" / "completions" / "currant"
    assert installed.status == 0
    assert installed.out.startswith(f"{script} is written.".encode())
    complete = f"""
        source {script}
        for subcommand in exec logs; do
            COMPREPLY=() COMP_WORDS=(currant $subcommand wo) COMP_CWORD=2
            _currant_completion {PROGRAM}
            echo "${{COMPREPLY[@]}}"
        done
    """
    completed = subprocess.run(
        [bash, "--norc", "-c", complete],
        cwd=application,
        env=environment(),
        capture_output=True,
        check=True,
    )
    assert completed.stdout == b"worker\nworker\n"


def test_completion_of_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is printed; there is no place to install it."""
    from click.testing import CliRunner

    def getpwuid(number: int) -> NoReturn:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "_currant_completion" in CliRunner().invoke(currant, ["completion", "bash"]).stdout
    refused = CliRunner().invoke(currant, ["completion", "bash", "--install"])
    assert refused.exit_code == 2
    assert "this user has no home folder; set HOME" in refused.stderr
