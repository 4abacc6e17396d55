"""The second method beside the interval that decides: a test that does not lean on normality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalbench.statistics.decisions import Decisions
from evalbench.statistics.design import Challenger, Design, used
from evalbench.statistics.items import Items
from evalbench.statistics.significance import holm, sign_flip, smallest_attainable, stratified_flip, wilcoxon
from evalbench.statistics.unpaired import TwoSamples, labels
from evalbench.statistics.verdicts import FEWEST_DATASETS, methods_agree


@dataclass(frozen=True)
class Second:
    """The second method: an exact or drawn test that does not lean on normality."""

    name: str
    p: float
    p_holm: float
    attainable: float  # smallest p that it can give, after Holm
    agrees: bool


def second_methods(
    challengers: Sequence[Challenger], decisions: Decisions, design: Design, family: int, generator: np.random.Generator
) -> list[Second]:
    """Return the second method of each challenger, adjusted for the family."""
    indices = used(design)
    p_values, sides, attainable, name = [], [], [], ""
    for challenger in challengers:
        name, p, side, smallest = _second_method(challenger, design, indices, generator)
        p_values.append(p)
        sides.append(side)
        attainable.append(smallest)
    adjusted = holm([*p_values, *[math.nan] * (family - len(challengers))])
    seconds = []
    for index, (p, p_holm) in enumerate(zip(p_values, adjusted[: len(challengers)], strict=True)):
        side = int(decisions.low[index] > 0) - int(decisions.high[index] < 0)
        smallest = min(1.0, attainable[index] * family)
        agrees = methods_agree(side, sides[index], p_holm, smallest, design.alpha)
        seconds.append(Second(name, p, p_holm, smallest, agrees))
    return seconds


def _second_method(
    challenger: Challenger, design: Design, indices: list[int], generator: np.random.Generator
) -> tuple[str, float, int, float]:
    """Return name, p, side and smallest attainable p of the second method."""
    differences = challenger.differences
    if isinstance(differences, TwoSamples):
        return _without_pairs(differences, indices, generator)
    if len(indices) > 1 and not design.one_score:
        values = differences.values[:, indices]
        p, smallest = stratified_flip(values, generator)
        mean = float(np.nan_to_num(differences.means[indices].mean()))  # nan if a workload has no pair
        name = "sign flips within subsets" if design.fixed_sets else "sign flips within data sets"
        return name, p, int(np.sign(mean)), smallest
    column = differences.means[indices] if design.one_score else differences.values[:, indices[0]]
    column = column[np.isfinite(column)]
    many = design.one_score and column.size >= FEWEST_DATASETS
    name = "sign flips over data sets" if design.one_score else "sign flips over seeds"
    name = "Wilcoxon signed rank over data sets" if many else name
    if column.size < 2:
        return name, math.nan, 0, smallest_attainable(column.size)
    sizes = np.unique(np.abs(column[column != 0]))
    if isinstance(differences, Items) and sizes.size == 1 and differences.clusters is None:
        name = "McNemar"
    elif isinstance(differences, Items):
        name = "sign flips over items" if differences.clusters is None else "sign flips over clusters"
    p = wilcoxon(column) if many else sign_flip(column, generator)
    return name, p, int(np.sign(np.median(column))), smallest_attainable(column.size)


def _without_pairs(
    samples: TwoSamples, indices: list[int], generator: np.random.Generator
) -> tuple[str, float, int, float]:
    """Return name, p, side and smallest attainable p of the second method for runs that are not paired."""
    sides = samples.sides(indices)
    if min(side.size for pair in sides for side in pair) < 2:
        return "labels exchanged", math.nan, 0, 1.0
    p, smallest, name = labels(sides, generator)
    mean = float(samples.means[indices].mean())
    return name + (" within data sets" if len(indices) > 1 else ""), p, int(np.sign(mean)), smallest
