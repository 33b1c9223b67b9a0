"""`Halt`: when failures end the work before all items are done."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, cast, get_args

from currant._values.checks import check_choice
from currant._values.errors import CommandError

__all__ = ["Halt", "HaltWhen", "checked_halt"]

HaltWhen: TypeAlias = Literal["now", "soon"]

MIN_ENDS_FOR_SHARE = 3
"""Ends of the kind before a share can be reached: one failure of one item says little."""


class Halt(NamedTuple):
    """A limit to the ends of one kind, and what to do when it is reached.

    Attributes:
        when: ``"now"`` stops the running commands; ``"soon"`` lets them end, and starts no more.
        after: an int is a number of ends; a float is a share of all ends, from 0.0 to 1.0.
        of: what is counted: ``"failures"``, ``"successes"`` or ``"ends"``.
    """

    when: HaltWhen
    after: float = 1
    of: Literal["failures", "successes", "ends"] = "failures"

    def is_reached(self, *, succeeded: int, failed: int) -> bool:
        """Return whether the limit is reached, given how many commands succeeded and failed."""
        ended = succeeded + failed
        counted = {"failures": failed, "successes": succeeded, "ends": ended}[self.of]
        if isinstance(self.after, int):
            return counted >= self.after
        return counted >= MIN_ENDS_FOR_SHARE and counted >= self.after * ended


def checked_halt(when: object, after: object) -> Halt | None:
    """Return the `Halt` for the arguments ``halt`` and ``halt_after`` of `map`; None: never halt.

    Raises:
        CommandError: one of them is wrong.
    """
    is_number = isinstance(after, int) and not isinstance(after, bool) and after >= 1
    if not (is_number or (isinstance(after, float) and 0 < after < 1)):
        raise CommandError(
            "halt_after must be a number of failures from 1, or a share of them between 0.0 and "
            f"1.0, not {after!r}"
        )
    if when is None:
        return None
    check_choice("halt", when, get_args(HaltWhen))
    return Halt(cast("HaltWhen", when), cast("float", after))
