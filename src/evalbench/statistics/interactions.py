"""Whether the choice of a technique depends on another factor: differences of paired differences between its levels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.decisions import Evidence, over_seeds
from evalbench.statistics.intervals import Floats


class Dependence(StrEnum):
    """Say whether a paired difference depends on the level of another factor."""

    SAME = "same"  # the difference between the levels is inside the ROPE
    DEPENDS = "depends"  # it is not zero
    UNKNOWN = "not known"


DEPENDENCES = tuple(Dependence)


@dataclass(frozen=True)
class LevelContrasts:
    """Differences between levels, of one shape (...)."""

    mean: Floats
    low: Floats  # nan if there is no interval
    high: Floats
    answer: npt.NDArray[np.intp]  # indices into DEPENDENCES


def contrast_levels(evidence: Evidence, rope: float, alpha: float) -> LevelContrasts:
    """Judge differences of paired differences, averaged over fixed workloads as in the first verdict.

    A contrast is SAME if the interval of two one-sided tests lies inside the ROPE, otherwise DEPENDS if the two-sided
    interval excludes 0. Each of the two claims errs with a probability of alpha, and at most one of them can be false:
    their family is that of the contrasts.

    Args:
        evidence: shape (..., W), one value per seed: the paired difference at one level minus that at another, positive
            being better for the candidate at the first level.
        rope: half the width of the region of practical equivalence, in the unit of the means.
        alpha: error rate of each contrast, already divided by their number.

    Returns:
        nan and UNKNOWN for fewer than two seeds on a workload, no spread on any of them, or fewer than four degrees of
        freedom.

    Source: see `decide`; Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987), for the two tests.
    """
    mean = evidence.means.mean(axis=-1)
    error, freedom = over_seeds(evidence)
    half, half_tost = (stats.t.ppf(1 - tail, freedom) * error for tail in (alpha / 2, alpha))
    same = (mean - half_tost > -rope) & (mean + half_tost < rope)
    answer = np.select(
        [same, np.abs(mean) > half],
        [DEPENDENCES.index(Dependence.SAME), DEPENDENCES.index(Dependence.DEPENDS)],
        DEPENDENCES.index(Dependence.UNKNOWN),
    )
    return LevelContrasts(mean, mean - half, mean + half, answer)
