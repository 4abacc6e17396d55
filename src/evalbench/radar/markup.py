"""HTML that shows texts of others as they are, in pages that a browser lets do nothing but what we wrote."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from markdown_it import MarkdownIt

from evalbench.names import one_line


def shown(text: object) -> str:
    """Return a text on one line that HTML shows literally, with invisible characters as escapes."""
    return escape(one_line(text))


def said(markdown: str) -> str:
    """Return a line of Markdown as HTML: emphasis and code, without links, images and HTML."""
    reader = MarkdownIt("commonmark", {"html": False}).disable(["link", "image", "autolink"])
    return str(reader.renderInline(one_line(markdown)))


def link(address: str | None, text: str) -> str:
    """Return a text as a link to an address that is quoted already; the text alone if there is none."""
    return shown(text) if address is None else f'<a href="{escape(address)}">{shown(text)}</a>'


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], identifier: str = "") -> str:
    """Return a table of cells that are HTML already; with an identifier it can be sorted and filtered.

    Every cell carries the name of its column, which a phone shows in place of the head.
    """
    known = f' class="sortable cards" id="{identifier}"' if identifier else ' class="cards"'
    head = "".join(f'<th scope="col">{shown(name)}</th>' for name in headers)
    body = "".join(f"<tr>{''.join(map(_cell, headers, row))}</tr>\n" for row in rows)
    return f'<div class="wide"><table{known}><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _cell(header: str, content: str) -> str:
    return f'<td data-label="{shown(header)}">{content}</td>'


def page(title: str, body: str, scripts: Sequence[str]) -> str:
    """Return a whole page with the style and the scripts in it, the only ones that a browser may use.

    Args:
        title: a text.
        body: HTML.
        scripts: files of this package's data, such as `evalbench.radar/radar.js`.
    """
    style = _content("evalbench.radar/radar.css")
    codes = [_content(name) for name in scripts]
    allowed = " ".join(_hash(code) for code in codes) or "'none'"
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f"{''.join(f'<script>{code}</script>' for code in codes)}\n</body>\n</html>\n"
    )


def _content(name: str) -> str:
    package, _, file = name.partition("/")
    return files(package).joinpath(file).read_text(encoding="utf-8")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"
