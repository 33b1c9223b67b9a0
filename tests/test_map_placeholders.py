"""The values of a job, and the placeholders that stand for them."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from currant import CommandError
from currant._batch.placeholders import Placeholder, split_text
from currant._batch.rows import Row, row_of

FILES = Row(("a/b.c.d", "e"))


def filled(text: str, row: Row = FILES, number: int = 7, slot: int = 3) -> str:
    """Return a text with the values of a job in it."""
    parts = split_text(text, row.names or None, None)
    return "".join(
        part if isinstance(part, str) else part.one_text(row, number, slot) for part in parts
    )


# ---- rows ----


@pytest.mark.parametrize(
    ("item", "row"),
    [
        ("a b", Row(("a b",))),
        ("", Row(("",))),
        (Path("a/b"), Row(("a/b",))),
        (b"\xff\n", Row(("\udcff\n",))),
        (3, Row(("3",))),
        (0.5, Row(("0.5",))),
        (True, Row(("True",))),
        (("a", 1, Path("b"), b"c"), Row(("a", "1", "b", "c"))),
        (["a"], Row(("a",))),
        ((), Row(())),
        (Row(("a",)), Row(("a",))),
        ({"x": 1, "y": "b"}, Row(("1", "b"), ("x", "y"))),
        (OrderedDict(y=1, x=2), Row(("1", "2"), ("y", "x"))),
        (MappingProxyType({"x": 1}), Row(("1",), ("x",))),
    ],
)
def test_item_gives_its_values(item: object, row: Row) -> None:
    """Text, paths and numbers are one value; sequences and mappings are several."""
    assert row_of(item) == row


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "an item must be a tuple, a list, a mapping or a str.*NoneType"),
        ({1, 2}, "type set"),
        (("a", None), "a value of an item must be a str.*NoneType"),
        (("a", ["b"]), "type list"),
        ({"x": {}}, "type dict"),
        ({1: "a"}, "names of an item must be str, not 1.*int"),
        ("a\0b", "NUL"),
        (b"\0", "NUL"),
        (("a", "\0"), "NUL"),
        ("\ud800", "surrogate"),
    ],
)
def test_item_that_is_no_argument_is_an_error(item: object, reason: str) -> None:
    """An item is refused if its type is unknown, or the system could not take a value."""
    with pytest.raises(CommandError, match=reason):
        row_of(item)


def test_text_of_a_row_has_all_values() -> None:
    """The text of a row is its values, joined by spaces."""
    assert Row(("a", "b c")).text == "a b c"


# ---- suffixes ----


@pytest.mark.parametrize(
    ("path", "without_extension", "last", "directory", "stem"),
    [
        ("a.tar.gz", "a.tar", "a.tar.gz", ".", "a.tar"),
        ("dir.d/file", "dir.d/file", "file", "dir.d", "file"),
        (".bashrc", "", ".bashrc", ".", ""),
        ("d/.bashrc", "d/", ".bashrc", "d", ""),
        ("a.", "a", "a.", ".", "a"),
        ("a/", "a/", "", ".", ""),
        ("/", "/", "", "/", ""),
        ("//", "//", "", "/", ""),
        ("/a", "/a", "a", "/", "a"),
        ("a//b", "a//b", "b", "a", "b"),
        ("x.y/", "x.y/", "", ".", ""),
        ("", "", "", ".", ""),
        ("a/b/", "a/b/", "", "a", ""),
        ("a/b//", "a/b//", "", "a", ""),
        ("..", ".", "..", ".", "."),
        ("a/..", "a/.", "..", "a", "."),
        ("//a", "//a", "a", "/", "a"),
        ("a b/c d.e f", "a b/c d", "c d.e f", "a b", "c d"),
        ("a\n.b\n", "a\n", "a\n.b\n", ".", "a\n"),
    ],
)
def test_suffix_takes_a_part_of_the_path(
    path: str, without_extension: str, last: str, directory: str, stem: str
) -> None:
    """The parts of a path are those of GNU parallel, in odd cases too."""
    row = Row((path,))
    assert filled("{.}", row) == without_extension
    assert filled("{/}", row) == last
    assert filled("{//}", row) == directory
    assert filled("{/.}", row) == stem


@given(st.text("a./"))
def test_directory_agrees_with_dirname(path: str) -> None:
    """The directory is that of dirname(1), which ignores slashes at the end."""
    trimmed = path.rstrip("/") or path
    expected = os.path.dirname(trimmed).rstrip("/") or ("/" if path.startswith("/") else ".")
    assert filled("{//}", Row((path,))) == expected


# ---- the grammar ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "a/b.c.d e"),
        ("{/}", "b.c.d e"),
        ("<{1}|{2}>", "<a/b.c.d|e>"),
        ("{-1}{-2/.}", "eb.c"),
        ("{1.} {1/} {1//} {1/.}", "a/b.c b.c.d a b.c"),
        ("{#}.{%}", "7.3"),
        ("{{}}", "{a/b.c.d e}"),
        ("{{2}}", "{e}"),
        ("no", "no"),
        ("", ""),
    ],
)
def test_placeholder_stands_for_values(text: str, expected: str) -> None:
    """A placeholder is replaced by all values, by one of them, or by a number of the job."""
    assert filled(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("{print $1}", "{a,b}", "{ }", "{0}", "{01}", "{1,2}", "{-}", "{--1}", "{#.}", "{%/}"),
        *("{", "}", "}{", "{///}", "{..}", "{./}", "{a b}", "{print;}", "{!x}", "{-x}"),
    ],
)
def test_other_text_in_braces_is_literal(text: str) -> None:
    """Text in braces that cannot be a placeholder stays as it is."""
    assert filled(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{print}}", "{print}"),
        ("awk '{{x}}' {1}", "awk '{x}' 1"),
        ("{{x}}{x}{{y.}}", "{x}1{y.}"),
        ("{{print $1}}", "{{print $1}}"),
        ("{{{x}}}", "{{1}}"),
    ],
)
def test_doubled_braces_make_a_name_literal(text: str, expected: str) -> None:
    """A name in two pairs of braces is literal text in one pair."""
    assert filled(text, Row(("1", "2"), ("x", "y"))) == expected


def test_name_stands_for_its_column() -> None:
    """A column has a name with any letters, digits, _ and -, and takes the suffixes."""
    row = Row(("1", "d/f.c", "3"), ("x", "größe-1", "_"))
    assert filled("{x}{größe-1}{größe-1/.}{_}{1}{2}", row) == "1d/f.cf31d/f.c"


def test_name_of_a_column_may_have_any_characters() -> None:
    """A name that has a suffix of its own comes before the name without it."""
    names = ("a b", "2nd", "x/y", "it's", "d.", "{|#}", "1", "#", "")
    row = Row(("v", "p/q.r", "w", "y", "z", "u", "i", "n", "e"), names)
    parts = split_text("{a b} {2nd/.} {x/y} {it's} {d.} {{|#}} {1} {#} {{a b}} {b a}", names, None)
    texts = [part if isinstance(part, str) else part.one_text(row, 7, 1) for part in parts]
    assert "".join(texts) == "v q w y z u v 7 {a b} {b a}"


def test_column_is_found_in_a_row_with_other_columns() -> None:
    """The columns of a row may have another order than the template was made for."""
    (part,) = split_text("{y}", ["x", "y"], None)
    assert isinstance(part, Placeholder)
    assert part.one_text(Row(("1", "2"), ("x", "y")), 1, 1) == "2"
    assert part.one_text(Row(("3", "4", "5"), ("y", "z", "x")), 1, 1) == "3"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["path", "size"], "{paht}; did you mean 'path'\\? There are: 'path', 'size'"),
        (["x"], "{paht}; there are: 'x'"),
        (None, "{paht}; the columns have no names.*{}, {1}"),
        ([], "{paht}; the columns have no names"),
    ],
)
def test_unknown_name_is_an_error(names: list[str] | None, reason: str) -> None:
    """The error about an unknown name tells the known ones, and how to write literal text."""
    with pytest.raises(CommandError, match=f"unknown placeholder {reason}") as caught:
        split_text("a {paht} b", names, None)
    assert "for the literal text, write {{paht}}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "columns", "has"),
    [("{3}", 2, "2 values"), ("{-3}", 2, "2 values"), ("{2.}", 1, "1 value")],
)
def test_value_beyond_the_columns_is_an_error_at_once(text: str, columns: int, has: str) -> None:
    """A template is refused if no row can have the value."""
    with pytest.raises(CommandError, match=re.escape(f"no value for {text}: each job has {has}")):
        split_text(text, None, columns)


@pytest.mark.parametrize(
    ("text", "row", "reason"),
    [
        ("{3}", FILES, "job 7 has no value for {3}: it has 2 values, 'a/b.c.d', 'e'"),
        ("{-3.}", FILES, "no value for {-3.}"),
        ("{2}", Row(("a",)), "it has 1 value, 'a'"),
        ("{1}", Row(()), "it has none"),
    ],
)
def test_row_without_a_value_is_an_error(text: str, row: Row, reason: str) -> None:
    """A row that lacks a value is refused, and the error tells the values that it has."""
    with pytest.raises(CommandError, match=re.escape(reason)):
        filled(text, row)


def test_row_without_a_column_is_an_error() -> None:
    """A row with other columns than the template needs is refused."""
    (part,) = split_text("{y}", ["x", "y"], None)
    assert isinstance(part, Placeholder)
    with pytest.raises(CommandError, match=r"job 2 has no value for {y}: its columns are 'x'"):
        part.one_text(Row(("1",), ("x",)), 2, 1)


@given(st.text("{}x1#%-./ "))
def test_text_is_kept_around_placeholders(text: str) -> None:
    """Literal parts and placeholders together are the text again, but for doubled braces."""
    try:
        parts = split_text(text, ["x", "x1", "xx", "x-"], None)
    except CommandError:
        reject()
    kept = "".join(part if isinstance(part, str) else part.text for part in parts)
    doubled = r"(?<!\{)\{(\{x[x1-]*(?:/\.|//|/|\.)?\})\}(?!\})"
    assert kept == re.sub(doubled, r"\1", text)
