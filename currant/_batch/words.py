"""The words of a template: what each of them is made of, literal text, placeholders or a script."""

from __future__ import annotations

import re
from posixpath import basename
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from currant._batch.placeholders import Placeholder, Text, split_text
from currant._batch.script import Script
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["Word", "split_words"]

Word: TypeAlias = "str | Placeholder | Script | Text"
"""Literal text; a placeholder that is a word by itself; a script; or several parts."""

_SHELLS = {"ash", "bash", "dash", "ksh", "mksh", "rbash", "sh", "zsh"}

_OTHER_SHELLS = {"csh", "fish", "nu", "pwsh", "tcsh"}
"""Shells whose scripts name parameters in other ways."""

_RUNS_SCRIPT = re.compile(r"-[A-Za-z]*c[A-Za-z]*")

_TAKES_WORD = re.compile(r"[-+][A-Za-z]*[oO] | --(?: rcfile | init-file | emulate )", re.VERBOSE)
"""An option of a shell that is followed by its value, such as ``-o pipefail``."""

_TAKE_WORD = {"--init-file", "--rcfile"}
"""Further options that are followed by a value."""

_WRAPPERS = {
    "doas": "Cu",
    "env": "Cu",
    "ionice": "cn",
    "nice": "n",
    "nohup": "",
    "setsid": "",
    "stdbuf": "eio",
    "sudo": "CDghpRTtuU",
    "taskset": "",
    "time": "fo",
    "timeout": "ks",
    "xargs": "adEILnPs",
}
"""Programs that run the program after their own words, and their options with a value."""

_OF_WRAPPER = re.compile(r"- | \d | [A-Za-z_]\w*=", re.VERBOSE)
"""The begin of a word of a wrapper: an option, a number such as a time, or a variable."""

_SYNTAX = re.compile(r"""[\s;&|<>()$`'"\\]""")
"""What makes a word look like a script, and not like an argument."""

_ALL_VALUES = split_text("{}", None, None)[0]


class _Place(NamedTuple):
    """The place of a script among the words."""

    at: int
    shell: str


def split_words(
    argv: Sequence[str], names: Sequence[str] | None, columns: int | None, *, may_exec: bool
) -> tuple[Word, ...]:
    """Split the words of a template into their parts.

    The word after ``bash -c`` and the like is a script.  If there is no placeholder, ``{}`` is
    appended: to the script if it is the last word, and as a word otherwise.

    Args:
        argv: the words.
        names: the names of the columns; None if they have none.
        columns: the number of values of each row; None if it is not known.
        may_exec: whether the program of a script may take the place of the shell.

    Raises:
        CommandError: a placeholder is unknown, or has no meaning in its place.
    """
    _refuse_other_shells(argv, names, columns)
    place = next(_places_of_scripts(argv, _SHELLS), None)
    words = [_simplest(split_text(word, names, columns)) for word in _without_script(argv, place)]
    if place is None:
        return tuple(words if _have_placeholder(words) else [*words, _ALL_VALUES])
    text = argv[place.at]
    is_last = place.at == len(argv) - 1
    script = Script(text, names, columns, shell=place.shell, may_exec=may_exec)
    if script.has_placeholder and not is_last:
        raise CommandError(
            f"a script with placeholders must be the last word, but {argv[place.at + 1]!r} "
            "follows; use placeholders in the script, or in the words after it"
        )
    has_any = script.has_placeholder or _have_placeholder(words)
    if is_last and not has_any:
        text = f"{text.rstrip()} {{}}"
        script = Script(text, names, columns, shell=place.shell, may_exec=may_exec)
        if not script.has_placeholder:
            raise CommandError(f"write {{}} before the comment, for the values: {text!r}")
    words[place.at] = script
    return tuple(words if has_any or is_last else [*words, _ALL_VALUES])


def _refuse_other_shells(
    argv: Sequence[str], names: Sequence[str] | None, columns: int | None
) -> None:
    """Refuse a placeholder in a script that cannot get the value as a parameter."""
    for place in _places_of_scripts(argv, _OTHER_SHELLS):
        if _have_placeholder([split_text(argv[place.at], names, columns)]):
            raise CommandError(
                f"a placeholder cannot be in a script for {place.shell}, which would read a "
                "value as code; put {} after the script, as a word"
            )


def _without_script(argv: Sequence[str], place: _Place | None) -> list[str]:
    """Return the words, with an empty one for the script, which has rules of its own."""
    return ["" if place and index == place.at else word for index, word in enumerate(argv)]


def _places_of_scripts(argv: Sequence[str], shells: Collection[str]) -> Iterator[_Place]:
    """Yield the place of each word that a shell takes for a script, also of one after ``sudo``.

    A shell may be run by a program that is not known here, such as ``docker``, or be an argument,
    as in ``grep bash -c {}``.

    Raises:
        CommandError: it is not sure whether a word with a placeholder is a script.
    """
    for index, word in enumerate(argv):
        place = _end_of_options(argv, index + 1) if basename(word) in shells else None
        if place is None:
            continue
        text = argv[place]
        if index != _program_at(argv) and "{" in text and not _SYNTAX.search(text):
            raise CommandError(
                f"currant cannot tell whether {text!r} is a script for {word!r}; if it is, "
                f"write {'exec ' + text!r}; if not, put the options before {word!r}"
            )
        yield _Place(place, basename(word))


def _program_at(argv: Sequence[str]) -> int:
    """Return the place of the program that is run in the end, by ``sudo`` and the like."""
    at = 0
    while at < len(argv) and (options := _WRAPPERS.get(basename(argv[at]))) is not None:
        at += 1
        while at < len(argv) and _OF_WRAPPER.match(argv[at]):
            has_value = len(argv[at]) == 2 and argv[at][0] == "-" and argv[at][1] in options
            at += 2 if has_value else 1
    return at


def _end_of_options(argv: Sequence[str], index: int) -> int | None:
    """Return the place of the script after a shell's options; None if no option asks for one."""
    has_script = False
    while index < len(argv) and argv[index][:1] in {"-", "+"} and argv[index] not in {"-", "--"}:
        has_script = has_script or _RUNS_SCRIPT.fullmatch(argv[index]) is not None
        takes_word = _TAKES_WORD.fullmatch(argv[index]) or argv[index] in _TAKE_WORD
        index += 2 if takes_word else 1
    if index < len(argv) and argv[index] in {"-", "--"}:
        index += 1
    return index if has_script and index < len(argv) else None


def _have_placeholder(words: Sequence[Word]) -> bool:
    """Return whether one of the words has a placeholder."""
    parts = [part for word in words for part in (word if isinstance(word, tuple) else (word,))]
    return any(isinstance(part, Placeholder) for part in parts)


def _simplest(text: Text) -> Word:
    match text:
        case ():
            return ""
        case (str() | Placeholder(kind="all") as part,):
            return part
        case _:
            return text
