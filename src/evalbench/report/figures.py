"""The figures of a report, each with a CSV of the numbers that it shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from evalbench.report import style
from evalbench.report.findings import LINEAR, TRIVIAL, Findings
from evalbench.report.units import percent, unit_of
from evalbench.statistics.paired import MEASURED

REFERENCE_LINES = {LINEAR: (0, (4, 2)), TRIVIAL: (0, (1, 1.5))}
ROUND_STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten


def draw(findings: Findings, curves: pd.DataFrame, folder: Path) -> None:
    """Write `<name>.png` and `<name>.csv` for each drawable figure."""
    makers: dict[str, Callable[[], tuple[Figure, pd.DataFrame]]] = {
        "scores": lambda: (scores(findings), score_numbers(findings)),
        "differences": lambda: (differences(findings), difference_numbers(findings)),
        "curves_epochs": lambda: (curves_over(findings, curves, "epoch"), curves),
        "curves_steps": lambda: (curves_over(findings, curves, "step"), curves),
    }
    folder.mkdir(exist_ok=True)
    with style.styled():
        for name in drawable(findings, curves):
            figure, numbers = makers[name]()
            style.save(figure, folder / f"{name}.png")
            numbers.to_csv(folder / f"{name}.csv", index=False, float_format="%.10g", lineterminator="\n")


def drawable(findings: Findings, curves: pd.DataFrame) -> tuple[str, ...]:
    """The names of the figures that there is something to show for."""
    names = ["scores"]
    if findings.differences:
        names.append("differences")
    if len(curves):
        names += ["curves_epochs", "curves_steps"]
    return tuple(names)


def score_numbers(findings: Findings) -> pd.DataFrame:
    """The means with their intervals, and under `trial` the raw scores behind them."""
    rows = []
    for score in findings.scores:
        unit = findings.units[score.workload]
        rows.append(
            {
                "workload": score.workload,
                "name": score.name,
                "shown": "reference" if score.reference else "mean",
                "unit": unit.label,
                "value": score.interval.mean * unit.scale,
                "low": score.interval.low * unit.scale,
                "high": score.interval.high * unit.scale,
                "count": score.interval.count,
            }
        )
    results = findings.folder.results
    measured = results[results["state"].isin(MEASURED)]
    scale = measured["workload"].map({name: unit.scale for name, unit in findings.units.items()})
    trials = pd.DataFrame(
        {
            "workload": measured["workload"],
            "name": measured["technique"],
            "shown": "trial",
            "unit": measured["workload"].map({name: unit.label for name, unit in findings.units.items()}),
            "value": measured["score"] * scale,
            **{factor: measured[factor] for factor in findings.folder.evaluation.factors},
            "seed": measured["seed"].astype("Int64"),
            "state": measured["state"],
        }
    )
    return pd.concat([pd.DataFrame(rows).astype({"count": "Int64"}), trials], ignore_index=True)


def scores(findings: Findings) -> Figure:
    """A panel per workload: every trial as a point, the mean of a technique with its interval, references as lines."""
    evaluation = findings.folder.evaluation
    figure, axes = style.panels(len(evaluation.workloads), 1.1 + 0.27 * len(evaluation.techniques))
    lines: set[str] = set()
    for place, (axis, workload) in enumerate(zip(axes, evaluation.workloads, strict=True)):
        lines |= _score_panel(axis, findings, workload)
        if place % _columns(axes):
            axis.tick_params(labelleft=False)
    confidence = percent(evaluation.confidence)
    handles: list[Artist] = [
        Line2D([], [], color=style.GREY, marker="o", ls="", ms=3.5, alpha=0.55, label="one trial"),
        Line2D([], [], color="black", marker="D", ms=5, lw=1.6, label=f"mean, {confidence} t interval"),
    ]
    if (findings.folder.results["state"] == "DIVERGED").any():
        handles.append(Line2D([], [], color=style.GREY, marker="x", ls="", ms=5, label="diverged trial"))
    handles += [
        Line2D([], [], color="black", lw=1.1, ls=line, label=name)
        for name, line in REFERENCE_LINES.items()
        if name in lines
    ]
    style.legend_below(figure, handles, 5)
    return figure


def _score_panel(axis: Axes, findings: Findings, workload: str) -> set[str]:
    """Draw the scores on one workload, and return the references that lie within the panel."""
    evaluation, unit = findings.folder.evaluation, findings.units[workload]
    results = findings.folder.results
    seen: list[float] = []
    for place, technique in enumerate(evaluation.techniques):
        chosen = (results["workload"] == workload) & (results["technique"] == technique)
        trials = results[chosen & results["state"].isin(MEASURED)]
        values = trials["score"].to_numpy() * unit.scale
        # Neighbouring trials step up and down by a fixed pattern: the same picture every time, few points hidden.
        height = place + 0.16 * np.sin(2.4 * np.arange(len(values))) + 0.12
        diverged = (trials["state"] == "DIVERGED").to_numpy()
        colour = style.colour(place)
        axis.plot(values[~diverged], height[~diverged], "o", ms=3, color=colour, alpha=0.45, mew=0, zorder=2)
        axis.plot(values[diverged], height[diverged], "x", ms=5, color=colour, mew=1.4, zorder=3)
        score = next(s for s in findings.scores if s.workload == workload and s.name == technique and not s.reference)
        interval = score.interval
        if interval.count:
            y, mean = place - 0.2, interval.mean * unit.scale
            if interval.computed:
                ends = [interval.low * unit.scale, interval.high * unit.scale]
                axis.plot(ends, [y, y], "-", color=colour, lw=1.8, solid_capstyle="butt", zorder=4)
                seen += ends
            axis.plot([mean], [y], "D", ms=4.5, color=colour, mec="white", mew=0.5, zorder=5)
            seen += [mean, *values]
    lines = _reference_lines(axis, findings, workload, seen)
    axis.set_ylim(len(evaluation.techniques) - 0.45, -0.55)
    axis.set_yticks(range(len(evaluation.techniques)), [style.wrapped(name) for name in evaluation.techniques])
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS, min_n_ticks=3))
    axis.grid(axis="x")
    axis.set_title(_workload_label(findings, workload), loc="left", pad=16)  # room for a note under the title
    axis.set_xlabel(unit.label)
    return lines


def _reference_lines(axis: Axes, findings: Findings, workload: str, seen: list[float]) -> set[str]:
    """References as lines; one that would squeeze the trials into a corner is named at the edge instead."""
    unit = findings.units[workload]
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    room = max(high - low, 1e-9)
    notes, lines = [], set()
    for score in findings.scores:
        if not (score.reference and score.workload == workload):
            continue
        value = score.interval.mean * unit.scale
        if not seen or low - 1.2 * room <= value <= high + 1.2 * room:
            axis.axvline(value, color="black", lw=1.1, ls=REFERENCE_LINES[score.name], zorder=1)
            seen.append(value)
            lines.add(score.name)
        else:
            text = f"{score.name}: {unit.score(score.interval.mean)}"
            notes.append(f"← {text}" if value < low else f"{text} →")
    if seen:
        margin = 0.05 * max(max(seen) - min(seen), 1e-9)
        if max(seen) - min(seen) > 1e-9:
            axis.set_xlim(min(seen) - margin, max(seen) + margin)
    if notes:
        axis.annotate(
            "   ".join(notes),
            (0, 1),
            (0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7.5,
            color=style.GREY,
            va="bottom",
        )
    return lines


def difference_numbers(findings: Findings) -> pd.DataFrame:
    """The paired differences, in the common unit that is drawn and in the unit of the workload's metric."""
    rows = []
    for difference in findings.differences:
        own, effect, common = findings.units[difference.workload], difference.effect, findings.common
        rows.append(
            {
                "workload": difference.workload,
                "candidate": difference.candidate,
                "comparator": difference.comparator,
                "unit": common.difference,
                "mean": difference.common.mean * common.scale,
                "low": difference.common.low * common.scale,
                "high": difference.common.high * common.scale,
                "confidence": difference.common.confidence,
                "metric_unit": own.difference,
                "metric_mean": effect.interval.mean * own.scale,
                "metric_low": effect.interval.low * own.scale,
                "metric_high": effect.interval.high * own.scale,
                "rows_only_low": effect.rows_only.low * own.scale,
                "rows_only_high": effect.rows_only.high * own.scale,
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
    for overall in findings.overall:
        if overall.interval is not None:
            rows.append(
                {
                    "workload": f"(all {len(overall.workloads)} data sets)",
                    "candidate": overall.candidate,
                    "comparator": overall.comparator,
                    "unit": findings.common.difference,
                    "mean": overall.interval.mean * findings.common.scale,
                    "low": overall.interval.low * findings.common.scale,
                    "high": overall.interval.high * findings.common.scale,
                    "confidence": overall.interval.confidence,
                }
            )
    counts = ["pairs", "wins", "ties", "losses", "left_out"]
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


def differences(findings: Findings) -> Figure:
    """A panel per comparison: the paired difference on each workload with its interval, and the mean over data sets."""
    evaluation = findings.folder.evaluation
    num_rows = len(evaluation.workloads) + any(overall.interval is not None for overall in findings.overall)
    figure, axes = style.panels(len(findings.comparisons), 1.0 + 0.27 * num_rows)
    for place, (axis, comparison) in enumerate(zip(axes, findings.comparisons, strict=True)):
        _forest(axis, findings, *comparison)
        if place % _columns(axes):
            axis.tick_params(labelleft=False)
    level = percent(findings.family)
    handles: list[Artist] = [
        Line2D([], [], color="black", marker="o", ms=5, lw=1.4, label=f"mean difference, {level} interval"),
        Line2D([], [], color="black", lw=4.5, alpha=0.35, label="these rows only"),
    ]
    if any(overall.interval is not None for overall in findings.overall):
        handles.append(Line2D([], [], color="black", marker="D", ms=7, lw=2, label="mean over data sets"))
    style.legend_below(figure, handles)
    return figure


def _forest(axis: Axes, findings: Findings, candidate: str, comparator: str) -> None:
    evaluation, unit = findings.folder.evaluation, findings.common
    techniques = list(evaluation.techniques)
    colour = style.colour(techniques.index(candidate))
    mine = [d for d in findings.differences if (d.candidate, d.comparator) == (candidate, comparator)]
    for place, difference in enumerate(mine):
        own, common = difference.effect, difference.common
        if not own.count:
            axis.text(
                0.5,
                place,
                "no pairs",
                transform=axis.get_yaxis_transform(),
                ha="center",
                va="center",
                backgroundcolor="white",
                color=style.GREY,
            )
            continue
        if common.computed:
            # In the common unit both intervals are centred on one mean: their widths differ by a known ratio.
            ratio = math.sqrt((1 / common.count) / (1 / common.count + findings.rho[difference.workload]))
            half = (common.high - common.low) / 2 * ratio
            ends = [(common.mean - half) * unit.scale, (common.mean + half) * unit.scale]
            axis.plot(ends, [place] * 2, "-", color=colour, lw=4.5, alpha=0.35, solid_capstyle="butt", zorder=2)
            ends = [common.low * unit.scale, common.high * unit.scale]
            axis.plot(ends, [place] * 2, "-", color=colour, lw=1.4, solid_capstyle="butt", zorder=3)
        axis.plot([common.mean * unit.scale], [place], "o", ms=5, color=colour, mec="white", mew=0.5, zorder=4)
    names = [style.wrapped(_workload_label(findings, d.workload)) for d in mine]
    overall = next(o for o in findings.overall if (o.candidate, o.comparator) == (candidate, comparator))
    if any(o.interval is not None for o in findings.overall):
        place = len(mine)
        names.append("mean over data sets")
        axis.axhline(place - 0.5, color=style.GREY, lw=0.6)
        if overall.interval is not None:
            if overall.interval.computed:
                ends = [overall.interval.low * unit.scale, overall.interval.high * unit.scale]
                axis.plot(ends, [place] * 2, "-", color=colour, lw=2, solid_capstyle="butt", zorder=3)
            axis.plot(
                [overall.interval.mean * unit.scale], [place], "D", ms=7, color=colour, mec="white", mew=0.5, zorder=4
            )
    axis.axvline(0, color="black", lw=0.9, zorder=1)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS, min_n_ticks=3))
    axis.grid(axis="x")
    axis.set_title(style.wrapped(f"{candidate} − {comparator}", 34), loc="left")
    axis.set_xlabel(f"difference in {unit.difference}" if unit.short != "points" else f"difference ({unit.difference})")


def curves_over(findings: Findings, curves: pd.DataFrame, over: str) -> Figure:
    """A panel per workload: the mean validation score of each technique over `epoch` or `step`, with its interval."""
    evaluation = findings.folder.evaluation
    names = [name for name in evaluation.workloads if (curves["workload"] == name).any()]
    figure, axes = style.panels(len(names), 2.3 if len(names) > 1 else 3.3)
    for axis, workload in zip(axes, names, strict=True):
        _curve_panel(axis, findings, curves[curves["workload"] == workload], workload, over)
    for axis in axes[-_columns(axes) :]:
        axis.set_xlabel(_curve_label(findings, curves, over))
    used = [name for name in evaluation.techniques if (curves["technique"] == name).any()]
    handles: list[Artist] = []
    for name in used:
        place = evaluation.techniques.index(name)
        handles.append(Line2D([], [], color=style.colour(place), ls=style.dashes(place), lw=1.6, label=name))
    if (curves["num_diverged"] > 0).any():
        handles.append(Line2D([], [], color=style.GREY, marker="x", ls="", ms=5, label="a member diverged"))
    style.legend_below(figure, handles, 6)
    return figure


def _curve_label(findings: Findings, curves: pd.DataFrame, over: str) -> str:
    if over == "step":
        return "optimizer steps (log scale)"
    return "epoch" if "epochs" in findings.folder.evaluation.budget else "share of the budget"


def _curve_panel(axis: Axes, findings: Findings, curves: pd.DataFrame, workload: str, over: str) -> None:
    evaluation = findings.folder.evaluation
    kind = evaluation.workloads[workload].kind
    unit = unit_of("val/r2", "", 1.0) if kind == "regression" else unit_of("val/accuracy", "fraction", 1.0)
    tops, bottoms = [], []
    for technique, part in curves.groupby("technique", sort=False):
        place = evaluation.techniques.index(str(technique))
        if over == "step":
            part = part[part["step"] > 0]
        if part.empty:
            continue
        x, mean = part[over].to_numpy(), part["mean"].to_numpy() * unit.scale
        low, high = part["low"].to_numpy() * unit.scale, part["high"].to_numpy() * unit.scale
        colour = style.colour(place)
        axis.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
        alone = "o" if len(part) == 1 else ""
        axis.plot(x, mean, color=colour, ls=style.dashes(place), lw=1.5, marker=alone, ms=4)
        gone = part["num_diverged"].to_numpy()
        first = np.flatnonzero(np.diff(gone, prepend=0) > 0)
        axis.plot(x[first], mean[first], "x", color=colour, ms=5.5, mew=1.5)
        tops += [np.nanmax(mean), *high[np.isfinite(high)]]
        bottoms += [np.nanmin(mean), *low[np.isfinite(low)]]
    if over == "step":
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(numticks=7))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS, integer="epochs" in evaluation.budget))
    _curve_limits(axis, findings, workload, bottoms, tops)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axis.grid()
    axis.set_title(_workload_label(findings, workload), loc="left")
    axis.set_ylabel(f"validation {unit.label}")


def _curve_limits(axis: Axes, findings: Findings, workload: str, bottoms: list[float], tops: list[float]) -> None:
    """Cut what lies far below the trivial predictor: a first epoch at R² = -50 would flatten all the rest."""
    if not tops:
        return
    low, high = min(bottoms), max(tops)
    if findings.folder.evaluation.workloads[workload].kind == "regression":
        low, high = max(low, -1.0), min(high, 1.0)
    else:
        low, high = max(low, 0.0), min(high, 100.0)
    margin = 0.04 * (high - low) or 0.5
    axis.set_ylim(low - margin, high + margin)


def _short(value: float) -> str:
    """A power of ten for an axis: `100`, `10k`, `1M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _workload_label(findings: Findings, workload: str) -> str:
    return f"{workload} (generated)" if findings.folder.evaluation.workloads[workload].generated else workload


def _columns(axes: list[Axes]) -> int:
    spec = axes[0].get_subplotspec()
    assert spec is not None  # the panels come from `subplots`
    return spec.get_gridspec().ncols
