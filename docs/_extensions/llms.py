"""`llms.txt` and `llms-full.txt`, for those who read the site by machine.

Each page is also written as Markdown beside its HTML: `running.md` beside `running.html`.  Pages
that are made of docstrings have no Markdown: `llms.txt` leads to their HTML, and `llms-full.txt`
has them as plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from markdown_pages import Site, is_generated, markdown_of
from sphinx import addnodes
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.writers.text import TextTranslator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

FIRST_SENTENCE = re.compile(r".*?[.?!](?=\s|$)", re.DOTALL)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the function below; Sphinx calls this."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the files, after a build of HTML."""
    if error is not None or not isinstance(app.builder, StandaloneHTMLBuilder):
        return
    out, env = Path(app.outdir), app.env
    site = Site(Path(app.srcdir), out)
    parts = [f"# {app.config.project}\n\n> {summary(env, env.config.root_doc)}\n"]
    texts = [write_page(app, site, env.config.root_doc)]
    for caption, names in sections(env):
        rows = [
            f"- [{title(env, name)}]({site.file_of(name)}): {summary(env, name)}" for name in names
        ]
        parts.append(f"## {caption}\n\n" + "\n".join(rows) + "\n")
        texts += [write_page(app, site, name) for name in names]
    (out / "llms.txt").write_text("\n".join(parts))
    (out / "llms-full.txt").write_text("\n\n".join(texts))


def sections(env: BuildEnvironment) -> Iterator[tuple[str, list[str]]]:
    """Yield the captions of the table of contents, each with all its pages."""
    for toctree in env.get_doctree(env.config.root_doc).findall(addnodes.toctree):
        names = [name for entry in toctree["includefiles"] for name in with_children(env, entry)]
        if names:
            yield toctree["caption"], names


def with_children(env: BuildEnvironment, name: str) -> list[str]:
    """Return a page and all pages below it."""
    children = env.toctree_includes.get(name, [])
    return [name, *(page for child in children for page in with_children(env, child))]


def title(env: BuildEnvironment, name: str) -> str:
    """Return the title of a page."""
    return env.titles[name].astext()


def summary(env: BuildEnvironment, name: str) -> str:
    """Return the first whole sentence of a page; a line that leads to an example is not one."""
    for paragraph in env.get_doctree(name).findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section):
            continue
        if sentence := FIRST_SENTENCE.match(" ".join(paragraph.astext().split())):
            return sentence[0]
    return title(env, name)


def write_page(app: Sphinx, site: Site, name: str) -> str:
    """Write a page as Markdown, if it is in its source, and return its text."""
    if is_generated(site.source(name).read_text()):
        document = app.env.get_and_resolve_doctree(name, app.builder)
        translator = TextTranslator(document, app.builder)  # type: ignore[arg-type]
        document.walkabout(translator)
        return f"# {title(app.env, name)}\n\n```text\n{translator.body.rstrip()}\n```\n"
    text = markdown_of(site, name)
    (site.out / f"{name}.md").write_text(text)
    return text
