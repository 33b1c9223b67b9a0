"""Commands that are hard to end, and hold a lifeline, which proves that nothing of them is left.

Apart from the tests, because programs import it that tests start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant import Command
from tests.waiting import FOREVER

if TYPE_CHECKING:
    from tests.lifeline import Lifeline

__all__ = ["DEAF", "commands", "holding"]


DEAF = "trap '' TERM HUP INT"


def holding(lifeline: Lifeline, word: str, before: str = ":") -> Command:
    """Return a command that holds the lifeline, with a child and an escapee, and runs for hours."""
    line = f"{before}; {FOREVER} & setsid {FOREVER} & {lifeline.hold(word)}; {FOREVER}"
    return Command.shell(f"{lifeline.hold('shell')}; {line}", name=word, grace=0.1)


def commands(lifeline: Lifeline) -> list[Command]:
    """Return a command that obeys a stop signal, and one that does not."""
    return [holding(lifeline, "plain"), holding(lifeline, "deaf", DEAF)]
