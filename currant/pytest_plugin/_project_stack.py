"""`ProjectStack`: the stack of the project, which ``--currant-keep`` leaves running."""

from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from currant.pytest_plugin._shared_stack import folder_locked, variables_for_others
from currant.stack import RequestError, StackClient, StackError
from currant.stack._folder import StackPaths, runtime_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._values.command import Command

__all__ = ["ProjectStack"]

__tracebackhide__ = True  # pytest leaves these frames out

TIME_TO_END = 10.0
"""Seconds that a stack has to end once nothing runs in it."""

LOOK_AGAIN = 0.01
"""Seconds between two looks at the socket of a stack that is about to end."""


class ProjectStack:
    """The stack of ``currant start -d``; a `SharedStack`.

    Args:
        folder: the folder of the configuration.
        files: the files of the configuration that the tests name; empty: that of the folder.
    """

    def __init__(self, folder: str, files: Sequence[str]) -> None:
        self._folder = folder
        self._files = files
        self._log: Path | None = None  # remembered when the stack has ended

    @cached_property
    def _paths(self) -> StackPaths:
        return StackPaths.of(self._folder, runtime_folder(create=True))

    @property
    def folder(self) -> str:
        """The folder of the project, by which clients find the stack."""
        return self._paths.folder

    @property
    def is_running(self) -> bool:
        """Whether the stack runs."""
        return self._paths.accepts()

    @property
    def client(self) -> StackClient:
        """Talks to the stack, if it runs."""
        return StackClient(self._paths.folder, self._paths.socket)

    def open(self, commands: Sequence[Command], timeout: float) -> Command:
        """Start the stack with a command, unless it runs.

        Other workers and other runs wait meanwhile.

        Args:
            commands: the dependencies of the command, and last the command.
            timeout: seconds that the command has to become ready.

        Returns:
            The command; the stack reads the configuration itself.

        Raises:
            RequestError: the command could not be started, or has ended before it was ready.
            TimeoutError: it is not ready in time; it goes on.
        """
        with folder_locked(self._folder):
            if not self._paths.accepts():
                self._start(commands[-1].name, timeout)
        self.log(commands[-1].name)  # Remember it.
        return commands[-1]

    async def has_ended(self) -> bool:
        """Return whether the stack has ended; if nothing runs in it, wait some time for that.

        A stack ends with its last command, unless a client has stopped a command.
        """
        client = self.client
        try:
            listing = await client.list()
            if any(info.pid is not None for info in listing.commands):
                return False
            with anyio.move_on_after(TIME_TO_END):
                async with aclosing(client.logs(last=0, follow=True)) as messages:
                    async for _ in messages:
                        pass
                while self.is_running:  # noqa: ASYNC110 - the messages end before the stack
                    await anyio.sleep(LOOK_AGAIN)
        except StackError:
            return True
        return not self.is_running

    def log(self, name: str) -> Path | None:  # noqa: ARG002 - one log for all
        """Return the file with the output of all commands; None: it goes to a terminal."""
        info = self._paths.read_info()
        if info is not None and info.log is not None:
            self._log = Path(info.log)
        return self._log

    def _start(self, name: str, timeout: float) -> None:
        files = [word for file in self._files for word in ("-f", file)]
        try:
            started = subprocess.run(
                (sys.executable, "-P", "-m", "currant", "start", "-d", *files, name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=variables_for_others(),
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"command {name!r} is not ready after {timeout:g} s") from None
        if started.returncode != 0:
            said = started.stderr.decode(errors="replace").strip()
            raise RequestError("failed", f"'currant start -d {name}' has failed:\n{said}")
