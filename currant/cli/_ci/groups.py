"""Groups, in which GitHub Actions folds a part of the log of a step.

A group takes lines of one stream only: GitHub reads stdout and stderr of a step through two pipes,
so their order is lost.  Groups do not nest: a command that begins a group of its own ends the group
of currant.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from currant._values.printable import printable
from currant.cli._ci.annotations import is_on_github

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["folds_blocks", "group_lines"]

STDOUT = 1


def folds_blocks(environment: Mapping[str, str]) -> bool:
    """Return whether a block on stdout is folded: in a step of GitHub, if stdout is no file."""
    return is_on_github(environment) and not _is_file(STDOUT)


def _is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # It is closed.
        return False


def group_lines(title: str) -> tuple[str, str]:
    """Return the lines before and after a block."""
    return f"::group::{printable(title).replace('%', '%25')}", "::endgroup::"
