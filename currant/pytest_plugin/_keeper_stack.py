"""`KeeperStack`: the keeper of this run of pytest, as a worker sees it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from currant._values.errors import CommandError
from currant._values.file_name import as_file_name
from currant.pytest_plugin._event_loop import call
from currant.pytest_plugin._keeper_files import (
    LISTENING,
    KeeperFiles,
)
from currant.pytest_plugin._shared_stack import folder_locked, variables_for_others
from currant.stack import StackClient, StackError
from currant.stack._folder import StackPaths, runtime_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from currant._values.command import Command

__all__ = ["KeeperStack"]

__tracebackhide__ = True  # pytest leaves these frames out


class KeeperStack:
    """The processes that all workers of one run share; a `SharedStack`.

    The first worker starts the keeper, and the last one ends it.

    Args:
        folder: the folder that the workers share.
        logs: where the files with the output are.
        grace: seconds that a process has to stop.
        portal: the event loop of this worker.
    """

    def __init__(self, folder: Path, logs: Path, grace: float, portal: BlockingPortal) -> None:
        self._files = KeeperFiles(folder)
        self._portal = portal
        self._logs = logs
        self._grace = grace

    @cached_property
    def _paths(self) -> StackPaths:
        return StackPaths.of(str(self._files.folder), runtime_folder(create=True))

    @property
    def client(self) -> StackClient:
        """Talks to the keeper, if it runs."""
        return StackClient(self._paths.folder, self._paths.socket)

    def open(self, commands: Sequence[Command], timeout: float) -> Command:  # noqa: ARG002
        """Use the keeper from now on: start the keeper unless it runs, and define a command.

        Args:
            commands: the dependencies of the command, and last the command.
            timeout: not used, because this starts no command.

        Returns:
            The command that the keeper runs: that of the first worker.

        Raises:
            CommandError: the command cannot be pickled, or depends on a command that is not shared.
            StackError: the keeper could not be started.
        """
        files = self._files
        with folder_locked(files.folder):
            is_new = files.users.join()
            if not self._paths.accepts():
                if is_new and files.users.is_alone():
                    files.forget_definitions()
                self._start()
            return self._define(commands)

    def _define(self, commands: Sequence[Command]) -> Command:
        *_, chosen = [self._files.define(command) for command in commands]
        known = {each.load().name for each in self._files.definitions()}
        for needed in chosen.after:
            if needed not in known:
                raise CommandError(
                    f"{chosen.name!r} waits for {needed!r}, which is not shared; start that with "
                    "shared=True before"
                )
        return chosen

    def leave(self) -> None:
        """Stop using the keeper; the last user stops all processes."""
        with folder_locked(self._files.folder):
            if self._files.users.is_alone():
                with suppress(StackError):  # It has been killed.
                    call(self._portal, self.client.down)
            self._files.users.leave()

    async def has_ended(self) -> bool:
        """Return whether the keeper has ended."""
        return not self._paths.accepts()

    def log(self, name: str) -> Path:
        """Return the file with all output of a process."""
        return self._logs / f"{as_file_name(name)}.log"

    def _start(self) -> None:
        """Start the keeper, and return when it listens.

        Raises:
            StackError: it has ended before.
        """
        keeper = (sys.executable, "-P", "-m", "currant.pytest_plugin._keeper")
        with open(self._files.log, "ab") as log:
            written = subprocess.run(
                (*keeper, str(self._files.folder), str(self._logs), str(self._grace)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=variables_for_others(),
                start_new_session=True,
                check=False,
            ).stdout
        if written != LISTENING:
            raise StackError(
                f"the keeper of the shared processes has not started; {self._files.log} says why"
            )
