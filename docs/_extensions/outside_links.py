"""Links between the pages and files outside of `docs`.

The pages are also read in the repository, where a link to `../CONTRIBUTING.md` leads to that file.
This site has a page for each of these files, which includes the file.  The links in the file start
from the folder of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

PAGES = {
    "README.md": "index",
    "CHANGELOG.md": "project/changelog",
    "CONTRIBUTING.md": "project/contributing",
    "benchmarks/README.md": "project/benchmarks",
    "examples/agent": "project/examples#an-agent-that-runs-commands",
    "examples/batch": "project/examples#a-batch-over-hosts",
    "examples/fastapi": "project/examples#a-web-app-with-a-worker-and-a-database",
    "examples/frontend": "project/examples#a-development-stack-with-a-front-end",
    "examples/stack": "project/examples#a-stack-in-one-program",
    "examples/test_suite": "project/examples#a-test-suite-with-servers",
}
"""The page, and the anchor on it, for each path in the repository."""

FOLDERS = {
    "project/benchmarks": "benchmarks",
    "project/changelog": "",
    "project/contributing": "",
}
"""The folder in the repository from which the links of a page start."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the function below; Sphinx calls this."""
    app.connect("doctree-read", redirect_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def redirect_links(app: Sphinx, document: nodes.document) -> None:
    """Let each link to a file outside of `docs` lead to its page, or be plain text without one."""
    docs, page = Path(app.srcdir), app.env.current_document.docname
    root = docs.parent
    included = page in FOLDERS
    folder = root / FOLDERS[page] if included else (docs / page).parent
    for node in list(document.findall(addnodes.pending_xref)):
        if node["reftype"] != "myst" or node["reftarget"].startswith("#"):
            continue
        if node["refdomain"] == "doc":  # a file that exists, without its suffix
            path = docs / f"{node['reftarget']}.md"
            anchor = node["reftargetid"]
        else:
            link, _, anchor = node["reftarget"].partition("#")
            path = folder / link
        path = path.resolve()
        target = PAGES.get(str(path.relative_to(root)))
        if target is None and included and path.is_relative_to(docs):
            target = str(path.relative_to(docs).with_suffix(""))
        if target is not None:
            name, _, default = target.partition("#")
            node["refdomain"] = "doc"
            node["reftarget"] = name
            node["reftargetid"] = anchor or default or None
        elif included and path.exists():
            node.replace_self(node.children)
