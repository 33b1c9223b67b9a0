"""Test examples/frontend as a user runs it: esbuild, the API and redis, with `currant start`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clis import ROOT
from tests.ports import free_port
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from tests.clis import Run, Start

MODULES = ("redis", "starlette", "uvicorn", "watchfiles")
MISSING = [name for name in MODULES if find_spec(name) is None]
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("runtime"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"not installed: pip install -e '.[test]' ({', '.join(MISSING)})"
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="redis-server is not installed: apt-get install redis-server, or brew install redis",
    ),
    pytest.mark.skipif(
        shutil.which("npm") is None,
        reason="npm is not installed: apt-get install npm, or brew install node",
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, with esbuild, as the first start leaves it."""
    folder = tmp_path / "app"
    shutil.copytree(
        ROOT / "examples" / "frontend", folder, ignore=shutil.ignore_patterns("node_modules")
    )
    npm = ["npm", "install", "--prefer-offline", "--no-audit", "--no-fund"]
    try:
        subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=2 * LIMIT)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"esbuild is not installed: npm install needs a registry: {error}")
    return folder


def get(url: str, method: str = "GET", accept: str = "*/*") -> Any:
    """Send a request; return the answer, which is a stream."""
    request = urllib.request.Request(url, method=method, headers={"Accept": accept})
    return urllib.request.urlopen(request, timeout=LIMIT)


def edit(path: Path, old: str, new: str) -> None:
    """Change a text in a file, as an editor does."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_change_reaches_the_page(start: Start, run: Run, folder: Path) -> None:
    """The browser loads a page again that has changed; an API that has changed restarts."""
    with free_port() as web_port, free_port() as api_port:
        web, api = (f"http://127.0.0.1:{port}" for port in (web_port, api_port))
        ports = {"WEB_PORT": str(web_port), "API_PORT": str(api_port)}
        cli = start(subcommand="start", cwd=folder, env={"PATH": PATH, **ports})
        cli.read_until(b"all 4 commands are ready")
        with get(web) as page, get(f"{web}/app.js") as script:
            assert b'<script src="/app.js">' in page.read()
            assert f'"{api}"' in script.read().decode()
        with get(f"{api}/visits", "POST") as visit:
            assert json.load(visit) == "You are visitor number 1."

        with get(f"{web}/esbuild", accept="text/event-stream") as events:
            edit(folder / "src" / "app.ts", "Hello!", "Welcome!")
            for line in events:
                if line == b"event: change\n":
                    break
        with get(f"{web}/app.js") as script:
            assert b"Welcome!" in script.read()

        edit(folder / "api.py", "You are", "Nice:")
        cli.read_until(b"api: restarting: api.py changed")
        assert run("--ready", "api", subcommand="wait", cwd=folder).status == 0
        with get(f"{api}/visits", "POST") as visit:
            assert json.load(visit) == "Nice: visitor number 2."

        cli.signal(signal.SIGINT)
        status, _, err = cli.end()
    assert status == 130
    stopped = re.findall(rb"^currant: (\w+): stopped", err, re.MULTILINE)
    assert stopped[-3:] == [b"web", b"api", b"redis"]
