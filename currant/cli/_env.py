"""The variables that commands get: from files, and those by which their output reaches a person."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from currant.sinks import Color

__all__ = ["for_output", "port_number", "read_env_files"]


def read_env_files(paths: Iterable[str]) -> dict[str, str]:
    """Return the variables that the files set, a later file over an earlier one.

    They are read as by the package python-dotenv, but ``$`` means nothing in them.

    Raises:
        CommandError: a file cannot be read, or a line of it.
    """
    variables: dict[str, str] = {}
    for path in paths:
        variables |= _read_env_file(path)
    return variables


def _read_env_file(path: str) -> dict[str, str]:
    from dotenv.parser import parse_stream  # noqa: PLC0415 - most runs have no use for it

    variables: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            for binding in parse_stream(file):
                if binding.error:
                    text = binding.original.string
                    number = binding.original.line + text[: -len(text.lstrip())].count("\n")
                    raise CommandError(
                        f"{path}, line {number}: {text.strip()!r} is not of the form NAME=value"
                    )
                if binding.key is not None and binding.value is not None:
                    variables[binding.key] = binding.value
    except OSError as error:
        raise CommandError(f"cannot read the variables in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"cannot read the variables in {path}: it is no UTF-8") from error
    return variables


def port_number(text: str, where: str) -> int:
    """Return `text` as the number of a port.

    Raises:
        CommandError: it is none; `where` says whose it is.
    """
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise CommandError(f"{where}: {text!r} is no port number")
    return int(text)


def for_output(given: Mapping[str, str], color: Color, *, shown: bool) -> dict[str, str]:
    """Return the variables that commands get besides those that are `given` and our own.

    Python keeps what it prints to itself for long where stdout is no terminal, and most programs
    show no colours there; but it is we who pass it on to one.

    Args:
        given: variables that commands get anyway, over ours.
        color: what was asked for.
        shown: whether their output is shown as it is.
    """
    known = {**os.environ, **given}
    env: dict[str, str] = {}
    if "PYTHONUNBUFFERED" not in known:
        env["PYTHONUNBUFFERED"] = "1"
    on_terminal = sys.stdout.isatty() and not known.get("NO_COLOR")
    if (
        shown
        and (color == "always" or (color == "auto" and on_terminal))
        and ("FORCE_COLOR" not in known)
    ):
        env["FORCE_COLOR"] = "1"
    return env
