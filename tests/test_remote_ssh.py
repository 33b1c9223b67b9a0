"""The contract of launchers, run against `RemoteLauncher` over ssh."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.launcher_contract")

from currant._remote.launcher import RemoteLauncher  # noqa: E402
from tests.system import needs_proc  # noqa: E402
from tests.test_remote import TestRemoteLauncher  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant import Launcher
    from tests.sshd import Server

pytestmark = needs_proc


@pytest.fixture(scope="module")
def shared_connection(ssh_server: Server) -> Iterator[str]:
    """Return the option of ssh for a connection that all logins share."""
    option = f"-oControlPath={ssh_server.folder}/master"
    with ssh_server.master(option):
        yield option


@pytest.mark.backends("asyncio")
class TestRemoteLauncherOverSSH(TestRemoteLauncher):
    """Processes on a host keep the contract."""

    _server: Server
    _option: str

    @pytest.fixture(autouse=True, params=[None], ids=["ssh"])
    def way_to_start(self, ssh_server: Server, shared_connection: str) -> None:
        """Start processes through ssh."""
        self._python = sys.executable
        self._server = ssh_server
        self._option = shared_connection

    def new_launcher(self) -> Launcher:  # type: ignore[override]
        """Return a launcher with its own agent, and without the guard, which counts as a child."""
        transport = self._server.connect(self._option)(self._server.host())
        return RemoteLauncher("h1", transport, orphan_guard=False)


del TestRemoteLauncher
