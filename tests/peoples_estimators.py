"""Estimators that people write: one that fails with a seed, one without probabilities, one without scikit-learn."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier


class FailsOnce(ExtraTreesClassifier):
    """Raise for the trial whose `random_state` is `bad`."""

    def __init__(self, bad=0, n_estimators=3, random_state=None):
        super().__init__(n_estimators=n_estimators, random_state=random_state)
        self.bad = bad

    def fit(self, inputs, targets):
        if self.random_state == self.bad:
            raise RuntimeError("my own error")
        return super().fit(inputs, targets)


class Nearest(ClassifierMixin, BaseEstimator):
    """Predict the class of the nearest mean, without probabilities."""

    def fit(self, inputs, targets):
        self.classes_ = np.unique(targets)
        self.means_ = np.stack([inputs[targets == label].mean(0) for label in self.classes_])
        return self

    def predict(self, inputs):
        return self.classes_[((inputs[:, None] - self.means_) ** 2).sum(-1).argmin(1)]


class Plain:
    """Predict the mean of the training targets, with noise from a seed that the constructor takes."""

    def __init__(self, noise=0.0, random_seed=0):
        self.noise, self.random_seed = noise, random_seed

    def fit(self, inputs, targets):
        self.mean = targets.mean()

    def predict(self, inputs):
        return self.mean + self.noise * np.random.default_rng(self.random_seed).normal(size=len(inputs))


class Infinite(Plain):
    """Predict infinity."""

    def predict(self, inputs):
        return np.full(len(inputs), np.inf)


class Picky(Plain):
    """Refuse missing values, and numbers that are not scaled."""

    def fit(self, inputs, targets):
        if np.isnan(inputs).any() or np.abs(inputs).max() > 100:
            raise ValueError("inputs must be scaled and complete")
        super().fit(inputs, targets)


class Closed(Nearest):
    """Hold a function that has no name, which no file can hold."""

    def __init__(self):
        self.distance = lambda one, other: abs(one - other)

    def __getstate__(self):
        raise TypeError("it has a function without a name")
