"""The picture of many techniques or workloads: a forest of means beside a heat map of all differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evalbench.report.analysis.findings import Findings, JudgedFindings
from evalbench.report.plots.overview import Overview, overview
from evalbench.report.render import style
from evalbench.report.render.style import ROUND_STEPS, TALLEST

MOST_LABELS = 60
"""More workloads than this have no name below the heat map."""
MOST_TEXTS = 12
"""A heat map of more workloads has no numbers in its cells."""


def draw_overview(findings: Findings, table: pd.DataFrame) -> Figure:
    """Draw a row per comparison: the mean with its interval, and the difference on each workload as a color."""
    seen = overview(findings, table)
    named = len(seen.workloads) <= MOST_LABELS
    figure = Figure(figsize=(style.WIDTH, min(TALLEST, 1.4 + 0.24 * len(seen.names) + 0.8 * named)))
    means, heat = figure.subplots(1, 2, width_ratios=[2, 3])
    _means(means, findings, seen)
    _heat_map(figure, heat, findings, seen)
    return figure


def _means(axis: Axes, findings: Findings, seen: Overview) -> None:
    for row, (technique, mean) in enumerate(zip(seen.techniques, seen.means, strict=True)):
        if mean is None:
            continue
        color = style.color(technique)
        axis.plot([mean["low"], mean["high"]], [row, row], "-", color=color, lw=1.6, solid_capstyle="butt")
        axis.plot([mean["mean"]], [row], style.marker(technique), ms=5, color=color, mec="white", mew=0.5)
    axis.axvline(0, color="black", lw=0.9, zorder=1)
    if isinstance(findings, JudgedFindings):
        rope = findings.common.shown_size(findings.judged.design.rope)
        axis.axvspan(-rope, rope, color=style.ROPE, lw=0, zorder=0)
    axis.set_ylim(len(seen.names) - 0.4, -0.6)
    size = 8.5 if len(seen.names) <= 40 else 6
    axis.set_yticks(range(len(seen.names)), [style.wrapped(name, 34) for name in seen.names], fontsize=size)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axis.grid(axis="x")
    axis.set_title("mean over the workloads", loc="left")
    axis.set_xlabel(f"difference ({findings.common.difference})")


def _heat_map(figure: Figure, axis: Axes, findings: Findings, seen: Overview) -> None:
    colors = style.DIVERGING[:: findings.common.sign]
    shades = LinearSegmentedColormap.from_list("differences", colors).with_extremes(bad="#FFFFFF")
    masked = np.ma.masked_invalid(seen.values)
    image = axis.imshow(masked, cmap=shades, vmin=-seen.reach, vmax=seen.reach, aspect="auto", interpolation="nearest")
    axis.set_yticks([])
    axis.set_title("difference on each workload", loc="left")
    if len(seen.workloads) <= MOST_LABELS:
        names = [style.short_label(name) for name in seen.workloads]
        size = 8 if len(names) <= 30 else 6
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    else:
        axis.set_xticks([])
        axis.set_xlabel(f"{len(seen.workloads)} workloads, in the order of the tables")
    if len(seen.workloads) <= MOST_TEXTS:
        _texts(axis, findings, seen)
    for spine in axis.spines.values():
        spine.set_visible(False)
    figure.colorbar(image, ax=axis, extend="both", fraction=0.04, pad=0.02)


def _texts(axis: Axes, findings: Findings, seen: Overview) -> None:
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5}
    for row, column in np.argwhere(np.isfinite(seen.values)):
        value = seen.values[row, column]
        color = "white" if abs(value) > 0.7 * seen.reach else "black"
        axis.text(column, row, f"{value:+.{findings.common.finer}f}".replace("-", "−"), color=color, **middle)
