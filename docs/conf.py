"""The documentation site: Sphinx reads the Markdown pages of `docs/` and the docstrings. `make docs` builds it."""

import shutil
from importlib.metadata import version as installed
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

ROOT = Path(__file__).parents[1]
EXAMPLES = Path("reports/examples")

project, author, copyright = "evalbench", "the authors of evalbench", "the authors of evalbench, Apache-2.0"
version = release = installed("evalbench-dl")

# The source folder is the repository, so that every relative link of a page is checked, also one out of `docs/`.
root_doc = "docs/index"
include_patterns = ["docs/*.md", "benchmarks/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "conf", "dist", "outputs", "reports", "src", "tests"]
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # CHANGELOG.md and the tables of `benchmarks/` may skip a level

default_role = "code"  # docstrings write `names` as Markdown does
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
python_use_unqualified_type_names = True
nitpicky = True
nitpick_ignore_regex = [  # other projects' classes (nothing is fetched for their links), and what is not on a page
    ("py:.*", r"(?!evalbench).*"),
    ("py:.*", r"evalbench\.(?!evaluate|judge|compare|load_weights|Report|Evaluation|Comparison).*"),
]

html_theme = "furo"
html_title = "evalbench"
html_css_files, html_static_path = ["site.css"], ["static"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


def read_sections(_app: Sphinx, what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Read `Args:`, `Returns:` and `Raises:`; in the docstring of an attribute a colon is a colon."""
    if what not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, Config(napoleon_use_rtype=False)).lines()


def show_reports(_: Sphinx, page: nodes.document) -> None:
    """Lead a link to the Markdown of an example report to its web page, which `copy_reports` puts into the site."""
    for node in list(page.findall(pending_xref)):
        report = ROOT / f"{node['reftarget']}.html"
        if node.get("refdomain") == "doc" and ROOT / EXAMPLES in report.parents and report.is_file():
            address = f"../{report.relative_to(ROOT).as_posix()}"  # seen from `docs/`
            node.replace_self(nodes.reference("", "", *node.children, refuri=address, internal=True))


def copy_reports(app: Sphinx, error: Exception | None) -> None:
    """Put the example reports into the site, and a file at its root that leads to the first page."""
    if error is None and app.builder.format == "html":
        shutil.copytree(ROOT / EXAMPLES, Path(app.outdir) / EXAMPLES, dirs_exist_ok=True)
        start = f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        (Path(app.outdir) / "index.html").write_text(start, encoding="utf-8")


def list_external_links(app: Sphinx, error: Exception | None) -> None:
    """Write `external-links.txt`, for a person or a link checker with a network: nothing is fetched here."""
    if error is None:
        pages = [app.env.get_doctree(name) for name in sorted(app.env.found_docs)]
        links = {node["refuri"] for page in pages for node in page.findall(nodes.reference) if "refuri" in node}
        lines = sorted(link for link in links if "://" in link)
        (Path(app.outdir) / "external-links.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register the steps above."""
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("doctree-read", show_reports)
    app.connect("build-finished", copy_reports)
    app.connect("build-finished", list_external_links)
