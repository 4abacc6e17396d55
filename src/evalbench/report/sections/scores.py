"""Scores per workload: every trial as a point, and means with their intervals beside the references."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evalbench.names import code, plain
from evalbench.record.schema import LINEAR, TRIVIAL
from evalbench.report.analysis.findings import Findings
from evalbench.report.analysis.scores import Score
from evalbench.report.plots.scores import scores as plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown, named
from evalbench.report.render.style import ROUND_STEPS, columns, workload_label
from evalbench.report.render.units import percent, plural
from evalbench.report.section import Chart, Section, always, numbers_of
from evalbench.report.sections.forest import are_many
from evalbench.statistics.intervals import family_confidence

MOST_RUNS = 20_000  # of more runs, the numbers of the report are the means alone: the table has the runs
MOST_POINTS = 500  # of a technique in a panel, evenly spread over the runs
REFERENCE_LINES = {LINEAR: (0, (4, 2)), TRIVIAL: (0, (1, 1.5))}
REFERENCE_WORDS = {LINEAR: "dashed", TRIVIAL: "dotted"}


def caption(findings: Findings) -> str:
    """Explain how to read the raw runs."""
    rest = style.not_drawn(_in_picture(findings), list(findings.units), "workloads")
    if findings.one_score:
        return f"Every score is a point.{rest}"
    scales = " Scales differ between the panels." if len(findings.units) > 1 else ""
    arrows = " Arrows name references outside a panel." if not findings.folder.references.empty else ""
    points = f"Every {findings.evaluation.one_result} is a point."
    drawn = {score.name for score in findings.scores if score.reference}
    lines = "".join(f" The {REFERENCE_WORDS[name]} line is the {name}." for name in REFERENCE_WORDS if name in drawn)
    return f"{points} A diamond is the mean of a technique with its interval.{lines}{scales}{arrows}{rest}"


def numbers(findings: Findings) -> pd.DataFrame:
    """Return the means with their intervals, and under `trial` the raw scores behind them, unless they are too many."""
    rows = []
    for score in findings.scores:
        unit = findings.units[score.workload]
        rows.append(
            {
                "workload": score.workload,
                "name": score.name,
                "shown": "reference" if score.reference else "mean",
                "unit": unit.label,
                "value": unit.shown_score(score.interval.mean),
                "low": unit.shown_score(score.interval.low),
                "high": unit.shown_score(score.interval.high),
                "count": score.interval.count,
            }
        )
    results = findings.folder.results
    measured = results[results["score"].notna()]
    measured = measured.iloc[: 0 if len(measured) > MOST_RUNS else None]
    trials = pd.DataFrame(
        {
            "workload": measured["workload"],
            "name": measured["technique"],
            "shown": "trial",
            "unit": measured["workload"].map({name: unit.label for name, unit in findings.units.items()}),
            "value": [
                findings.units[w].shown_score(s) for w, s in zip(measured["workload"], measured["score"], strict=True)
            ],
            **{factor: measured[factor] for factor in findings.evaluation.factors},
            "seed": measured["seed"].astype("Int64"),
            "state": measured["state"],
        }
    )
    return pd.concat([pd.DataFrame(rows).astype({"count": "Int64"}), trials], ignore_index=True)


def draw(findings: Findings) -> Figure:
    """Draw a panel per workload: trials as points, means with intervals, references as lines."""
    evaluation = findings.evaluation
    if findings.one_score and len(set(findings.units.values())) == 1:
        return _one_score(findings)
    names = _in_picture(findings)
    figure, axes = style.panels(len(names), 1.1 + 0.27 * len(evaluation.techniques))
    lines: set[str] = set()
    for index, (axis, workload) in enumerate(zip(axes, names, strict=True)):
        lines |= _score_panel(axis, findings, workload)
        if index % columns(axes):
            axis.tick_params(labelleft=False)
    confidence = percent(evaluation.confidence)
    handles: list[Artist] = [
        Line2D([], [], color=style.GRAY, marker="o", ls="", ms=3.5, alpha=0.55, label=f"one {evaluation.one_result}"),
        Line2D([], [], color="black", marker="D", ms=5, lw=1.6, label=f"mean, {confidence} t interval"),
    ]
    if (findings.folder.results["failed"] == 1).any():
        words = "failed run" if evaluation.foreign else "diverged trial"
        handles.append(Line2D([], [], color=style.GRAY, marker="x", ls="", ms=5, label=words))
    handles += [
        Line2D([], [], color="black", lw=1.1, ls=line, label=name)
        for name, line in REFERENCE_LINES.items()
        if name in lines
    ]
    style.legend_below(figure, handles, 5)
    return figure


def _one_score(findings: Findings) -> Figure:
    """Draw one score of each technique on each data set: a row per data set, a marker per technique."""
    evaluation = findings.evaluation
    names = _in_picture(findings)
    figure = Figure(figsize=(style.WIDTH, 1.0 + 0.26 * len(names)))
    axis = figure.subplots()
    results = findings.folder.results
    step = min(0.18, 0.6 / len(evaluation.techniques))
    handles: list[Artist] = []
    for index, technique in enumerate(evaluation.techniques):
        mine = results[(results["technique"] == technique) & results["score"].notna()]
        mine = mine[mine["workload"].isin(names)]
        rows = mine["workload"].map(names.index).to_numpy() + step * (index - (len(evaluation.techniques) - 1) / 2)
        look: dict[str, Any] = {"color": style.color(index), "marker": style.marker(index), "ls": "", "ms": 5}
        values, gone = findings.common.shown_score(mine["score"].to_numpy()), (mine["failed"] == 1).to_numpy()
        axis.plot(values[~gone], rows[~gone], mec="white", mew=0.5, **look)
        axis.plot(values[gone], rows[gone], **{**look, "marker": "x"})
        handles.append(Line2D([], [], label=technique, **look))
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_yticks(range(len(names)), [style.wrapped(name) for name in names])
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(8, steps=ROUND_STEPS))
    axis.grid()
    axis.set_xlabel(findings.common.label)
    if (results["failed"] == 1).any():
        handles.append(Line2D([], [], color=style.GRAY, marker="x", ls="", ms=5, label="failed run"))
    style.legend_below(figure, handles, 6)
    return figure


def _score_panel(axis: Axes, findings: Findings, workload: str) -> set[str]:
    """Draw the scores on one workload, and return the references that lie within the panel."""
    evaluation, unit = findings.evaluation, findings.units[workload]
    seen: list[float] = []
    scores = {score.name: score for score in findings.scores if score.workload == workload and not score.reference}
    for index, technique in enumerate(evaluation.techniques):
        trials = findings.folder.cell(workload, technique)
        trials = trials[trials["score"].notna()]
        trials = trials.iloc[:: -(-len(trials) // MOST_POINTS) or 1]
        values = unit.shown_score(trials["score"].to_numpy())
        # Neighboring trials step up and down by a fixed pattern: the same picture every time, few points hidden.
        height = index + 0.16 * np.sin(2.4 * np.arange(len(values))) + 0.12
        gone = (trials["failed"] == 1).to_numpy()
        color = style.color(index)
        axis.plot(values[~gone], height[~gone], "o", ms=3, color=color, alpha=0.45, mew=0, zorder=2)
        axis.plot(values[gone], height[gone], "x", ms=5, color=color, mew=1.4, zorder=3)
        interval = scores[technique].interval
        if interval.count:
            y, mean = index - 0.2, unit.shown_score(interval.mean)
            if interval.computed:
                ends = list(np.clip([unit.shown_score(interval.low), unit.shown_score(interval.high)], *unit.bounds))
                axis.plot(ends, [y, y], "-", color=color, lw=1.8, solid_capstyle="butt", zorder=4)
                seen += ends
            axis.plot([mean], [y], "D", ms=4.5, color=color, mec="white", mew=0.5, zorder=5)
            seen += [mean, *values]
    lines = _reference_lines(axis, findings, workload, seen)
    axis.set_ylim(len(evaluation.techniques) - 0.45, -0.55)
    axis.set_yticks(range(len(evaluation.techniques)), [style.wrapped(name) for name in evaluation.techniques])
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS, min_n_ticks=3))
    axis.grid(axis="x")
    title = style.wrapped(workload_label(findings.evaluation, workload), 34)
    axis.set_title(title, loc="left", pad=16)  # span for a note under the title
    axis.set_xlabel(unit.label)
    return lines


def _reference_lines(axis: Axes, findings: Findings, workload: str, seen: list[float]) -> set[str]:
    """Draw references as lines, or name at the edge a reference that would squeeze the trials into a corner."""
    unit = findings.units[workload]
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    span = max(high - low, 1e-9)
    notes, lines = [], set()
    for score in findings.scores:
        if not (score.reference and score.workload == workload):
            continue
        value = unit.shown_score(score.interval.mean)
        if not seen or low - 1.2 * span <= value <= high + 1.2 * span:
            axis.axvline(value, color="black", lw=1.1, ls=REFERENCE_LINES[score.name], zorder=1)
            seen.append(value)
            lines.add(score.name)
        else:
            text = f"{score.name}: {unit.score(score.interval.mean)}"
            notes.append(f"← {text}" if value < low else f"{text} →")
    if seen:
        margin = 0.05 * max(max(seen) - min(seen), 1e-9)
        if max(seen) - min(seen) > 1e-9:
            axis.set_xlim(min(seen) - margin, max(seen) + margin)
    if notes:
        axis.annotate(
            "   ".join(notes),
            (0, 1),
            (0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7.5,
            color=style.GRAY,
            va="bottom",
        )
    return lines


def table(findings: Findings) -> str:
    """Return the mean and interval of each technique on each workload, the references in italics under them."""
    rows = []
    for workload, group in itertools.groupby(findings.scores, key=lambda score: score.workload):
        unit = findings.units[workload]
        for index, score in enumerate(group):
            mean = unit.score(score.interval.mean)
            cells = [named(score.name), mean, unit.score_interval(score.interval), _trials(score)]
            if score.best:
                cells[1] = f"**{mean}**"
            if score.reference:
                cells = [f"*{cell}*" for cell in cells]
            rows.append([code(workload) if index == 0 else "", plain(unit.label) if index == 0 else "", *cells])
    confidence = percent(findings.evaluation.confidence)
    runs = f"{findings.evaluation.one_result}s"
    return markdown(["workload", "unit", "technique", "mean", f"{confidence} t interval", runs], rows, 3)


def _trials(score: Score) -> str:
    notes = []
    if score.num_diverged:
        notes.append(f"{score.num_diverged} diverged")
    if score.num_failed:
        notes.append(f"{score.num_failed} failed")
    return f"{score.num_trials - score.num_left_out}" + (f" ({', '.join(notes)})" if notes else "")


def one_score_table(findings: Findings) -> str:
    """Return the scores of a table with one per technique and data set: a row per data set."""
    names = findings.evaluation.techniques
    cells = {
        (s.workload, s.name): findings.units[s.workload].score(s.interval.mean)
        + (" (failed)" if s.num_failed or s.num_diverged else "")
        for s in findings.scores
    }
    references = list(dict.fromkeys(s.name for s in findings.scores if s.reference))
    rows = [[code(w), *(cells.get((w, n), "–") for n in (*names, *references))] for w in findings.units]
    return markdown(["workload", *map(code, names), *(f"*{name}*" for name in references)], rows, 1)


def bold(findings: Findings) -> str:
    """Explain the bold means in the table of scores, and count them."""
    count = len(findings.evaluation.techniques)
    if count < 2:
        return ""
    level = percent(family_confidence(findings.evaluation.confidence, count * (count - 1) // 2))
    marked = sum(score.best for score in findings.scores)
    total = plural(len(findings.evaluation.workloads), "workload")
    met = f"That holds on {marked} of {total}." if marked else "None is."
    others = "the other technique says" if count == 2 else "all other techniques say"
    interval = "interval" if count == 2 else "intervals"
    allows = "" if count == 2 else ", which allows for all pairs"
    paired = "paired " if findings.evaluation.paired else ""
    return f"A mean is bold if its {paired}{interval} against {others} that it is better (at {level}{allows}). {met}"


def alt(findings: Findings) -> str:
    """Return the text for those who cannot see the figure."""
    names = f"{', '.join(findings.evaluation.techniques)} on {', '.join(findings.evaluation.workloads)}"
    return f"Scores of every {findings.evaluation.one_result} of {names}, with means, intervals and references"


def text(findings: Findings) -> str:
    """Return the table of scores, and how to read it."""
    evaluation = findings.evaluation
    over = "One score of each technique" if findings.one_score else f"Mean over the {evaluation.repeated[1]}"
    averaged = (
        f", each {evaluation.repeated[0]} averaged over the settings of the other factors" if evaluation.factors else ""
    )
    link = "Numbers: [scores.csv](figures/scores.csv)." if _drawn(findings) else numbers_of("scores")
    rows = "" if evaluation.foreign else ", on rows that were not used for training"
    references = "" if findings.folder.references.empty else "References are in italics. "
    marked = "" if findings.one_score else f"{bold(findings)} "
    said = f"{over}{averaged}{rows}. {references}{marked}{link}"
    scores = one_score_table(findings) if findings.one_score else table(findings)
    return f"## Scores per workload\n\n{said}\n\n{scores}"


def _drawn(findings: Findings) -> bool:
    """Return whether there is a figure of its own: the overview of many techniques has the runs of each workload."""
    return findings.one_score or not are_many(findings)


def _in_picture(findings: Findings) -> list[str]:
    """Return the workloads in the picture."""
    if findings.one_score and len(set(findings.units.values())) == 1:
        return style.fitting(list(findings.units), 0.26, 1)
    return style.fitting(list(findings.units), 1.1 + 0.27 * len(findings.evaluation.techniques))


def _numbers_alone(findings: Findings) -> pd.DataFrame:
    return pd.DataFrame() if _drawn(findings) else numbers(findings)


RUNS = Section(always, charts=(Chart("scores", draw, numbers, alt, caption, _drawn, plot),))
SCORES = Section(always, text, {"scores": _numbers_alone})
