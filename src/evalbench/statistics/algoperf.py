"""AlgoPerf's rules: from the times to target of every study to one score per technique.

Source: Dahl et al., Benchmarking neural network training algorithms, arXiv 2306.07179 (2023), section 4, and "Scoring"
in the rules of the benchmark (docs/DOCUMENTATION.md of mlcommons/algorithmic-efficiency).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from evalbench.statistics.intervals import Floats
from evalbench.statistics.targets import TAU_MAX, relative_times

POINTS = 100  # of the published profile, between 1 and TAU_MAX


class Scored(StrEnum):
    """Whether a time counts, and why it does not."""

    COUNTS = "counts"
    MISSED = "missed"
    SLOW = "over 4 times the fastest"
    HELD_OUT_MISSED = "missed on the held-out workload"
    HELD_OUT_SLOW = "over 4 times the fastest on the held-out workload"


def study_time(times: Sequence[float] | Floats) -> float:
    """Return the median of the times of one technique's studies on a workload; infinite if half of them miss."""
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2


def scored(times: npt.ArrayLike, held_out: npt.ArrayLike) -> list[list[Scored]]:
    """Return whether each time counts: shapes (k, W), k rows of W out.

    A time counts if it is finite and within four times the fastest, and if the same holds on the held-out workload,
    where the fastest is sought among those that reached the target of the fixed workload.

    Args:
        times: medians on the fixed workloads, infinite if missed.
        held_out: medians on the held-out workload of each fixed one, nan where there is none.
    """
    fixed, other = np.asarray(times, dtype=np.float64), np.asarray(held_out, dtype=np.float64)
    reached = np.isfinite(fixed)
    limits = TAU_MAX * fixed.min(axis=0), TAU_MAX * np.where(reached, other, np.inf).min(axis=0)
    return [
        [_scored(fixed[i, w], limits[0][w], other[i, w], limits[1][w]) for w in range(fixed.shape[1])]
        for i in range(fixed.shape[0])
    ]


def _scored(time: float, limit: float, held_out: float, held_out_limit: float) -> Scored:
    if math.isinf(time):
        return Scored.MISSED
    if time > limit:
        return Scored.SLOW
    if math.isinf(held_out):
        return Scored.HELD_OUT_MISSED
    return Scored.HELD_OUT_SLOW if held_out > held_out_limit else Scored.COUNTS


def trapezoid_scores(times: npt.ArrayLike) -> Floats:
    """Return AlgoPerf's published score of k techniques: times (k, W) in, infinite if they do not count, (k,) out.

    The performance profile, the share of the workloads on which `time / fastest time ≤ τ`, is integrated over the 100
    points of `linspace(1, 4, 100)` by the trapezoidal rule, and divided by 3. A workload that nobody reaches counts for
    no one.
    """
    relative, grid = relative_times(times), np.linspace(1.0, TAU_MAX, POINTS)
    profile = (relative[:, :, None] <= grid).mean(axis=1)
    scores: Floats = np.trapezoid(profile, grid, axis=1) / (TAU_MAX - 1)
    return scores
