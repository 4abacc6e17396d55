"""Which rows a trial trains on, validates on and is tested on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.extmath import _approximate_mode

from evalbench.errors import DataError
from evalbench.workloads import target_encoding
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.target_encoding import TargetMeans

T = TypeVar("T")
MOST_KEPT = 2**23
"""Row numbers in the splits of a data set that a process keeps."""


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, ascending, in three disjoint parts that cover the data set."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def draw_split(dataset: Dataset, validation: float, test: float, seed: int) -> Split:
    """Draw one split, stratified by class if rows have one. The sizes are the same for every seed.

    `validation` and `test` are shares of all rows, each at least one row (one per class). If the data set has rows
    held out, these are the test rows, and the other rows are divided.
    """
    return _kept(dataset, (validation, test, seed), lambda: _draw_split(dataset, validation, test, seed))


def _draw_split(dataset: Dataset, validation: float, test: float, seed: int) -> Split:
    generator = np.random.RandomState(seed % 2**32)  # the range that scikit-learn takes
    rows = np.arange(len(dataset.targets))
    if dataset.held_out is None:
        rest, test_rows = _divide(dataset, rows, test, generator)
    else:
        rest, test_rows = np.setdiff1d(rows, dataset.held_out), dataset.held_out
    try:
        train_rows, validation_rows = _divide(dataset, rest, validation, generator)
    except ValueError as error:  # scikit-learn's: too few rows, or too few of a class
        rule = f"the {len(rest)} rows that are not tested on must give training and validation rows"
        raise DataError(f"{dataset.name}: {rule} ({error}): hold out fewer, or change split.validation") from error
    return Split(np.sort(train_rows), np.sort(validation_rows), np.sort(test_rows))


def hold_out(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Return the data set with a share of its rows, stratified by class, as the test rows of every split."""

    def draw() -> Dataset:
        _, rows = _divide(dataset, np.arange(len(dataset.targets)), share, np.random.RandomState(seed % 2**32))
        return replace(dataset, held_out=np.sort(rows), drawn=True)

    return _kept(dataset, ("held out", share, seed), draw)


def development_part(dataset: Dataset) -> Dataset:
    """Return only those rows that are not held out, as a data set by itself."""
    rows = dataset.held_out
    assert rows is not None
    everything = np.arange(len(dataset.targets))
    return _kept(dataset, ("development",), lambda: dataset.take(np.setdiff1d(everything, rows)))


def _kept(dataset: Dataset, key: tuple[float | str, ...], make: Callable[[], T]) -> T:
    """Return what was made of a data set before: techniques that are compared share their splits."""
    if key not in dataset.derived:
        if (len(dataset.derived) + 1) * len(dataset.targets) > MOST_KEPT:
            dataset.derived.clear()
        dataset.derived[key] = make()
    kept: T = dataset.derived[key]
    return kept


def _divide(
    dataset: Dataset, rows: NDArray[np.int64], share: float, generator: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return most of some rows, and the others, which are a share of all rows of the data set."""
    least = len(dataset.classes) if dataset.kind.has_row_classes else 1
    count = max(least, round(share * len(dataset.targets)))
    is_stratified = dataset.kind.has_row_classes
    labels = dataset.targets[rows].astype(np.int64) if is_stratified else np.zeros(len(rows), dtype=np.int64)
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if min(count, len(rows) - count) < len(counts) or counts.min() < 2:
        train_test_split(rows, test_size=count, stratify=labels)  # raises, with the reason
    most, others = _drawn(labels, counts, count, generator)
    return rows[most], rows[others]


def _drawn(
    labels: NDArray[np.int64], counts: NDArray[np.int64], count: int, generator: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions that `train_test_split` draws, in a third of its time: most, and `count` others."""
    if len(counts) == 1:
        drawn = generator.permutation(len(labels))
        return drawn[count:], drawn[:count]
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    shares = _approximate_mode(counts, len(labels) - count, generator)
    other_shares = _approximate_mode(counts - shares, count, generator)
    most, others = [], []
    for positions, share, other_share in zip(members, shares, other_shares, strict=True):
        shuffled = positions[generator.permutation(len(positions))]
        most.append(shuffled[:share])
        others.append(shuffled[share : share + other_share])
    return generator.permutation(np.concatenate(most)), generator.permutation(np.concatenate(others))


@dataclass(frozen=True, eq=False)
class Scaling:
    """`(x - mean) / std`, fitted on training rows; missing values become the mean. `mean` and `std` are `(D,)`."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    target_mean: float | NDArray[np.float64]
    """Of targets with columns `(L,)`, as `target_std`."""
    target_std: float | NDArray[np.float64]
    target_means: TargetMeans | None = None
    """The inputs of the target-encoded columns, which are scaled already."""

    def inputs(self, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return the scaled inputs of some rows, `(len(rows), D)`, without missing values; tokens as they are."""
        if dataset.vocabulary is not None:
            return dataset.inputs[rows].astype(np.int64)
        scaled = np.nan_to_num((dataset.inputs[rows] - self.mean) / self.std, nan=0.0)
        if self.target_means is not None:
            scaled[:, [one.column for one in dataset.encoded]] = self.target_means.of(dataset.codes, rows)
        return scaled


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
    means = None
    if dataset.encoded:
        means = target_encoding.fit(dataset.codes, dataset.encoded, dataset.targets, len(dataset.classes), train)
    return Scaling(mean, std, *dataset.kind.target_scale(dataset.targets[train]), means)
