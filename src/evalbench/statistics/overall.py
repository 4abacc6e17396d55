"""The effect over several data sets, and the scale on which different metrics can be averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalbench.errors import TableError
from evalbench.statistics.intervals import Interval, t_interval

FRACTIONS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "auroc": "AUROC"}
# The score that cannot be beaten, for metrics whose name is the part after the last slash.
BEST_POSSIBLE = {
    "accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0, "auroc": 1.0, "r2": 1.0,
    "log_loss": 0.0, "rmse": 0.0, "mae": 0.0,
}  # fmt: skip


def best_possible(metric: str) -> float:
    """The unbeatable score of a metric such as `test/accuracy`.

    Raises:
        TableError: nobody has said what the best possible score of this metric is.
    """
    name = metric.rsplit("/", 1)[-1]
    if name not in BEST_POSSIBLE:
        known = ", ".join(sorted(BEST_POSSIBLE))
        raise TableError(f"metric {metric!r} has no best possible score, so it has no skill: use one of {known}")
    return BEST_POSSIBLE[name]


def skill(score: float, trivial: float, best: float = 1.0) -> float:
    """Share of the way from the trivial predictor to a perfect one: `(score - trivial) / (best - trivial)`.

    0 is as good as the trivial predictor (majority class or training mean), 1 is perfect, and it may be negative.
    Larger is better whatever the direction of the metric. A difference of two scores on one split becomes a difference
    in skill when it is divided by `abs(best - trivial)`.

    Raises:
        TableError: the trivial predictor is already perfect.
    """
    if math.isclose(trivial, best, abs_tol=1e-12):
        raise TableError(f"skill needs a trivial predictor that is not perfect, not one that scores {trivial}")
    return (score - trivial) / (best - trivial)


def overall_effect(workload_means: Sequence[float], confidence: float) -> Interval | None:
    """Equal-weight mean over D data sets with the interval of `t_{D-1}`; None for fewer than two data sets.

    The unit of inference is the data set: the seeds of each were averaged before, and rows are never pooled.

    Args:
        workload_means: shape (D,), the mean effect on each data set, all on one scale (accuracy points or skill).
        confidence: level of the interval.
    """
    if len(workload_means) < 2:
        return None
    return t_interval(workload_means, confidence)
