"""`Unswept`: the hosts on which each command may have left escapees, since they were swept last."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from currant._process.local import LocalLauncher
    from currant._remote.launcher import RemoteLauncher

__all__ = ["Unswept"]


class Unswept:
    """The launchers of the hosts that a sweep for a command has to ask, by the command's name."""

    def __init__(self) -> None:
        self._launchers: dict[str, set[LocalLauncher | RemoteLauncher]] = {}
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many commands may have left escapees."""
        return len(self._launchers)

    def begin(self, name: str, launcher: LocalLauncher | RemoteLauncher) -> None:
        """Note that a process of a command starts."""
        self._launchers.setdefault(name, set()).add(launcher)
        self._running[name] += 1

    def end(self, name: str) -> None:
        """Note that a process of a command was closed."""
        self._running[name] -= 1
        if not self._running[name]:
            del self._running[name]

    def remove(self, name: str, launcher: LocalLauncher | RemoteLauncher) -> None:
        """Note that a sweep for a command need not ask a host any more."""
        self._launchers.get(name, set()).discard(launcher)

    def take(self, name: str | None) -> set[LocalLauncher | RemoteLauncher]:
        """Return the launchers that a sweep has to ask.

        Args:
            name: the command, which is forgotten; None: all commands, which are not.
        """
        if name is not None:
            return self._launchers.pop(name, set())
        return {launcher for used in self._launchers.values() for launcher in used}

    def forget_ended(self) -> None:
        """Forget the commands of which no process runs: all hosts have been swept."""
        running = {name: used for name, used in self._launchers.items() if name in self._running}
        self._launchers = running

    def clear(self) -> None:
        """Forget all commands."""
        self._launchers = {}
