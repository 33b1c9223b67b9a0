"""``currant start`` as a stack, in the foreground and in the background, and its subcommands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import ANY

import pytest

from currant.cli._clients.ps import Screen
from tests.clis import CURRANT, STUBBORN_WHEN_READY, environment, type_on
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, LIMIT, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clis import Cli, Ended, Run, Start

pytestmark = pytest.mark.slow  # Each test starts Python several times.

PROCFILE = f"web: echo hello from web; exec cat\nworker: echo x$PORT; {EXEC_FOREVER}\n"


class Project(NamedTuple):
    """A folder with a Procfile, in which currant runs."""

    folder: Path
    run: Run
    env: dict[str, str]
    runtime: Path

    def __call__(self, subcommand: str, *arguments: str) -> Ended:
        """Run a subcommand."""
        return self.run(*arguments, subcommand=subcommand, cwd=self.folder, env=self.env)

    def until_logged(self, text: bytes) -> None:
        """Wait until the stack has received a line."""
        deadline = time.monotonic() + LIMIT
        while text not in self("logs", "-n", "all").out:
            assert time.monotonic() < deadline, f"not logged: {text!r}"

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Ended]:
        """Run the stack in the background."""
        try:
            yield self("start", "-d", *arguments)
        finally:
            self("down", "--now")


@pytest.fixture
def project(tmp_path: Path, runtime: Path, run: Run) -> Project:
    """Return a project with two processes."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Procfile").write_text(PROCFILE)
    return Project(folder, run, {"XDG_STATE_HOME": str(tmp_path / "state")}, runtime)


def log_of(project: Project) -> Path:
    """Return the log of the stack in the background."""
    (log,) = (project.folder.parent / "state" / "currant").glob("app-*.log")
    return log


def test_stack_in_the_background_whose_commands_succeed_at_once(project: Project) -> None:
    """The status is 0, whether the stack has ended before it could be asked or not."""
    (project.folder / "Procfile").write_text("once: echo done\n")
    ended = project("start", "-d")
    assert (ended.status, ended.err) == (0, b"")


@needs_proc
def test_stdout_and_stderr_follow_the_log_when_it_is_rotated(project: Project) -> None:
    """Otherwise warnings would go into a file that is gone, which nobody could empty."""
    (project.folder / "Procfile").write_text(f"web: seq 9999; echo all; {EXEC_FOREVER}\n")
    with project.running("--log-size", "10k"):
        project.until_logged(b"all")
        (stack,) = project.runtime.glob("*.json")
        log, pid = log_of(project), json.loads(stack.read_text())["pid"]
        deadline = time.monotonic() + LIMIT
        while {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (1, 2)} != {str(log)}:
            assert time.monotonic() < deadline
        assert {each.stat().st_mode & 0o777 for each in log.parent.iterdir()} == {0o600}


def test_stack_without_a_place_for_its_log_is_refused(project: Project) -> None:
    """A user without a home folder is told so, and no folder named ~ appears."""
    env = project.env | {"XDG_STATE_HOME": "", "HOME": "~"}
    ended = project.run("-d", subcommand="start", cwd=project.folder, env=env)
    assert ended.status == 2
    assert b"no place for the log of a stack" in ended.err
    assert b"set HOME or XDG_STATE_HOME" in ended.err
    assert [each.name for each in project.folder.iterdir()] == ["Procfile"]


def test_stack_in_the_background_from_start_to_down(project: Project) -> None:
    """The subcommands of a day find the stack by its folder."""
    with project.running("-k", "success", "--stdin", "pipe") as started:
        assert (started.status, started.err) == (0, b"")
        assert started.out.startswith(b"started 2 commands (pid ")
        assert str(log_of(project)).encode() in started.out

        web, worker = map(json.loads, project("ps", "--json").out.splitlines())
        assert (web["name"], web["state"], web["ready"]) == ("web.1", "running", True)
        table = project("ps").out.decode().splitlines()
        assert len(table) == 3
        assert table[2].split()[:4] == ["worker.1", "running", "yes", str(worker["pid"])]

        project.until_logged(b"hello from web")
        project.until_logged(b"x5100")
        assert project("logs", "web").out == b"web.1    | hello from web\n"
        assert project("logs", "--grep", r"x\d+00").out == b"worker.1 | x5100\n"

        assert project("send", "web", "hi there").status == 0
        project.until_logged(b"web.1    | hi there\n")

        again = project("start")
        assert again.status == 2
        assert b"a stack of %s runs already (pid " % bytes(project.folder) in again.err

        assert project("stop", "web") == (0, b"", b"")
        assert project("wait", "--ready", "web").status == 1
        assert project("up") == (0, b"started web.1\n", b"")
        assert project("up", "web") == (0, b"", b"")
        assert project("wait", "--ready") == (0, b"", b"")

        unknown = project("restart", "wroker")
        assert unknown.status == 2
        assert b"did you mean 'worker.1'?" in unknown.err
        assert project("restart", "worker") == (0, b"", b"")
        assert not is_alive(worker["pid"])

        unknown = project("signal", "USR9", "worker")
        assert unknown.status == 2
        assert b"unknown signal 'USR9'" in unknown.err
        assert project("signal", "0", "worker").status == 0
        assert project("signal", "USR1", "worker").status == 0
        assert project("wait", "worker").status == 128 + signal.SIGUSR1

    assert not is_alive(web["pid"])
    assert (project("ps").status, project("down").status) == (2, 2)
    assert list(project.runtime.iterdir()) == []
    assert b"web.1    | hello from web\n" in log_of(project).read_bytes()


def test_ctrl_c_while_a_stack_becomes_ready_says_that_it_goes_on(
    project: Project, start: Start
) -> None:
    """The stack is in the background already; Ctrl-C ends only the wait for it."""
    late = '[commands.late]\ncommand = "exec sleep 9999"\nready = "line:never"\n'
    (project.folder / "currant.toml").write_text(late)
    try:
        cli = start("-d", subcommand="start", cwd=project.folder, env=project.env)
        deadline = time.monotonic() + LIMIT
        while b'"running"' not in project("ps", "--json").out:
            assert time.monotonic() < deadline
        cli.signal(signal.SIGINT)
        ended = cli.end()
        assert (ended.status, ended.out) == (130, b"")
        assert b"currant: the stack runs (pid " in ended.err
        assert project("ps").status == 0
    finally:
        project("down", "--now")


def test_ctrl_c_while_a_stack_ends_says_that_it_is_ending(project: Project, start: Start) -> None:
    """The failure of one command stops the others, and one of them ignores the request."""
    (project.folder / "currant.toml").write_text(
        f"""[commands.deaf]\ncommand = "{STUBBORN_WHEN_READY}"\nready = "line:ready"\n"""
        """[commands.web]\ncommand = "exit 3"\nafter = "deaf"\nready = "line:up"\n"""
    )
    words = ("-d", "-k", "failure", "--grace", "9999")
    try:
        cli = start(*words, subcommand="start", cwd=project.folder, env=project.env)
        cli.read_until(b"currant: web: exit code 3; the stack is ending\n")
        cli.signal(signal.SIGINT)
        ended = cli.end()
        assert (ended.status, ended.out) == (130, b"")
        assert b"currant: the stack is ending (pid " in ended.err
        assert b"the stack runs" not in ended.err
    finally:
        project("down", "--now")


def test_reload_shows_the_difference_and_restarts_changed_commands(project: Project) -> None:
    """With `--dry-run` nothing else happens; a wrong file changes nothing."""
    with project.running("-k", "failure"):
        before = [json.loads(line)["pid"] for line in project("ps", "--json").out.splitlines()]
        same = b"2 unchanged; settings at the top level apply from the next 'currant start'\n"
        assert project("reload") == (0, same, b"")
        (project.folder / "Procfile").write_text(
            PROCFILE.replace("x$PORT", "y$PORT") + f"new: {EXEC_FOREVER}\n"
        )
        difference = b"start new.1: it is new\nrestart worker.1: it has changed\n1 unchanged\n"
        assert project("reload", "--dry-run") == (0, difference, b"")
        assert project("reload") == (0, difference, b"")
        after = [json.loads(line) for line in project("ps", "--json").out.splitlines()]
        assert [each["name"] for each in after] == ["web.1", "worker.1", "new.1"]
        assert [each["pid"] == pid for each, pid in zip(after, before, strict=False)] == [
            True,
            False,
        ]
        (project.folder / "Procfile").write_text("what is this\n")
        wrong = project("reload")
        assert (wrong.status, wrong.out) == (2, b"")
        assert b"Procfile, line 1" in wrong.err


CONFIGURATION = """
[commands.db]
command = "echo accepting; exec sleep 9999"
ready = { line = "accepting" }

[commands.web]
command = "exec sleep 9999"
after = ["db"]
"""


def test_stack_of_a_configuration_is_found_from_below_its_folder(project: Project) -> None:
    """`start -d` waits for probes, and `reload` reads the configuration again."""
    (project.folder / "currant.toml").write_text(CONFIGURATION)
    below = project.folder / "src"
    below.mkdir()
    inside = project._replace(folder=below)
    with inside.running() as started:
        assert started.out.startswith(b"started 2 commands")
        more = CONFIGURATION + '[commands.new]\ncommand = "exec sleep 9999"\nreplicas = 2\n'
        (project.folder / "currant.toml").write_text(more)
        lines = b"start new.1: it is new\nstart new.2: it is new\n2 unchanged\n"
        assert inside("reload") == (0, lines, b"")
        assert inside("wait", "--ready", "new") == (0, b"", b"")
        assert project("ps", "--json").out.count(b'"running"') == 4


def test_up_starts_a_command_that_start_has_left_out(project: Project) -> None:
    """A command with a profile, or one that was not named, and what it needs."""
    more = '[commands.debug]\ncommand = "exec sleep 9999"\nafter = "web"\nprofiles = ["debug"]\n'
    (project.folder / "currant.toml").write_text(CONFIGURATION + more)
    with project.running("db"):
        for name in (b"debgu", b"debug.2"):
            unknown = project("up", name.decode())
            assert unknown.status == 2
            known = b"did you mean 'debug'? There are: 'db', 'web', 'debug'"
            assert b"there is no command '" + name + b"'; " + known in unknown.err
        assert project("up", "debug") == (0, b"started web, debug\n", b"")
        listed = map(json.loads, project("ps", "--json").out.splitlines())
        assert sorted(each["name"] for each in listed if each["ready"]) == ["db", "debug", "web"]
        unchanged = b"3 unchanged; settings at the top level apply from the next 'currant start'\n"
        assert project("reload") == (0, unchanged, b"")


CRASHES = """
[commands.db]
command = "exec sleep 9999"

[commands.crash]
command = "echo trying; exit 3"
restart = { when = "on-failure", max_restarts = 1, delay = 0 }

[commands.once]
command = "echo no flag; test -e flag"

[commands.later]
command = "exec sleep 9999"
after = { once = "succeeded" }
"""


def test_failures_are_shown_by_start_and_logs_and_up_repairs_them(project: Project) -> None:
    """A user sees the exits and restarts between the lines, and starts all that does not run."""
    (project.folder / "currant.toml").write_text(CRASHES)
    with project.running() as started:
        assert started.status == 1
        assert b"currant: once: exit code 1\n    stdout: no flag\n" in started.err

        project("wait", "crash")
        output = b"crash | trying\n" * 2
        exited = b"currant: crash: exit code 3\n"
        events = exited + b"currant: crash: restarting in 0.0 s\n" + exited
        assert project("logs", "crash") == (0, output, events)
        for hidden in (("--quiet",), ("--grep", "trying")):
            assert project("logs", *hidden, "crash") == (0, output, b"")

        (project.folder / "flag").touch()
        assert project("up", "once", "later") == (0, b"started once, later\n", b"")


def test_start_in_the_background_tells_the_end_of_the_stack(project: Project) -> None:
    """If one failure stops all, the stack does not go on, and its exit status counts."""
    deaf = "trap '' TERM; while :; do sleep 9999; done"
    (project.folder / "currant.toml").write_text(
        f"""commands.deaf = "{deaf}"\n[commands.web]\ncommand = "exit 3"\nready = "line:up"\n"""
    )
    started = project("start", "-d", "-k", "failure", "--grace", "0.5")
    assert (started.status, started.out) == (3, b"")
    assert started.err.startswith(b"currant: 'web' is not ready: it has ended: exit code 3\n")
    assert b"\ncurrant: the stack has ended with exit status 3\n" in started.err
    assert b"the stack runs" not in started.err


def test_reload_changes_the_number_of_replicas(project: Project) -> None:
    """A single command has the common name of the replicas, and the other way round."""

    def write(replicas: int) -> None:
        text = f'[commands.a]\ncommand = "exec sleep 9999"\nreplicas = {replicas}\n'
        later = '[commands.b]\ncommand = "exec sleep 9999"\nafter = ["a"]\n'
        (project.folder / "currant.toml").write_text(text + later)

    write(2)
    with project.running():
        for replicas, names in ((1, ["a", "b"]), (3, ["a.1", "a.2", "a.3", "b"])):
            write(replicas)
            assert project("reload").err == b""
            listed = map(json.loads, project("ps", "--json").out.splitlines())
            assert sorted(each["name"] for each in listed if each["ready"]) == names
        (project.folder / "currant.toml").unlink()
        gone = f"currant: {project.folder / 'currant.toml'}: the configuration is gone\n"
        assert project("reload").err == gone.encode()


def test_start_in_the_background_reports_a_wrong_file(project: Project) -> None:
    """The error and the status are those of a start in the foreground; nothing runs."""
    (project.folder / "Procfile").write_text("what is this\n")
    started = project("start", "-d")
    assert (started.status, started.out) == (2, b"")
    assert started.err.startswith(b"currant: Procfile, line 1: 'what is this'")
    assert list(project.runtime.iterdir()) == []


def test_log_of_a_stack_is_rotated(project: Project) -> None:
    """However much the commands write, the logs take four times --log-size at most."""
    (project.folder / "Procfile").write_text(
        f"web: i=0; while [ $i -lt 20 ]; do seq 1000; i=$((i+1)); done; echo done; {EXEC_FOREVER}\n"
    )
    with project.running("--log-size", "10k", "--log-dir", "logs"):
        project.until_logged(b"done")
    for log in (log_of(project), project.folder / "logs" / "web.1.log"):
        files = list(log.parent.glob(f"{log.name}*"))
        assert len(files) == 4
        assert sum(file.stat().st_size for file in files) <= 4 * 10_240


def test_stack_in_the_foreground_listens_and_ends_as_before(project: Project, start: Start) -> None:
    """`stop` keeps it open; when all commands have ended by themselves, it ends."""
    (project.folder / "Procfile").write_text(f"a: {EXEC_FOREVER}\nb: {EXEC_FOREVER}\n")
    cli = start("-k", "failure", subcommand="start", cwd=project.folder, env=project.env)
    cli.read_until(b"a.1 started", b"b.1 started")
    assert project("stop").status == 0
    assert project("up", "a", "b").status == 0
    assert project("signal", "KILL", "a").status == 0
    ended = cli.end()
    assert ended.status == 128 + signal.SIGKILL
    assert b"currant: a.1: SIGKILL\n" in ended.err


def test_stack_without_a_place_for_its_socket_runs_all_the_same(
    project: Project, start: Start
) -> None:
    """A warning says that no client can connect."""
    (project.folder / "Procfile").write_text("a: echo hi\n")
    folder = project.runtime
    folder.mkdir()
    folder.chmod(0o755)
    cli = start(subcommand="start", cwd=project.folder, env=project.env)
    ended = cli.end()
    assert (ended.status, ended.out) == (0, b"a.1 | hi\n")
    assert b"others may look into it; run 'chmod 700' on it; the commands run without clients" in (
        ended.err
    )


def test_killed_stack_leaves_no_process_and_no_obstacle(project: Project) -> None:
    """After `kill -9` the guard stops the commands, and the next start finds no stale socket."""
    with project.running() as started:
        web = json.loads(project("ps", "--json").out.splitlines()[0])
        pid = int(started.out.split(b"pid ")[1].split(b")")[0])
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + LIMIT
        while is_alive(web["pid"]):
            assert time.monotonic() < deadline, "the guard has not stopped the command"
        assert project("ps").status == 2
        assert project("start", "-d").status == 0


def test_follower_ends_with_the_stack_and_by_ctrl_c(project: Project, start: Start) -> None:
    """`logs -f` shows new output, and dies of Ctrl-C like any program."""
    (project.folder / "Procfile").write_text(
        PROCFILE.replace("echo x$PORT", "echo >>starts; echo start $(wc -l <starts)")
    )
    with project.running():
        options = {"subcommand": "logs", "cwd": project.folder, "env": project.env}
        first, second = start("-f", **options), start("-f", "web", **options)  # type: ignore[arg-type]
        for cli in (first, second):
            cli.read_until(b"web.1    | hello from web\n")
        first.read_until(b"worker.1 | start 1\n")
        second.signal(signal.SIGINT)
        assert second.wait() == 128 + signal.SIGINT
        project("restart", "worker")
        first.read_until(b"worker.1 | start 2\n")
        project("down")
        assert first.end().status == 0


def test_follower_ends_with_its_reader(project: Project) -> None:
    """In ``currant logs -f | grep -q``, the first match ends both, even if no line follows."""
    follow = '{ "$@"; echo "status=$?" >&2; } | grep -q hello'
    with project.running():
        ended = subprocess.run(
            ["sh", "-c", follow, "sh", *CURRANT, "logs", "-f", "web"],
            cwd=project.folder,
            env=environment(project.env),
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            check=True,
        )
    assert ended.stderr == b"status=141\n"


def test_client_subcommands_import_nothing_that_runs_commands() -> None:
    """Importing that takes longer than `currant ps` may take."""
    program = (
        "import sys, asyncio; from currant.cli._clients import attach, one_request, ps, reload;"
        "slow = ('currant._supervisor', 'currant._synchronization', 'currant._p', 'rich');"
        "print([name for name in sys.modules if name.startswith(slow)])"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert shown == "[]\n"


KEEPS_MODES = 'trap : INT; stty -a >before; "$@"; status=$?; stty -a >after; exit $status'
"""A shell script that runs a program and notes the modes of the terminal before and after."""


def test_watched_table_fits_on_the_terminal(project: Project, on_terminal: Start) -> None:
    """A line that wraps could not be erased; after a change of the size all is erased."""
    screen, size = Screen(), os.terminal_size((5, 3))
    lines = ["title", "a longer line", "c", "d"]
    assert screen.show(lines, size) == "title\na lon"
    assert screen.show(lines[:1], size) == "\x1b[2A\x1b[Jtitle"
    assert screen.show(["t"], size) == "\x1b[1A\x1b[Jt"
    assert screen.show(lines, os.terminal_size((9, 9))) == "\x1b[H\x1b[Jtitle\na longer \nc\nd"
    with project.running():
        cli = on_terminal(
            "--watch", subcommand="ps", cwd=project.folder, env=project.env, columns=30
        )
        cli.read_until(b"\x1b[3A\x1b[J")
        type_on(cli, b"\x03")
        shown = cli.end().out
    assert max(map(len, shown.splitlines()[:3])) == 30


ATTACHED = """\
[commands]
silent = "echo hello; exec sleep 9999"

[commands.lines]
command = "echo hello; exec sed -u s/^/got:/"
stdin = "pipe"

[commands.keys]
command = "stty raw -echo; echo hello; exec cat -v"
pty = true
"""


def test_attach_fits_to_what_the_command_reads(project: Project, on_terminal: Start) -> None:
    """Lines for a pipe, each key for a terminal; afterwards this terminal is as it was before."""
    (project.folder / "currant.toml").write_text(ATTACHED)
    with project.running():
        for name, greeting, keys, shown, last in (
            ("silent", b", which reads nothing; Ctrl-]", b"", b"hello\r\n", b"x\x1d"),
            ("lines", b"; Ctrl-] or Ctrl-C", b"mistale\x7f\x7fke\n", b"got:mistake\r\n", b"\x1d"),
            ("lines", b"; Ctrl-] or Ctrl-C", b"a\n", b"got:a\r\n", b"\x03"),
            ("keys", b"; Ctrl-] disconnects", b"\x03", b"^C", b"\x1d"),
        ):
            cli = on_terminal(
                name,
                before=("/bin/sh", "-c", KEEPS_MODES, "sh"),
                subcommand="attach",
                cwd=project.folder,
                env=project.env,
            )
            cli.read_until(b"attached to %s" % name.encode() + greeting, b"hello")
            type_on(cli, keys)
            cli.read_until(shown)
            type_on(cli, last)
            ended = cli.end()
            assert ended.status == 0
            assert b"detached from %s, which goes on" % name.encode() in ended.out
            modes = [(project.folder / each).read_text() for each in ("before", "after")]
            assert modes[0] == modes[1]
        assert project("ps", "--json").out.count(b'"running"') == 3


PAUSABLE = """\
[commands]
silent = "echo hello; exec sleep 9999"

[commands.screen]
command = '''
stty raw -echo
trap 'echo drawn' WINCH
printf '\\033[?1049h\\033[?25lhello'
exec 3<&0
cat -v <&3 &
while :; do wait; done
'''
pty = true
"""

HAS_JOBS = """
"$@"
echo paused
read -r _
stty sane
echo resuming
fg
"""
"""A shell script that puts a paused program into the foreground again, with other modes."""


def shows_lines(cli: Cli) -> bool:
    """Return whether the terminal of `cli` shows keys and collects lines."""
    modes = termios.tcgetattr(cli._open["stdout"])[3]
    assert isinstance(modes, int)
    return bool(modes & (termios.ECHO | termios.ICANON))


@pytest.mark.parametrize("pause", ["ctrl-z", signal.SIGTSTP, signal.SIGSTOP])
def test_attach_can_be_paused(
    project: Project, on_terminal: Start, pause: str | signal.Signals
) -> None:
    """A pause restores the modes of the terminal and its screen; the end of the pause sets them."""
    (project.folder / "currant.toml").write_text(PAUSABLE)
    with project.running():
        cli = on_terminal(
            "silent" if pause == "ctrl-z" else "screen",
            before=("/bin/sh", "-mc", HAS_JOBS, "sh"),
            subcommand="attach",
            cwd=project.folder,
            env=project.env,
            columns=80,
        )
        cli.read_until(b"hello")
        assert not shows_lines(cli)
        if isinstance(pause, signal.Signals):
            os.killpg(os.tcgetpgrp(cli._open["stdout"]), pause)
        else:
            type_on(cli, b"\x1a")
        cli.read_until(b"paused")
        if pause != signal.SIGSTOP:
            assert shows_lines(cli)
        type_on(cli, b"\n")
        cli.read_until(b"resuming")
        deadline = time.monotonic() + LIMIT
        while shows_lines(cli):
            assert time.monotonic() < deadline, "the modes are not set again"
        if pause != "ctrl-z":
            cli.read_until(b"\x1b[?1049h\x1b[?25l", b"drawn")
            type_on(cli, b"\x03")
            cli.read_until(b"^C")
        type_on(cli, b"\x1d")
        assert cli.end().status == 0
    shown = cli.written("stdout")
    drawn = 2 if pause == signal.SIGTSTP else 1
    assert pause == "ctrl-z" or shown.count(b"\x1b[?1049l") == drawn


@pytest.mark.parametrize("name", ["silent", "screen"])
def test_attach_keeps_a_key_that_is_typed_before_it_has_the_terminal(
    project: Project, on_terminal: Start, name: str
) -> None:
    """The same holds for keys that are typed at the end of a pause."""
    (project.folder / "currant.toml").write_text(PAUSABLE)
    with project.running():
        cli = on_terminal(name, subcommand="attach", cwd=project.folder, env=project.env)
        type_on(cli, b"\x1d")
        assert cli.end().status == 0


def test_attach_with_a_file_as_stdin(project: Project) -> None:
    """epoll refuses a file, /dev/null among them; the end of the file disconnects."""
    with project.running("--stdin", "pipe"):
        assert project("attach", "web") == (
            0,
            ANY,
            b"currant: detached from web.1, which goes on\n",
        )
