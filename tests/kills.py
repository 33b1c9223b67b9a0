"""A record of all signals to process groups, taken at the system calls."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = ["Kills"]


class Kills:
    """All signals to groups that this process sends, by number or by pidfd.

    Attributes:
        sent: pairs of group and signal; signal 0 only asks whether the group exists.
        astray: the pairs that were sent after the system had reported that the group is gone, when
            the number might have belonged to another group.
        by_number: the pairs that were sent by number, not by a pidfd; without signal 0.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[int, int]] = []
        self.astray: list[tuple[int, int]] = []
        self.by_number: list[tuple[int, int]] = []
        self._gone: set[int] = set()
        self._leaders: dict[int, int] = {}
        self._killpg = os.killpg
        monkeypatch.setattr(os, "killpg", self._by_number)
        if hasattr(signal, "pidfd_send_signal"):
            self._pidfd_open, self._pidfd_send = os.pidfd_open, signal.pidfd_send_signal
            monkeypatch.setattr(os, "pidfd_open", self._open)
            monkeypatch.setattr(signal, "pidfd_send_signal", self._by_pidfd)

    def of(self, group: int) -> list[int]:
        """Return the signals that `group` got, without signal 0."""
        return [signal for number, signal in self.sent if signal and number == group]

    def any(self, signal: int) -> bool:
        """Return whether any group got `signal`."""
        return any(sent == signal for _, sent in self.sent)

    def _open(self, pid: int, *flags: int) -> int:
        pidfd = self._pidfd_open(pid, *flags)
        self._leaders[pidfd] = pid
        self._gone.discard(pid)  # the number of a new process
        return pidfd

    def _by_number(self, group: int, number: int) -> None:
        self._record(group, number)
        if number:
            self.by_number.append((group, number))
        try:
            self._killpg(group, number)
        except ProcessLookupError:
            self._gone.add(group)
            raise

    def _by_pidfd(self, pidfd: int, number: int, *options: Any) -> None:
        group = self._leaders[pidfd]
        self._record(group, number)
        try:
            self._pidfd_send(pidfd, number, *options)
        except ProcessLookupError:
            self._gone.add(group)
            raise

    def _record(self, group: int, number: int) -> None:
        self.sent.append((group, number))
        if group in self._gone:
            self.astray.append((group, number))
