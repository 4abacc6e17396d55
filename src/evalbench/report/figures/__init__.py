"""The figures of a report, each with a CSV of the numbers that it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from evalbench.report import style
from evalbench.report.figures import forest, learning, profiles, ranking, scores, tradeoff
from evalbench.report.findings import Findings

NAMES = ("scores", "differences", "curves_epochs", "curves_steps", "tradeoff", "targets", "ranks", "profiles")


def draw(findings: Findings, curves: pd.DataFrame, folder: Path) -> None:
    """Write `<name>.png` and `<name>.csv` for each drawable figure."""
    makers: dict[str, Callable[[], tuple[Figure, pd.DataFrame]]] = {
        "differences": lambda: (forest.differences(findings), forest.difference_numbers(findings)),
        "scores": lambda: (scores.scores(findings), scores.score_numbers(findings)),
        "curves_epochs": lambda: (learning.curves_over(findings, curves, "epoch"), curves),
        "curves_steps": lambda: (learning.curves_over(findings, curves, "step"), curves),
        "tradeoff": lambda: (tradeoff.tradeoff(findings), tradeoff.numbers(findings)),
        "targets": lambda: (profiles.targets(findings), profiles.target_numbers(findings)),
        "ranks": lambda: (ranking.ranks(findings), ranking.numbers(findings)),
        "profiles": lambda: (profiles.profile(findings), profiles.profile_numbers(findings)),
    }
    folder.mkdir(exist_ok=True, parents=True)
    with style.styled():
        for name in drawable(findings, curves):
            figure, numbers = makers[name]()
            style.save(figure, folder / f"{name}.png")
            numbers.to_csv(folder / f"{name}.csv", index=False, float_format="%.10g", lineterminator="\n")


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
    return tuple(names)
