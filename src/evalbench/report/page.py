"""The page: which sections a report has, in which order."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.record.tables import write_table
from evalbench.report.analysis.findings import Findings
from evalbench.report.render import html, style
from evalbench.report.section import Drawing, Section, always
from evalbench.report.sections.aggregates import AGGREGATES
from evalbench.report.sections.all_pairs import ALL_PAIRS
from evalbench.report.sections.answer import ANSWER, CONTEXT
from evalbench.report.sections.assumptions import ASSUMPTIONS
from evalbench.report.sections.beside import BESIDE
from evalbench.report.sections.caveats import CAVEATS
from evalbench.report.sections.compared import COMPARED
from evalbench.report.sections.costs import COSTS, MATCHED
from evalbench.report.sections.curves import EPOCHS, STEPS
from evalbench.report.sections.differences import DIFFERENCES
from evalbench.report.sections.endings import ENDINGS
from evalbench.report.sections.energy import ENERGY
from evalbench.report.sections.evidence import EVIDENCE
from evalbench.report.sections.forest import FOREST
from evalbench.report.sections.how_read import HOW_READ
from evalbench.report.sections.interactions import INTERACTIONS
from evalbench.report.sections.looks import INTERIM, LOOKS
from evalbench.report.sections.pool import POOL
from evalbench.report.sections.profiles import PROFILES
from evalbench.report.sections.ranks import PAIR_TESTS, RANKS
from evalbench.report.sections.reproduce import REPRODUCE
from evalbench.report.sections.scores import RUNS, SCORES
from evalbench.report.sections.second_methods import SECOND_METHODS
from evalbench.report.sections.shares import SHARES
from evalbench.report.sections.singles import SINGLES, singles_of
from evalbench.report.sections.summary import SUMMARY
from evalbench.report.sections.targets import PROFILE, SPEED_UPS, TIMES
from evalbench.report.sections.title import TITLE
from evalbench.report.sections.tradeoff import FRONT, TRADEOFF
from evalbench.report.sections.tuning import TUNING
from evalbench.report.sections.tuning_best import BEST
from evalbench.report.sections.tuning_choices import CHOICES
from evalbench.report.sections.tuning_front import FRONT as TUNING_FRONT
from evalbench.report.sections.tuning_gains import GAINS
from evalbench.report.sections.tuning_importance import IMPORTANCE
from evalbench.report.sections.variance import VARIANCE
from evalbench.report.sections.verdicts import VERDICTS

HEAD: tuple[Section[Any], ...] = (TITLE, INTERIM, SUMMARY, VERDICTS, ANSWER, CONTEXT, HOW_READ)
FIGURES: tuple[Section[Any], ...] = (FOREST, RUNS, EPOCHS, TRADEOFF, PROFILE, SPEED_UPS, INTERACTIONS, VARIANCE)
APPENDIX: tuple[Section[Any], ...] = (
    Section(always, lambda _: "# Appendix"),
    COMPARED,
    LOOKS,
    TUNING,
    GAINS,
    CHOICES,
    BEST,
    IMPORTANCE,
    TUNING_FRONT,
    SCORES,
    DIFFERENCES,
    BESIDE,
    EVIDENCE,
    SECOND_METHODS,
    AGGREGATES,
    ALL_PAIRS,
    RANKS,
    PAIR_TESTS,
    POOL,
    PROFILES,
    SHARES,
    FRONT,
    TIMES,
    STEPS,
    COSTS,
    ENERGY,
    MATCHED,
    ENDINGS,
    ASSUMPTIONS,
    REPRODUCE,
    CAVEATS,
)
PAGE = (*HEAD, *FIGURES, *APPENDIX)
SINGLE = (TITLE, SINGLES, HOW_READ, REPRODUCE)
"""The page of one run per technique on one workload: nothing else can be said of it."""


def page_of(findings: Findings) -> tuple[Section[Any], ...]:
    """Return the sections of the page of these findings."""
    return PAGE if singles_of(findings) is None else SINGLE


def markdown(findings: Findings, first: bool = False) -> str:
    """Return the text of `report.md`, or of its first part."""
    sections = page_of(findings)
    kept = [section for section in sections if section in HEAD or section is SINGLES] if first else sections
    paragraphs = chain.from_iterable(section.markdown(findings) for section in kept)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def frames(findings: Findings) -> dict[str, pd.DataFrame]:
    """Return the tables in `numbers/`, by name."""
    return {name: table for section in page_of(findings) for name, table in section.frames(findings).items()}


def drawings(findings: Findings) -> dict[str, Drawing[Any]]:
    """Return the figures of the page by name, none of them drawn yet."""
    return {name: drawing for section in page_of(findings) for name, drawing in section.drawings(findings).items()}


def save(findings: Findings, folder: Path) -> Path:
    """Write `report.md`, `report.html`, `figures/` and `numbers/`, and return the path of `report.md`.

    The same findings give the same bytes.
    """
    for name in ("figures", "numbers"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for chart in chain.from_iterable(section.charts for section in PAGE):
        for suffix in ("png", "csv"):
            # A figure of an earlier report must not outlive its numbers.
            (folder / "figures" / f"{chart.name}.{suffix}").unlink(missing_ok=True)
    for name, drawing in drawings(findings).items():
        with style.styled():
            style.save(drawing.figure(), folder / "figures" / f"{name}.png")
        write_table(drawing.numbers(), folder / "figures" / f"{name}.csv", "%.10g")
    for name, table in frames(findings).items():
        write_table(table, folder / "numbers" / f"{name}.csv", "%.10g")
    report, text = folder / "report.md", markdown(findings)
    report.write_text(text, encoding="utf-8", newline="\n")
    (folder / "report.html").write_text(html.page(text, folder), encoding="utf-8", newline="\n")
    return report
