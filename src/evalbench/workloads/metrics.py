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
    has no row. For language they are `(N, T, K)` and `(N, T)`, and every metric is a mean over tokens: accuracy, log
    loss in nats per token, perplexity, which is e to the log loss.
    """
    if dataset.kind is Kind.LANGUAGE:
        return _language(predictions, targets.astype(np.int64))
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


def _language(predictions: NDArray[np.float64], targets: NDArray[np.int64]) -> dict[str, float]:
    right = np.take_along_axis(predictions, targets[..., None], axis=-1)[..., 0]
    log_loss = -float(np.mean(np.log(np.maximum(right, np.finfo(np.float64).eps))))  # as scikit-learn's, never infinite
    return {
        "test/accuracy": float(np.mean(predictions.argmax(-1) == targets)),
        "test/log_loss": log_loss,
        "test/perplexity": float(np.exp(log_loss)),
    }
