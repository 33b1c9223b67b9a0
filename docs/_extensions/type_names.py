"""The directive `type-names`: what the names in signatures stand for that no program imports."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING

from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from docutils import nodes
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive; Sphinx calls this."""
    app.add_directive("type-names", TypeNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class TypeNames(SphinxDirective):
    """Describe each name of the content, a line each: ``MODULE NAME``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the descriptions, in the order of the content."""
        lines = [line for entry in self.content for line in description(*entry.split())]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]))


def description(module_name: str, name: str) -> Iterator[str]:
    """Yield a description in reStructuredText, with the value of an alias."""
    module = import_module(module_name)
    value, text = alias(module, name)
    yield f".. py:type:: {name}"
    if value is not None:
        yield f"   :canonical: {value}"
    yield ""
    yield from (f"   {line}" for line in text.splitlines())
    yield ""


def alias(module: ModuleType, name: str) -> tuple[str | None, str]:
    """Return the value of a type alias and its docstring; of a class, its first paragraph alone.

    Raises:
        LookupError: the module does not define the name.
    """
    body = ast.parse(inspect.getsource(module)).body
    for statement, following in pairwise([*body, ast.Pass()]):
        match statement:
            case ast.ClassDef(name=found) if found == name:
                paragraph, _, _ = (ast.get_docstring(statement) or "").partition("\n\n")
                return None, paragraph
            case (
                ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value)
                | ast.Assign(targets=[ast.Name(id=found)], value=value)
            ) if found == name:
                match following:
                    case ast.Expr(value=ast.Constant(value=str() as text)):
                        return written(value), inspect.cleandoc(text)
                return written(value), ""
    raise LookupError(f"{module.__name__} does not define {name}")


def written(value: ast.expr) -> str:
    """Return the value of an alias as code; some are written as strings."""
    match value:
        case ast.Constant(value=str() as text):
            return text
    return ast.unparse(value)
