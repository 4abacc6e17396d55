"""Markdown as HTML: links to the report's own files alone, tables to sort, words with an entry in the glossary."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

OWN = re.compile(r"(?:figures|numbers)/\w+\.(?:png|csv)|[\w-][\w.-]*/report\.md")
"""The files that a page may lead to: its figures and numbers, and reports in folders of its own."""
MANY_COLUMNS, MOST_COLUMNS = 9, 16
"""Columns from which on a table is printed across the page, and in the smallest letters."""
FILTERED_ROWS = 8
"""Rows from which on a table can be filtered."""


class OwnMarkdown(MarkdownIt):
    """Markdown without HTML, whose links and images lead to the report's own files and nowhere else."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False})
        self.enable("table")

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """Return whether a link leads to a file of the report."""
        return OWN.fullmatch(url) is not None


def fragment(markdown: str) -> str:
    """Return Markdown as HTML without a head, to be part of another page."""
    return str(OwnMarkdown().render(markdown))


def title_of(markdown: str) -> str:
    """Return the words of the first heading or paragraph."""
    inline = (token for token in OwnMarkdown().parse(markdown) if token.type == "inline")
    return next(("".join(child.content for child in token.children or ()) for token in inline), "report")


def slug(text: str) -> str:
    """Return a heading as a name in an address: `time-to-target`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "part"


class Body:
    """The body of a page, part by part, so that every heading and table of it has an address of its own.

    glossary: term -> sentence.
    """

    def __init__(self, glossary: Mapping[str, str]) -> None:
        self.glossary, self.used = dict(glossary), dict.fromkeys(glossary, False)
        self._names: dict[str, int] = {}
        self._markdown = OwnMarkdown()
        # Longer terms first: in "Pareto front" is a "front".
        words = "|".join(re.escape(term) for term in sorted(glossary, key=len, reverse=True))
        self._terms = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])") if words else re.compile(r"(?!)")

    def name(self, text: str) -> str:
        """Return an address for a heading, different from all others of the page."""
        base = slug(text)
        self._names[base] = self._names.get(base, 0) + 1
        return base if self._names[base] == 1 else f"{base}-{self._names[base]}"

    def render(self, markdown: str, deeper: int = 0) -> str:
        """Return a part as HTML, its headings `deeper` levels further down."""
        tokens = self._markdown.parse(markdown)
        for index, token in enumerate(tokens):
            if token.type in ("heading_open", "heading_close"):
                token.tag = f"h{min(6, int(token.tag[1]) + deeper)}"
            if token.type == "heading_open":
                # Of names of others too, so it is told apart from all addresses that the page itself uses.
                token.attrSet("id", self.name(f"about {title_of(tokens[index + 1].content)}"))
            elif token.type == "inline" and _explains(tokens[index - 1], token):
                token.children = list(self._linked(token.children or ()))
        return _tables(self._markdown.renderer.render(_cells(tokens), self._markdown.options, {}), self.name)

    def _linked(self, tokens: Sequence[Token]) -> Iterator[Token]:
        """Yield the tokens of a line, terms as links to their entries; text within links is left alone."""
        within, linked = 0, set[str]()
        for token in tokens:
            within += {"link_open": 1, "link_close": -1}.get(token.type, 0)
            if token.type != "text" or within:
                yield token
                continue
            end = 0
            for match in self._terms.finditer(token.content):
                if match[0] in linked:  # once in a line is enough
                    continue
                linked.add(match[0])
                yield _text(token.content[end : match.start()])
                yield _term(match[0], self.glossary[match[0]])
                self.used[match[0]] = True
                end = match.end()
            yield _text(token.content[end:])


def entries(glossary: Mapping[str, str]) -> str:
    """Return the glossary as HTML: each term has the address that links lead to."""
    rows = (
        f'<dt id="term-{slug(term)}">{html.escape(term)}</dt><dd>{html.escape(sentence)}</dd>'
        for term, sentence in glossary.items()
    )
    return f"<dl>{''.join(rows)}</dl>\n"


def _explains(opened: Token, inline: Token) -> bool:
    """Return whether the words of a line get their entries: a paragraph, a header, and a verdict, which is bold."""
    bold = any(child.type == "strong_open" for child in inline.children or ())
    return opened.type in ("paragraph_open", "th_open") or (opened.type == "td_open" and bold)


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _term(term: str, sentence: str) -> Token:
    text = f'<a class="term" href="#term-{slug(term)}" title="{html.escape(sentence)}">{html.escape(term)}</a>'
    return Token("html_inline", "", 0, content=text)


def _cells(tokens: list[Token]) -> list[Token]:
    """Return the tokens with empty first cells filled from the row above, so that a sorted row stands for itself."""
    above: list[Token] = []
    row: list[tuple[Token, Token]] = []
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            above = []
        elif token.type == "tr_open":
            row = []
        elif token.type == "td_open":
            row.append((token, tokens[index + 1]))
            token.attrs = {"class": _kind(token)}
        elif token.type == "th_open":
            token.attrs = {"class": _kind(token)}
        elif token.type == "tr_close" and row:
            for column, (opened, inline) in enumerate(row):
                if inline.content or column >= len(above):
                    break
                inline.children = above[column].children
                opened.attrJoin("class", "again")
            above = [inline for _, inline in row]
    return tokens


def _kind(cell: Token) -> str:
    return "number" if cell.attrGet("style") == "text-align:right" else "words"


def _tables(rendered: str, name: object) -> str:
    """Return HTML with its tables in boxes that scroll, those of many rows with a field to filter them by."""
    return re.sub(r"<table>.*?</table>", lambda match: _table(match[0], name), rendered, flags=re.DOTALL)


def _table(table: str, name: object) -> str:
    assert callable(name)
    address, columns = name("table"), table.count("<th ")
    size = " most" if columns >= MOST_COLUMNS else " many" if columns >= MANY_COLUMNS else ""
    rows = table.count("<tr>") - 1
    field = (
        f'<label class="filter">Filter <input type="search" data-filter="#{address}"><output></output></label>\n'
        if rows >= FILTERED_ROWS
        else ""
    )
    opened = f'<table class="sortable" id="{address}">'
    return f'{field}<div class="wide{size}">{opened}{table.removeprefix("<table>")}</div>'
