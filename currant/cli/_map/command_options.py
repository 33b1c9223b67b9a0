"""The options of `currant map` that each of its commands gets: variables, limits, a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._values.limits import Limits
from currant.cli._ci.groups import folds_blocks
from currant.cli._prepare.env import output_variables
from currant.config._env_files import read_env_files
from currant.sinks._files import is_same_place

if TYPE_CHECKING:
    from currant._values.command import CommandOptions
    from currant.cli._map.options import MapOptions

__all__ = ["command_options", "is_folded"]

STDOUT, STDERR = 1, 2


def command_options(options: MapOptions) -> CommandOptions:
    """Return the options that each command gets.

    Raises:
        CommandError: a file of variables cannot be read, or is wrong.
    """
    given = read_env_files(options["env_file"])
    shown = output_variables(given, options["color"], shown=not options["json"], columns=None)
    limits = Limits(
        memory=options["limit_memory"],
        cpu_time=options["limit_cpu_time"],
        file_size=options["limit_file_size"],
        open_files=options["limit_open_files"],
        processes=options["limit_processes"],
        core=options["limit_core"],
    )
    chosen: CommandOptions = {"env": {**shown, **given}}
    if limits != Limits():
        chosen["limits"] = limits
    if options["cwd"] is not None:
        chosen["cwd"] = options["cwd"]
    if options["timeout"] is not None:
        chosen["timeout"] = options["timeout"]
    if options["raw"]:
        chosen["flush_after"] = 0.0
    is_split = options["json"] or options["junit"] is not None or options["results"] is not None
    if not is_split and (is_folded(options) or is_same_place(STDOUT, STDERR)):
        chosen["stderr"] = "stdout"  # One pipe keeps the order of the lines.
    return chosen


def is_folded(options: MapOptions) -> bool:
    """Return whether a CI folds the output of each job.

    It does if ``--group`` is given: by default, another program may read the output.
    """
    is_given = options["line"] is False and not (options["raw"] or options["json"])
    return is_given and folds_blocks(os.environ)
