"""Where a stack is found: the private folder, the lock, and stale files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from currant.stack import NoStackError, StackFolderError, StackRunningError, _folder
from currant.stack._folder import Claim, StackPaths, find_stack, runtime_folder

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import os, sys
from currant.stack._folder import Claim
import socket
claim = Claim(sys.argv[1])
claim.describe(None)
listener = socket.socket(socket.AF_UNIX)
listener.bind(claim.paths.socket)
listener.listen()
print(os.getpid(), flush=True)
sys.stdin.read()
"""
"""A program that claims a folder and listens, until it is killed."""


pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project's folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def test_folder_is_private(runtime: Path) -> None:
    """Only this user may look into it."""
    assert runtime_folder(create=True) == str(runtime)
    assert runtime.stat().st_mode & 0o777 == 0o700


def test_folder_is_in_tmp_without_a_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user has a folder of their own there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert runtime_folder() == f"/tmp/currant-{os.geteuid()}"


def test_runtime_folder_of_another_user_is_left_alone(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `su`, the variables may be those of another user, and root could write there."""
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert runtime_folder() == f"/tmp/currant-{user}"
    assert not runtime.exists()


def test_folder_that_others_control_is_refused(runtime: Path, tmp_path: Path) -> None:
    """Neither a link, nor a file, nor a folder that others may enter is trusted."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    runtime.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackFolderError, match="it is not a folder"):
        runtime_folder(create=True)
    runtime.unlink()
    runtime.mkdir(mode=0o700)
    runtime.chmod(0o755)
    with pytest.raises(StackFolderError, match="others may look into it"):
        runtime_folder(create=True)


def test_folder_that_belongs_to_another_user_is_refused(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user could put a socket there."""
    runtime.mkdir(mode=0o700)
    lstat = os.lstat

    def foreign(path: str) -> SimpleNamespace:
        found = lstat(path)
        return SimpleNamespace(st_mode=found.st_mode, st_uid=found.st_uid + 1)

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", foreign)
        with pytest.raises(StackFolderError, match="it belongs to the user"):
            runtime_folder()


def test_second_stack_of_a_folder_is_refused_with_the_pid_of_the_first(project: Path) -> None:
    """The lock decides, and the description has the pid."""
    claim = Claim(str(project))
    try:
        claim.describe(None)
        with pytest.raises(StackRunningError, match=f"runs already \\(pid {os.getpid()}\\)"):
            Claim(str(project))
    finally:
        claim.release()
    Claim(str(project)).release()


def test_second_stack_is_refused_with_the_pid_while_the_first_begins(project: Path) -> None:
    """The first has not described itself yet."""
    claim = Claim(str(project))
    try:
        with pytest.raises(StackRunningError, match=f"runs already \\(pid {os.getpid()}\\)"):
            Claim(str(project))
    finally:
        claim.release()


def test_release_leaves_no_file(project: Path, runtime: Path) -> None:
    """A stack that has ended leaves nothing behind."""
    claim = Claim(str(project))
    claim.describe("/log")
    claim.release()
    assert list(runtime.iterdir()) == []


def test_another_way_to_the_same_folder_is_the_same_stack(project: Path, tmp_path: Path) -> None:
    """Symbolic links do not matter."""
    link = tmp_path / "link"
    link.symlink_to(project)
    claim = Claim(str(link))
    try:
        with pytest.raises(StackRunningError):
            Claim(f"{project}/../project")
    finally:
        claim.release()


def test_stack_is_found_from_below_its_folder(project: Path) -> None:
    """The nearest parent with a stack counts."""
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    claim = Claim(str(project))
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(claim.paths.socket)
            with pytest.raises(NoStackError):  # It does not listen yet.
                find_stack(str(below))
            listener.listen()
            assert find_stack(str(below)) == claim.paths
    finally:
        claim.release()


def test_killed_stack_is_noticed_at_once(project: Path) -> None:
    """SIGKILL leaves the files, and the next stack takes their place."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        with pytest.raises(StackRunningError, match=f"pid {pid}"):
            Claim(str(project))
        holder.kill()
    paths = StackPaths.of(str(project), runtime_folder())
    assert os.path.exists(paths.socket)
    with pytest.raises(NoStackError):
        find_stack(str(project))
    claim = Claim(str(project))
    try:
        assert not os.path.exists(paths.socket)
    finally:
        claim.release()


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_stack_is_found_from_a_shell_with_another_runtime_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """A service has no runtime folder, and a login shell has one; a folder must be private."""
    with monkeypatch.context() as service:
        service.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        theirs = Claim(str(project))
        theirs.describe(None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(theirs.paths.socket)
        listener.listen()
        (tmp_path / "currant").chmod(mode)
        monkeypatch.setattr(_folder, "USUAL_FOLDERS", (str(tmp_path / "currant"),))
        if mode == 0o700:
            assert find_stack(str(project)) == theirs.paths
            with pytest.raises(StackRunningError, match=f"pid {os.getpid()}"):
                Claim(str(project))
        else:
            with pytest.raises(NoStackError):
                find_stack(str(project))
    theirs.release()


def test_path_that_is_too_long_for_a_socket_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so; `currant start` goes on without a socket."""
    long = tmp_path / ("x" * 100)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(StackFolderError, match="the path is too long for a socket"):
        Claim(str(project))
