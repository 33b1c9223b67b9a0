"""A program whose first thread has ended while another thread keeps running and ignores SIGTERM."""

from __future__ import annotations

import platform
import shlex
import sys

import pytest

__all__ = ["headless"]

SOURCE = """
import ctypes, os, signal, sys, threading, time
def run_on():
    while open("/proc/self/stat").read().rpartition(") ")[2][0] != "Z":
        time.sleep(0.001)
    os.write(9, b"headless\\n")
    time.sleep(9999)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=run_on).start()
ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)
"""

EXIT_OF_A_THREAD = {"x86_64": 60, "aarch64": 93}
"""The number of the system call `exit` by type of machine."""


def headless(*, escapes: bool) -> str:
    """Return a shell command that runs it, in another session if it escapes.

    It writes ``headless`` to the lifeline.
    """
    number = EXIT_OF_A_THREAD.get(platform.machine())
    if number is None:
        pytest.skip(
            f"add the number of the system call `exit` on {platform.machine()} to tests/headless.py"
        )
    words = shlex.join([sys.executable, "-ISc", SOURCE, str(number)])
    return f"setsid {words} & wait" if escapes else f"exec {words}"
