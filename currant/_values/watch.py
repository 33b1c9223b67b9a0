"""`Watch`: the files of a command, and the action when a file changes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from currant._values.checks import StrOrPath, check_delay, checked_path, checked_signal
from currant._values.errors import CommandError

__all__ = ["Watch", "WatchLike", "checked_watch"]


@dataclass(frozen=True, slots=True, init=False)
class Watch:
    """Restart a command, or send a signal to it, when files or folders change.

    Restart a server when its code changes, and let a proxy read its settings again::

        from currant import Command, Watch

        web = Command(["serve"], watch=Watch(["src", ".env"], include=["*.py", ".env"]))
        proxy = Command(["nginx"], watch=Watch("nginx.conf", action="HUP"))

    A folder is watched with all folders below it.  A path need not exist yet, and may disappear and
    come back.  Changes that follow one another within `debounce` seconds are one change.

    These files do not count: files that a `.gitignore` ignores, between the root of the repository
    and the file; `.git`, `__pycache__`, `node_modules`, `.venv` and the like; temporary files of
    editors; and ``*.log``.  The paths in `paths` themselves count in any case.

    Attributes:
        paths: the files and folders; relative to the `cwd` of the command.
        include: patterns of the files that count; empty: all.
        ignore: patterns of files that do not count.  Files that match a pattern after ``!`` count
            again, even if they are ignored by default.  Patterns have the syntax of `.gitignore`.
            They are relative to the `cwd` of the command, or for a file elsewhere, to the folder in
            `paths`.
        debounce: seconds without another change after which the command is restarted; if changes do
            not cease, ten times that.
        action: ``"restart"``, or a signal to send to the running command: a `signal.Signals`, a
            number, or a name such as ``"HUP"``.

    Raises:
        CommandError: an argument is invalid.
    """

    paths: tuple[str, ...]
    include: tuple[str, ...]
    ignore: tuple[str, ...]
    debounce: float
    action: Literal["restart"] | int

    # Written by hand, because the parameters accept wider types than the fields have.
    def __init__(
        self,
        paths: StrOrPath | Iterable[StrOrPath],
        *,
        include: str | Iterable[str] = (),
        ignore: str | Iterable[str] = (),
        debounce: float = 0.2,
        action: int | str = "restart",
    ) -> None:
        given = _texts("watch", paths)
        if not given:
            raise CommandError("watch needs at least one path")
        check_delay("the debounce of watch", debounce, finite=True)
        if action != "restart":
            action = checked_signal("the action of watch", action)
        for name, value in (
            ("paths", given),
            ("include", _texts("include", include)),
            ("ignore", _texts("ignore", ignore)),
            ("debounce", debounce),
            ("action", action),
        ):
            object.__setattr__(self, name, value)

    @property
    def restarts(self) -> bool:
        """Whether a change restarts the command; otherwise the command gets a signal."""
        return self.action == "restart"


WatchLike: TypeAlias = "Watch | StrOrPath | Iterable[StrOrPath]"
"""The forms in which a command accepts a `Watch`; paths stand for a `Watch` of them."""


def checked_watch(value: object) -> Watch | None:
    """Return the `watch` of a command as a `Watch`."""
    if value is None or isinstance(value, Watch):
        return value
    return Watch(cast("StrOrPath | Iterable[StrOrPath]", value))


def _texts(what: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, os.PathLike)):
        given: Iterable[object] = (cast("object", value),)
    elif isinstance(value, Iterable):
        given = cast("Iterable[object]", value)
    else:
        raise CommandError(f"{what} must be a path or a sequence of them, not {value!r}")
    texts = tuple(checked_path(f"each of {what}", each) for each in given)
    if not all(texts):
        raise CommandError(f"{what} must not contain an empty text")
    return texts
