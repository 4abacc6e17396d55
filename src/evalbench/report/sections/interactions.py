"""Whether the choice of the technique depends on another factor: an answer per candidate and factor, and a figure."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evalbench.names import code, one_line, plain, short
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.analysis.interactions import Interaction
from evalbench.report.plots.interactions import interactions as plot
from evalbench.report.render import style
from evalbench.report.render.units import listed, percent, plural
from evalbench.report.section import Chart, Section
from evalbench.statistics.design import used
from evalbench.statistics.interactions import Dependence


def varied(findings: Findings) -> JudgedFindings | None:
    """Return the findings with verdicts, if another factor varies."""
    with_verdicts = judged(findings)
    return with_verdicts if with_verdicts and with_verdicts.interactions else None


def sentence(findings: JudgedFindings, interaction: Interaction) -> str:
    """Return the answer for one candidate and one factor, with its numbers."""
    unit, contrast, factor = findings.common, interaction.main, code(interaction.factor)
    candidate, baseline = code(interaction.candidate), code(findings.evaluation.baseline)
    rope = f"the ROPE (±{unit.size(findings.judged.design.rope)} {plain(unit.difference)})"
    levels = f"{code(contrast.first)} minus {code(contrast.second)}"
    gap = f"{unit.change(contrast.mean)} {unit.span(contrast.low, contrast.high)}"
    if interaction.answer is Dependence.DEPENDS:
        effects = [
            f"{unit.change(effect)} {plain(unit.difference)} at {code(level)}"
            for level, effect in interaction.effects.items()
        ]
        ends = [interaction.effects[level] for level in (contrast.first, contrast.second)]
        turns = f"Whether {candidate} is better than {baseline}" if min(ends) < 0 < max(ends) else ""
        subject = turns or f"The difference between {candidate} and {baseline}"
        return f"{subject} depends on {factor}: {listed(effects)}; {levels} {gap}."
    if interaction.answer is Dependence.SAME:
        subject = f"The difference between {candidate} and {baseline}"
        return f"{subject} does not depend on {factor} by more than {rope}: the largest change, {levels}, is {gap}."
    subject = f"Whether the difference between {candidate} and {baseline} depends on {factor} is not known"
    if not math.isfinite(contrast.low):
        return f"{subject}: too few pairs, or none that differ from others."
    return f"{subject}: the interval of the change {levels}, {gap}, holds both 0 and more than {rope}."


def how(findings: JudgedFindings) -> str:
    """Explain the contrasts, and the error rate that they share."""
    some = findings.interactions[0]
    count = sum(len(interaction.contrasts) for interaction in findings.interactions)
    several = len(findings.evaluation.factors) > 1
    repeated = "study" if findings.evaluation.num_studies > 1 else "seed"
    return (
        f"The paired difference from the baseline at one level, minus that at another level, by {repeated}"
        + (", each factor averaged over the others" if several else "")
        + f", as a mean over {plural(len(used(findings.judged.design)), 'workload')}, on {findings.scope.words}."
        + (
            f" The {count} comparisons of this question share an error rate of {percent(findings.judged.design.alpha)}:"
            f" each interval has {percent(some.confidence)}."
            if count > 1
            else f" The interval has {percent(some.confidence)}."
        )
    )


def text(findings: JudgedFindings) -> str:
    """Return a sentence per candidate and factor, and how they were found."""
    lines = "\n".join(f"- {sentence(findings, interaction)}" for interaction in findings.interactions)
    return f"## Does the choice depend on the other factors?\n\n{lines}\n\n{how(findings)}"


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return a row per pair of levels: the effect at each, and the difference with its interval."""
    unit = findings.common
    return pd.DataFrame(
        {
            "factor": interaction.factor,
            "candidate": interaction.candidate,
            "first": contrast.first,
            "second": contrast.second,
            "unit": unit.label,
            "effect_first": unit.shown(interaction.effects[contrast.first]),
            "effect_second": unit.shown(interaction.effects[contrast.second]),
            "difference": unit.shown(contrast.mean),
            **dict(zip(("low", "high"), unit.ends(contrast.low, contrast.high), strict=True)),
            "answer": contrast.answer.value,
        }
        for interaction in findings.interactions
        for contrast in interaction.contrasts
    )


def draw(findings: JudgedFindings) -> Figure:
    """Draw a row per factor: the effect of each candidate at each level, and the differences between levels."""
    factors = list(findings.evaluation.factors)
    groups = [[i for i in findings.interactions if i.factor == factor] for factor in factors]
    heights = [max(1.9, 0.75 + 0.24 * sum(len(i.contrasts) for i in group)) for group in groups]
    figure = Figure(figsize=(style.WIDTH, sum(heights) + 0.4))
    axes = figure.subplots(len(factors), 2, squeeze=False, height_ratios=heights)
    for group, (left, right) in zip(groups, axes, strict=True):
        _effects(left, findings, group)
        _contrasts(right, findings, group)
    techniques = list(findings.evaluation.techniques)
    lines = style.technique_lines(techniques)
    handles = [lines[techniques.index(interaction.candidate)] for interaction in groups[0]]
    style.legend_below(figure, handles)
    return figure


def _effects(axis: Axes, findings: JudgedFindings, group: list[Interaction]) -> None:
    """Draw a line per candidate over the levels of one factor."""
    unit, techniques = findings.common, list(findings.evaluation.techniques)
    levels = list(group[0].effects)
    for interaction in group:
        index = techniques.index(interaction.candidate)
        effects = [unit.shown(effect) for effect in interaction.effects.values()]
        look = {"color": style.color(index), "ls": style.dashes(index), "marker": style.marker(index)}
        axis.plot(range(len(levels)), effects, lw=1.6, ms=5, **look)
    rope = unit.shown_size(findings.judged.design.rope)
    axis.axhspan(-rope, rope, color=style.ROPE, lw=0, zorder=0)
    axis.axhline(0, color="black", lw=0.9, zorder=1)
    axis.set_xticks(range(len(levels)), [style.wrapped(level, 14) for level in levels])
    axis.set_xlim(-0.3, len(levels) - 0.7)
    axis.set_xlabel(one_line(group[0].factor))
    axis.set_title(f"minus {short(one_line(findings.evaluation.baseline), 32)}, {unit.difference}", loc="left")
    axis.grid(axis="y")


def _contrasts(axis: Axes, findings: JudgedFindings, group: list[Interaction]) -> None:
    """Draw the interval of each pair of levels, hollow if the answer is not known."""
    unit, techniques = findings.common, list(findings.evaluation.techniques)
    labels: list[str] = []
    for interaction in group:
        color = style.color(techniques.index(interaction.candidate))
        for contrast in interaction.contrasts:
            row, known = len(labels), contrast.answer is not Dependence.UNKNOWN
            axis.plot(unit.ends(contrast.low, contrast.high), [row] * 2, "-", color=color, lw=1.6)
            face = color if known else "white"
            axis.plot([unit.shown(contrast.mean)], [row], "o", ms=5, color=color, mfc=face)
            labels.append(f"{short(one_line(contrast.first), 16)} − {short(one_line(contrast.second), 16)}")
    rope = unit.shown_size(findings.judged.design.rope)
    axis.axvspan(-rope, rope, color=style.ROPE, lw=0, zorder=0)
    axis.axvline(0, color="black", lw=0.9, zorder=1)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=style.ROUND_STEPS, min_n_ticks=3))
    axis.set_title("change between two levels", loc="left")
    axis.grid(axis="x")


def alt(findings: JudgedFindings) -> str:
    """Return the text for those who cannot see the figure."""
    names = ", ".join(dict.fromkeys(interaction.candidate for interaction in findings.interactions))
    return f"Difference of {names} from the baseline by level of {', '.join(findings.evaluation.factors)}"


INTERACTIONS = Section(
    varied,
    text,
    charts=(
        Chart(
            "interactions",
            draw,
            numbers,
            alt,
            lambda _: (
                "Left: the mean difference from the baseline at each level; a level line is no dependence. Right: the"
                " change between two levels with its interval; a hollow point is not known. Within the shaded ROPE a"
                " difference is too small to matter."
            ),
            plot=plot,
        ),
    ),
)
