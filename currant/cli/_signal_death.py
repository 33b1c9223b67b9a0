"""`die_of`: end currant by the signal that it has received.

A shell stops a loop only if the program in the loop died of SIGINT: an exit status of 130 is not
enough (https://www.cons.org/cracauer/sigint.html).  systemd, too, takes the death of SIGTERM for a
clean stop, and 143 for a failure.  So currant catches each signal, stops the commands, writes all
output, and then dies of the signal that it has caught.

This module needs the standard library only: `main` uses it when Ctrl-C interrupts the imports.
"""

from __future__ import annotations

import os
import resource
import signal as signals
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["die_of"]


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
