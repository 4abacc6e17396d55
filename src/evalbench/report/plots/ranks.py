"""Average ranks over the data sets, with the groups that cannot be told apart."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evalbench.report.analysis.findings import Findings
from evalbench.report.render.plots import Panel, Plot, line, points, records, row_height, rows_axis
from evalbench.report.render.units import fixed


def ranks(findings: Findings, numbers: pd.DataFrame) -> Plot:
    """Return a row per technique, the best on top; a gray bar joins techniques within the critical difference."""
    techniques = list(findings.evaluation.techniques)
    order = numbers.sort_values("average_rank", kind="stable").reset_index(drop=True)
    width = float(numbers["critical_difference"].iloc[0])
    groups: dict[str, list[int]] = {}
    for row, names in enumerate(order["groups"]):
        for name in str(names).split():
            groups.setdefault(name, []).append(row)
    bars: list[dict[str, Any]] = []
    for number, members in enumerate(groups.values()):
        x = 0.55 - 0.12 * number
        look = {"width": 5, "color": "@gray"}
        said = f"within the critical difference of {fixed(width, 2)} ranks"
        bars.append(line([x] * len(members), members, line=look, hover=[said] * len(members)))
    traces = [
        points(
            [row["average_rank"]], [index], techniques.index(row["technique"]), marker={"size": 10},
            hover=[f"average rank {fixed(row['average_rank'], 3)} over {row['num_datasets']} data sets"],
        )
        for index, row in enumerate(records(order))
    ]  # fmt: skip
    low = 0.55 - 0.12 * max(len(groups) - 1, 0) - 0.15
    layout = {
        "yaxis": rows_axis(list(order["technique"])),
        "xaxis": {"title": {"text": "average rank, 1 is best"}, "range": [low, len(order) + 0.3], "nticks": 12},
    }
    return Plot([Panel("", [*bars, *traces], layout, row_height(len(order)))])
