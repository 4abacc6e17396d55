"""What a section of the page is: what it needs, its text, its tables as CSV, and its figures; chapters of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from evalbench.names import plain
from evalbench.report.analysis.findings import Findings
from evalbench.report.render import style
from evalbench.report.render.plots import Plot

F = TypeVar("F")


def always(findings: Findings) -> Findings:
    """Return the findings, for a section that every report has."""
    return findings


def numbers_of(name: str) -> str:
    """Return the sentence that leads to a table of numbers."""
    return f"Numbers: [{name}.csv](numbers/{name}.csv)."


@dataclass(frozen=True)
class Chart(Generic[F]):
    """A figure with its numbers and its words; `F` is what the section needs."""

    name: str  # of `figures/NAME.png` and `figures/NAME.csv`
    draw: Callable[[F], Figure]
    numbers: Callable[[F], pd.DataFrame]
    alt: Callable[[F], str]  # for those who cannot see it
    caption: Callable[[F], str]
    shown: Callable[[F], bool] = lambda _: True
    plot: Callable[[F, pd.DataFrame], Plot] | None = None
    """The figure of `report.html`, from the content and its numbers; None: the picture is all there is."""

    def markdown(self, content: F) -> str:
        """Return the figure as a link with its caption."""
        numbers = f"Numbers: [{self.name}.csv](figures/{self.name}.csv)."
        return f"![{plain(self.alt(content))}](figures/{self.name}.png)\n\n*{self.caption(content)} {numbers}*"


@dataclass(frozen=True)
class Drawing(Generic[F]):
    """A chart and its content, not drawn yet."""

    chart: Chart[F]
    content: F

    def figure(self) -> Figure:
        """Draw the figure."""
        with style.styled():
            return self.chart.draw(self.content)

    def numbers(self) -> pd.DataFrame:
        """Return the numbers that the figure shows."""
        return self.chart.numbers(self.content)

    def plot(self, numbers: pd.DataFrame) -> Plot | None:
        """Return the interactive figure of its numbers."""
        return None if self.chart.plot is None else self.chart.plot(self.content, numbers)


@dataclass(frozen=True)
class Section(Generic[F]):
    """A section: its text, then its figures; left out if the findings lack what it needs.

    needs: takes the findings and returns what the section is made of, None to leave the section out.
    text: Markdown; nothing is written for an empty text.
    tables: the content of `numbers/NAME.csv` by name; a table without a row is not written.
    """

    needs: Callable[[Findings], F | None]
    text: Callable[[F], str] = lambda _: ""
    tables: Mapping[str, Callable[[F], pd.DataFrame]] = field(default_factory=dict)
    charts: tuple[Chart[F], ...] = ()

    def markdown(self, findings: Findings) -> Iterator[str]:
        """Yield the paragraphs of the section."""
        content = self.needs(findings)
        if content is not None:
            yield self.text(content)
            yield from (chart.markdown(content) for chart in self.charts if chart.shown(content))

    def frames(self, findings: Findings) -> dict[str, pd.DataFrame]:
        """Return the tables that have a row."""
        content = self.needs(findings)
        tables = {} if content is None else {name: make(content) for name, make in self.tables.items()}
        return {name: table for name, table in tables.items() if len(table)}

    def drawings(self, findings: Findings) -> dict[str, Drawing[F]]:
        """Return the figures that are shown, by name, not drawn yet."""
        content = self.needs(findings)
        if content is None:
            return {}
        return {chart.name: Drawing(chart, content) for chart in self.charts if chart.shown(content)}


@dataclass(frozen=True)
class Chapter:
    """Sections under one title, which a reader folds and unfolds together; left out if none of them has text."""

    title: str
    sections: tuple[Section[Any], ...]
    opened: bool = False  # unfolded when the page opens

    def markdown(self, findings: Findings) -> str:
        """Return the text of the sections, without the title; empty if none has text."""
        paragraphs = chain.from_iterable(section.markdown(findings) for section in self.sections)
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph).removeprefix(f"## {self.title}\n\n")
