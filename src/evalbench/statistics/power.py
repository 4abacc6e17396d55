"""What the data can resolve, and how many seeds, rows or data sets it would take."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import brentq

from evalbench.statistics.decisions import FEWEST_FREEDOM

MOST_SEEDS = 1000
"""More seeds than this on a data set are no advice."""
MOST_DATASETS = 500


def detectable_effect(count: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest `dz = δ / σ_d` that a two-sided paired t test of n pairs finds; nan for n < 2."""
    if count < 2:
        return math.nan
    # By hand: statsmodels finds no root for a thousand pairs, and SciPy's noncentral t is nan far above.
    critical = float(stats.t.ppf(1 - alpha / 2, count - 1))
    spreads = np.sqrt(stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, count - 1) / (count - 1))

    def beyond(shift: float) -> float:
        """Return the power at a mean of so many standard errors, averaged over the spreads of a sample, minus 80 %."""
        return float(stats.norm.sf(critical * spreads - shift).mean()) - power

    return float(brentq(beyond, 0, 100 * critical)) / math.sqrt(count)


@dataclass(frozen=True)
class Prices:
    """How many seeds per workload, and how many data sets, an answer needs in all; None if no number will do.

    Seeds narrow the interval of the first verdict, data sets that of the second. With a width of the observed mean the
    interval excludes zero if the mean stays, with a width of the ROPE it decides whatever the mean.
    """

    seeds_for_sign: int | None
    seeds_for_rope: int | None
    datasets_for_sign: int | None
    datasets_for_rope: int | None


def seeds_needed(
    sds: npt.ArrayLike,
    rho: npt.ArrayLike,
    half: float,
    level: float,
    least: int = 2,
    doubled: npt.ArrayLike = 1.0,
) -> int | None:
    """Return the fewest seeds on each of W workloads that make half the interval at most `half`.

    Half the interval is `t_{1-level/2, ν} sqrt(Σ s_w² (1/n + rho_w)) / W`, with ν as in `decide`.

    Args:
        sds: shape (W,), standard deviations of the paired differences.
        rho: shape (W,) or a number; see `t_interval`.
        half: what half the interval may be.
        level: of the interval, already divided over the family.
        least: seeds that are there already.
        doubled: shape (W,) or a number, the degrees of freedom of n seeds in units of n - 1 (`TwoSamples.doubled`).

    Returns:
        The number of seeds; None if 1,000 are not enough, as when the rows are too few.
    """
    arrays = (np.asarray(values, dtype=np.float64) for values in (sds, rho, doubled))
    sd, shared, more = np.broadcast_arrays(*arrays)
    s2 = sd**2
    if not (s2 > 0).any() or not half > 0:
        return None

    def enough(n: int) -> bool:
        v = s2 * (1 / n + shared)
        freedom = v.sum() ** 2 / (v**2 / more).sum() * (n - 1)
        width = float(stats.t.ppf(1 - level / 2, freedom)) * math.sqrt(float(v.sum())) / v.size
        return bool(freedom >= FEWEST_FREEDOM - 1e-9 and width <= half)

    if not enough(MOST_SEEDS):
        return None
    return bisect.bisect_left(range(MOST_SEEDS), True, lo=max(2, least), key=enough)


def datasets_needed(sd: float, half: float, level: float, least: int = 2) -> int | None:
    """Return the fewest data sets D with `t_{1-level/2, D-1} sd / sqrt(D) ≤ half`; None above 500.

    Args:
        sd: standard deviation of the data sets' means, at the present number of seeds.
        half, level, least: as in `seeds_needed`; `least` data sets are there already.
    """
    if not sd > 0 or not half > 0:
        return None

    def enough(D: int) -> bool:
        return bool(float(stats.t.ppf(1 - level / 2, D - 1)) * sd / math.sqrt(D) <= half)

    if not enough(MOST_DATASETS):
        return None
    return bisect.bisect_left(range(MOST_DATASETS), True, lo=max(2, least), key=enough)


@dataclass(frozen=True)
class Resolution:
    """What one comparison on one data set can resolve."""

    smallest_p: float  # that an exact paired test can give with so many pairs
    detectable: float  # true difference found with 80 % power, in the unit of the differences
    finest: float  # half the interval that infinitely many seeds on the same rows would have


def resolution(sd: float, count: int, alpha: float, rho: float = 0.0) -> Resolution:
    """Return the resolution of n pairs whose differences have the standard deviation sd, at the level of the family."""
    # More pairs on redrawn rows are worth 1 / (1/n + rho) independent ones.
    worth = max(2, math.floor(1 / (1 / count + rho))) if count else 0
    detectable = detectable_effect(worth, alpha=alpha) * sd if count > 1 and sd > 0 else math.nan
    finest = float(stats.norm.ppf(1 - alpha / 2)) * sd * math.sqrt(rho)
    return Resolution(2.0 ** (1 - count) if count else 1.0, detectable, finest)
