"""Turn the texts of options into values, for click, whose errors name the option and the value."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Literal

import click

from currant._system.processors import usable_processors
from currant._values.checks import checked_signal
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from currant.hosts import Host

__all__ = [
    "Seconds",
    "parse_host_file",
    "parse_host_list",
    "parse_per_host",
    "parse_process_count",
    "parse_program_words",
    "parse_signal",
    "parse_size",
    "parse_variable_name",
    "parse_words",
]

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
"""The units of a number of bytes, as those of ``head -c``."""


class Seconds(click.FloatRange):
    """A number of seconds; the name is for the message about another text."""

    name = "number of seconds"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click.FloatRange
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number; ``nan`` is none."""
        seconds = float(super().convert(value, param, ctx))
        if seconds != seconds:  # noqa: PLR0124 - nan
            self.fail(f"{value!r} is not a valid number of seconds.", param, ctx)
        return seconds


def parse_signal(text: str) -> int:
    """Return the number of a signal, given by number or by name, with or without SIG."""
    try:
        return checked_signal("the signal", int(text) if text.isdecimal() else text)
    except CommandError as error:
        raise click.BadParameter(
            f"unknown signal {text!r}; give a name such as TERM, or a number"
        ) from error


def parse_words(text: str) -> tuple[str, ...]:
    """Return the words of `text`, split by the shell's quoting rules."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise click.BadParameter(f"cannot split {text!r}: {error}") from error


def parse_program_words(text: str) -> tuple[str, ...]:
    """Return the words of `text`, the first of which is a program."""
    if not (words := parse_words(text)) or not words[0]:
        raise click.BadParameter(f"{text!r} must begin with a program")
    return words


def parse_process_count(text: str) -> int:
    """Return a number of processes, given as a number or as a share of the CPUs; at least 1."""
    number = text.removesuffix("%")
    if not number.isdecimal() or int(number) < 1:
        raise click.BadParameter(
            f"{text!r} must be an integer >= 1, or a share of the CPUs such as 50%"
        )
    if number == text:
        return int(number)
    return max(1, round(usable_processors() * int(number) / 100))


def parse_size(text: str) -> int:
    """Return a number of bytes, given with or without a unit; at least 1."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not number.isdecimal() or int(number) < 1:
        raise click.BadParameter(
            f"{text!r} must be a number of bytes >= 1, or of KiB, MiB or GiB such as 10k, 10M, 10G"
        )
    return int(number) * _UNITS.get(unit, 1)


def parse_variable_name(text: str) -> str:
    """Return the name of a variable of the environment."""
    if not text or "=" in text:
        raise click.BadParameter(
            f"{text!r} must be the name of a variable; its value is taken from the environment"
        )
    return text


def parse_per_host(text: str) -> int | Literal["cpus"]:
    """Return how many commands a host may run at a time."""
    if text == "cpus":
        return "cpus"
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"{text!r} must be an integer >= 1, or cpus")
    return int(text)


def parse_host_list(text: str) -> tuple[Host, ...]:
    """Return the hosts of a list such as ``a,8/me@b,gpu[1-4]``."""
    from currant.hosts._lists import parse_hosts  # noqa: PLC0415 - most runs have no hosts

    try:
        hosts = parse_hosts(text)
    except CommandError as error:
        raise click.BadParameter(str(error)) from error
    if not hosts:
        raise click.BadParameter(f"{text!r} names no host")
    return hosts


def parse_host_file(path: str) -> tuple[Host, ...]:
    """Return the hosts of the list in a file."""
    from currant.hosts._lists import read_hosts  # noqa: PLC0415 - most runs have no hosts

    try:
        return read_hosts(path)
    except CommandError as error:
        raise click.BadParameter(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"cannot read {path}: {error.strerror}") from error
