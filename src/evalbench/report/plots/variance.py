"""The parts of the variance: a bar per budget, and the interval of each source in its card."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.render import style
from evalbench.report.render.plots import Panel, Plot, Trace, all_or_chosen, numbers, records, row_height, rows_axis
from evalbench.seeds import SOURCES

SINGULAR = {"init": "initial weights", "order": "order", "split": "split"}
LOOKS = {
    ("init",): (style.COLORS[0], ""),
    ("order",): (style.COLORS[2], ""),
    ("split",): (style.COLORS[1], ""),
    ("init", "order"): (style.COLORS[5], "//"),
    ("init", "split"): (style.COLORS[3], "\\\\"),
    ("order", "split"): (style.COLORS[4], "xx"),
    tuple(SOURCES): ("#BFBFBF", ""),
}
"""Color and hatch of each part, by its sources."""
PATTERNS = {"": "", "//": "/", "\\\\": "\\", "xx": "x"}
"""Plotly's names of the hatches."""


def words(sources: Sequence[str]) -> str:
    """Return the name of a part: of one source, of several together, or the rest."""
    return "rest" if len(sources) == len(SOURCES) else " × ".join(SINGULAR[source] for source in sources)


def variance(_: object, table: pd.DataFrame) -> Plot:
    """Return a panel per workload with a bar per budget."""
    parts = table.groupby("workload", sort=False)
    return all_or_chosen([_panel(str(name), part) for name, part in parts], "workload")


def _panel(workload: str, table: pd.DataFrame) -> Panel:
    known = ["workload", "technique", "minus", "source", "variance", "share", "low", "high", "resolved", "diverged",
             "trials"]  # fmt: skip
    settings = [column for column in table.columns if column not in known]
    names = [
        ", ".join([one_line(f"{row['technique']} − {row['minus']}" if row["minus"] else row["technique"]),
                   *(one_line(f"{key}={row[key]}") for key in settings)])
        for row in records(table)
    ]  # fmt: skip
    budgets = list(dict.fromkeys(names))
    traces = []
    for source, part in table.assign(budget=names).groupby("source", sort=False):
        traces.append(_bars(tuple(str(source).split(" x ")), part, budgets))
    layout = {
        "barmode": "stack",
        "yaxis": rows_axis([short(name, 44) for name in budgets]),
        "xaxis": {"title": {"text": "share of the variance (%)"}, "range": [0, 101]},
    }
    return Panel(short(one_line(workload)), traces, layout, row_height(len(budgets), 30))


def _bars(sources: tuple[str, ...], part: pd.DataFrame, budgets: list[str]) -> Trace:
    color, hatch = LOOKS[sources]
    cards = [
        f"{row['budget']}\n{words(sources)}: {100 * row['share']:.0f} %"
        f" [{100 * row['low']:.0f}, {100 * row['high']:.0f}]{'' if row['resolved'] else ', not resolved'}"
        for row in records(part)
    ]
    rows = [budgets.index(budget) for budget in part["budget"]]
    look = {"color": color, "pattern": {"shape": PATTERNS[hatch], "fgcolor": "@page", "size": 6}}
    return {"type": "bar", "orientation": "h", "x": numbers(100 * part["share"]), "y": rows, "hover": cards,
            "marker": look, "width": 0.7}  # fmt: skip
