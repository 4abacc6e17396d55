"""Which rows a trial trains on, validates on and is tested on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from evalbench.workloads.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, ascending; the three parts are disjoint and cover the data set."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def draw_split(dataset: Dataset, validation: float, test: float, seed: int) -> Split:
    """Draw one split, stratified by class where rows have one; the sizes are the same for every seed.

    `validation` and `test` are shares of all rows, each at least one row (one per class).
    """
    rows = len(dataset.targets)
    least = len(dataset.classes) if dataset.has_row_classes else 1
    num_validation, num_test = (max(least, round(share * rows)) for share in (validation, test))
    generator = np.random.RandomState(seed % 2**32)  # what scikit-learn takes
    labels = dataset.targets if dataset.has_row_classes else None
    rest, test_rows = train_test_split(np.arange(rows), test_size=num_test, stratify=labels, random_state=generator)
    labels = None if labels is None else labels[rest]
    train_rows, validation_rows = train_test_split(
        rest, test_size=num_validation, stratify=labels, random_state=generator
    )
    return Split(np.sort(train_rows), np.sort(validation_rows), np.sort(test_rows))


@dataclass(frozen=True, eq=False)
class Scaling:
    """`(x - mean) / std`, fitted on training rows; missing values become the mean. `mean` and `std` are `(D,)`."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    target_mean: float
    target_std: float

    def inputs(self, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return the scaled inputs of some rows, `(len(rows), D)`, without missing values; tokens as they are."""
        if dataset.vocabulary is not None:
            return dataset.inputs[rows].astype(np.int64)
        return np.nan_to_num((dataset.inputs[rows] - self.mean) / self.std, nan=0.0)


def fit_scaling(dataset: Dataset, train: NDArray[np.int64]) -> Scaling:
    """Fit the scaling of one split; indicators of categories, constant columns and tokens keep their scale."""
    if dataset.vocabulary is not None:
        columns = dataset.inputs.shape[1]
        return _with_target_scale(dataset, train, np.zeros(columns), np.ones(columns))
    inputs = dataset.inputs[train].astype(np.float64)
    known = ~np.isnan(inputs)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, inputs, 0.0).sum(0) / count
    std = np.sqrt(np.square(np.where(known, inputs - mean, 0.0)).sum(0) / count)
    mean = np.where(dataset.numeric, mean, 0.0)
    std = np.where(dataset.numeric & (std > 1e-12 * np.maximum(1.0, np.abs(mean))), std, 1.0)
    return _with_target_scale(dataset, train, mean, std)


def _with_target_scale(
    dataset: Dataset, train: NDArray[np.int64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> Scaling:
    if dataset.is_classification:
        return Scaling(mean, std, 0.0, 1.0)
    targets = dataset.targets[train].astype(np.float64)
    return Scaling(mean, std, float(targets.mean()), float(targets.std()) or 1.0)
