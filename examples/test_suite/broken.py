"""A test that fails, to show the report: pytest broken.py."""

from __future__ import annotations

from conftest import App

from currant.pytest_plugin import Processes


def test_link_without_redis(processes: Processes, free_port: int) -> None:
    app = App(processes, free_port, REDIS_SOCKET="/no/redis.sock")
    app.follow("home")
