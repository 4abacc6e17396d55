"""Profiles: the share of runs above each score, and the share of targets reached within a multiple of the fastest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from evalbench.report import style
from evalbench.report.findings import Findings


def profile_numbers(findings: Findings) -> pd.DataFrame:
    """Share of the runs that are better than each threshold, per technique."""
    assert findings.appendix is not None  # drawable
    parts = [
        pd.DataFrame(
            {
                "technique": name,
                "threshold": findings.appendix.thresholds * findings.common.oriented,
                "unit": findings.common.label,
                "share": share,
            }
        )
        for name, share in findings.appendix.profiles.items()
    ]
    return pd.concat(parts, ignore_index=True)


def profile(findings: Findings) -> Figure:
    """A curve per technique: higher is better everywhere; curves that cross change places with the threshold."""
    assert findings.appendix is not None  # drawable
    figure = Figure(figsize=(style.WIDTH, 3.2))
    axis = figure.subplots()
    names = list(findings.folder.evaluation.techniques)
    handles = []
    for name, share in findings.appendix.profiles.items():
        place = names.index(name)
        axis.step(
            findings.appendix.thresholds * findings.common.oriented,
            share,
            where="post",
            color=style.colour(place),
            ls=style.dashes(place),
            lw=1.6,
        )
        handles.append(Line2D([], [], color=style.colour(place), ls=style.dashes(place), lw=1.6, label=name))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_ylim(-0.02, 1.02)
    axis.grid()
    axis.set_xlabel(f"test score: {findings.common.label}")
    axis.set_ylabel("runs above it" if findings.common.sign > 0 else "runs below it")
    if findings.common.sign < 0:
        axis.invert_xaxis()
    style.legend_below(figure, handles, 6)
    return figure


def target_numbers(findings: Findings) -> pd.DataFrame:
    """Median time to target of each technique on each workload; infinite where it was missed."""
    assert findings.milestones is not None  # drawable
    rows = [
        {
            "workload": m.workload,
            "technique": m.technique,
            "target": m.target * findings.units[m.workload].scale,
            "unit": findings.units[m.workload].label,
            "reached": m.reached,
            "trials": m.count,
            "steps": m.steps,
            "flops": m.flops,
            "seconds": m.seconds,
        }
        for m in findings.milestones.rows
    ]
    return pd.DataFrame(rows)


def targets(findings: Findings) -> Figure:
    """Share of targets reached within τ times the fastest technique's time."""
    assert findings.milestones is not None  # drawable
    relative = findings.milestones.relative
    finite = relative[np.isfinite(relative)]
    end = max(4.0, float(finite.max()) * 1.2) if finite.size else 4.0
    grid = np.geomspace(1, end, 400)
    figure = Figure(figsize=(style.WIDTH, 3.0))
    axis = figure.subplots()
    handles = []
    for place, name in enumerate(findings.folder.evaluation.techniques):
        share = (relative[place][:, None] <= grid * (1 + 1e-12)).mean(axis=0)
        # Curves that lie on each other stay visible: each is a little lower than the one before.
        drawn = share - 0.006 * place
        axis.step(grid, drawn, where="post", color=style.colour(place), ls=style.dashes(place), lw=2)
        handles.append(Line2D([], [], color=style.colour(place), ls=style.dashes(place), lw=2, label=name))
    axis.set_xscale("log")
    axis.set_xlim(1, end)
    ticks = [t for t in (1, 1.5, 2, 3, 4, 6, 10, 20, 50, 100, 300, 1000, 3000, 10000) if t <= end]
    axis.xaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // 9)]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_ylim(-0.04, 1.04)
    axis.grid()
    axis.set_xlabel(f"time to target relative to the fastest technique ({findings.milestones.measured_by}, log scale)")
    axis.set_ylabel("targets reached")
    style.legend_below(figure, handles, 6)
    return figure
