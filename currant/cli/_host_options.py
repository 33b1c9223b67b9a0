"""The options of `run`, `start` and `hosts check` that name hosts, and say how to reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from currant.cli._parsers import (
    parse_host_file,
    parse_host_list,
    parse_per_host,
    parse_program_words,
    parse_variable_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "FORWARD_ENV_OPTION",
    "HOST_OPTIONS",
    "PER_HOST_OPTION",
    "PLACE_OPTIONS",
    "add_options",
]

F = TypeVar("F", bound="Callable[..., object]")

HOST_OPTIONS = (
    click.option(
        "--hosts",
        type=parse_host_list,
        multiple=True,
        metavar="A,B,…",
        help="The hosts that run the commands, reached through ssh: names, brackets such as "
        "gpu[1-4], user@name, ssh://name:2222; 8/name for at most 8 commands at a time; LOCAL is "
        "this machine.  May be repeated.",
    ),
    click.option(
        "--hosts-file",
        type=parse_host_file,
        multiple=True,
        metavar="FILE",
        help="A file with more hosts, one or several in a line, such as 'n[01-16] slots=8'; # "
        "begins a comment.  May be repeated.",
    ),
    click.option(
        "--ssh",
        type=parse_program_words,
        metavar="WORDS",
        help="The ssh to use, with options of your own: 'ssh -J bastion', 'ssh -F FILE'.  Quoted "
        "as in a shell.  [default: ssh]",
    ),
    click.option(
        "--python",
        metavar="PATH",
        help="The Python on the hosts, 3.9 or newer.  [default: currant looks for one]",
    ),
)
"""Which hosts there are, and how they are reached."""

PER_HOST_OPTION = click.option(
    "--per-host",
    type=parse_per_host,
    metavar="N|cpus",
    help="Run at most N commands at a time on each host, or as many as the host has "
    "processors; the others wait.",
)

FORWARD_ENV_OPTION = click.option(
    "--forward-env",
    type=parse_variable_name,
    multiple=True,
    metavar="NAME",
    help="A variable of this environment that the commands on hosts get, too.  May be repeated.",
)

PLACE_OPTIONS = (
    PER_HOST_OPTION,
    click.option(
        "--each",
        is_flag=True,
        help="Run every command on each host, under the name NAME@HOST; otherwise each command "
        "runs once, on the host with the most room.",
    ),
    click.option(
        "--same",
        is_flag=True,
        help="With --each: show the output at the end, and equal output of several hosts once, "
        "under their names: a,b,n[1-4] (6).",
    ),
    FORWARD_ENV_OPTION,
)
"""Which commands run on which host, with which variables, and how their output is shown."""


def add_options(
    *options: Sequence[Callable[[F], F]],
) -> Callable[[F], F]:
    """Return a decorator that adds groups of options to a command, in that order."""

    def decorate(function: F) -> F:
        for option in reversed([each for group in options for each in group]):
            function = option(function)
        return function

    return decorate
