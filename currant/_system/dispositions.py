"""The signal mask and the ignored signals, which a new process inherits from this one.

A program that handles signals with `sigwait` or a signalfd blocks them; `nohup`, and the ``&`` of a
shell without job control, ignore some.  A command that inherits this does not notice a stop signal,
so each command begins with an empty mask and with the default action of every signal.

Rejected: emptying the mask of the thread that starts a process, for the time of the start.  A
signal that this program has blocked and not yet taken would be delivered to this program instead.
So the change is made in the child, between fork and exec.  With a `preexec_fn`, Python forks
instead of using the faster vfork; so a start has one only if `differ_from_default` says so.
`restore_signals` of `subprocess` restores SIGPIPE and SIGXFSZ, which Python itself ignores.
"""

from __future__ import annotations

import signal as signals
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["differ_from_default", "reset", "sigchld_is_ignored"]


_RESTORED = {getattr(signals, name, None) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ")}
"""The signals that `subprocess` restores."""

_NUMBERS = tuple(number for number in range(1, signals.NSIG) if number not in _RESTORED)

_IGNORED = int(signals.SIG_IGN)

# The function behind `signal.getsignal`, which also makes an enum of each result: that would add a
# tenth to the time of a start.
_action_of: Callable[[int], object] = import_module("_signal").getsignal


def differ_from_default() -> bool:
    """Return whether this thread blocks a signal, or this program ignores one."""
    if signals.pthread_sigmask(signals.SIG_BLOCK, ()):
        return True
    return _IGNORED in map(_action_of, _NUMBERS)


def sigchld_is_ignored() -> bool:
    """Return whether the system discards the exit status of each child."""
    return _action_of(signals.SIGCHLD) == _IGNORED


def reset() -> None:
    """Empty the mask and restore the default action of every signal; for a `preexec_fn`.

    Between fork and exec a child has no other thread, so nothing here waits for a lock.
    """
    # First the actions: a signal that was blocked until now must not run a handler of this program.
    for number in _NUMBERS:
        with suppress(OSError, ValueError):  # SIGKILL, SIGSTOP, and signals that libc uses
            signals.signal(number, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_SETMASK, ())
