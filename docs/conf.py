"""The settings of Sphinx for this site; `nox -s docs` builds it, and a warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("_extensions")))

project = "currant"
version = release = version_of("currant")
copyright = "the currant contributors"  # noqa: A001 - Sphinx reads this name

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    # of this site, in _extensions
    "click_reference",
    "diagrams",
    "llms",
    "outside_links",
    "python_names",
    "type_names",
]
exclude_patterns = ["_*"]
templates_path = ["_templates"]
smartquotes = False  # `--name` is an option, and stays one

# ---- prose ----

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

# ---- docstrings ----

default_role = "py:obj"
"""A name in single backquotes is a link if this site describes the name, and plain text if not."""

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # an entry of the class, not a description of each attribute
python_maximum_signature_line_length = 80

# ---- pages ----

html_theme = "furo"
html_title = "currant"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["currant.css"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_theme_options = {"navigation_with_keys": True}
html_sidebars = {
    "**": [
        *(f"sidebar/{name}.html" for name in ("brand", "search", "scroll-start", "navigation")),
        *(f"sidebar/{name}.html" for name in ("text", "scroll-end")),
    ]
}
html_show_sphinx = False
