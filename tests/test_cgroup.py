"""Control groups of Linux: where this program may create them, and what a group can do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from signal import SIGTERM, SIGUSR1
from typing import TYPE_CHECKING

import pytest

from currant._system import cgroup
from currant._system.cgroup import (
    ControlGroup,
    check_usable,
    enable_controller,
    find_own_folder,
    find_place,
)
from currant._values.errors import SetupError
from tests.cgroups import JOIN, needs_cgroup
from tests.programs import ROOT
from tests.waiting import EXEC_FOREVER, FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 {root} {mount} rw,relatime shared:4 master:1 - cgroup2 cgroup2 rw
"""


def mounts(root: str = "/", mount: str = "/sys/fs/cgroup") -> str:
    """Return the text of a mountinfo with one mount of cgroup v2, which shows `root`."""
    return MOUNTS.format(root=root, mount=mount)


# ---- where groups may be created ----


@pytest.mark.parametrize(
    ("text", "membership", "expected"),
    [
        pytest.param(mounts(), "0::/", "/sys/fs/cgroup", id="the root"),
        pytest.param(mounts(), "0::/a.slice/b", "/sys/fs/cgroup/a.slice/b", id="a group"),
        pytest.param(
            mounts(mount="/sys/fs/cgroup/unified"),
            "4:memory:/old\n1:cpu:/\n0::/b",
            "/sys/fs/cgroup/unified/b",
            id="beside cgroup v1",
        ),
        pytest.param(mounts(root="/box"), "0::/box/b", "/sys/fs/cgroup/b", id="a part is mounted"),
        pytest.param(mounts(root="/box"), "0::/box", "/sys/fs/cgroup", id="the root of a part"),
        pytest.param(mounts(mount=r"/a\040b"), "0::/c", "/a b/c", id="a blank"),
    ],
)
def test_own_group_is_found(text: str, membership: str, expected: str) -> None:
    """The folder is the path within the mount that shows it."""
    assert find_own_folder(text, membership + "\n")[1] == expected


@pytest.mark.parametrize(
    ("text", "membership", "missing"),
    [
        pytest.param(mounts(), "1:cpu:/", "the kernel lacks cgroup v2", id="version 1 alone"),
        pytest.param(MOUNTS[:80], "0::/", "is not mounted", id="no mount"),
        pytest.param(mounts(root="/box"), "0::/other", "no mount of cgroup v2 shows", id="hidden"),
        pytest.param(mounts(root="/box"), "0::/boxes", "no mount of cgroup v2 shows", id="alike"),
        pytest.param(mounts(), "0::/../other", "no mount of cgroup v2 shows", id="outside"),
    ],
)
def test_lack_of_an_own_group_is_told(text: str, membership: str, missing: str) -> None:
    """Each thing that may be missing has a text of its own."""
    with pytest.raises(SetupError, match=missing):
        find_own_folder(text, membership)


class System:
    """Folders that look like a mount of cgroup v2 with this program in one of its groups."""

    def __init__(self, mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mount = mount
        self._patch = monkeypatch
        monkeypatch.setattr(sys, "platform", "linux")

    def enter(self, path: str) -> Path:
        """Put this program into the group `path`, and return the folder."""
        texts = {
            "/proc/self/mountinfo": mounts(mount=str(self.mount)),
            "/proc/self/cgroup": f"0::/{path}\n",
        }
        self._patch.setattr(cgroup, "_read", lambda file: texts.get(file) or Path(file).read_text())
        return self.add(path)

    def add(self, path: str) -> Path:
        """Add a group."""
        folder = self.mount / path
        folder.mkdir(parents=True, exist_ok=True)
        for each in (folder, *folder.parents):
            if self.mount in (each, *each.parents):
                (each / "cgroup.procs").touch()
        return folder


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """A system without groups."""
    mount = tmp_path / "cgroup"
    mount.mkdir()
    return System(mount, monkeypatch)


def test_groups_are_created_inside_the_own_group(system: System) -> None:
    """The limits of the program's own group hold for its commands, too."""
    own = system.enter("a/b")
    assert find_place() == str(own)


def test_groups_are_created_beside_the_own_group_if_that_is_delegated(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with DelegateSubgroup= of systemd, which marks the group around."""
    own = system.enter("a/unit/main")

    def getxattr(path: str, name: str) -> bytes:
        if (path, name) == (str(own.parent), "user.delegate"):
            return b"1"
        raise OSError

    monkeypatch.setattr(os, "getxattr", getxattr, raising=False)
    assert find_place() == str(own.parent)


def test_groups_are_created_beside_the_own_group_in_the_root_of_a_container(
    system: System,
) -> None:
    """The root of a namespace belongs to the container, unlike the root of the system."""
    own = system.enter("main")
    assert find_place() == str(own)
    (own.parent / "cgroup.events").touch()
    assert find_place() == str(own.parent)


def test_group_that_is_not_writable_is_told(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text names the group, and says how to get a writable one."""
    own = system.enter("a")
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(own / "cgroup.procs"))
    with pytest.raises(SetupError, match=r"/a is not writable; run the program as root"):
        find_place()


def test_other_systems_have_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only Linux has."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SetupError, match="only Linux has control groups"):
        find_place()


@pytest.mark.parametrize(
    ("files", "missing"),
    [({}, "takes Linux 5.14"), ({"cgroup.kill": "", "cgroup.type": "threaded\n"}, "'threaded'")],
)
def test_group_that_cannot_be_used_is_told(
    tmp_path: Path, files: dict[str, str], missing: str
) -> None:
    """An old kernel, and a group for threads."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SetupError, match=missing):
        check_usable(str(tmp_path))


def test_controller_is_enabled_if_there_is_one(tmp_path: Path) -> None:
    """The kernel lists the controller after the write; nothing is written if it already does."""
    assert not enable_controller(str(tmp_path), "memory")
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("pids\n")
    (tmp_path / "cgroup.controllers").write_text("cpu pids memory\n")
    assert enable_controller(str(tmp_path), "pids")
    assert not enable_controller(str(tmp_path), "hugetlb")
    assert control.read_text() == "pids\n"
    enable_controller(str(tmp_path), "memory")
    assert control.read_text() == "+memory"


@needs_cgroup
def test_place_of_a_program_in_a_real_group(place: Path) -> None:
    """Inside its group, or beside it as soon as the group around is marked as delegated."""
    main = ControlGroup(str(place / "main"))
    code = "from currant._system.cgroup import find_place; print(find_place())"

    def find() -> str:
        words = [*JOIN, main.path, sys.executable, "-c", code]
        return subprocess.check_output(words, cwd=ROOT, text=True).strip()

    try:
        assert find() == main.path
        try:
            os.setxattr(place, "user.delegate", b"1")
        except OSError as error:  # Linux before 5.7
            pytest.skip(f"needs extended attributes of control groups: {error}")
        assert find() == str(place)
    finally:
        assert main.remove()


# ---- a group ----


@pytest.fixture
def group(place: Path) -> Iterator[ControlGroup]:
    """A real group."""
    group = ControlGroup(str(place / "group"))
    yield group
    group.kill()
    while not group.remove():
        pass


def start_in(group: ControlGroup, line: str = EXEC_FOREVER) -> subprocess.Popen[bytes]:
    """Start a member of the group, which says "up" as soon as it is one."""
    process = subprocess.Popen(
        [*JOIN, group.path, "sh", "-c", f"echo up; {line}"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


@needs_cgroup
def test_group_knows_its_members(group: ControlGroup) -> None:
    """A member with another session and environment is one, also in a group inside."""
    assert not group.is_populated()
    inside = ControlGroup(f"{group.path}/inside")
    with start_in(group) as member, start_in(inside, f"exec env -i setsid {FOREVER}") as daemon:
        assert group.is_populated()
        assert group.members() == {member.pid, daemon.pid}
        assert not group.remove()
        assert group.kill()
    assert not group.is_populated()
    assert group.members() == set()
    assert not group.kill()
    assert group.remove()


@needs_cgroup
def test_group_with_zombies_is_empty(group: ControlGroup) -> None:
    """A zombie that nobody reaps does not keep the group alive."""
    with start_in(group) as member:
        group.kill()
        os.waitid(os.P_PID, member.pid, os.WEXITED | os.WNOWAIT)
        assert not group.is_populated()
        assert group.remove()


@needs_cgroup
def test_signal_reaches_members_alone(group: ControlGroup) -> None:
    """A process that is no member may have got the number of one."""
    with start_in(group) as one, start_in(group) as other:
        assert group.send(one.pid, SIGUSR1)
        assert one.wait() == -SIGUSR1
        assert not group.send(one.pid, SIGTERM)
        assert not group.send(os.getpid(), SIGTERM)
        assert group.members() == {other.pid}
        group.kill()


@needs_cgroup
def test_fork_takes_the_group_for_empty(group: ControlGroup) -> None:
    """A fork of this program must not kill or remove what belongs to its parent."""
    with start_in(group) as member:
        pid = os.fork()
        if pid == 0:
            os._exit(group.is_populated() or group.kill() or group.members() != set())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert member.poll() is None
        group.kill()
