"""What users of GNU parallel write in a template, and what `currant map` makes of it.

docs/parallel.md compares both, and a test runs each line of its tables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_no_perl", "remark_on_words"]

_PERL = re.compile(r"\{=.*=\}", re.DOTALL)

_SHELL_WORD = re.compile(r"[0-9]?(?:>>?|<)(?:&[0-9])? | \|\|? | &&?", re.VERBOSE)
"""A word that is syntax in a shell.  Not ``;``, which ``find -exec`` takes as an argument."""


def check_no_perl(words: Sequence[str]) -> None:
    """Check that the words of a template have no Perl, as in ``{= s/a/b/ =}``.

    Raises:
        CommandError: they have.
    """
    if found := _PERL.search(" ".join(words)):
        raise CommandError(
            f"{found[0]} is Perl of GNU parallel, which is not supported; change the value in a "
            "shell, such as 'x={}; echo \"${x%.tar.gz}\"'"
        )


def remark_on_words(words: Sequence[str]) -> str | None:
    """Return a remark on a word that only a shell would understand; None if there is none.

    Args:
        words: the words of a template that no shell runs.
    """
    found = next((word for word in words if _SHELL_WORD.fullmatch(word)), None)
    if found is None or len(words) == 1:
        return None
    return (
        f"{found!r} is an argument here, because several words run without a shell; for a shell, "
        "write the command as one word in quotes"
    )
