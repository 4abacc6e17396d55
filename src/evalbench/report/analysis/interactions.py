"""Whether the choice of the technique depends on the other factors of the sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from evalbench.record.folder import Folder
from evalbench.report.analysis.pairs import Contrast
from evalbench.report.analysis.verdicts import difference
from evalbench.statistics.decisions import Evidence
from evalbench.statistics.design import Design, used
from evalbench.statistics.interactions import DEPENDENCES, Dependence, contrast_levels
from evalbench.statistics.matrices import Matrix, matrix
from evalbench.statistics.settings import average_settings


@dataclass(frozen=True)
class LevelContrast:
    """The effect at one level of a factor minus that at another, in the common unit."""

    first: str
    second: str
    mean: float
    low: float  # at the level of the family; nan if there is no interval
    high: float
    answer: Dependence


@dataclass(frozen=True)
class Interaction:
    """Whether the effect of a candidate depends on a factor, averaged over the other factors and the workloads."""

    factor: str
    candidate: str
    effects: Mapping[str, float]  # of each level: candidate minus baseline, in the common unit
    contrasts: tuple[LevelContrast, ...]  # of all pairs of levels
    confidence: float  # of each interval, such that all of the question hold together

    @property
    def answer(self) -> Dependence:
        """Return DEPENDS if a pair of levels differs, SAME if none can differ by more than the ROPE."""
        answers = {contrast.answer for contrast in self.contrasts}
        if Dependence.DEPENDS in answers:
            return Dependence.DEPENDS
        return Dependence.UNKNOWN if Dependence.UNKNOWN in answers else Dependence.SAME

    @property
    def main(self) -> LevelContrast:
        """Return the largest contrast of those that give the answer."""
        mine = [contrast for contrast in self.contrasts if contrast.answer is self.answer]
        return max(mine, key=lambda contrast: (math.isfinite(contrast.low), abs(contrast.mean)))


def interactions(folder: Folder, contrasts: list[Contrast], design: Design) -> tuple[Interaction, ...]:
    """Return the answer for each factor and candidate; none without another factor, or with one score per data set."""
    factors = folder.evaluation.factors
    if design.one_score:
        return ()
    num_pairs = sum(math.comb(len(levels), 2) for levels in factors.values())
    alpha = design.alpha / max(1, num_pairs * (design.num_challengers or len(contrasts)))
    return tuple(_interaction(folder, contrast, factor, design, alpha) for factor in factors for contrast in contrasts)


def _interaction(folder: Folder, contrast: Contrast, factor: str, design: Design, alpha: float) -> Interaction:
    """Compare all pairs of levels of one factor."""
    indices = used(design)
    workloads = [name for index, name in enumerate(folder.evaluation.workloads) if index in indices]
    others = [name for name in folder.evaluation.factors if name != factor]
    by_level: dict[str, Matrix] = {}
    for level in folder.evaluation.factors[factor]:
        seeds, _ = average_settings(contrast.table[contrast.table[factor] == level], others, ["common"])
        by_level[level] = matrix(seeds, "common", workloads)
    pairs = list(combinations(by_level, 2))
    gaps = [difference(by_level[first], by_level[second]) for first, second in pairs]
    means, sds, counts = (np.array(rows) for rows in zip(*((g.means, g.sds, g.counts) for g in gaps), strict=True))
    compared = contrast_levels(Evidence(means, sds, counts, design.rho[indices]), design.rope, alpha)
    numbers = zip(compared.mean, compared.low, compared.high, compared.answer, strict=True)
    return Interaction(
        factor,
        contrast.candidate,
        {level: float(table.means.mean()) for level, table in by_level.items()},
        tuple(
            LevelContrast(*levels, float(mean), float(low), float(high), DEPENDENCES[answer])
            for levels, (mean, low, high, answer) in zip(pairs, numbers, strict=True)
        ),
        1 - alpha,
    )
