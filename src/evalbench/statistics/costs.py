"""Cost ratios: paired by round, on the logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats, t_interval


@dataclass(frozen=True)
class Ratio:
    """A ratio challenger / baseline with its interval; nan ends if there is none."""

    value: float
    low: float
    high: float
    count: int  # rounds
    confidence: float


UNKNOWN = Ratio(math.nan, math.nan, math.nan, 0, math.nan)


def cost_ratio(challenger: npt.ArrayLike, baseline: npt.ArrayLike, confidence: float = 0.95) -> Ratio:
    """Return the geometric mean of challenger / baseline with the t interval of the logarithms, exponentiated.

    Args:
        challenger, baseline: shape (R, W): the cost in each round on each workload, above 0; the rounds are interleaved
            over the techniques, so that what slows the machine down slows both. The logarithms are averaged over the
            workloads, and the interval is over the rounds.
        confidence: of the interval.

    Raises:
        ValueError: a cost is not above 0, or the shapes differ.
    """
    a, b = np.asarray(challenger, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"costs of both sides must have one shape (R, W), not {a.shape} and {b.shape}")
    if not ((a > 0) & (b > 0)).all():
        raise ValueError("a cost is above 0")
    if not a.size:
        return UNKNOWN
    logs = np.log(a / b).mean(axis=1)
    interval = t_interval(logs, confidence)
    return Ratio(math.exp(interval.mean), math.exp(interval.low), math.exp(interval.high), interval.count, confidence)


def cost_ratio_without_pairs(challenger: Sequence[Floats], baseline: Sequence[Floats], confidence: float) -> Ratio:
    """Return the geometric mean ratio of runs that were not timed in rounds, with Welch's interval of the logarithms.

    Args:
        challenger, baseline: W arrays of logarithms of costs each, one per workload: runs that share nothing.
        confidence: of the interval.
    """
    if not challenger or not all(side.size for side in (*challenger, *baseline)):
        return UNKNOWN
    count = min(side.size for side in (*challenger, *baseline))
    value = float(np.mean([a.mean() - b.mean() for a, b in zip(challenger, baseline, strict=True)]))
    ends = (math.nan, math.nan)
    if count > 1:
        parts = [(side.var(ddof=1) / side.size, side.size - 1) for side in (*challenger, *baseline)]
        total = sum(v for v, _ in parts)
        if total > 0:
            freedom = total**2 / sum(v**2 / n for v, n in parts)
            half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(total) / len(challenger)
            ends = (math.exp(value - half), math.exp(value + half))
    return Ratio(math.exp(value), *ends, count, confidence)
