"""Paired differences by workload: a panel per comparison, with the ROPE and the means."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.analysis.findings import Findings, JudgedFindings
from evalbench.report.render.plots import (
    Panel,
    Plot,
    all_or_chosen,
    label,
    line,
    points,
    records,
    rope,
    row_height,
    rows_axis,
    rule,
    whiskers,
)
from evalbench.report.render.units import end_text, percent, signed


def differences(findings: Findings, numbers: pd.DataFrame) -> Plot:
    """Return a panel per comparison, or a choice of them if there are many."""
    return all_or_chosen(comparison_panels(findings, numbers), "technique")


def comparison_panels(findings: Findings, numbers: pd.DataFrame, by_candidate: bool = False) -> list[Panel]:
    """Return the panels, a row per workload and below them the means over workloads.

    by_candidate: leave a baseline out of the titles.
    """
    parts = numbers.groupby(["candidate", "comparator"], sort=False)
    alone = by_candidate and findings.evaluation.baseline is not None
    return [_panel(findings, str(a), "" if alone else str(b), part) for (a, b), part in parts]


def _panel(findings: Findings, candidate: str, comparator: str, part: pd.DataFrame) -> Panel:
    unit, index = findings.common, list(findings.evaluation.techniques).index(candidate)
    single = part[part["pairs"].notna()]
    means = part[part["pairs"].isna()]
    rows = list(range(len(single)))
    traces = []
    if any(findings.rho.values()) and not findings.one_score:
        narrow = [_these_rows(findings, row) for row in records(single)]
        ends = whiskers(single["mean"], [a for a, _ in narrow], [b for _, b in narrow], 6)
        traces.append(points(single["mean"], rows, index, error_x=ends, opacity=0.35, marker={"opacity": 0}))
    cards = [card(findings, row) for row in records(single)]
    ends = whiskers(single["mean"], single["low"], single["high"])
    traces.append(points(single["mean"], rows, index, hover=cards, error_x=ends, marker={"symbol": "circle"}))
    for row, mean in enumerate(records(means), len(rows)):
        filled = row == len(rows)
        look: dict[str, Any] = {"open": not filled, "marker": {"symbol": "diamond", "size": 10}}
        ends = whiskers([mean["mean"]], [mean["low"]], [mean["high"]], 2.4)
        if math.isfinite(mean.get("prediction_low", math.nan)):
            ahead = [mean["prediction_low"], mean["prediction_high"]]
            traces.append(line(ahead, [row, row], index, line={"dash": "dot", "width": 1.3}))
        traces.append(points([mean["mean"]], [row], index, hover=[card(findings, mean)], error_x=ends, **look))
    labels = [*single["workload"], *(str(name).strip("()") for name in means["workload"])]
    shapes = [rule("x", 0)]
    if isinstance(findings, JudgedFindings):
        shapes.insert(0, rope("x", unit.shown_size(findings.judged.design.rope)))
    layout = {
        "yaxis": rows_axis(labels, 26),
        "xaxis": {"title": {"text": f"difference ({label(unit.difference, 60)})"}, "nticks": 6},
        "shapes": shapes,
    }
    title = short(one_line(candidate if not comparator else f"{candidate} − {comparator}"))
    return Panel(title, traces, layout, row_height(len(labels)))


def _these_rows(findings: Findings, row: dict[str, Any]) -> tuple[float, float]:
    """Return the interval for these rows only: both are centered on one mean, and their widths have a known ratio."""
    rho, count = findings.rho.get(row["workload"], 0.0), row["pairs"]
    share = math.sqrt((1 / count) / (1 / count + rho)) if count else math.nan
    return row["mean"] - (row["mean"] - row["low"]) * share, row["mean"] + (row["high"] - row["mean"]) * share


def card(findings: Findings, row: dict[str, Any]) -> str:
    """Return a difference in words: its sides, its interval, its pairs."""
    unit = findings.common
    ends = "no interval" if not math.isfinite(row["low"]) else ""
    ends = ends or f"[{end_text(row['low'], unit.finer)}, {end_text(row['high'], unit.finer)}]"
    lines = [
        f"minus {one_line(row['comparator'])} on {one_line(row['workload']).strip('()')}",
        f"{signed(row['mean'], unit.finer)} {ends} ({percent(row['confidence'])})",
    ]
    if not pd.isna(row["pairs"]) and row["pairs"]:
        lines.append(f"wins {row['wins']}, ties {row['ties']} of {row['pairs']} pairs")
    if math.isfinite(row.get("prediction_low", math.nan)):
        ends = f"[{', '.join(end_text(row[f'prediction_{end}'], unit.finer) for end in ('low', 'high'))}]"
        lines.append(f"dotted line: the difference that one new data set like these would show, {ends}")
    return "\n".join(lines)
