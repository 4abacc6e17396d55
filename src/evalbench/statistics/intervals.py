"""Intervals: the t interval of a mean, exact intervals of a share, and the level of a family of comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

# A spread below this fraction of the values is rounding, not variation: 0.3 - 0.1 and 0.4 - 0.2 are one difference.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, all in the unit of the values.

    `low` and `high` are nan if no interval can be computed: fewer than two values, or values without any spread.
    A spread of zero would give an interval of width zero, which is a sign of identical runs and not of certainty.
    """

    mean: float
    low: float
    high: float
    sd: float  # with n - 1 in the denominator; nan for fewer than two values, and for a mean over workloads
    count: int
    confidence: float
    lacking: str = ""  # why there is no interval, if n alone does not say it

    @property
    def computed(self) -> bool:
        """Return whether there are two ends to print."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def side(self) -> int:
        """Return 1 if the whole interval lies above zero, -1 if below, else 0, also if not computed."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def why_not(self) -> str:
        """Say why there is no interval, in two words; empty if there is one."""
        if self.computed:
            return ""
        return self.lacking or (f"n = {self.count}" if self.count < 2 else "no spread")


def half_width(sd: Any, count: Any, confidence: float, rho: Any = 0.0) -> Any:
    """Return half of a t interval, `t_{1-α/2, n-1} · s · sqrt(1/n + rho)`, elementwise over arrays of one shape.

    Args:
        sd: standard deviation of the values.
        count: number n of values, at least 2.
        confidence: 1 - α.
        rho: see `t_interval`.
    """
    return stats.t.ppf((1 + confidence) / 2, np.asarray(count) - 1) * sd * np.sqrt(1 / np.asarray(count) + rho)


def t_interval(values: Sequence[float] | Floats, confidence: float, rho: float = 0.0) -> Interval:
    """Return the mean of n values with the interval `mean ± t_{1-α/2, n-1} · s · sqrt(1/n + rho)`.

    Args:
        values: shape (n,), one value per independent repetition (a seed, or a data set), all finite.
        confidence: 1 - α, between 0 and 1.
        rho: `num_test / num_train` if every seed redraws its split from one pool of rows, so that the repetitions
            overlap and their spread understates the uncertainty; 0 if they are independent, or if the claim is
            about these rows only.

    Raises:
        ValueError: a value is not finite, the confidence is not inside (0, 1), or rho is negative.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52 (2003).
    """
    data = np.asarray(values, dtype=np.float64)
    if not np.isfinite(data).all():
        raise ValueError("an interval needs finite values")
    if not 0 < confidence < 1 or rho < 0:
        raise ValueError(f"confidence must be inside (0, 1) and rho at least 0, not {confidence} and {rho}")
    n = data.size
    mean = float(data.mean()) if n else math.nan
    sd = float(data.std(ddof=1)) if n > 1 else math.nan
    if n < 2 or sd <= ROUNDING * float(np.abs(data).max()):
        return Interval(mean, math.nan, math.nan, 0.0 if n > 1 else math.nan, n, confidence)
    half = float(half_width(sd, n, confidence, rho))
    return Interval(mean, mean - half, mean + half, sd, n, confidence)


def clopper_pearson(wins: float, count: int, confidence: float) -> tuple[float, float]:
    """Return the exact interval of a probability from `wins` out of `count`: quantiles of two beta distributions.

    `low = Beta(wins, count - wins + 1)` at α/2, `high = Beta(wins + 1, count - wins)` at 1 - α/2. A tie may be given as
    half a win; the beta quantiles then interpolate between the two exact intervals.

    Raises:
        ValueError: wins is outside [0, count].

    Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    if not 0 <= wins <= count:
        raise ValueError(f"wins must be within [0, {count}], not {wins}")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, wins, count - wins + 1)) if wins > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, wins + 1, count - wins)) if wins < count else 1.0
    return low, high


def family_confidence(confidence: float, num_comparisons: int) -> float:
    """Return the level of each interval such that all of a family hold together: `1 - α/m` (Bonferroni).

    Raises:
        ValueError: the family is empty.
    """
    if num_comparisons < 1:
        raise ValueError("a family has at least one comparison")
    return 1 - (1 - confidence) / num_comparisons


def fewest_decisive(confidence: float) -> int:
    """Return the fewest repetitions, all of them won, for which the exact interval excludes one half.

    All n won gives the lower end `(α/2)**(1/n)`, which passes one half once `n > log2(2/α)`.
    """
    return math.floor(math.log2(2 / (1 - confidence)) + ROUNDING) + 1
