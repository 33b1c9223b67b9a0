"""Process groups: signals, live members, and numbers that are not ours any more."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM
from subprocess import PIPE
from typing import TYPE_CHECKING, Protocol, TypeAlias

import pytest

from currant._system import groups, proc
from currant._system.groups import ProcessGroup, require_posix
from currant._system.listeners import ServerOwners
from currant._system.proc import environment_of, group_and_session
from tests.system import HAS_PIDFDS, answer_signals, hide_group_pidfds, hide_proc, needs_proc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from currant._values.exchange import Relation
    from tests.kills import Kills

Child: TypeAlias = "subprocess.Popen[bytes]"


class Start(Protocol):
    """The type of the fixture `start`."""

    def __call__(self, *words: str, leader: Child | None = None) -> Child:
        """Start a child in its own group, or in the group of `leader`; wait until it is ready."""
        ...


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts children, which are killed at the end of the test."""
    children: list[Child] = []

    def start(*words: str, leader: Child | None = None) -> Child:
        group = leader.pid if leader is not None else 0
        child = subprocess.Popen(words, stdin=PIPE, stdout=PIPE, process_group=group)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture(params=["by pidfd", "by number"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How groups are signalled: all tests hold for both ways."""
    if request.param == "by number":
        hide_group_pidfds(monkeypatch)
    elif not HAS_PIDFDS:
        pytest.skip("signals to groups through a pidfd need Linux 6.9 or later")
    way: str = request.param
    return way


NewGroup: TypeAlias = "Callable[[Child], ProcessGroup]"


@pytest.fixture
def group_of() -> Iterator[NewGroup]:
    """Make the groups of leaders, and close them at the end."""
    with ExitStack() as groups:

        def make(leader: Child) -> ProcessGroup:
            group = ProcessGroup(leader.pid)
            groups.callback(group.close)
            return group

        yield make


@pytest.fixture(autouse=True)
def snapshots(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """A record of all listings of processes; no snapshot is shared unless a test changes that."""
    taken: list[list[int]] = []
    numbers = proc.process_numbers

    def record() -> list[int]:
        taken.append(numbers())
        return taken[-1]

    monkeypatch.setattr(proc, "process_numbers", record)
    monkeypatch.setattr(groups, "LOOK_INTERVAL", 0)
    monkeypatch.setattr(proc, "MAX_SHARED", 0)
    monkeypatch.setattr(proc, "_snapshot", None)
    return taken


LOOKS = 3
"""How many calls of `is_empty` it takes to find that a group of zombies is empty."""


def is_found_empty(group: ProcessGroup) -> bool:
    """Return whether a few calls find that a group is empty."""
    return any(group.is_empty() for _ in range(LOOKS))


RUNS = ("/bin/sh", "-c", "echo ready; exec sleep 9999")
EXITS = ("/bin/sh", "-c", "echo ready")


def end(child: Child) -> None:
    """Kill a child, and reap it."""
    child.kill()
    child.wait()


def exit_unreaped(child: Child) -> None:
    """Wait until a child is a zombie, and leave it one."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


# ---- sending ----


def test_signal_reaches_a_running_group(start: Start, group_of: NewGroup) -> None:
    """`send` returns True, and the process gets the signal."""
    child = start(*RUNS)
    assert group_of(child).send(SIGTERM)
    assert child.wait() == -SIGTERM


def test_signal_reaches_every_member(start: Start, group_of: NewGroup) -> None:
    """All members of a group get the signal, not only the leader."""
    leader = start(*RUNS)
    member = start(*RUNS, leader=leader)
    assert group_of(leader).send(SIGTERM)
    assert [leader.wait(), member.wait()] == [-SIGTERM, -SIGTERM]


def test_signal_to_an_empty_group_returns_false(start: Start, group_of: NewGroup) -> None:
    """A group that has ended raises no error."""
    child = start(*EXITS)
    child.wait()
    group = group_of(child)
    assert not group.send(SIGTERM)
    assert not group.send(0)


def test_missing_permission_to_signal_returns_false(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that we may not signal any more raise no error."""

    def refuse() -> None:
        raise PermissionError

    group = group_of(start(*RUNS))
    answer_signals(monkeypatch, refuse)
    assert not group.send(SIGTERM)


@needs_proc
def test_group_without_permission_to_signal_is_not_empty(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing permission does not mean that no member is alive."""

    def refuse() -> None:
        raise PermissionError

    leader = start(*RUNS)
    start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    answer_signals(monkeypatch, refuse)
    assert not is_found_empty(group)


# ---- a leader that is alive ----


def test_running_leader_is_alive(start: Start, group_of: NewGroup) -> None:
    """A running process is not taken for one that has exited."""
    assert group_of(start(*RUNS)).leader_is_alive()


@needs_proc
def test_zombie_leader_is_not_alive(start: Start, group_of: NewGroup) -> None:
    """A leader that has exited is recognized before it is reaped."""
    child = start(*EXITS)
    exit_unreaped(child)
    assert not group_of(child).leader_is_alive()


@needs_proc
def test_suspended_leader_is_alive(start: Start, group_of: NewGroup) -> None:
    """A suspended process counts as alive."""
    child = start("/bin/sh", "-c", "echo ready; kill -STOP $$; exec sleep 9999")
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    group = group_of(child)
    assert group.leader_is_alive()
    assert group.send(SIGCONT)


@needs_proc
@pytest.mark.parametrize(
    "name", ["a b", "a) Z 1 (b", ")", "((", "a) X 0 0 (", "Z", "1 (Z) 2", "new\nline)"]
)
def test_program_name_may_contain_anything(
    name: str, start: Start, group_of: NewGroup, tmp_path: Path
) -> None:
    """Blanks, parentheses and a name that looks like a state change nothing."""
    program = tmp_path / name
    program.write_text("#!/bin/sh\necho ready\nread never\n")
    program.chmod(0o755)
    leader = start("/bin/sh", "-c", "echo ready; exec sleep 9999")
    member = start(str(program), leader=leader)
    assert f"({name})".encode() in Path(f"/proc/{member.pid}/stat").read_bytes()
    end(leader)
    group = group_of(leader)
    assert not is_found_empty(group)
    member.kill()
    exit_unreaped(member)
    assert is_found_empty(group)


# ---- live members ----


def test_group_is_empty_when_the_last_member_is_reaped(start: Start, group_of: NewGroup) -> None:
    """A reaped leader without other members leaves an empty group."""
    child = start(*RUNS)
    end(child)
    assert group_of(child).is_empty()


def test_group_is_not_empty_while_a_member_outlives_the_leader(
    start: Start, group_of: NewGroup
) -> None:
    """Members count without their leader, and each exit between two looks is noticed."""
    leader = start(*RUNS)
    members = [start(*RUNS, leader=leader) for _ in range(2)]
    group = group_of(leader)
    end(leader)
    for member in members:
        assert not is_found_empty(group)
        end(member)
    assert group.is_empty()


def test_member_that_joins_late_is_found(start: Start, group_of: NewGroup) -> None:
    """A process that was not in the group at the last look is found at the next."""
    leader = start(*RUNS)
    first = start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    assert not is_found_empty(group)
    second = start(*RUNS, leader=leader)
    end(first)
    assert not is_found_empty(group)
    end(second)
    assert group.is_empty()


@needs_proc
def test_group_of_zombies_is_empty(start: Start, group_of: NewGroup) -> None:
    """Unreaped zombies do not keep a group alive, although the system still signals them."""
    leader = start(*RUNS)
    member = start(*EXITS, leader=leader)
    exit_unreaped(member)
    end(leader)
    group = group_of(leader)
    assert group.send(0)
    assert is_found_empty(group)


@needs_proc
@pytest.mark.parametrize("count", [1, 3])
def test_all_groups_share_the_snapshots(
    count: int,
    start: Start,
    group_of: NewGroup,
    snapshots: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Below a slow PID 1, any number of groups need two snapshots to be found empty."""
    groups = []
    for _ in range(count):
        leader = start(*RUNS)
        exit_unreaped(start(*EXITS, leader=leader))
        groups.append(group_of(leader))
        end(leader)
    monkeypatch.setattr(proc, "MIN_SHARED", 3600)
    monkeypatch.setattr(proc, "MAX_SHARED", 3600)
    for taken in (0, 1, 1):
        assert not any(group.is_empty() for group in groups)
        assert len(snapshots) == taken
    monkeypatch.setattr(proc, "_snapshot", None)
    assert all(group.is_empty() for group in groups)
    assert len(snapshots) == 2


@needs_proc
@pytest.mark.parametrize(("took", "shared"), [(0, 0.001), (0.01, 0.04), (3600, 0.1)])
def test_snapshot_is_shared_for_as_long_as_its_cost_allows(
    took: float, shared: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is bounded: this program may have been suspended while it took the snapshot."""
    moments = iter([0.0, took])
    monkeypatch.setattr(proc, "monotonic", lambda: next(moments))
    monkeypatch.setattr(proc, "MAX_SHARED", 0.1)
    assert proc.ProcessSnapshot().expires_at == took + shared


@needs_proc
def test_first_look_takes_no_snapshot(
    start: Start, group_of: NewGroup, snapshots: list[list[int]]
) -> None:
    """Most groups are gone a moment after their leader, and the system says so."""
    leader = start(*RUNS)
    member = start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    assert not group.is_empty()
    end(member)
    assert group.is_empty()
    assert snapshots == []


@needs_proc
def test_looks_in_a_row_take_no_snapshot(
    start: Start,
    group_of: NewGroup,
    snapshots: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several tasks may ask in the same turn; PID 1 needs a moment to reap the members."""
    leader = start(*RUNS)
    exit_unreaped(start(*EXITS, leader=leader))
    group = group_of(leader)
    end(leader)
    monkeypatch.setattr(groups, "LOOK_INTERVAL", 3600)
    assert not is_found_empty(group)
    assert snapshots == []
    monkeypatch.setattr(groups, "LOOK_INTERVAL", 0)
    assert is_found_empty(group)


@needs_proc
def test_snapshot_from_before_the_first_look_does_not_count(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member may have forked since then."""
    leader = start(*RUNS)
    first = start(*RUNS, leader=leader)
    monkeypatch.setattr(proc, "MIN_SHARED", 3600)
    monkeypatch.setattr(proc, "MAX_SHARED", 3600)
    proc.latest_snapshot()
    start(*RUNS, leader=leader)
    for member in (first, leader):
        member.kill()
        exit_unreaped(member)
    leader.wait()
    group = group_of(leader)
    assert not is_found_empty(group)
    monkeypatch.setattr(proc, "MAX_SHARED", 0)
    monkeypatch.setattr(proc, "_snapshot", None)
    assert not is_found_empty(group)


@needs_proc
def test_zombies_are_told_from_live_members(start: Start, group_of: NewGroup) -> None:
    """A signal to a group counts only if a member is alive."""
    leader = start(*RUNS)
    member = start(*RUNS, leader=leader)
    group = group_of(leader)
    assert group.has_live_member()
    end(leader)
    assert group.has_live_member()
    member.kill()
    exit_unreaped(member)
    assert not group.has_live_member()
    assert group.send(0)
    member.wait()
    assert not group.has_live_member()
    assert group.is_empty()


@needs_proc
def test_old_snapshot_hides_no_live_member(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot from before the start of a group does not say that the group has no member."""
    monkeypatch.setattr(proc, "MIN_SHARED", 3600)
    monkeypatch.setattr(proc, "MAX_SHARED", 3600)
    proc.latest_snapshot()
    leader = start(*RUNS)
    start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    assert group.has_live_member()


@needs_proc
def test_groups_without_a_live_member_share_a_snapshot(
    start: Start,
    group_of: NewGroup,
    snapshots: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second kill of many commands lists the processes once, for all that end already."""
    monkeypatch.setattr(proc, "MIN_SHARED", 3600)
    monkeypatch.setattr(proc, "MAX_SHARED", 3600)
    proc.latest_snapshot()
    ending = []
    for _ in range(3):
        leader = start(*RUNS)
        exit_unreaped(start(*EXITS, leader=leader))
        ending.append(group_of(leader))
        end(leader)
    assert not any(group.is_empty() for group in ending)
    snapshots.clear()
    assert not any(group.has_live_member() for group in ending)
    assert len(snapshots) == 1


@needs_proc
@pytest.mark.parametrize("lookups", [0, proc.MAX_LOOKUPS, 10**7])
def test_processes_after_a_start(
    start: Start, monkeypatch: pytest.MonkeyPatch, lookups: int
) -> None:
    """Later processes are listed and others are not, whether looked up or listed."""
    monkeypatch.setattr(proc, "MAX_LOOKUPS", lookups)
    while True:
        earlier, first, later = start(*RUNS), start(*RUNS), start(*RUNS)
        if earlier.pid < first.pid < later.pid:  # If not, the numbers have begun again.
            break
    numbers = proc.process_numbers_after(first.pid)
    assert later.pid in numbers
    assert earlier.pid not in numbers
    assert first.pid not in numbers


@needs_proc
@pytest.mark.parametrize("last", [b"0.00 0.01 0.05 1/99 3\n", b"0 0 0 0/0 0\n"])
def test_all_processes_are_listed_when_the_last_number_does_not_help(
    start: Start, monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    """The numbers have begun again, or a sandbox does not show the last one."""
    read = proc._read
    monkeypatch.setattr(proc, "_read", lambda path: last if path == "/proc/loadavg" else read(path))
    child = start(*RUNS)
    assert {os.getpid(), child.pid} <= set(proc.process_numbers_after(child.pid))


@needs_proc
def test_other_groups_do_not_count(start: Start, group_of: NewGroup) -> None:
    """A running process keeps only its own group alive."""
    leader, other_leader = start(*RUNS), start(*RUNS)
    member = start(*EXITS, leader=leader)
    exit_unreaped(member)
    end(leader)
    assert is_found_empty(group_of(leader))
    assert not is_found_empty(group_of(other_leader))


@needs_proc
def test_member_that_forks_during_a_look_is_found(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that forks and exits, all during one look, does not leave an empty group."""
    leader = start(*RUNS)
    first = start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    list_folder = os.listdir

    def fork_after_listing(folder: str) -> list[str]:
        names = list_folder(folder)
        if first.poll() is None:
            start(*RUNS, leader=leader)
            end(first)
        return names

    monkeypatch.setattr(os, "listdir", fork_after_listing)
    assert not is_found_empty(group)


@needs_proc
def test_member_that_forks_between_two_looks_is_found(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zombie proves nothing about a member that was alive at the same look, and is gone."""
    leader = start(*RUNS)
    exit_unreaped(start(*EXITS, leader=leader))
    first = start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    assert not is_found_empty(group)
    second = start(*RUNS, leader=leader)
    end(first)
    numbers = proc.process_numbers
    with monkeypatch.context() as patch:  # The snapshot misses the member.
        patch.setattr(proc, "process_numbers", lambda: set(numbers()) - {second.pid})
        assert not group.is_empty()
    assert not is_found_empty(group)


# ---- numbers that are no longer ours ----


def test_empty_group_is_never_signalled_again(
    start: Start, group_of: NewGroup, kills: Kills
) -> None:
    """Once found empty, a group gets no signal, not even signal 0."""
    child = start(*EXITS)
    child.wait()
    group = group_of(child)
    assert group.is_empty()
    kills.sent.clear()
    for signal in (SIGTERM, SIGKILL, 0):
        assert not group.send(signal)
    assert group.is_empty()
    assert kills.sent == []


def test_empty_group_stays_empty_when_the_number_is_reused(
    start: Start,
    group_of: NewGroup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process's group with the same number is not ours."""
    answers: list[Exception | None] = [ProcessLookupError(), None, None]

    def answer() -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    group = group_of(start(*RUNS))
    answer_signals(monkeypatch, answer)
    assert group.is_empty()
    assert group.is_empty()
    assert not group.send(SIGTERM)
    assert len(answers) == 2


def test_failed_signal_is_the_last(start: Start, group_of: NewGroup, kills: Kills) -> None:
    """A group that the system does not find any more gets no second signal."""
    child = start(*EXITS)
    group = group_of(child)
    child.wait()
    assert [group.send(SIGTERM), group.send(SIGCONT)] == [False, False]
    assert kills.of(child.pid) == [SIGTERM]


def test_pidfd_replaces_the_number(
    start: Start, group_of: NewGroup, kills: Kills, way: str
) -> None:
    """With pidfds no group is signalled by its number, and each pidfd is closed."""
    leader = start(*RUNS)
    member = start(*RUNS, leader=leader)
    group = group_of(leader)
    end(leader)
    assert group.send(SIGTERM)
    assert member.wait() == -SIGTERM
    assert bool(kills.by_number) == (way == "by number")
    before = len(os.listdir("/dev/fd"))
    group.close()
    group.close()
    assert before - len(os.listdir("/dev/fd")) == (1 if way == "by pidfd" else 0)
    assert not group.send(SIGTERM)


def test_group_without_a_pidfd_is_signalled_by_number(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lack of file descriptors does not prevent a signal."""

    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, "no file left")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    child = start(*RUNS)
    assert group_of(child).send(SIGTERM)
    assert child.wait() == -SIGTERM


def test_group_on_an_older_system_is_signalled_by_number(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pidfd that reaches only the leader (Linux before 6.9) is neither used nor kept."""
    hide_group_pidfds(monkeypatch)
    child = start(*RUNS)
    before = len(os.listdir("/dev/fd"))
    group = group_of(child)
    assert len(os.listdir("/dev/fd")) == before
    assert group.send(SIGTERM)
    assert child.wait() == -SIGTERM


def test_is_empty_sends_no_signal(start: Start, group_of: NewGroup, kills: Kills) -> None:
    """A look leaves the members alone."""
    child = start(*RUNS)
    group_of(child).is_empty()
    assert set(kills.sent) <= {(child.pid, 0)}
    assert child.poll() is None


def test_repr_shows_the_number_and_emptiness(start: Start, group_of: NewGroup) -> None:
    """The repr helps to debug."""
    child = start(*EXITS)
    group = group_of(child)
    assert repr(group) == f"<ProcessGroup {child.pid}>"
    child.wait()
    group.is_empty()
    assert repr(group) == f"<ProcessGroup {child.pid} empty>"


# ---- processes that are no children ----


def test_group_and_session_of_a_process(start: Start) -> None:
    """Both are the system's numbers, and 0 for a process that does not exist any more."""
    leader = start(*RUNS)
    member = start(*RUNS, leader=leader)
    assert group_and_session(member.pid) == (leader.pid, os.getsid(0))
    end(member)
    assert group_and_session(member.pid) == (0, 0)


@needs_proc
def test_environment_of_a_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is complete from the exec on, empty for a zombie, and None after the process is reaped."""
    monkeypatch.setenv("CURRANT_A", "x" * 100_000)
    child = start("/bin/sh", "-c", "echo ready; read end", leader=None)
    environment = environment_of(child.pid)
    assert environment is not None
    assert b"CURRANT_A=" + b"x" * 100_000 in environment.split(b"\0")
    child.kill()
    exit_unreaped(child)
    assert not environment_of(child.pid)
    child.wait()
    assert environment_of(child.pid) is None


SERVES = """
import socket, sys
host, port, *only = sys.argv[1:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
server = socket.socket(family, socket.SOCK_STREAM)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "only" in only)
server.bind((host, int(port)))
server.listen()
print(f"ready\\n{server.getsockname()[1]}", flush=True)
sys.stdin.read()
"""


def port_of(server: Child) -> int:
    """Return the port on which a `SERVES` listens."""
    assert server.stdout is not None
    return int(server.stdout.readline())


def relation_of(owners: ServerOwners, address: str, port: int) -> Relation | None:
    """Return the relation of the server there to the command of `owners`."""
    owner = owners.of_port(address, port)
    return None if owner is None else owner.relation


def servers_of(leader: Child, mark: str = "a/b/1") -> ServerOwners:
    """Return the servers of the group of `leader`, whose processes carry `mark`."""
    run = mark.rpartition(":")[2].partition("/")[0]
    return ServerOwners(leader.pid, f"CURRANT_ID={mark}".encode(), run)


def has_ipv6() -> bool:
    """Return whether this machine has the loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@needs_proc
@pytest.mark.parametrize("deeper", ["", ":inner/web/1"])
def test_server_outside_the_group_needs_the_whole_mark(
    start: Start, monkeypatch: pytest.MonkeyPatch, deeper: str
) -> None:
    """A prefix is not enough: the server of attempt 12 does not belong to attempt 1."""
    leader = start(*RUNS)
    monkeypatch.setenv("CURRANT_ID", f"outer/a/1:run/web/12{deeper}")
    port = port_of(start(sys.executable, "-c", SERVES, "127.0.0.1", "0"))
    assert relation_of(servers_of(leader, "outer/a/1:run/web/12"), "127.0.0.1", port) == "own"
    assert relation_of(servers_of(leader, "outer/a/1:run/web/1"), "127.0.0.1", port) == "related"


@needs_proc
@pytest.mark.parametrize(
    ("other", "own", "asked"),
    [
        (("::1",), ("0.0.0.0",), "::1"),
        (("127.0.0.1",), ("::", "only"), "127.0.0.1"),
        (("0.0.0.0",), ("::", "only"), "127.0.0.1"),
        (("127.0.0.1",), ("::1",), "127.0.0.1"),
        (("::1",), ("127.0.0.1",), "::1"),
    ],
)
def test_server_that_would_accept_the_connection_counts(
    start: Start, other: tuple[str, ...], own: tuple[str, ...], asked: str
) -> None:
    """If two servers listen on one port, the system chooses between them by the address."""
    if not has_ipv6():
        pytest.skip("this machine has no ::1: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    other_leader = start(sys.executable, "-c", SERVES, other[0], "0", *other[1:])
    port = port_of(other_leader)
    ours = start(sys.executable, "-c", SERVES, own[0], str(port), *own[1:])
    with socket.create_connection((asked, port)):
        pass
    own_servers, other_servers = servers_of(ours), servers_of(other_leader)
    for _ in range(2):  # the second answer is a remembered one
        assert relation_of(own_servers, asked, port) not in ("own", None)
        assert relation_of(other_servers, asked, port) == "own"


TAKES = """
import socket, sys
giver = socket.socket(socket.AF_UNIX)
giver.connect(sys.argv[1])
print("ready", flush=True)
socket.recv_fds(giver, 1, 1)
print("taken", flush=True)
sys.stdin.read()
"""


@needs_proc
def test_server_that_is_handed_over_counts(start: Start, tmp_path: Path) -> None:
    """The search remembers the process that had the socket before, and must not stop there."""
    with socket.socket(socket.AF_UNIX) as meeting, socket.create_server(("127.0.0.1", 0)) as server:
        meeting.bind(str(tmp_path / "s"))
        meeting.listen()
        leader = start(sys.executable, "-c", TAKES, str(tmp_path / "s"))
        servers, port = servers_of(leader), server.getsockname()[1]
        assert relation_of(servers, "127.0.0.1", port) not in ("own", None)
        with meeting.accept()[0] as taker:
            socket.send_fds(taker, [b"x"], [server.fileno()])
            assert leader.stdout is not None
            assert leader.stdout.readline() == b"taken\n"
        assert relation_of(servers, "127.0.0.1", port) == "own"


@needs_proc
@pytest.mark.parametrize(("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1")])
def test_server_at_all_addresses_counts(start: Start, host: str, asked: str) -> None:
    """It counts if no other server listens at that address; IPv6 also serves IPv4."""
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no ::1: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    ours = start(sys.executable, "-c", SERVES, host, "0")
    port = port_of(ours)
    for address in (asked, f"::ffff:{asked}"):
        assert relation_of(servers_of(ours), address, port) == "own"


@needs_proc
def test_server_among_many_is_found(start: Start) -> None:
    """The system lists them a page at a time."""
    with ExitStack() as others:
        for _ in range(100):
            others.enter_context(socket.create_server(("127.0.0.1", 0)))
        servers = [start(sys.executable, "-c", SERVES, "127.0.0.1", "0") for _ in range(2)]
        for _ in range(100):
            others.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports = [port_of(server) for server in servers]
        for server, port in zip(servers, ports, strict=True):
            assert relation_of(servers_of(server), "127.0.0.1", port) == "own"
            other_leader = others.enter_context(socket.create_server(("127.0.0.1", 0)))
            place = other_leader.getsockname()[1]
            assert relation_of(servers_of(server), "127.0.0.1", place) not in ("own", None)


@needs_proc
def test_server_that_descends_from_a_member_counts(start: Start) -> None:
    """`su` starts its program so: in another session, without our variables."""
    code = f"import sys; sys.argv[1:] = ['127.0.0.1', '0']; exec({SERVES!r})"
    leader = start("/bin/sh", "-c", 'setsid env -i "$@"; true', "-", sys.executable, "-c", code)
    assert relation_of(servers_of(leader), "127.0.0.1", port_of(leader)) == "own"


# ---- where there is no /proc ----


def test_group_without_proc_lasts_as_long_as_signals_succeed(
    start: Start, group_of: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no /proc, signal 0 decides whether the group is empty."""
    hide_proc(monkeypatch)
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail("looked into /proc"))
    child = start(*RUNS)
    group = group_of(child)
    assert group.leader_is_alive()
    assert not group.is_empty()
    end(child)
    assert group.is_empty()


def test_group_without_proc_that_refuses_signals_is_empty(
    start: Start,
    group_of: NewGroup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On macOS a group of zombies cannot be signalled; it counts as gone."""

    def refuse() -> None:
        raise PermissionError

    hide_proc(monkeypatch)
    answer_signals(monkeypatch, refuse)
    assert group_of(start(*RUNS)).is_empty()


def test_system_without_process_groups_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without sessions raises NotImplementedError."""
    require_posix()
    with monkeypatch.context() as patch, pytest.raises(NotImplementedError, match=sys.platform):
        patch.setattr(os, "name", "nt")
        require_posix()
