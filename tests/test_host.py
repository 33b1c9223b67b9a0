"""Tests of `Host`: the arguments that it accepts and refuses, and its text."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from currant import CommandError
from currant.hosts import LOCAL, Host

FULL = Host(
    "gpu1",
    address="ssh://me@10.0.0.1:2222",
    python=Path("/opt/python"),
    slots=8,
    cpus=16,
    gpus=("GPU-a", "GPU-b"),
    resources={"license": 2},
    env={"TOKEN": "secret"},
    cwd=Path("/data"),
)


def test_host_keeps_what_it_is_given() -> None:
    """Paths become text, and all other arguments are kept."""
    assert (FULL.python, FULL.cwd, FULL.gpus) == ("/opt/python", "/data", ("GPU-a", "GPU-b"))
    assert (FULL.slots, FULL.cpus, FULL.resources) == (8, 16, {"license": 2})
    assert Host("a", gpus=2).gpus == ("0", "1")
    assert Host("a", gpus=2) == Host("a", gpus=["0", "1"])


@pytest.mark.parametrize("host", [FULL, Host("a"), LOCAL], ids=str)
def test_host_can_be_pickled_copied_and_replaced(host: Host) -> None:
    """A copy equals the host, and has the same hash."""
    for duplicate in (pickle.loads(pickle.dumps(host)), copy.deepcopy(host), replace(host)):
        assert duplicate == host
        assert hash(duplicate) == hash(host)
    assert replace(host, slots=3).slots == 3


def test_host_is_frozen() -> None:
    """Neither a field nor a mapping in one can be changed."""
    with pytest.raises(AttributeError):
        FULL.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        FULL.env["A"] = "b"  # type: ignore[index]


def test_repr_of_a_host_shows_no_value_of_a_variable() -> None:
    """A repr ends up in logs, and variables may be secrets."""
    assert repr(Host("a", gpus=2, cpus=4)) == "Host('a', cpus=4, gpus=2)"
    assert repr(FULL) == (
        "Host('gpu1', address='ssh://me@10.0.0.1:2222', python='/opt/python', slots=8, cpus=16, "
        "gpus=('GPU-a', 'GPU-b'), resources={'license': 2}, env=['TOKEN'], cwd='/data')"
    )


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (Host("a"), "a"),
        (Host("a", slots=8), "8/a"),
        (Host("a", address="me@a", slots=2), "2/me@a"),
        (LOCAL, ":"),
    ],
)
def test_text_of_a_host_is_that_of_a_list(host: Host, text: str) -> None:
    """`str` of a host can be written into a host list."""
    assert str(host) == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": ""}, ["the name of a host must be a non-empty str"]),
        ({"name": None}, ["the name of a host must be a non-empty str"]),
        ({"name": "-oProxyCommand=x"}, ["does not begin with '-'"]),
        ({"name": "a b"}, ["one word"]),
        ({"name": "a\x1b"}, ["printable"]),
        ({"name": "a,b"}, ["must not contain ','"]),
        ({"name": "me@a"}, ["must not contain '@'", "the user belongs into the address"]),
        ({"address": "-v"}, ["host 'a'", "address", "does not begin with '-'"]),
        ({"address": 3}, ["host 'a'", "address must be a non-empty str, not 3"]),
        ({"python": ""}, ["host 'a'", "python must be"]),
        ({"slots": 0}, ["host 'a'", "slots must be an integer >= 1, not 0"]),
        ({"cpus": 1.5}, ["host 'a'", "cpus must be an integer >= 1, not 1.5"]),
        ({"gpus": -1}, ["host 'a'", "gpus must be an integer >= 0 or a sequence of ids"]),
        ({"gpus": True}, ["host 'a'", "gpus"]),
        ({"gpus": "0,1"}, ["host 'a'", "gpus"]),
        ({"gpus": ["0", "0"]}, ["host 'a'", "different"]),
        ({"gpus": ["0,1"]}, ["host 'a'", "without commas"]),
        ({"resources": {"x": -1}}, ["host 'a'", "the resource 'x' must be an integer >= 0"]),
        ({"resources": {"": 1}}, ["host 'a'", "the name of a resource"]),
        ({"resources": [("x", 1)]}, ["host 'a'", "resources must be a mapping"]),
        ({"resources": {"cpus": 1}}, ["host 'a'", "Host(cpus=...) says that"]),
        ({"env": {"A=": "b"}}, ["host 'a'", "the name of a variable"]),
        ({"cwd": 3}, ["host 'a'", "cwd must be a str or a path"]),
    ],
)
def test_invalid_host_is_refused_with_its_name_and_field(
    arguments: dict[str, Any], words: list[str]
) -> None:
    """The error comes when the host is built, and says what is wrong."""
    given: dict[str, Any] = {"name": "a", **arguments}
    with pytest.raises(CommandError) as caught:
        Host(**given)
    assert [word for word in words if word not in str(caught.value)] == []


def test_local_host_needs_no_connection() -> None:
    """A copy of `LOCAL` with other amounts or another name is still local."""
    assert LOCAL.is_local
    assert replace(LOCAL, name="here", slots=2).is_local
    assert not Host("local").is_local
