"""The values of options that only `currant map` has, for click."""

from __future__ import annotations

import re
import sys
from typing import Literal, cast

import click

from currant._batch.halt import Halt
from currant._system.processors import usable_processors

__all__ = ["parse_halt", "parse_load", "parse_slots"]

HALT = re.compile(r"(now|soon)(?:,(fail|success|done)=(\d+%?))?")

KINDS = {"fail": "failures", "success": "successes", "done": "ends"}

MAX_SLOTS = 10_000
"""The number for ``-j 0``, as many as there are items: more processes than a machine runs."""


def parse_slots(text: str) -> int:
    """Return how many commands run at a time: N, a share of the CPUs, or +N or -N beside them."""
    match = re.fullmatch(r"(\+|-)?(\d+)(%)?", text)
    if match is None or (match[1] and match[3]):
        raise click.BadParameter(
            f"{text!r} must be a number, a share of the CPUs such as 50%, or their number with an "
            "offset such as +0 or -1"
        )
    sign, number, percent = match[1], int(match[2]), match[3]
    if sign:
        return max(1, usable_processors() + int(f"{sign}{number}"))
    if percent:
        return max(1, round(usable_processors() * number / 100))
    return number or MAX_SLOTS


def parse_halt(text: str) -> Halt | None:
    """Return when to halt: ``never``, ``now``, ``soon``, ``now,fail=3`` or ``soon,fail=10%``."""
    if text == "never":
        return None
    match = HALT.fullmatch(text)
    limit = "1" if match is None else match[3] or "1"
    is_share = limit.endswith("%")
    if match is None or not 1 <= int(limit.rstrip("%")) <= (100 if is_share else sys.maxsize):
        raise click.BadParameter(
            f"{text!r} must be never, now or soon, with a limit such as now,fail=1, soon,fail=10%, "
            "now,success=1 or soon,done=100"
        )
    when = cast('Literal["now", "soon"]', match[1])
    of = cast('Literal["failures", "successes", "ends"]', KINDS[match[2] or "fail"])
    if is_share and of == "ends":
        raise click.BadParameter(
            f"{text!r}: done= must be a number, such as done=100, because a share is that of the "
            "commands that are done"
        )
    return Halt(when, int(limit[:-1]) / 100 if is_share else int(limit), of)


def parse_load(text: str) -> float:
    """Return a load of the machine, given as a number or as a share of the CPUs."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%)?", text)
    if match is None:
        raise click.BadParameter(f"{text!r} must be a load such as 4, or a share such as 80%")
    return float(match[1]) * usable_processors() / 100 if match[2] else float(match[1])
