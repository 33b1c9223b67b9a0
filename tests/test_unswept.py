"""Which hosts a sweep has to ask, and which commands it may forget after it."""

from __future__ import annotations

from currant._process.local import LocalLauncher
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
