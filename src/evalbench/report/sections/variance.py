"""Where the noise comes from: the share of each source in the variance of scores and of paired differences."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from evalbench.names import code, one_line, short
from evalbench.report.analysis.findings import Findings
from evalbench.report.analysis.variance import NoiseBudget, noise_budgets
from evalbench.report.plots.variance import LOOKS, SINGULAR, words
from evalbench.report.plots.variance import variance as plot
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import fixed, listed, plural
from evalbench.report.section import Chart, Section
from evalbench.seeds import SOURCES
from evalbench.statistics.variance import VarianceComponent

PLURAL = {"init": "initial weights", "order": "orders", "split": "splits"}
MOST_NAMED = 6
"""Techniques on a workload that one sentence names; the table has all."""


@dataclass(frozen=True)
class NoiseFindings:
    """The findings, with the variance design decomposed."""

    findings: Findings
    budgets: tuple[NoiseBudget, ...]

    @property
    def decomposed(self) -> list[NoiseBudget]:
        """Return the budgets that have parts."""
        return [budget for budget in self.budgets if budget.components]


def designed(findings: Findings) -> NoiseFindings | None:
    """Return the findings with the variance design; None if there was none."""
    budgets = noise_budgets(findings.folder)
    return NoiseFindings(findings, budgets) if budgets else None


def name(budget: NoiseBudget) -> str:
    """Return the subject of a budget without markup: a technique, or two, and the setting of the other factors."""
    sides = budget.technique if budget.baseline is None else f"{budget.technique} − {budget.baseline}"
    return ", ".join([one_line(sides), *(one_line(f"{key}={level}") for key, level in budget.setting.items())])


def advice(noise: NoiseFindings) -> list[str]:
    """Return a sentence for each part that is the largest anywhere, and one for what is not resolved."""
    leading: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for budget in noise.decomposed:
        main = budget.main
        share = "" if main is None else f" ({share_text(main)})"
        key = (budget.baseline is not None, main.sources if main else ())
        leading.setdefault(key, []).append(f"{code(name(budget))} on {code(budget.workload)}{share}")
    return [_sentence(*key, names) for key, names in sorted(leading.items(), key=lambda item: not item[0][1])]


def _sentence(paired: bool, sources: tuple[str, ...], names: list[str]) -> str:
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    of = f"the {'paired differences' if paired else 'scores'} of {listed([*names[:MOST_NAMED], *more])}"
    if not sources:
        return f"What to redraw is not resolved for {of}."
    if len(sources) == len(SOURCES):
        why = "what none of them carries alone is the largest part of the variance"
        return f"**Redraw all three together**: {why} of {of}."
    together = " together" if len(sources) > 1 else ""
    subject = listed([PLURAL[source] for source in sources])
    return f"**Redraw {subject}{together}**: they carry the largest part of the variance of {of}."


def refusals(noise: NoiseFindings) -> list[str]:
    """Return a sentence for each budget that has no parts."""
    return [
        f"{code(name(budget))} on {code(budget.workload)} is not decomposed: {budget.why_not}."
        for budget in noise.budgets
        if not budget.components
    ]


def how(noise: NoiseFindings) -> str:
    """Explain the design, the estimates, and what a wide interval asks for."""
    evaluation, levels = noise.findings.evaluation, noise.budgets[0].levels
    design = " × ".join(f"{count} {PLURAL[source]}" for source, count in levels.items())
    plain = [budget for budget in noise.budgets if budget.baseline is None]
    diverged = sum(budget.num_diverged for budget in plain)
    fixed_rows = [code(key) for key, workload in evaluation.workloads.items() if workload.fixed_test_rows]
    sentences = [
        f"Every technique was trained on every workload with all combinations of {design}:"
        f" {plural(sum(budget.num_trials for budget in plain), 'trial')}. "
        + (f"{diverged} of them diverged and count as {evaluation.failed_score}." if diverged else "None diverged."),
        "The order includes all other noise of training, such as dropout.",
        f"The test rows of {listed(fixed_rows)} are fixed: a split draws the validation rows only."
        if fixed_rows
        else "",
        "Shares are analysis of variance estimates for random effects, negative ones taken as 0, with generalized 95 %"
        " intervals. The rest is what all three sources do together.",
        f"A share is *not resolved* if its interval is wider than half of the range; more levels narrow it, for example"
        f" `evaluation.variance={{split: {2 * levels['split']}}}`.",
        "A seed of this evaluation redraws all three sources. Paired differences share all of them, so what both sides"
        " have in common cancels."
        if len(plain) < len(noise.budgets)
        else "A seed of this evaluation redraws all three sources.",
    ]
    return " ".join(filter(None, sentences))


def share_text(part: VarianceComponent) -> str:
    """Return a share with its interval in percent: `72 % [43, 94]`."""
    resolved = "" if part.resolved else ", not resolved"
    return f"{100 * part.share:.0f} % [{100 * part.low:.0f}, {100 * part.high:.0f}]{resolved}"


def table(noise: NoiseFindings) -> str:
    """Return a row per budget: the standard deviation, and the share of each part."""
    if not noise.decomposed:
        return ""
    rows = []
    for budget in noise.decomposed:
        unit = noise.findings.units[budget.workload]
        singles = [share_text(part) for part in budget.components[: len(SOURCES)]]
        others = [f"{100 * part.share:.0f} %" for part in budget.components[len(SOURCES) :]]
        sd = f"{fixed(unit.shown_size(budget.sd), unit.finer)} {unit.short}"
        diverged = f"{budget.num_diverged}/{budget.num_trials}"
        rows.append([code(budget.workload), code(name(budget)), sd, *singles, *others, diverged])
    parts = [words(part.sources) for part in noise.decomposed[0].components]
    return markdown(["workload", "variance of", "SD of one", *parts, "diverged"], rows, 2)


def numbers(noise: NoiseFindings) -> pd.DataFrame:
    """Return a row per budget and part; variances are in squared units of the stored score."""
    return pd.DataFrame(
        {
            "workload": budget.workload,
            "technique": budget.technique,
            "minus": budget.baseline or "",
            **budget.setting,
            "source": " x ".join(part.sources),
            "variance": part.variance,
            "share": part.share,
            "low": part.low,
            "high": part.high,
            "resolved": part.resolved,
            "diverged": budget.num_diverged,
            "trials": budget.num_trials,
        }
        for budget in noise.decomposed
        for part in budget.components
    )


def text(noise: NoiseFindings) -> str:
    """Return what to redraw, how that was found, and the table."""
    lines = "\n".join(f"- {line}" for line in (*advice(noise), *refusals(noise)))
    return "\n\n".join(filter(None, ["## Where the noise comes from", lines, how(noise), table(noise)]))


def draw(noise: NoiseFindings) -> Figure:
    """Draw a bar per budget, stacked from its parts, and beside it the interval of each source."""
    budgets = style.fitting(noise.decomposed, 0.3, 1)
    figure = Figure(figsize=(style.WIDTH, 0.9 + 0.3 * len(budgets)))
    bars, *intervals = figure.subplots(1, 1 + len(SOURCES), sharey=True, width_ratios=[3, 1, 1, 1])
    for row, budget in enumerate(budgets):
        start = 0.0
        for part in budget.components:
            color, hatch = LOOKS[part.sources]
            bars.barh(row, 100 * part.share, 0.7, 100 * start, color=color, hatch=hatch, edgecolor="white", lw=0.4)
            start += part.share
        for axis, part in zip(intervals, budget.components, strict=False):
            _interval(axis, row, part)
    bars.set_ylim(len(budgets) - 0.4, -0.6)
    labels = [short(f"{one_line(budget.workload)}: {name(budget)}", 44) for budget in budgets]
    bars.set_yticks(range(len(budgets)), labels)
    bars.set_title("share of the variance (%)", loc="left")
    for axis, source in zip(intervals, SOURCES, strict=True):
        axis.set_title(SINGULAR[source], loc="left")
    for axis in (bars, *intervals):
        axis.set_xlim(-4, 104)
        axis.set_xticks((0, 50, 100))
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x")
    style.legend_below(
        figure,
        [
            Patch(facecolor=color, hatch=hatch, edgecolor="white", label=words(sources))
            for sources, (color, hatch) in LOOKS.items()
        ],
    )
    return figure


def _interval(axis: Axes, row: int, part: VarianceComponent) -> None:
    """Draw a share with its interval, pale and hollow if it is not resolved."""
    color = LOOKS[part.sources][0]
    alpha, face = (1.0, color) if part.resolved else (0.55, "white")
    axis.plot((100 * part.low, 100 * part.high), (row, row), "-", color=color, lw=1.8, alpha=alpha)
    axis.plot([100 * part.share], [row], "o", ms=5, color=color, mfc=face, alpha=alpha)


def alt(noise: NoiseFindings) -> str:
    """Return the text for those who cannot see the figure."""
    names = ", ".join(dict.fromkeys(budget.workload for budget in noise.decomposed))
    return f"Shares of initial weights, order and split in the variance on {names}, with intervals"


VARIANCE = Section(
    designed,
    text,
    charts=(
        Chart(
            "variance",
            draw,
            numbers,
            alt,
            lambda noise: (
                "Each bar is the variance of one score, or of one paired difference. Its parts are the sources alone,"
                " then several together. Right: the share of each source with its interval; a hollow point is not"
                " resolved." + style.not_drawn(style.fitting(noise.decomposed, 0.3, 1), noise.decomposed, "bars")
            ),
            lambda noise: bool(noise.decomposed),
            plot,
        ),
    ),
)
