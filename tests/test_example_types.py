"""The examples of the documentation pass ``mypy --strict``, as a user checks a copy of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests import test_docstring_examples, test_readme

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("mypy") is None, reason="mypy is not installed; `nox -s typing` runs this test"
    ),
]

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


def test_each_example_passes_mypy(tmp_path: Path) -> None:
    """A user who copies an example into a project with strict types gets no error."""
    written = programs()
    examples = len(test_readme.EXAMPLES) + len(test_docstring_examples.EXAMPLES)
    assert len(written) == examples
    for name, program in written.items():
        (tmp_path / name).write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-color-output", *written],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(test_readme.ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == f"Success: no issues found in {examples} source files\n"
