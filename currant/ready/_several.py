"""`all_of` and `any_of`: probes that consist of other probes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._values.errors import CommandError
from currant._values.probe import Probe, Unmet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant._values.probe import LineProbe, ProbeTarget

__all__ = ["Several", "all_of", "any_of"]


def all_of(*probes: Probe, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe that succeeds if all of its parts do.

    Wait until a server answers and has loaded its data::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            up = ready.all_of(ready.line("loaded"), ready.tcp("127.0.0.1", 8000))
            serve = Command.shell("echo loaded; exec python -m http.server 8000", ready=up)
            await runner.start(serve)
            runner.kill()

    Args:
        probes: at least one probe; each keeps its own interval and timeout.
        interval: seconds between two checks of a command that is ready.
        timeout: seconds until all must have succeeded; None: only the timeouts of the parts.

    Raises:
        CommandError: an argument is invalid.
    """
    return _AllOf(_checked_probes("all_of", probes), interval=interval, timeout=timeout)


def any_of(*probes: Probe, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe that succeeds if one of its parts does.

    Wait until a server answers, but no longer than ten seconds::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            up = ready.any_of(ready.tcp("127.0.0.1", 8000), ready.delay(10))
            await runner.start(Command.parse("python -m http.server 8000", ready=up))
            runner.kill()

    Args:
        probes: at least one probe; each keeps its own interval and timeout.
        interval: seconds between two checks of a command that is ready.
        timeout: seconds until one must have succeeded; None: only the timeouts of the parts.

    Raises:
        CommandError: an argument is invalid.
    """
    return _AnyOf(_checked_probes("any_of", probes), interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class Several(Probe):
    """A probe that consists of other probes."""

    probes: tuple[Probe, ...]

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        """Whether all parts can be repeated."""
        return all(probe.repeats for probe in self.probes)

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        return tuple(chain.from_iterable(probe.line_probes for probe in self.probes))

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(probe.files for probe in self.probes))

    def in_threads(self) -> Probe:
        return replace(self, probes=tuple(probe.in_threads() for probe in self.probes))

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(inf if self.timeout is None else self.timeout):
            return await self._run_all(lambda probe: probe.wait_until_met(subject))
        return subject.failure or Unmet(f"not met within {self.timeout:g} s")

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        # Without a timeout here, the timeout of each part is the limit.
        with anyio.move_on_after(inf if self.timeout is None else self.timeout):
            return await self._run_all(lambda probe: probe.check_once(subject))
        return Unmet(f"no answer within {self.timeout:g} s")

    async def _run_all(
        self, run: Callable[[Probe], Awaitable[Exception | None]]
    ) -> Exception | None:
        """Run all parts concurrently until the outcome is decided; return None or a failure."""
        decisive: list[Exception | None] = []
        last: Exception | None = None

        async def run_one(probe: Probe) -> None:
            nonlocal last
            last = await run(probe)
            if self._is_decisive(last):
                decisive.append(last)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for probe in self.probes:
                tasks.start_soon(run_one, probe)
        return decisive[0] if decisive else last

    @abstractmethod
    def _is_decisive(self, failure: Exception | None) -> bool:
        """Return whether the outcome of one part decides the outcome of the whole."""


@dataclass(frozen=True, slots=True)
class _AllOf(Several):
    def _is_decisive(self, failure: Exception | None) -> bool:
        return failure is not None


@dataclass(frozen=True, slots=True)
class _AnyOf(Several):
    def _is_decisive(self, failure: Exception | None) -> bool:
        return failure is None


def _checked_probes(what: str, probes: tuple[object, ...]) -> tuple[Probe, ...]:
    checked = tuple(probe for probe in probes if isinstance(probe, Probe))
    if not checked or checked != probes:
        raise CommandError(f"{what}: arguments must be one or more probes, not {probes!r}")
    return checked
