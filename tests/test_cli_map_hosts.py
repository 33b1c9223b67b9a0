"""`currant map` on hosts: agents of this machine, behind a stub of ssh."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.maps import logged, run_map
from tests.system import needs_proc
from tests.test_cli_hosts import STUB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Start
    from tests.lifeline import Gate

pytestmark = [pytest.mark.slow, needs_proc]  # Each test starts Python interpreters.


@pytest.fixture
def ssh(tmp_path: Path) -> str:
    """The path of an ssh to hosts that all are this machine."""
    stub = tmp_path / "ssh"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return str(stub)


def test_values_are_spread_over_hosts(ssh: str, tmp_path: Path) -> None:
    """Each host runs so many at a time; slots are counted over all; the log has the hosts.

    Two commands run on each host at a time: no command ends before four have begun.
    """
    together = "echo $CURRANT_HOST {%}; echo >> began; until [ $(wc -l < began) -ge 4 ]; do :; done"
    log = tmp_path / "log"
    ended = run_map(
        *("--hosts", "a,b", "--ssh", ssh, "--per-host", "2", "--cwd", str(tmp_path)),
        *("--joblog", str(log), f"{together}; : {{}}", ":::", *"1234"),
    )
    assert (ended.status, ended.err) == (0, b"")
    shown = [line.split() for line in ended.out.decode().splitlines()]
    assert Counter(host for host, _ in shown) == {"a": 2, "b": 2}
    assert sorted(slot for _, slot in shown) == ["1", "2", "3", "4"]
    assert Counter(job.host for job in logged(log)) == {"a": 2, "b": 2}


def test_failed_command_is_tried_on_another_host(ssh: str, tmp_path: Path) -> None:
    """With ``--retries``, the next attempt is elsewhere; only its output is shown."""
    log = tmp_path / "log"
    ended = run_map(
        *("--hosts", "a,b", "--ssh", ssh, "--retries", "1", "--joblog", str(log), "-j", "1"),
        *("echo $CURRANT_HOST {}; test $CURRANT_HOST = b", ":::", "1", "2", "3"),
    )
    assert (ended.status, ended.err) == (0, b"")
    assert ended.out == b"b 1\nb 2\nb 3\n"
    assert [job.host for job in logged(log)] == ["b"] * 3


def test_values_reach_a_host_as_they_are(ssh: str, tmp_path: Path) -> None:
    """No shell on the way reads a value."""
    name = "$(touch pwned); 'x'\n"
    options = ("--hosts", "a", "--ssh", ssh, "--cwd", str(tmp_path))
    for template in (["printf", "%s", "{}"], ["printf %s {} | cat"]):
        assert run_map(*options, *template, ":::", name).out == name.encode()
    assert [path.name for path in tmp_path.iterdir() if "pwned" in path.name] == []


def test_host_that_is_lost_in_the_middle(
    start: Start, gate: Gate, ssh: str, tmp_path: Path
) -> None:
    """Its job has failed; all others go on, on the other host.

    With ``--retries`` the job would run there as well, but only when it is sure that it has ended
    on the lost host, which takes longer than a test may.
    """
    script = f"echo up $CURRANT_HOST $PPID {{}}; test $CURRANT_HOST = b || {gate.wait}"
    log = tmp_path / "log"
    cli = start(
        *("--hosts", "a,b", "--ssh", ssh, "--per-host", "1", "--joblog", str(log), "--line"),
        *(script, ":::", "1", "2", "3"),
        subcommand="map",
    )
    cli.read_until(b"up a", b"up b")
    agent, lost = re.findall(rb"up a (\d+) (\d)", cli.written("stdout"))[0]
    os.kill(int(agent), signal.SIGKILL)
    status, out, err = cli.end()
    assert status == 1
    assert f"job {int(lost)}: the host 'a' is lost".encode() in err
    jobs = {job.seq: job for job in logged(log)}
    assert {seq: (job.host, job.exitval) for seq, job in jobs.items()} == {
        seq: ("a", -1) if seq == int(lost) else ("b", 0) for seq in (1, 2, 3)
    }
    assert len(re.findall(rb"up b ", out)) == 2


def test_no_host_that_can_be_reached(ssh: str) -> None:
    """Nothing runs; the error says why."""
    ended = run_map("--hosts", "bad1", "--ssh", ssh, "echo", ":::", "1")
    assert (ended.status != 0, ended.out) == (True, b"")
    assert b"Could not resolve hostname bad1" in ended.err
    assert b"Traceback" not in ended.err
