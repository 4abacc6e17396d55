"""The first screen of a written report as lines for a terminal or a pipe: the answer and the next steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from evalbench.console import say

NEXT = "Next:"
MOST_LINES = 12
"""More items, such as one for each of many techniques, are left to the page."""


def say_first_screen(console: Console, page: Path) -> None:
    """Print the answer and the next steps of a `report.md`."""
    for head, text in first_screen(page.read_text(encoding="utf-8")):
        say(console, head, text)


def first_screen(markdown: str) -> list[tuple[str, str]]:
    """Return the answer and the next steps, each with the word that begins its line, without Markdown's marks.

    The answer is all text between the question and the first figure, table or chapter; the steps follow on `Next:`.
    """
    tokens = MarkdownIt().enable("table").parse(markdown)
    answer = _answer(tokens)
    rest = [f"{len(answer) - MOST_LINES} more lines are in the report"] if len(answer) > MOST_LINES else []
    lines = [("" if number else "Verdict", text) for number, text in enumerate([*answer[:MOST_LINES], *rest])]
    return [*lines, *(("Next", step) for step in _steps(tokens))]


def _answer(tokens: Sequence[Token]) -> list[str]:
    texts: list[str] = []
    for before, token in itertools.pairwise(tokens):
        ends = token.type in ("table_open", "html_block") or (token.type == "heading_open" and token.tag != "h1")
        if ends or _is_figure(token):
            break
        if token.type == "inline" and before.type == "paragraph_open":
            texts.append(_plain(token))
    return texts[1:]  # the first is the question


def _steps(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield the step that follows on `Next:`, or the items of the list below it."""
    texts = [token for token in tokens if token.type in ("inline", "bullet_list_close")]
    start = next((n for n, token in enumerate(texts) if _plain(token).startswith(NEXT)), len(texts))
    for number, token in enumerate(texts[start:]):
        if token.type == "bullet_list_close":
            return
        if step := _plain(token).removeprefix(NEXT).strip():
            yield step
            if not number:
                return


def _is_figure(token: Token) -> bool:
    return any(child.type == "image" for child in token.children or [])


def _plain(token: Token) -> str:
    """Return the text of a paragraph on one line: names without backticks, words without stars."""
    breaks = ("softbreak", "hardbreak")
    return "".join(" " if child.type in breaks else child.content for child in token.children or [])
