"""Learning curves, over epochs with bands of the paired difference from the baseline, and over steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from evalbench.report.analysis.findings import Findings, judged
from evalbench.report.plots.curves import curve_unit, over_epochs, over_steps
from evalbench.report.render import style
from evalbench.report.render.style import ROUND_STEPS, columns, workload_label
from evalbench.report.render.units import percent
from evalbench.report.section import Chart, Section


def caption(findings: Findings) -> str:
    """Explain the bands of the learning curves."""
    level = percent(findings.evaluation.confidence)
    rest = _rest(findings)
    if not judged(findings):
        return f"Mean validation score over the budget with the pointwise {level} interval.{rest}"
    return (
        "Mean validation score over the budget. A band is the pointwise"
        f" {level} interval of the paired difference from the baseline, drawn around the technique's own line: where it"
        " leaves the baseline's line out, the difference is resolved at that point." + rest
    )


def _rest(findings: Findings) -> str:
    names = _with_curves(findings, findings.curves)
    return style.not_drawn(_drawn(findings, findings.curves), names, "workloads")


def curves_over(findings: Findings, curves: pd.DataFrame, over: str) -> Figure:
    """Draw a panel per workload: the mean validation score of each technique over `epoch` or `step`."""
    evaluation = findings.evaluation
    names = _drawn(findings, curves)
    figure, axes = style.panels(len(names), 2.3 if len(names) > 1 else 3.3)
    for axis, workload in zip(axes, names, strict=True):
        _curve_panel(axis, findings, curves[curves["workload"] == workload], workload, over)
    for axis in axes[-columns(axes) :]:
        axis.set_xlabel(_curve_label(findings, curves, over))
    used = [name for name in evaluation.techniques if (curves["technique"] == name).any()]
    handles: list[Artist] = []
    for name in used:
        index = evaluation.techniques.index(name)
        handles.append(Line2D([], [], color=style.color(index), ls=style.dashes(index), lw=1.6, label=name))
    if (curves["num_diverged"] > 0).any():
        handles.append(Line2D([], [], color=style.GRAY, marker="x", ls="", ms=5, label="a member diverged"))
    style.legend_below(figure, handles, 6)
    return figure


def _drawn(findings: Findings, curves: pd.DataFrame) -> list[str]:
    """Return the workloads in the picture."""
    return style.fitting(_with_curves(findings, curves), 2.3)


def _with_curves(findings: Findings, curves: pd.DataFrame) -> list[str]:
    known = set(curves["workload"])
    return [name for name in findings.evaluation.workloads if name in known]


def _curve_label(findings: Findings, curves: pd.DataFrame, over: str) -> str:
    if over == "step":
        return "optimizer steps (log scale)"
    return "epoch" if "epochs" in findings.evaluation.budget else "share of the budget"


def _curve_panel(axis: Axes, findings: Findings, curves: pd.DataFrame, workload: str, over: str) -> None:
    evaluation = findings.evaluation
    unit = curve_unit(findings, workload)
    tops, bottoms = [], []
    for technique, part in curves.groupby("technique", sort=False):
        index = evaluation.techniques.index(str(technique))
        if over == "step":
            part = part[part["step"] > 0]
        if part.empty:
            continue
        x, mean = part[over].to_numpy(), unit.shown_score(part["mean"].to_numpy())
        low, high = (unit.shown_score(part[end].to_numpy()) for end in ("low", "high"))
        color = style.color(index)
        if over != "step":  # epochs pair the runs, steps do not
            axis.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
        alone = "o" if len(part) == 1 else ""
        axis.plot(x, mean, color=color, ls=style.dashes(index), lw=1.5, marker=alone, ms=4)
        gone = part["num_diverged"].to_numpy()
        first = np.flatnonzero(np.diff(gone, prepend=0) > 0)
        axis.plot(x[first], mean[first], "x", color=color, ms=5.5, mew=1.5)
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
    axis.set_title(style.wrapped(workload_label(findings.evaluation, workload), 34), loc="left")
    axis.set_ylabel(f"validation {unit.label}")


def _curve_limits(axis: Axes, findings: Findings, workload: str, bottoms: list[float], tops: list[float]) -> None:
    """Cut values far below the trivial predictor: a first epoch at R² = -50 would flatten all others."""
    if not tops:
        return
    low, high = min(bottoms), max(tops)
    unit = curve_unit(findings, workload)
    if unit.metric == "R²":
        low, high = max(low, -1.0), min(high, 1.0)
    else:
        low, high = max(low, unit.bounds[0]), min(high, unit.bounds[1])
    margin = 0.04 * (high - low) or 0.5
    axis.set_ylim(low - margin, high + margin)


def _short(value: float) -> str:
    """Return a power of ten for an axis: `100`, `10k`, `1M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _alt(findings: Findings, over: str) -> str:
    names = f"{', '.join(findings.evaluation.techniques)} over {over} on {', '.join(findings.evaluation.workloads)}"
    return f"Validation score of {names}"


def _text(findings: Findings) -> str:
    gone = (
        "A run that failed is left out from then on."
        if findings.evaluation.foreign
        else "A member that diverged counts as the trivial predictor from then on."
    )
    return (
        f"## Learning curves over optimizer steps\n\n{gone} For regression, values below R² = −1 are cut off. There are"
        " no bands, because techniques are not paired by step."
    )


def _measured(findings: Findings) -> Findings | None:
    return findings if len(findings.curves) else None


EPOCHS = Section(
    _measured,
    charts=(
        Chart(
            "curves_epochs",
            lambda f: curves_over(f, f.curves, "epoch"),
            lambda f: f.curves,
            lambda f: _alt(f, "the epochs"),
            caption,
            plot=over_epochs,
        ),
    ),
)
STEPS = Section(
    _measured,
    _text,
    charts=(
        Chart(
            "curves_steps",
            lambda f: curves_over(f, f.curves, "step"),
            lambda f: f.curves,
            lambda f: _alt(f, "optimizer steps, log scale,"),
            lambda f: f"Mean validation score over optimizer steps.{_rest(f)}",
            plot=over_steps,
        ),
    ),
)
