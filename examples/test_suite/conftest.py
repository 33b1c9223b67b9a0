"""The servers that the tests share."""

from __future__ import annotations

import os
import sys
import tempfile
from urllib.request import Request, urlopen

import pytest

from currant import ready
from currant.pytest_plugin import Processes

# Each worker of pytest-xdist has a redis of its own.
os.environ["REDIS_SOCKET"] = os.path.join(tempfile.gettempdir(), f"redis-{os.getpid()}.sock")


class App:
    """A running app, and requests to it."""

    def __init__(self, processes: Processes, port: int, **env: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "app.py", str(port)]
        processes.start(argv, name="app", env=env, ready=ready.http(f"{self.url}/health"))

    def put(self, name: str, address: str) -> None:
        """Keep a link."""
        urlopen(Request(f"{self.url}/{name}", address.encode(), method="PUT")).close()

    def follow(self, name: str) -> str:
        """Follow a link, and return the address of the page."""
        with urlopen(f"{self.url}/{name}") as answer:
            return str(answer.url)


@pytest.fixture(scope="session")
def app(session_processes: Processes) -> App:
    """The app, which starts before the first test that needs it."""
    return App(session_processes, session_processes.free_port())
