"""Figures for Plotly: panels of traces and layouts, plain values that a page holds as JSON."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from evalbench.names import in_figure
from evalbench.report.render import style

DIGITS = 6
"""Significant digits of a coordinate: more than a screen can show."""
Trace = dict[str, Any]
Layout = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    title: above the axes, as plain text.
    traces: Plotly's traces. These keys are the page's own: `technique`, the index of the technique whose color,
        symbol and dash the trace has, and with which it is hidden; `open`, true for hollow markers; `hover`, the text
        of each point; `together`, true if the trace is shown only with all techniques; `within`, true if the panel's
        title belongs to that text; `trial`, the number of each point's trial, of the first point's if `from` is true;
        `spread`, the row around which points lie that have no `y`.
    layout: Plotly's layout. `@text`, `@gray`, `@line`, `@rope`, `@soft` and `@page` are colors of the page's theme.
    height: in pixels.
    """

    title: str
    traces: Sequence[Trace]
    layout: Layout
    height: int = 260

    def plain(self, looks: dict[str, int]) -> dict[str, Any]:
        """Return the panel as values for JSON; `looks` numbers what many traces have in common, as `compact` says."""
        traces = [_split(trace, looks) for trace in self.traces]
        return {"title": self.title, "height": self.height, "data": traces, "layout": self.layout}


@dataclass(frozen=True)
class Plot:
    """A figure of the page.

    panels: all drawn, side by side where the screen has room.
    details: by what a reader chooses (`workload`, `technique`): panels of which one is drawn at a time.
    """

    panels: Sequence[Panel] = ()
    details: Mapping[str, Sequence[Panel]] = field(default_factory=dict)

    def plain(self, looks: dict[str, int]) -> dict[str, Any]:
        """Return the figure as values for JSON."""
        details = [
            {"choose": name, "panels": [one.plain(looks) for one in some]} for name, some in self.details.items()
        ]
        return {"panels": [panel.plain(looks) for panel in self.panels], "details": details}


OWN_KEYS = (
    "technique",
    "x",
    "y",
    "z",
    "hover",
    "trial",
    "text",
    "error_x",
    "error_y",
    "ends",
    "rows",
    "columns",
    "spread",
)
"""The keys of a trace that hold its data; all others are its look."""


def compact(plots: Mapping[str, Plot]) -> dict[str, Any]:
    """Return figures for JSON: under `looks` the looks of their traces, each once, to which `as` in a trace leads."""
    looks: dict[str, int] = {}
    plain = {name: plot.plain(looks) for name, plot in plots.items()}
    return {"plots": plain, "looks": [json.loads(look) for look in looks]}


def _split(trace: Trace, looks: dict[str, int]) -> Trace:
    look = json.dumps({key: value for key, value in trace.items() if key not in OWN_KEYS}, sort_keys=True)
    own = {key: value for key, value in trace.items() if key in OWN_KEYS}
    return {"as": looks.setdefault(look, len(looks)), **own}


MOST_AT_ONCE = 12
"""More panels than this are drawn one at a time."""


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table by the names of its columns."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def all_or_chosen(panels: Sequence[Panel], choose: str) -> Plot:
    """Return a figure that shows all panels, or that lets a reader choose one if there are many."""
    return Plot(panels) if len(panels) <= MOST_AT_ONCE else Plot(details={choose: panels})


def label(name: str, width: int = 22) -> str:
    """Return a name for an axis, without a character that Plotly takes for markup."""
    return html.escape(in_figure(style.wrapped(name, width)), quote=False).replace("\n", "<br>")


def numbers(values: Iterable[Any]) -> list[float | None]:
    """Return coordinates for JSON, None for one that is not finite."""
    return [_number(float(value)) for value in values]


def _number(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def points(x: Iterable[Any], y: Iterable[Any], technique: int | None = None, **more: Any) -> Trace:
    """Return markers, in the color and symbol of a technique if one is given."""
    own = {} if technique is None else {"technique": technique}
    heights = numbers(y)
    return {"x": numbers(x), **({"y": heights} if heights else {}), **own, "mode": "markers", **more}


def line(x: Iterable[Any], y: Iterable[Any], technique: int | None = None, **more: Any) -> Trace:
    """Return a line, in the color and dash of a technique if one is given."""
    return points(x, y, technique, **{"mode": "lines", **more})


def band(x: Sequence[Any], low: Sequence[Any], high: Sequence[Any], technique: int) -> Trace:
    """Return the area between two curves in the pale color of a technique, where both are known."""
    known = [(a, b, c) for a, b, c in zip(x, low, high, strict=True) if math.isfinite(b) and math.isfinite(c)]
    there = [a for a, _, _ in known]
    ends = [b for _, b, _ in known] + [c for _, _, c in reversed(known)]
    return line([*there, *reversed(there)], ends, technique, fill="toself", line={"width": 0})


def whiskers(middle: Iterable[Any], low: Iterable[Any], high: Iterable[Any], width: float = 1.6) -> dict[str, Any]:
    """Return error bars from the ends of intervals; an end that is not known has none."""
    rows = [tuple(map(float, row)) for row in zip(middle, low, high, strict=True)]
    above = [b - m if math.isfinite(b - m) else 0.0 for m, _, b in rows]
    below = [m - a if math.isfinite(m - a) else 0.0 for m, a, _ in rows]
    return {"array": numbers(above), "arrayminus": numbers(below), "thickness": width}


def rope(axis: str, size: float) -> dict[str, Any]:
    """Return the shaded ROPE around zero of the axis `x` or `y`."""
    return stripe(axis, -size, size, "@rope")


def stripe(axis: str, low: float, high: float, color: str) -> dict[str, Any]:
    """Return a shaded range of the axis `x` or `y`, below the points."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": low, f"{axis}1": high, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    return {"type": "rect", "layer": "below", "fillcolor": color, "line": {"width": 0}, **ends}


def rule(axis: str, value: float, color: str = "@text", dash: str = "solid") -> dict[str, Any]:
    """Return a line across the panel at a value of the axis `x` or `y`."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    return {"type": "line", "layer": "between", "line": {"width": 1.5, "color": color, "dash": dash}, **ends}


def rows_axis(labels: Sequence[str], width: int = 22) -> dict[str, Any]:
    """Return an axis with a name per row, the first on top."""
    names = [label(name, width) for name in labels]
    ends = [len(labels) - 0.4, -0.6]
    return {"tickvals": list(range(len(labels))), "ticktext": names, "range": ends, "showgrid": False, "ticks": ""}


def row_height(count: int, each: int = 24, least: int = 170) -> int:
    """Return the pixels that a panel with `count` rows needs, closer together if they are many."""
    return max(least, 80 + (each if count <= 25 else 2 * each // 3) * count)
