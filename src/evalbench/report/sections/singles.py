"""One run per technique: techniques sorted, and those that the test set cannot tell from the best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.names import code, plain
from evalbench.record.declared import Workload
from evalbench.report.analysis.findings import Findings
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import Unit, listed, percent, plural
from evalbench.report.section import Section, numbers_of
from evalbench.statistics.leaders import Leaders, leaders
from evalbench.statistics.verdicts import Recommendation
from evalbench.tasks.metric import accuracy_floor

MOST_NAMES = 8  # of ties in the first sentence
COLUMNS_FROM = 24  # more rows than this are printed in two columns


@dataclass(frozen=True)
class SingleRuns:
    """One run of each technique on one workload, the best first."""

    table: pd.DataFrame  # technique, score, num_test, state, cost_seconds if known
    workload: Workload
    unit: Unit
    confidence: float
    leaders: Leaders | None  # of the rows with a score; None if the test set's own noise is not known
    why: str  # it is not known
    items: str  # how its user declares scores of single items


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
    ties = None if why else leaders(worked["score"], worked["num_test"], evaluation.confidence)
    items = evaluation.option("unit", "item")
    return SingleRuns(order, workload, findings.units[workload.name], evaluation.confidence, ties, why, items)


def numbers(runs: SingleRuns) -> pd.DataFrame:
    """Return a row per technique, the best first."""
    shown, worked = runs.unit.shown_score, runs.table["state"] == "COMPLETE"
    ends = {} if runs.leaders is None else vars(runs.leaders)

    def column(name: str) -> np.ndarray:
        values = np.full(len(runs.table), math.nan)
        values[worked] = shown(ends[name]) if name in ends else math.nan
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
            "state": runs.table["state"],
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


def _table(runs: SingleRuns) -> str:
    table, cells = numbers(runs), []
    for row, one in zip(table.to_dict("records"), runs.table.to_dict("records"), strict=True):
        mark = "tied" if row["tied_with_the_best"] else ""
        failed = one["state"] != "COMPLETE"
        score = one["state"] if failed else runs.unit.score(one["score"])
        ends = "" if math.isnan(row["low"]) else f" ({row['low']:.1f} to {row['high']:.1f})"
        cells.append(["–" if failed else f"{row['rank']:g}", code(row["technique"]), score + ends, mark])
    headers = ["rank", "technique", plain(runs.unit.label), "best?"]
    if len(cells) <= COLUMNS_FROM:
        return markdown(headers, cells, 2)
    half = -(-len(cells) // 2)
    cells += [[""] * 4] * (2 * half - len(cells))
    return markdown(headers * 2, [[*cells[i], *cells[i + half]] for i in range(half)], 2)


def _how(runs: SingleRuns) -> list[str]:
    if runs.leaders is None:
        return [numbers_of("verdicts")]
    rows = sorted({int(count) for count in runs.table["num_test"].dropna()})
    size = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
    return [
        f"In brackets: the exact {percent(runs.confidence)} interval of each score by itself, over {size} test rows."
        " *Tied*: the one-sided interval of the best score minus this one reaches zero (Newcombe, 1998, Bonferroni), so"
        " that the technique with the best expected score is among the ties. Which rows each technique got right is not"
        " known, so their answers are taken for independent: two techniques that are right on the same rows differ"
        f" by less noise, and scores of single items (`{runs.items}`) would tell more apart. {numbers_of('verdicts')}"
    ]


SINGLES = Section(singles_of, text, {"verdicts": numbers})
