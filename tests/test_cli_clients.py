"""What the subcommands for a running stack say if they get no answer."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import Exit
from currant.cli._clients import ask
from currant.cli._clients.ask import ask_stack
from currant.cli._clients.ps import table
from currant.stack import CommandInfo, Listing
from currant.stack._folder import Claim
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from currant.stack import StackClient

pytestmark = pytest.mark.usefixtures("runtime")


@contextmanager
def listener_of(folder: Path) -> Iterator[tuple[socket.socket, int]]:
    """Listen as the stack of a folder would, and yield the socket and the pid of the stack."""
    claim = Claim(str(folder))
    pid = claim.describe(None).pid
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(claim.paths.socket)
        listener.listen()
        listener.settimeout(LIMIT)
        yield listener, pid
    claim.release()


async def show(client: StackClient) -> int:
    """Ask for the commands."""
    with anyio.fail_after(LIMIT):
        return len((await client.list()).commands)


def test_paused_stack_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system accepts connections for a paused process, which does not answer."""
    monkeypatch.setattr(ask, "PATIENCE", 0.0)
    monkeypatch.setattr(ask, "ANSWER_LIMIT", 0.1)
    with listener_of(tmp_path) as (_, pid):
        assert ask_stack(str(tmp_path), show) == 1
    assert capsys.readouterr().err == (
        f"currant: the stack (pid {pid}) does not answer; it may be paused: 'fg' in its terminal "
        "continues it\n"
    )


def test_stack_that_was_killed_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client whose connection ends without an answer says which stack has ended."""

    def hang_up(listener: socket.socket) -> None:
        for _ in range(2):  # the search for the stack, and the request
            listener.accept()[0].close()

    with listener_of(tmp_path) as (listener, _):
        server = threading.Thread(target=hang_up, args=[listener])
        server.start()
        assert ask_stack(str(tmp_path), show) == 2
        server.join()
    assert capsys.readouterr().err == f"currant: the stack of {tmp_path} has ended\n"


def test_end_of_a_command_in_the_table_does_not_repeat_its_name() -> None:
    """The first line of the reason is enough; the others are the last output."""
    reason = "'db' is not ready: its probe was not met\n    stdout: no such table"
    nothing = (None, None, 0, None, None, None, None)
    db = CommandInfo("db", "failed", False, *nothing, Exit(1, None), reason, "serve")
    titles, row = table(Listing((db,), {}))
    assert titles.endswith("end")
    assert row.split(maxsplit=3) == ["db", "failed", "0", "is not ready: its probe was not met"]


def test_table_shows_the_last_failure_of_a_command_that_is_restarted() -> None:
    """A crash loop shows why, also while the next process runs."""
    nothing = (None, None, 4, None, None, None, None, None, None)
    rows = [
        CommandInfo(name, state, False, *nothing, "serve", "exit code 3")
        for name, state in (("a", "running"), ("b", "restarting"))
    ]
    shown = table(Listing(tuple(rows), {}))[1:]
    assert [row.partition(" last: ")[2] for row in shown] == ["exit code 3"] * 2


def test_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped `--folder` is not a folder without a stack."""
    folder = str(tmp_path / "nope")
    assert ask_stack(folder, show) == 2
    assert capsys.readouterr().err == f"currant: --folder: there is no folder {folder!r}\n"
