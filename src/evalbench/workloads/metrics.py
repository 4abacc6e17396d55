"""The metrics of a trial on rows that it did not train on.

In plain numpy, tested against scikit-learn: its checks of every argument would cost more time than a whole trial.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

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
    if dataset.kind is Kind.REGRESSION:
        error = predictions - targets
        spread = targets.astype(np.float64) - targets.mean(dtype=np.float64)
        return {
            "test/r2": float(1 - np.sum(error**2) / np.sum(spread**2)),
            "test/rmse": float(np.sqrt(np.mean(error**2))),
            "test/mae": float(np.mean(np.abs(error))),
        }
    truth = targets.astype(np.int64)
    chosen = predictions.argmax(-1)
    values = {"test/accuracy": float(np.mean(chosen == truth)), "test/log_loss": _log_loss(predictions, truth)}
    if dataset.kind is Kind.LANGUAGE:
        return {**values, "test/perplexity": float(np.exp(values["test/log_loss"]))}
    counts = np.bincount(truth, minlength=len(dataset.classes))
    values["test/macro_f1"] = _macro_f1(chosen, truth, counts)
    if counts.all():
        scores = predictions[:, 1:] if dataset.kind is Kind.BINARY else predictions
        values["test/auroc"] = _auroc(scores, truth)
    return values


def _log_loss(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Return the mean of minus the logarithm of what was given to the truth, which is never infinite."""
    right = np.take_along_axis(probabilities, truth[..., None], axis=-1)
    return -float(np.mean(np.log(np.maximum(right, np.finfo(np.float64).eps))))


def _macro_f1(chosen: NDArray[np.int64], truth: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), 0 for a class that is neither there nor chosen."""
    classes = len(counts)
    hits = np.bincount(truth[chosen == truth], minlength=classes)
    return float(np.mean(2 * hits / np.maximum(1, counts + np.bincount(chosen, minlength=classes))))


def _auroc(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Return the mean over the columns of `(N, K)` of P(a row of that class scores above a row of another), ties half.

    A lone column is that of class 1. By ranks: Mann and Whitney 1947.
    """
    columns = np.arange(scores.shape[1]) if scores.shape[1] > 1 else np.array([1])
    member = truth[:, None] == columns
    inside = member.sum(0)
    ranks = np.where(member, rankdata(scores, axis=0), 0.0).sum(0)
    return float(np.mean((ranks - inside * (inside + 1) / 2) / (inside * (len(truth) - inside))))
