"""How `currant map` runs its jobs: how many at a time, and what to do after a failure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from currant._batch.work import WINDOW, Settings
from currant._process.local import LocalLauncher
from currant._system.processors import usable_processors
from currant._values.policies import Policies
from currant._values.restart import RestartPolicy
from currant.cli._ci.reports import captured_for
from currant.cli._errors import print_error
from currant.cli._map.parsers import MAX_SLOTS
from currant.cli._prepare.display import trace_sinks
from currant.cli._prepare.file_limit import (
    FILES_PER_COMMAND,
    FILES_PER_HOST,
    OTHER_FILES,
    raise_file_limit,
)

if TYPE_CHECKING:
    from currant.cli._map.options import MapOptions
    from currant.cli._map.plan import Plan

__all__ = ["settings_of"]

FILES_PER_JOB = FILES_PER_COMMAND + 1
"""File descriptors that a job needs: those of its command, and one for its output on disk."""

TRACE_BUFFER_SIZE = 64
"""Messages that wait for the thread of --trace, before the jobs wait for it."""


def settings_of(plan: Plan, options: MapOptions) -> Settings:
    """Return the settings of the batch; the limit of open files is raised for it if necessary."""
    restart = RestartPolicy(
        "on-failure" if options["retries"] else "never",
        max_restarts=options["retries"],
        reset_after=inf,
    )
    slots, window = _slots_and_window(plan, options)
    captured = True if options["json"] else captured_for(options["junit"])
    return Settings(
        slots=slots,
        keep_order=options["keep_order"],
        halt=options["halt"],
        policies=Policies(restart, None, options["grace"], captured),
        launcher=LocalLauncher() if plan.launcher is None else plan.launcher,
        sinks=trace_sinks(options["trace"]),
        buffer_size=TRACE_BUFFER_SIZE,
        checks_first=plan.program is not None,
        take_turn=None if plan.pacer is None else plan.pacer.take_turn,
        window=window,
    )


def _slots_and_window(plan: Plan, options: MapOptions) -> tuple[int | None, int]:
    """Return how many commands run at a time, and how many may start behind an unfinished one.

    As many as wanted, if so many files can be open.
    """
    wanted, is_local = options["jobs"], plan.launcher is None
    hosts = () if plan.launcher is None else plan.launcher.hosts
    others = OTHER_FILES + FILES_PER_HOST * len(hosts)
    held_back = WINDOW if options["keep_order"] else 0
    running = wanted or (usable_processors() if is_local else 0)
    limit = raise_file_limit(running * FILES_PER_JOB + others + held_back)
    if not is_local:  # Most outputs need no file, so at least what may run may be held back.
        may_run = min(WINDOW, wanted or 4 * len(hosts))
        return wanted, max(may_run, min(WINDOW, limit - others))
    allowed = max(1, (limit - others) // FILES_PER_JOB)
    if allowed < running < MAX_SLOTS:
        number = "1 command runs" if allowed == 1 else f"{allowed} commands run"
        print_error(
            f"at most {number} at a time, because few files can be open; "
            "'ulimit -n' raises the limit"
        )
    slots = min(running, allowed)
    return slots, max(1, min(WINDOW, limit - others - FILES_PER_COMMAND * slots))
