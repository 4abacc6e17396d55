"""A page of headings, lines and tables, shown on the terminal and as Markdown."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Chapter:
    """A heading with text and an optional table."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def show(console: Console, pages: Sequence[Chapter]) -> None:
    """Print the chapters."""
    for chapter in pages:
        console.print(f"\n[bold]{chapter.title}[/bold]")
        for line in chapter.lines:
            console.print(line, markup=False)
        if chapter.head:
            printed = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            for name in chapter.head:
                printed.add_column(name, no_wrap=name in (chapter.head[0], "trials/s"))
            for row in chapter.rows:
                printed.add_row(*row)
            console.print(printed)


def markdown(pages: Sequence[Chapter]) -> str:
    """Return the chapters as a Markdown page."""
    blocks = []
    for index, chapter in enumerate(pages):
        blocks.append(f"{'##' if index else '#'} {chapter.title}")
        blocks += ["\n".join(f"- {line}" for line in chapter.lines)] if chapter.lines else []
        if chapter.head:
            lines = [chapter.head, ("---",) * len(chapter.head), *chapter.rows]
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(blocks) + "\n"


def spread(values: Sequence[float]) -> str:
    """Return the median with the lowest and the highest value."""
    middle, low, high = (number(f(values)) for f in (statistics.median, min, max))
    return middle if len(values) == 1 else f"{middle} ({low}–{high})"


def number(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
