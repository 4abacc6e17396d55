"""Power laws on logarithmic axes: means, curves with bands, and the size that was held out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.render import style
from evalbench.report.render.plots import Panel, Plot, Trace, all_or_chosen, label, line, points, records, rule
from evalbench.report.render.units import counted

MEASURED, LAW, FORETOLD = "measured", "law", "foretold"
MOST_SERIES = 6
"""More lengths of training than this are drawn as some of them, evenly chosen."""
COLORS = [style.COLORS[index] for index in (3, 4, 5, 2, 1, 0)]
"""Of the lengths of training, other than those of the first techniques."""
COLUMNS = ("workload", "size_in", "length_in", "kind", "size", "length", "loss", "low", "high")


def parts(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows of each law."""
    keys = ["workload", *(column for column in table.columns if column not in COLUMNS)]
    yield from (rows for _, rows in table.groupby(keys, sort=False, dropna=False))


def name(rows: pd.DataFrame) -> str:
    """Return the workload of a law, and the setting of other factors."""
    first = records(rows)[0]
    return ", ".join([first["workload"], *(f"{key}={first[key]}" for key in first if key not in COLUMNS)])


def series(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each length of training with its words, in ascending order; all rows if there is one."""
    if "length" not in rows.columns or rows["length"].isna().all():
        return [(MEASURED, rows)]
    lengths = sorted(rows["length"].dropna().unique())
    step = (len(lengths) - 1) / max(1, MOST_SERIES - 1)
    chosen = lengths if len(lengths) <= MOST_SERIES else [lengths[round(i * step)] for i in range(MOST_SERIES)]
    return [(f"{counted(length)} {rows['length_in'].iloc[0]}", rows[rows["length"] == length]) for length in chosen]


def scaling(_: object, table: pd.DataFrame) -> Plot:
    """Return a panel per law."""
    return all_or_chosen([_panel(rows) for rows in parts(table)], "workload")


def _panel(rows: pd.DataFrame) -> Panel:
    traces: list[Trace] = []
    for index, (words, part) in enumerate(series(rows)):
        traces += _series(words, part, COLORS[index], style.SYMBOLS[index])
    for held in records(rows[rows["kind"] == FORETOLD]):
        ends = f" [{held['low']:.4g}, {held['high']:.4g}]" if math.isfinite(held["low"]) else ""
        card = f"foretold without the largest size: {held['loss']:.4g}{ends}"
        look = {"symbol": "circle-open", "size": 13, "color": "@gray", "line": {"width": 2}}
        bar = {"width": 7, "color": "@gray"}
        if ends:
            traces.append(line([held["size"]] * 2, [held["low"], held["high"]], line=bar, opacity=0.5))
        traces.append(points([held["size"]], [held["loss"]], marker=look, hover=[card]))
    largest = rows.loc[rows["kind"] == MEASURED, "size"].max()
    layout = {
        "xaxis": {"type": "log", "title": {"text": label(rows["size_in"].iloc[0], 40)}, "nticks": 6},
        "yaxis": {"type": "log", "title": {"text": "loss"}, "nticks": 6},
        "shapes": [rule("x", largest, "@gray", "dot")],
        "showlegend": any("showlegend" in trace for trace in traces),
        "legend": {"x": 0, "y": 0, "xanchor": "left", "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
    }
    return Panel(short(one_line(name(rows))), traces, layout, 340)


def _series(words: str, part: pd.DataFrame, color: str, symbol: str) -> list[Trace]:
    """Return the curve of one length of training, its band, and its means."""
    law, measured = part[part["kind"] == LAW], part[part["kind"] == MEASURED]
    there = measured["size"].max() if len(measured) else math.inf
    ends = law[law["low"].notna()]
    rows = [*ends["size"], *ends["size"][::-1]]
    around = line(rows, [*ends["low"], *ends["high"][::-1]], fill="toself", line={"width": 0})
    traces = [around] if rows else []
    for dash, some in (("solid", law[law["size"] <= there]), ("dot", law[law["size"] >= there])):
        traces.append(line(some["size"], some["loss"], line={"color": color, "width": 2, "dash": dash}))
    cards = [f"{words}\n{counted(row['size'])} {row['size_in']}\nloss {row['loss']:.4g}" for row in records(measured)]
    look = {"color": color, "symbol": symbol, "size": 8}
    named: Trace = {"name": words, "showlegend": True} if words != MEASURED else {}
    return [*traces, points(measured["size"], measured["loss"], marker=look, hover=cards, **named)]
