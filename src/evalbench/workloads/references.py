"""Reference rows: what a predictor without inputs and a linear model score on the same split."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from evalbench.workloads.dataset import Dataset
from evalbench.workloads.metrics import evaluate
from evalbench.workloads.splits import Split, fit_scaling


def trivial(dataset: Dataset, split: Split) -> dict[str, float]:
    """Return the test metrics of always predicting the training rows' class shares, or their mean."""
    targets = dataset.targets[split.test]
    if not dataset.is_classification:
        return evaluate(dataset, np.full(len(targets), dataset.targets[split.train].mean(dtype=np.float64)), targets)
    counts = np.bincount(dataset.targets[split.train].astype(np.int64), minlength=len(dataset.classes))
    return evaluate(dataset, np.tile(counts / counts.sum(), (len(targets), 1)), targets)


def linear(dataset: Dataset, split: Split) -> dict[str, float]:
    """Return the test metrics of scikit-learn's logistic or ridge regression at its defaults."""
    scaling = fit_scaling(dataset, split.train)
    train, test = scaling.inputs(dataset, split.train), scaling.inputs(dataset, split.test)
    targets = dataset.targets[split.train]
    if not dataset.is_classification:
        return evaluate(dataset, Ridge().fit(train, targets).predict(test), dataset.targets[split.test])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 iterations are its budget
        model = LogisticRegression(max_iter=500).fit(train, targets)
    probabilities: NDArray[np.float64] = np.zeros((len(split.test), len(dataset.classes)))
    probabilities[:, model.classes_] = model.predict_proba(test)
    return evaluate(dataset, probabilities, dataset.targets[split.test])
