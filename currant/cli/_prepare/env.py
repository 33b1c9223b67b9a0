"""The variables of the commands that make output appear at once and coloured."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from currant.sinks._colors import colors_wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant.sinks import Color

__all__ = ["output_variables"]


def output_variables(
    given: Mapping[str, str],
    color: Color,
    *,
    shown: bool,
    columns: int | None,
    on_stderr: bool = False,
) -> dict[str, str]:
    """Return variables that make programs write to currant as they would write to its terminal.

    Python buffers its output if stdout is not a terminal, and most programs write without colours
    then.  The commands write into pipes, but currant forwards their output to a terminal.
    A variable that the user has set, also to turn colours off, stays as it is.

    Args:
        given: variables from files; they and currant's own environment take precedence.
        color: the value of ``--color``.
        shown: False if the output is not shown as text (``--json``), so that colours are unwanted.
        columns: the width of the terminal that is left for the output; None if there is none.
        on_stderr: whether the output is shown on stderr, and not on stdout.
    """
    known = {**os.environ, **given}
    env: dict[str, str] = {}
    if "PYTHONUNBUFFERED" not in known:
        env["PYTHONUNBUFFERED"] = "1"
    wanted = colors_wanted(known) if color == "auto" else color == "always"
    file = sys.stderr if on_stderr else sys.stdout
    takes_colors = file.isatty() if wanted is None else wanted
    # Some programs warn about a FORCE_COLOR that contradicts NO_COLOR.
    is_decided = "FORCE_COLOR" in known or known.get("NO_COLOR")
    if shown and takes_colors and not is_decided:
        env["FORCE_COLOR"] = "1"
    if columns is not None and "COLUMNS" not in known:
        env["COLUMNS"] = str(columns)
    return env
