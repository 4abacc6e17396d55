"""The weights of rows in the training loss of a split."""

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import DataError
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads.dataset import Dataset


def weight_scale(dataset: Dataset, train: NDArray[np.int64]) -> float:
    """Return the factor that brings the weights of some training rows to a mean of 1.

    So the mean over all training rows of losses times weights is the weighted mean of the losses, and parts of the
    rows, such as batches, add up to it. If tokens have targets, it is the mean over tokens. Raises `DataError` if all
    these rows have the weight 0.
    """
    assert dataset.weights is not None
    tokens = None if dataset.kind.padding is None else (dataset.targets[train] != NO_TARGET).sum(1)
    mean = float(np.average(dataset.weights[train].astype(np.float64), weights=tokens))
    if mean == 0:
        raise DataError(f"{dataset.name}: some training rows must have a weight above 0: give more rows a weight")
    return 1 / mean
