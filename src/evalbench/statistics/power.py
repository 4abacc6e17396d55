"""What the data can resolve, and how many seeds, rows or data sets it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats
from statsmodels.stats.power import TTestPower

MOST_DATASETS = 500


def detectable_effect(count: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest `dz = δ / σ_d` that a two-sided paired t test of n pairs finds; nan for n < 2."""
    if count < 2:
        return math.nan
    return float(TTestPower().solve_power(effect_size=None, nobs=count, alpha=alpha, power=power))


def more_seeds(
    sd: float, count: int, half: float, alpha: float = 0.05, num_comparisons: int = 1, rho: float = 0.0, least: int = 5
) -> int | None:
    """Return the extra paired seeds after a pilot of n that make half the interval at most `half` (Stein's two stages).

    `N = max(n, ceil(1 / ((half / (t_{1-α/(2m), n-1} s_d))² - rho)))`, and at least `least` in all.

    Returns:
        The extra seeds; None if no number of them can do it, the rows being too few: `half ≤ t s_d sqrt(rho)`.

    Source: Stein, Annals of Mathematical Statistics 16 (1945).
    """
    if count < 2:
        return max(least - count, 0)
    if not sd > 0:
        return max(0, least - count)
    t = float(stats.t.ppf(1 - alpha / (2 * num_comparisons), count - 1))
    capacity = (half / (t * sd)) ** 2 - rho
    return max(0, least - count, math.ceil(1 / capacity) - count) if capacity > 0 else None


def more_datasets(
    tau2: float, sigma2: float, num_seeds: int, num_datasets: int, half: float, alpha: float = 0.05
) -> int | None:
    """Return the data sets still needed until `t_{D-1} sqrt((tau² + sigma²/S) / D) ≤ half`; None above 500 in all.

    Args:
        tau2: variance of the true effect between data sets.
        sigma2: variance of the paired difference between seeds within a data set.
        num_seeds, num_datasets: S and D at present.
        half: what half the interval may be.
        alpha: of the interval, already divided over the family.
    """
    for wanted in range(max(2, num_datasets), MOST_DATASETS):
        error = math.sqrt((tau2 + sigma2 / num_seeds) / wanted)
        if float(stats.t.ppf(1 - alpha / 2, wanted - 1)) * error <= half:
            return wanted - num_datasets
    return None


def more_seeds_each(
    tau2: float, sigma2: float, num_seeds: int, num_datasets: int, half: float, alpha: float = 0.05
) -> int | None:
    """Return extra seeds on each of D data sets until `t_{D-1} sqrt((tau² + sigma²/S) / D) ≤ half`; None if none do."""
    capacity = num_datasets * (half / float(stats.t.ppf(1 - alpha / 2, num_datasets - 1))) ** 2 - tau2
    return max(0, math.ceil(sigma2 / capacity) - num_seeds) if capacity > 0 else None


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
    return Resolution(2.0 / 2.0**count if count else 1.0, detectable, finest)
