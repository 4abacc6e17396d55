"""Ways to divide some rows of a data set in two: most of them, and others, which are a share of all rows.

A way is a function `(dataset, rows, share, keep, generator)`, which returns most rows and the others. `keep` is the
number of groups or times that most of the rows must keep, 2 if they are divided once more. It raises `ValueError` with
the reason if that cannot be done.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.extmath import _approximate_mode

from evalbench.workloads.dataset import Dataset

Rows = NDArray[np.int64]
Division = Callable[[Dataset, Rows, float, int, np.random.RandomState], tuple[Rows, Rows]]


def at_random(
    dataset: Dataset, rows: Rows, share: float, keep: int, generator: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Draw the other rows, at least one."""
    return _divide(rows, np.zeros(len(rows), dtype=np.int64), max(1, round(share * len(dataset.targets))), generator)


def by_class(
    dataset: Dataset, rows: Rows, share: float, keep: int, generator: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Draw the other rows so that each class has the same share among them, at least one row per class."""
    labels = dataset.targets[rows].astype(np.int64)
    return _divide(rows, labels, max(len(dataset.classes), round(share * len(dataset.targets))), generator)


def by_group(
    dataset: Dataset, rows: Rows, share: float, keep: int, generator: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Draw groups, first any group, then those that still fit; all rows of a group are on one side."""
    assert dataset.groups is not None
    groups = dataset.groups[rows]
    numbers, sizes = np.unique(groups, return_counts=True)
    if len(numbers) <= keep:
        raise ValueError(f"there are {len(numbers)} groups, and at least {keep + 1} are needed")
    drawn: list[int] = []
    most_rows, count = round(share * len(dataset.targets)), 0
    for position in generator.permutation(len(numbers)):
        if not drawn or count + sizes[position] <= most_rows:
            drawn.append(position)
            count += sizes[position]
        if count >= most_rows or len(numbers) - len(drawn) == keep:
            break
    others = np.isin(groups, numbers[drawn])
    return rows[~others], rows[others]


def by_time(
    dataset: Dataset, rows: Rows, share: float, keep: int, generator: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Return earlier and later rows; rows of one time are on one side, so that the share is met as nearly as can be."""
    assert dataset.times is not None
    order = rows[np.argsort(dataset.times[rows], kind="stable")]
    starts = 1 + np.flatnonzero(np.diff(dataset.times[order]))  # of each later time
    if len(starts) < keep:
        raise ValueError(f"the rows have {len(starts) + 1} different times, and at least {keep + 1} are needed")
    wanted = len(rows) - max(1, round(share * len(dataset.targets)))
    starts = starts[keep - 1 :]
    start = starts[np.argmin(np.abs(starts - wanted))]
    return order[:start], order[start:]


WAYS: dict[str, Division] = {"random": at_random, "stratified": by_class, "group": by_group, "time": by_time}
"""By the name of the method."""


def folds(dataset: Dataset, count: int, generator: np.random.RandomState) -> Rows:
    """Return the fold of each row, `(N,)`: of whole groups if rows have groups, else with each class in its share.

    The sizes of folds of rows differ by one row at most; a group joins the smallest fold, large groups first.
    """
    if dataset.groups is not None:
        numbers, group_of_row, sizes = np.unique(dataset.groups, return_inverse=True, return_counts=True)
        if len(numbers) < count:
            raise ValueError(f"there are {len(numbers)} groups, and at least {count} are needed")
        shuffled = generator.permutation(len(numbers))
        fold_of_group, filled = np.zeros(len(numbers), dtype=np.int64), np.zeros(count)
        for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
            fold_of_group[group] = np.argmin(filled)
            filled[fold_of_group[group]] += sizes[group]
        return fold_of_group[group_of_row]
    rows = len(dataset.targets)
    if rows < count:
        raise ValueError(f"there are {rows} rows, and at least {count} are needed")
    order = generator.permutation(rows)
    if dataset.kind.has_row_classes:
        order = order[np.argsort(dataset.targets[order], kind="stable")]
    fold_of_row = np.zeros(rows, dtype=np.int64)
    fold_of_row[order] = np.arange(rows) % count
    return fold_of_row


def _divide(rows: Rows, labels: Rows, count: int, generator: np.random.RandomState) -> tuple[Rows, Rows]:
    """Return most rows, and `count` others, in which each label has its share."""
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if min(count, len(rows) - count) < len(counts) or counts.min() < 2:
        train_test_split(rows, test_size=count, stratify=labels)  # raises, with the reason
    most, others = _drawn(labels, counts, count, generator)
    return rows[most], rows[others]


def _drawn(labels: Rows, counts: Rows, count: int, generator: np.random.RandomState) -> tuple[Rows, Rows]:
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
