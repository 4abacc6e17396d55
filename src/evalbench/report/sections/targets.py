"""Time to target: how soon each technique reaches the score that was declared as solved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from evalbench.names import code, plain
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.plots.profiles import targets as plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import counted, flops, plural, times
from evalbench.report.section import Chart, Section
from evalbench.statistics.intervals import Floats
from evalbench.statistics.targets import time_profile


def numbers(findings: Findings) -> pd.DataFrame:
    """Return the median time to target of each technique on each workload; infinite if it was missed."""
    rows = [
        {
            "workload": m.workload,
            "technique": m.technique,
            "target": findings.units[m.workload].shown_score(m.target),
            "unit": findings.units[m.workload].label,
            "reached": m.reached,
            "trials": m.count,
            "steps": m.steps,
            "flops": m.flops,
            "seconds": m.seconds,
        }
        for m in findings.milestones.rows
    ]
    return pd.DataFrame(rows)


def draw(findings: Findings) -> Figure:
    """Draw the share of targets reached within τ times the fastest technique's time."""
    milestones = findings.milestones
    return draw_profile(milestones.relative, findings.evaluation.techniques, milestones.measured_by)


def draw_profile(relative: Floats, techniques: Sequence[str], measured_by: str, end: float = math.inf) -> Figure:
    """Draw the performance profile of times relative to the fastest, shape (k, W), up to the ratio `end`."""
    finite = relative[np.isfinite(relative)]
    end = min(end, max(4.0, float(finite.max()) * 1.2) if finite.size else 4.0)
    grid = np.geomspace(1, end, 400)
    shares = time_profile(relative, grid)
    figure = Figure(figsize=(style.WIDTH, 3.0))
    axis = figure.subplots()
    handles = []
    for index, name in enumerate(techniques):
        # Curves that lie on each other stay visible: each is a little lower than the one before.
        drawn = shares[index] - 0.006 * index
        axis.step(grid, drawn, where="post", color=style.color(index), ls=style.dashes(index), lw=2)
        handles.append(Line2D([], [], color=style.color(index), ls=style.dashes(index), lw=2, label=name))
    axis.set_xscale("log")
    axis.set_xlim(1, end)
    ticks = [t for t in (1, 1.5, 2, 3, 4, 6, 10, 20, 50, 100, 300, 1000, 3000, 10000) if t <= end]
    axis.xaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // 9)]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_ylim(-0.04, 1.04)
    axis.grid()
    axis.set_xlabel(f"time to target relative to the fastest technique ({measured_by}, log scale)")
    axis.set_ylabel("targets reached")
    style.legend_below(figure, handles, 6)
    return figure


def table(findings: Findings) -> str:
    """Return the time to target on each workload that declares one."""
    rows, last = [], ""
    for m in findings.milestones.rows:
        unit = findings.units[m.workload]
        first = m.workload != last
        rows.append(
            [
                code(m.workload) if first else "",
                f"{unit.score(m.target)} {plain(unit.label)}" if first else "",
                code(m.technique),
                f"{m.reached}/{m.count}",
                _time(m.steps, counted(m.steps)),
                _time(m.flops, flops(m.flops)),
                "not measured" if math.isnan(m.seconds) else _time(m.seconds, f"{m.seconds:.3g} s"),
            ]
        )
        last = m.workload
    headers = ["workload", "target (validation)", "technique", "reached", "updates", "FLOPs", "isolated seconds"]
    return markdown(headers, rows, 3)


def _time(value: float, text: str) -> str:
    return "missed (∞)" if math.isinf(value) else text


def speed_ups(findings: Findings) -> str:
    """Say how much faster than the baseline techniques are, over the targets that both reach."""
    if not findings.milestones.speed_ups:
        return ""
    parts = []
    for name, gain in findings.milestones.speed_ups.items():
        misses = f"only it: {gain.only_candidate}, only the baseline: {gain.only_baseline}, neither: {gain.neither}"
        if gain.both:
            where = f"over {plural(gain.both, 'target')} that both reach"
            parts.append(f"{code(name)} needs {times(1 / gain.ratio)} times the baseline's time {where} ({misses})")
        else:
            parts.append(f"{code(name)} and the baseline reach no target in common ({misses})")
    text = f"Counted in {findings.milestones.measured_by}: " + "; ".join(parts) + "."
    if findings.milestones.algoperf is not None:
        names = findings.evaluation.techniques
        scores = ", ".join(f"{code(n)} {s:.2f}" for n, s in zip(names, findings.milestones.algoperf, strict=True))
        text += f" AlgoPerf score (depends on the other techniques): {scores}."
    return text


def _reached(findings: Findings) -> Findings | None:
    return findings if findings.milestones.rows else None


def alt(findings: Findings) -> str:
    """Return the text for those who cannot see the figure."""
    names, techniques = ", ".join(findings.evaluation.workloads), ", ".join(findings.evaluation.techniques)
    return f"Share of the targets on {names} that {techniques} reach within multiples of the fastest time"


def _caption(_: Findings) -> str:
    return (
        "Share of the targets that a technique reaches within a multiple of the fastest technique's time. A curve"
        " that ends below 100 % has missed targets."
    )


def text(findings: JudgedFindings) -> str:
    """Return the table of times to target."""
    return (
        "## Time to target\n\nMedian over all trials, a miss being infinite. A trial that diverged has reached no"
        " target. Targets are declared per workload and read off the validation score. Numbers:"
        f" [targets.csv](figures/targets.csv).\n\n{table(findings)}"
        if findings.milestones.rows
        else ""
    )


PROFILE = Section(_reached, charts=(Chart("targets", draw, numbers, alt, _caption, plot=plot),))
SPEED_UPS = Section(_reached, speed_ups)
TIMES = Section(judged, text)
