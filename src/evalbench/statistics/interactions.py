"""Whether the choice of a technique depends on another factor: differences of paired differences between its levels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats

FEWEST_FREEDOM = 4.0
"""Fewest degrees of freedom of an interval: five seeds on a single workload."""


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


def contrast_levels(
    means: Floats, sds: Floats, counts: Floats, rho: Floats, rope: float, alpha: float
) -> LevelContrasts:
    """Judge differences of paired differences, averaged over fixed workloads.

    The mean over W workloads has the standard error `sqrt(Σ v_w) / W`, `v_w = s_w² (1/n_w + rho_w)`, and the degrees of
    freedom `ν = (Σ v_w)² / Σ (v_w² / (n_w - 1))`. It is SAME if the interval of two one-sided tests lies inside the
    ROPE, otherwise DEPENDS if the two-sided interval excludes 0. Each of the two claims errs with a probability of
    alpha, and at most one of them can be false: their family is that of the contrasts.

    Args:
        means, sds, counts: shape (..., W), over the seeds of a workload: one value per seed, the paired difference at
            one level minus that at another, positive being better for the candidate at the first level.
        rho: shape (W,), see `t_interval`.
        rope: half the width of the region of practical equivalence, in the unit of the means.
        alpha: error rate of each contrast, already divided by their number.

    Returns:
        nan and UNKNOWN for fewer than two seeds on a workload, no spread on any of them, or ν < 4.

    Source: Cochran, Sampling Techniques (1977), chapter 5; Satterthwaite, Biometrics 2 (1946); Schuirmann (1987); `rho`
    as in `t_interval`.
    """
    n = np.maximum(counts, 1.0)
    v = np.where(counts > 1, sds**2 * (1 / n + rho), np.nan)
    total, squares = v.sum(axis=-1), (v**2 / np.maximum(n - 1, 1.0)).sum(axis=-1)
    freedom = np.divide(total**2, squares, out=np.full(total.shape, np.nan), where=squares > 0)
    enough = freedom >= FEWEST_FREEDOM - 1e-9
    mean, error = means.mean(axis=-1), np.where(enough, np.sqrt(total) / means.shape[-1], np.nan)
    half, half_tost = (stats.t.ppf(1 - tail, freedom) * error for tail in (alpha / 2, alpha))
    same = (mean - half_tost > -rope) & (mean + half_tost < rope)
    answer = np.select(
        [same, np.abs(mean) > half],
        [DEPENDENCES.index(Dependence.SAME), DEPENDENCES.index(Dependence.DEPENDS)],
        DEPENDENCES.index(Dependence.UNKNOWN),
    )
    return LevelContrasts(mean, mean - half, mean + half, answer)
