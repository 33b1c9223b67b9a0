"""The `currant` command of `docs/command-line.md`, on top of the public `Runner`.

Read the modules in the order in which a call passes through them:

1. `_commands` has the group of subcommands, and `_lazy` imports each when it is used.
   `_run_commands` declares ``run`` and ``start`` for click.  `_runner_options`, `_config_options`
   and `_host_options` have the options that subcommands share, and `_parsers` reads their values.
   `_dashes` finds the words after ``--``, and `_peers` has advice on options of other tools.
   `_program` runs the group and ends the program.
2. The package `_prepare` turns the options (`_options`) into a Runner with its sinks and its
   launcher.  `_selection` finds the commands that an option names.  `_view` connects the keyboard
   of `currant.view` with the run.
3. `_run` runs the Runner: signals, a reader that goes away (`_output_pipe`), the exit status.
   `_signals` has the meaning of each signal, and `_signal_death` the end of this program by one.
   `_init` is the process with PID 1 in a container.
4. `_run_and_report` runs what `_prepare` has built, and writes the reports of the package `_ci` and
   the tables of `_summary`.  `_errors` shows errors.

The other subcommands:

- ``start``: `_start`, which runs a stack in the foreground or in the background.
- clients of a stack: the package `_clients`.  `_stack_group` lists them, so that they are imported
  without `_commands`.
- ``map``: the package `_map`.
- ``with``: the package `_with`.
- ``check``, ``graph``, ``schema``, ``init``: `_check`, `_graph`, `_schema` and `_write_config`.
- ``report``: `_report`, for which `currant._timeline` makes the page.
- ``exec``, ``hosts check``, ``completion``: `_exec`, `_check_hosts` and `_completion`.

The packages that these modules import (click, rich) come with the extra ``cli``.
This module itself needs the standard library only, so that `main` can report a missing extra.
"""

from __future__ import annotations

import gc
import os
import signal as signals
import sys

from currant.cli._init import run_as_init
from currant.cli._signal_death import die_of

__all__ = ["main"]

GC_THRESHOLD = 50_000
"""New objects after which Python looks for cycles; Python's default is 700.

Imports create many objects, so `currant` starts 0.02 s faster with the higher threshold.
"""


def main() -> None:
    """Run the subcommand that the program's arguments name, and end the program."""
    try:
        if os.getpid() == 1:
            run_as_init()
        _open_standard_streams()
        _restore_signals()
        gc.set_threshold(GC_THRESHOLD)
        from currant.cli._stack_group import (  # noqa: PLC0415 - it needs the extra
            STACK_COMMANDS,
            stack_group,
        )

        if sys.argv[1:] and sys.argv[1] in STACK_COMMANDS:
            from currant.cli._program import run_group  # noqa: PLC0415

            run_group(stack_group)
        from currant.cli._commands import run_command_line  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("currant: the command line needs an extra: pip install 'currant[cli]'")
    except KeyboardInterrupt:  # before `_restore_signals`
        die_of(signals.SIGINT)
    gc.freeze()  # The modules stay until the end, so no later search for cycles needs to see them.
    run_command_line()


def _restore_signals() -> None:
    """Unblock all signals, and restore the default actions of SIGCHLD and SIGINT.

    Whoever started `currant` may block signals for its own purposes (a signalfd): currant would not
    notice SIGTERM.  If SIGCHLD were ignored, the system would discard the exit status of each
    command.  All other ignored signals stay ignored, as `nohup` wants it.

    By default Ctrl-C raises KeyboardInterrupt wherever Python is, which shows a traceback if Ctrl-C
    comes twice, or inside of a library.  Before the first command starts, and when the last has
    ended, there is nothing to clean up.  `raising_interrupts` is for the exceptions.
    """
    if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
        signals.signal(signals.SIGINT, signals.SIG_DFL)
    if signals.getsignal(signals.SIGCHLD) == signals.SIG_IGN:
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_SETMASK, ())


def _open_standard_streams() -> None:
    """Open ``/dev/null`` for each standard stream that the shell has closed (``>&-``).

    Otherwise the next file that the program opens would get the number of the stream, and the
    output would go into that file.
    """
    for number, mode in enumerate("rww"):
        try:
            os.fstat(number)
        except OSError:
            # All lower numbers are open, so `os.open` returns this one.
            os.open(os.devnull, os.O_RDWR)
            stream = open(number, mode, closefd=False)  # noqa: SIM115 - used until the program ends
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
