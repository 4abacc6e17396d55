"""The page: its first screen and its chapters, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.record.summary import write_summary
from evalbench.record.tables import write_table
from evalbench.report.analysis.findings import Findings
from evalbench.report.plots import trials
from evalbench.report.render import glossary, html, style
from evalbench.report.section import Chapter, Drawing, Section
from evalbench.report.sections.aggregates import AGGREGATES
from evalbench.report.sections.all_pairs import ALL_PAIRS
from evalbench.report.sections.answer import ANSWER, CONTEXT
from evalbench.report.sections.assumptions import ASSUMPTIONS
from evalbench.report.sections.beside import BESIDE
from evalbench.report.sections.caveats import CAVEATS
from evalbench.report.sections.compared import COMPARED
from evalbench.report.sections.costs import COSTS, MATCHED
from evalbench.report.sections.curves import EPOCHS, STEPS
from evalbench.report.sections.decision import DECISION
from evalbench.report.sections.differences import DIFFERENCES
from evalbench.report.sections.endings import ENDINGS
from evalbench.report.sections.evidence import EVIDENCE
from evalbench.report.sections.forest import FOREST
from evalbench.report.sections.how_read import HOW_READ
from evalbench.report.sections.interactions import INTERACTIONS
from evalbench.report.sections.looks import INTERIM, LOOKS
from evalbench.report.sections.pool import POOL
from evalbench.report.sections.profiles import PROFILES
from evalbench.report.sections.ranks import PAIR_TESTS, RANKS
from evalbench.report.sections.reproduce import REPRODUCE
from evalbench.report.sections.resources import RESOURCES
from evalbench.report.sections.scaling import SCALING
from evalbench.report.sections.scores import RUNS, SCORES
from evalbench.report.sections.second_methods import SECOND_METHODS
from evalbench.report.sections.shares import SHARES
from evalbench.report.sections.singles import SINGLES, singles_of
from evalbench.report.sections.sizes import SIZES
from evalbench.report.sections.targets import PROFILE, SPEED_UPS, TIMES
from evalbench.report.sections.title import TITLE
from evalbench.report.sections.tradeoff import FRONT
from evalbench.report.sections.tuning import TUNING
from evalbench.report.sections.tuning_best import BEST
from evalbench.report.sections.tuning_choices import CHOICES
from evalbench.report.sections.tuning_front import FRONT as TUNING_FRONT
from evalbench.report.sections.tuning_gains import GAINS
from evalbench.report.sections.tuning_importance import IMPORTANCE
from evalbench.report.sections.variance import VARIANCE
from evalbench.report.sections.verdicts import VERDICTS
from evalbench.report.summary import summary_of

FIRST: tuple[Section[Any], ...] = (TITLE, INTERIM, *DECISION, SINGLES, ANSWER)
"""What a reader sees before unfolding anything: the question, the answer, one figure, one table, the next step."""
CHAPTERS = (
    Chapter("Each data set", (FOREST, RUNS, SCORES, DIFFERENCES), opened=True),
    Chapter("The verdicts in full", (VERDICTS, CONTEXT, LOOKS, BESIDE, EVIDENCE)),
    Chapter("What was compared", (COMPARED, HOW_READ)),
    Chapter("Scaling law", (SCALING,), opened=True),
    Chapter("Learning curves", (EPOCHS, STEPS)),
    Chapter("Cost", (FRONT, SIZES, COSTS, RESOURCES, MATCHED)),
    Chapter("Time to target", (PROFILE, SPEED_UPS, TIMES)),
    Chapter("Tuning", (TUNING, GAINS, CHOICES, BEST, IMPORTANCE, TUNING_FRONT)),
    Chapter("Other factors and noise", (INTERACTIONS, VARIANCE, SHARES)),
    Chapter("Other methods", (SECOND_METHODS, AGGREGATES, ALL_PAIRS, RANKS, PAIR_TESTS, POOL, PROFILES)),
    Chapter("Failures, assumptions and caveats", (ENDINGS, ASSUMPTIONS, CAVEATS)),
    Chapter("How to reproduce", (REPRODUCE,)),
)
PAGE = (*FIRST, *chain.from_iterable(chapter.sections for chapter in CHAPTERS))
SINGLE = (TITLE, SINGLES, SCALING, HOW_READ, REPRODUCE)
"""The sections of the page of one run per technique on one workload: little else can be said of it."""


def first_screen(findings: Findings) -> str:
    """Return the Markdown of what a reader sees before unfolding anything."""
    return Chapter("", _kept(FIRST, findings)).markdown(findings)


def folded(findings: Findings, first: str) -> list[html.Folded]:
    """Return the chapters below the first screen that have text, and the glossary of the words of all."""
    chapters = [replace(chapter, sections=_kept(chapter.sections, findings)) for chapter in CHAPTERS]
    texts = [html.Folded(chapter.title, chapter.markdown(findings), chapter.opened) for chapter in chapters]
    texts = [chapter for chapter in texts if chapter.markdown]
    whole = "\n".join([first, *(chapter.markdown for chapter in texts)])
    return [*texts, html.Folded("Glossary", glossary.table(whole))]


def markdown(findings: Findings) -> str:
    """Return the text of `report.md`: the first screen, then chapters that GitHub folds."""
    first = first_screen(findings)
    return _with_details(first, folded(findings, first))


def _with_details(first: str, chapters: Iterable[html.Folded]) -> str:
    parts = [first, "# Details"]
    for chapter in chapters:
        opened = " open" if chapter.opened else ""
        parts += [f"<details{opened}><summary><b>{chapter.title}</b></summary>", chapter.markdown, "</details>"]
    return "\n\n".join(parts) + "\n"


def _kept(every: Iterable[Section[Any]], findings: Findings) -> tuple[Section[Any], ...]:
    """Leave out what cannot be said of single runs, and the table of single runs where more can be said."""
    single = singles_of(findings) is not None
    return tuple(section for section in every if (section in SINGLE if single else section is not SINGLES))


def frames(findings: Findings) -> dict[str, pd.DataFrame]:
    """Return the tables in `numbers/`, by name."""
    return {name: table for section in _kept(PAGE, findings) for name, table in section.frames(findings).items()}


def drawings(findings: Findings) -> dict[str, Drawing[Any]]:
    """Return the figures of the page by name, none of them drawn yet."""
    return {name: drawing for section in _kept(PAGE, findings) for name, drawing in section.drawings(findings).items()}


def interactive(findings: Findings, numbers: Mapping[str, pd.DataFrame], standalone: bool) -> html.Interactive:
    """Return what the figures of `report.html` need; `numbers` are those of the figures, by name."""
    made = {name: drawing.plot(numbers[name]) for name, drawing in drawings(findings).items()}
    plots = {name: plot for name, plot in made.items() if plot is not None}
    return html.Interactive(plots, trials.shared(findings), trials.rows(findings), standalone)


def save(findings: Findings, folder: Path, standalone: bool = False) -> Path:
    """Write `report.md`, `report.html`, `summary.json`, `figures/` and `numbers/`; return the path of `report.md`.

    The same findings give the same bytes. The library of the figures is in `report.html` if it is to stand alone, else
    beside it (`render/library.py`).
    """
    for name in ("figures", "numbers"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for chart in chain.from_iterable(section.charts for section in PAGE):
        for suffix in ("png", "csv"):
            # A figure of an earlier report must not outlive its numbers.
            (folder / "figures" / f"{chart.name}.{suffix}").unlink(missing_ok=True)
    numbers = {}
    for name, drawing in drawings(findings).items():
        numbers[name] = drawing.numbers()
        with style.styled():
            style.save(drawing.figure(), folder / "figures" / f"{name}.png")
        write_table(numbers[name], folder / "figures" / f"{name}.csv", "%.10g")
    for name, table in frames(findings).items():
        write_table(table, folder / "numbers" / f"{name}.csv", "%.10g")
    report, first = folder / "report.md", first_screen(findings)
    chapters = folded(findings, first)
    report.write_text(_with_details(first, chapters), encoding="utf-8", newline="\n")
    page = html.page(first, folder, chapters, interactive(findings, numbers, standalone))
    (folder / "report.html").write_text(page, encoding="utf-8", newline="\n")
    write_summary(folder, summary_of(findings))
    return report
