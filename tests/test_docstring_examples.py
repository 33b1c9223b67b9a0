"""The examples in docstrings run as printed.

An example is an indented block of Python after a line that ends with ``::``.  It may use ``await``
at the top level, and it runs in an empty directory.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import currant
import currant.blocking
import currant.config
import currant.hosts
import currant.sinks
import currant.stack
import currant.testing
from currant import ready
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

RUN = """\
import ast, inspect, sys, anyio
example = compile(sys.argv[1], "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
if example.co_flags & inspect.CO_COROUTINE:
    async def main():
        await eval(example, {"__name__": "__main__"})
    anyio.run(main)
else:
    exec(example, {"__name__": "__main__"})
"""
"""A program that runs an example, in an event loop if the example uses ``await``."""

REQUIRED = {
    "Runner",
    "Command",
    "blocking.Runner",
    "RestartPolicy",
    "config.load",
    *(f"sinks.{name}" for name in currant.sinks.__all__ if name.endswith("Sink")),
    *(f"ready.{name}" for name in ready.__all__ if name != "Probe"),
}
"""The names that must have an example."""


def documented() -> Iterator[tuple[str, object]]:
    """Yield all public modules, classes, functions and methods with their names."""
    own = (
        currant.blocking,
        currant.config,
        currant.hosts,
        currant.sinks,
        currant.stack,
        currant.testing,
    )
    for module in (currant, ready, *own):
        prefix = module.__name__.removeprefix("currant").removeprefix(".")
        yield module.__name__, module
        for name in module.__all__:
            value = getattr(module, name)
            path = f"{prefix}.{name}" if prefix else name
            yield path, value
            if inspect.isclass(value):
                members = vars(value).items()
                yield from ((f"{path}.{key}", v) for key, v in members if not key.startswith("_"))


def examples_of(value: object) -> list[str]:
    """Return the examples in the docstring of `value`."""
    text = value.__doc__ if isinstance(getattr(value, "__doc__", None), str) else None
    lines = inspect.cleandoc(text or "").splitlines()
    starts = [number for number, line in enumerate(lines, 1) if line.endswith("::")]
    return [textwrap.dedent("\n".join(indented(lines[start:]))) for start in starts]


def indented(lines: list[str]) -> Iterator[str]:
    """Yield the lines up to the first line that is neither blank nor indented."""
    for line in lines:
        if line and not line.startswith(" "):
            return
        yield line


EXAMPLES = {
    f"{name} {number}" if number > 1 else name: example
    for name, value in documented()
    for number, example in enumerate(examples_of(value), 1)
}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_central_name_has_an_example(name: str) -> None:
    """A reader of the class or function sees first how to use it, in about six lines."""
    assert name in EXAMPLES
    assert EXAMPLES[name].strip().count("\n") < 12


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_as_printed(name: str, tmp_path: Path) -> None:
    """Each example ends without an error or a warning."""
    with free_port() as port:
        # The printed port may be in use on this machine.
        program = EXAMPLES[name].replace("8000", str(port))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN, program],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
