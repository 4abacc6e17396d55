"""The ranks that techniques with one run each may have."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evalbench.report.render.plots import Panel, Plot, points, records, row_height, rows_axis, whiskers


def possible_ranks(techniques: Sequence[str], numbers: pd.DataFrame) -> Plot:
    """Return a row per technique, the best on top: its rank, filled if tied, and a bar over those that are possible."""
    rows = records(numbers)
    indices = {name: index for index, name in enumerate(techniques)}
    traces = [
        points(
            [row["rank"]], [index], indices[row["technique"]], open=not row["tied_with_the_best"],
            marker={"size": 8},
            hover=[f"rank {row['rank']:g}, possible {row['best_rank']:g} to {row['worst_rank']:g}"],
            error_x=whiskers([row["rank"]], [row["best_rank"]], [row["worst_rank"]]),
        )
        for index, row in enumerate(rows)
    ]  # fmt: skip
    layout = {
        "yaxis": rows_axis([row["technique"] for row in rows], 60),
        "xaxis": {"title": {"text": "rank, 1 is best"}, "range": [0.2, len(rows) + 0.8], "nticks": 12},
    }
    return Plot([Panel("", traces, layout, row_height(len(rows)))])
