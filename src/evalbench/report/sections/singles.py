"""One run per technique: techniques sorted, and those that the test set cannot tell from the best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evalbench.names import code, one_line, plain, short
from evalbench.record.declared import Workload
from evalbench.report.analysis.findings import Findings
from evalbench.report.plots.possible_ranks import possible_ranks as plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import UNKNOWN, Unit, counted, duration, listed, memory, percent, plural
from evalbench.report.section import Chart, Section, numbers_of
from evalbench.statistics.leaders import Leaders, PossibleRanks, leaders, possible_ranks
from evalbench.statistics.verdicts import Recommendation
from evalbench.tasks.metric import accuracy_floor

MOST_NAMES = 8  # of ties in the first sentence
COLUMNS_FROM = 24  # more rows than this are printed in two columns, if their names are short
SHORT_NAME = 30
COSTS = {
    "cost_seconds": ("time", duration),
    "peak_memory_bytes": ("peak memory", memory),
    "checkpoint_bytes": ("checkpoint", memory),
    "parameters": ("parameters", counted),
}
"""Columns of what a run costs: how they are called, and written."""
ROW = 0.165  # inches of the picture for each technique


@dataclass(frozen=True)
class SingleRuns:
    """One run of each technique on one workload, the best first."""

    table: pd.DataFrame  # technique, score, num_test, state, and of `COSTS` what is known
    techniques: tuple[str, ...]  # as declared
    workload: Workload
    unit: Unit
    confidence: float
    leaders: Leaders | None  # of the rows with a score; None if the test set's own noise is not known
    ranks: PossibleRanks | None  # of the same rows
    why: str  # it is not known
    items: str  # how its user declares scores of single items

    @property
    def costs(self) -> list[str]:
        """Return the columns of costs of which a value is known."""
        return [name for name in COSTS if name in self.table and self.table[name].notna().any()]


def singles_of(findings: Findings) -> SingleRuns | None:
    """Return the single runs of a foreign table; None if it has several workloads, or several runs of a technique."""
    evaluation, results = findings.evaluation, findings.folder.results
    one_each = not results.duplicated(["technique", "workload"]).any()
    if not (evaluation.foreign and one_each and len(evaluation.workloads) == 1 and not evaluation.factors):
        return None
    workload = next(iter(evaluation.workloads.values()))
    complete = results["state"] == "COMPLETE"
    order = results.assign(_t=~complete).sort_values(
        ["_t", "score"], ascending=[True, workload.direction == "minimize"], kind="stable", ignore_index=True
    )
    worked = order[order["state"] == "COMPLETE"]
    why = ""
    if workload.ratio or workload.described.floor is not accuracy_floor:
        why = f"it is known for accuracy alone, not for {findings.units[workload.name].metric}"
    elif worked["num_test"].isna().any():
        why = f"the number of test rows is not given (column num_test, or {evaluation.option('test_size')})"
    of_all = None if why else (worked["score"], worked["num_test"], evaluation.confidence)
    ties, ranks = (leaders(*of_all), possible_ranks(*of_all)) if of_all else (None, None)
    return SingleRuns(
        order,
        evaluation.techniques,
        workload,
        findings.units[workload.name],
        evaluation.confidence,
        ties,
        ranks,
        why,
        evaluation.option("unit", "item"),
    )


def numbers(runs: SingleRuns) -> pd.DataFrame:
    """Return a row per technique, the best first."""
    shown, worked = runs.unit.shown_score, runs.table["state"] == "COMPLETE"
    ends = {} if runs.leaders is None else {name: shown(values) for name, values in vars(runs.leaders).items()}
    ends |= {} if runs.ranks is None else vars(runs.ranks)

    def column(name: str) -> np.ndarray:
        values = np.full(len(runs.table), math.nan)
        values[worked] = ends.get(name, math.nan)
        return values

    tied = np.zeros(len(runs.table), dtype=bool)
    tied[worked] = runs.leaders.tied if runs.leaders is not None else False
    return pd.DataFrame(
        {
            "technique": runs.table["technique"],
            "rank": runs.table["score"].rank(method="min", ascending=runs.workload.direction == "minimize"),
            "ring": str(Recommendation.INSUFFICIENT),
            "unit": runs.unit.label,
            "score": shown(runs.table["score"]),
            "low": column("low"),
            "high": column("high"),
            "behind": column("behind"),
            "behind_at_least": column("behind_low"),
            "tied_with_the_best": tied,
            "best_rank": column("best"),
            "worst_rank": column("worst"),
            "state": runs.table["state"],
            **{name: runs.table[name] for name in runs.costs},
        }
    )


def text(runs: SingleRuns) -> str:
    """Return what the test set alone allows, with the ties of the leader by name, and one table."""
    first = runs.table.iloc[0]
    score = f"{runs.unit.score(first['score'])} {plain(runs.unit.label)}"
    count = plural(len(runs.table), "technique")
    lines = [
        f"One run of each of {count} on {code(runs.workload.name)}. The best score is that of"
        f" {code(first['technique'])}: {score}.",
        _ties(runs),
        *_ranks(runs),
        "The noise of seeds is not in this: another run of the same technique would score differently, by an amount"
        " that one run each cannot tell. Nothing is recommended on one run.",
    ]
    if failed := list(runs.table.loc[runs.table["state"] != "COMPLETE", "technique"]):
        lines.append(f"Without a score: {listed([code(name) for name in failed[:MOST_NAMES]])}.")
    return "\n\n".join([" ".join(lines), _table(runs), *_how(runs)])


def _ties(runs: SingleRuns) -> str:
    if runs.leaders is None:
        return f"What the test set alone allows is not known: {runs.why}."
    names = list(runs.table["technique"])
    tied = [names[index] for index in np.flatnonzero(runs.leaders.tied) if index != runs.leaders.leader]
    rest = len(runs.leaders.tied) - 1 - len(tied)
    level = percent(runs.confidence)
    if not tied:
        return f"The test set tells it from all {rest} others, at {level} for all together."
    shown = [code(name) for name in tied[:MOST_NAMES]]
    shown += [plural(len(tied) - MOST_NAMES, "other")] if len(tied) > MOST_NAMES else []
    return (
        f"The test set cannot tell {plural(len(tied), 'technique')} from it: {listed(shown)}. {rest} are worse beyond"
        f" the noise of the test set, at {level} for all together."
    )


def _ranks(runs: SingleRuns) -> list[str]:
    """Return how many of the ranks the test rows confirm."""
    ranks = runs.ranks
    if ranks is None or not ranks.pairs:
        return []
    half, told = math.ceil(np.median(ranks.worst - ranks.best + 1)), percent(round(ranks.apart / ranks.pairs, 2))
    return [
        f"**The test set confirms {ranks.known} of {len(ranks.best)} ranks**, at {percent(runs.confidence)} for all"
        f" together: half of the techniques may have {half} ranks or more,"
        f" {code(runs.table['technique'].iloc[0])} those from {ranks.best[0]} to {ranks.worst[0]}. It tells apart"
        f" {ranks.apart:,} of {ranks.pairs:,} pairs ({told})."
    ]


def _table(runs: SingleRuns) -> str:
    """Return a row per technique; the rows stand in two columns if they are many, short and without costs."""
    table, cells = numbers(runs), []
    for row, one in zip(table.to_dict("records"), runs.table.to_dict("records"), strict=True):
        mark = "tied" if row["tied_with_the_best"] else ""
        failed = one["state"] != "COMPLETE"
        score = one["state"] if failed else runs.unit.score(one["score"])
        ends = "" if math.isnan(row["low"]) else f" ({row['low']:.1f} to {row['high']:.1f})"
        costs = [COSTS[name][1](one[name]) if math.isfinite(one[name]) else UNKNOWN for name in runs.costs]
        cells.append([_rank(row), code(row["technique"]), score + ends, mark, *costs])
    headers = ["rank", "technique", plain(runs.unit.label), "best?", *(COSTS[name][0] for name in runs.costs)]
    if len(cells) <= COLUMNS_FROM or runs.costs or max(map(len, runs.techniques)) > SHORT_NAME:
        return markdown(headers, cells, 2)
    half = -(-len(cells) // 2)
    cells += [[""] * 4] * (2 * half - len(cells))
    return markdown(headers * 2, [[*cells[i], *cells[i + half]] for i in range(half)], 2)


def _rank(row: Mapping[Hashable, Any]) -> str:
    """Return a rank in the table, and in brackets those that are possible."""
    if row["state"] != "COMPLETE":
        return "–"
    if math.isnan(row["best_rank"]):
        return f"{row['rank']:g}"
    to = "" if row["best_rank"] == row["worst_rank"] else f" to {row['worst_rank']:g}"
    return f"{row['rank']:g} ({row['best_rank']:g}{to})"


def _how(runs: SingleRuns) -> list[str]:
    if runs.leaders is None:
        return [numbers_of("verdicts")]
    rows = sorted({int(count) for count in runs.table["num_test"].dropna()})
    size = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
    return [
        f"In brackets: the ranks that are possible, at {percent(runs.confidence)} for all together (Agresti and others,"
        f" 2008; Mogstad and others, 2024), and the exact {percent(runs.confidence)} interval of each score by itself,"
        f" over {size} test rows."
        " *Tied*: the one-sided interval of the best score minus this one reaches zero (Newcombe, 1998, Bonferroni), so"
        " that the technique with the best expected score is among the ties. Which rows each technique got right is not"
        " known, so their answers are taken for independent: two techniques that are right on the same rows differ"
        f" by less noise, and scores of single items (`{runs.items}`) would tell more apart. {numbers_of('verdicts')}"
    ]


def figure_numbers(runs: SingleRuns) -> pd.DataFrame:
    """Return the rank of each technique with a score, and the ranks that are possible."""
    columns = ["technique", "rank", "best_rank", "worst_rank", "score", "unit", "tied_with_the_best"]
    return numbers(runs).dropna(subset="best_rank")[columns]


def draw(runs: SingleRuns) -> Figure:
    """Draw a row per technique, the best on top: its rank, and a bar over the ranks that are possible."""
    table = figure_numbers(runs)
    shown = table.head(len(style.fitting(list(table["technique"]), ROW, most=1)))
    figure = Figure(figsize=(style.WIDTH, 0.8 + ROW * len(shown)))
    axis = figure.subplots()
    for row, (_, one) in enumerate(shown.iterrows()):
        tied = one["tied_with_the_best"]
        color = style.COLORS[0] if tied else style.GRAY
        axis.plot(
            [one["best_rank"], one["worst_rank"]], [row, row], color=color, lw=3.5, alpha=0.45, solid_capstyle="butt"
        )
        axis.plot(one["rank"], row, "o", ms=4, color=color, mfc=color if tied else "white")
    axis.set_yticks(range(len(shown)), [short(one_line(name), 60) for name in shown["technique"]], fontsize=7)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xlim(0.2, len(table) + 0.8)
    axis.set_xlabel("rank, 1 is best")
    axis.grid(axis="x")
    return figure


def alt(runs: SingleRuns) -> str:
    """Return the text for those who cannot see the figure."""
    return f"The ranks that {plural(len(runs.table), 'technique')} may have, one row each"


def caption(runs: SingleRuns) -> str:
    """Return what the bars are."""
    table = figure_numbers(runs)
    shown = style.fitting(list(table["technique"]), ROW, most=1)
    return (
        "A point is the rank by score, its bar the ranks that the noise of the test set allows, at"
        f" {percent(runs.confidence)} for all together. Filled: cannot be told from the best, a question of fewer"
        " comparisons."
        f"{style.not_drawn(shown, list(table['technique']), 'techniques')}"
    )


SINGLES = Section(
    singles_of,
    text,
    {"verdicts": numbers},
    (
        Chart(
            "possible_ranks",
            draw,
            figure_numbers,
            alt,
            caption,
            shown=lambda runs: runs.ranks is not None and runs.ranks.pairs > 0,
            plot=lambda runs, numbers: plot(runs.techniques, numbers),
        ),
    ),
)
