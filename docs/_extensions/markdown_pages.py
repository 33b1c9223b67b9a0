"""The pages of the site as Markdown that can be read alone: files included, and links that work.

A page in `docs` is Markdown for MyST: it may include other files, and its links start from the
repository.  Here each included file is in the text, and each link leads to a file of the site.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from outside_links import PAGES

if TYPE_CHECKING:
    from pathlib import Path

FENCED = re.compile(r"^(?P<fence>```+)(?P<info>.*)\n(?P<body>(?:.*\n)*?)(?P=fence)$", re.MULTILINE)
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^(?=#+ )", re.MULTILINE)
OPTION = re.compile(r"^:(?P<name>[\w-]+): *(?P<value>.*)$", re.MULTILINE)
GENERATED = re.compile(r"^```\{(?!include\}|literalinclude\}|toctree\})", re.MULTILINE)
"""A directive whose text is in docstrings, and not on the page."""

LANGUAGES = {".py": "python", ".sql": "sql", ".toml": "toml", ".yml": "yaml"}


class Site(NamedTuple):
    """Where the pages are.

    Attributes:
        docs: the folder of their sources, in the repository.
        out: the folder of the built site.
    """

    docs: Path
    out: Path

    def source(self, name: str) -> Path:
        """Return the source of a page."""
        return self.docs / f"{name}.md"

    def file_of(self, name: str) -> str:
        """Return the file of a page: Markdown, or HTML if most of its text is not in its source."""
        suffix = ".html" if is_generated(self.source(name).read_text()) else ".md"
        return name + suffix


def is_generated(source: str) -> bool:
    """Return whether most of a page is not in its source."""
    return GENERATED.search(source) is not None


def markdown_of(site: Site, name: str) -> str:
    """Return a page as Markdown."""
    path = site.source(name)
    return converted(site, name, path.read_text(), path.parent)


def converted(site: Site, name: str, text: str, folder: Path, deeper: int = 0) -> str:
    """Return the text of a page, or of a file on it, whose links start from `folder`.

    Each heading becomes `deeper` levels deeper.
    """

    def prose(part: str) -> str:
        return HEADING.sub("#" * deeper, with_links(site, name, part, folder))

    parts: list[str] = []
    position = 0
    for block in FENCED.finditer(text):
        parts.append(prose(text[position : block.start()]))
        parts.append(block_as_markdown(site, name, block, folder))
        position = block.end()
    return "".join([*parts, prose(text[position:])])


def block_as_markdown(site: Site, name: str, block: re.Match[str], folder: Path) -> str:
    """Return a block between fences, with the file that it includes."""
    directive, _, argument = block["info"].partition(" ")
    options = {option["name"]: option["value"] for option in OPTION.finditer(block["body"])}
    match directive:
        case "{toctree}":
            return ""
        case "{include}":
            path = (folder / argument).resolve()
            deeper = int(options.get("heading-offset", 0))
            return converted(site, name, path.read_text(), path.parent, deeper)
        case "{literalinclude}":
            path = (folder / argument).resolve()
            language = options.get("language", LANGUAGES.get(path.suffix, ""))
            return f"`{options.get('caption', path.name)}`:\n\n```{language}\n{path.read_text()}```"
        case _:
            return block[0]


def with_links(site: Site, name: str, text: str, folder: Path) -> str:
    """Return prose of a page with links that start from the page in the site."""

    def link(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or "://" in target:
            return match[0]
        file, default = file_in_site(site, (folder / target).resolve())
        if file is None:
            return match["text"]
        address = posixpath.relpath(file, posixpath.dirname(name))
        fragment = anchor or default
        address += f"#{fragment}" if fragment else ""
        return f"{match['image']}[{match['text']}]({address})"

    return LINK.sub(link, text)


def file_in_site(site: Site, path: Path) -> tuple[str | None, str]:
    """Return the file of the site, and the anchor in it, for a path in the repository."""
    root = site.docs.parent
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    page, _, anchor = PAGES.get(str(inside), "").partition("#")
    if not page and path.is_relative_to(site.docs) and path.suffix == ".md":
        page = str(path.relative_to(site.docs).with_suffix(""))
    if page:
        return site.file_of(page), anchor
    image = f"_images/{path.name}"
    return (image, "") if (site.out / image).exists() else (None, "")
