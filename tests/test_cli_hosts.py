"""`currant run`, `start` and `hosts check` with hosts.

The hosts are agents of this machine: ``--ssh`` names a stub that runs the rest of its line here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click  # noqa: TID253 - the options are read without a process
import pytest

from currant import CommandError, HostLost, HostLostError, HostUp
from currant._remote.connection import CONNECT_LIMIT
from currant._system.processors import usable_processors
from currant.cli import _check_hosts as checking
from currant.cli._prepare.from_command_lines import runner_from_command_lines
from currant.cli._prepare.hosts import HostRemark
from currant.cli._run_commands import run as run_command
from currant.hosts import LOCAL, Host, argv
from tests.clis import (
    CURRANT,
    NO_TERMINAL,
    PAUSES,
    ROOT,
    STUBBORN_WHEN_READY,
    environment,
    lines_of,
    type_on,
)
from tests.system import needs_proc
from tests.waiting import LIMIT, TRAPS_SIGNALS

if TYPE_CHECKING:
    from typing import Protocol

    from currant.cli._prepare.runner import Prepared
    from tests.clis import Ended, Run, Start
    from tests.lifeline import Lifeline
    from tests.sshd import Server

    class OnHosts(Protocol):
        """The type of the fixtures `on` and `check`."""

        def __call__(self, hosts: str, *arguments: str) -> Ended:
            """Run currant with these hosts."""
            ...


pytestmark = [pytest.mark.slow, needs_proc]  # Each test starts Python interpreters.

STUB = """#!/bin/sh
for word; do host=$line; line=$word; done
echo "$@" >> "$0.log"
case $host in
bad*) echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255;;
esac
exec sh -c "$line"
"""
"""An ssh to hosts that all are this machine, but for those that begin with bad."""

RULE = "-" * 15


@pytest.fixture
def ssh(tmp_path: Path) -> str:
    """The path of the stub; its log has the arguments of each call."""
    stub = tmp_path / "ssh"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return str(stub)


@pytest.fixture
def on(run: Run, ssh: str) -> OnHosts:
    """Run ``currant run`` on hosts."""

    def run_on(hosts: str, *arguments: str) -> Ended:
        return run("--hosts", hosts, "--ssh", ssh, *arguments)

    return run_on


@pytest.fixture
def check(run: Run, ssh: str) -> OnHosts:
    """Run ``currant hosts check``."""

    def check(hosts: str, *arguments: str) -> Ended:
        return run("check", "--hosts", hosts, "--ssh", ssh, *arguments, subcommand="hosts")

    return check


# ---- where commands run ----


def test_each_command_runs_once_where_there_is_room(on: OnHosts) -> None:
    """Two commands are spread over two hosts; a prefix may name the host."""
    ended = on(
        "a,b", "-n", "x,y", "-p", "{host}/{name}: ", "echo $CURRANT_HOST", "echo $CURRANT_HOST"
    )
    assert (ended.status, ended.err) == (0, b"")
    assert sorted(ended.out.splitlines()) in (
        [b"a/x: a", b"b/y: b"],
        [b"a/y: a", b"b/x: b"],
    )


def test_every_command_runs_on_each_host(on: OnHosts) -> None:
    """Its name has the host, and LOCAL is this machine."""
    ended = on("h[1-2],LOCAL", "--each", "-n", "x", "echo ${CURRANT_HOST-here}")
    assert (ended.status, ended.err) == (0, b"")
    for name, where in (("x@h1   ", b"h1"), ("x@h2   ", b"h2"), ("x@local", b"local")):
        assert lines_of(name, ended.out) == [where]


def test_options_of_ssh_and_the_python_reach_the_host(on: OnHosts, run: Run, ssh: str) -> None:
    """The words of ``--ssh`` come first; ``--python`` replaces the search."""
    python = environment()["PATH"].split(":")[0] + "/no-such-python"
    ended = run("--hosts", "me@a", "--ssh", f"{ssh} -J 'the bastion'", "--python", python, "true")
    assert ended.status == 1
    assert b"no-such-python" in ended.err
    called = Path(f"{ssh}.log").read_text()
    assert called.startswith("-J the bastion -T ")
    assert " -- me@a exec " in called


def test_file_names_more_hosts(on: OnHosts, tmp_path: Path) -> None:
    """Its hosts come behind those of ``--hosts``; slots hold up the second command."""
    (tmp_path / "list").write_text("# two\nb slots=1\nLOCAL\n")
    ended = on("a", "--hosts-file", str(tmp_path / "list"), "--each", "-n", "x", "true", "--json")
    started = [json.loads(line) for line in ended.out.splitlines()]
    names = [each["command"] for each in started if each["type"] == "started"]
    assert sorted(names) == ["x@a", "x@b", "x@local"]


def test_one_command_at_a_time_on_each_host(on: OnHosts, tmp_path: Path) -> None:
    """``--per-host 1``: the second command begins when the first has ended."""
    line = f"mkdir {tmp_path}/busy && rmdir {tmp_path}/busy"
    assert on("a", "--per-host", "1", *[line] * 5).status == 0


def test_working_directory_is_that_of_the_host(on: OnHosts, tmp_path: Path) -> None:
    """Whether it exists is asked there; without hosts, it is asked here."""
    assert on("a", "-n", "x", "--cwd", str(tmp_path), "pwd").out == b"x | %s\n" % bytes(tmp_path)
    ended = on("a", "--cwd", "/no/such/folder", "pwd")
    assert ended.status == 2
    assert b"/no/such/folder" in ended.err


def test_processes_of_a_procfile_run_on_hosts(run: Run, ssh: str, tmp_path: Path) -> None:
    """`start` has the same options; only this machine has the folder of the Procfile."""
    line = 'web: echo $PORT $CURRANT_HOST "$(basename "$PWD")"\n'
    (tmp_path / "Procfile").write_text(line)
    file = os.path.relpath(tmp_path / "Procfile", ROOT)
    way = ("--hosts", "a,LOCAL", "--ssh", ssh, "--each")
    ended = run("-f", file, *way, "-q", "-k", "failure", subcommand="start")
    assert ended.status == 0
    assert sorted(ended.out.decode().splitlines()) == [
        f"web.1@a     | 5000 a {ROOT.name}",
        f"web.1@local | 5000 local {tmp_path.name}",
    ]


def test_folders_of_a_configuration_belong_to_this_machine(
    run: Run, ssh: str, tmp_path: Path
) -> None:
    """On another host, a relative folder starts where commands begin there."""
    (tmp_path / "docs").mkdir()
    text = '[commands]\nhere = "pwd"\ndocs = { command = "pwd", cwd = "docs" }\n'
    (tmp_path / "currant.toml").write_text(text)
    way = ("--hosts", "a,LOCAL", "--ssh", ssh, "--each")
    ended = run("-f", str(tmp_path / "currant.toml"), *way, "-q", subcommand="start")
    assert (ended.status, ended.err) == (0, b"")
    assert sorted(ended.out.decode().splitlines()) == [
        f"docs@a     | {ROOT}/docs",
        f"docs@local | {tmp_path}/docs",
        f"here@a     | {ROOT}",
        f"here@local | {tmp_path}",
    ]


TOML = """
[commands.db]
command = "echo up"

[commands.web]
command = "echo $CURRANT_HOST"
after = { db = "succeeded" }
restart_with = "db"
"""


def test_commands_of_a_configuration_depend_on_their_copies(
    run: Run, ssh: str, tmp_path: Path
) -> None:
    """With ``--each``, the name of another command means its copy on the same host."""
    (tmp_path / "currant.toml").write_text(TOML)
    way = ("--hosts", "a,b", "--ssh", ssh, "--each")
    ended = run("-f", str(tmp_path / "currant.toml"), *way, "-q", subcommand="start")
    assert (ended.status, ended.err) == (0, b"")
    lines = ended.out.splitlines()
    for host in (b"a", b"b"):
        of_host = [line for line in lines if line.split()[0].endswith(b"@" + host)]
        assert of_host == [b"db@%s  | up" % host, b"web@%s | %s" % (host, host)]


def test_variables_never_appear_in_command_lines(start: Start, ssh: str, tmp_path: Path) -> None:
    """They go through the pipe; `ps` shows none of them, from whatever source they come."""
    (tmp_path / "env").write_text("FROM_FILE=hush-hush-1\n")
    cli = start(
        *("--hosts", "a", "--ssh", ssh, "--forward-env", "FORWARDED", "-n", "x"),
        *("--env-file", str(tmp_path / "env"), 'echo "${#FROM_FILE} ${#FORWARDED}"; sleep 9999'),
        env={"FORWARDED": "hush-hush-22"},
    )
    cli.read_until(b"x | 11 12\n")
    lines = {entry: command_line(entry) for entry in filter(str.isdecimal, os.listdir("/proc"))}
    assert any(b"CURRANT_HOST" not in line and b"sleep" in line for line in lines.values())
    assert not [line for line in lines.values() if b"hush-hush" in line]
    cli.signal(signal.SIGTERM)
    assert cli.end().status == 128 + signal.SIGTERM


def command_line(pid: str) -> bytes:
    """Return what `ps` shows of a process; nothing if it has ended."""
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


# ---- what is shown ----


def test_equal_output_of_hosts_is_shown_once(on: OnHosts) -> None:
    """The title folds the hosts and counts them."""
    line = "[ $CURRANT_HOST = n2 ] && echo old && exit 3; echo new"
    ended = on("a,n[1-3]", "--each", "--same", line)
    assert ended.status == 3
    assert ended.out.decode().splitlines() == [
        *(RULE, "a,n[1,3] (3)", RULE, "new"),
        *(RULE, "n2 (1): exit code 3", RULE, "old"),
    ]
    assert ended.err == b""


def test_output_of_a_command_is_hidden_on_all_hosts(on: OnHosts) -> None:
    """``--hide`` takes the name without the host."""
    ended = on("a,b", "--each", "-n", "x,y", "--hide", "x", "echo 1", "echo 2")
    assert sorted(ended.out.splitlines()) == [b"y@a | 2", b"y@b | 2"]


def test_each_host_has_its_folder_of_logs(on: OnHosts, tmp_path: Path) -> None:
    """The files are HOST/NAME.log."""
    on("a,b", "--each", "-n", "x", "--log-dir", str(tmp_path / "logs"), "echo $CURRANT_HOST")
    logs = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("logs/*/*")}
    assert logs == {"logs/a/x.log": "a\n", "logs/b/x.log": "b\n"}


def test_summary_is_grouped_by_host_and_names_lost_ones(on: OnHosts) -> None:
    """If only hosts were lost, the status is 1, and that is said."""
    ended = on("n10,n9,bad", "--each", "--summary", "-n", "x,y", "true", "true")
    reason = "ssh: Could not resolve hostname bad: Name or service not known"
    lines = [line.split() for line in ended.err.decode().splitlines()]
    assert ended.status == 1
    rows = [line[:3] for line in lines if line[1:2] and "@" in line[1] and line[0] != "currant:"]
    assert rows == [
        *(["bad", "x@bad", "failed"], ["bad", "y@bad", "failed"]),
        *(["n9", "x@n9", "succeeded"], ["n9", "y@n9", "succeeded"]),
        *(["n10", "x@n10", "succeeded"], ["n10", "y@n10", "succeeded"]),
    ]
    assert f"host never reached: bad (1): {reason}".split() in lines
    assert ended.err.count(b"cannot reach the host 'bad'") == 1
    assert b"currant: no command failed but those on lost hosts: bad (1)\n" in ended.err


def test_failure_of_a_command_counts_more_than_a_lost_host(on: OnHosts) -> None:
    """Its exit code is that of currant."""
    ended = on("a,bad", "--each", "exit 7")
    assert ended.status == 7
    assert b"lost hosts" not in ended.err


def test_no_host_at_all_is_an_error(on: OnHosts) -> None:
    """The status is 1, and ssh's reason is shown once."""
    ended = on("bad1", "true")
    assert (ended.status, ended.out) == (1, b"")
    assert ended.err.count(b"Could not resolve hostname bad1") == 1


def test_lost_host_is_told_once(start: Start, ssh: str) -> None:
    """The reason is shown, and which command has failed because of it."""
    cli = start("--hosts", "a", "--ssh", ssh, "-n", "x", "echo $PPID; sleep 9999")
    cli.read_until(b"x | ", b"\n")
    os.kill(int(cli.written("stdout").split()[2]), signal.SIGKILL)
    ended = cli.end()
    assert ended.status == 1
    lines = ended.err.decode().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("currant: the host 'a' is lost: ")
    assert lines[1:] == [
        "currant: 'x' has failed: its host 'a' is lost",
        "currant: no command failed but those on lost hosts: a (1)",
    ]


def test_host_that_is_back_is_told_if_its_loss_was() -> None:
    """A host that comes up for the first time is no news."""
    remark = HostRemark()
    up, lost = HostUp("a", 0.0), HostLost("a", HostLostError("a", "gone"), 0.0)
    said = [remark(each) for each in (up, lost, up, up)]
    assert said == [None, None, "the host 'a' is up again", None]


# ---- wrong options ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "a[1-", "x"], "'--hosts': cannot read the host list 'a[1-': a bracket"),
        (["--hosts", "-oProxyCommand=x", "x"], "'--hosts': "),
        (["--hosts", " , ", "x"], "'--hosts': ' , ' names no host"),
        (["--hosts-file", "/no/file", "x"], "'--hosts-file': cannot read /no/file: No such file"),
        (["--hosts", "a", "--per-host", "0", "x"], "'--per-host': '0' must be an integer >= 1"),
        (["--hosts", "a", "--ssh", "", "x"], "'--ssh': '' must begin with a program"),
        (["--hosts", "a", "--forward-env", "A=1", "x"], "'--forward-env': 'A=1' must be the name"),
        (["--hosts", "a", "--python", "", "x"], "--python must be the name or the path"),
        (["--hosts", "a,b", "--hosts", "a", "x"], "--hosts: 'a' is named more than once"),
        (
            ["--hosts", "LOCAL,LOCAL", "x"],
            "--hosts: 'LOCAL' is named more than once; write 2/LOCAL",
        ),
        (["--each", "x"], "--each requires --hosts or --hosts-file"),
        (["--forward-env", "A", "x"], "--forward-env requires --hosts or --hosts-file"),
        (["--hosts", "a", "--same", "x"], "--same requires --each"),
        (["--hosts", "a", "--cgroup", "auto", "x"], "--cgroup and --hosts cannot be combined"),
        (["--hosts", "a", "--each", "--same", "--json", "x"], "--json and --same cannot be"),
        (["--hosts", "a", "--each", "--same", "-p", "x", "x"], "--same and --prefix cannot be"),
    ],
)
def test_wrong_option_is_named(arguments: list[str], message: str) -> None:
    """Nothing is connected to."""
    with pytest.raises((click.UsageError, CommandError)) as raised:
        build(*arguments)
    error = raised.value
    shown = error.format_message() if isinstance(error, click.UsageError) else str(error)
    assert message in shown
    assert "\n" not in shown


def build(*arguments: str) -> Prepared:
    """Return what `currant run` would run."""
    options: Any = run_command.make_context("run", list(arguments)).params
    return runner_from_command_lines(options.pop("commands"), options)


def test_wrong_option_is_a_usage_error(run: Run) -> None:
    """The status is 2, and there is one line, whoever has found the error."""
    for arguments in (["--hosts", "a[1-", "x"], ["--each", "x"]):
        status, out, err = run(*arguments)
        assert (status, out, err.count(b"\n")) == (2, b"", 1)
        assert err.startswith(b"currant: ")


def test_options_are_completed() -> None:
    """The shell completes the options about hosts like all others."""
    for words, expected in (
        ("currant run --fo", "plain,--forward-env"),
        ("currant hosts check --ho", "plain,--hosts-file"),
    ):
        count = len(words.split()) - 1
        env = {"_CURRANT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        program = "import sys; sys.argv = ['currant']; from currant.cli import main; main()"
        completed = subprocess.run(
            [CURRANT[0], "-c", program],
            env=environment(env),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert expected in completed.stdout.splitlines()


# ---- the end ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_nothing_on_hosts(
    start: Start, ssh: str, lifeline: Lifeline, number: signal.Signals
) -> None:
    """currant stops the commands, and then dies of the signal."""
    line = f"{lifeline.hold('x')}; {STUBBORN_WHEN_READY}"
    cli = start(*("--hosts", "a,b", "--ssh", ssh, "--each", "--grace", "0.2", "-n", "x"), line)
    cli.read_until(b"x@a | ready", b"x@b | ready")
    cli.signal(number)
    assert cli.end().status == 128 + number
    lifeline.wait_for_end()


def test_signal_ends_the_wait_for_hosts(start: Start, ssh: str) -> None:
    """currant does not wait until a host that is silent has failed."""
    Path(ssh).write_text('#!/bin/sh\necho called > "$0.log"\nexec sleep 9999\n')
    called = Path(f"{ssh}.log")
    cli = start("--hosts", "a", "--ssh", ssh, "--json", "true")
    deadline = time.monotonic() + LIMIT
    while not called.exists():
        assert time.monotonic() < deadline, "currant connects to no host"
    began = time.monotonic()
    cli.signal(signal.SIGINT)
    ended = cli.end()
    assert (ended.status, ended.err) == (128 + signal.SIGINT, b"")
    assert time.monotonic() - began < CONNECT_LIMIT - 1


def test_killed_currant_leaves_nothing_on_hosts(start: Start, ssh: str, lifeline: Lifeline) -> None:
    """The hosts notice the end of the connection."""
    line = f"{lifeline.hold('x')}; {STUBBORN_WHEN_READY}"
    cli = start(*("--hosts", "a,b", "--ssh", ssh, "--each", "--grace", "0.2", "-n", "x"), line)
    cli.read_until(b"x@a | ready", b"x@b | ready")
    cli.signal(signal.SIGKILL)
    cli.end()
    lifeline.wait_for_end()


def test_second_ctrl_c_kills_on_hosts(on_terminal: Start, ssh: str, lifeline: Lifeline) -> None:
    """Ctrl-C on a terminal reaches neither ssh nor the commands but through currant."""
    line = f"{lifeline.hold('x')}; trap 'echo asked' TERM; echo ready; {TRAPS_SIGNALS}"
    cli = on_terminal(*("--hosts", "a", "--ssh", ssh, "--grace", "9999", "-n", "x"), line)
    cli.read_until(b"ready\r\n")
    type_on(cli, b"\x03")
    cli.read_until(b"asked\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 128 + signal.SIGINT
    assert b"is lost" not in ended.out
    lifeline.wait_for_end()


def test_pause_pauses_the_commands_on_hosts(start: Start, ssh: str) -> None:
    """They go on with currant, and no host is lost."""
    cli = start("--hosts", "a", "--ssh", ssh, "-n", "x", PAUSES, before=NO_TERMINAL)
    cli.read_until(b"x | ", b"\n")
    cli.signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(cli.process.pid, os.WUNTRACED)[1])
    state = Path("/proc", cli.written("stdout").split()[2].decode(), "stat").read_text()
    assert state.rpartition(")")[2].split()[0] == "T"
    cli.signal(signal.SIGCONT)
    cli.read_until(b"x | resumed\n")
    cli.signal(signal.SIGTERM)
    ended = cli.end()
    assert ended.status == 128 + signal.SIGTERM
    assert b"lost" not in ended.err


# ---- `currant hosts check` ----


def test_check_shows_what_each_host_has(check: OnHosts) -> None:
    """A host with a problem sets the status to 1."""
    ended = check("a,bad,LOCAL", "--json")
    good, bad, local = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 1
    assert (good["host"], good["problem"]) == ("a", None)
    assert good["cpus"] == usable_processors()
    assert good["round_trip_ms"] > 0
    assert bad == {
        "host": "bad",
        "python": None,
        "cpus": None,
        "round_trip_ms": None,
        "problem": "ssh: Could not resolve hostname bad: Name or service not known",
    }
    assert (local["host"], local["python"]) == ("local", good["python"])


def test_check_shows_a_table(check: OnHosts) -> None:
    """Its columns are for people; the status is 0 if all hosts can run commands."""
    ended = check("a,b")
    head, *rows = ended.out.decode().splitlines()
    assert (ended.status, ended.err) == (0, b"")
    assert head.split() == ["host", "python", "cpus", "round", "trip", "problem"]
    assert [row.split()[0] for row in rows] == ["a", "b"]
    assert rows[0].split()[-1] == "ms"


def test_check_needs_hosts(run: Run) -> None:
    """Without any, it says how to give them."""
    ended = run("check", subcommand="hosts")
    assert (ended.status, ended.err) == (
        2,
        b"currant: give the hosts, with --hosts or --hosts-file\n",
    )


@pytest.mark.anyio
async def test_check_gives_up_a_host_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are not held up by it, and it leaves no process."""
    monkeypatch.setattr(checking, "LIMIT", 0.5)
    connect = argv(["/bin/sh", "-c", "exec sleep 9999"])
    with anyio.fail_after(LIMIT):
        silent, local = await checking.check_hosts([Host("a"), LOCAL], connect)
    assert silent.problem == "it has not answered within 0.5 s"
    assert local.problem is None


# ---- a real server of ssh ----


def test_commands_run_over_ssh(run: Run, ssh_server: Server) -> None:
    """The options of ``--ssh`` lead to a real server, which currant checks and uses."""
    address = f"{ssh_server.user}@{ssh_server.addresses['n1']}"
    way = ("--hosts", address, "--ssh", f"{ssh_server.program} -F {ssh_server.config}")
    checked = run("check", *way, "--json", subcommand="hosts")
    assert (checked.status, checked.err) == (0, b"")
    ended = run(*way, "--each", "--same", 'echo "$SSH_CONNECTION" | wc -w')
    assert (ended.status, ended.err) == (0, b"")
    assert ended.out.splitlines()[-1].strip() == b"4"


def test_signal_leaves_nothing_behind_ssh(
    start: Start, ssh_server: Server, lifeline: Lifeline
) -> None:
    """SIGTERM of currant ends what runs in a session of a real server."""
    line = f"{lifeline.hold('x')}; {STUBBORN_WHEN_READY}"
    way = ("--hosts", ssh_server.addresses["n1"])
    program = f"{ssh_server.program} -F {ssh_server.config}"
    cli = start(*way, "--ssh", program, "--grace", "0.2", "-n", "x", line)
    cli.read_until(b"x | ready")
    cli.signal(signal.SIGTERM)
    assert cli.end().status == 128 + signal.SIGTERM
    lifeline.wait_for_end()
