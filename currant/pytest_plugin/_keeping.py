"""`Keeping`: what ``--currant-keep`` leaves running at the end, and what it says about that."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import anyio
import pytest

from currant._values.errors import CurrantError
from currant.config._find import find_config
from currant.pytest_plugin._project_stack import ProjectStack

__all__ = ["Keeping"]

NOT_KEPT = "currant_not_kept"
"""The key under which a worker of xdist passes the names of processes that were not kept."""


class Keeping:
    """Hooks of pytest for ``--currant-keep``, in each worker and in the controller of xdist.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._not_kept: set[str] = set()

    @cached_property
    def stack(self) -> ProjectStack | None:
        """The stack of the project; None: there is no ``currant.toml``.

        Raises:
            ConfigError: a file is wrong.
        """
        files = [os.path.abspath(file) for file in self._config.getini("currant_config")]
        first = files[0] if files else find_config(str(self._config.rootpath))
        if first is None:
            return None
        return ProjectStack(os.path.dirname(os.path.abspath(first)), files)

    def note_not_kept(self, name: str) -> None:
        """Note that a process does not stay for the next run, although it is of the session."""
        self._not_kept.add(name)
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[NOT_KEPT] = sorted(self._not_kept)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - a class of xdist
        """Take what a worker of xdist has noted; a worker that was killed passes nothing."""
        self._not_kept |= set(getattr(node, "workeroutput", {}).get(NOT_KEPT, ()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was left running, and what was not."""
        lines: list[str] = []
        with suppress(CurrantError):  # The tests that use the stack have raised it.
            lines += self._lines_about_stack()
        if self._not_kept:
            names = ", ".join(sorted(self._not_kept))
            lines.append(f"stopped, because not started by a name of currant.toml alone: {names}")
        if lines:
            terminalreporter.section("currant: --currant-keep")
            for line in lines:
                terminalreporter.line(line)

    def _lines_about_stack(self) -> list[str]:
        if self.stack is None or not self.stack.is_running:
            return []
        client = self.stack.client
        listing = anyio.run(client.list)
        left = {info.name: info.pid for info in listing.commands if info.pid is not None}
        if not left:
            return []
        names = ", ".join(f"{name} (pid {pid})" for name, pid in left.items())
        lines = [f"left running: {names}", "'currant down' in the project's folder ends the stack"]
        change, _ = anyio.run(partial(client.reload, apply=False))
        if old := [name for name in change.restart if name in left]:
            lines.append(f"older than their definitions, until 'currant reload': {', '.join(old)}")
        return lines
