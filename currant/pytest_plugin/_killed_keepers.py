"""Remove the files of keepers that were killed.

A keeper has files in the folder of all stacks, named after the folder of its run.  No later run has
that folder, so none of them would remove the files of a keeper that could not do so itself.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from currant.pytest_plugin._keeper_files import OWN_FOLDER
from currant.stack._errors import StackFolderError, StackRunningError
from currant.stack._folder import Claim, described_folders

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["remove_files_of_killed_keepers"]


def remove_files_of_killed_keepers() -> None:
    """Remove the files of all keepers of this user that do not run and are not being started."""
    for folder in described_folders():
        with suppress(OSError, StackFolderError, StackRunningError):
            if not os.path.exists(folder):  # pytest has removed the folder of the run.
                Claim(folder).release()
            elif os.path.isdir(os.path.join(folder, OWN_FOLDER)):
                with _no_start(folder):
                    Claim(folder).release()


@contextmanager
def _no_start(folder: str) -> Generator[None]:
    """Keep workers from starting a keeper during the block, as `folder_locked` does.

    Raises:
        BlockingIOError: a worker is starting a keeper.
    """
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
