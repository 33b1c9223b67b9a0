"""The environment of the commands.

Variables come from files, and from `output_variables`, so that output appears at once and coloured.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from currant._values.errors import CommandError
from currant.sinks._colors import colors_wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from currant.sinks import Color

__all__ = ["output_variables", "parse_port", "read_env_files"]


def read_env_files(paths: Iterable[str]) -> dict[str, str]:
    """Return the variables that files set; a later file overrides an earlier file.

    The syntax is that of the package python-dotenv, except that ``$`` has no special meaning.

    Raises:
        CommandError: a file cannot be read, or a line is not of the form ``NAME=value``.
    """
    variables: dict[str, str] = {}
    for path in paths:
        variables |= _read_env_file(path)
    return variables


def _read_env_file(path: str) -> dict[str, str]:
    from dotenv.parser import parse_stream  # noqa: PLC0415 - most runs read no such file

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
        raise CommandError(f"cannot read the variables in {path}: is not valid UTF-8") from error
    return variables


def parse_port(text: str, source: str) -> int:
    """Return a port as a number.

    Args:
        text: the port in decimal.
        source: the option, variable or process that the port belongs to, for the error message.

    Raises:
        CommandError: `text` is not a valid port.
    """
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise CommandError(f"{source}: {text!r} is not a valid port")
    return int(text)


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
