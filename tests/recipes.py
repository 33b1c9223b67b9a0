"""Take a recipe from the documentation, to call its functions as a reader of the page does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.test_readme import EXAMPLES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PAGE", "recipe"]

PAGE = ROOT / "docs" / "recipes.md"


def recipe(heading: str, page: Path = PAGE) -> Any:
    """Return the names that the program below a heading of a page defines.

    The program is compiled under the name of the page, so a traceback shows a line of the page.
    """
    titles = [line.lstrip("# ") for line in page.read_text().splitlines()]
    line = titles.index(heading)
    example = next(each for each in EXAMPLES if each.page == page and each.line > line)
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(example.on_a_loop(8000, end=""), page, "exec"), names)
    return SimpleNamespace(**names)
