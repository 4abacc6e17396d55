"""The forest plot: paired differences per workload with the ROPE, and the overall effect with its prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from evalbench.names import one_line, short
from evalbench.report.analysis.differences import Difference
from evalbench.report.analysis.findings import Findings, JudgedFindings
from evalbench.report.plots.differences import differences
from evalbench.report.plots.overview import differences_overview
from evalbench.report.render import style
from evalbench.report.render.plots import Plot
from evalbench.report.render.style import ROUND_STEPS, TALLEST, columns, workload_label
from evalbench.report.render.units import percent
from evalbench.report.section import Chart, Section, always
from evalbench.report.sections.overview import draw_overview
from evalbench.statistics.design import used
from evalbench.statistics.generality import FEWEST
from evalbench.statistics.intervals import Interval

MOST_ROWS = 40
THESE, LIKE = "mean of these", "data sets like these"


def caption(findings: Findings) -> str:
    """Explain how to read the forest plot."""
    rope = (
        ". Within the shaded ROPE the difference is too small to matter" if isinstance(findings, JudgedFindings) else ""
    )
    thick = " Thin lines are for new rows, thick ones hold for these rows only." if any(findings.rho.values()) else ""
    if are_many(findings):
        return (
            f"Each row is a technique, the best mean on top. Left: its mean difference{rope}. Right: its difference on"
            " each workload, blue is better and orange is worse."
        )
    few = len(_shown(findings))
    far = f" The {few} workloads with the largest differences are shown." if few < len(findings.units) else ""
    scales = " Scales differ between the panels." if len(findings.comparisons) > 1 else ""
    side = "Right" if findings.common.sign > 0 else "Left"
    return f"{side} of zero is better for the first of the two{rope}.{thick}{scales}{far}"


def numbers(findings: Findings) -> pd.DataFrame:
    """Return the paired differences, in the common unit that is drawn and in the unit of the workload's metric."""
    rows = []
    for difference in findings.differences:
        own, effect, common = findings.units[difference.workload], difference.effect, findings.common
        low, high = common.ends(difference.common.low, difference.common.high)
        metric, alone = (own.ends(one.low, one.high) for one in (effect.interval, effect.rows_only))
        rows.append(
            {
                "workload": difference.workload,
                "candidate": difference.candidate,
                "comparator": difference.comparator,
                "unit": common.difference,
                "mean": common.shown(difference.common.mean),
                "low": low,
                "high": high,
                "confidence": difference.common.confidence,
                "metric_unit": own.difference,
                "metric_mean": own.shown(effect.interval.mean),
                "metric_low": metric[0],
                "metric_high": metric[1],
                "rows_only_low": alone[0],
                "rows_only_high": alone[1],
                "pairs": effect.count,
                "wins": effect.wins,
                "ties": effect.ties,
                "losses": effect.losses,
                "win_probability_low": effect.win_interval[0],
                "win_probability_high": effect.win_interval[1],
                "correlation": effect.correlation,
                "left_out": difference.num_left_out,
            }
        )
    rows += [
        _mean_row(findings, comparison, mean)
        for comparison in findings.comparisons
        for mean in _means(findings, *comparison)
    ]
    counts = ["pairs", "wins", "ties", "losses", "left_out"]
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


@dataclass(frozen=True)
class _Mean:
    """A mean over the workloads, below them in a panel."""

    label: str
    interval: Interval
    num_workloads: int
    filled: bool  # it decides


def _means(findings: Findings, candidate: str, comparator: str) -> list[_Mean]:
    """Return the mean of the first verdict and that of the second, or the mean over the data sets."""
    overall = next(o for o in findings.overall if (o.candidate, o.comparator) == (candidate, comparator))
    like = [] if overall.interval is None else [_Mean(LIKE, overall.interval, len(overall.workloads), True)]
    if not isinstance(findings, JudgedFindings) or findings.one_score:
        return like
    like = like if len(overall.workloads) >= FEWEST else []  # fewer show nothing about others, however close they are
    verdict = next((v for v in findings.judged.verdicts if v.challenger == candidate), None)
    number = len(used(findings.judged.design))
    if verdict is None or number < 2:
        return like
    return [_Mean(THESE, verdict.effect, number, True), *(replace(mean, filled=False) for mean in like)]


def _mean_row(findings: Findings, comparison: tuple[str, str], mean: _Mean) -> dict[str, Any]:
    low, high = findings.common.ends(mean.interval.low, mean.interval.high)
    return {
        "workload": f"({mean.label}: {mean.num_workloads})",
        "candidate": comparison[0],
        "comparator": comparison[1],
        "unit": findings.common.difference,
        "mean": findings.common.shown(mean.interval.mean),
        "low": low,
        "high": high,
        "confidence": mean.interval.confidence,
        **(_prediction(findings, comparison[0]) if mean.label == LIKE else {}),
    }


def _prediction(findings: Findings, candidate: str) -> dict[str, float]:
    """Return the prediction interval for one more data set, and the ROPE, in the unit that is drawn."""
    if not isinstance(findings, JudgedFindings):
        return {}
    values = {"rope": findings.common.shown_size(findings.judged.design.rope)}
    for verdict in findings.judged.verdicts:
        if verdict.challenger == candidate:
            low, high = findings.common.ends(*verdict.prediction)
            values |= {"prediction_low": low, "prediction_high": high}
    return values


def draw(findings: Findings) -> Figure:
    """Draw a panel per comparison: paired differences by workload with intervals, and the mean over data sets."""
    if are_many(findings):
        return draw_overview(findings, numbers(findings))
    means = [mean for comparison in findings.comparisons for mean in _means(findings, *comparison)]
    figure, axes = style.panels(len(findings.comparisons), _height(findings))
    for index, (axis, comparison) in enumerate(zip(axes, findings.comparisons, strict=True)):
        _forest(axis, findings, *comparison)
        if index % columns(axes):
            axis.tick_params(labelleft=False)
    level = percent(findings.family)
    handles: list[Artist] = []
    if isinstance(findings, JudgedFindings):
        rope = findings.common.shown_size(findings.judged.design.rope)
        handles.append(Patch(color=style.ROPE, label=f"ROPE: ±{rope:g}, too small to matter"))
    alone = findings.one_score  # a data set has no interval of its own
    mean = "difference" if alone else f"mean difference, {level} interval"
    handles.append(Line2D([], [], color="black", marker="o", ms=5, lw=0 if alone else 1.4, label=mean))
    if any(findings.rho.values()):
        handles.append(Line2D([], [], color="black", lw=4.5, alpha=0.35, label="these rows only"))
    for filled in (True, False):
        mine = [mean for mean in means if mean.filled is filled]
        if mine:
            label = f"{'decides' if filled else 'second verdict'}, {percent(mine[0].interval.confidence)} interval"
            face = "black" if filled else "white"
            handles.append(Line2D([], [], color="black", marker="D", mfc=face, ms=7, lw=2, label=label))
    if any(mean.label == LIKE for mean in means):
        handles.append(
            Line2D([], [], color="black", ls=(0, (2, 1.5)), lw=1.2, label="prediction interval, a new data set")
        )
    style.legend_below(figure, handles, 3)
    return figure


def _height(findings: Findings) -> float:
    """Return the inches of a panel."""
    labels = {mean.label for comparison in findings.comparisons for mean in _means(findings, *comparison)}
    return 1.0 + 0.27 * (len(_shown(findings)) + len(labels))


def are_many(findings: Findings) -> bool:
    """Return whether a panel per comparison would make a picture that nobody looks at."""
    return -(-len(findings.comparisons) // 3) * _height(findings) > TALLEST


def plot(findings: Findings, table: pd.DataFrame) -> Plot:
    """Return the figure of `report.html`: panels, or for many techniques an overview with details to choose."""
    return (differences_overview if are_many(findings) else differences)(findings, table)


def _shown(findings: Findings) -> list[str]:
    """Return the workloads that are drawn: of very many, those with the largest differences."""
    sizes = dict.fromkeys(findings.units, -1.0)
    for difference in findings.differences:
        if math.isfinite(difference.common.mean):
            sizes[difference.workload] = max(sizes[difference.workload], abs(difference.common.mean))
    kept = sorted(sizes, key=lambda name: -sizes[name])[:MOST_ROWS]
    return list(sizes) if len(sizes) <= MOST_ROWS else [name for name in sizes if name in kept]


def _forest(axis: Axes, findings: Findings, candidate: str, comparator: str) -> None:
    evaluation, unit = findings.evaluation, findings.common
    techniques = list(evaluation.techniques)
    color = style.color(techniques.index(candidate))
    shown = set(_shown(findings))
    mine = [d for d in findings.differences if (d.candidate, d.comparator) == (candidate, comparator)]
    mine = [difference for difference in mine if difference.workload in shown]
    for row, difference in enumerate(mine):
        _difference(axis, findings, difference, row, color)
    names = [style.wrapped(workload_label(findings.evaluation, d.workload)) for d in mine]
    means = _means(findings, candidate, comparator)
    for index, mean in enumerate(means, len(mine)):
        names.append(mean.label)
        _mean(axis, findings, mean, candidate, index, color)
    if means:
        axis.axhline(len(mine) - 0.5, color=style.GRAY, lw=0.6)
    axis.axvline(0, color="black", lw=0.9, zorder=1)
    if isinstance(findings, JudgedFindings):
        rope = unit.shown_size(findings.judged.design.rope)
        axis.axvspan(-rope, rope, color=style.ROPE, lw=0, zorder=0)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS, min_n_ticks=3))
    axis.grid(axis="x")
    axis.set_title(
        style.wrapped(" − ".join(short(one_line(name), 32) for name in (candidate, comparator)), 34), loc="left"
    )
    axis.set_xlabel(f"difference in {unit.difference}" if unit.short != "points" else f"difference ({unit.difference})")


def _difference(axis: Axes, findings: Findings, difference: Difference, row: int, color: str) -> None:
    """Draw a difference on one workload with its interval, and behind it the one for these rows only."""
    unit, common, rho = findings.common, difference.common, findings.rho.get(difference.workload, 0.0)
    if not difference.effect.count:
        middle: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "ha": "center", "va": "center"}
        axis.text(0.5, row, "no pairs", **middle, backgroundcolor="white", color=style.GRAY)
        return
    if common.computed:
        # In the common unit both intervals are centered on one mean: their widths differ by a known ratio.
        half = (common.high - common.low) / 2 * math.sqrt((1 / common.count) / (1 / common.count + rho))
        if rho:
            ends = unit.ends(common.mean - half, common.mean + half)
            axis.plot(ends, [row] * 2, "-", color=color, lw=4.5, alpha=0.35, solid_capstyle="butt", zorder=2)
        ends = unit.ends(common.low, common.high)
        axis.plot(ends, [row] * 2, "-", color=color, lw=1.4, solid_capstyle="butt", zorder=3)
    axis.plot([unit.shown(common.mean)], [row], "o", ms=5, color=color, mec="white", mew=0.5, zorder=4)


def _mean(axis: Axes, findings: Findings, mean: _Mean, candidate: str, row: int, color: str) -> None:
    """Draw a mean over the workloads with its interval, and the prediction for a new data set."""
    unit, interval = findings.common, mean.interval
    verdicts = findings.judged.verdicts if isinstance(findings, JudgedFindings) else ()
    ahead = next((v.prediction for v in verdicts if v.challenger == candidate), (math.nan, math.nan))
    if math.isfinite(ahead[0]) and mean.label == LIKE:
        axis.plot(unit.ends(*ahead), [row] * 2, color=color, ls=(0, (2, 1.5)), lw=1.2, zorder=2)
    if interval.computed:
        ends = unit.ends(interval.low, interval.high)
        axis.plot(ends, [row] * 2, "-", color=color, lw=2, solid_capstyle="butt", zorder=3)
    face = color if mean.filled else "white"
    edge = "white" if mean.filled else color
    axis.plot(
        [unit.shown(interval.mean)],
        [row],
        "D",
        ms=7,
        color=face,
        mec=edge,
        mew=0.5 if mean.filled else 1.5,
        zorder=4,
    )


def alt(findings: Findings) -> str:
    """Return the text for those who cannot see the figure."""
    pairs = ", ".join(f"{a} minus {b}" for a, b in findings.comparisons)
    what = "Paired differences" if findings.evaluation.paired else "Differences"
    return f"{what} {pairs} on {', '.join(findings.evaluation.workloads)}, with intervals"


FOREST = Section(
    always, charts=(Chart("differences", draw, numbers, alt, caption, lambda f: bool(f.differences), plot),)
)
