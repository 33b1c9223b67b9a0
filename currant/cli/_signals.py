"""The signals that the command line handles, and the death of a signal.

A shell stops a loop only if the program in the loop died of SIGINT: an exit status of 130 is not
enough (https://www.cons.org/cracauer/sigint.html).  systemd, too, takes the death of SIGTERM for a
clean stop, and 143 for a failure.  So currant catches each signal, stops the commands, writes all
output, and then dies of the signal that it has caught.
"""

from __future__ import annotations

import os
import resource
import signal as signals
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractContextManager
    from typing import NoReturn

__all__ = [
    "FORWARDED_SIGNALS",
    "PAUSE_SIGNALS",
    "STOP_SIGNALS",
    "SignalStatus",
    "die_of",
    "pause_this_process",
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


def receive_signals(
    numbers: Iterable[signals.Signals],
) -> AbstractContextManager[AsyncIterator[signals.Signals]]:
    """Receive signals, except signals that were ignored before currant started (as by ``nohup``).

    An ignored signal stays ignored.
    """
    not_ignored = [number for number in numbers if signals.getsignal(number) != signals.SIG_IGN]
    return anyio.open_signal_receiver(*not_ignored)


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


def die_of(number: int) -> NoReturn:
    """End the program by a signal, as if currant had never caught the signal."""
    # SIGQUIT would leave a core file.  With a limit of 1 byte Linux writes none, not even through a
    # program such as systemd-coredump, which a limit of 0 does not hold back (core(5)).
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard >= 0 else 1, hard))
    signals.signal(number, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_UNBLOCK, {number})
    signals.raise_signal(number)
    os._exit(128 + number)  # The kernel does not kill PID 1 by a signal from inside.
