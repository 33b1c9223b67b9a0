"""Which hosts a sweep has to ask, and which commands it may forget after it."""

from __future__ import annotations

from math import inf

import anyio
import anyio.lowlevel
import pytest

from currant._process.local import LocalLauncher
from currant.hosts import Hosts
from currant.hosts._unswept import Unswept

A, B = LocalLauncher(), LocalLauncher()


def run(unswept: Unswept, name: str, launcher: LocalLauncher) -> None:
    """Note that a process of a command has run."""
    unswept.begin(name, launcher)
    unswept.end(name)


def test_command_that_ends_during_a_sweep_is_not_forgotten() -> None:
    """The host may have looked while the command ran, and has left it alone."""
    unswept = Unswept()
    run(unswept, "ended", A)
    unswept.begin("ends", A)
    swept = unswept.ended()
    unswept.end("ends")
    unswept.forget(swept, but=set())
    assert unswept.of("ends")["ends"] == {A}
    assert not unswept.of("ended")["ended"]


def test_command_that_ran_again_during_a_sweep_is_not_forgotten() -> None:
    """Its second process may have left escapees as well."""
    unswept = Unswept()
    run(unswept, "c", A)
    swept = unswept.ended()
    run(unswept, "c", A)
    unswept.forget(swept, but=set())
    assert unswept.all() == {A}


def test_hosts_that_are_lost_are_asked_again() -> None:
    """Only the next start of such a command has to wait for the fence."""
    unswept = Unswept()
    run(unswept, "c", A)
    run(unswept, "c", B)
    run(unswept, "d", A)
    unswept.forget(unswept.ended(), but={B})
    assert unswept.of("c")["c"] == {B}
    assert len(unswept) == 1


class Recording(LocalLauncher):
    """A launcher that records its sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self.swept: list[str | None] = []

    async def sweep(self, name: str | None = None, grace: float = inf) -> None:
        """Record the sweep, and sweep nothing."""
        self.swept.append(name)
        await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
async def test_sweep_that_is_cancelled_forgets_nothing() -> None:
    """A kill cancels the sweep before a restart, and its own sweep gives the escapees the rest."""
    hosts, launcher = Hosts("a"), Recording()
    run(hosts._unswept, "c", launcher)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await hosts.sweep("c")
    await hosts.sweep()
    await hosts.sweep("c")
    assert launcher.swept == ["c", None]
