"""The metrics of a trial on rows that it did not train on, by scikit-learn."""

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from evalbench.workloads.dataset import Dataset, Kind


def evaluate(
    dataset: Dataset, predictions: NDArray[np.float64], targets: NDArray[np.int64] | NDArray[np.float32]
) -> dict[str, float]:
    """Return every test metric by name.

    `predictions` is `(N, K)` class probabilities for classification, `(N,)` numbers in the target's unit for
    regression; `targets` is `(N,)`. AUROC is one against the rest, averaged over classes, and is left out where a class
    has no row.
    """
    if dataset.kind is Kind.REGRESSION:
        error = predictions - targets
        return {
            "test/r2": float(sk.r2_score(targets, predictions)),
            "test/rmse": float(np.sqrt(np.mean(error**2))),
            "test/mae": float(np.mean(np.abs(error))),
        }
    labels = np.arange(len(dataset.classes))
    chosen = predictions.argmax(1)
    values = {
        "test/accuracy": float(np.mean(chosen == targets)),
        "test/macro_f1": float(sk.f1_score(targets, chosen, labels=labels, average="macro", zero_division=0.0)),
        "test/log_loss": float(sk.log_loss(targets, predictions, labels=labels)),
    }
    if len(np.unique(targets)) == len(labels):
        scores = predictions[:, 1] if dataset.kind is Kind.BINARY else predictions
        values["test/auroc"] = float(sk.roc_auc_score(targets, scores, multi_class="ovr", labels=labels))
    return values
