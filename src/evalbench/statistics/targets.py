"""Time to target: when a curve first reaches a score fixed beforehand. A miss is infinite, not missing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalbench.statistics.intervals import Floats

TAU_MAX = 4.0  # AlgoPerf's: slower than four times the fastest counts as not reached
FEWEST_TECHNIQUES, FEWEST_WORKLOADS = 3, 5


def time_profile(times: npt.ArrayLike, ratios: npt.ArrayLike) -> Floats:
    """Return the performance profile: share of the W workloads on which `time / fastest time ≤ τ`, per technique.

    Args:
        times: shape (k, W), times to target; infinite if missed. A workload that nobody reaches counts for no one.
        ratios: shape (T,), the values of τ ≥ 1.

    Returns:
        Shape (k, T).

    Source: Dolan and Moré, Mathematical Programming 91 (2002).
    """
    relative = relative_times(times)
    shares: Floats = (relative[:, :, None] <= np.asarray(ratios, dtype=np.float64) * (1 + 1e-12)).mean(axis=1)
    return shares


def relative_times(times: npt.ArrayLike) -> Floats:
    """Return the times over the fastest one of each workload, shape (k, W) in and out; infinite if missed.

    Every time is above zero: the first evaluation comes after at least one step.
    """
    table = np.asarray(times, dtype=np.float64)
    best = table.min(axis=0)
    relative = np.full(table.shape, np.inf)
    np.divide(table, best, out=relative, where=np.isfinite(table) & (best > 0))
    return relative


def algoperf_score(times: npt.ArrayLike) -> Floats | None:
    """Return `profile_area`, None with fewer than three techniques or five workloads: it depends on the pool."""
    table = np.asarray(times, dtype=np.float64)
    return None if table.shape[0] < FEWEST_TECHNIQUES or table.shape[1] < FEWEST_WORKLOADS else profile_area(table)


def profile_area(times: npt.ArrayLike) -> Floats:
    """Return `B = 1/(4-1) ∫_1^4 ρ(τ) dτ = mean_w max(0, (4 - r_w) / 3)` for each of k techniques, shape (k, W) in.

    Source: Dahl et al., Benchmarking neural network training algorithms, arXiv 2306.07179 (2023).
    """
    area: Floats = np.maximum(0.0, (TAU_MAX - relative_times(times)) / (TAU_MAX - 1)).mean(axis=1)
    return area


@dataclass(frozen=True)
class SpeedUp:
    """How many times faster a challenger reaches its targets than the baseline."""

    ratio: float  # geometric mean of baseline time / challenger time, over the workloads that both reach; nan for none
    both: int
    only_candidate: int
    only_baseline: int
    neither: int


def speed_up(challenger: npt.ArrayLike, baseline: npt.ArrayLike) -> SpeedUp:
    """Compare times to target of shape (W,); infinite if missed. The misses are counted, never averaged."""
    a, b = np.asarray(challenger, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    mine, theirs = np.isfinite(a), np.isfinite(b)
    both = mine & theirs
    ratio = float(np.exp(np.mean(np.log(b[both] / a[both])))) if both.any() else math.nan
    return SpeedUp(
        ratio, int(both.sum()), int((mine & ~theirs).sum()), int((theirs & ~mine).sum()), int((~mine & ~theirs).sum())
    )
