"""The pytest plugin: servers and tools as fixtures, with nothing left behind.

pytest loads this module by itself if currant is installed; ``-p no:currant`` turns it off.  It has
no autouse fixture, and imports the rest of the package when a test first asks for a fixture.

To read the package: `_session` is what one run of pytest has, `_processes` is the value of the
fixtures, `_definitions` finds commands in ``currant.toml``, and `_reports` adds to the reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from currant.pytest_plugin._processes import Processes

__all__: list[str] = []

MARKER = "processes"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings."""
    group = parser.getgroup("currant", "currant: the processes of tests")
    group.addoption(
        "--currant-logs",
        metavar="DIR",
        help="write the output of all processes into files in DIR, not below tmp_path",
    )
    group.addoption(
        "--currant-show",
        choices=("always", "failed", "never"),
        default="failed",
        help="when to show the last lines of the processes of a test (default: failed)",
    )
    parser.addini(
        "currant_timeout",
        "seconds that a process of a test has to become ready (default: 60)",
        default="60",
    )
    parser.addini(
        "currant_grace",
        "seconds that a process of a test has to stop before SIGKILL (default: 5)",
        default="5",
    )
    parser.addini(
        "currant_config",
        "the currant.toml with the definitions (default: that of the root folder)",
        type="paths",
        default=[],
    )
    parser.addini(
        "currant_strict",
        "whose death fails the test that runs: session (default), always or never",
        default="session",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names, scope='session'): start these commands of currant.toml before the test, "
        "for all tests of the scope: session, module or function",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests with the marker a fixture that starts the processes."""
    for item in items:
        if item.get_closest_marker(MARKER) is not None and hasattr(item, "fixturenames"):
            item.fixturenames.insert(0, "_marked_processes")


@pytest.fixture
def processes(request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Starts processes, which are stopped at the end of the test."""
    from currant.pytest_plugin._session import opened

    with opened(request, "function") as opened_processes:
        yield opened_processes


@pytest.fixture(scope="module")
def module_processes(request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Starts processes, which are stopped after the last test of the module."""
    from currant.pytest_plugin._session import opened

    with opened(request, "module") as opened_processes:
        yield opened_processes


@pytest.fixture(scope="session")
def session_processes(request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Starts processes, which are stopped after the last test."""
    from currant.pytest_plugin._session import opened

    with opened(request, "session") as opened_processes:
        yield opened_processes


@pytest.fixture
def free_port(processes: Processes) -> int:
    """The number of a free TCP port, which no other program gets before the end of the test."""
    return processes.free_port()


@pytest.fixture
def free_ports(processes: Processes) -> Callable[[int], list[int]]:
    """Returns as many free TCP ports as it is told, as `free_port` does."""
    return lambda count: [processes.free_port() for _ in range(count)]


@pytest.fixture
def unix_socket_path(processes: Processes) -> str:
    """A path for a Unix socket, in a folder of its own, short enough for every system."""
    return processes.socket_path()


@pytest.fixture
def _marked_processes(request: pytest.FixtureRequest) -> None:
    """Starts the processes of the markers of a test."""
    from currant.pytest_plugin._session import start_marked

    start_marked(request)
