"""The identity of a process, and what is not killed because of it."""

from __future__ import annotations

import os
import subprocess
from signal import SIGKILL
from typing import TYPE_CHECKING

from currant._system.identity import identity_of, kill
from tests.system import needs_proc

if TYPE_CHECKING:
    import pytest

pytestmark = needs_proc


def test_only_the_process_with_the_identity_is_killed() -> None:
    """Not another one with its pid, of this start of the system or another."""
    with subprocess.Popen(["sleep", "9999"]) as process:
        identity = identity_of(process.pid)
        assert identity is not None
        pid, started, boot = identity.split()
        assert int(pid) == process.pid
        kill(f"{pid} {int(started) - 1} {boot}")
        kill(f"{pid} {started} {boot[::-1]}")
        kill(identity.replace(pid, str(os.getpid()), 1))
        assert process.poll() is None
        kill(identity)
        assert process.wait() == -SIGKILL
    assert identity_of(process.pid) is None
    kill(identity)


def test_sandbox_may_hide_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a process has no identity, and an agent runs nevertheless."""
    monkeypatch.setattr("currant._system.identity.BOOT_ID", "/nonexistent")
    assert identity_of(os.getpid()) is None
