"""The contract of launchers, run against `Hosts` with two hosts, one host, and this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.launcher_contract")

from currant.hosts import LOCAL, Host, Hosts  # noqa: E402
from tests.agents import children_of  # noqa: E402
from tests.hosts import piped_hosts  # noqa: E402
from tests.system import needs_proc  # noqa: E402
from tests.test_launchers import TestLocalLauncher  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant import Launcher

# The driver's loop plays little part here, and test_launchers has uvloop, too.
pytestmark = [needs_proc, pytest.mark.backends("asyncio", "trio")]


class TestTwoHosts(TestLocalLauncher):
    """Processes keep the contract, whichever of the two hosts runs them."""

    host: str | None = "a"
    hosts: Sequence[Host] = (Host("a"), Host("b"))

    @pytest.fixture(autouse=True)
    def way_to_start(self) -> None:
        """Replace the fixture with the ways to start a process: agents have a single way."""

    def new_launcher(self) -> Launcher:  # type: ignore[override]
        """Return a launcher with its own agents, and without guards, which count as children."""
        return piped_hosts(self.hosts, orphan_guard=False)

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """Return None: an agent sees the end of output before the exit."""
        return None

    def count_alive(self, launcher: Launcher) -> int:
        """Count the children of the agents, or of this process."""
        assert isinstance(launcher, Hosts)
        return sum(len(children_of(info.pid)) for info in launcher.up.values())


@pytest.mark.backends("asyncio")
class TestOneHost(TestTwoHosts):
    """Processes keep the contract if there is a single host."""

    hosts = (Host("a"),)


@pytest.mark.backends("trio")
class TestThisHost(TestTwoHosts):
    """This machine is a host like others, but its processes have no host to name."""

    host: str | None = None
    hosts = (LOCAL,)


del TestLocalLauncher
