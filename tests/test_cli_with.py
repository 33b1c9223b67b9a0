"""Test `currant with`: servers, probes, ports, the terminal of the test, signals, the status."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.clis import type_on
from tests.https import HTTPS_SERVER, make_certificates
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, FOREVER, TRAPS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clis import Run, Start
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.slow  # Each test starts Python at least once.

READS = """
import os
print("in front:", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
print("read", input(), flush=True)
"""
"""A program that reads a line from the terminal."""

WAITS_AND_READS = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("in front:", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
signal.sigwait([signal.SIGINT])
print("interrupted", flush=True)
print("read", input(), flush=True)
"""
"""A program that outlives Ctrl-C, as a debugger does, and reads a line from the terminal.

It has no handler, which would run late if the signal came right before the call of `read`.
"""

GETS = """
import os, urllib.request
url = "http://127.0.0.1:" + os.environ["WEB_PORT"]
print(urllib.request.urlopen(url).status, flush=True)
"""
"""A program that prints the status code of the server."""

SERVER = f"{sys.executable} -m http.server --bind 127.0.0.1 $WEB_PORT"


def test_test_has_the_terminal_of_currant(on_terminal: Start, lifeline: Lifeline) -> None:
    """The test is in the foreground: it gets Ctrl-C, reads keys, and stops and resumes as a job."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = '"$@"; echo "paused: $?"; read -r _; fg; echo "status: $?"'
    cli = on_terminal(
        f"{lifeline.hold('server')}; echo up; {EXEC_FOREVER}",
        *("--ready", "line:up", "--", sys.executable, "-c", WAITS_AND_READS),
        subcommand="with",
        before=(bash, "--norc", "-ic", script, "bash"),
    )
    cli.read_until(b"in front: True")
    type_on(cli, b"\x03")
    cli.read_until(b"interrupted")
    type_on(cli, b"\x1a")
    cli.read_until(b"paused: 148")
    type_on(cli, b"\ntext\n")
    cli.read_until(b"read text", b"status: 0")
    assert cli.end().status == 0
    assert lifeline.ended() == {"server"}


def test_program_that_ctrl_c_ends_ends_currant_by_the_same_signal(
    on_terminal: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """Ctrl-C goes to the test alone; if it dies of that, currant dies so, and stops the servers."""
    hold = lifeline.hold
    cli = on_terminal(
        f"{hold('server')}; trap 'echo wrong' INT; {EXEC_FOREVER}",
        *("--", "/bin/sh", "-c", f"{hold('test')}; echo ready; {EXEC_FOREVER}"),
        subcommand="with",
    )
    cli.read_until(b"ready")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert cli.process.returncode == -signal.SIGINT
    assert lifeline.ended() == {"server", "test"}
    assert b"wrong" not in ended.out


def test_test_that_writes_to_a_pipe_gets_the_terminal_when_it_reads(on_terminal: Start) -> None:
    """With `currant with ... | less`, currant keeps the keyboard until the test reads from it."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = '"$@" | cat; echo "status: ${PIPESTATUS[0]}"'
    cli = on_terminal(
        FOREVER,
        *("--", sys.executable, "-c", READS),
        subcommand="with",
        before=(bash, "--norc", "-ic", script, "bash"),
    )
    cli.read_until(b"in front: False")
    type_on(cli, b"text\n")
    cli.read_until(b"read text", b"status: 0")
    assert cli.end().status == 0


def test_test_gets_a_signal_that_currant_gets(start: Start, lifeline: Lifeline) -> None:
    """SIGTERM to currant goes to the test, which may clean up; then all stop, and currant dies."""
    test = f"{lifeline.hold('test')}; trap 'echo bye; exit 3' TERM; echo ready; "
    cli = start(
        f"{lifeline.hold('server')}; {EXEC_FOREVER}",
        *("--grace", "9999", "--", "/bin/sh", "-c", test + TRAPS_SIGNALS),
        subcommand="with",
    )
    cli.read_until(b"ready\n")
    cli.signal(signal.SIGTERM)
    ended = cli.end()
    assert cli.process.returncode == -signal.SIGTERM
    assert ended.out == b"ready\nbye\n"
    assert lifeline.ended() == {"server", "test"}


def test_test_that_ignores_a_signal_has_one_grace(start: Start) -> None:
    """SIGKILL follows when the grace has passed, and not a second request with a second grace."""
    asked_once = "n=0; trap 'n=$((n + 1))' TERM; echo up; while [ $n -lt 2 ]; do sleep 0.1; done"
    test = f"{asked_once} 2>/dev/null; sleep 0.5; echo late; {EXEC_FOREVER}"
    words = (EXEC_FOREVER, "--grace", "2", "--", "/bin/sh", "-c", test)
    cli = start(*words, subcommand="with")
    cli.read_until(b"up")
    cli.signal(signal.SIGTERM)
    assert cli.end().out == b"up\n"


def test_servers_are_ready_before_the_test_and_stopped_after_it(
    run: Run, lifeline: Lifeline
) -> None:
    """The test runs when all probes hold, with the ports as variables; its status is currant's."""
    test = f"{sys.executable} -c '{GETS}'; echo $1; exit 3"
    ended = run(
        *("--port", "web", f"{lifeline.hold('web')}; exec {SERVER}"),
        *("--ready", "http:$WEB_PORT/", "--ready", "tcp:127.0.0.1:$WEB_PORT"),
        *(f"{lifeline.hold('worker')}; echo up; {EXEC_FOREVER}", "--ready", "line:^up$"),
        *("--", "/bin/sh", "-c", test, "sh", "port=${WEB_PORT}"),
        subcommand="with",
    )
    code, port = ended.out.split()
    assert (ended.status, code) == (3, b"200")
    assert port.removeprefix(b"port=").isdigit()
    assert b"exec#2 | up\n" in ended.err
    assert b"ready after" in ended.err
    assert lifeline.ended() == {"web", "worker"}


@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        (["--any-certificate"], {}, None),
        ([], {"SSL_CERT_FILE": "ca.pem"}, None),
        (["--timeout", "5"], {}, b"or give --any-certificate"),
    ],
)
def test_https_server_needs_a_certificate_that_is_accepted(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    variables: dict[str, str],
    told: bytes | None,
) -> None:
    """The option and a variable of OpenSSL let it be one of the server's own making."""
    for name, file in variables.items():
        monkeypatch.setenv(name, str(tmp_path / file))
    make_certificates(tmp_path)
    server = f"echo $$ > pid; exec {sys.executable} -c '{HTTPS_SERVER}' $WEB_PORT"
    ended = run(
        *("--port", "web", server, "--ready", "https:$WEB_PORT/", "--ready", "file:pid", *options),
        *("--", "echo", "started"),
        subcommand="with",
        cwd=tmp_path,
    )
    if told is None:
        assert (ended.status, ended.out) == (0, b"started\n")
    else:
        assert (ended.status, ended.out) == (1, b"")
        assert told in ended.err


@needs_proc
def test_server_of_an_earlier_run_is_reported_at_once(run: Run) -> None:
    """The message names the process that has the port, long before the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        server = (EXEC_FOREVER, "--ready", f"tcp:127.0.0.1:{port}", "--timeout", "9999")
        ended = run(*server, "--", "echo", "started", subcommand="with")
    assert (ended.status, ended.out) == (1, b"")
    assert f"port {port} belongs to another process, pid {os.getpid()} (".encode() in ended.err
    assert b"give --any-owner" in ended.err


def test_server_that_ends_stops_the_test_and_shows_its_last_lines(
    run: Run, lifeline: Lifeline, gate: Gate
) -> None:
    """If a server ends by itself, currant exits with 1, also if the server has succeeded.

    The test may have left a line unfinished, so the message begins a new line.
    """
    script = f"{lifeline.hold('test')}; printf tes >&2; echo >'{gate.path}'; {EXEC_FOREVER}"
    server = f"{gate.wait}; echo last >&2; exit 0"
    ended = run("-q", server, "--", "/bin/sh", "-c", script, subcommand="with")
    assert (ended.status, ended.out) == (1, b"")
    message = b"currant: until ended before the test: exit code 0\n    stderr: last\n"
    assert ended.err == b"tes\n" + message


def test_server_that_is_not_ready_in_time_fails_the_test(run: Run) -> None:
    """The test does not start, and the message has the reason and the last lines."""
    server = ("-q", f"echo booting; {EXEC_FOREVER}", "--ready", "line:up", "--timeout", "0.2")
    ended = run(*server, "--", "echo", "started", subcommand="with")
    assert (ended.status, ended.out) == (1, b"")
    assert b"currant: echo is not ready: its probe was not met within 0." in ended.err
    assert ended.err.endswith(b"    stdout: booting\n")


def test_servers_of_the_configuration_are_found_by_name(
    run: Run, tmp_path: Path, lifeline: Lifeline
) -> None:
    """A name starts a command of the configuration with all that it needs, as it is there."""
    (tmp_path / "currant.toml").write_text(
        f"""
        env = {{ TOKEN = "secret" }}
        [commands.db]
        command = "{lifeline.hold("db")}; echo db $TOKEN; {EXEC_FOREVER}"
        ready = "line:db secret"
        [commands.migrate]
        command = "echo migrated"
        after = {{ db = "ready" }}
        [commands.api]
        command = "{lifeline.hold("api")}; echo api; {EXEC_FOREVER}"
        after = {{ migrate = "succeeded" }}
        ready = "line:api"
        [commands.other]
        command = "echo no"
        """
    )
    more = f"{lifeline.hold('more')}; {EXEC_FOREVER}"
    words = ("api", "--ready", "line:^api$", more, "--", "sh", "-c", "echo test; exit 3")
    ended = run(*words, subcommand="with", cwd=tmp_path)
    assert (ended.status, ended.out) == (3, b"test\n")
    assert {b"db      | db secret", b"migrate | migrated", b"api     | api"} <= {
        *ended.err.splitlines()
    }
    assert b"no\n" not in ended.err
    assert lifeline.ended() == {"db", "api", "more"}


def test_closed_terminal_stops_the_test_and_the_servers(
    on_terminal: Start, lifeline: Lifeline
) -> None:
    """A closed window ends the test, which has the foreground, and then the servers."""
    test = f"{lifeline.hold('test')}; echo ready; {EXEC_FOREVER}"
    server = f"{lifeline.hold('server')}; {EXEC_FOREVER}"
    cli = on_terminal(server, "--", "/bin/sh", "-c", test, subcommand="with")
    cli.read_until(b"ready\r\n")
    cli.close()
    assert cli.wait() == 129
    assert lifeline.ended() == {"server", "test"}


def test_server_that_cannot_share_a_held_port_is_told_why(run: Run) -> None:
    """On Linux, a server without SO_REUSEADDR finds its port in use, and currant explains that."""
    binds = 'import os, socket; socket.socket().bind(("", int(os.environ["A_B_PORT"])))'
    server = f"{sys.executable} -c '{binds}'"
    ended = run("--port", "a-b", server, "--ready", "delay:60", "--", "true", subcommand="with")
    assert ended.status == 1
    if b"ddress already in use" in ended.err:
        assert b"currant: a port of --port is held until the server binds to it" in ended.err


@pytest.fixture
def sigttou() -> Iterator[None]:
    """Restore the action of SIGTTOU, which `currant with` ignores."""
    previous = signal.getsignal(signal.SIGTTOU)
    yield
    signal.signal(signal.SIGTTOU, previous)


@pytest.mark.usefixtures("sigttou")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["true"], "give the command to run after --"),
        (["--", "true"], "Missing argument"),
        (["true", "--", "no-such-program"], "there is no program 'no-such-program'"),
        (
            ["true", "--ready", "ftp:3", "--", "true"],
            "--ready ftp:3: 'ftp:3' is no probe, expected tcp:PORT",
        ),
        (["true", "--ready", "tcp:x", "--", "true"], "--ready tcp:x: tcp: 'x' is neither"),
        (["true", "--ready", "https:x", "--", "true"], "--ready https:x: http: url must start"),
        (["--ready", "tcp:3", "true", "true", "--", "true"], "comes before the first server"),
        (["true", "--timeout", "3", "--", "true"], "--timeout requires --ready"),
        (["true", "--port", "1a", "--", "true"], "--port 1a: the name must"),
        (["true", "--port", "a", "--port", "A", "--", "true"], "A_PORT is set already"),
        (["true", "--cwd", "/none", "--", "true"], "/none"),
        ([" ", "--", "true"], "needs a script to run"),
    ],
)
def test_wrong_command_line_starts_nothing(words: list[str], text: str) -> None:
    """A mistake is a usage error, which `currant` shows in one line, with the status 2."""
    from click import UsageError
    from click.testing import CliRunner

    from currant.cli._with.command import run_with_servers  # noqa: PLC0415

    result = CliRunner().invoke(run_with_servers, words, standalone_mode=False)
    error = result.exception
    message = error.format_message() if isinstance(error, UsageError) else result.stderr
    assert text in message
    assert isinstance(error, UsageError) or result.return_value == 2
    assert result.stdout == ""
