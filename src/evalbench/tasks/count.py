"""A count per row, or any number from 0 up whose expected value is a rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks import classes
from evalbench.tasks.metric import METRICS
from evalbench.tasks.regression import Regression
from evalbench.tasks.task import Array, Predictor, Rows

if TYPE_CHECKING:
    from torch import Tensor

MOST_WIDE = 256
"""The most columns for which a Hessian is computed."""


class Count(Regression):
    """Half the Poisson deviance of the rate `exp(output)`, which has the gradient of the Poisson likelihood.

    A rate is in units of the mean count of the training rows, so that networks begin near the trivial predictor,
    whatever is counted. Fractions are allowed, because the deviance judges any mean from 0 up (Gourieroux, Monfort and
    Trognon 1984).
    """

    name = "count"
    outputs = "log rates"
    metrics = ("poisson_d2", "poisson_deviance", "mae")

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has a finite number from 0 up, and not all have the same."""
        classes.check_one_per_row(table)
        classes.check_numbers(table)
        if (least := table.targets.min()) < 0:
            rule = f"{table.name}: counts must be at least 0, not {least:g}"
            raise DataError(f"{rule}: correct them, or say dataset.kind=regression")

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return scikit-learn's Poisson regression, with the penalty that `Ridge()` has: 1 over the sum of the loss."""
        from sklearn.linear_model import PoissonRegressor

        def fitted(train: Array, targets: Array, test: Array) -> Array:
            if not targets.any():
                return np.zeros(len(test))
            solver = "newton-cholesky" if train.shape[1] <= MOST_WIDE else "lbfgs"
            model = PoissonRegressor(alpha=1 / len(train), max_iter=1000, tol=1e-6, solver=solver)
            with classes.quiet():
                rates: Array = model.fit(train, targets.astype(np.float64)).predict(test)
            return rates

        def predict(train: Array, targets: Array, test: Array) -> Array:
            train, test = classes.seen(train, table.vocabulary), classes.seen(test, table.vocabulary)
            return np.stack([fitted(*split) for split in zip(train, targets, test, strict=True)])

        return predict

    def target_scale(self, train: Array) -> tuple[Any, Any]:
        """Return no shift, and the mean."""
        return 0.0, float(train.mean(dtype=np.float64)) or 1.0

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return half the mean deviance; there are no classes to smooth."""
        import torch

        logs, counts = self.natural(outputs, targets)
        return (logs.exp() - counts * logs + torch.xlogy(counts, counts) - counts).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the share of the deviance that is explained."""
        compute = METRICS["poisson_d2"].compute
        assert compute is not None
        return compute(self.predict(outputs), targets)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the rates, in units of the mean of the training rows."""
        return outputs.double().squeeze(-1).exp()

    def loss_of(self, predictions: Array, targets: Array, scale: Any) -> float:
        """Return half the mean deviance, in units of the mean of the training rows."""
        import torch

        compute = METRICS["poisson_deviance"].compute
        assert compute is not None
        return float(compute(torch.as_tensor(predictions), torch.as_tensor(targets))) / 2 / float(scale)
