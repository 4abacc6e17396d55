"""Learning curves: the mean of each technique with its band, and behind it every trial."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from evalbench.names import short
from evalbench.report.analysis.findings import Findings
from evalbench.report.plots.trials import trial_numbers
from evalbench.report.render.plots import Panel, Plot, Trace, all_or_chosen, band, label, line, points
from evalbench.report.render.style import workload_label
from evalbench.report.render.units import Unit, percent, unit_of
from evalbench.tasks.metric import describe

MOST_POINTS = 20_000
"""Points of single trials that a page holds; of more, it has the means alone."""
MOST_MEANS = 40_000
"""Points of means that a page holds; of more, every n-th epoch is drawn."""


def curve_unit(findings: Findings, workload: str) -> Unit:
    """Return the unit of a workload's validation scores."""
    name = findings.evaluation.workloads[workload].curve_metric
    return unit_of(name, describe(name).unit, 1.0)


def over_epochs(findings: Findings, numbers: pd.DataFrame) -> Plot:
    """Return the curves over epochs with bands."""
    return _plot(findings, numbers, "epoch")


def over_steps(findings: Findings, numbers: pd.DataFrame) -> Plot:
    """Return the curves over optimizer steps."""
    return _plot(findings, numbers[numbers["step"] > 0], "step")


def _plot(findings: Findings, numbers: pd.DataFrame, over: str) -> Plot:
    trials = findings.folder.curves
    trials = trials[trials[over] > 0] if over == "step" else trials
    trials = trials.iloc[: len(trials) if len(trials) <= MOST_POINTS else 0]
    runs = {str(name): rows for name, rows in trials.groupby("workload", sort=False)}
    step = -(-len(numbers) // MOST_MEANS)
    parts = {str(name): rows for name, rows in numbers.groupby("workload", sort=False)}
    panels = [
        _panel(findings, name, parts[name], runs.get(name, trials.iloc[:0]), over, step)
        for name in findings.evaluation.workloads
        if name in parts
    ]
    return all_or_chosen(panels, "workload")


def _panel(findings: Findings, workload: str, means: pd.DataFrame, runs: pd.DataFrame, over: str, step: int) -> Panel:
    unit, techniques = curve_unit(findings, workload), list(findings.evaluation.techniques)
    traces = _trials(findings, runs, unit, over)
    for technique, part in means.groupby("technique", sort=False):
        index, part = techniques.index(str(technique)), part.iloc[:: step or 1]
        x, middle = part[over].to_numpy(), unit.shown_score(part["mean"].to_numpy())
        low, high = (unit.shown_score(part[end].to_numpy()) for end in ("low", "high"))
        if over == "epoch":
            traces.append(band(list(x), list(low), list(high), index))
        shown = zip(x, middle, low, high, part["count"], part["num_diverged"], strict=True)
        cards = [_card(findings, unit, over, *row) for row in shown]
        look = {"mode": "lines+markers", "marker": {"size": 4}, "within": True}
        traces.append(line(x, middle, index, hover=cards, **look))
        gone = part["num_diverged"].diff().fillna(part["num_diverged"]).gt(0).to_numpy()
        if gone.any():
            traces.append(points(x[gone], middle[gone], index, marker={"symbol": "x", "size": 9}))
    epochs = "epoch" if "epochs" in findings.evaluation.budget else "share of the budget"
    layout = {
        "xaxis": {"type": "log", "title": {"text": "optimizer steps"}, "nticks": 6, "dtick": 1, "exponentformat": "SI"}
        if over == "step"
        else {"title": {"text": epochs}, "nticks": 6},
        "yaxis": {"title": {"text": f"validation {label(unit.label, 60)}"}, "nticks": 6, **_range(unit, means)},
    }
    return Panel(short(workload_label(findings.evaluation, workload)), traces, layout, 270)


def _trials(findings: Findings, runs: pd.DataFrame, unit: Unit, over: str) -> list[Trace]:
    """Return a thin line per trial, which leads to the trial's row."""
    if runs.empty:
        return []
    numbers, techniques = trial_numbers(findings), list(findings.evaluation.techniques)
    keys = ["technique", "workload", *findings.evaluation.factors, "seed"]
    look = {"line": {"width": 0.7, "dash": "solid"}, "opacity": 0.3}
    traces = []
    for key, rows in runs.groupby(keys, sort=False):
        assert isinstance(key, tuple)
        if key in numbers:
            scores = unit.shown_score(rows["val_score"].to_numpy())
            traces.append(line(rows[over], scores, techniques.index(str(key[0])), trial=numbers[key], **look))
    return traces


def _card(findings: Findings, unit: Unit, over: str, *row: Any) -> str:
    x, middle, low, high, count, gone = row
    lines = [f"{over} {x:,.6g}", f"mean of {count}: {middle:.{unit.finer}f} {unit.label}"]
    if over == "epoch" and math.isfinite(low):
        level = percent(findings.evaluation.confidence)
        lines.append(f"band [{low:.{unit.finer}f}, {high:.{unit.finer}f}], {level} at this point")
    return "\n".join([*lines, *([f"{gone} diverged"] if gone else [])])


def _range(unit: Unit, means: pd.DataFrame) -> dict[str, Any]:
    """Return the ends of the axis without values far below the trivial predictor, which would flatten all others."""
    known = pd.concat([means["mean"], means["low"], means["high"]]).dropna()
    if known.empty:
        return {}
    low, high = unit.shown_score(float(known.min())), unit.shown_score(float(known.max()))
    bounds = (-1.0, 1.0) if unit.metric == "R²" else unit.bounds
    low, high = max(low, bounds[0]), min(high, bounds[1])
    margin = 0.05 * (high - low) or 0.5
    return {"range": [low - margin, high + margin]}
