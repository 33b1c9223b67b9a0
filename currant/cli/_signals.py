"""The signals that the command line handles."""

from __future__ import annotations

import os
import signal as signals
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterable

__all__ = [
    "FORWARDED_SIGNALS",
    "PAUSE_SIGNALS",
    "STOP_SIGNALS",
    "SignalStatus",
    "pause_this_process",
    "raising_interrupts",
    "receive_signals",
]


def _known(*names: str) -> tuple[signals.Signals, ...]:
    """Return the signals with these names, as far as the system has them."""
    known = signals.Signals.__members__
    return tuple(known[name] for name in names if name in known)


STOP_SIGNALS = _known(
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"),
    *("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGIO", "SIGPWR", "SIGSTKFLT"),
)
"""The signals that stop the commands: all signals that would kill currant by default.

The exceptions are signals of a crash (such as SIGSEGV), `FORWARDED_SIGNALS`, real-time signals, and
SIGPIPE and SIGXFSZ, which Python ignores.
"""
PAUSE_SIGNALS = _known("SIGTSTP", "SIGCONT")
FORWARDED_SIGNALS = _known("SIGUSR1", "SIGUSR2", "SIGWINCH")
"""The signals that only the commands can give a meaning to."""


class SignalStatus(int):
    """The status 128 + n of currant, which a signal has ended.

    The status of a command that a signal has killed is a plain int.
    """

    @property
    def signal(self) -> int:
        """The number of the signal."""
        return self - 128


@contextmanager
def receive_signals(
    numbers: Iterable[signals.Signals],
) -> Generator[AsyncIterator[signals.Signals]]:
    """Receive signals, except signals that were ignored before currant started (as by ``nohup``).

    An ignored signal stays ignored.
    """
    not_ignored = [number for number in numbers if signals.getsignal(number) != signals.SIG_IGN]
    before = signals.getsignal(signals.SIGINT)
    try:
        with anyio.open_signal_receiver(*not_ignored) as received:
            yield received
    finally:
        if signals.SIGINT in not_ignored:  # asyncio leaves a handler that raises KeyboardInterrupt.
            signals.signal(signals.SIGINT, before)


@contextmanager
def raising_interrupts() -> Generator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block, which has something to clean up.

    Elsewhere Ctrl-C ends currant at once, unless `receive_signals` receives it.
    """
    before = signals.getsignal(signals.SIGINT)
    if before == signals.SIG_DFL:
        signals.signal(signals.SIGINT, signals.default_int_handler)
    try:
        yield
    finally:
        if before == signals.SIG_DFL:
            signals.signal(signals.SIGINT, before)


def pause_this_process() -> None:
    """Pause this program until SIGCONT; return at once if no shell could send that.

    A program that leads a terminal window of its own, or a container, has no shell that could
    continue it: Ctrl-Z would freeze the terminal for good.  For the default action of SIGTSTP the
    system itself knows (POSIX: an orphaned process group).  Without a terminal, whoever sent
    SIGTSTP can send SIGCONT, too.
    """
    handler = signals.getsignal(signals.SIGTSTP)
    signals.signal(signals.SIGTSTP, signals.SIG_DFL)
    os.kill(os.getpid(), signals.SIGTSTP if _has_terminal() else signals.SIGSTOP)
    signals.signal(signals.SIGTSTP, handler)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
