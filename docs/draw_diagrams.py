"""Draw the blocks of Mermaid on the pages for the site: nox -s diagrams.

Takes the file mermaid.min.js of the npm package mermaid, and needs Chromium.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_extensions"))

from diagram_names import picture_name  # noqa: E402 - of this folder

BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PAGE = """<!DOCTYPE html><meta charset="utf-8"><body>
<script src="{mermaid}"></script>
<script>
mermaid.initialize({{
    startOnLoad: false, theme: "neutral", htmlLabels: false, fontFamily: "sans-serif",
    themeVariables: {{fontSize: "13px", noteBkgColor: "#ffffff", noteTextColor: "#333333"}},
    flowchart: {{useMaxWidth: false, rankSpacing: 35, nodeSpacing: 16, wrappingWidth: 150,
        padding: 8}},
    sequence: {{useMaxWidth: false, width: 110, actorMargin: 20, wrap: true, mirrorActors: false,
        messageFontSize: 13, noteFontSize: 13, actorFontSize: 13}},
}});
mermaid.render("diagram", {block}).then(({{svg}}) => {{
    const drawn = new DOMParser().parseFromString(svg, "text/html").body.firstElementChild;
    const text = new XMLSerializer().serializeToString(drawn);
    const result = document.createElement("pre");
    result.id = "result";
    result.textContent = text;
    document.body.append(result);
}});
</script>
"""

RESULT = re.compile(r'<pre id="result">(.*?)</pre>', re.DOTALL)


def main() -> None:
    """Draw all blocks, and remove the pictures of blocks that are gone."""
    mermaid = Path(sys.argv[1]).absolute()
    folder = DOCS / "diagrams"
    folder.mkdir(exist_ok=True)
    wanted = set[Path]()
    for page in sorted(DOCS.rglob("*.md")):
        name = str(page.relative_to(DOCS).with_suffix(""))
        for block in BLOCK.findall(page.read_text()):
            picture = folder / picture_name(name, block)
            wanted.add(picture)
            picture.write_text(draw(block, mermaid))
    for picture in set(folder.glob("*.svg")) - wanted:
        picture.unlink()


def draw(block: str, mermaid: Path) -> str:
    """Return the SVG of a block."""
    with TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(PAGE.format(mermaid=mermaid.as_uri(), block=json.dumps(block)))
        shown = subprocess.check_output(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
                *("--virtual-time-budget=20000", f"--user-data-dir={folder}/profile"),
                page.as_uri(),
            ],
            text=True,
            stderr=subprocess.DEVNULL,
        )
    found = RESULT.search(shown)
    if found is None:
        sys.exit(f"Mermaid cannot draw this block:\n{block}")
    return html.unescape(found[1]) + "\n"


if __name__ == "__main__":
    main()
