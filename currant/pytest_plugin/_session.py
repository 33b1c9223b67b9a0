"""What one run of pytest has: an event loop in a thread, the settings, and all `Processes`."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from currant._values.errors import CurrantError
from currant.pytest_plugin._definitions import Definitions
from currant.pytest_plugin._event_loop import EventLoop
from currant.pytest_plugin._own_processes import OwnProcesses
from currant.pytest_plugin._processes import Processes
from currant.pytest_plugin._reports import Reports
from currant.pytest_plugin._settings import FIXTURES, KEEPING, MARKER, settings_of
from currant.pytest_plugin._shared_processes import SharedProcesses

if TYPE_CHECKING:
    from collections.abc import Generator


__all__ = ["opened", "session_of", "start_marked"]

SESSION = "currant session"
"""The name under which pytest holds what all fixtures share."""

MAX_NAME = 200
"""Characters of a folder's name before the hash; file systems allow 255 bytes."""


class _Session:
    """What all fixtures of a run share; the first fixture makes it.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.settings = settings_of(config)
        self.definitions = Definitions(self.settings.files, config.rootpath)
        self.reports = Reports(self.settings.strict, self.settings.show)
        config.pluginmanager.register(self.reports, "currant reports")
        self._loop = EventLoop()
        self.portal = self._loop.portal
        self._open: list[Processes] = []
        config.add_cleanup(self._close)

    @contextmanager
    def closing(self, processes: Processes) -> Generator[None]:
        """Stop all processes at the end of the block, or at the end of the run.

        After Ctrl-C in a fixture, pytest leaves out the ends of the fixtures around it.
        """
        self._open.append(processes)
        try:
            with processes:
                yield
        finally:
            self._open.remove(processes)

    def _close(self) -> None:
        with ExitStack() as resources:
            resources.callback(self._loop.close)  # last
            for processes in self._open:
                resources.enter_context(processes)

    def logs(self, request: pytest.FixtureRequest, scope: str, folder: Path) -> Path:
        """Return where the files with the output are."""
        if self.settings.logs is None:
            return folder
        parts: list[str] = []
        if scope != "session":
            path, *names = request.node.nodeid.split("::")
            parts = [*path.split("/"), *map(_folder_name, names)]
        if scope != "function":  # Each worker of xdist may have the scope.
            parts.append("-".join([scope, *filter(None, [os.environ.get("PYTEST_XDIST_WORKER")])]))
        return Path(self.settings.logs).absolute().joinpath(*parts)

    def shared(self, factory: pytest.TempPathFactory) -> SharedProcesses:
        """Return the processes that all workers of this run share."""
        is_worker = hasattr(self._config, "workerinput")
        base = factory.getbasetemp()
        folder = (base.parent if is_worker else base) / "shared-processes"
        logs = self.settings.logs
        return SharedProcesses(
            folder,
            folder if logs is None else Path(logs).absolute() / "shared",
            self.settings.grace,
            self.portal,
            self._config.pluginmanager.get_plugin(KEEPING),
            self.reports.note_use,
        )


def _folder_name(test: str) -> str:
    """Return a name for a folder, which no other test has."""
    name = re.sub(r"[^\w.\[\]-]+", "_", test)[:MAX_NAME]
    return name if name == test else f"{name}-{sha256(test.encode()).hexdigest()[:8]}"


def session_of(config: pytest.Config) -> _Session:
    """Return what all fixtures of a run share; the first call makes it."""
    session: _Session | None = config.pluginmanager.get_plugin(SESSION)
    if session is None:
        session = _Session(config)
        config.pluginmanager.register(session, SESSION)
    return session


@contextmanager
def opened(request: pytest.FixtureRequest, scope: str) -> Generator[Processes]:
    """Return the `Processes` of a fixture; stop all processes at the end of the block."""
    session = session_of(request.config)
    shared: SharedProcesses | None = None
    if scope == "function":
        folder: Path = request.getfixturevalue("tmp_path") / "processes"
    else:
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        folder = factory.mktemp(f"{scope}-processes")
        if scope == "session":
            shared = session.shared(factory)
    reports, settings = session.reports, session.settings
    own = OwnProcesses(
        session.logs(request, scope, folder), settings.grace, session.portal, reports.note_use
    )
    processes = Processes(
        scope,
        folder,
        session.portal,
        session.definitions,
        settings.timeout,
        reports.note_use,
        own,
        shared,
    )
    sources = (own,) if shared is None else (own, shared)
    with session.closing(processes), reports.telling_of(processes, scope, sources):
        yield processes


def start_marked(request: pytest.FixtureRequest) -> None:
    """Start the commands that the markers of a test name, unless they run."""
    for marker in reversed(list(request.node.iter_markers(MARKER))):  # the module's first
        scope = marker.kwargs.get("scope", "session")
        if scope not in FIXTURES or marker.kwargs.keys() - {"scope"}:
            form = "processes(*names, scope='session'), or the scope 'module' or 'function'"
            pytest.fail(f"the marker is {form}, not {marker.kwargs}", pytrace=False)
        processes: Processes = request.getfixturevalue(FIXTURES[scope])
        for name in marker.args:
            try:
                processes.ensure(name)
            except (CurrantError, TimeoutError) as error:
                text = f"{type(error).__name__}: {error}"
                raise pytest.fail.Exception(text, pytrace=False) from None
