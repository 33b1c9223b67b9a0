"""The keeper: a process that runs the processes which all workers of one run of pytest share.

The keeper is a stack (see `currant.stack`), and the workers are its clients.  The first worker runs
``python -m currant.pytest_plugin._keeper FOLDER LOGS GRACE``.  The keeper ends when the last worker
asks for that, or when no worker is left because all were killed.  If the keeper is killed, its
orphan guard stops the processes.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import anyio

from currant._supervisor.runner import Runner
from currant.pytest_plugin._keeper_files import LISTENING, KeeperFiles
from currant.pytest_plugin._killed_keepers import remove_files_of_killed_keepers
from currant.sinks import DirectorySink
from currant.stack._configuration import Configuration
from currant.stack._folder import Claim
from currant.stack._history import History
from currant.stack._server import StackServer

if TYPE_CHECKING:
    from collections.abc import Collection

    from currant._values.command import Command

__all__ = ["keep"]

STDOUT, STDERR = 1, 2


async def keep(files: KeeperFiles, logs: str, grace: float) -> None:
    """Run the processes that clients ask for, until there is no user.

    Args:
        files: the folder that the users share.
        logs: where the files with the output are.
        grace: seconds that a process has to stop.
    """

    def read(_names: Collection[str]) -> list[Command]:
        return [definition.as_in_worker() for definition in files.definitions()]

    history = History()
    source = Configuration((), read, lambda command: command)
    server = StackServer(Claim(str(files.folder)), history, source, is_needed=True)
    runner = Runner(
        keep_open=True,
        iterable=False,
        on_exit="stop",
        grace=grace,
        sinks=[history, DirectorySink(logs, on_error="warn")],
    )
    async with server.open(), runner:
        await server.listen(runner)
        _tell_starter()
        remove_files_of_killed_keepers()
        Thread(target=partial(_stop_without_users, files, runner), daemon=True).start()
        await runner.barrier.wait()


def _stop_without_users(files: KeeperFiles, runner: Runner) -> None:
    files.users.wait_until_none()
    runner.kill("no worker of pytest is left")


def _tell_starter() -> None:
    """Tell the starter that clients can connect, and close the pipe to it."""
    os.write(STDOUT, LISTENING)
    os.dup2(STDERR, STDOUT)


def main(folder: str, logs: str, grace: str) -> None:
    """Run the keeper in a child, and return at once in the parent.

    The starter reaps the parent, and the system the keeper, which may outlive the starter.
    """
    if os.fork() == 0:
        anyio.run(keep, KeeperFiles(Path(folder)), logs, float(grace))


if __name__ == "__main__":
    main(*sys.argv[1:])
