"""How figures look: sizes, colors and markers, and how one becomes the same bytes every time."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from evalbench.names import in_figure, one_line, short
from evalbench.record.declared import Declaration

T = TypeVar("T")
ROUND_STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten
WIDTH = 9.0  # inches; a column of GitHub's markdown
DPI = 150
TALLEST = 13.0  # inches: a higher picture is cut, since nobody looks at all of it

# Okabe and Ito's palette, which people with any color vision can tell apart, without its yellow (too pale on white).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# The same on a dark page, lighter, with white in the place of black.
DARK_COLORS = ("#4DA3FF", "#F0803C", "#2FC79A", "#E7A0C8", "#F5B93D", "#9AD8FA", "#F0F0F0")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")  # Plotly's names of the markers
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (8, 2)))
DASH_NAMES = ("solid", "dash", "dot", "dashdot", "longdash")
DIVERGING = ("#B35806", "#FDB863", "#F7F7F7", "#80B1D3", "#0B5394")
"""From worse to better, orange to blue, which people with any color vision can tell apart."""
DARK_DIVERGING = ("#FF9E4A", "#8A5A2E", "#21262D", "#2F6491", "#4DA3FF")
GRAY = "#595959"
ROPE = "#DDEEDD"  # light enough for text on it, and a clear gray in a black-and-white print

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRAY,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#D9D9D9",
    "grid.linewidth": 0.6,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.hspace": 0.04,
    "figure.constrained_layout.wspace": 0.03,
}


@contextmanager
def styled() -> Iterator[None]:
    """Use Matplotlib's own defaults with `STYLE`, whatever the user's settings are, and restore these at the end."""
    settings: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if "backend" not in key}
    with mpl.rc_context(settings | STYLE):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 256 colors, a quarter of the bytes, without the version of the software, its long names cut."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(in_figure(text.get_text()))
    drawn = BytesIO()
    with warnings.catch_warnings():  # a font may lack the letters of a name, which the tables have
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(drawn, format="png", metadata={"Software": None})
    _few_colors(np.asarray(Image.open(drawn).convert("RGB"), dtype=np.int32)).save(path, format="PNG", optimize=True)


def _few_colors(pixels: npt.NDArray[np.int32]) -> Image.Image:
    """Return an image of shape (height, width, 3) with its 256 most frequent colors, each other color as the nearest.

    The colors of lines and faces stay as they are; those at the edges of lines and letters are many and near to others.
    """
    packed: npt.NDArray[np.int64] = pixels @ np.array([65536, 256, 1])
    names, indices, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([names >> 16, names >> 8 & 255, names & 255], axis=1)
    kept = colors[np.argsort(-counts, kind="stable")[:256]]
    nearest = ((colors[:, None] - kept) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
    image = Image.fromarray(nearest[indices.reshape(pixels.shape[:2])], mode="P")
    image.putpalette(kept.ravel().tolist())
    return image


def color(index: int) -> str:
    """Return the color of the technique with an index in the evaluation's list."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    """Return the marker of that technique; with the color it tells 49 techniques apart, also in black and white."""
    return MARKERS[(index + index // len(COLORS)) % len(MARKERS)]


def dashes(index: int) -> Any:
    """Return the line style of that technique; with the color it tells 35 techniques apart."""
    return DASHES[index % len(DASHES)]  # 7 colors and 5 styles have no common divisor


def look(index: int) -> dict[str, str]:
    """Return the color on a light and on a dark page, the symbol and the dash of that technique, by Plotly's names."""
    symbol = SYMBOLS[MARKERS.index(marker(index))]
    dark = DARK_COLORS[index % len(COLORS)]
    return {"color": color(index), "dark": dark, "symbol": symbol, "dash": DASH_NAMES[index % len(DASHES)]}


def wrapped(name: str, width: int = 20) -> str:
    """Return a long name on several lines, broken at spaces, dashes or dots before anywhere else."""
    name = short(one_line(name), min(3 * width, 68))  # more lines than that leave a panel no room
    if len(name) <= width:
        return name
    spaced = name.replace("_", "_\u200b").replace(".", ".\u200b").replace("/", "/\u200b").replace("\u200b", " \u200b")
    lines = textwrap.wrap(spaced, width, break_long_words=True)
    return "\n".join(line.replace(" \u200b", "").replace("\u200b", "") for line in lines)


def short_label(name: str, most: int = 18) -> str:
    """Return a name on one line, cut if it is long."""
    return short(one_line(name), most)


def panels(count: int, height: float, most: int = 3, extra: float = 0.45) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels in rows of at most `most`, each `height` inches high, and room for a legend."""
    columns = min(count, most)
    # Four panels look better as two by two than as three and one.
    columns = 2 if count == 4 and most == 3 else columns
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, rows * height + extra))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def fitting(names: Sequence[T], height: float, most: int = 3) -> list[T]:
    """Return the first names whose panels, `height` inches high and at most `most` in a row, fit into a picture."""
    return list(names[: most * max(1, int(TALLEST / height))])


def not_drawn(shown: Sequence[object], names: Sequence[object], noun: str) -> str:
    """Return the end of a caption: how many of the names are in the picture; nothing if all are."""
    if len(shown) == len(names):
        return ""
    return f" The picture has the first {len(shown)} of {len(names):,} {noun}, `report.html` has all."


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 4) -> None:
    """Draw one legend for all panels below them, in fewer columns if names are long."""
    if not handles:
        return
    labels = [short(one_line(handle.get_label())) for handle in handles]
    most = min(columns, len(labels))
    fits = next((n for n in range(most, 1, -1) if _legend_width(labels, n) <= WIDTH), 1)
    more_rows = -(-len(labels) // fits) - -(-len(labels) // most)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.19 * more_rows)
    figure.legend(handles=list(handles), loc="outside lower center", ncols=fits, labels=labels)


def _legend_width(labels: Sequence[str], columns: int) -> float:
    """Return the approximate width of a legend in inches; it is filled column by column."""
    parts, start = [], 0
    for column in range(columns):
        count = len(labels) // columns + (column < len(labels) % columns)
        parts.append(0.6 + 0.07 * max(map(len, labels[start : start + count])))
        start += count
    return sum(parts)


def technique_lines(techniques: Sequence[str]) -> list[Line2D]:
    """Return the entries of a legend that has a line per technique."""
    return [
        Line2D([], [], color=color(index), ls=dashes(index), lw=1.6, label=name)
        for index, name in enumerate(techniques)
    ]


def workload_label(evaluation: Declaration, workload: str) -> str:
    """Return the name of a workload, marked if it was generated."""
    name = short(one_line(workload))
    return f"{name} (generated)" if evaluation.workloads[workload].generated else name


def columns(axes: Sequence[Axes]) -> int:
    """Return the number of panels side by side."""
    spec = axes[0].get_subplotspec()
    assert spec is not None  # the panels come from `subplots`
    return spec.get_gridspec().ncols


def ratio_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round ratios within the axis, as fine as they fit without crowding, always with 1."""
    for steps in ((1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in range(-9, 10) for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]
