"""`Unswept`: the hosts on which each command may have left escapees, since they were swept last."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from currant.hosts._member import HostLauncher

    Used: TypeAlias = frozenset[HostLauncher]

__all__ = ["Unswept"]


class Unswept:
    """The launchers of the hosts that a sweep for a command has to ask, by the command's name."""

    def __init__(self) -> None:
        self._launchers: dict[str, Used] = {}
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many commands may have left escapees."""
        return len(self._launchers)

    def begin(self, name: str, launcher: HostLauncher) -> None:
        """Note that a process of a command starts."""
        self._launchers[name] = self._launchers.get(name, frozenset()) | {launcher}
        self._running[name] += 1

    def end(self, name: str) -> None:
        """Note that a process of a command was closed."""
        self._running[name] -= 1
        if not self._running[name]:
            del self._running[name]

    def remove(self, name: str, launcher: HostLauncher) -> None:
        """Note that a sweep for a command need not ask a host any more."""
        if name in self._launchers:
            self._launchers[name] -= {launcher}

    def all(self) -> Used:
        """Return the launchers that a sweep for all commands has to ask."""
        return frozenset(each for used in self._launchers.values() for each in used)

    def of(self, name: str) -> Mapping[str, Used]:
        """Return a command with the launchers that a sweep for it has to ask."""
        return {name: self._launchers.get(name, frozenset())}

    def ended(self) -> Mapping[str, Used]:
        """Return the commands of which no process runs, each with its launchers."""
        return {name: used for name, used in self._launchers.items() if name not in self._running}

    def forget(self, swept: Mapping[str, Used], *, but: Collection[object]) -> None:
        """Forget commands that `of` or `ended` has returned, because they have been swept since.

        Args:
            swept: the commands.
            but: the launchers that the next sweep for such a command has to ask again.
        """
        for name, used in swept.items():
            if self._launchers.get(name) is not used:  # The command was started again.
                continue
            if left := frozenset(each for each in used if each in but):
                self._launchers[name] = left
            else:
                del self._launchers[name]

    def clear(self) -> None:
        """Forget all commands."""
        self._launchers = {}
