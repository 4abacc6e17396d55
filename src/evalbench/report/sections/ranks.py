"""Ranks over the data sets: Friedman, Nemenyi, Wilcoxon, and the critical-difference diagram."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evalbench.names import code, one_line, short
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.analysis.robustness import Omnibus
from evalbench.report.plots.ranks import ranks as plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import fixed, p_is, percent
from evalbench.report.render.units import p_value as _p
from evalbench.report.section import Chart, Section, numbers_of
from evalbench.statistics.all_pairs import MOST_TECHNIQUES
from evalbench.statistics.ranks import cliques
from evalbench.statistics.verdicts import FEWEST_DATASETS


class _Ranked(NamedTuple):
    findings: JudgedFindings
    omnibus: Omnibus


def _ranked(findings: Findings) -> _Ranked | None:
    verdicts = judged(findings)
    omnibus = verdicts.robustness.omnibus if verdicts else None
    return _Ranked(verdicts, omnibus) if verdicts and omnibus else None


def how(ranked: _Ranked) -> str:
    """Return Iman and Davenport's test, and the critical difference."""
    o = ranked.omnibus
    t = o.test
    if math.isnan(t.p):
        return "All techniques tie on every data set: there is nothing to rank."
    f = "∞" if math.isinf(t.f) else f"{t.f:.2f}"
    return (
        f"Friedman χ² = {t.chi2:.2f} (not corrected for ties), Iman–Davenport F({t.degrees[0]}, {t.degrees[1]}) = {f},"
        f" {p_is(t.p)}; Kendall's W = {t.kendalls_w:.2f}. Nemenyi's critical difference at"
        f" {percent(ranked.findings.evaluation.confidence)} is {o.critical_difference:.2f} ranks."
    )


def table(ranked: _Ranked) -> str:
    """Return the ranks of each technique on each data set, and Wilcoxon for each pair."""
    omnibus = ranked.omnibus
    rows = [
        [code(name), fixed(omnibus.test.average_ranks[i], 3), *(f"{rank:g}" for rank in omnibus.ranks[:, i])]
        for i, name in enumerate(omnibus.techniques)
    ]
    return markdown(["technique", "average rank", *map(code, omnibus.workloads)], rows, 1)


def pair_tests(ranked: _Ranked) -> str:
    """Return Wilcoxon's test over the data sets for every pair; empty if it cannot reach the level."""
    o = ranked.omnibus
    if len(o.workloads) < FEWEST_DATASETS:
        return ""
    rows = [
        [
            f"{code(a)} − {code(b)}",
            *map(_p, (test.p, test.p_without_ties, test.holm, test.shaffer, test.bergmann_hommel)),
        ]
        for (a, b), test in o.pair_p.items()
    ]
    headers = ["pair", "Wilcoxon p", "without ties", "Holm", "Shaffer", "Bergmann–Hommel"]
    computed = "" if len(o.techniques) <= MOST_TECHNIQUES else f" (not computed beyond {MOST_TECHNIQUES} techniques)"
    return (
        "Wilcoxon's test over the data sets: ties are split between the two sides, or left out. The last three columns"
        f" adjust the first p for all pairs, Shaffer (static) and Bergmann–Hommel{computed} by what equal techniques"
        f" imply.\n\n{markdown(headers, rows, 1)}"
    )


def numbers(ranked: _Ranked) -> pd.DataFrame:
    """Return the ranks per data set and their averages, and the omnibus test in every row."""
    o = ranked.omnibus
    test = {"chi2": o.test.chi2, "f": o.test.f, "df1": o.test.degrees[0], "df2": o.test.degrees[1], "p": o.test.p}
    more = {"kendalls_w": o.test.kendalls_w, "critical_difference": o.critical_difference}
    return pd.DataFrame(
        {
            "technique": name,
            "average_rank": o.test.average_ranks[i],
            **dict(zip(o.workloads, o.ranks[:, i], strict=True)),
            **test,
            **more,
        }
        for i, name in enumerate(o.techniques)
    )


def figure_numbers(ranked: _Ranked) -> pd.DataFrame:
    """Return a row per technique: its average rank, and the groups that it belongs to."""
    omnibus = ranked.omnibus
    groups = cliques(omnibus.test.average_ranks, omnibus.critical_difference)
    return pd.DataFrame(
        {
            "technique": name,
            "average_rank": rank,
            "groups": " ".join(str(number) for number, group in enumerate(groups, 1) if index in group),
            "critical_difference": omnibus.critical_difference,
            "num_datasets": len(omnibus.workloads),
        }
        for index, (name, rank) in enumerate(zip(omnibus.techniques, omnibus.test.average_ranks, strict=True))
    )


def draw(ranked: _Ranked) -> Figure:
    """Draw average ranks, the best on the left; a bar joins techniques within the critical difference."""
    omnibus = ranked.omnibus
    mean = omnibus.test.average_ranks
    order = sorted(range(len(mean)), key=lambda index: mean[index])
    groups = cliques(mean, omnibus.critical_difference)
    k = len(mean)
    half = -(-k // 2)
    bars = 0.28 * max(len(groups), 1)
    bottom = -(0.45 + bars + 0.34 * half)
    figure = Figure(figsize=(style.WIDTH, 0.75 * (1.35 - bottom) + 0.25))
    axis = figure.subplots()
    margin = 0.32 * max(k - 1, 1)
    axis.set_xlim(1 - margin, k + margin)
    axis.set_ylim(bottom, 1.25)
    axis.axis("off")
    axis.plot([1, k], [0, 0], color="black", lw=1.2)
    for tick in range(1, k + 1):
        axis.plot([tick, tick], [0, 0.1], color="black", lw=1.2)
        axis.text(tick, 0.15, str(tick), ha="center", va="bottom")
    for number, group in enumerate(groups):
        ends = [mean[group[0]] - 0.02 * margin, mean[group[-1]] + 0.02 * margin]
        axis.plot(ends, [-0.25 - 0.28 * number] * 2, color=style.GRAY, lw=5, solid_capstyle="round")
    for position, index in enumerate(order):
        left = position < half
        level = -(0.45 + bars) - 0.34 * (position if left else k - 1 - position)
        _name(axis, ranked, index, level, 1 - 0.08 * margin if left else k + 0.08 * margin, left)
    width = omnibus.critical_difference
    shown = min(width, k - 1 + 2 * margin)
    axis.plot([1, 1 + shown], [0.85, 0.85], color="black", lw=1.2)
    for end in (1, 1 + shown):
        axis.plot([end, end], [0.78, 0.92], color="black", lw=1.2)
    level_text = percent(ranked.findings.evaluation.confidence)
    axis.text(1 + shown / 2, 0.97, f"critical difference {width:.2f} ({level_text})", ha="center", va="bottom")
    return figure


def _name(axis: Axes, ranked: _Ranked, index: int, level: float, edge: float, left: bool) -> None:
    omnibus = ranked.omnibus
    rank, name = omnibus.test.average_ranks[index], omnibus.techniques[index]
    color = style.color(list(ranked.findings.evaluation.techniques).index(name))
    axis.plot([rank, rank, edge], [0, level, level], color=color, lw=1.3)
    name = short(one_line(name), 40)
    axis.text(
        edge,
        level,
        f"{name}  {rank:.2f} " if left else f" {rank:.2f}  {name}",
        ha="right" if left else "left",
        va="center",
        color=color,
    )


def text(ranked: _Ranked) -> str:
    """Return the omnibus test, and the ranks."""
    return f"## Ranks over the data sets\n\n{how(ranked)} {numbers_of('ranks')}\n\n{table(ranked)}"


def alt(ranked: _Ranked) -> str:
    """Return the text for those who cannot see the figure."""
    names = ", ".join(ranked.findings.evaluation.techniques)
    return f"Critical-difference diagram: average ranks of {names} over the data sets"


RANKS = Section(
    _ranked,
    text,
    {"ranks": numbers},
    (
        Chart(
            "ranks",
            draw,
            figure_numbers,
            alt,
            lambda _: (
                "Average ranks, 1 is best. A bar joins techniques that differ by less than the critical difference."
            ),
            plot=lambda ranked, numbers: plot(ranked.findings, numbers),
        ),
    ),
)
PAIR_TESTS = Section(_ranked, pair_tests)
