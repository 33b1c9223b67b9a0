"""The signal mask and the ignored signals, which a new process inherits from this one.

A program that handles signals with `sigwait` or a signalfd blocks them; `nohup`, and the ``&`` of a
shell without job control, ignore some.  A command that inherits this does not notice a stop signal,
so each command begins with an empty mask and with the default action of every signal.

Rejected: emptying the mask of the thread that starts a process, for the time of the start.  A
signal that this program has blocked and not yet taken would be delivered to this program instead.
So the mask is emptied in the child, between fork and exec.  With a `preexec_fn`, Python forks
instead of using vfork, so a start takes milliseconds instead of half of one.  That is not needed
for signals that are ignored: `caught` handles them for the time of the start, and an exec turns a
handler into the default action.  Only the main thread can do that.
`restore_signals` of `subprocess` restores SIGPIPE and SIGXFSZ, which Python itself ignores.
"""

from __future__ import annotations

import signal as signals
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = [
    "caught",
    "differ_from_default",
    "ignored_signals",
    "need_reset",
    "reset",
    "sigchld_is_ignored",
]


_RESTORED = {getattr(signals, name, None) for name in ("SIGPIPE", "SIGXFSZ")}
"""The signals that `subprocess` restores."""

_NUMBERS = tuple(number for number in range(1, signals.NSIG) if number not in _RESTORED)

_IGNORED = int(signals.SIG_IGN)

# The functions behind those of `signal`, which also make an enum of each result: that would add a
# tenth to the time of a start.
_signal = import_module("_signal")
_action_of: Callable[[int], object] = _signal.getsignal
_change_mask: Callable[[int, Sequence[int]], set[int]] = _signal.pthread_sigmask


def differ_from_default() -> bool:
    """Return whether this thread blocks a signal, or this program ignores one."""
    return bool(_change_mask(signals.SIG_BLOCK, ()) or ignored_signals())


def ignored_signals() -> Sequence[int]:
    """Return the signals that this program ignores."""
    if _IGNORED not in map(_action_of, _NUMBERS):
        return ()
    return [number for number in _NUMBERS if _action_of(number) == _IGNORED]


def need_reset(ignored: Sequence[int]) -> bool:
    """Return whether a start in this thread needs `reset`: `caught` is not enough.

    Args:
        ignored: the signals that this program ignores.
    """
    if _change_mask(signals.SIG_BLOCK, ()):
        return True
    # Children that exit while SIGCHLD has a handler would stay as zombies.
    is_main = current_thread() is main_thread()
    return bool(ignored) and (not is_main or signals.SIGCHLD in ignored)


@contextmanager
def caught(ignored: Sequence[int]) -> Generator[None]:
    """Handle signals that this program ignores, in the block; nothing happens if one arrives."""
    for number in ignored:
        signals.signal(number, _do_nothing)
    try:
        yield
    finally:
        for number in ignored:
            signals.signal(number, signals.SIG_IGN)


def _do_nothing(*_: object) -> None:
    pass


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
