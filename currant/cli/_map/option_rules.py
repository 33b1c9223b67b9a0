"""Which options of `currant map` go together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from currant.cli._map.arguments import Group
    from currant.cli._map.options import MapOptions

__all__ = ["check_files", "check_options"]

_FORMS = ("null", "header", "colsep", "csv", "tsv", "jsonl")
"""The options that say how values are written."""

EXCLUSIVE = (
    ("csv", "tsv"),
    ("csv", "jsonl"),
    ("tsv", "jsonl"),
    ("null", "csv"),
    ("null", "tsv"),
    ("null", "jsonl"),
    ("colsep", "csv"),
    ("colsep", "tsv"),
    ("colsep", "jsonl"),
    ("header", "jsonl"),
    ("raw", "line"),
    ("raw", "tag"),
    ("keep_order", "line"),
    ("keep_order", "raw"),
    ("resume", "resume_failed"),
    ("resume", "stdin"),
    ("resume_failed", "stdin"),
    ("retry_failed", "joblog"),
    ("retry_failed", "resume"),
    ("retry_failed", "resume_failed"),
    ("retry_failed", "stdin"),
    *(("stdin", form) for form in _FORMS),
    *(("retry_failed", form) for form in (*_FORMS, "per_job", "arg_file")),
)
"""The options that cannot be combined."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("resume", "resume_failed"), ("joblog",)),
    **dict.fromkeys(("block", "recend"), ("stdin",)),
    **dict.fromkeys(("per_host", "forward_env", "ssh", "python"), ("hosts", "hosts_file")),
}
"""The options that need one of these others."""


def check_options(options: MapOptions) -> None:
    """Check that the options go together.

    Raises:
        CommandError: they do not.
    """
    given = {name for name, value in options.items() if value}
    for pair in EXCLUSIVE:
        if given.issuperset(pair):
            raise CommandError(f"{_flag(pair[0])} and {_flag(pair[1])} cannot be combined")
    for name, others in NEEDED.items():
        if name in given and given.isdisjoint(others):
            raise CommandError(f"{_flag(name)} requires {' or '.join(map(_flag, others))}")


def check_files(groups: Sequence[Group], options: MapOptions) -> None:
    """Check that no log or report takes the place of another one, or of a file that is read.

    Raises:
        CommandError: it would.
    """
    places: dict[str, str] = {}
    for flag, path, is_read in _files(groups, options):
        place = os.path.realpath(path)
        if os.path.exists(place) and not os.path.isfile(place):
            continue  # A pipe or a device may have several uses.
        other = places.setdefault(place, flag)
        if other != flag and not is_read:
            raise CommandError(f"{other} and {flag} name the same file, {path}")


def _files(groups: Sequence[Group], options: MapOptions) -> Iterator[tuple[str, str, bool]]:
    """Yield the option and the path of each file, and whether it is read; those come first."""
    for group in groups:
        if group.are_files:
            yield from (("::::", path, True) for path in group.words if path != "-")
    yield from (("--env-file", path, True) for path in options["env_file"])
    for name in ("retry_failed", "joblog", "junit", "trace"):
        path = options[name]
        if path is not None:
            yield _flag(name), path, False


def _flag(name: str) -> str:
    return "--max-args" if name == "per_job" else f"--{name.replace('_', '-')}"
