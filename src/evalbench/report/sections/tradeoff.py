"""Quality against cost, both relative to the baseline, with both intervals and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from evalbench.names import code, plain
from evalbench.report.analysis.cost import FrontPoint
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.analysis.verdicts import recommended
from evalbench.report.plots.tradeoff import tradeoff as plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.style import ROUND_STEPS
from evalbench.report.render.units import percent, ratio, ratio_interval
from evalbench.report.section import Chart, Section

LINE = 14
"""The height of a line of a name, in points."""


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return a row per technique: effect and cost ratio with their ends, and whether it is on the front."""
    unit = findings.common
    return pd.DataFrame(
        {
            "technique": point.technique,
            "unit": unit.difference,
            "effect": unit.shown(point.effect[0]) + 0.0,
            "effect_low": unit.ends(*point.effect[1:])[0],
            "effect_high": unit.ends(*point.effect[1:])[1],
            "cost_ratio": point.cost[0],
            "cost_ratio_low": point.cost[1],
            "cost_ratio_high": point.cost[2],
            "cost_in": measured_in(findings),
            "on_front": point.front,
            "front_probability": point.probability,
        }
        for point in findings.front
    )


def measured_in(findings: JudgedFindings) -> str:
    """Return the unit of the cost, in words."""
    return "isolated seconds" if not findings.folder.costs.empty else "counted FLOPs"


def draw(findings: JudgedFindings) -> Figure:
    """Draw effect against cost; a filled marker is on the front."""
    figure = Figure(figsize=(style.WIDTH, 3.6))
    axis = figure.subplots()
    shown = findings.common.shown
    names = list(findings.evaluation.techniques)
    rope = findings.common.shown_size(findings.judged.design.rope)
    axis.axhspan(-rope, rope, color=style.ROPE, lw=0, zorder=0)
    axis.axvspan(0.9, 1.1, color="#EEEEEE", lw=0, zorder=-1)
    for point in findings.front:
        _point(axis, point, names.index(point.technique), shown)
    best = sorted((p.cost[0], p.effect[0]) for p in findings.front if p.front)
    if len(best) > 1:
        axis.step(
            [cost for cost, _ in best],
            [shown(effect) for _, effect in best],
            where="post",
            color=style.GRAY,
            lw=0.9,
            ls=(0, (1, 1.5)),
            zorder=1,
        )
    _cost_scale(axis, findings.front)
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
    axis.grid()
    if findings.common.sign < 0:
        axis.invert_yaxis()
    _names(findings, axis, names)
    base = findings.evaluation.baseline
    axis.set_xlabel(f"cost relative to {base} ({measured_in(findings)}, log scale); left is cheaper")
    axis.set_ylabel(f"effect ({findings.common.difference})\nup is better")
    level, own = percent(findings.level), percent(findings.evaluation.confidence)
    levels = f"{level} interval" if level == own else f"intervals: effect {level}, cost {own}"
    style.legend_below(
        figure,
        [
            Line2D([], [], color="black", marker="o", ls="", ms=8, label="on the Pareto front"),
            Line2D([], [], color="black", marker="o", ls="", ms=8, mfc="white", mew=1.5, label="off it"),
            Line2D([], [], color="black", lw=1.4, label=levels),
            Patch(color=style.ROPE, label="ROPE"),
            Patch(color="#EEEEEE", label="same cost (±10 %)"),
        ],
        5,
    )
    return figure


def _point(axis: Axes, point: FrontPoint, index: int, shown: Callable[[float], float]) -> None:
    """Draw a technique with both intervals; its marker is filled if it is on the front."""
    color = style.color(index)
    x, y = point.cost[0], shown(point.effect[0])
    if point.cost[1] < point.cost[2]:
        axis.plot(point.cost[1:], [y, y], color=color, lw=1.4, zorder=2)
    if point.effect[1] < point.effect[2]:
        axis.plot([x, x], [shown(point.effect[1]), shown(point.effect[2])], color=color, lw=1.4, zorder=2)
    face = color if point.front else "white"
    axis.plot(x, y, style.marker(index), ms=9, color=color, mfc=face, mew=1.6, zorder=3)


def _cost_scale(axis: Axes, front: Sequence[FrontPoint]) -> None:
    axis.set_xscale("log")
    costs = [x for p in front for x in p.cost if np.isfinite(x)]
    low, high = min([0.8, *costs]), max([1.25, *costs])
    axis.set_xlim(low / 1.15, high * 1.15)
    ticks = style.ratio_ticks(low / 1.15, high * 1.15)
    axis.set_xticks(ticks)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}×"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_minor_locator(NullLocator())


def _names(findings: JudgedFindings, axis: Axes, names: list[str]) -> None:
    """Write names beside the markers, in turn to the left and right, and above another name that would be hidden."""
    positions = {point: (point.cost[0], findings.common.shown(point.effect[0])) for point in findings.front}
    scale = 72 / axis.figure.dpi  # points of a pixel
    heights = {point: axis.transData.transform(position)[1] * scale for point, position in positions.items()}
    free = {1: -math.inf, -1: -math.inf}
    for count, point in enumerate(sorted(positions, key=lambda p: heights[p])):
        side, name = 1 if count % 2 == 0 else -1, label(findings, point.technique)
        height = max(heights[point] + 4, free[side])
        free[side] = height + LINE * (name.count("\n") + 1)
        axis.annotate(
            name,
            positions[point],
            (10 * side, height - heights[point]),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            color=style.color(names.index(point.technique)),
            fontweight="bold",
        )


def label(findings: JudgedFindings, technique: str) -> str:
    """Return the name of a technique with its recommendation: `adam · OPEN`."""
    verdict = next((v for v in findings.judged.verdicts if v.challenger == technique), None)
    name = style.wrapped(technique, 34)
    return name if verdict is None else f"{name} · {recommended(verdict)}"


def table(findings: JudgedFindings) -> str:
    """Return a table of quality and cost."""
    unit, rows = findings.common, []
    for point in findings.front:
        mean, low, high = point.effect
        ends = f" {unit.span(low, high)}" if mean or low else ""
        cost = f" {ratio_interval(*point.cost[1:])}" if point.cost[1] < point.cost[2] else ""
        rows.append(
            [
                code(point.technique),
                f"{unit.change(mean)}{ends}",
                f"{ratio(point.cost[0])}{cost}",
                "yes" if point.front else "no",
                f"{point.probability:.2f}",
            ]
        )
    by = "seconds" if not findings.folder.costs.empty else "FLOPs"
    headers = [
        "technique",
        f"effect ({plain(unit.difference)})",
        f"cost ratio ({by})",
        "on the front",
        "P(on the front)",
    ]
    return markdown(headers, rows, 1) if rows else ""


def _caption(_: JudgedFindings) -> str:
    return "Up is better, left is cheaper. Filled markers are on the Pareto front."


def alt(findings: JudgedFindings) -> str:
    """Return the text for those who cannot see the figure."""
    names = ", ".join(findings.evaluation.techniques)
    return f"Effect against cost of {names}, relative to the baseline, with intervals and Pareto front"


def text(findings: JudgedFindings) -> str:
    """Return the table of the figure."""
    rows = table(findings)
    return f"## Quality against cost\n\n{rows}" if rows else ""


CHART = Chart("tradeoff", draw, numbers, alt, _caption, lambda findings: len(findings.front) > 1, plot)
FRONT = Section(judged, text)
