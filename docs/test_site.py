"""The built site: its links, its names, its search, and that it needs no network.

`nox -s docs` builds the site and runs these tests.
"""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "docs"
PAGES = sorted(SITE.rglob("*.html"))
NO_PAGES = {"genindex", "py-modindex", "search"}
"""What Sphinx adds to the pages."""

MODULES = ["", ".blocking", ".config", ".hosts", ".pytest_plugin"]
MODULES += [".ready", ".sinks", ".stack", ".testing", ".view"]

ASSETS = {"img": "src", "link": "href", "script": "src", "source": "src", "iframe": "src"}
"""The attribute with the address of what a browser loads with a page, for each tag."""


class Content(NamedTuple):
    """The content of a page.

    Attributes:
        anchors: the ids of its elements.
        links: the targets of its links.
        assets: the addresses of what a browser loads with it.
    """

    anchors: set[str]
    links: set[str]
    assets: set[str]


class Reader(HTMLParser):
    """Collects the content of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.content = Content(set(), set(), set())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchors, links and assets of a tag."""
        values = {name: value for name, value in attrs if value is not None}
        if "id" in values:
            self.content.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.content.links.add(values["href"])
        if ASSETS.get(tag) in values and values.get("rel") != "canonical":
            self.content.assets.add(values[ASSETS[tag]])


@cache
def content_of(page: Path) -> Content:
    """Return the content of a page."""
    reader = Reader()
    reader.feed(page.read_text())
    return reader.content


def test_the_site_has_been_built() -> None:
    """The tests below look at pages."""
    assert SITE / "index.html" in PAGES


def test_each_internal_link_leads_to_a_page_and_an_anchor() -> None:
    """A link inside of the site names a file, and an element of it."""
    broken = []
    for page in PAGES:
        for link in content_of(page).links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            is_known = target.exists() and (
                not parts.fragment
                or target.suffix != ".html"
                or unquote(parts.fragment) in content_of(target).anchors
            )
            if not is_known:
                broken.append(f"{page.relative_to(SITE)}: {link}")
    assert broken == []


def test_no_page_loads_anything_from_elsewhere() -> None:
    """A reader without a network sees the site as it is."""
    addresses = {asset for page in PAGES for asset in content_of(page).assets}
    assert {address for address in addresses if urlsplit(address).netloc} == set()


def test_no_style_loads_anything_from_elsewhere() -> None:
    """The fonts and the images of the styles come with the site, or from the system."""
    styles = [path.read_text() for path in SITE.rglob("*.css")]
    assert styles
    assert [text for text in styles if "url(http" in text or "url(//" in text] == []


@pytest.mark.parametrize("module", [f"currant{name}" for name in MODULES])
def test_the_reference_has_every_public_name(module: str) -> None:
    """Other sites can link to each public name, so the reference describes it."""
    inventory = InventoryFile.loads((SITE / "objects.inv").read_bytes(), uri="")
    described = {name for kind in inventory.data.values() for name in kind}
    names = {f"{module}.{name}" for name in import_module(module).__all__}
    assert names - described == set()


def test_the_search_knows_the_pages() -> None:
    """The index of the search has the pages, without a server."""
    index = (SITE / "searchindex.js").read_text()
    names = {str(page.relative_to(SITE).with_suffix("")) for page in PAGES} - NO_PAGES
    assert [name for name in names if f'"{name}"' not in index] == []


def test_each_page_is_in_the_texts() -> None:
    """`llms.txt` lists each page, as Markdown if it has that, and `llms-full.txt` has its text."""
    listed = (SITE / "llms.txt").read_text()
    everything = (SITE / "llms-full.txt").read_text()
    for page in PAGES:
        name = str(page.relative_to(SITE).with_suffix(""))
        if name in NO_PAGES | {"index"}:
            continue
        markdown = page.with_suffix(".md")
        assert f"({name}{'.md' if markdown.exists() else '.html'}): " in listed
        if markdown.exists():
            assert markdown.read_text() in everything
    for name in ("currant.Runner.start_soon", "--kill-others-on"):  # of pages without Markdown
        assert name.rpartition(".")[2] in everything


CODE = re.compile(r"^(```+).*\n(?:.*\n)*?\1$|`[^`\n]*`", re.MULTILINE)
MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_each_link_in_markdown_leads_to_a_file() -> None:
    """A machine that reads the Markdown finds the files that it links, and no directive in it."""
    pages = [path for path in SITE.rglob("*.md") if "_sources" not in path.parts]
    assert len(pages) > 30
    broken = []
    for page in pages:
        text = CODE.sub("", page.read_text())
        for link in MARKDOWN_LINK.findall(text):
            path = urlsplit(link).path
            if not urlsplit(link).scheme and path and not (page.parent / unquote(path)).is_file():
                broken.append(f"{page.relative_to(SITE)}: {link}")
        assert not re.search(r"^```\{", page.read_text(), re.MULTILINE), page
    assert broken == []


def test_included_files_are_markdown() -> None:
    """The page of the examples has each program between fences."""
    text = (SITE / "project" / "examples.md").read_text()
    assert "`tools.py`:\n\n```python\n" in text
    assert "\n## A stack in one program\n" in text


COST = re.compile(r"^\| .+ \| ([\d.,]+)[^|]*\| ([\d.,]*).*\| `(\w+)` \|$", re.MULTILINE)
MEDIAN = re.compile(r"^\| (\w+) \| .+? \| ([\d.,]+) \([^|]+\) \| ([\d.,]+|–)", re.MULTILINE)


def test_each_cost_is_a_figure_of_the_benchmarks() -> None:
    """The page on costs shows the medians of the benchmarks, as they are in their table."""
    table = (ROOT / "benchmarks" / "README.md").read_text()
    measured = {(question, figure) for question, *pair in MEDIAN.findall(table) for figure in pair}
    costs = COST.findall((ROOT / "docs" / "speed.md").read_text())
    shown = {(question, figure) for *pair, question in costs for figure in pair if figure}
    assert len(costs) > 30
    assert shown - measured == set()
