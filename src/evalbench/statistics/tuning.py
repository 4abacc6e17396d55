"""What tuning buys: the score to expect from the best of n random trials."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalbench.statistics.intervals import Floats


@dataclass(frozen=True)
class ExpectedBest:
    """Expected best of n = 1 ... N trials, arrays of shape (N,), in the unit of the scores."""

    with_replacement: Floats  # V: biased low, defined by the empirical distribution
    sd: Floats  # of the best of n under V
    without_replacement: Floats  # U: unbiased for n ≤ N


def full_candidates(shares: npt.ArrayLike, in_order: bool) -> Floats:
    """Return what the first n = 1 ... N candidates took, shape (N,), a candidate that trained to its end counting 1.

    Args:
        shares: shape (N,), the share of its epochs that each candidate used.
        in_order: the candidates follow on each other as given; otherwise n of them are drawn without replacement, and
            the expected sum is `n mean(shares)`.
    """
    used = np.asarray(shares, dtype=np.float64)
    spent: Floats = np.cumsum(used) if in_order else np.arange(1, used.size + 1) * used.mean()
    return spent


def expected_best(scores: npt.ArrayLike) -> ExpectedBest:
    """Return the expected best of n trials from N independent ones, shape (N,), larger is better (negate a loss).

    `V(n) = Σ v_(i) [(i/N)^n - ((i-1)/N)^n]`, `U(n) = Σ v_(i) [C(i,n) - C(i-1,n)] / C(N,n)`, v sorted ascending.
    Valid for independent, identically distributed trials only, such as Optuna's `RandomSampler`; trials of TPE are not.

    Raises:
        ValueError: no trial, or a score that is not finite.

    Source: Dodge et al., Show your work, EMNLP 2019; Dodge et al. 2021 for U.
    """
    v = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    N = v.size
    if not N or not np.isfinite(v).all():
        raise ValueError("expected best needs at least one trial, and finite scores")
    n = np.arange(1, N + 1)[:, None]
    i = np.arange(1, N + 1)
    weights = (i / N) ** n - ((i - 1) / N) ** n
    mean = weights @ v
    sd = np.sqrt((weights * (v - mean[:, None]) ** 2).sum(axis=1))  # from the mean: squares of scores would cancel
    # C(i-1, n-1) / C(N, n) in logarithms: the binomials of a few hundred trials overflow.
    logs = np.array([math.lgamma(x + 1) for x in range(N + 1)])
    fits = i >= n
    top, left = i - 1, np.where(fits, i - n, 0)
    log_share = logs[top] - logs[n - 1] - logs[left] - (logs[N] - logs[n] - logs[N - n])
    share = np.where(fits, np.exp(np.where(fits, log_share, 0.0)), 0.0)
    return ExpectedBest(mean, sd, share @ v)
