"""The files of keepers that were killed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from currant.pytest_plugin._keeper_files import KeeperFiles
from currant.pytest_plugin._killed_keepers import remove_files_of_killed_keepers
from currant.pytest_plugin._shared_stack import folder_locked
from currant.stack._folder import Claim
from tests.test_forks import exit_code, fork

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run."""
    return KeeperFiles(tmp_path / "run").folder


@pytest.fixture
def killed(folder: Path, runtime: Path) -> list[Path]:
    """The files of a keeper that has ended without removing them."""

    def keep() -> None:
        Claim(str(folder)).describe(None)
        os._exit(0)

    assert exit_code(fork(keep)) == 0
    files = sorted(runtime.iterdir())
    assert len(files) == 2
    return files


def test_files_of_a_killed_keeper_are_removed(killed: list[Path], runtime: Path) -> None:
    """No process has locked them."""
    remove_files_of_killed_keepers()
    assert list(runtime.iterdir()) == []


def test_files_are_removed_if_the_folder_of_the_run_is_gone(
    folder: Path, killed: list[Path], runtime: Path
) -> None:
    """pytest removes the folders of old runs."""
    shutil.rmtree(folder)
    remove_files_of_killed_keepers()
    assert list(runtime.iterdir()) == []


def test_files_of_a_running_keeper_stay(folder: Path, runtime: Path) -> None:
    """It has locked one of them."""
    claim = Claim(str(folder))
    try:
        claim.describe(None)
        before = sorted(runtime.iterdir())
        remove_files_of_killed_keepers()
        assert sorted(runtime.iterdir()) == before
    finally:
        claim.release()


def test_files_stay_while_a_worker_starts_a_keeper(
    folder: Path, killed: list[Path], runtime: Path
) -> None:
    """The new keeper of that folder must not find its lock taken."""
    with folder_locked(folder):
        remove_files_of_killed_keepers()
    assert sorted(runtime.iterdir()) == killed


def test_files_of_a_project_stay(folder: Path, killed: list[Path], runtime: Path) -> None:
    """A stack may be started there at any time, and must not find its lock taken."""
    shutil.rmtree(folder)
    folder.mkdir()
    remove_files_of_killed_keepers()
    assert sorted(runtime.iterdir()) == killed
