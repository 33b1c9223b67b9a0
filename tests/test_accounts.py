"""`user`, `group`, `extra_groups` and `umask`: whom a command runs as."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import Command, CommandError, LaunchError, LocalLauncher, Runner, ready, run_process
from currant._process.spawn import start_with_pidfd, start_without_pidfd
from currant._system.accounts import Credentials, credentials_of
from currant._system.groups import has_pidfds
from currant._values.errors import SetupError
from currant.testing import FakeLauncher
from tests.streams import read_all
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from currant._process.spawn import StartProcess

pytestmark = pytest.mark.anyio

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

STARTS = [start_without_pidfd, *([start_with_pidfd] if has_pidfds() else ())]

NOBODY = pwd.getpwnam("nobody")

SHOW_IDS = "id -u; id -g; id -G; umask"


async def output_of(command: Command, start: StartProcess | None = None) -> list[str]:
    """Return the lines of a command that succeeds."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False, _start=start) as launcher:
            process = await launcher.launch(command)
            data = await read_all(process.stdout)
            errors = await read_all(process.stderr) if process.stderr else b""
            assert ((await process.wait()).code, errors) == (0, b"")
    return data.decode().splitlines()


# ---- real processes ----


@pytest.mark.parametrize("start", STARTS)
async def test_umask_is_that_of_the_command(start: StartProcess) -> None:
    """The umask of this program stays as it is."""
    before = os.umask(0o022)
    try:
        assert await output_of(Command.shell("umask", umask=0o077), start) == ["0077"]
        assert await output_of(Command.shell("umask", umask=0), start) == ["0000"]
        assert await output_of(Command.shell("umask"), start) == ["0022"]
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (None, 0o644), (0, 0o644)])
async def test_new_file_of_an_output_has_the_umask_of_the_command(
    umask: int | None, mode: int, tmp_path: Path
) -> None:
    """The file of stdout is private if the files that the command itself makes are."""
    before = os.umask(0o022)
    try:
        command = Command(["true"], umask=umask, stdout=tmp_path / "out", stderr=tmp_path / "err")
        await run_process(command)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"out": mode, "err": mode}


@needs_root
async def test_file_of_an_output_is_opened_by_this_program(tmp_path: Path) -> None:
    """The other user could not make the file, and writes it all the same."""
    tmp_path.chmod(0o700)
    command = Command(["id", "-u"], user="nobody", cwd="/", stdout=tmp_path / "out")
    await run_process(command)
    assert (tmp_path / "out").read_text() == f"{NOBODY.pw_uid}\n"
    assert (tmp_path / "out").stat().st_uid == os.getuid()


@needs_root
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("user", ["nobody", NOBODY.pw_uid])
async def test_user_brings_their_own_groups(start: StartProcess, user: str | int) -> None:
    """A command that root starts as another user has none of root's groups."""
    line = "id -u; id -g; id -G"
    group = str(NOBODY.pw_gid)
    shown = await output_of(Command.shell(line, user=user), start)
    assert shown == [str(NOBODY.pw_uid), group, group]


@needs_root
async def test_groups_may_be_named() -> None:
    """Groups that are given come in place of the user's own."""
    command = Command.shell(SHOW_IDS, user="nobody", group=7, extra_groups=["tty", 9], umask=0o27)
    uid, gid, groups, umask = await output_of(command)
    assert (uid, gid, umask) == (str(NOBODY.pw_uid), "7", "0027")
    assert set(groups.split()) == {"7", "5", "9"}
    assert await output_of(Command(["id", "-G"], group=7, extra_groups=())) == ["7"]


@needs_root
async def test_user_without_an_entry_needs_a_group() -> None:
    """The system does not know the groups of such a user, so they must be given."""
    command = Command.shell("id -u; id -G", user=54321, group=54322)
    assert await output_of(command) == ["54321", "54322"]
    with pytest.raises(CommandError, match="does not know the group of user 54321; set"):
        async with Runner([Command(["id"], user=54321)]):
            pass


@needs_root
async def test_other_user_may_open_the_pipes_again() -> None:
    """Scripts write to ``/dev/stderr`` and read from ``/dev/stdin``."""
    line = "echo out >/dev/stdout; read -r word </dev/stdin; echo $word >/dev/stderr"
    command = Command.shell(line, user="nobody", stdin=b"in\n")
    with anyio.fail_after(LIMIT):
        async with Runner({"c": command}, capture=True) as runner:
            result = await runner["c"].wait()
    assert (result.stdout, result.stderr) == (b"out\n", b"in\n")


@needs_root
async def test_other_user_may_open_the_terminal_again() -> None:
    """Programs such as `mesg` and `screen` open their terminal by its name."""
    command = Command.shell('echo out >"$(tty)"', user="nobody", pty=True)
    with anyio.fail_after(LIMIT):
        async with Runner({"c": command}, capture=True) as runner:
            result = await runner["c"].wait()
    assert result.stdout == b"out\r\n"


@needs_root
async def test_stdin_file_and_null_device_keep_their_owner(tmp_path: Path) -> None:
    """Only the pipes of a command are given to its user."""
    file = tmp_path / "in"
    file.write_text("text\n")
    null = os.stat(os.devnull)
    assert await output_of(Command(["cat"], user="nobody", stdin=file)) == ["text"]
    assert await output_of(Command(["cat"], user="nobody")) == []
    assert file.stat().st_uid == 0
    assert (os.stat(os.devnull).st_uid, os.stat(os.devnull).st_mode) == (null.st_uid, null.st_mode)


@needs_root
async def test_command_of_another_user_is_stopped_like_any_other() -> None:
    """Root may signal all processes."""
    with anyio.fail_after(LIMIT):
        async with Runner([Command(["sleep", "9999"], user="nobody")], on_exit="stop") as runner:
            await runner["sleep"].until_started()
    assert str(runner.results["sleep"].exit) == "stopped (SIGTERM)"


@needs_root
async def test_probe_runs_as_the_user_of_its_command(tmp_path: Path) -> None:
    """A probe has no more rights than the command, and finds what the command finds."""
    tmp_path.chmod(0o777)
    probe = ready.command(["/bin/sh", "-c", "id -u >who; id -G >>who; umask >>who"])
    command = Command(["sleep", "9999"], user="nobody", umask=0o27, cwd=tmp_path, ready=probe)
    with anyio.fail_after(LIMIT):
        async with Runner(on_exit="stop") as runner:
            await runner.start(command)
    expected = [str(NOBODY.pw_uid), str(NOBODY.pw_gid), "0027"]
    assert (tmp_path / "who").read_text().split() == expected


@needs_root
async def test_program_that_the_user_may_not_run_is_told(tmp_path: Path) -> None:
    """Root may run the program, so the look-up finds nothing wrong with it."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    with anyio.fail_after(LIMIT):
        async with Runner({"c": Command([program], user="nobody")}) as runner:
            result = await runner["c"].wait()
    assert str(result.error) == (
        f"cannot start 'c': user 'nobody' may not run {str(program)!r}, "
        "or not enter a folder on its path"
    )


async def test_missing_privilege_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root may become another user."""

    async def refuse(spec: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    user = "nobody" if os.getuid() != NOBODY.pw_uid else "root"
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    async with LocalLauncher(orphan_guard=False, _start=refuse) as launcher:  # type: ignore[arg-type]
        with pytest.raises(LaunchError, match="CAP_SETUID") as caught:
            await launcher.launch(Command(["true"], user=user))
        assert "'true'" in str(caught.value)
        with pytest.raises(LaunchError, match="cannot start 'true': PermissionError"):
            await launcher.launch(Command(["true"]))


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (Command(["true"], user="no-such-user"), "there is no user 'no-such-user'"),
        (Command(["true"], group="no-such-group"), "there is no group 'no-such-group'"),
        (Command(["true"], extra_groups=["no-such"]), "there is no group 'no-such'"),
    ],
)
async def test_unknown_account_is_named_before_anything_starts(
    command: Command, problem: str
) -> None:
    """Users and groups are looked up on entry, as programs are."""
    with pytest.raises(CommandError, match=f"command 'true': {problem}"):
        async with Runner([command]):
            pass
    async with LocalLauncher(orphan_guard=False) as launcher:
        with pytest.raises(LaunchError, match=f"cannot start 'true': {problem}"):
            await launcher.launch(command)


async def test_launcher_gets_the_accounts() -> None:
    """The names are looked up where the process runs."""
    launcher = FakeLauncher()
    command = Command(["c"], user="web", group=3, extra_groups=["x"], umask=0o27)
    async with Runner([command], launcher=launcher):
        pass
    got = launcher["c"].command
    assert (got.user, got.group, got.extra_groups, got.umask) == ("web", 3, ("x",), 0o27)


# ---- who a process becomes ----


def test_own_user_changes_nothing() -> None:
    """Naming the user of this program takes no privilege, whatever groups the program has."""
    own = pwd.getpwuid(os.getuid())
    assert credentials_of(own.pw_name, None, None) == Credentials()
    assert credentials_of(own.pw_uid, None, None) == Credentials()
    assert credentials_of(None, None, None) == Credentials()
    assert credentials_of(own.pw_uid, 3, [4]) == Credentials(None, 3, (4,))


def test_groups_of_another_user_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The groups of the user come from the system, the given ones from the caller."""
    monkeypatch.setattr(os, "getuid", lambda: 1)
    monkeypatch.setattr(os, "getgrouplist", lambda name, group: [group, 8])
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert credentials_of("nobody", None, None) == Credentials(uid, gid, (gid, 8))
    assert credentials_of("nobody", 5, None) == Credentials(uid, 5, (5, 8))
    assert credentials_of("nobody", None, ()) == Credentials(uid, gid, ())
    assert credentials_of(54321, 5, None) == Credentials(54321, 5, ())
    with pytest.raises(SetupError):
        credentials_of(54321, None, None)


def test_pipes_are_private_to_their_owner() -> None:
    """The reason why they are given to the user: nobody else may open a pipe again."""
    read_end, write_end = os.pipe()
    assert not os.fstat(read_end).st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    os.close(read_end)
    os.close(write_end)
