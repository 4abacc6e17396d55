"""Checks and reference predictors of tasks with classes as targets."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import DataError
from evalbench.tasks import linear
from evalbench.tasks.task import Array, Predictor, Rows

log = logging.getLogger(__name__)

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


def check_numbers(table: Rows) -> None:
    """Raise `DataError` unless targets are finite, and those of no column all the same."""
    if not np.isfinite(table.targets).all():
        raise DataError(f"{table.name}: targets must be finite everywhere: remove those rows")
    constant = np.flatnonzero(np.ptp(table.targets.reshape(len(table.targets), -1), axis=0) == 0)
    if len(constant):
        named = f"the target {table.classes[constant[0]]!r}" if table.classes else "the target"
        remedy = "leave it out of dataset.target" if table.classes else "nothing can be learned from it"
        raise DataError(f"{table.name}: {named} has one value only: {remedy}")


def check_columns(table: Rows) -> None:
    """Raise `DataError` unless there are several targets per row, each with a name."""
    shape = (len(table.inputs), len(table.classes))
    if table.targets.shape != shape or len(table.classes) < 2:
        raise DataError(
            f"{table.name}: targets must have two named columns or more, not the shape {table.targets.shape}"
        )


def shares(train: Array, shape: Sequence[int], num_classes: int) -> Array:
    """Return the shares of the classes among training targets for targets of a shape, `(*shape, classes)`."""
    counts = np.bincount(train.astype(np.int64).ravel(), minlength=num_classes)
    return np.tile(counts / counts.sum(), (*shape, 1))


def logistic(inputs: Array, targets: Array, size: int, table: Rows, num_classes: int | None = None) -> Predictor:
    """Return scikit-learn's logistic regression at its defaults, fitted to many splits at once; see `Task.linear`.

    Where a split lacks a class, or its fit has not converged, scikit-learn fits it. `num_classes` is by default the
    number of classes of the table.
    """
    num_classes, vocabulary = num_classes or len(table.classes), table.vocabulary
    pilot = linear.Pilot.of(seen(inputs, vocabulary), targets, num_classes, size)

    def predict(train: Array, targets: Array, test: Array) -> Array:
        train, test = seen(train, vocabulary), seen(test, vocabulary)
        probabilities, converged = linear.logistic(train, targets, test, num_classes, pilot)
        for split in range(len(train)):
            is_whole = len(np.unique(targets[split])) == num_classes
            if is_whole and not converged[split]:
                log.warning("%s: a linear reference did not converge: scikit-learn fits it", table.name)
            if not (is_whole and converged[split]):
                probabilities[split] = _by_scikit_learn(train[split], targets[split], test[split], num_classes)
        return probabilities

    return predict


def _by_scikit_learn(train: Array, targets: Array, test: Array, num_classes: int) -> Array:
    from sklearn.linear_model import LogisticRegression

    probabilities: NDArray[np.float64] = np.zeros((len(test), num_classes))
    if np.ptp(targets) == 0:
        probabilities[:, targets[0]] = 1.0
        return probabilities
    with quiet():  # 500 iterations are its budget
        model = LogisticRegression(max_iter=500).fit(train, targets)
    probabilities[:, model.classes_] = model.predict_proba(test)
    return probabilities


@contextmanager
def quiet() -> Iterator[None]:
    """Fit a model of scikit-learn in one thread, and without warnings of a budget that ends it."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), _thread_pools().limit(limits=1):  # two that wait for each other are far slower
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def seen(inputs: Array, vocabulary: int | None) -> Array:
    """Return inputs `(..., D)` as linear models see them: tokens as log(1 + count) in the row, `(..., vocabulary)`."""
    if vocabulary is None:
        return inputs
    rows = inputs.reshape(-1, inputs.shape[-1])
    counts = np.stack([np.bincount(row, minlength=vocabulary) for row in rows])
    logs: Array = np.log1p(counts).reshape(*inputs.shape[:-1], vocabulary)
    return logs


@cache
def _thread_pools() -> Any:
    """Return the libraries' pools of threads: a search for them takes half as long as a fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
