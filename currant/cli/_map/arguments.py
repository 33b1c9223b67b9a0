"""The words of `currant map`: the template, and the groups of arguments and files after it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Group", "split_arguments"]

_SEPARATORS = {":::", ":::+", "::::", "::::+"}


class Group(NamedTuple):
    """The words after one separator.

    Attributes:
        words: values, or the paths of files with values; the path ``-`` is stdin.
        are_files: whether the words are paths.
        is_linked: whether the values belong to those of the group before, one to one.
    """

    words: tuple[str, ...]
    are_files: bool = False
    is_linked: bool = False


def split_arguments(
    words: Sequence[str], files: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[Group, ...]]:
    """Split words at ``:::``, ``::::``, ``:::+`` and ``::::+``.

    Args:
        words: the words of a command line.
        files: the paths of ``--arg-file``, whose groups come before those of the words.

    Returns:
        The words of the template, and the groups.  No group means that the values are on stdin.

    Raises:
        CommandError: no file follows ``::::`` or ``::::+``.
    """
    places = [place for place, word in enumerate(words) if word in _SEPARATORS]
    places.append(len(words))
    groups = [Group((path,), are_files=True) for path in files]
    for begin, end in pairwise(places):
        separator = words[begin]
        group = Group(
            tuple(words[begin + 1 : end]),
            are_files=separator.startswith("::::"),
            is_linked=separator.endswith("+"),
        )
        if group.are_files and not group.words:
            raise CommandError(f"{separator} needs a file with values; the file - is stdin")
        groups.append(group)
    return tuple(words[: places[0]]), tuple(groups)
