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

pytestmark = needs_proc


class TestRemoteLauncher(TestLocalLauncher):
    """Processes of an agent keep the contract, whatever its Python."""

    host = "h1"
    _python: str

    @pytest.fixture(params=OLDEST_AND_OWN, autouse=True)
    def way_to_start(self, request: pytest.FixtureRequest) -> None:
        """The oldest Python, and our own; `test_shipment` imports the agent on all of them."""
        self._python = str(path_of(request.param))

    def new_launcher(self) -> Launcher:  # type: ignore[override]
        """Return a launcher with an agent of its own, and without the guard, which is its child."""
        return over_pipe(self._python, orphan_guard=False)

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """An agent can always."""
        return None

    def count_alive(self, launcher: Launcher) -> int:
        """Count the children of the agent."""
        assert isinstance(launcher, RemoteLauncher)
        return len(children_of(launcher.connection.agent_pid))


del TestLocalLauncher
