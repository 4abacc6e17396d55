"""The effect over several data sets."""

from __future__ import annotations

from collections.abc import Sequence

from evalbench.statistics.intervals import Interval, t_interval


def overall_effect(workload_means: Sequence[float], confidence: float) -> Interval | None:
    """Return the equal-weight mean over D data sets with the interval of `t_{D-1}`; None for fewer than two data sets.

    The unit of inference is the data set: the seeds of each were averaged before, and rows are never pooled.

    Args:
        workload_means: shape (D,), the mean effect on each data set, all on one scale (accuracy points or skill).
        confidence: level of the interval.
    """
    if len(workload_means) < 2:
        return None
    return t_interval(workload_means, confidence)
