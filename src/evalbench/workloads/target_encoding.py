"""Categories as the mean target of their training rows: a part of a split's scaling, never of the whole table.

A training row must not see its own target, so its category's mean is over the other fifths of the training rows.
All other rows get the mean over all training rows. Means of few rows are drawn to the mean of all,
`(sum + 10 mean) / (rows + 10)`, and scaled like numbers (Micci-Barreca 2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
SMOOTHING = 10.0
"""Rows of the overall mean that every category gets."""


@dataclass(frozen=True)
class TargetEncoded:
    """A column whose inputs are codes of categories, from 0 to `categories` - 1."""

    column: int
    categories: int
    label: int
    """The class whose share the column becomes, or the column of the targets whose mean it becomes.

    For one number and two classes it does not matter.
    """


@dataclass(frozen=True, eq=False)
class TargetMeans:
    """The scaled means of `T` columns with `M` categories in all, fitted on training rows."""

    means: NDArray[np.float64]
    """`(FOLDS + 1, M)`: without the training rows of a fold, and last with all."""
    folds: NDArray[np.uint8]
    """`(N,)`: the fold of a training row, `FOLDS` for another row."""
    unseen: NDArray[np.float64]
    """`(T,)`: the input of a category that the data set does not have, the mean of all training rows."""

    def of(self, codes: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the inputs of some rows, `(len(rows), T)`; `codes` `(N, T)` are positions in `means`."""
        means: NDArray[np.float64] = self.means[self.folds[rows][:, None], codes[rows]]
        return means


def positions(inputs: NDArray[np.float32] | NDArray[np.int64], encoded: Sequence[TargetEncoded]) -> NDArray[np.int64]:
    """Return the positions of the categories of each row among those of all columns, `(N, T)`."""
    starts = np.cumsum([0, *(one.categories for one in encoded[:-1])])
    numbers: NDArray[np.int64] = inputs[:, [one.column for one in encoded]].astype(np.int64) + starts
    return numbers


def fit(
    codes: NDArray[np.int64],
    encoded: Sequence[TargetEncoded],
    targets: NDArray[np.int64] | NDArray[np.float32],
    num_classes: int,
    train: NDArray[np.int64],
) -> TargetMeans:
    """Fit the means on training rows; `codes` is `(N, T)`, see `positions`."""
    folds = np.full(len(codes), FOLDS, dtype=np.uint8)
    folds[train] = (train.astype(np.uint64) * 2654435761 % 2**32) * FOLDS >> 32  # spread by row number, for every split
    columns, unseen = [], []
    for number, one in enumerate(encoded):
        start = sum(before.categories for before in encoded[:number])
        values = targets[train] if targets.ndim == 1 else targets[train, one.label]
        if targets.ndim == 1 and num_classes > 2:
            values = values == one.label
        means = _means(codes[train, number] - start, values.astype(np.float64), folds[train], one.categories)
        columns.append(means[:, :-1])
        unseen.append(means[-1, -1])
    return TargetMeans(np.concatenate(columns, axis=1), folds, np.array(unseen))


def _means(
    codes: NDArray[np.int64], values: NDArray[np.float64], folds: NDArray[np.uint8], categories: int
) -> NDArray[np.float64]:
    """Return the scaled means of one column, `(FOLDS + 1, categories + 1)`: last the mean of all its rows."""
    cell = folds.astype(np.int64) * categories + codes
    counts, sums = (
        np.bincount(cell, weights, FOLDS * categories).reshape(FOLDS, categories) for weights in (None, values)
    )
    counts, sums = (np.vstack([part.sum(0) - part, part.sum(0)]) for part in (counts, sums))
    overall = sums.sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
    means = (sums + SMOOTHING * overall) / (counts + SMOOTHING)
    seen = means[folds, codes]
    std = seen.std()
    means = np.hstack([means, overall])
    scaled: NDArray[np.float64] = (means - seen.mean()) / (std if std > 1e-12 else 1.0)
    return scaled
