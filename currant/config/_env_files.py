"""Read files of variables, such as ``.env``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_env_files"]


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
    from dotenv.parser import parse_stream

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
