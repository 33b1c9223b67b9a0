"""The contract of launchers, run against `Hosts`: with two hosts, with one, and with this one."""

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

pytestmark = needs_proc


class TestTwoHosts(TestLocalLauncher):
    """Processes keep the contract, whichever host they are on."""

    host: str | None = "a"
    hosts: Sequence[Host] = (Host("a"), Host("b"))

    @pytest.fixture(autouse=True)
    def way_to_start(self) -> None:
        """The agents have one way alone."""

    def new_launcher(self) -> Launcher:  # type: ignore[override]
        """Return a launcher with agents of its own, and without guards, which are children."""
        return piped_hosts(self.hosts, orphan_guard=False)

    def cannot_show_closed_output(self, anyio_backend: object) -> str | None:
        """An agent can always."""
        return None

    def count_alive(self, launcher: Launcher) -> int:
        """Count the children of the agents, or ours."""
        assert isinstance(launcher, Hosts)
        return sum(len(children_of(info.pid)) for info in launcher.up.values())


@pytest.mark.backends("asyncio")
class TestOneHost(TestTwoHosts):
    """The first host is the only one."""

    hosts = (Host("a"),)


@pytest.mark.backends("trio")
class TestThisHost(TestTwoHosts):
    """This machine is a host like others, but processes there have no host to tell of."""

    host: str | None = None
    hosts = (LOCAL,)


del TestLocalLauncher
