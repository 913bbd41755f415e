"""How the pages become a site: English from `docs/`, Chinese from `docs/zh/`; `python docs/build.py` makes both.

Comes in: Markdown that also reads well where no site is built. Goes out: pages without anything from other hosts. Always holds:
what is broken is an error, since the build treats each warning as one.
"""

import re
from typing import TYPE_CHECKING, Any

from tokenmill import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "tokenmill"
release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["site", "zh"]
html_theme = "furo"
html_title = "tokenmill"
html_static_path = ["_static"]
html_css_files = ["tokenmill.css"]
html_js_files = ["copy.js"]
templates_path = ["_templates"]
html_show_sphinx = False
html_copy_source = False
html_last_updated_fmt = None
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
myst_links_external_new_tab = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
nitpicky = True
smartquotes = False  # they would make one dash of an option's two
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f766e", "color-brand-content": "#0f766e"},
    "dark_css_variables": {"color-brand-primary": "#5eead4", "color-brand-content": "#5eead4"},
}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}

#: ```toml title="nightly.toml": how a block says whose text it is.
TITLED = re.compile(r'^```(\w+)[^\S\n]+title="([^"]+)"[^\n]*\n', re.MULTILINE)


def setup(app: "Sphinx") -> None:
    """Show a block's file name above it."""
    app.connect("source-read", _captions)
    app.connect("html-page-context", _counterpart)


def _captions(app: "Sphinx", name: str, text: list[str]) -> None:  # noqa: ARG001  # as Sphinx calls it
    text[0] = TITLED.sub(r"```{code-block} \1\n:caption: \2\n\n", text[0])


def _counterpart(app: "Sphinx", name: str, template: str, context: dict[str, Any], tree: object) -> None:  # noqa: ARG001
    """The same page in the other language, or that language's first page."""
    chinese = app.config.language.startswith("zh")
    other = app.srcdir.parent if chinese else app.srcdir / "zh"
    page = name if (other / f"{name}.md").exists() else "index"
    up = "../" * name.count("/")
    context["other_language"] = ("English", f"{up}../{page}.html") if chinese else ("中文", f"{up}zh/{page}.html")
