"""Which hyperparameters mattered: importance, parallel coordinates, slices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from evalbench.names import code
from evalbench.report.analysis.candidates import choice_index, heights, marks, ranked, spaces
from evalbench.report.analysis.findings import TunedFindings, searched
from evalbench.report.analysis.tuning import error_of_mean
from evalbench.report.plots.tuning import parallel as parallel_plot
from evalbench.report.plots.tuning import slices as slices_plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.style import columns, workload_label
from evalbench.report.render.units import number
from evalbench.report.section import Chart, Section, numbers_of

LABEL = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
JITTER = 0.06
"""Spread of choices around their tick, so that points do not hide each other."""


def table(tuned: TunedFindings) -> str:
    """Return each hyperparameter's share of the variance of the validation score, by technique."""
    table = tuned.importance
    rows = []
    for technique in tuned.evaluation.techniques:
        mine = table[table["technique"] == technique]
        if mine["path"].nunique() < 2:
            continue  # one alone explains everything
        for index, (path, one) in enumerate(mine.groupby("path", sort=False)):
            low, high = 100 * float(one["share"].min()), 100 * float(one["share"].max())
            name, error = code(technique) if index == 0 else "", 100 * error_of_mean(one["error"])
            doubt = f"± {error:.0f}" if math.isfinite(error) else "not known"
            rows.append(
                [name, code(path), f"{100 * float(one['share'].mean()):.0f} %", doubt, f"{low:.0f} to {high:.0f} %"]
            )
    headers = ["technique", "hyperparameter", "mean over the workloads", "standard error", "lowest to highest"]
    return markdown(headers, rows, 2) if rows else ""


def parallel(tuned: TunedFindings) -> Figure:
    """Draw a panel per technique: each candidate as a line over its hyperparameters, the best of its study dark."""
    searched_spaces = spaces(tuned)
    names = style.fitting(_several(tuned), 2.5, 1)
    figure = Figure(figsize=(style.WIDTH, 2.5 * len(names) + 0.4))
    for axis, technique in zip(figure.subplots(len(names), 1, squeeze=False).ravel(), names, strict=True):
        _parallel_panel(axis, tuned, technique, searched_spaces[technique])
    return figure


def _parallel_panel(axis: Axes, tuned: TunedFindings, technique: str, space: Mapping[str, Mapping[str, Any]]) -> None:
    rows = ranked(tuned)
    mine = rows[rows["technique"] == technique].sort_values("rank", ascending=False)
    paths = [*space, "rank"]
    levels = np.stack([heights(mine[path], space[path]) for path in space] + [1 - mine["rank"].to_numpy()], axis=1)
    lines = [np.column_stack([np.arange(len(paths)), height]) for height in levels]
    color = style.color(tuned.evaluation.techniques.index(technique))
    shades = [(*_rgb(color), 0.06 + 0.8 * (1 - rank) ** 4) for rank in mine["rank"]]
    axis.add_collection(
        LineCollection(lines, colors=shades, linewidths=[0.6 + 1.2 * (1 - r) ** 4 for r in mine["rank"]])
    )
    axis.set_xlim(-0.1, len(paths) - 0.9)
    axis.set_ylim(-0.08, 1.08)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_title(style.wrapped(technique, 60), loc="left", color=color, fontweight="bold")
    axis.set_xticks(range(len(paths)))
    axis.set_xticklabels([*(path.removeprefix("optimizer.") for path in space), "rank in its study"])
    for x, path in enumerate(space):
        axis.axvline(x, color=style.GRAY, lw=0.8, zorder=0)
        for height, text in marks(space[path]):
            axis.annotate(text, (x, height), (4, 0), textcoords="offset points", va="center", fontsize=7.5, bbox=LABEL)
    axis.axvline(len(paths) - 1, color=style.GRAY, lw=0.8, zorder=0)
    for height, text in ((1.0, "best"), (0.0, "worst")):
        axis.annotate(
            text, (len(paths) - 1, height), (4, 0), textcoords="offset points", va="center", fontsize=7.5, bbox=LABEL
        )


def slices(tuned: TunedFindings) -> Figure:
    """Draw a panel per technique and hyperparameter: the rank of every candidate against its value."""
    pairs = style.fitting(_pairs(tuned), 2.0)
    figure, axes = style.panels(len(pairs), 2.0)
    rows = ranked(tuned)
    workloads = list(tuned.evaluation.workloads)
    for axis, (technique, path) in zip(axes, pairs, strict=True):
        mine = rows[rows["technique"] == technique]
        _slice(axis, mine, path, spaces(tuned)[technique][path], workloads)
        axis.set_title(style.wrapped(f"{technique}: {path.removeprefix('optimizer.')}", 34))
    for axis in axes[:: columns(axes)]:
        axis.set_ylabel("rank in its study")
    style.legend_below(
        figure,
        [
            Line2D(
                [],
                [],
                color=style.color(p),
                marker=style.marker(p),
                ls="",
                ms=5,
                label=workload_label(tuned.evaluation, w),
            )
            for p, w in enumerate(workloads)
        ],
        6,
    )
    return figure


def _pairs(tuned: TunedFindings) -> list[tuple[str, str]]:
    return [(name, path) for name, space in spaces(tuned).items() for path in space]


def _several(tuned: TunedFindings) -> list[str]:
    return [name for name, space in spaces(tuned).items() if len(space) > 1]


def _slice(axis: Axes, mine: pd.DataFrame, path: str, spec: Mapping[str, Any], workloads: list[str]) -> None:
    for workload, part in mine.groupby("workload", sort=False):
        index = workloads.index(str(workload))
        values = pd.to_numeric(part[path], errors="coerce") if "choices" not in spec else _spread(part, path, spec)
        axis.plot(values, 1 - part["rank"], style.marker(index), color=style.color(index), ms=2.5, alpha=0.55, mew=0)
    if "choices" in spec:
        axis.set_xticks(range(len(spec["choices"])), [style.wrapped(number(choice)) for choice in spec["choices"]])
        axis.set_xlim(-0.5, len(spec["choices"]) - 0.5)
    elif spec.get("log"):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(-0.05, 1.05)
    axis.set_yticks([0, 1], ["worst", "best"])
    axis.grid()


def _spread(part: pd.DataFrame, path: str, spec: Mapping[str, Any]) -> Any:
    """Return choices as indices, each point shifted a little by its candidate's number: the same every time."""
    indices = part[path].map(lambda value: choice_index(value, spec))
    return indices + JITTER * ((part["candidate"] % 7) - 3)


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def text(tuned: TunedFindings) -> str:
    """Return the table of importances with its explanation."""
    rows = table(tuned)
    if not rows:
        return ""
    return (
        "### What mattered\n\nShare of the variance of the validation score over the search space that a"
        " hyperparameter explains by itself, by functional ANOVA on a random forest (Hutter et al., 2014), one study at"
        " a time. It is a share of what the ranges allow: a range that holds bad values makes its hyperparameter"
        " important. The standard error says how much a share varies if as many candidates are drawn from those"
        " of its study, with"
        f" replacement. {numbers_of('tuning_importance')}\n\n{rows}"
    )


def _there(tuned: TunedFindings) -> bool:
    return len(tuned.best_scores) > 0


def _slices_alt(tuned: TunedFindings) -> str:
    return f"Rank of the candidates of {', '.join(tuned.evaluation.techniques)} against each hyperparameter"


IMPORTANCE = Section(
    searched,
    text,
    {"tuning_importance": lambda tuned: tuned.importance},
    (
        Chart(
            "tuning_parallel",
            parallel,
            ranked,
            lambda _: "Parallel coordinates of the candidates, shaded by their rank",
            lambda tuned: (
                "Every candidate of the techniques with two hyperparameters or more is a line. The darker the line, the"
                " better its rank in its study."
                + style.not_drawn(style.fitting(_several(tuned), 2.5, 1), _several(tuned), "techniques")
            ),
            lambda tuned: _there(tuned) and any(len(space) > 1 for space in tuned.search["space"].values()),
            parallel_plot,
        ),
        Chart(
            "tuning_slices",
            slices,
            ranked,
            _slices_alt,
            lambda tuned: (
                "Rank of every candidate in its study against each of its hyperparameters, up is better."
                + style.not_drawn(style.fitting(_pairs(tuned), 2.0), _pairs(tuned), "panels")
            ),
            _there,
            slices_plot,
        ),
    ),
)
