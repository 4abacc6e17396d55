"""The share of runs above each score."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.plots.profiles import better_runs
from evalbench.report.render import style
from evalbench.report.section import Chart, Section


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return the share of the runs that are better than each threshold, per technique."""
    parts = [
        pd.DataFrame(
            {
                "technique": name,
                "threshold": findings.common.shown(findings.robustness.thresholds),
                "unit": findings.common.label,
                "share": share,
            }
        )
        for name, share in findings.robustness.profiles.items()
    ]
    return pd.concat(parts, ignore_index=True)


def draw(findings: JudgedFindings) -> Figure:
    """Draw a curve per technique: higher is better everywhere; curves that cross change places with the threshold."""
    figure = Figure(figsize=(style.WIDTH, 3.2))
    axis = figure.subplots()
    names = list(findings.evaluation.techniques)
    handles = []
    for name, share in findings.robustness.profiles.items():
        index = names.index(name)
        axis.step(
            findings.common.shown(findings.robustness.thresholds),
            share,
            where="post",
            color=style.color(index),
            ls=style.dashes(index),
            lw=1.6,
        )
        handles.append(Line2D([], [], color=style.color(index), ls=style.dashes(index), lw=1.6, label=name))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_ylim(-0.02, 1.02)
    axis.grid()
    axis.set_xlabel(f"test score: {findings.common.label}")
    axis.set_ylabel("runs above it" if findings.common.sign > 0 else "runs below it")
    if findings.common.sign < 0:
        axis.invert_xaxis()
    style.legend_below(figure, handles, 6)
    return figure


def _several(findings: JudgedFindings) -> bool:
    return bool(findings.robustness.profiles) and len(findings.data_sets) > 1


PROFILES = Section(
    judged,
    charts=(
        Chart(
            "profiles",
            draw,
            numbers,
            lambda f: f"Share of runs of {', '.join(f.evaluation.techniques)} that are better than each score",
            lambda _: (
                "Share of runs that score better than each value, over all data sets. How techniques compare here"
                " depends on the other techniques."
            ),
            _several,
            better_runs,
        ),
    ),
)
