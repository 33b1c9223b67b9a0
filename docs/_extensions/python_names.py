"""Links for the names in docstrings and signatures.

`Runner` in a docstring means the class of the same public module, or else `currant.Runner`.  A
signature may name the private module of a public class.  Sphinx alone looks for neither.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PUBLIC_MODULES = (
    "currant",
    *(f"currant.{name}" for name in ("sinks", "ready", "hosts", "blocking", "stack", "config")),
    *(f"currant.{name}" for name in ("pytest_plugin", "testing", "view")),
)
"""Modules whose names the reference lists, in the order in which they are searched."""

MADE_BY_CURRANT = {
    "currant.Job",
    "currant.Map",
    "currant.blocking.Job",
    "currant.pytest_plugin.Processes",
    "currant.stack.Attachment",
}
"""Classes whose arguments are private."""

HIDDEN_COLON = "\ue000"

LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform, and connect the functions below; Sphinx calls this."""
    app.add_post_transform(FullNames)
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("autodoc-process-docstring", hide_colon, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", finish_docstring, priority=600)
    app.connect("doctree-read", word_fields)
    app.connect("env-check-consistency", warn_of_missing_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class FullNames(SphinxPostTransform):
    """Give each reference to a Python name its full name, before Sphinx looks for it."""

    default_priority = 5  # before the references are resolved, at 10

    def run(self, **_: object) -> None:
        """Change the references of one page."""
        described = self.env.domains.python_domain.objects
        for node in self.document.findall(addnodes.pending_xref):
            if node.get("refdomain") != "py":
                continue
            module, owner = node.get("py:module") or "currant", node.get("py:class")
            names = full_names(node["reftarget"], module, owner)
            found = next((name for name in names if name in described), None)
            # Without this, Sphinx takes any name that ends in the same word.
            node.attributes.pop("refspecific", None)
            if found is not None:
                node["reftarget"] = found
                node["py:module"] = node["py:class"] = None


def full_names(target: str, module: str, owner: str | None) -> Iterator[str]:
    """Yield the names that a name may mean in a docstring or a signature, the likeliest first.

    A word in lower case means a member of the class or a function of the module, but never a
    function of another module: it is rather an argument.

    Args:
        target: the name, such as ``Runner.start`` or ``currant._values.exit.Exit``.
        module: the public module of the docstring.
        owner: the class of the docstring, if any.
    """
    target = target.removesuffix("()")
    yield target
    if target.startswith("currant."):
        public = [part for part in target.split(".") if not part.startswith("_")]
        yield ".".join(public)
        target = next((target[i:] for i in capitals(target)), public[-1])
    if owner is not None:
        yield f"{module}.{owner}.{target}"
    yield f"{module}.{target}"
    head, _, member = target.partition(".")
    if head[:1].isupper() or (member and f"currant.{head}" in PUBLIC_MODULES):
        yield from (f"{other}.{target}" for other in PUBLIC_MODULES)
        yield target


def capitals(dotted: str) -> list[int]:
    """Return the places of the parts of a dotted name that begin with a capital letter."""
    return [match.start() for match in re.finditer(r"(?<=\.)[A-Z]", dotted)]


def hide_colon(
    _app: Sphinx, kind: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking the words before a colon for the type of a property."""
    if kind in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(": ", HIDDEN_COLON)


def finish_docstring(
    _app: Sphinx, _kind: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Show colons again, and the word before what cancellation does in bold."""
    lines[:] = [
        re.sub(r"^(\s*)(Cancellation:) ", r"\1**\2** ", line.replace(HIDDEN_COLON, ": "))
        for line in lines
    ]


def hide_constructor(
    _app: Sphinx, _kind: str, name: str, _value: object, _options: object, *_signature: object
) -> tuple[None, None] | None:
    """Show no arguments of a class whose objects currant makes."""
    return (None, None) if name in MADE_BY_CURRANT else None


def word_fields(_app: Sphinx, document: nodes.document) -> None:
    """Put a dash behind the name of an argument; name the attributes of a class so."""
    for text in list(document.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))
        elif text == "Variables" and isinstance(text.parent, nodes.field_name):
            text.parent.replace(text, nodes.Text("Attributes"))


def warn_of_missing_names(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that no page of the reference describes."""
    described = env.domains.python_domain.objects
    for module in PUBLIC_MODULES:
        for name in import_module(module).__all__:
            if f"{module}.{name}" not in described:
                LOGGER.warning("no page of the reference describes %s.%s", module, name)
