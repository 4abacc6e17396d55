"""Many techniques or workloads: the mean of each technique beside a heat map of its differences, and details to choose.

The same rows and colors make the picture of `report.md`, see `sections/overview.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.analysis.findings import Findings, JudgedFindings
from evalbench.report.plots.differences import card, comparison_panels
from evalbench.report.plots.scores import workload_panels
from evalbench.report.render.plots import (
    Panel,
    Plot,
    Trace,
    label,
    numbers,
    points,
    records,
    rope,
    row_height,
    rows_axis,
    rule,
    whiskers,
)
from evalbench.statistics.intervals import Floats

WIDEST_SHARE = 0.98
"""The strongest color belongs to this quantile of the sizes: one extreme difference must not pale all others."""


@dataclass(frozen=True)
class Overview:
    """All differences at once, the comparison with the best mean on top.

    pairs: candidate and comparator of each row. names, techniques: their names, and the indices of the candidates.
    means: a row of the numbers per row, None without a mean.
    values: shape (rows, workloads), as printed; nan without pairs.
    """

    pairs: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    techniques: tuple[int, ...]
    means: tuple[dict[str, Any] | None, ...]
    workloads: tuple[str, ...]
    values: Floats

    @property
    def reach(self) -> float:
        """Return the size of a difference that has the strongest color."""
        sizes = np.abs(self.values[np.isfinite(self.values)])
        return float(np.quantile(sizes, WIDEST_SHARE)) or 1.0 if sizes.size else 1.0


def overview(findings: Findings, table: pd.DataFrame) -> Overview:
    """Return the rows of the figure from the numbers of the differences."""
    techniques, workloads = list(findings.evaluation.techniques), list(findings.evaluation.workloads)
    single = table[table["pairs"].notna()]
    values = single.pivot(index=["candidate", "comparator"], columns="workload", values="mean")
    values = values.reindex(columns=workloads)
    means: dict[tuple[str, str], dict[str, Any]] = {}
    for row in records(table[table["pairs"].isna()]):
        means.setdefault((row["candidate"], row["comparator"]), row)  # the first one decides
    sign = findings.common.sign
    order = sorted(findings.comparisons, key=lambda pair: -sign * means[pair]["mean"] if pair in means else np.inf)
    alone = findings.evaluation.baseline is not None
    return Overview(
        tuple(order),
        tuple(short(one_line(a if alone else f"{a} − {b}")) for a, b in order),
        tuple(techniques.index(a) for a, _ in order),
        tuple(means.get(pair) for pair in order),
        tuple(workloads),
        values.reindex(order).to_numpy(dtype=np.float64),
    )


def differences_overview(findings: Findings, table: pd.DataFrame) -> Plot:
    """Return the means and the heat map, and the panels of each technique and each workload to choose from."""
    seen = overview(findings, table)
    details = {"technique": comparison_panels(findings, table, by_candidate=True)}
    if not findings.one_score:
        details["workload"] = workload_panels(findings)
    return Plot([_means(findings, seen), _heat_map(findings, seen, table)], details)


def _means(findings: Findings, seen: Overview) -> Panel:
    traces: list[Trace] = []
    for row, (technique, mean) in enumerate(zip(seen.techniques, seen.means, strict=True)):
        if mean is not None:
            bars = whiskers([mean["mean"]], [mean["low"]], [mean["high"]], 2)
            hover = [card(findings, mean)]
            traces.append(points([mean["mean"]], [row], technique, hover=hover, error_x=bars, marker={"size": 9}))
    shapes = [rule("x", 0)]
    if isinstance(findings, JudgedFindings):
        shapes.insert(0, rope("x", findings.common.shown_size(findings.judged.design.rope)))
    layout = {
        "yaxis": rows_axis(seen.names),
        "xaxis": {"title": {"text": f"mean difference ({label(findings.common.difference, 60)})"}, "nticks": 5},
        "shapes": shapes,
    }
    return Panel("Means over the workloads", traces, layout, row_height(len(seen.names)))


def _heat_map(findings: Findings, seen: Overview, table: pd.DataFrame) -> Panel:
    unit, reach = findings.common, seen.reach
    ends = [_ends(seen, table, end) for end in ("low", "high")]
    trace = {
        "type": "heatmap", "z": [numbers(values) for values in seen.values], "ends": ends,
        "digits": unit.finer, "xgap": int(len(seen.workloads) <= 40), "ygap": 1,
        "zmin": -reach, "zmax": reach, "reversed": unit.sign < 0, "rows": list(seen.names),
        "columns": [short(one_line(name)) for name in seen.workloads],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": label(unit.short, 20), "side": "right"}},
    }  # fmt: skip
    few = len(seen.workloads) <= 40
    ticks = {"tickvals": list(range(len(seen.workloads))), "ticktext": [label(name, 30) for name in seen.workloads]}
    layout = {
        "yaxis": {**rows_axis(seen.names), "showticklabels": True},
        "xaxis": {"showgrid": False, **(ticks if few else {"showticklabels": False}), "tickangle": 90,
                  "title": {"text": f"{len(seen.workloads)} workloads: choose a cell for its details"}},
    }  # fmt: skip
    return Panel("Difference on each workload", [trace], layout, row_height(len(seen.names)) + 60 * few)


def _ends(seen: Overview, table: pd.DataFrame, end: str) -> list[list[float | None]]:
    """Return the lower or upper ends of all intervals, in the rows and columns of the heat map."""
    values = table[table["pairs"].notna()].pivot(index=["candidate", "comparator"], columns="workload", values=end)
    ordered = values.reindex(index=list(seen.pairs), columns=list(seen.workloads))
    return [numbers(row) for row in ordered.to_numpy(dtype=np.float64)]
