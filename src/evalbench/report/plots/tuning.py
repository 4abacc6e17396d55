"""The candidates of the studies: the best of them, their front, and their values against their rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.analysis.candidates import choice_index, heights, marks, spaces
from evalbench.report.analysis.findings import TunedFindings
from evalbench.report.analysis.tuning import objective_of
from evalbench.report.render.plots import Panel, Plot, all_or_chosen, band, label, line, points, records
from evalbench.report.render.style import workload_label
from evalbench.report.render.units import number, unit_of
from evalbench.tasks.metric import describe

FROM = 3
"""The axes show what was found from this number of candidates on: the first one alone may lie anywhere."""


def objective_label(tuned: TunedFindings, workload: str) -> tuple[str, float]:
    """Return the words for a workload's first objective on an axis, and the factor to print it by."""
    name, _ = objective_of(tuned.studies, workload)
    unit = unit_of(name, describe(name).unit, math.nan)
    return f"validation {unit.label}", unit.scale


def best(tuned: TunedFindings, table: pd.DataFrame) -> Plot:
    """Return a panel per workload: the best of n candidates of each technique, with one standard deviation."""
    names = [name for name in tuned.evaluation.workloads if (table["workload"] == name).any()]
    return all_or_chosen([_best(tuned, name, table[table["workload"] == name]) for name in names], "workload")


def _best(tuned: TunedFindings, workload: str, table: pd.DataFrame) -> Panel:
    text, scale = objective_label(tuned, workload)
    traces, ends = [], []
    for technique, part in table.groupby("technique", sort=False):
        index = tuned.evaluation.techniques.index(str(technique))
        n, spent, mean, sd = (part[name].to_numpy() for name in ("n", "full_candidates", "mean", "sd"))
        traces.append(band(list(spent), list((mean - sd) * scale), list((mean + sd) * scale), index))
        rows = zip(n, mean, sd, strict=True)
        cards = [
            f"{one_line(workload)}\nbest of {count}: {scale * middle:.4g}"
            + (f" ± {scale * spread:.2g}" if math.isfinite(spread) else "")
            for count, middle, spread in rows
        ]
        traces.append(line(spent, mean * scale, index, mode="lines+markers", marker={"size": 4}, hover=cards))
        later = mean[n >= min(FROM, n.max())] * scale
        ends += [float(later.min()), float(later.max())]
    margin = 0.15 * (max(ends) - min(ends)) or 0.01
    layout = {
        "xaxis": {"title": {"text": "candidates, in full trainings"}, "nticks": 6},
        "yaxis": {"title": {"text": label(text, 60)}, "range": [min(ends) - margin, max(ends) + margin], "nticks": 6},
    }
    return Panel(short(workload_label(tuned.evaluation, workload)), traces, layout, 270)


def front(tuned: TunedFindings, table: pd.DataFrame) -> Plot:
    """Return a panel per workload: two objectives of every candidate; hollow markers are off the front."""
    solved = set(table.loc[table["on_front"], "workload"])
    names = [name for name in tuned.evaluation.workloads if name in solved]
    return all_or_chosen([_front(tuned, name, table[table["workload"] == name]) for name in names], "workload")


def _front(tuned: TunedFindings, workload: str, table: pd.DataFrame) -> Panel:
    first, second = tuned.search["objectives"][workload][:2]
    traces = []
    for (technique, on_front), part in table.groupby(["technique", "on_front"], sort=False):
        index, part = tuned.evaluation.techniques.index(str(technique)), part.sort_values(second)
        cards = [
            "\n".join(
                [
                    f"candidate {int(row['candidate'])}",
                    *(f"{one_line(name)} {row[name]:.4g}" for name in (first, second)),
                ]
            )
            for row in records(part)
        ]
        look: dict[str, Any] = {"mode": "lines+markers", "line": {"dash": "dot", "width": 1}} if on_front else {}
        look |= {"open": not on_front, "marker": {"size": 9 if on_front else 5, "opacity": 1 if on_front else 0.4}}
        traces.append(points(part[second], part[first], index, hover=cards, **look))
    best = table[table["on_front"]]
    directions = tuned.search["directions"]
    axes = {
        axis: {"title": {"text": label(name, 60)}, "range": around(best[name], directions[name] == "minimize")}
        for axis, name in (("xaxis", second), ("yaxis", first))
    }
    return Panel(short(workload_label(tuned.evaluation, workload)), traces, axes, 320)


def around(values: pd.Series[Any], minimize: bool) -> tuple[float, float]:
    """Return the ends of an axis around a front, with more room on the worse side."""
    low, high = float(values.min()), float(values.max())
    span = high - low or abs(high) or 1.0
    better, worse = 0.1 * span, 0.6 * span
    return (low - better, high + worse) if minimize else (low - worse, high + better)


def parallel(tuned: TunedFindings, table: pd.DataFrame) -> Plot:
    """Return a panel per technique: each candidate a line over its hyperparameters, the darker the better."""
    some = [(name, space) for name, space in spaces(tuned).items() if len(space) > 1]
    return all_or_chosen([_parallel(tuned, name, space, table) for name, space in some], "technique")


def _parallel(
    tuned: TunedFindings, technique: str, space: Mapping[str, Mapping[str, Any]], table: pd.DataFrame
) -> Panel:
    mine = table[table["technique"] == technique].sort_values("rank", ascending=False)
    index, paths = tuned.evaluation.techniques.index(technique), list(space)
    levels = np.stack([*(heights(mine[path], space[path]) for path in paths), 1 - mine["rank"].to_numpy()], axis=1)
    traces = []
    for row, level in zip(records(mine), levels, strict=True):
        good = (1 - row["rank"]) ** 4
        card = candidate_card(row, paths)
        look = {"opacity": 0.08 + 0.8 * good, "line": {"width": 0.7 + 1.4 * good, "dash": "solid"}}
        traces.append(line(range(len(level)), level, index, hover=[card] * len(level), **look))
    ends = [(x, height, text) for x, path in enumerate(paths) for height, text in marks(space[path])]
    ends += [(len(paths), 1.0, "best"), (len(paths), 0.0, "worst")]
    notes = [
        {"x": x, "y": height, "text": label(text), "showarrow": False, "xanchor": "left", "bgcolor": "@page"}
        for x, height, text in ends
    ]
    names = [*(path.removeprefix("optimizer.") for path in paths), "rank in its study"]
    layout = {
        "xaxis": {"tickvals": list(range(len(names))), "ticktext": [label(name, 16) for name in names],
                  "range": [-0.1, len(names) - 0.6]},
        "yaxis": {"visible": False, "range": [-0.1, 1.1]},
        "annotations": notes,
    }  # fmt: skip
    return Panel(short(one_line(technique)), traces, layout, 270)


def candidate_card(row: Mapping[str, Any], paths: list[str]) -> str:
    """Return a candidate in words: where it belongs, its values, its rank."""
    values = [f"{one_line(path.removeprefix('optimizer.'))} = {one_line(number(row[path]))}" for path in paths]
    where = f"{one_line(row['workload'])}, study {int(row['study'])}, candidate {int(row['candidate'])}"
    return "\n".join([where, *values, f"rank {row['rank']:.2f} of its study, 0 is best"])


def slices(tuned: TunedFindings, table: pd.DataFrame) -> Plot:
    """Return a panel per technique and hyperparameter: the rank of every candidate against its value."""
    pairs = [(name, path, spec) for name, space in spaces(tuned).items() for path, spec in space.items()]
    return all_or_chosen([_slice(tuned, *pair, table) for pair in pairs], "hyperparameter")


def _slice(tuned: TunedFindings, technique: str, path: str, spec: Mapping[str, Any], table: pd.DataFrame) -> Panel:
    mine, choices = table[table["technique"] == technique], spec.get("choices")
    if choices:
        indices = mine[path].map(lambda value: choice_index(value, spec))
        values = indices + 0.06 * ((mine["candidate"] % 7) - 3)
        axis: dict[str, Any] = {"tickvals": list(range(len(choices))), "ticktext": [label(number(c)) for c in choices]}
    else:
        values = pd.to_numeric(mine[path], errors="coerce")
        axis = {"type": "log", "nticks": 5} if spec.get("log") else {"nticks": 5}
    cards = [candidate_card(row, [path]) for row in records(mine)]
    index = tuned.evaluation.techniques.index(technique)
    traces = [points(values, 1 - mine["rank"], index, hover=cards, marker={"size": 6, "opacity": 0.6})]
    layout = {"xaxis": axis, "yaxis": {"tickvals": [0, 1], "ticktext": ["worst", "best"], "range": [-0.08, 1.08]}}
    return Panel(short(f"{one_line(technique)}: {one_line(path.removeprefix('optimizer.'))}"), traces, layout, 230)
