"""All examples pass ``mypy --strict``, as a user checks a copy of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests import test_docstring_examples, test_readme

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Mypy: TypeAlias = Callable[..., str]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("mypy") is None, reason="mypy is not installed; `nox -s typing` runs this test"
    ),
]

EXAMPLES = test_readme.ROOT / "examples"
FOLDERS = sorted(folder.name for folder in EXAMPLES.iterdir())

IN_COROUTINE = re.compile(r"^(\w+ = )?(await|async (with|for)) ", re.MULTILINE)
"""A statement at the top level that is for a coroutine."""


def programs() -> dict[str, str]:
    """Return all examples by the names of files for them."""
    pages = {
        f"{example.page.stem.lower()}_{example.line}.py": in_coroutine(example.at(8000))
        for example in test_readme.EXAMPLES
    }
    docstrings = {
        f"doc_{re.sub(r'[^a-z]+', '_', name.lower())}.py": in_coroutine(example)
        for name, example in test_docstring_examples.EXAMPLES.items()
    }
    return pages | docstrings


def in_coroutine(example: str) -> str:
    """Return `example` in a coroutine function, if it needs one."""
    if not IN_COROUTINE.search(example):
        return example
    return "async def main() -> None:\n" + textwrap.indent(example, "    ")


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    """A function that runs mypy in a folder, and returns its output; all runs share a cache."""
    cache = tmp_path_factory.mktemp("mypy")
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--no-color-output"]

    def run(folder: Path, *files: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, *files],
            cwd=folder,
            env=os.environ | {"MYPYPATH": str(test_readme.ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.stdout

    return run


def test_each_example_passes_mypy(tmp_path: Path, mypy: Mypy) -> None:
    """A user who copies an example into a project with strict types gets no error."""
    written = programs()
    examples = len(test_readme.EXAMPLES) + len(test_docstring_examples.EXAMPLES)
    assert len(written) == examples
    for name, program in written.items():
        (tmp_path / name).write_text(program)
    shown = mypy(tmp_path, *written)
    assert shown == f"Success: no issues found in {examples} source files\n"


@pytest.mark.parametrize("name", FOLDERS)
def test_each_folder_of_examples_passes_mypy(name: str, mypy: Mypy) -> None:
    """A user who copies a folder of examples gets no error either."""
    assert mypy(EXAMPLES / name, ".").startswith("Success: no issues found in ")
