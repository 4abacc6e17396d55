"""The best validation score found against the number of candidates."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evalbench.report.analysis.findings import TunedFindings, searched
from evalbench.report.plots.tuning import best, objective_label
from evalbench.report.render import style
from evalbench.report.render.style import ROUND_STEPS, columns, technique_lines, workload_label
from evalbench.report.render.units import plural
from evalbench.report.section import Chart, Section

FROM = 3
"""The axes show what is found from so many candidates on: the first one alone may lie anywhere."""


def text(tuned: TunedFindings) -> str:
    """Explain how to read the curves of the best score found."""
    last = "the best of all candidates"
    if tuned.independent:
        return (
            "Expected validation score of the best of n candidates, computed from all candidates of a study, which"
            f" random search draws one by one (Dodge et al., 2019, without replacement); the curve ends at {last}."
            " If the curve has not leveled off, more candidates would find better ones."
        )
    repeated = plural(tuned.evaluation.num_studies, "study", "studies")
    few = "" if tuned.evaluation.num_studies >= 3 else " Fewer than three studies show little of their spread."
    return (
        f"Best validation score so far, mean over {repeated}. An expected best of n would need candidates that were"
        f" drawn independently.{few}"
    )


def band(tuned: TunedFindings) -> str:
    """Explain the band around the best score found, if there is one."""
    if tuned.independent:
        return "; the band is its standard deviation, estimated from the same candidates"
    return "; the band is the standard deviation of the studies" if tuned.evaluation.num_studies > 1 else ""


def draw(tuned: TunedFindings) -> Figure:
    """Draw a panel per workload: the best of n candidates of each technique, with one standard deviation."""
    table = tuned.best_scores
    names = _drawn(tuned)
    figure, axes = style.panels(len(names), 2.3 if len(names) > 1 else 3.3)
    for axis, workload in zip(axes, names, strict=True):
        label, scale = objective_label(tuned, workload)
        ends: list[float] = []
        for technique, part in table[table["workload"] == workload].groupby("technique", sort=False):
            index = tuned.evaluation.techniques.index(str(technique))
            n, spent, mean, sd = (part[name].to_numpy() for name in ("n", "full_candidates", "mean", "sd"))
            known = np.isfinite(sd)
            axis.fill_between(
                spent[known],
                (mean - sd)[known] * scale,
                (mean + sd)[known] * scale,
                color=style.color(index),
                alpha=0.15,
                lw=0,
            )
            axis.plot(spent, mean * scale, color=style.color(index), ls=style.dashes(index), lw=1.6)
            later = mean[n >= min(FROM, n.max())] * scale
            ends += [float(later.min()), float(later.max())]
        axis.set_title(style.wrapped(workload_label(tuned.evaluation, workload), 34))
        axis.set_ylabel(label)
        margin = 0.15 * (max(ends) - min(ends)) or 0.01
        axis.set_ylim(min(ends) - margin, max(ends) + margin)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
        axis.grid()
    for axis in axes[-columns(axes) :]:
        axis.set_xlabel(
            "candidates" if (table["full_candidates"] == table["n"]).all() else "candidates trained in full"
        )
    style.legend_below(figure, technique_lines(tuned.evaluation.techniques), 6)
    return figure


def _drawn(tuned: TunedFindings) -> list[str]:
    """Return the workloads in the picture."""
    return style.fitting(_with_scores(tuned), 2.3)


def _with_scores(tuned: TunedFindings) -> list[str]:
    known = set(tuned.best_scores["workload"])
    return [name for name in tuned.evaluation.workloads if name in known]


def alt(tuned: TunedFindings) -> str:
    """Return the text for those who cannot see the figure."""
    names, workloads = ", ".join(tuned.evaluation.techniques), ", ".join(tuned.evaluation.workloads)
    return f"Best validation score of {names} against the number of candidates on {workloads}"


def caption(tuned: TunedFindings) -> str:
    """Explain how to read the figure."""
    table = tuned.best_scores
    pruned = (
        ""
        if (table["full_candidates"] == table["n"]).all()
        else " A pruned candidate counts by the epochs that it used."
    )
    rest = style.not_drawn(_drawn(tuned), _with_scores(tuned), "workloads")
    shown = f"The best of n candidates by validation score{band(tuned)}. The axes show it from three candidates on."
    return f"{shown}{pruned}{rest}"


BEST = Section(
    searched,
    lambda tuned: f"### Best found against the number of trials\n\n{text(tuned)}",
    charts=(
        Chart(
            "tuning_best",
            draw,
            lambda tuned: tuned.best_scores,
            alt,
            caption,
            lambda tuned: len(tuned.best_scores) > 0,
            best,
        ),
    ),
)
