"""Classes so unequal that accuracy says little."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.tasks.metric import Metric, find

LARGE_SHARE = 0.8
"""The share of the rows that makes a class a majority worth a hint."""


def majority_share(targets: NDArray[Any]) -> float:
    """Return the share of the largest class among targets `(N,)`: the accuracy of always predicting it."""
    return float(np.bincount(targets.astype(np.int64)).max() / len(targets))


def misleads(metric: Metric, share: float) -> bool:
    """Return whether a primary metric hides the rare classes beside a class of this share of the rows."""
    return metric is find("accuracy") and share >= LARGE_SHARE


def remedy(mark: Callable[[str], str] = str) -> str:
    """Return in words which metrics to take instead, their names written by `mark`."""
    return f"consider {mark('task.metric=balanced_accuracy')}, {mark('macro_f1')} or {mark('auroc')}"
