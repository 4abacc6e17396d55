"""The figures of a report, each with a CSV of the numbers that it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from evalbench.report.figures.plain import Figure  # isort: skip - before anything else loads matplotlib
from evalbench.record.tables import write_table
from evalbench.report import style
from evalbench.report.figures import forest, learning, profiles, ranking, scores, tradeoff, tuning
from evalbench.report.findings import Findings
from evalbench.report.tuned import Tuned

TUNING = ("tuning_best", "tuning_parallel", "tuning_slices", "tuning_front")
NAMES = ("scores", "differences", "curves_epochs", "curves_steps", "tradeoff", "targets", "ranks", "profiles", *TUNING)


def draw(findings: Findings, curves: pd.DataFrame, folder: Path) -> None:
    """Write `<name>.png` and `<name>.csv` for each drawable figure."""
    folder.mkdir(exist_ok=True, parents=True)
    for name in drawable(findings, curves):
        figure, numbers = make(findings, curves, name)
        with style.styled():
            style.save(figure, folder / f"{name}.png")
        write_table(numbers, folder / f"{name}.csv", "%.10g")


def make(findings: Findings, curves: pd.DataFrame, name: str) -> tuple[Figure, pd.DataFrame]:
    """Return a drawable figure and its numbers."""
    makers: dict[str, Callable[[], tuple[Figure, pd.DataFrame]]] = {
        "differences": lambda: (forest.differences(findings), forest.difference_numbers(findings)),
        "scores": lambda: (scores.scores(findings), scores.score_numbers(findings)),
        "curves_epochs": lambda: (learning.curves_over(findings, curves, "epoch"), curves),
        "curves_steps": lambda: (learning.curves_over(findings, curves, "step"), curves),
        "tradeoff": lambda: (tradeoff.tradeoff(findings), tradeoff.numbers(findings)),
        "targets": lambda: (profiles.targets(findings), profiles.target_numbers(findings)),
        "ranks": lambda: (ranking.ranks(findings), ranking.numbers(findings)),
        "profiles": lambda: (profiles.profile(findings), profiles.profile_numbers(findings)),
        "tuning_best": lambda: (tuning.best_found(findings), tuned(findings).best_found),
        "tuning_parallel": lambda: (tuning.parallel(findings), tuning.ranked(findings)),
        "tuning_slices": lambda: (tuning.slices(findings), tuning.ranked(findings)),
        "tuning_front": lambda: (tuning.front(findings), tuned(findings).front),
    }
    with style.styled():
        return makers[name]()


def tuned(findings: Findings) -> Tuned:
    """What there is to tell of the studies."""
    assert findings.tuned is not None  # a figure of them is drawn only then
    return findings.tuned


def drawable(findings: Findings, curves: pd.DataFrame) -> tuple[str, ...]:
    """The names of the figures that there is something to show for."""
    names = ["scores"]
    if findings.differences:
        names.append("differences")
    if len(curves):
        names += ["curves_epochs", "curves_steps"]
    if len(findings.front) > 1:
        names.append("tradeoff")
    if findings.milestones is not None and findings.milestones.rows:
        names.append("targets")
    if findings.appendix is not None and findings.appendix.omnibus is not None:
        names.append("ranks")
    if findings.appendix is not None and findings.appendix.profiles and len(findings.data_sets) > 1:
        names.append("profiles")
    if findings.tuned is not None and len(findings.tuned.best_found):
        spaces = (findings.folder.evaluation.tuning or {})["space"].values()
        names.append("tuning_best")
        if any(len(space) > 1 for space in spaces):
            names.append("tuning_parallel")
        names.append("tuning_slices")
        if len(findings.tuned.front) and findings.tuned.front["on_front"].any():
            names.append("tuning_front")
    return tuple(names)
