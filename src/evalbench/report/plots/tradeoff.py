"""Effect against cost, relative to the baseline, each technique with its intervals and its recommendation."""

from __future__ import annotations

import math

import pandas as pd

from evalbench.report.analysis.cost import FrontPoint
from evalbench.report.analysis.findings import JudgedFindings
from evalbench.report.analysis.verdicts import recommended
from evalbench.report.render.plots import (
    Layout,
    Panel,
    Plot,
    Trace,
    label,
    line,
    points,
    records,
    rope,
    rule,
    stripe,
    whiskers,
)
from evalbench.report.render.style import ratio_ticks
from evalbench.report.render.units import percent, ratio, ratio_interval

MOST_NAMED = 12
"""More techniques than this have no name beside their point: the legend and the card have it."""
SAME_COST = (0.9, 1.1)


def tradeoff(findings: JudgedFindings, numbers: pd.DataFrame) -> Plot:
    """Return one panel: effect against cost, a hollow marker off the Pareto front."""
    names = list(findings.evaluation.techniques)
    rows = list(zip(findings.front, records(numbers), strict=True))
    order = sorted(range(len(rows)), key=lambda index: rows[index][1]["effect"])
    traces = [_front(numbers)] if numbers["on_front"].sum() > 1 else []
    for index, (point, row) in enumerate(rows):
        x, y = row["cost_ratio"], row["effect"]
        trace = points(
            [x], [y], names.index(point.technique), open=not point.front, hover=[_card(findings, point)],
            marker={"size": 11},
            error_x=whiskers([x], [row["cost_ratio_low"]], [row["cost_ratio_high"]]),
            error_y=whiskers([y], [row["effect_low"]], [row["effect_high"]]),
        )  # fmt: skip
        if len(rows) <= MOST_NAMED:
            side = "top right" if order.index(index) % 2 == 0 else "bottom right"
            trace |= {"mode": "markers+text", "text": [_name(findings, point.technique)], "textposition": side}
        traces.append(trace)
    lowest, highest = _ends(numbers)
    ticks = ratio_ticks(lowest, highest, 6)
    size = findings.common.shown_size(findings.judged.design.rope)
    in_words = numbers["cost_in"].iloc[0]
    layout = {
        "xaxis": {
            "type": "log", "range": [math.log10(lowest), math.log10(highest)],
            "tickvals": ticks, "ticktext": [f"{tick:.4g}×" for tick in ticks],
            "title": {"text": f"cost relative to {label(findings.judged.baseline, 60)} ({in_words}); left is cheaper"},
        },
        "yaxis": {"title": {"text": f"effect ({label(findings.common.difference, 60)}); up is better"},
                  **({"autorange": "reversed"} if findings.common.sign < 0 else {})},
        "shapes": [rope("y", size), stripe("x", *SAME_COST, "@same"), rule("y", 0, "@gray")],
        "annotations": [_note(f"ROPE ±{findings.common.size(findings.judged.design.rope)}", "x", 0),
                        _note("same cost", "y", 0)],
    }  # fmt: skip
    return Plot([Panel("", traces, layout, 370)])


def _name(findings: JudgedFindings, technique: str) -> str:
    """Return a technique with its recommendation: `adam · OPEN`."""
    verdict = next((v for v in findings.judged.verdicts if v.challenger == technique), None)
    return label(technique, 30) + ("" if verdict is None else f" · {recommended(verdict)}")


def _note(text: str, side: str, value: float) -> Layout:
    """Return words at the start of the axis `x` or `y`, inside the panel, at a value of the other axis."""
    where = {"x": 0, "xref": "paper", "y": value, "xanchor": "left", "yshift": 9}
    if side == "y":
        where = {"y": 0, "yref": "paper", "x": value, "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 11, "color": "@gray"}, **where}


def _front(numbers: pd.DataFrame) -> Trace:
    best = numbers[numbers["on_front"]].sort_values("cost_ratio")
    look = {"shape": "hv", "dash": "dot", "color": "@gray", "width": 1}
    return line(best["cost_ratio"], best["effect"], line=look, together=True)


def _ends(numbers: pd.DataFrame) -> tuple[float, float]:
    columns = numbers[["cost_ratio", "cost_ratio_low", "cost_ratio_high"]].to_numpy(float).ravel()
    costs = [cost for cost in columns if math.isfinite(cost) and cost > 0]
    return min([0.8, *costs]) / 1.3, max([1.25, *costs]) * 1.6


def _card(findings: JudgedFindings, point: FrontPoint) -> str:
    unit, design = findings.common, findings.judged.design
    verdict = next((v for v in findings.judged.verdicts if v.challenger == point.technique), None)
    if verdict is None:
        return "the baseline"
    mean, low, high = point.effect
    known = point.cost[1] < point.cost[2]
    lines = [
        f"effect {unit.change(mean)} {unit.span(low, high)} {unit.difference} ({percent(findings.level)} interval)",
        f"ROPE ±{unit.size(design.rope)}",
        f"cost {ratio(point.cost[0])}×{f' {ratio_interval(*point.cost[1:])}' if known else ''}",
        f"{'on' if point.front else 'off'} the Pareto front, P(on the front) = {point.probability:.2f}",
        f"recommendation: {recommended(verdict)}",
    ]
    return "\n".join(lines)
