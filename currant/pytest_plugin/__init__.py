"""The pytest plugin: servers and tools as fixtures, with nothing left behind.

pytest loads this module if currant is installed; ``-p no:currant`` turns it off.  It has no autouse
fixture, and imports the rest of the package when a test first asks for a fixture.
`Processes` is the type of the fixtures, for annotations.

To read the package: `_settings` has the options, `_session` is what one run of pytest has, with its
event loop (`_event_loop`), `_processes` is the value of the fixtures, `_own_processes` runs the
processes of one fixture, `_definitions` finds commands in ``currant.toml``, `_deaths` notes which
processes end by themselves, `_log` writes the output to files, and `_reports` adds to the reports.
`_plain_imports` makes the first import faster.

`_shared_processes` has the processes that several workers use.  Each is a `_shared_job` in a
`_shared_stack`: that of a keeper (`_keeper`, `_keeper_files`, `_keeper_stack`, `_killed_keepers`),
or with ``--currant-keep`` that of the project (`_project_stack`, `_keeping`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from currant._first_use import imported as _imported
from currant.pytest_plugin._plain_imports import PlainImports
from currant.pytest_plugin._settings import FIXTURES, KEEPING, MARKER, add_settings, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from currant.pytest_plugin._processes import Processes

__all__ = ["Processes"]


def __getattr__(name: str) -> object:
    """Import `Processes` when it is first used.

    There is no `__dir__`: pytest takes every name that it lists.
    """
    return _imported(globals(), {"Processes": "currant.pytest_plugin._processes"}, name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings."""
    add_settings(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Import the modules of currant faster, until the end of the run."""
    finder = PlainImports()
    sys.meta_path.insert(0, finder)
    early_config.add_cleanup(lambda: _remove(finder))


def _remove(finder: PlainImports) -> None:
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, check the settings, and prepare ``--currant-keep``."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names, scope='session'): start these commands of currant.toml before the test, "
        "for all tests of the scope: session, module or function",
    )
    if settings_of(config).keep:
        from currant.pytest_plugin._keeping import Keeping

        config.pluginmanager.register(Keeping(config), KEEPING)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the tests with the marker a fixture that starts the processes."""
    used = set[str]()
    for item in items:
        fixtures: list[str] | None = getattr(item, "fixturenames", None)
        if fixtures is not None:
            is_new = "_marked_processes" not in fixtures  # All cases of a test share the list.
            if is_new and item.get_closest_marker(MARKER) is not None:
                fixtures.insert(0, "_marked_processes")
            used.update(fixtures)
    if "pytester" in used and used & {*FIXTURES.values(), "_marked_processes"}:
        # That fixture takes back the imports of its test, so all must be there before.
        from currant.pytest_plugin._session import session_of

        session_of(config)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """With ``--currant-show always``, show the processes of the tests that have not failed."""
    if config.getoption("currant_show") == "always":
        from currant.pytest_plugin._reports import show_processes

        show_processes(terminalreporter)


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
    """The number of a TCP port that the system gives to no other program until the test ends."""
    return processes.free_port()


@pytest.fixture
def free_ports(processes: Processes) -> Callable[[int], list[int]]:
    """A function that returns a number of ports, each as from `free_port`."""
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
