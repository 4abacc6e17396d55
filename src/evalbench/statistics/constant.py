"""One technique against a constant, one-sided: is its expected score better than a fixed value?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True)
class Claim:
    """The mean of n runs against a constant."""

    mean: float
    sd: float
    count: int
    bound: float  # of the one-sided interval: with this confidence the expected score is better than it
    p: float  # of the hypothesis that the expected score is no better than the constant; nan without spread


def better_than(scores: npt.ArrayLike, constant: float, sign: int, alpha: float, rho: float = 0.0) -> Claim:
    """Return whether the expected score of n runs is better than a constant, by the one-sided t test.

    Args:
        scores: shape (n,).
        constant: the value to beat.
        sign: 1 if larger is better, −1 if lower is.
        alpha: error rate of the bound.
        rho: what the runs share, added to 1/n; see `t_interval`.

    Source: Student, Biometrika 6 (1908); `scipy.stats.ttest_1samp(alternative=...)` for rho = 0.
    """
    values = np.asarray(scores, dtype=np.float64)
    n, mean = values.size, float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else math.nan
    if not sd > 0:
        return Claim(mean, sd, n, math.nan, math.nan)
    error = sd * math.sqrt(1 / n + rho)
    p = float(stats.t.sf(sign * (mean - constant) / error, n - 1))
    return Claim(mean, sd, n, mean - sign * float(stats.t.ppf(1 - alpha, n - 1)) * error, p)
