"""Fitted estimators: their predictions, and their files by skops, which holds no pickle.

Shapes: `N` rows, `D` columns, `K` classes, `L` columns of targets.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError
from evalbench.names import one_line
from evalbench.tasks import Task
from evalbench.workloads.table import listed

Array = NDArray[Any]
INSTALL = "pip install 'evalbench-dl[skops]'"


def predictions(estimator: Any, task: Task, num_classes: int, inputs: Array) -> Array:
    """Return class probabilities `(N, K)`, those of a class that is not known being 0, label probabilities, or numbers.

    An estimator without probabilities is sure of the class that it predicts.
    """
    if task.per_column and hasattr(estimator, "predict_proba"):
        return _label_probabilities(estimator.predict_proba(inputs), estimator)
    if task.per_column or not task.is_classification:
        numbers: Array = np.asarray(estimator.predict(inputs), dtype=np.float64)
        return numbers.reshape(len(inputs), *([num_classes] if task.per_column else []))
    probabilities = np.zeros((len(inputs), num_classes))
    if hasattr(estimator, "predict_proba"):
        known = np.asarray(getattr(estimator, "classes_", range(num_classes))).astype(np.int64)
        probabilities[:, known] = estimator.predict_proba(inputs)
    else:
        chosen = np.asarray(estimator.predict(inputs)).reshape(len(inputs)).astype(np.int64)
        probabilities[np.arange(len(inputs)), chosen] = 1.0
    return probabilities


def _label_probabilities(given: Any, estimator: Any) -> Array:
    """Return the probabilities of yes `(N, L)`, which some estimators give as a table of no and yes for each label.

    Such a table lacks the column of what no training row has.
    """
    if not isinstance(given, list):
        return np.asarray(given, dtype=np.float64)
    tables = zip(given, estimator.classes_, strict=True)
    return np.column_stack([np.asarray(table) @ (np.asarray(known) == 1) for table, known in tables])


class PerColumn:
    """A copy of an estimator for each column of the targets; a column of one value is always predicted to have it.

    That is what scikit-learn's `MultiOutputClassifier` and `MultiOutputRegressor` do, without the latter.
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def fit(self, inputs: Array, targets: Array) -> "PerColumn":
        """Fit the copies to targets `(N, L)`, and return this estimator."""
        from sklearn.dummy import DummyClassifier, DummyRegressor

        constant = DummyClassifier() if targets.dtype.kind == "i" else DummyRegressor()
        self._fitted = [
            copy.deepcopy(self._estimator if np.ptp(column) else constant).fit(inputs, column) for column in targets.T
        ]
        return self

    def predict(self, inputs: Array) -> Array:
        """Return `(N, L)`."""
        return np.column_stack([np.asarray(one.predict(inputs)).reshape(len(inputs)) for one in self._fitted])

    @property
    def classes_(self) -> list[Any]:
        """The classes of each column."""
        return [getattr(one, "classes_", (0, 1)) for one in self._fitted]

    @property
    def predict_proba(self) -> Callable[[Array], list[Any]]:
        """Return the probabilities of each column by class; an estimator without them has no such method."""
        self._estimator.predict_proba  # noqa: B018 - raises AttributeError
        return self._probabilities

    def _probabilities(self, inputs: Array) -> list[Any]:
        return [one.predict_proba(inputs) for one in self._fitted]


def check_can_be_saved(estimator: Any, target: str) -> None:
    """Refuse to keep an estimator that skops cannot save; raise `ConfigError`."""
    try:
        import skops.io  # noqa: F401
    except ImportError as error:
        raise ConfigError("save", "needs skops for estimators, which is not installed", remedy=INSTALL) from error
    try:
        dumped(estimator)
    except Exception as error:  # the user's own class may raise anything
        rule = f"must be none for {target}, which skops cannot save ({one_line(error)})"
        raise ConfigError("save", rule, remedy="leave it out") from error


def dumped(estimator: Any) -> bytes:
    """Return an estimator as the content of a file; raise what skops raises."""
    from skops import io

    content: bytes = io.dumps(estimator)
    return content


def load(path: Path, is_trusted: Callable[[str], bool]) -> Any:
    """Return the estimator of a file; raise `DataError` if it cannot be read, or has types that are not trusted."""
    try:
        from skops import io
    except ImportError as error:
        raise DataError(f"{path}: needs skops, which is not installed: {INSTALL}") from error
    try:
        types: Sequence[str] = io.get_untrusted_types(file=path)
    except Exception as error:  # a file that is not one of skops
        raise DataError(f"{path}: is no estimator that skops has saved ({one_line(error)}): save it again") from error
    odd = [name for name in types if not is_trusted(name)]
    if odd:
        packages = sorted({name.partition(".")[0] for name in odd})
        raise DataError(
            f"{path}: has types that skops does not know as harmless ({listed(odd, 8)}): if you trust its author, say"
            f" {' '.join(f'--trust {name}' for name in packages)}, in Python packages={packages}"
        )
    try:
        return io.load(path, trusted=list(types))
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise DataError(
            f"{path}: the estimator cannot be rebuilt ({reason}): use the packages of its training"
        ) from error
