"""`Capture`: which part of a command's output its result keeps; `Omitted`: what it left out.

The three short forms of ``capture=`` become a `Capture` too, so only one mechanism follows.
"""

from __future__ import annotations

import os
import sys
from codecs import utf_8_decode
from dataclasses import dataclass
from typing import TypeAlias

from currant._values.checks import StrOrPath, checked_path
from currant._values.errors import CommandError
from currant._values.file_name import as_file_name

__all__ = [
    "NOTHING_OMITTED",
    "Capture",
    "CaptureLike",
    "Omitted",
    "as_capture",
    "check_capture",
    "decode_around",
]


@dataclass(frozen=True, slots=True)
class Capture:
    r"""The part of each output stream that the `Result` of a command keeps.

    Keep both ends of a long output, as a log viewer or a language model wants it::

        import currant
        from currant import Capture, Command

        count = Command(["seq", "100000"], capture=Capture(head=4, tail=7))
        result = currant.run(count)["seq"]
        assert result.stdout == b"1\n2\n100000\n"
        assert result.omitted.stdout == 588_884
        print(result.text)

    The memory that a capture takes is bounded: by `head` and twice `tail` for each stream.

    Attributes:
        head: the number of first bytes of each stream to keep.
        tail: the number of last bytes of each stream to keep, besides those of `head`.
        spill: a file that gets all output of an attempt, stdout and stderr in the order in which
            they are read; a path becomes a str.  Each attempt begins with an empty file, so the
            file belongs to the same attempt as the `Result`.  A relative path starts at the working
            directory of this program, and its folder must exist.  ``{name}`` stands for the name
            of the command, in which ``/`` and ``%`` are escaped as in a URL.  If the file cannot be
            written, the attempt is stopped and has failed, with a `SpillError`.

    Raises:
        CommandError: a number is no integer >= 0, or `spill` is no path.
    """

    head: int = 0
    tail: int = 0
    spill: StrOrPath | None = None

    def __post_init__(self) -> None:
        for what, value in (("head", self.head), ("tail", self.tail)):
            if not _is_size(value) or isinstance(value, bool):
                raise CommandError(f"{what} must be a number of bytes >= 0, not {value!r}")
        if self.spill is not None:
            spill = checked_path("spill", self.spill)
            if not spill:
                raise CommandError("spill must be the path of a file, not an empty text")
            object.__setattr__(self, "spill", spill)

    def spill_of(self, command: str) -> str | None:
        """Return the path of `spill` for the command of that name; None if there is no file."""
        if self.spill is None:
            return None
        return os.fspath(self.spill).replace("{name}", as_file_name(command))


CaptureLike: TypeAlias = bool | int | Capture
"""The forms of ``capture=``: nothing, everything, a number of last bytes, or a `Capture`."""


def check_capture(capture: object) -> None:
    """Raise `CommandError` if `capture` is neither a `CaptureLike` nor None."""
    if not (capture is None or isinstance(capture, Capture) or _is_size(capture)):
        raise CommandError(
            "capture must be False, True, a number of last bytes >= 0 or a Capture, "
            f"not {capture!r}"
        )


def as_capture(capture: CaptureLike) -> Capture | None:
    """Return `capture` as a `Capture`; None if nothing is to be kept."""
    if isinstance(capture, Capture):
        return capture
    if capture is True:
        return _EVERYTHING
    return None if capture is False else Capture(tail=capture)


@dataclass(frozen=True, slots=True)
class Omitted:
    """The bytes of an output that its capture left out.

    Attributes:
        stdout: the number of bytes of stdout that were left out.
        stderr: the same for stderr.
        after: the number of bytes that were kept before the omission, if there is one.
    """

    stdout: int = 0
    stderr: int = 0
    after: int = 0


NOTHING_OMITTED = Omitted()


def decode_around(kept: bytes, after: int, omitted: int, *, is_cut: bool) -> str:
    """Return `kept` decoded as UTF-8, with a line that tells of the bytes that were omitted.

    A character that the omission has cut is left out; other invalid bytes become U+FFFD.

    Args:
        kept: the first and the last bytes of a stream, joined.
        after: the number of first bytes.
        omitted: the number of bytes between them; 0: `kept` is the whole stream.
        is_cut: whether the stream may have been cut behind `kept`, too.
    """
    if not omitted:
        return _decode(kept, is_cut=is_cut)
    head = _decode(kept[:after], is_cut=True)
    tail = _decode(_without_broken_begin(kept[after:]), is_cut=is_cut)
    end_of_line = "" if not head or head.endswith("\n") else "\n"
    noun = "byte" if omitted == 1 else "bytes"
    return f"{head}{end_of_line}[... {omitted:,} {noun} omitted ...]\n{tail}"


def _decode(data: bytes, *, is_cut: bool) -> str:
    """Return `data` decoded; if it is cut, without the beginning of a character at its end."""
    return utf_8_decode(data, "replace", not is_cut)[0]


def _without_broken_begin(data: bytes) -> bytes:
    """Return `data` without the rest of a character of UTF-8 whose first byte is missing."""
    begin = 0
    while begin < min(3, len(data)) and data[begin] & 0b1100_0000 == 0b1000_0000:
        begin += 1
    return data[begin:]


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value >= 0


_EVERYTHING = Capture(head=sys.maxsize)
