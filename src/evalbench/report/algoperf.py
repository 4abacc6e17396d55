"""The page of `--protocol algoperf`: techniques by AlgoPerf's published score, from a table of times to target."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from evalbench.names import code, plain
from evalbench.record.summary import write_summary
from evalbench.record.tables import write_table
from evalbench.record.times import Times
from evalbench.report.plots import profiles, trials
from evalbench.report.render import html, style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import fixed, listed, plural
from evalbench.report.section import numbers_of
from evalbench.report.sections.targets import draw_profile
from evalbench.report.summary import bare, lone
from evalbench.statistics.algoperf import Scored, trapezoid_scores
from evalbench.statistics.targets import FEWEST_TECHNIQUES, FEWEST_WORKLOADS, TAU_MAX, profile_area, relative_times

QUESTION = "Which technique reaches the targets soonest?"


def scores(times: Times) -> pd.DataFrame:
    """Return a row per technique, the best score first: rank, both scores, and the number of targets that count."""
    published = trapezoid_scores(times.counted)
    table = pd.DataFrame(
        {
            "rank": pd.Series(published).rank(method="min", ascending=False),
            "technique": times.techniques,
            "algoperf_score": published,
            "exact_score": profile_area(times.counted),
            "targets": np.isfinite(times.counted).sum(axis=1),
        }
    )
    return table.sort_values("rank", kind="stable", ignore_index=True)


def numbers(times: Times) -> pd.DataFrame:
    """Return a row per technique and workload: median seconds, whether they count, and the ratio to the fastest."""
    relative = relative_times(times.counted)
    return pd.DataFrame(
        {
            "technique": technique,
            "workload": workload,
            "seconds": times.medians[i, w],
            "held_out_seconds": times.held_out_medians[i, w],
            "scored": times.scored[i][w].value,
            "ratio": relative[i, w],
        }
        for i, technique in enumerate(times.techniques)
        for w, workload in enumerate(times.workloads)
    )


def text(times: Times, question: str | None, name: str) -> str:
    """Return the page as Markdown."""
    rows = [
        [f"{row['rank']:g}", code(row["technique"]), fixed(row["algoperf_score"], 4), fixed(row["exact_score"], 4),
         f"{row['targets']}/{len(times.workloads)}"]
        for row in scores(times).to_dict("records")
    ]  # fmt: skip
    headers = ["rank", "technique", "AlgoPerf score", "exact score", "targets that count"]
    names = ", ".join(times.techniques)
    return (
        "\n\n".join(
            [
                f"# {plain(name)}",
                f"**{plain(question or QUESTION)}**",
                markdown(headers, rows, 2),
                f"{_how(times)} {numbers_of('scores')}",
                f"![Performance profiles of {plain(names)}](figures/targets.png)",
                "*Share of the targets that a technique reaches within a multiple of the fastest technique's time."
                f" {numbers_of('times')}*",
                f"## Times to target\n\n{_table(times)}",
            ]
        )
        + "\n"
    )


def _how(times: Times) -> str:
    """Say how the score is made, and what it does not say."""
    few, many = times.studies[0], times.studies[-1]
    studies = plural(few, "study", "studies") if few == many else f"{few} to {many} studies"
    sentences = [
        "*AlgoPerf score*: the area under the performance profile between 1 and 4 times the fastest time, by the"
        " trapezoidal rule on 100 points, divided by 3 (Dahl et al., 2023). *Exact score*: the same area in closed"
        " form.",
        f"The time on a workload is the median over {studies}, a miss being infinite; AlgoPerf prescribes 5.",
        "The score depends on the pool: another technique in it changes the fastest times. It has no interval.",
    ]
    if times.held_out:
        pairs = listed([f"{code(variant)} (of {code(workload)})" for variant, workload in times.held_out.items()])
        sentences.append(
            f"Held-out workloads only penalize: {pairs}. A technique that misses one, or takes more than 4 times the"
            " fastest there, has missed the target of its fixed workload."
        )
    if len(times.techniques) < FEWEST_TECHNIQUES or len(times.workloads) < FEWEST_WORKLOADS:
        count = f"{plural(len(times.techniques), 'technique')} and {plural(len(times.workloads), 'workload')}"
        sentences.append(
            f"{count} are few: with fewer than {FEWEST_TECHNIQUES} and {FEWEST_WORKLOADS} a single time decides."
        )
    return " ".join(sentences)


def _table(times: Times) -> str:
    rows = [
        [code(workload), *(_time(times, i, w) for i in range(len(times.techniques)))]
        for w, workload in enumerate(times.workloads)
    ]
    return markdown(["workload", *map(code, times.techniques)], rows, 1)


def _time(times: Times, technique: int, workload: int) -> str:
    seconds, how = times.medians[technique, workload], times.scored[technique][workload]
    if how is Scored.COUNTS:
        return f"{seconds:,.4g} s"
    return how.value if math.isinf(seconds) else f"{seconds:,.4g} s ({how.value})"


def save(times: Times, folder: Path, question: str | None = None, standalone: bool = False) -> Path:
    """Write `report.md`, `report.html`, `summary.json`, the profile and the numbers; return the path of `report.md`."""
    for part in ("figures", "numbers"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    relative = relative_times(times.counted)
    with style.styled():
        figure = draw_profile(relative, times.techniques, "seconds", TAU_MAX)
        style.save(figure, folder / "figures" / "targets.png")
    for name, table in (("scores", scores(times)), ("times", numbers(times))):
        write_table(table, folder / "numbers" / f"{name}.csv", "%.10g")
    report, page = folder / "report.md", text(times, question, folder.resolve().name)
    report.write_text(page, encoding="utf-8", newline="\n")
    plots = {"targets": profiles.of_times(relative, "seconds", TAU_MAX)}
    interactive = trials.without_trials(plots, times.techniques, standalone)
    (folder / "report.html").write_text(html.page(page, folder, (), interactive), encoding="utf-8", newline="\n")
    techniques = [
        lone(row["technique"], None, f"AlgoPerf score {fixed(row['algoperf_score'], 4)}")
        for row in scores(times).to_dict("records")
    ]
    summary = bare("algoperf", folder.resolve().name, question or QUESTION)
    write_summary(folder, {**summary, "techniques": techniques})
    return report
