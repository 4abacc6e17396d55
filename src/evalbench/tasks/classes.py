"""Checks and reference predictors of tasks with classes as targets."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import DataError
from evalbench.tasks.task import Array, Rows

MIN_ROWS_PER_CLASS = 5


def check_classes(table: Rows) -> None:
    """Raise `DataError` unless each row has a class, and each class enough rows to appear in every split."""
    check_one_per_row(table)
    if len(table.classes) < 2:
        raise DataError(f"{table.name}: the target has one class only ({table.classes[0]!r}): at least two are needed")
    counts = np.bincount(table.targets.astype(np.int64), minlength=len(table.classes))
    if counts.min() < MIN_ROWS_PER_CLASS:
        rare = table.classes[int(counts.argmin())]
        hint = "" if len(table.classes) < 20 else " (dataset.kind=regression, if the target is a number)"
        raise DataError(
            f"{table.name}: every class needs at least {MIN_ROWS_PER_CLASS} rows to appear in every split, not "
            f"{counts.min()} ({rare!r}): merge or remove rare classes{hint}"
        )


def check_one_per_row(table: Rows) -> None:
    """Raise `DataError` unless there is one target per row."""
    if table.targets.shape != (len(table.inputs),):
        raise DataError(f"{table.name}: targets must have the shape ({len(table.inputs)},), not {table.targets.shape}")


def shares(train: Array, shape: Sequence[int], num_classes: int) -> Array:
    """Return the shares of the classes among training targets for targets of a shape, `(*shape, classes)`."""
    counts = np.bincount(train.astype(np.int64).ravel(), minlength=num_classes)
    return np.broadcast_to(counts / counts.sum(), (*shape, num_classes))


def logistic(train: Array, targets: Array, test: Array, num_classes: int, vocabulary: int | None) -> Array:
    """Return the class probabilities of scikit-learn's logistic regression at its defaults."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if vocabulary is not None:
        train, test = token_shares(train, vocabulary), token_shares(test, vocabulary)
    with warnings.catch_warnings(), _thread_pools().limit(limits=1):  # two that wait for each other are far slower
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 iterations are its budget
        model = LogisticRegression(max_iter=500).fit(train, targets)
    probabilities: NDArray[np.float64] = np.zeros((len(test), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(test)
    return probabilities


def token_shares(tokens: Array, vocabulary: int) -> Array:
    """Return `(N, vocabulary)`: the share of each token in each row of `(N, T)`."""
    counts = np.stack([np.bincount(row, minlength=vocabulary) for row in tokens])
    return np.divide(counts, tokens.shape[1])


@cache
def _thread_pools() -> Any:
    """Return the libraries' pools of threads: a search for them takes half as long as a fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
