"""What one run of pytest has: an event loop in a thread, the settings, and all `Processes`."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from currant.pytest_plugin._definitions import Definitions
from currant.pytest_plugin._processes import Processes
from currant.pytest_plugin._reports import Reports

if TYPE_CHECKING:
    from collections.abc import Generator

    from anyio.from_thread import BlockingPortal

__all__ = ["opened", "start_marked"]

STRICT = ("session", "always", "never")


class _Session:
    """The part of a run that all fixtures share; made by the first of them.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.timeout = _seconds(config, "currant_timeout")
        self.grace = _seconds(config, "currant_grace")
        strict = str(config.getini("currant_strict"))
        if strict not in STRICT:
            raise pytest.UsageError(
                f"currant_strict must be {', '.join(STRICT[:-1])} or {STRICT[-1]}, not {strict!r}"
            )
        self.definitions = Definitions(config.getini("currant_config"), config.rootpath)
        self.reports = Reports(strict, config.getoption("currant_show"))
        config.pluginmanager.register(self.reports, "currant reports")
        self._resources = ExitStack()
        self.portal: BlockingPortal = self._resources.enter_context(start_blocking_portal())
        config.add_cleanup(self._resources.close)

    def logs(self, request: pytest.FixtureRequest, scope: str, folder: Path) -> Path:
        """Return where the files with the output are."""
        given = self._config.getoption("currant_logs")
        if given is None:
            return folder
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        owner = {"session": f"session {worker}".strip(), "module": request.node.nodeid}
        name = owner.get(scope, request.node.nodeid)
        return Path(given).absolute() / re.sub(r"[^\w.\[\]-]+", "_", name)


_SESSION = pytest.StashKey[_Session]()


def _session_of(config: pytest.Config) -> _Session:
    if _SESSION not in config.stash:
        config.stash[_SESSION] = _Session(config)
    return config.stash[_SESSION]


@contextmanager
def opened(request: pytest.FixtureRequest, scope: str) -> Generator[Processes]:
    """Return the `Processes` of a fixture; stop all processes at the end of the block."""
    session = _session_of(request.config)
    if scope == "function":
        folder: Path = request.getfixturevalue("tmp_path") / "processes"
    else:
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        folder = factory.mktemp(f"{scope}-processes")
    with (
        Processes(
            scope,
            folder,
            session.logs(request, scope, folder),
            session.portal,
            session.definitions,
            session.timeout,
            session.grace,
            session.reports.note_use,
        ) as processes,
        session.reports.telling_of(processes),
    ):
        yield processes


def start_marked(request: pytest.FixtureRequest) -> None:
    """Start the commands that the markers of a test name, unless they run.

    Raises:
        pytest.UsageError: a marker has a wrong scope.
    """
    fixtures = {
        "session": "session_processes",
        "module": "module_processes",
        "function": "processes",
    }
    for marker in request.node.iter_markers("processes"):
        scope = marker.kwargs.get("scope", "session")
        if scope not in fixtures:
            raise pytest.UsageError(
                f"the marker processes: scope must be {', '.join(fixtures)}, not {scope!r}"
            )
        processes: Processes = request.getfixturevalue(fixtures[scope])
        for name in marker.args:
            processes.ensure(name)


def _seconds(config: pytest.Config, name: str) -> float:
    """Return a setting in seconds.

    Raises:
        pytest.UsageError: it is no number of seconds.
    """
    text = str(config.getini(name))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"{name} must be a number of seconds, not {text!r}")
    return seconds
