"""The public names: which they are, and that each is documented."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
from itertools import pairwise
from typing import Any

import pytest

import currant

CONTRACT = [
    "Batch",
    "Command",
    "CommandError",
    "CommandFailed",
    "CommandNotFoundError",
    "CommandParseError",
    "CurrantError",
    "Dropped",
    "DuplicateNameError",
    "EmptyCommandError",
    "Exit",
    "Exited",
    "Failed",
    "Job",
    "KillBarrier",
    "LaunchError",
    "Launcher",
    "Line",
    "LocalLauncher",
    "PIPE",
    "Process",
    "RestartPolicy",
    "Restarting",
    "Result",
    "Results",
    "Runner",
    "Started",
    "run",
]
"""The names that the design promises."""

EXTRAS = [
    "BatchMessage",
    "CannotStopError",
    "DependencyError",
    "Aborted",
    "JobEndedError",
    "Message",
    "Pty",
    "NotReadyError",
    "Ready",
    "Sink",
    "Skipped",
    "StdinClosedError",
    "TimeLimitError",
    "UnresponsiveError",
]
"""Types of what the promised names take, give and raise."""


def dotted(members: list[tuple[type, str]]) -> list[str]:
    """Return what the members are called."""
    return [f"{owner.__name__}.{name}" for owner, name in members]


CLASSES = [value for value in map(vars(currant).get, currant.__all__) if isinstance(value, type)]
MEMBERS = [
    (owner, name)
    for owner in CLASSES
    for name, member in vars(owner).items()
    if not name.startswith("_")
    and (inspect.isfunction(member) or isinstance(member, (property, classmethod, staticmethod)))
]
COROUTINES = [
    (owner, name) for owner, name in MEMBERS if inspect.iscoroutinefunction(getattr(owner, name))
]


def test_the_public_names_are_those_written_here() -> None:
    """A name is added or taken away on purpose, and here too."""
    assert sorted(currant.__all__) == sorted(CONTRACT + EXTRAS)


def test_every_public_name_exists() -> None:
    """``from currant import *`` works."""
    assert [name for name in currant.__all__ if not hasattr(currant, name)] == []


def test_nothing_else_looks_public() -> None:
    """What can be had from the package without an underscore is public, or a module."""
    names = {name for name, value in vars(currant).items() if not inspect.ismodule(value)}
    assert {name for name in names if not name.startswith("_")} == set(currant.__all__)


def test_the_package_tells_how_to_read_it() -> None:
    """The package and each of its modules open with a docstring."""
    modules = [currant, *(importlib.import_module(name) for name in module_names())]
    assert [module.__name__ for module in modules if not module.__doc__] == []


@pytest.mark.parametrize("name", sorted(set(currant.__all__) - {"PIPE"}))  # subprocess's
def test_every_public_name_is_documented(name: str) -> None:
    """A class or function has a docstring of its own, another value one below its assignment."""
    value = getattr(currant, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        assert text
        # What a dataclass or a named tuple makes up by itself is a signature.
        assert not text.startswith(f"{name}(")
    else:
        assert name in documented_values()


@pytest.mark.parametrize(("owner", "name"), MEMBERS, ids=dotted(MEMBERS))
def test_every_public_method_and_property_is_documented(owner: type, name: str) -> None:
    """A method has a docstring; a property has one, or is told of in its class's."""
    text = vars(owner)[name].__doc__
    told = isinstance(vars(owner)[name], property) and f"    {name}:" in str(owner.__doc__)
    assert text or told


@pytest.mark.parametrize("owner", [owner for owner in CLASSES if dataclasses.is_dataclass(owner)])
def test_every_field_of_a_public_value_is_documented(owner: Any) -> None:
    """The docstring of a dataclass tells of each of its fields."""
    names = [spec.name for spec in dataclasses.fields(owner)]
    assert [name for name in names if f"    {name}:" not in owner.__doc__] == []


@pytest.mark.parametrize(("owner", "name"), COROUTINES, ids=dotted(COROUTINES))
def test_every_public_coroutine_tells_what_cancelling_it_does(owner: type, name: str) -> None:
    """Cancellation is part of each async method's contract."""
    assert "Cancellation:" in str(vars(owner)[name].__doc__)


def module_names() -> list[str]:
    """Return the names of the package's modules; not `__main__`, which runs when imported."""
    found = pkgutil.walk_packages(currant.__path__, "currant.")
    return [module.name for module in found if not module.name.endswith("__main__")]


def documented_values() -> set[str]:
    """Return the names that are assigned in the package and followed by a docstring."""
    found = set()
    for module in map(importlib.import_module, module_names()):
        body = ast.parse(inspect.getsource(module)).body
        for statement, following in pairwise(body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(value=str())):
                    found.add(name)
                case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(ast.Constant(value=str())):
                    found.add(name)
    return found
