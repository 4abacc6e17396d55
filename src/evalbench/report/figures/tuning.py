"""What a search tried: the best found, parallel coordinates, slices along each hyperparameter, the front."""

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
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter

from evalbench.report import style
from evalbench.report.figures.shared import ROUND_STEPS, columns, workload_label
from evalbench.report.findings import Findings
from evalbench.report.tuned import objective_of
from evalbench.report.tuning_page import number, objective_label
from evalbench.space import place_of

FROM = 3
"""The axes show what is found from so many candidates on: the first one alone may lie anywhere."""
LABEL = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
JITTER = 0.06
"""How far choices are spread beside their place, so that points do not hide each other."""


def best_found(findings: Findings) -> Figure:
    """A panel per workload: the best of n candidates of each technique, with one standard deviation."""
    assert findings.tuned is not None  # there were studies
    table = findings.tuned.best_found
    names = [name for name in findings.folder.evaluation.workloads if (table["workload"] == name).any()]
    figure, axes = style.panels(len(names), 2.3 if len(names) > 1 else 3.3)
    for axis, workload in zip(axes, names, strict=True):
        label, scale = objective_label(findings, workload)
        ends: list[float] = []
        for technique, part in table[table["workload"] == workload].groupby("technique", sort=False):
            place = findings.folder.evaluation.techniques.index(str(technique))
            n, mean, sd = (part[name].to_numpy() for name in ("n", "mean", "sd"))
            known = np.isfinite(sd)
            axis.fill_between(
                n[known],
                (mean - sd)[known] * scale,
                (mean + sd)[known] * scale,
                color=style.colour(place),
                alpha=0.15,
                lw=0,
            )
            axis.plot(n, mean * scale, color=style.colour(place), ls=style.dashes(place), lw=1.6)
            later = mean[n >= min(FROM, n.max())] * scale
            ends += [float(later.min()), float(later.max())]
        axis.set_title(style.wrapped(workload_label(findings, workload), 34))
        axis.set_ylabel(label)
        margin = 0.15 * (max(ends) - min(ends)) or 0.01
        axis.set_ylim(min(ends) - margin, max(ends) + margin)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
        axis.grid()
    for axis in axes[-columns(axes) :]:
        axis.set_xlabel("candidates")
    style.legend_below(figure, _technique_lines(findings), 6)
    return figure


def parallel(findings: Findings) -> Figure:
    """A panel per technique: every candidate a line over its hyperparameters; dark ones are the best of their study."""
    spaces = _spaces(findings)
    names = [name for name, space in spaces.items() if len(space) > 1]
    figure = Figure(figsize=(style.WIDTH, 2.5 * len(names) + 0.4))
    for axis, technique in zip(figure.subplots(len(names), 1, squeeze=False).ravel(), names, strict=True):
        _parallel_panel(axis, findings, technique, spaces[technique])
    return figure


def _parallel_panel(axis: Axes, findings: Findings, technique: str, space: Mapping[str, Mapping[str, Any]]) -> None:
    rows = ranked(findings)
    mine = rows[rows["technique"] == technique].sort_values("rank", ascending=False)
    paths = [*space, "rank"]
    places = np.stack([_places(mine[path], space[path]) for path in space] + [1 - mine["rank"].to_numpy()], axis=1)
    lines = [np.column_stack([np.arange(len(paths)), place]) for place in places]
    colour = style.colour(findings.folder.evaluation.techniques.index(technique))
    shades = [(*_rgb(colour), 0.06 + 0.8 * (1 - rank) ** 4) for rank in mine["rank"]]
    axis.add_collection(
        LineCollection(lines, colors=shades, linewidths=[0.6 + 1.2 * (1 - r) ** 4 for r in mine["rank"]])
    )
    axis.set_xlim(-0.1, len(paths) - 0.9)
    axis.set_ylim(-0.08, 1.08)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_title(style.wrapped(technique, 60), loc="left", color=colour, fontweight="bold")
    axis.set_xticks(range(len(paths)))
    axis.set_xticklabels([*(path.removeprefix("optimizer.") for path in space), "rank in its study"])
    for x, path in enumerate(space):
        axis.axvline(x, color=style.GREY, lw=0.8, zorder=0)
        for place, text in _marks(space[path]):
            axis.annotate(text, (x, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5, bbox=LABEL)
    axis.axvline(len(paths) - 1, color=style.GREY, lw=0.8, zorder=0)
    for place, text in ((1.0, "best"), (0.0, "worst")):
        axis.annotate(
            text, (len(paths) - 1, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5, bbox=LABEL
        )


def slices(findings: Findings) -> Figure:
    """A panel per technique and hyperparameter: the rank of every candidate against its value."""
    pairs = [(name, path) for name, space in _spaces(findings).items() for path in space]
    figure, axes = style.panels(len(pairs), 2.0)
    rows = ranked(findings)
    workloads = list(findings.folder.evaluation.workloads)
    for axis, (technique, path) in zip(axes, pairs, strict=True):
        mine = rows[rows["technique"] == technique]
        _slice(axis, mine, path, _spaces(findings)[technique][path], workloads)
        axis.set_title(style.wrapped(f"{technique}: {path.removeprefix('optimizer.')}", 34))
    for axis in axes[:: columns(axes)]:
        axis.set_ylabel("rank in its study")
    style.legend_below(
        figure,
        [
            Line2D(
                [], [], color=style.colour(p), marker=style.marker(p), ls="", ms=5, label=workload_label(findings, w)
            )
            for p, w in enumerate(workloads)
        ],
        6,
    )
    return figure


def _slice(axis: Axes, mine: pd.DataFrame, path: str, spec: Mapping[str, Any], workloads: list[str]) -> None:
    for workload, part in mine.groupby("workload", sort=False):
        place = workloads.index(str(workload))
        values = pd.to_numeric(part[path], errors="coerce") if "choices" not in spec else _spread(part, path, spec)
        axis.plot(values, 1 - part["rank"], style.marker(place), color=style.colour(place), ms=2.5, alpha=0.55, mew=0)
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
    """Choices in their places, each point a little aside by its candidate's number: the same every time."""
    places = part[path].map(lambda value: _choice(value, spec))
    return places + JITTER * ((part["candidate"] % 7) - 3)


def front(findings: Findings) -> Figure:
    """A panel per workload: the first two objectives of every candidate; filled markers are on the front."""
    assert findings.tuned is not None  # there were studies
    table = findings.tuned.front
    assert findings.folder.evaluation.tuning is not None
    objectives = findings.folder.evaluation.tuning["objectives"]
    solved = set(table.loc[table["on_front"], "workload"])
    names = [name for name in findings.folder.evaluation.workloads if name in solved]
    figure, axes = style.panels(len(names), 2.5 if len(names) > 1 else 3.5)
    for axis, workload in zip(axes, names, strict=True):
        first, second = objectives[workload][:2]
        both = table[(table["workload"] == workload) & table["on_front"]]
        for technique, part in table[table["workload"] == workload].groupby("technique", sort=False):
            place = findings.folder.evaluation.techniques.index(str(technique))
            colour = style.colour(place)
            axis.plot(part[second], part[first], style.marker(place), color=colour, ms=3, alpha=0.35, mfc="white")
            best = part[part["on_front"]].sort_values(second)
            axis.plot(best[second], best[first], style.marker(place), color=colour, ms=6, ls=":", lw=1)
        axis.set_title(style.wrapped(workload_label(findings, workload), 34))
        axis.set_xlabel(second)
        axis.set_ylabel(first)
        directions = findings.folder.evaluation.tuning["directions"]
        for name, limit, ticks in ((second, axis.set_xlim, axis.xaxis), (first, axis.set_ylim, axis.yaxis)):
            limit(*_around(both[name], directions[name] == "minimize"))
            ticks.set_major_locator(MaxNLocator(4))
            if name.startswith("cost/"):
                ticks.set_major_formatter(EngFormatter(sep=" "))
        axis.grid()
    style.legend_below(
        figure,
        [
            Line2D([], [], color=style.colour(p), marker=style.marker(p), ls=":", lw=1, ms=6, label=name)
            for p, name in enumerate(findings.folder.evaluation.techniques)
        ],
        6,
    )
    return figure


def _around(values: pd.Series[Any], minimize: bool) -> tuple[float, float]:
    """Return the ends of an axis around a front, with more room on the side of what is worse."""
    low, high = float(values.min()), float(values.max())
    span = high - low or abs(high) or 1.0
    better, worse = 0.1 * span, 0.6 * span
    return (low - better, high + worse) if minimize else (low - worse, high + better)


def ranked(findings: Findings) -> pd.DataFrame:
    """Every candidate with its rank in its study, 0 the best and 1 the worst, in the order that a study chooses by."""
    assert findings.tuned is not None  # there were studies
    table = findings.tuned.studies.candidates
    keys = ["technique", "workload", *findings.folder.evaluation.factors, "study"]
    parts = []
    for key, mine in table.groupby(keys, sort=False):
        name, direction = objective_of(findings.folder, str(key[1]))
        there = mine[mine[name].notna()]
        order = there.sort_values([name, "val_loss", "candidate"], ascending=[direction == "minimize", True, True])
        parts.append(order.assign(rank=np.arange(len(order)) / max(1, len(order) - 1)))
    return pd.concat(parts, ignore_index=True)


def _spaces(findings: Findings) -> dict[str, Mapping[str, Any]]:
    assert findings.folder.evaluation.tuning is not None
    space = findings.folder.evaluation.tuning["space"]
    return {name: space[name] for name in findings.folder.evaluation.techniques if name in space}


def _places(values: pd.Series[Any], spec: Mapping[str, Any]) -> Any:
    if "choices" in spec:
        return np.array([_choice(value, spec) / max(1, len(spec["choices"]) - 1) for value in values])
    return np.array([place_of(spec, value) for value in pd.to_numeric(values, errors="coerce")])


def _choice(value: object, spec: Mapping[str, Any]) -> float:
    """Return a choice's place in its list; NaN where a candidate's own space does not have it."""
    texts = [str(choice) for choice in spec["choices"]]
    if str(value) in texts:
        return texts.index(str(value))
    read = pd.to_numeric(str(value), errors="coerce")  # 16 is read as 16.0
    return next((place for place, choice in enumerate(spec["choices"]) if choice == read), math.nan)


def _marks(spec: Mapping[str, Any]) -> list[tuple[float, str]]:
    if "choices" in spec:
        last = max(1, len(spec["choices"]) - 1)
        return [(place / last, number(choice)) for place, choice in enumerate(spec["choices"])]
    return [(0.0, number(spec["low"])), (1.0, number(spec["high"]))]


def _technique_lines(findings: Findings) -> list[Line2D]:
    return [
        Line2D([], [], color=style.colour(place), ls=style.dashes(place), lw=1.6, label=name)
        for place, name in enumerate(findings.folder.evaluation.techniques)
    ]


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue
