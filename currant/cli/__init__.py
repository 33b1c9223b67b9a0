"""The `currant` command; its packages come with the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the program's arguments give; ends the program."""
    try:
        from currant.cli._commands import currant  # noqa: PLC0415 - it needs the extra
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("currant: the command line needs its extra: pip install 'currant[cli]'")
    currant()
