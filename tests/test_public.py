"""The public names: the complete list, their docstrings and signatures."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import currant
import currant.blocking
import currant.hosts
import currant.stack
from currant import Command, Runner
from currant._run import RunnerOptions
from currant._values.options import COMMAND_HINTS, RUNNER_HINTS

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
    "map",
    "open_process",
    "run",
    "run_process",
]
"""The names that the design promises."""

EXTRAS = [
    "Aborted",
    "BatchMessage",
    "CannotStopError",
    "Capture",
    "DependencyError",
    "Excerpt",
    "ExitStatusLostError",
    "ExpectError",
    "HostListError",
    "HostLost",
    "HostLostError",
    "HostUnreachableError",
    "HostUp",
    "JobEndedError",
    "Limits",
    "Map",
    "Message",
    "MissingExtraError",
    "NoCapacityError",
    "NotCapturedError",
    "NotPermittedError",
    "NotReadyError",
    "Omitted",
    "OutputDiscardedError",
    "OutputLimitError",
    "Pty",
    "Ready",
    "RunningLoopError",
    "Sink",
    "Skipped",
    "SpillError",
    "StdinClosedError",
    "TimeLimitError",
    "UnknownNameError",
    "UnknownOptionError",
    "UnreadOutputWarning",
    "UnresponsiveError",
    "Usage",
    "Watch",
    "WrongLoopError",
    "WrongTaskError",
]
"""Types of the arguments, results and errors of the promised names."""

PUBLIC_MODULES = [
    "currant",
    "currant.blocking",
    "currant.config",
    "currant.hosts",
    "currant.pytest_plugin",
    "currant.ready",
    "currant.sinks",
    "currant.stack",
    "currant.testing",
    "currant.view",
]
"""The modules with public names."""


def dotted(members: list[tuple[type, str]]) -> list[str]:
    """Return the members as ``Class.name``, or ``blocking.Class.name``."""
    return [f"{prefix(owner)}{owner.__name__}.{name}" for owner, name in members]


def prefix(owner: type) -> str:
    """Return what tells a class from the class of that name in `currant`."""
    return "blocking." if owner.__module__.startswith("currant.blocking.") else ""


CLASSES = [
    value
    for module in (currant, currant.blocking, currant.hosts, currant.stack)
    for value in (getattr(module, name) for name in module.__all__)
    if isinstance(value, type)
]
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


def test_public_names_match_the_lists() -> None:
    """Adding or removing a name must be a decision, so it must be made here too."""
    assert sorted(currant.__all__) == sorted(CONTRACT + EXTRAS)


def test_every_public_name_exists() -> None:
    """``from currant import *`` works."""
    assert [name for name in currant.__all__ if not hasattr(currant, name)] == []


def test_no_other_name_looks_public() -> None:
    """Every attribute of the package without an underscore is a public name or a module."""
    values = {name: getattr(currant, name) for name in dir(currant)}
    names = {name for name, value in values.items() if not inspect.ismodule(value)}
    assert {name for name in names if not name.startswith("_")} == set(currant.__all__)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_reference_describes_every_public_name(module: str) -> None:
    """The page of a module in `docs/reference` has each name of the module, and no other."""
    page = Path(__file__).parents[1] / "docs" / "reference" / f"{module.rpartition('.')[2]}.md"
    described = re.findall(
        r"^\.\. auto(?:class|exception|function|data):: (\w+)", page.read_text(), re.MULTILINE
    )
    assert sorted(described) == sorted(importlib.import_module(module).__all__)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_traceback_shows_the_public_path_of_an_error(module: str) -> None:
    """The path of each error is the one to import it from, so `pickle` finds it there, too."""
    public = importlib.import_module(module)
    values = [getattr(public, name) for name in public.__all__]
    errors = [each for each in values if isinstance(each, type) and issubclass(each, Exception)]
    assert {error.__name__: error.__module__ for error in errors} == dict.fromkeys(
        [error.__name__ for error in errors], module
    )


def test_every_module_has_a_docstring() -> None:
    """The package and each of its modules open with a docstring."""
    modules = [currant, *(importlib.import_module(name) for name in module_names())]
    assert [module.__name__ for module in modules if not module.__doc__] == []


def test_every_package_names_its_modules() -> None:
    """The docstring of a package says what is in it, unless the package imports from the module."""
    for init in Path(currant.__file__).parent.rglob("__init__.py"):
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__", "__main__"}
        packages = {path.parent.name for path in init.parent.glob("*/__init__.py")}
        named = set(re.findall(r"[`.](\w+)", init.read_text()))
        assert (modules | packages) - named == set(), init


@pytest.mark.parametrize("name", sorted(set(currant.__all__) - {"PIPE"}))  # subprocess's
def test_every_public_name_is_documented(name: str) -> None:
    """A class or function has its own docstring; another value has one below its assignment."""
    value = getattr(currant, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        assert text
        # A dataclass or a named tuple without a docstring gets its signature as docstring.
        assert not text.startswith(f"{name}(")
    else:
        assert name in documented_values()


def test_no_section_of_a_docstring_comes_twice() -> None:
    """The reference would show two lists, and a reader would miss the second."""
    for owner in CLASSES:
        sections = re.findall(r"^    (\w+):$", str(owner.__doc__), re.MULTILINE)
        assert len(sections) == len(set(sections)), owner


@pytest.mark.parametrize(("owner", "name"), MEMBERS, ids=dotted(MEMBERS))
def test_every_public_method_and_property_is_documented(owner: type, name: str) -> None:
    """A method has a docstring; a property has one, or is listed in that of its class."""
    text = vars(owner)[name].__doc__
    listed = isinstance(vars(owner)[name], property) and f"    {name}:" in str(owner.__doc__)
    assert text or listed


@pytest.mark.parametrize("owner", [owner for owner in CLASSES if dataclasses.is_dataclass(owner)])
def test_every_field_of_a_public_value_is_documented(owner: Any) -> None:
    """The docstring of a dataclass lists each of its fields."""
    names = [spec.name for spec in dataclasses.fields(owner)]
    assert [name for name in names if f"    {name}:" not in owner.__doc__] == []


@pytest.mark.parametrize(("owner", "name"), COROUTINES, ids=dotted(COROUTINES))
def test_every_public_coroutine_documents_its_cancellation(owner: type, name: str) -> None:
    """Cancellation is part of each async method's contract."""
    assert "Cancellation:" in str(vars(owner)[name].__doc__)


def test_run_takes_the_options_of_the_runner() -> None:
    """`RunnerOptions` has the keyword arguments of `Runner`, with the same types."""
    parameters = list(inspect.signature(Runner).parameters.values())
    keywords = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    # Annotations are compared as written; a TypedDict keeps them as forward references.
    options = {name: ref.__forward_arg__ for name, ref in RunnerOptions.__annotations__.items()}
    assert options == keywords
    assert not RunnerOptions.__required_keys__


def test_hints_cover_each_option_of_the_other_class() -> None:
    """An option that `Command` or `Runner` alone has gets a hint from the other one."""
    of_command, of_runner = (
        {p.name for p in inspect.signature(owner).parameters.values() if p.kind is p.KEYWORD_ONLY}
        for owner in (Command, Runner)
    )
    in_runner = {name for name, hint in COMMAND_HINTS.items() if "of the Runner" in hint}
    in_command = {name for name, hint in RUNNER_HINTS.items() if "of each Command" in hint}
    assert in_runner == of_runner - of_command
    assert in_command == of_command - of_runner


def module_names() -> list[str]:
    """Return the names of all modules except `__main__`, which runs when imported."""
    found = pkgutil.walk_packages(currant.__path__, "currant.")
    return [module.name for module in found if not module.name.endswith("__main__")]


def documented_values() -> set[str]:
    """Return the names that have a docstring below their assignment in one of the modules."""
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
