"""Profiles: a rising or falling step curve per technique."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from evalbench.report.analysis.findings import Findings, JudgedFindings
from evalbench.report.render.plots import Panel, Plot, Trace, label, line
from evalbench.report.render.style import ratio_ticks
from evalbench.statistics.intervals import Floats
from evalbench.statistics.targets import time_profile


def targets(findings: Findings, _: pd.DataFrame) -> Plot:
    """Return the share of targets reached within multiples of the fastest technique's time."""
    return of_times(findings.milestones.relative, findings.milestones.measured_by)


def of_times(relative: Floats, measured_by: str, end: float = math.inf) -> Plot:
    """Return the performance profile of times relative to the fastest, shape (k, W), up to the ratio `end`."""
    finite = relative[np.isfinite(relative)]
    end = min(end, max(4.0, float(finite.max()) * 1.2) if finite.size else 4.0)
    ratios = np.unique(np.concatenate([[1.0], finite[finite <= end], [end]]))
    shares = time_profile(relative, ratios)
    traces: list[Trace] = []
    for index, share in enumerate(shares):
        cards = [f"{part:.0%} of the targets within {ratio:.3g}×" for part, ratio in zip(share, ratios, strict=True)]
        # Curves that lie on each other stay visible: each is a little lower than the one before.
        traces.append(_steps(ratios, share - 0.006 * index, index, cards))
    ticks = ratio_ticks(1, end)
    layout = {
        "xaxis": {
            "type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}×" for tick in ticks],
            "range": [-0.01, math.log10(end) + 0.01],
            "title": {"text": f"time to target relative to the fastest technique ({label(measured_by, 60)})"},
        },
        "yaxis": {"title": {"text": "targets reached"}, "tickformat": ".0%", "range": [-0.05, 1.05]},
    }  # fmt: skip
    return Plot([Panel("", traces, layout, 320)])


def better_runs(findings: JudgedFindings, numbers: pd.DataFrame) -> Plot:
    """Return the share of runs that are better than each score."""
    unit, techniques = findings.common, list(findings.evaluation.techniques)
    side = "above" if unit.sign > 0 else "below"
    traces = []
    for technique, part in numbers.groupby("technique", sort=False):
        pairs = zip(part["share"], part["threshold"], strict=True)
        cards = [f"{share:.0%} of the runs {side} {threshold:.{unit.finer}f}" for share, threshold in pairs]
        traces.append(_steps(part["threshold"], part["share"], techniques.index(str(technique)), cards))
    layout = {
        "xaxis": {"title": {"text": f"test score: {label(unit.label, 60)}"},
                  **({"autorange": "reversed"} if unit.sign < 0 else {})},
        "yaxis": {"title": {"text": f"runs {side} it"}, "tickformat": ".0%", "range": [-0.02, 1.02]},
    }  # fmt: skip
    return Plot([Panel("", traces, layout, 320)])


def _steps(x: Sequence[float] | Floats | pd.Series, y: Floats | pd.Series, index: int, cards: list[str]) -> Trace:
    look = {"mode": "lines+markers", "marker": {"size": 4}, "line": {"shape": "hv", "width": 2}}
    return line(x, y, index, hover=cards, **look)
