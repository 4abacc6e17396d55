"""The candidates that nothing else beats in all objectives."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from evalbench.names import code
from evalbench.report.analysis.findings import TunedFindings, searched
from evalbench.report.plots.tuning import around, front
from evalbench.report.render import style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.style import workload_label
from evalbench.report.section import Chart, Section, numbers_of


def table(tuned: TunedFindings) -> str:
    """Return the candidates that nothing else beats in all objectives."""
    table = tuned.front
    if table.empty:
        return ""
    rows = []
    objectives: Mapping[str, list[str]] = tuned.search["objectives"]
    for (technique, workload), mine in table[table["on_front"]].groupby(["technique", "workload"], sort=False):
        names = objectives[str(workload)]
        for _, one in mine.sort_values(names[0]).iterrows():
            values = ", ".join(f"{code(name)} {float(one[name]):.4g}" for name in names)
            rows.append([code(technique), code(workload), str(int(one["candidate"])), values])
    return markdown(["technique", "workload", "candidate", "objectives"], rows, 4)


def draw(tuned: TunedFindings) -> Figure:
    """Draw a panel per workload: the first two objectives of every candidate; filled markers are on the front."""
    table = tuned.front
    objectives = tuned.search["objectives"]
    names = style.fitting(_with_front(tuned), 2.5)
    figure, axes = style.panels(len(names), 2.5 if len(names) > 1 else 3.5)
    for axis, workload in zip(axes, names, strict=True):
        first, second = objectives[workload][:2]
        both = table[(table["workload"] == workload) & table["on_front"]]
        for technique, part in table[table["workload"] == workload].groupby("technique", sort=False):
            index = tuned.evaluation.techniques.index(str(technique))
            color = style.color(index)
            axis.plot(part[second], part[first], style.marker(index), color=color, ms=3, alpha=0.35, mfc="white")
            best = part[part["on_front"]].sort_values(second)
            axis.plot(best[second], best[first], style.marker(index), color=color, ms=6, ls=":", lw=1)
        axis.set_title(style.wrapped(workload_label(tuned.evaluation, workload), 34))
        axis.set_xlabel(second)
        axis.set_ylabel(first)
        directions = tuned.search["directions"]
        for name, limit, ticks in ((second, axis.set_xlim, axis.xaxis), (first, axis.set_ylim, axis.yaxis)):
            limit(*around(both[name], directions[name] == "minimize"))
            ticks.set_major_locator(MaxNLocator(4))
            if name.startswith("cost/"):
                ticks.set_major_formatter(EngFormatter(sep=" "))
        axis.grid()
    style.legend_below(
        figure,
        [
            Line2D([], [], color=style.color(p), marker=style.marker(p), ls=":", lw=1, ms=6, label=name)
            for p, name in enumerate(tuned.evaluation.techniques)
        ],
        6,
    )
    return figure


def _with_front(tuned: TunedFindings) -> list[str]:
    solved = set(tuned.front.loc[tuned.front["on_front"], "workload"])
    return [name for name in tuned.evaluation.workloads if name in solved]


def text(tuned: TunedFindings) -> str:
    """Return the table of the front."""
    rows = table(tuned)
    if not rows:
        return ""
    return (
        "### Front\n\nCandidates that no other candidate of their study beats in all objectives, without those that"
        f" diverged. The first objective chose the measured candidate. {numbers_of('tuning_front')}\n\n{rows}"
    )


def alt(tuned: TunedFindings) -> str:
    """Return the text for those who cannot see the figure."""
    names, workloads = ", ".join(tuned.evaluation.techniques), ", ".join(tuned.evaluation.workloads)
    return f"Candidates of {names} by two objectives on {workloads}, with the front"


def _solved(tuned: TunedFindings) -> bool:
    has_scores, front = len(tuned.best_scores) > 0, tuned.front
    return has_scores and len(front) > 0 and bool(front["on_front"].any())


FRONT = Section(
    searched,
    text,
    {"tuning_front": lambda tuned: tuned.front},
    (
        Chart(
            "tuning_front",
            draw,
            lambda tuned: tuned.front,
            alt,
            lambda tuned: (
                "The first objective against the second. Filled markers are on the front. The axes show the"
                " neighborhood of the fronts. Worse candidates lie beyond."
                + style.not_drawn(style.fitting(_with_front(tuned), 2.5), _with_front(tuned), "workloads")
            ),
            _solved,
            front,
        ),
    ),
)
