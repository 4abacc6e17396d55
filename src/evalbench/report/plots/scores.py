"""Scores: every trial a point that leads to its row, and the mean of each technique with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evalbench.names import short
from evalbench.record.schema import LINEAR
from evalbench.report.analysis.findings import Findings
from evalbench.report.analysis.scores import Score
from evalbench.report.plots.trials import trial_table
from evalbench.report.render.plots import (
    Panel,
    Plot,
    Trace,
    all_or_chosen,
    label,
    line,
    points,
    row_height,
    rows_axis,
    whiskers,
)
from evalbench.report.render.style import workload_label
from evalbench.report.render.units import Unit, percent

MOST_POINTS = 500  # of a technique in a panel, evenly spread over the trials


def scores(findings: Findings, _: pd.DataFrame) -> Plot:
    """Return a panel per workload, or a choice of them if there are many; one panel if each has one score."""
    if findings.one_score and len(set(findings.units.values())) == 1:
        return Plot([_one_score(findings)])
    return all_or_chosen(workload_panels(findings), "workload")


def workload_panels(findings: Findings) -> list[Panel]:
    """Return the panels: a row per technique, with its trials, its mean and the references."""
    trials = trial_table(findings)
    runs = dict(list(trials[trials["score"].notna()].groupby(["workload", "technique"], sort=False)))
    summaries: dict[str, list[Score]] = {}
    for score in findings.scores:
        summaries.setdefault(score.workload, []).append(score)
    return [_panel(findings, name, runs, summaries[name]) for name in findings.evaluation.workloads]


def _panel(findings: Findings, workload: str, runs: Mapping[Any, pd.DataFrame], summary: Sequence[Score]) -> Panel:
    techniques, unit = list(findings.evaluation.techniques), findings.units[workload]
    traces: list[Trace] = []
    for index, technique in enumerate(techniques):
        if (workload, technique) in runs:
            traces += _runs(runs[workload, technique], index, unit)
    for score in summary:
        if not score.reference and score.interval.count:
            traces.append(_mean(findings, score, techniques.index(score.name)))
    traces += [_reference(findings, score, len(techniques)) for score in summary if score.reference]
    layout = {
        "yaxis": rows_axis(techniques),
        "xaxis": {"title": {"text": label(unit.label, 60)}, "nticks": 6, **_range(traces)},
    }
    return Panel(short(workload_label(findings.evaluation, workload)), traces, layout, row_height(len(techniques), 28))


def _runs(runs: pd.DataFrame, index: int, unit: Unit) -> list[Trace]:
    """Return the trials of one technique, those that failed as crosses."""
    runs = runs.iloc[:: -(-len(runs) // MOST_POINTS)]
    values, gone = unit.shown_score(runs["score"].to_numpy()), (runs["failed"] == 1).to_numpy()
    traces = []
    for which, look in ((~gone, {"size": 5, "opacity": 0.6}), (gone, {"size": 8, "symbol": "x-thin-open"})):
        if which.any():
            trials = [int(number) for number in runs.index[which]]
            together = trials == list(range(trials[0], trials[0] + len(trials)))
            number: dict[str, Any] = {"trial": trials[0], "from": True} if together else {"trial": trials}
            # The page steps neighboring trials up and down by a fixed pattern, so that few points are hidden.
            traces.append(points(values[which], (), index, spread=index, **number, marker=look))
    return traces


def _mean(findings: Findings, score: Score, index: int) -> Trace:
    unit, interval = findings.units[score.workload], score.interval
    mean = unit.shown_score(interval.mean)
    low, high = np.clip([unit.shown_score(interval.low), unit.shown_score(interval.high)], *unit.bounds)
    level = percent(findings.evaluation.confidence)
    many = f"{interval.count} {findings.evaluation.repeated[1]}"
    card = f"mean {unit.score(interval.mean)} {unit.score_interval(interval)} ({level}, {many})"
    look = {"symbol": "diamond", "size": 9}
    bars = whiskers([mean], [low], [high], 2.2)
    return points([mean], [round(index - 0.2, 1)], index, hover=[card], within=True, marker=look, error_x=bars)


def _reference(findings: Findings, score: Score, rows: int) -> Trace:
    """Return a line across the panel, with points to hover on."""
    heights, unit = np.linspace(-0.5, rows - 0.5, 9), findings.units[score.workload]
    look = {"dash": "dash" if score.name == LINEAR else "dot", "width": 1.2, "color": "@gray"}
    card = f"{score.name}: {unit.score(score.interval.mean)}"
    return line([unit.shown_score(score.interval.mean)] * len(heights), heights, hover=card, line=look)


def _range(traces: list[Trace]) -> dict[str, Any]:
    """Return the ends of an axis that shows all trials, and a reference only if it does not squeeze them."""
    own = [x for trace in traces if "technique" in trace for x in _reach(trace)]
    if not own:
        return {}
    low, high = min(own), max(own)
    span = max(high - low, 1e-9)
    others = [x for trace in traces if "technique" not in trace for x in trace["x"][:1] if x is not None]
    near = [x for x in others if low - 1.2 * span <= x <= high + 1.2 * span]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.06 * max(high - low, 1e-9)
    return {"range": [low - margin, high + margin]}


def _reach(trace: Trace) -> list[float]:
    """Return the values of a trace and the ends of its intervals."""
    values = [x for x in trace["x"] if x is not None]
    bars = trace.get("error_x", {"array": [], "arrayminus": []})
    ends = zip(trace["x"], bars["arrayminus"], bars["array"], strict=False)
    return values + [end for x, below, above in ends if x is not None for end in (x - below, x + above)]


def _one_score(findings: Findings) -> Panel:
    names, techniques = list(findings.evaluation.workloads), list(findings.evaluation.techniques)
    trials, step = trial_table(findings), min(0.18, 0.6 / len(techniques))
    trials = trials[trials["score"].notna()]
    traces = []
    for index, technique in enumerate(techniques):
        mine = trials[trials["technique"] == technique]
        rows = mine["workload"].map(names.index).to_numpy() + step * (index - (len(techniques) - 1) / 2)
        symbols = {"symbol": ["x-thin-open"] * len(mine)} if mine["failed"].eq(1).all() and len(mine) else {}
        values = findings.common.shown_score(mine["score"].to_numpy())
        traces.append(points(values, rows, index, trial=[int(n) for n in mine.index], marker=symbols))
    layout = {"yaxis": rows_axis(names), "xaxis": {"title": {"text": label(findings.common.label, 60)}, "nticks": 8}}
    return Panel("", traces, layout, row_height(len(names)))
