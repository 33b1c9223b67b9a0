"""Pictures in place of the blocks of Mermaid, which GitHub draws by itself.

`docs/draw_diagrams.py` draws the pictures.  Each has the digest of its block in its name, so that
the build fails if a block has changed and its picture has not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diagram_names import picture_name
from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform; Sphinx calls this."""
    app.add_transform(DrawnDiagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class DrawnDiagrams(SphinxTransform):
    """Replace each block of Mermaid by its picture."""

    default_priority = 100

    def apply(self) -> None:
        """Replace the blocks of one page."""
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") != "mermaid":
                continue
            name = picture_name(self.env.current_document.docname, block.astext())
            if not Path(self.env.srcdir, "diagrams", name).exists():
                LOGGER.warning(
                    "a diagram has changed: run 'nox -s diagrams' to draw it", location=block
                )
                continue
            heading = block.parent.next_node(nodes.title)
            alt = f"Diagram: {heading.astext()}" if heading is not None else "Diagram"
            image = nodes.image(uri=f"/diagrams/{name}", alt=alt)
            block.replace_self(nodes.container("", image, classes=["diagram"]))
