"""Fitted estimators: their predictions, and their files by skops, which holds no pickle.

Shapes: `N` rows, `D` columns, `K` classes.
"""

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
    """Return class probabilities `(N, K)`, those of a class that is not known being 0, or numbers `(N,)`.

    An estimator without probabilities is sure of the class that it predicts.
    """
    if not task.is_classification:
        return np.asarray(estimator.predict(inputs), dtype=np.float64).reshape(len(inputs))
    probabilities = np.zeros((len(inputs), num_classes))
    if hasattr(estimator, "predict_proba"):
        known = np.asarray(getattr(estimator, "classes_", range(num_classes))).astype(np.int64)
        probabilities[:, known] = estimator.predict_proba(inputs)
    else:
        chosen = np.asarray(estimator.predict(inputs)).reshape(len(inputs)).astype(np.int64)
        probabilities[np.arange(len(inputs)), chosen] = 1.0
    return probabilities


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
