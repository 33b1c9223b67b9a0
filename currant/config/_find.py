"""Find the configuration of a project, from a folder upwards."""

from __future__ import annotations

import os

from currant._values.errors import NO_CURRENT_FOLDER, CommandError
from currant.config._documents import PYPROJECT, own_table, read_toml
from currant.config._problems import ConfigError, Problem

__all__ = ["CONFIG", "find_config", "local_config"]

CONFIG = "currant.toml"
LOCAL = "currant.local.toml"
"""The file of a developer's own settings, which add to those of the project and are not shared."""


def find_config(folder: str = "") -> str | None:
    """Return the path of the configuration of a project; None if there is none.

    The configuration is the first ``currant.toml``, or ``pyproject.toml`` with a table
    ``tool.currant``, in the folder or above it.

    Args:
        folder: the folder to begin in; empty: the current folder.

    Raises:
        ConfigError: a ``pyproject.toml`` cannot be read, or the file above belongs to a stranger.
        CommandError: the current folder was deleted.
    """
    try:
        at = os.path.abspath(folder)
    except FileNotFoundError as error:
        raise CommandError(NO_CURRENT_FOLDER) from error
    path = _config_in(folder)
    while path is None:
        above = os.path.dirname(at)
        if above == at:
            return None
        at = above
        path = _config_in(at)
        if path is not None:
            _check_owner(path, folder or os.curdir)
    return path


def _config_in(folder: str) -> str | None:
    own = os.path.join(folder, CONFIG)
    if os.path.lexists(own):
        return own
    shared = os.path.join(folder, PYPROJECT)
    return shared if os.path.isfile(shared) and _has_table(shared) else None


def _has_table(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            if b"currant" not in file.read():
                return False
    except OSError:  # The file may be meant for other programs alone.
        return False
    return own_table(read_toml(path)[0]) is not None


def _check_owner(path: str, folder: str) -> None:
    """Check that a file above `folder` belongs to a user who could have written into `folder`.

    Otherwise any user could give commands to all others, with a file in ``/tmp``.

    Raises:
        ConfigError: the file belongs to another user.
    """
    try:
        owner = os.stat(path).st_uid
    except OSError as error:  # A link may lead nowhere.
        text = f"cannot be read: {error.strerror}"
        raise ConfigError([Problem(path, None, "", text)]) from error
    if owner not in (0, os.geteuid(), os.stat(folder).st_uid):
        text = "belongs to another user and is not in this folder; to trust it, name it with -f"
        raise ConfigError([Problem(path, None, "", text)])


def local_config(file: str) -> str | None:
    """Return the path of ``currant.local.toml`` beside a file; None if there is none."""
    path = os.path.join(os.path.dirname(file), LOCAL)
    return path if os.path.lexists(path) and path != file else None
