"""A window of tmux, as a person sees it."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.clis import ROOT, environment
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Tmux"]


class Tmux:
    """A separate tmux server with one window that runs a shell."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._socket = f"currant-test-{uuid4()}"
        # tmux leaves its socket behind, so each server has its own directory. The directory's
        # path is short because the path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")
        folder = {"TMUX_TMPDIR": self._folder.name}
        self._env = environment({"ENV": "", "TERM": "xterm", **folder, **env})
        self("new-session", "-d", "-x", "100", "-y", "40", "-c", str(ROOT), "exec sh")
        self.type("PS1='prompt> '")

    def __call__(self, *arguments: str) -> str:
        """Run a tmux command and return its output."""
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(
            command, env=self._env, capture_output=True, timeout=LIMIT, check=True, text=True
        ).stdout

    def type(self, line: str) -> None:
        """Type `line` and Enter."""
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    def wait_for(self, *patterns: str) -> str:
        """Wait until the screen matches each of `patterns`; return the screen."""
        deadline = time.monotonic() + LIMIT
        while True:
            screen = self("capture-pane", "-p", "-J")
            if all(re.search(pattern, screen, re.MULTILINE) for pattern in patterns):
                return screen
            assert time.monotonic() < deadline, f"waiting for {patterns} on the screen:\n{screen}"

    def close(self) -> None:
        """End the server and all processes in its windows."""
        self("kill-server")
        self._folder.cleanup()
