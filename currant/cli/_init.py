"""PID 1: the first process of a container, which has duties that no other process has.

The kernel gives each orphan to PID 1, which has to reap it.  A signal that PID 1 does not handle is
dropped, so PID 1 cannot even be killed by its own signal.  If PID 1 exits, the kernel kills all
other processes.

As PID 1 currant therefore forks, as tini and dumb-init do.  The child is the real program.  The
parent reaps, and forwards signals.  Rejected: a single process that reaps orphans beside its own
children.  It would have to tell both apart, because the exit of its own child must not be lost.
"""

from __future__ import annotations

import os
import signal as signals

__all__ = ["run_as_init"]

CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"}
UNCATCHABLE = {"SIGKILL", "SIGSTOP"}
TERMINAL_ACCESS = {"SIGTTIN", "SIGTTOU"}

RECEIVED = {
    number
    for number in signals.valid_signals()
    if number not in {signals.Signals[n] for n in CRASHES | UNCATCHABLE | TERMINAL_ACCESS}
}
"""All signals that a program may handle, and SIGCHLD, which is not forwarded."""

TERMINAL_SIGNALS = {signals.SIGINT, signals.SIGQUIT, signals.SIGTSTP, signals.SIGWINCH}
"""Signals that a terminal sends to the whole process group, so that the child gets them too."""


def run_as_init() -> None:
    """Fork, and return in the child; the parent reaps and forwards signals until the child exits.

    The parent never returns: it exits with the child's status, or 128 + n if signal n killed it.
    """
    # A terminal whose session PID 1 leads has no shell, so nothing could continue currant.
    has_job_control = os.getsid(0) != os.getpid()
    signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    mask = signals.pthread_sigmask(signals.SIG_BLOCK, RECEIVED)
    child = os.fork()
    if child == 0:
        if not has_job_control:
            signals.signal(signals.SIGTSTP, signals.SIG_IGN)
        signals.pthread_sigmask(signals.SIG_SETMASK, mask)
        return
    while (status := _reap(child)) is None:
        received = signals.sigwaitinfo(RECEIVED)
        is_from_kernel = received.si_code > 0
        if received.si_signo in TERMINAL_SIGNALS and is_from_kernel:
            continue
        if received.si_signo != signals.SIGCHLD:
            os.kill(child, received.si_signo)  # The child has not been reaped.
    os._exit(status)


def _reap(child: int) -> int | None:
    """Reap all exited processes; return the exit status of `child` if it is among them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
