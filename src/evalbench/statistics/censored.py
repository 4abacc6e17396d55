"""Times to a target, censored where a run stopped before it: success, restricted means and their ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats

FEWEST_RUNS = 2
"""Fewest runs of a side on a workload for a spread."""


@dataclass(frozen=True)
class Restricted:
    """The mean of `min(time, horizon)` over the runs of a technique on a workload."""

    mean: float
    error: float  # standard error of the mean; 0 if all runs took the same time
    count: int


def survival(times: npt.ArrayLike, reached: npt.ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the Kaplan-Meier estimate: event times (E,), events, runs at risk, and the share that goes on after each.

    Args:
        times: shape (n,), when a run reached the target or was stopped.
        reached: shape (n,), whether it reached the target; a run that is stopped at an event time was at risk then.

    Source: Kaplan and Meier, Journal of the American Statistical Association 53 (1958).
    """
    t, hit = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    events = np.asarray(np.unique(t[hit]), dtype=np.float64)
    deaths = np.array([np.sum(hit & (t == event)) for event in events], dtype=np.float64)
    risk = np.array([np.sum(t >= event) for event in events], dtype=np.float64)
    shares = np.asarray(np.cumprod(1 - deaths / risk), dtype=np.float64)
    return events, deaths, risk, shares


def restricted_mean(times: npt.ArrayLike, reached: npt.ArrayLike, horizon: float) -> Restricted:
    """Return the area under the Kaplan-Meier curve up to the horizon, and its standard error.

    `μ = ∫_0^τ S`, `Var μ = Σ_i (∫_{t_i}^τ S)² d_i / (n_i (n_i - d_i)) · m / (m - 1)`, with m events up to the horizon
    or runs that are still at risk there. Without a run that stops before the horizon this is the mean of
    `min(time, τ)` and its usual standard error.

    Raises:
        ValueError: the horizon is not above zero.

    Source: Irwin, Journal of Hygiene 47 (1949); Klein and Moeschberger, Survival Analysis (2003), section 4.5.
    """
    if not horizon > 0:
        raise ValueError(f"the horizon must be above 0, not {horizon}")
    t, hit = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    inside = np.minimum(t, horizon)
    events, deaths, risk, shares = survival(inside, hit & (t <= horizon))
    grid = np.concatenate([[0.0], events, [horizon]])
    steps = np.concatenate([[1.0], shares])
    areas = steps * np.diff(grid)
    after = np.cumsum(areas[::-1])[::-1][1:]  # the area to the right of each event
    spread = risk - deaths > 0
    variance = float(np.sum(after[spread] ** 2 * deaths[spread] / (risk[spread] * (risk[spread] - deaths[spread]))))
    informative = int(np.sum(hit & (t <= horizon)) + np.sum(t >= horizon) - np.sum(hit & (t == horizon)))
    correction = informative / (informative - 1) if informative > 1 else math.nan
    return Restricted(float(areas.sum()), math.sqrt(variance * correction), informative)


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long as the baseline a challenger takes: a geometric mean over workloads, with its interval."""

    ratio: float
    low: float
    high: float
    low_tost: float
    high_tost: float
    freedom: float


def ratio_of_means(challenger: Sequence[Restricted], baseline: Sequence[Restricted], alpha: float) -> TimeRatio:
    """Return the geometric mean over W workloads of the ratio of restricted means, with its (1 - α) interval.

    On a workload `v = (error_a / mean_a)² + (error_b / mean_b)²` (the delta method on the log ratio). The interval is
    `exp(M ± t_ν sqrt(Σ v) / W)`, ν being Welch's and Satterthwaite's. It is nan without spread.

    Args:
        challenger, baseline: W restricted means each, of runs that share nothing.
        alpha: the error rate of the interval; that of the equivalence test is `2 α`.

    Source: Uno et al., Journal of Clinical Oncology 32 (2014); Welch (1947); Satterthwaite (1946).
    """
    logs = [math.log(a.mean / b.mean) for a, b in zip(challenger, baseline, strict=True)]
    mean = float(np.mean(logs))
    sides = [side for pair in zip(challenger, baseline, strict=True) for side in pair]
    parts = np.array([(side.error / side.mean) ** 2 for side in sides])
    counts = np.array([side.count for side in sides])
    total = float(parts.sum())
    if not total > 0 or counts.min() < FEWEST_RUNS:
        return from_logs(mean, math.nan, math.nan, math.nan)
    freedom = total**2 / float(np.sum(parts**2 / (counts - 1)))
    half, narrow = (float(stats.t.ppf(1 - tail, freedom)) * math.sqrt(total) / len(logs) for tail in (alpha / 2, alpha))
    return from_logs(mean, half, narrow, freedom)


def from_logs(mean: float, half: float, narrow: float, freedom: float) -> TimeRatio:
    """Return the ratio of a mean of logarithms, and of the half widths of its two intervals."""
    low, high, low_tost, high_tost = np.exp([mean - half, mean + half, mean - narrow, mean + narrow])
    return TimeRatio(math.exp(mean), float(low), float(high), float(low_tost), float(high_tost), freedom)
