"""A headless Chromium, driven over the pipe of its debugging protocol.

Each message is JSON and a zero byte.  So the tests need the browser and no other package.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CHROMIUM", "Page", "needs_chromium", "open_browser"]

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
"""The first needs half of the packages, because it has no windows."""

CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: install chromium-headless-shell, or Google Chrome"
)

OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)

IN_BACKGROUND = 'exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; "$@" &'
"""The browser reads from descriptor 3 and writes to descriptor 4.

It is no child of the tests, which share it, and exits when they have closed its pipe.
"""


class Page:
    """A page of the browser.

    Attributes:
        errors: the errors on the console, and the exceptions that no script has caught.
        requests: the addresses of all requests.
    """

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._to_browser, self._from_browser = requests, answers
        self._numbers = 0
        self._session: str | None = None
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol, and return the result."""
        self._numbers += 1
        number = self._numbers
        request: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        self._to_browser.write(json.dumps(request).encode() + b"\0")
        self._to_browser.flush()
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page in a window of this size, and wait until it is loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """Return the value of an expression in JavaScript, after its promise if it is one."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key, such as ``Tab`` or ``+``."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Tab": 9, "Enter": 13, "ArrowUp": 38, "ArrowDown": 40, "Escape": 27}
        code = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """Send an event of the mouse, such as ``mouseMoved``."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        """Click on the element that a selector finds."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def names_by_role(self) -> dict[str, list[str]]:
        """Return what a screen reader finds: the names of all things on the page, by role."""
        found: dict[str, list[str]] = {}
        for node in self.call("Accessibility.getFullAXTree")["nodes"]:
            role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
            found.setdefault(role, []).append(name)
        return found

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """Print the page."""
        printed = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(printed["data"])

    def _receive(self) -> dict[str, Any]:
        """Return the next message."""
        deadline = time.monotonic() + LIMIT
        while b"\0" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._from_browser], [], [], left)[0], "the browser is silent"
            chunk = os.read(self._from_browser.fileno(), 1 << 20)
            assert chunk, "the browser has exited"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.errors.append(json.dumps(details))
            case {"method": "Runtime.consoleAPICalled", "params": {"type": "error", "args": args}}:
                self.errors.append(json.dumps(args))
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error"} as entry}}:
                self.errors.append(entry["text"])
            case {"method": "Network.requestWillBeSent", "params": {"request": request}}:
                self.requests.append(request["url"])
            case _:
                pass
        if "method" in message:
            self._events.append(message)


@contextmanager
def open_browser(folder: Path) -> Iterator[Page]:
    """Start the browser with an empty profile in `folder`, and have it end at the end."""
    assert CHROMIUM is not None
    arguments = (CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", "about:blank")
    env = {name: value for name, value in os.environ.items() if name != "CURRANT_TEST"}
    with subprocess.Popen(
        ("sh", "-c", IN_BACKGROUND, "sh", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**env, "HOME": str(folder)},
        start_new_session=True,
    ) as shell:
        shell.wait()
        assert shell.stdin is not None
        assert shell.stdout is not None
        try:
            yield Page(shell.stdin, shell.stdout)
        finally:
            shell.stdin.close()
            while select.select([shell.stdout], [], [], LIMIT)[0]:
                if not os.read(shell.stdout.fileno(), 1 << 20):
                    break  # The browser has closed its end.
