"""`report.html`: the report as one file, for people without a viewer of markdown."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

LARGEST_INLINE = 400_000  # bytes of a CSV that travels inside the page

STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --page: #ffffff; --line: #d0d7de; --soft: #f6f8fa; --link: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0d1117; --line: #3d444d; --soft: #161b22; --link: #58a6ff; }
}
body { color: var(--text); background: var(--page); margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 0.75rem; }
h1 { margin-top: 0.5rem; } h2 { border-bottom: 1px solid var(--line); padding-bottom: 0.3rem; }
a { color: var(--link); }
code { background: var(--soft); border-radius: 4px; padding: 0.1em 0.35em; font-size: 0.88em; }
pre { background: var(--soft); border-radius: 6px; overflow-x: auto; padding: 0.8rem 1rem; } pre code { padding: 0; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.78rem; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: 0.35rem 0.4rem; white-space: nowrap; }
td[style="text-align:left"], td:not([style]), th { white-space: normal; }
th { background: var(--soft); text-align: left; vertical-align: bottom; }
summary > h2 { display: inline; border: 0; }
p > img { display: block; margin: 1rem 0 0.25rem; }
img { background: #ffffff; border-radius: 6px; max-width: 100%; height: auto; }
@media print {
  body { max-width: none; font-size: 10pt; } h2, h3 { break-after: avoid; } img, table { break-inside: avoid; }
}
"""


OWN = re.compile(r"(?:figures|numbers)/\w+\.(?:png|csv)|[\w-][\w.-]*/report\.md")
"""The files that a page may lead to: its figures and numbers, and reports in folders of its own."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser may do with the page: run nothing, and load nothing that is not in it."""


class _Markdown(MarkdownIt):
    """Markdown without HTML, whose links and images lead to the report's own files and nowhere else."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False})
        self.enable("table")

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return OWN.fullmatch(url) is not None


def fragment(markdown: str) -> str:
    """Return Markdown as HTML without a head, to be part of another page."""
    return str(_Markdown().render(markdown))


@dataclass(frozen=True)
class Folded:
    """A part of a page that a reader unfolds."""

    title: str
    markdown: str
    opened: bool = False


def page(first: str, folder: Path, chapters: Sequence[Folded] = ()) -> str:
    """Return Markdown, and chapters that fold below it, as one file with the figures and numbers in `folder`."""
    tokens = _Markdown().parse(first)
    title = next((_words(token) for token in tokens if token.type == "inline"), "report")
    body = _body(first, folder) + "".join(_fold(chapter, folder) for chapter in chapters)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _fold(chapter: Folded, folder: Path) -> str:
    opened = " open" if chapter.opened else ""
    summary = f"<summary><h2>{html.escape(chapter.title)}</h2></summary>"
    return f"<details{opened}>{summary}\n{_body(chapter.markdown, folder)}</details>\n"


def _body(markdown: str, folder: Path) -> str:
    body = fragment(markdown)
    # In what is rendered a quote is one of an attribute's: in text it is written as &quot;.
    body = re.sub(r'src="(figures/\w+\.png)"', lambda match: f'src="{_data(folder / match[1], "image/png")}"', body)
    body = re.sub(r'<a href="((?:figures|numbers)/(\w+\.csv))">', lambda match: _link(folder, match), body)
    body = re.sub(r'<a href="([\w.-]+/report)\.md">', r'<a href="\1.html">', body)
    return body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _words(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def _link(folder: Path, match: re.Match[str]) -> str:
    path = folder / match[1]
    if path.is_file() and path.stat().st_size <= LARGEST_INLINE:
        return f'<a download="{match[2]}" href="{_data(path, "text/csv")}">'
    return match[0]  # too large to travel: the link works beside the folder


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
