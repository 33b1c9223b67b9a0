"""Read files of variables, such as ``.env``."""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_default_env_file", "read_env_files"]

DEFAULT_FILE = ".env"

MAX_BYTES = 1 << 20
"""The most bytes of a file of variables: more would not fit into the environment of a process."""

PIPE_TIMEOUT = 30.0
"""Seconds that the program at the other end of a pipe has, which may ask a person for consent."""


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


def read_default_env_file(folder: str) -> dict[str, str]:
    """Return the variables that the file ``.env`` in a folder sets; none if there is no file.

    Raises:
        CommandError: as for `read_env_files`.
    """
    path = os.path.join(folder, DEFAULT_FILE)
    return _read_env_file(path) if os.path.exists(path) else {}


def _read_env_file(path: str) -> dict[str, str]:
    from dotenv.parser import parse_stream

    variables: dict[str, str] = {}
    try:
        text = _read(path).decode("utf-8-sig")
    except OSError as error:
        raise _cannot_read(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _cannot_read(path, "is not valid UTF-8") from error
    for binding in parse_stream(io.StringIO(text, newline=None)):
        if binding.error:
            text = binding.original.string
            number = binding.original.line + text[: -len(text.lstrip())].count("\n")
            raise CommandError(
                f"{path}, line {number}: {text.strip()!r} is not of the form NAME=value"
            )
        if binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
    return variables


def _read(path: str) -> bytes:
    """Return all bytes of a file or a pipe, as a password manager may put in place of a file.

    Raises:
        OSError: the file cannot be opened or read.
        CommandError: there is too much to read, or no program writes into the pipe.
    """
    # Without O_NONBLOCK, the opening of a named pipe would wait for a program that writes.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        data = b""
        while len(data) <= MAX_BYTES:
            if not poll.poll(PIPE_TIMEOUT * 1000):
                raise _cannot_read(path, f"it is a pipe, and nothing came for {PIPE_TIMEOUT:g} s")
            piece = os.read(fd, MAX_BYTES)
            if not piece:
                return data
            data += piece
    finally:
        os.close(fd)
    raise _cannot_read(path, f"it has more than {MAX_BYTES} bytes")


def _cannot_read(path: str, reason: str) -> CommandError:
    return CommandError(f"cannot read the variables in {path}: {reason}")
