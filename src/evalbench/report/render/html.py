"""`report.html`: the report as one file, for a browser, a phone and a printer."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from evalbench.report.render import library
from evalbench.report.render.glossary import GLOSSARY
from evalbench.report.render.markup import OWN, Body, entries, fragment, slug, title_of
from evalbench.report.render.plots import Plot, compact

__all__ = ["OWN", "Folded", "Interactive", "fragment", "page", "policy"]
LARGEST_INLINE, MOST_INLINE = 100_000, 200_000  # bytes of a CSV that travels inside the page, and of all of them
GLOSSARY_TITLE = "Glossary"
SCRIPTS = ("page.js", "charts.js", "tables.js")
NO_LIBRARY = "The figures are pictures, because {} is missing beside this page: `evalbench report` writes it."


@dataclass(frozen=True)
class Folded:
    """A part of a page that a reader unfolds."""

    title: str
    markdown: str
    opened: bool = False


@dataclass(frozen=True)
class Interactive:
    """What the figures of a page need beside its text.

    plots: by the name of the picture that each replaces.
    shared: what all of them share: techniques with their looks, workloads, trials.
    rows: the table of trials, as HTML; empty if there is none.
    standalone: the library is inside the page, not beside it.
    """

    plots: Mapping[str, Plot] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    rows: str = ""
    standalone: bool = False


PLAIN = Interactive()
"""Of a page whose figures are pictures."""


def policy(nonce: str) -> str:
    """Return what a browser may do with the page: run our scripts, and load nothing that is not in it or beside it.

    A page on disk has no origin that a source could name, so its scripts, also the library beside it, are told by a
    nonce. It is a hash of the page: text within the page cannot know it.
    """
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
        " form-action 'none'"
    )


def page(first: str, folder: Path, chapters: Sequence[Folded] = (), interactive: Interactive = PLAIN) -> str:
    """Return Markdown, and chapters that fold below it, as one file with the figures and numbers in `folder`.

    Figures with a plot need the library: it is written to its place, see `library.address`, or into the page.
    """
    body, files_of = Body(GLOSSARY), _Files(folder, interactive.plots)
    start = files_of.inlined(body.render(first))
    parts = [(chapter, body.name(chapter.title)) for chapter in chapters if chapter.title != GLOSSARY_TITLE]
    folds = [_fold(name, one.title, files_of.inlined(body.render(one.markdown, 1)), one.opened) for one, name in parts]
    contents = [(one.title, name) for one, name in parts]
    if interactive.rows:
        folds.append(_fold("trials", "Every trial", interactive.rows, printed=False))
        contents.append(("Every trial", "trials"))
    used = {term: text for term, text in GLOSSARY.items() if body.used[term]}
    if used:
        folds.append(_fold("glossary", GLOSSARY_TITLE, entries(used)))
        contents.append((GLOSSARY_TITLE, "glossary"))
    shown = f'{_side(contents)}<main>\n<section class="first">\n{start}</section>\n{"".join(folds)}</main>'
    return _document(title_of(first), shown, folder, interactive)


def _document(title: str, shown: str, folder: Path, interactive: Interactive) -> str:
    data = _json({**compact(interactive.plots), **interactive.shared}) if interactive.plots else ""
    nonce = hashlib.sha256((shown + data).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    scripts, note = [], ""
    if interactive.plots:
        scripts.append(f'<script nonce="{nonce}" type="application/json" id="page-data">{data}</script>')
        note = f'<p class="note script" hidden>{fragment(NO_LIBRARY.format(library.name()))[3:-5]}</p>\n'
        scripts.append(_library(nonce, folder, interactive.standalone))
    scripts += [f'<script nonce="{nonce}">\n{_asset(name)}</script>' for name in SCRIPTS]
    newline = "\n"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy(nonce)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<div class="sheet">
{note}{shown}
</div>
{newline.join(scripts)}
</body>
</html>
"""


def _library(nonce: str, folder: Path, standalone: bool) -> str:
    if standalone:
        return f'<script nonce="{nonce}">{library.source().decode("utf-8")}</script>'
    return f'<script nonce="{nonce}" src="{library.provide(folder)}" defer></script>'


@cache
def _asset(name: str) -> str:
    return files("evalbench.report.render").joinpath(name).read_text(encoding="utf-8")


def _json(values: Any) -> str:
    """Return values as JSON in which nothing can end or begin an element of the page."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _side(contents: Sequence[tuple[str, str]]) -> str:
    if not contents:
        return '<aside class="side"></aside>\n'
    links = "".join(f'<li><a href="#{name}">{html.escape(title)}</a></li>' for title, name in contents)
    lists = f'<details class="contents" open><summary>Contents</summary><nav><ul>{links}</ul></nav></details>'
    return f'<aside class="side">{lists}<div class="legend" hidden></div></aside>\n'


def _fold(name: str, title: str, content: str, opened: bool = False, printed: bool = True) -> str:
    opening = f'<details class="chapter{"" if printed else " unprinted"}" id="{name}"{" open" if opened else ""}>'
    return f"{opening}<summary><h2>{html.escape(title)}</h2></summary>\n{content}</details>\n"


class _Files:
    """The files of a report, which its page has inside, as far as they are small."""

    def __init__(self, folder: Path, plots: Mapping[str, Plot]) -> None:
        self.folder, self.plots, self.left = folder, plots, MOST_INLINE
        self.inside: set[str] = set()  # tables that the page has already: another link to one leads to the first

    def inlined(self, body: str) -> str:
        """Return HTML with the files inside it, and with marks on figures that have a plot."""
        # In what is rendered a quote is one of an attribute's: in text it is written as &quot;.
        body = re.sub(r'<p>(<img src="figures/(\w+)\.png"[^>]*>)</p>', self._figure, body)
        body = re.sub(r'src="(figures/\w+\.png)"', lambda m: f'src="{_data(self.folder / m[1], "image/png")}"', body)
        body = re.sub(r'<a href="((?:figures|numbers)/(\w+\.csv))">', self._link, body)
        return re.sub(r'<a href="([\w.-]+/report)\.md">', r'<a href="\1.html">', body)

    def _figure(self, match: re.Match[str]) -> str:
        plot = f' data-plot="{match[2]}"' if match[2] in self.plots else ""
        return f'<figure id="figure-{slug(match[2])}"{plot}>{match[1]}</figure>'

    def _link(self, match: re.Match[str]) -> str:
        name, path = f"file-{slug(match[1])}", self.folder / match[1]
        if name in self.inside:
            return f'<a href="#{name}">'
        size = path.stat().st_size if path.is_file() else LARGEST_INLINE + 1
        if size > min(LARGEST_INLINE, self.left):
            return match[0]  # too large to travel: the link works beside the folder
        self.left -= size
        self.inside.add(name)
        return f'<a id="{name}" download="{match[2]}" href="{_data(path, "text/csv")}">'


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
