"""Take a recipe from the documentation, to call its functions as a reader of the page does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.test_readme import EXAMPLES, ROOT

__all__ = ["PAGE", "recipe"]

PAGE = ROOT / "docs" / "recipes.md"


def recipe(heading: str) -> Any:
    """Return the names that the program below a heading of docs/recipes.md defines.

    The program is compiled under the name of the page, so a traceback shows a line of the page.
    """
    line = PAGE.read_text().splitlines().index(f"## {heading}")
    example = next(each for each in EXAMPLES if each.page == PAGE and each.line > line)
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(example.on_a_loop(8000, end=""), PAGE, "exec"), names)
    return SimpleNamespace(**names)
