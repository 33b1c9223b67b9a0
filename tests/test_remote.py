"""The contract of launchers, run against `RemoteLauncher` over a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.launcher_contract")

from currant._remote.launcher import RemoteLauncher  # noqa: E402
from tests.agents import children_of, over_pipe  # noqa: E402
from tests.pythons import OLDEST_AND_OWN, path_of  # noqa: E402
from tests.system import needs_proc  # noqa: E402
from tests.test_launchers import TestLocalLauncher  # noqa: E402

if TYPE_CHECKING:
    from currant import Launcher

# As in test_hosts_contract.
pytestmark = [needs_proc, pytest.mark.backends("asyncio", "trio")]


class TestRemoteLauncher(TestLocalLauncher):
    """Processes of an agent keep the contract, with each Python."""

    host = "h1"
    _python: str

    @pytest.fixture(params=OLDEST_AND_OWN, autouse=True)
    def way_to_start(self, request: pytest.FixtureRequest) -> None:
        """Start the agent with the oldest Python and with ours; `test_shipment` has all others."""
        self._python = str(path_of(request.param))

    def new_launcher(self) -> Launcher:  # type: ignore[override]
        """Return a launcher with its own agent, and without the guard, which counts as a child."""
        return over_pipe(self._python, orphan_guard=False)

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """Return None: an agent sees the end of output before the exit."""
        return None

    def count_alive(self, launcher: Launcher) -> int:
        """Count the children of the agent."""
        assert isinstance(launcher, RemoteLauncher)
        return len(children_of(launcher.connection.agent_pid))


del TestLocalLauncher
