"""The critical-difference diagram: average ranks, and which of them cannot be told apart."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evalbench.names import one_line, short
from evalbench.report import style
from evalbench.report.appendix import Omnibus
from evalbench.report.findings import Findings
from evalbench.report.units import percent
from evalbench.statistics.ranks import cliques


def numbers(findings: Findings) -> pd.DataFrame:
    """A row per technique: its average rank, and the groups that it belongs to."""
    omnibus = _omnibus(findings)
    groups = cliques(omnibus.test.average_ranks, omnibus.critical_difference)
    return pd.DataFrame(
        {
            "technique": name,
            "average_rank": rank,
            "groups": " ".join(str(number) for number, group in enumerate(groups, 1) if place in group),
            "critical_difference": omnibus.critical_difference,
            "num_datasets": len(omnibus.workloads),
        }
        for place, (name, rank) in enumerate(zip(omnibus.techniques, omnibus.test.average_ranks, strict=True))
    )


def ranks(findings: Findings) -> Figure:
    """Best rank on the left; a bar joins techniques whose average ranks differ by less than the critical difference."""
    omnibus = _omnibus(findings)
    mean = omnibus.test.average_ranks
    order = sorted(range(len(mean)), key=lambda place: mean[place])
    groups = cliques(mean, omnibus.critical_difference)
    k = len(mean)
    half = -(-k // 2)
    bars = 0.28 * max(len(groups), 1)
    bottom = -(0.45 + bars + 0.34 * half)
    figure = Figure(figsize=(style.WIDTH, 0.75 * (1.35 - bottom) + 0.25))
    axis = figure.subplots()
    room = 0.32 * max(k - 1, 1)
    axis.set_xlim(1 - room, k + room)
    axis.set_ylim(bottom, 1.25)
    axis.axis("off")
    axis.plot([1, k], [0, 0], color="black", lw=1.2)
    for tick in range(1, k + 1):
        axis.plot([tick, tick], [0, 0.1], color="black", lw=1.2)
        axis.text(tick, 0.15, str(tick), ha="center", va="bottom")
    for number, group in enumerate(groups):
        ends = [mean[group[0]] - 0.02 * room, mean[group[-1]] + 0.02 * room]
        axis.plot(ends, [-0.25 - 0.28 * number] * 2, color=style.GREY, lw=5, solid_capstyle="round")
    for position, place in enumerate(order):
        left = position < half
        level = -(0.45 + bars) - 0.34 * (position if left else k - 1 - position)
        _name(axis, findings, omnibus, place, level, 1 - 0.08 * room if left else k + 0.08 * room, left)
    width = omnibus.critical_difference
    shown = min(width, k - 1 + 2 * room)
    axis.plot([1, 1 + shown], [0.85, 0.85], color="black", lw=1.2)
    for end in (1, 1 + shown):
        axis.plot([end, end], [0.78, 0.92], color="black", lw=1.2)
    level_text = percent(findings.folder.evaluation.confidence)
    axis.text(1 + shown / 2, 0.97, f"critical difference {width:.2f} ({level_text})", ha="center", va="bottom")
    return figure


def _name(axis: Axes, findings: Findings, omnibus: Omnibus, place: int, level: float, edge: float, left: bool) -> None:
    rank, name = omnibus.test.average_ranks[place], omnibus.techniques[place]
    colour = style.colour(list(findings.folder.evaluation.techniques).index(name))
    axis.plot([rank, rank, edge], [0, level, level], color=colour, lw=1.3)
    name = short(one_line(name), 40)
    axis.text(
        edge,
        level,
        f"{name}  {rank:.2f} " if left else f" {rank:.2f}  {name}",
        ha="right" if left else "left",
        va="center",
        color=colour,
    )


def _omnibus(findings: Findings) -> Omnibus:
    assert findings.appendix is not None  # drawable
    assert findings.appendix.omnibus is not None
    return findings.appendix.omnibus
