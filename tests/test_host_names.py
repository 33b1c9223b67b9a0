"""Tests of host names with numbers: brackets are unfolded, and names are folded into brackets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant._values.errors import HostListError
from currant._values.host_names import expand, fold, natural_key, split_items


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("gpu[1-4]", ["gpu1", "gpu2", "gpu3", "gpu4"]),
        ("a[08-11]", ["a08", "a09", "a10", "a11"]),
        ("a[098-101]", ["a098", "a099", "a100", "a101"]),
        ("a[9-11]", ["a9", "a10", "a11"]),
        ("a[001-2]", ["a001", "a002"]),
        ("a[1,3-5]-ib", ["a1-ib", "a3-ib", "a4-ib", "a5-ib"]),
        ("a[3, 1]", ["a3", "a1"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("[1-2].example.org", ["1.example.org", "2.example.org"]),
        ("ssh://me@n[1-2]:22", ["ssh://me@n1:22", "ssh://me@n2:22"]),
        ("ssh://[fe80::1]:22", ["ssh://[fe80::1]:22"]),
        ("fe80::1", ["fe80::1"]),
    ],
)
def test_brackets_stand_for_numbers(text: str, names: list[str]) -> None:
    """A range keeps the zeros of its first number; several brackets give all combinations."""
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gpu[1-4", "a bracket is not closed"),
        ("gpu1-4]", "a bracket is not opened"),
        ("gpu[1-[2]]", "a bracket is not closed"),
        ("gpu[]", "'' in the bracket is neither a number nor a range"),
        ("gpu[1,]", "'' in the bracket"),
        ("gpu[a-c]", "'a-c' in the bracket"),
        ("gpu[1-]", "'1-' in the bracket"),
        ("gpu[-1]", "'-1' in the bracket"),
        ("gpu[4-1]", "the range '4-1' goes down"),
        ("gpu[1-016]", "the ends of the range '1-016' have different zeros"),
        ("gpu[1-999999999]", "more than 100000 names"),
        ("gpu[1-1000][1-1000]", "more than 100000 names"),
        ("gpu[٣]", "'٣' in the bracket"),
    ],
)
def test_wrong_brackets_are_refused(text: str, reason: str) -> None:
    """The error shows the text, and says what is wrong."""
    with pytest.raises(HostListError, match=re.escape(reason)) as caught:
        expand(text)
    assert caught.value.text == text
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["b", "n2", "a", "n1"], "a,b,n[1-2]"),
        (["n1", "n1"], "n1"),
        (["n10", "n9", "n2", "n1"], "n[1-2,9-10]"),
        (["n09", "n10", "n11"], "n[09-11]"),
        (["n9", "n10", "n09"], "n[09,9-10]"),
        (["n1.a.org", "n2.a.org", "n1.b.org"], "n[1-2].a.org,n1.b.org"),
        (["gpu1-ib0", "gpu2-ib0", "gpu3-ib0"], "gpu[1-3]-ib0"),
        (["r1n1", "r1n2", "r2n1", "r2n2", "r3n1"], "r[1-2]n[1-2],r3n1"),
        (["1", "2", "x"], "[1-2],x"),
    ],
)
def test_folded_names_are_short_and_sorted(names: list[str], text: str) -> None:
    """Successive numbers become a range, and names are sorted as people sort them."""
    assert fold(names) == text


_NAMES = st.from_regex(r"[a-c]?[0-9]{0,3}[.-]?[a-c]?[0-9]{0,2}", fullmatch=True).filter(bool)


@given(st.lists(_NAMES, max_size=30))
def test_folded_names_unfold_to_the_same_names(names: list[str]) -> None:
    """No name is lost, added or doubled, and the zeros are kept."""
    unfolded = [name for item in split_items(fold(names)) for name in expand(item)]
    assert sorted(unfolded, key=natural_key) == sorted({*names}, key=natural_key)


def test_many_names_are_unfolded_and_folded() -> None:
    """The time grows with the number of names, not with its square."""
    names = expand("r[1-20]n[001-500]")
    assert len(names) == 10_000
    assert fold(reversed(names)) == "r[1-20]n[001-500]"
