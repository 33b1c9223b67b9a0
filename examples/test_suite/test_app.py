"""Tests of the app with a real redis and real requests."""

from __future__ import annotations

from urllib.error import HTTPError

import pytest
from conftest import App

from currant.pytest_plugin import Processes

pytestmark = pytest.mark.processes("redis")


def test_link_leads_to_its_address(app: App) -> None:
    app.put("home", f"{app.url}/health")
    assert app.follow("home") == f"{app.url}/health"


def test_unknown_link(app: App) -> None:
    with pytest.raises(HTTPError, match="404"):
        app.follow("nowhere")


def test_second_app_has_the_same_links(app: App, processes: Processes, free_port: int) -> None:
    app.put("shared", f"{app.url}/health")
    second = App(processes, free_port)  # ends with this test
    assert second.follow("shared") == f"{app.url}/health"


def test_app_survives_a_restart_of_redis(app: App, session_processes: Processes) -> None:
    with session_processes.stopped("redis"):
        pass  # Redis is down here.
    app.put("again", f"{app.url}/health")
    assert app.follow("again") == f"{app.url}/health"
