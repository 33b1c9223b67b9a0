"""Test examples/test_suite as a user runs it: a suite with redis and a server, and its report."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT
from tests.suites import outcome_of, write_servers

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

FOLDER = ROOT / "examples" / "test_suite"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("redis") is None, reason="not installed: pip install -e '.[test]' (redis)"
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="redis-server is not installed: apt-get install redis-server, or brew install redis",
    ),
]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, in the folder of `pytester`."""
    write_servers(pytester, monkeypatch)
    shutil.copytree(FOLDER, pytester.path, dirs_exist_ok=True)
    return pytester.path


@pytest.mark.usefixtures("suite")
def test_suite_passes(pytester: pytest.Pytester) -> None:
    """The marker starts redis, and the fixtures start the app, for all tests and for one."""
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text
    assert set(outcome.tests.values()) == {"passed"}
    assert len(outcome.tests) == 4


@pytest.mark.usefixtures("suite")
def test_report_shows_why_the_server_failed(pytester: pytest.Pytester) -> None:
    """The client sees a closed connection; the section of the process has the reason."""
    outcome = outcome_of(pytester, "broken.py")
    assert outcome.tests == {"test_link_without_redis": "failed"}
    assert "RemoteDisconnected" in outcome.text
    section = outcome.section("test_link_without_redis", "process app")
    assert section.startswith("running (pid ")
    assert "redis.exceptions.ConnectionError: Error 2 connecting to /no/redis.sock." in section
