"""Reference rows: what a predictor without inputs and a linear model score on the same split."""

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import ThreadpoolController

from evalbench.workloads.dataset import Dataset, Kind
from evalbench.workloads.metrics import evaluate
from evalbench.workloads.splits import Split, fit_scaling


def trivial(dataset: Dataset, split: Split) -> dict[str, float]:
    """Return the test metrics of always predicting the training rows' class shares, token shares, or mean."""
    targets = dataset.targets[split.test]
    if not dataset.is_classification:
        return evaluate(dataset, np.full(len(targets), dataset.targets[split.train].mean(dtype=np.float64)), targets)
    counts = np.bincount(dataset.targets[split.train].astype(np.int64).ravel(), minlength=len(dataset.classes))
    shares = counts / counts.sum()
    return evaluate(dataset, np.broadcast_to(shares, (*targets.shape, len(shares))), targets)


def linear(dataset: Dataset, split: Split) -> dict[str, float]:
    """Return the test metrics of scikit-learn's logistic or ridge regression at its defaults.

    The inputs of a row of tokens are their shares in it. For language it is the linear model on the current token: the
    probabilities of the next one given that one, from the training rows' counts of pairs. Softmax regression on the
    one-hot current token has these as its maximum-likelihood solution; adding one to each count regularises it.
    """
    if dataset.kind is Kind.LANGUAGE:
        return _bigram(dataset, split)
    scaling = fit_scaling(dataset, split.train)
    train, test = (scaling.inputs(dataset, rows) for rows in (split.train, split.test))
    if dataset.vocabulary is not None:
        train, test = (_shares(tokens, dataset.vocabulary) for tokens in (train, test))
    targets = dataset.targets[split.train]
    if not dataset.is_classification:
        return evaluate(dataset, Ridge().fit(train, targets).predict(test), dataset.targets[split.test])
    with warnings.catch_warnings(), _thread_pools().limit(limits=1):  # two that wait for each other are far slower
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 iterations are its budget
        model = LogisticRegression(max_iter=500).fit(train, targets)
    probabilities: NDArray[np.float64] = np.zeros((len(split.test), len(dataset.classes)))
    probabilities[:, model.classes_] = model.predict_proba(test)
    return evaluate(dataset, probabilities, dataset.targets[split.test])


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the libraries' pools of threads; to look for them takes half as long as a fit."""
    return ThreadpoolController()


def _bigram(dataset: Dataset, split: Split) -> dict[str, float]:
    num_tokens = len(dataset.classes)
    counts = np.ones((num_tokens, num_tokens))  # current token, next token
    np.add.at(counts, (dataset.inputs[split.train].astype(np.int64), dataset.targets[split.train].astype(np.int64)), 1)
    probabilities: NDArray[np.float64] = counts / counts.sum(1, keepdims=True)
    return evaluate(dataset, probabilities[dataset.inputs[split.test].astype(np.int64)], dataset.targets[split.test])


def _shares(tokens: NDArray[Any], vocabulary: int) -> NDArray[np.float64]:
    """Return `(N, vocabulary)`: how often each token appears in each row of `(N, T)`, as a share."""
    counts = np.stack([np.bincount(row, minlength=vocabulary) for row in tokens])
    shares: NDArray[np.float64] = counts / tokens.shape[1]
    return shares
