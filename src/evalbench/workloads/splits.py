"""Which rows a trial trains on, validates on and is tested on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from evalbench.config import FOLDED, SplitConfig
from evalbench.errors import DataError
from evalbench.seeds import Phase, Role, derive
from evalbench.tasks.token_classification import UNKNOWN
from evalbench.workloads import target_encoding
from evalbench.workloads.blocks import blocks
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.divisions import WAYS, Rows, folds
from evalbench.workloads.split_methods import is_fixed, method_of
from evalbench.workloads.table import listed
from evalbench.workloads.target_encoding import TargetMeans

T = TypeVar("T")
MOST_KEPT = 2**23
"""Row numbers in the splits of a data set that a process keeps."""
MOST_DRAWS = 100
"""Draws until each class has rows in every part."""


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, ascending, in three disjoint parts that cover the data set."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_of(dataset: Dataset, split: SplitConfig, root_seed: int, index: int, phase: Phase = Phase.MEASURE) -> Split:
    """Return the split of a seed index, by the method of the configuration: every engine gets its rows here.

    Raises `ConfigError` for a method that the data set does not allow, `DataError` if the rows cannot be divided so.
    """
    method = method_of(dataset, split)
    index = 0 if is_fixed(dataset, split) else index
    seed = derive(root_seed, dataset.name, Role.SPLIT, index, phase)
    if method not in FOLDED:
        return _kept_split(dataset, method, split, seed)
    assert split.folds is not None
    first = index - index % split.folds
    fold_seed = derive(root_seed, dataset.name, Role.SPLIT, first, phase)
    rows = _kept(dataset, (method, split.folds, fold_seed), lambda: _folds(dataset, split, fold_seed))

    def draw() -> Split:
        tested = np.flatnonzero(rows == index - first)
        return _draw_split(replace(dataset, held_out=tested, drawn=True), method, split, seed)

    return _kept(dataset, (method, split.folds, split.validation, seed), draw)


def draw_split(dataset: Dataset, validation: float, test: float, seed: int) -> Split:
    """Draw one split by the default method from a seed. The sizes of splits by class are the same for every seed.

    `validation` and `test` are shares of all rows, each at least one row (one per class). If the data set has rows
    held out, these are the test rows, and the other rows are divided.
    """
    split = SplitConfig(validation, test)
    return _kept_split(dataset, method_of(dataset, split), split, seed)


def _kept_split(dataset: Dataset, method: str, split: SplitConfig, seed: int) -> Split:
    key = (method, split.validation, split.test, seed)
    return _kept(dataset, key, lambda: _draw_split(dataset, method, split, seed))


def _folds(dataset: Dataset, split: SplitConfig, seed: int) -> Rows:
    assert split.folds is not None
    try:
        return folds(dataset, split.folds, np.random.RandomState([seed % 2**32, split.folds]))
    except ValueError as error:
        raise DataError(f"{dataset.name}: {split.folds} folds cannot be made: {error}: choose fewer folds") from error


def _draw_split(dataset: Dataset, method: str, split: SplitConfig, seed: int) -> Split:
    """Draw a split in which each class has training rows; draw again, if chance decides, until all parts have it."""
    generator = np.random.RandomState(seed % 2**32)  # the range that scikit-learn takes
    chosen = None
    for _ in range(1 if method in ("stratified", "time") else MOST_DRAWS):
        drawn = _divided(dataset, method, split, generator)
        if absent := _absent_classes(dataset, drawn.train):
            continue
        chosen = chosen or drawn
        by_chance = [drawn.test] if dataset.held_out is None else []
        by_chance += [drawn.validation] if dataset.declared_validation is None else []
        if not any(_absent_classes(dataset, part) for part in by_chance):
            chosen = drawn
            break
    if chosen is None:
        rule = f"every class must have training rows, and {listed(map(repr, absent))} has none in a split by {method}"
        remedy = "merge rare classes (dataset.rare=merge), make the other parts smaller, or choose another split"
        raise DataError(f"{dataset.name}: {rule}: {remedy}")
    _check(dataset, method, chosen)
    return chosen


def _divided(dataset: Dataset, method: str, split: SplitConfig, generator: np.random.RandomState) -> Split:
    validated, test_rows = dataset.declared_validation, dataset.held_out
    is_free = np.ones(len(dataset.targets), dtype=bool)
    for given in (validated, test_rows):
        if given is not None:
            is_free[given] = False
    free = np.flatnonzero(is_free)
    if test_rows is None:
        free, test_rows = _divide(dataset, method, free, split.test, 1 + (validated is None), generator)
    if validated is None:
        free, validated = _divide(dataset, method, free, split.validation, 1, generator)
    return Split(np.sort(free), np.sort(validated), np.sort(test_rows))


def _divide(
    dataset: Dataset, method: str, rows: Rows, share: float, keep: int, generator: np.random.RandomState
) -> tuple[Rows, Rows]:
    way = method
    if method in FOLDED:
        way = "group" if dataset.groups is not None else "stratified" if dataset.kind.has_row_classes else "random"
    try:
        return WAYS[way](dataset, rows, share, keep, generator)
    except ValueError as error:  # too few rows, or too few of a class
        which = "the rows" if keep > 1 else f"the {len(rows)} rows that are not tested on"
        parts = "training, validation and test rows" if keep > 1 else "training and validation rows"
        remedy = (
            "hold out fewer, or change split.validation" if keep == 1 else "choose another split, or smaller shares"
        )
        raise DataError(f"{dataset.name}: {which} must give {parts} ({error}): {remedy}") from error


def _absent_classes(dataset: Dataset, train: Rows) -> list[str]:
    """Return the classes without a training row."""
    if not dataset.kind.has_row_classes:
        return []
    counts = np.bincount(dataset.targets[train].astype(np.int64), minlength=len(dataset.classes))
    return [name for name, count in zip(dataset.classes, counts, strict=False) if not count]


def _check(dataset: Dataset, method: str, split: Split) -> None:
    """Refuse a split with a row or a group in two parts, or a row of the future before one of the past."""
    parts = {"training": split.train, "validation": split.validation, "test": split.test}
    assert np.array_equal(np.bincount(np.concatenate(list(parts.values()))), np.ones(len(dataset.targets)))
    names = list(parts)
    for earlier, later in ((names[0], names[1]), (names[1], names[2]), (names[0], names[2])):
        if not len(parts[earlier]) or not len(parts[later]):
            continue
        if dataset.groups is not None and method != "time":
            shared = np.intersect1d(dataset.groups[parts[earlier]], dataset.groups[parts[later]])
            if len(shared):
                rule = f"a group must be on one side of a split, and {len(shared)} have rows in {earlier} and {later}"
                raise DataError(f"{dataset.name}: {rule}: leave dataset.group out, or the rows that are given")
        if dataset.times is not None and method == "time":
            last, first = dataset.times[parts[earlier]].max(), dataset.times[parts[later]].min()
            if last >= first:
                rule = f"all {earlier} rows must be earlier than all {later} rows"
                raise DataError(f"{dataset.name}: {rule}, not as late as {last:g}: leave dataset.time out")


def hold_out(dataset: Dataset, split: SplitConfig, seed: int) -> Dataset:
    """Return the data set with the share for the test as the test rows of every split, by the method of its splits."""
    method = method_of(dataset, split)

    def draw() -> Dataset:
        rows = _draw_split(dataset, method, split, seed).test
        return replace(dataset, held_out=rows, drawn=True)

    return _kept(dataset, ("held out", method, split.test, split.validation, seed), draw)


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
    known: NDArray[np.bool_] | None = None
    """Whether the training rows have a token of the vocabulary often enough; None: all are known."""

    def inputs(self, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return the scaled inputs of some rows, `(len(rows), D)`, without missing values; tokens that are known."""
        if dataset.vocabulary is not None:
            tokens = dataset.inputs[rows].astype(np.int64)
            return tokens if self.known is None else np.where(self.known[tokens], tokens, UNKNOWN)
        scaled = np.nan_to_num((dataset.inputs[rows] - self.mean) / self.std, nan=0.0)
        if self.target_means is not None:
            scaled[:, [one.column for one in dataset.encoded]] = self.target_means.of(dataset.codes, rows)
        return scaled


def fit_scaling(dataset: Dataset, train: NDArray[np.int64]) -> Scaling:
    """Fit the scaling of one split; indicators of categories, constant columns and tokens keep their scale."""
    if dataset.vocabulary is not None:
        columns = dataset.inputs.shape[1]
        scaling = _with_target_scale(dataset, train, np.zeros(columns), np.ones(columns))
        return scaling if dataset.min_count is None else replace(scaling, known=_known(dataset, train))
    mean, std = _of_channels(dataset, train) if dataset.is_scaled_by_channel else _of_columns(dataset, train)
    mean = np.where(dataset.numeric, mean, 0.0)
    std = np.where(dataset.numeric & (std > 1e-12 * np.maximum(1.0, np.abs(mean))), std, 1.0)
    return _with_target_scale(dataset, train, mean, std)


def _known(dataset: Dataset, train: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether the training rows have each token of the vocabulary often enough; padding is always known."""
    assert dataset.vocabulary is not None
    counts = np.bincount(dataset.inputs[train].ravel(), minlength=dataset.vocabulary)
    known: NDArray[np.bool_] = counts >= (dataset.min_count or 0)
    known[: UNKNOWN + 1] = True
    return known


def _of_columns(dataset: Dataset, train: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each column's known values."""
    if dataset.has_missing:
        count = np.maximum(sum((~np.isnan(block)).sum(0) for block in blocks(dataset.inputs, train)), 1)
    else:
        count = np.full(dataset.inputs.shape[1], len(train))

    def total(value: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        sums: Any = 0.0
        for block in blocks(dataset.inputs, train):
            values = value(block.astype(np.float64))
            sums = sums + (np.nan_to_num(values, copy=False) if dataset.has_missing else values).sum(0)
        return np.asarray(sums)

    mean = total(lambda values: values) / count
    return mean, np.sqrt(total(lambda values: np.square(values - mean)) / count)


def _of_channels(dataset: Dataset, train: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each pixel's channel, from exact sums."""
    assert dataset.image is not None
    pixels = dataset.image[1] * dataset.image[2]
    count = len(train) * pixels
    total, squares = (dataset.pixel_sums[train, :, part].sum(0).astype(object) for part in (0, 1))  # Python's integers
    variance = (count * squares - total * total).astype(np.float64) / float(count) ** 2
    mean = total.astype(np.float64) / count
    return np.repeat(mean, pixels), np.repeat(np.sqrt(variance), pixels)


def _with_target_scale(
    dataset: Dataset, train: NDArray[np.int64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> Scaling:
    means = None
    if dataset.encoded:
        means = target_encoding.fit(dataset.codes, dataset.encoded, dataset.targets, len(dataset.classes), train)
    return Scaling(mean, std, *dataset.kind.target_scale(dataset.targets[train]), means)
