"""Which options of `currant map` go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant.cli._map.options import MapOptions

__all__ = ["check_options"]

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


def _flag(name: str) -> str:
    return "--max-args" if name == "per_job" else f"--{name.replace('_', '-')}"
