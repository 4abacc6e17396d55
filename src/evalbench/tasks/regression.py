"""One number per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalbench.tasks import classes, linear
from evalbench.tasks.metric import Metric
from evalbench.tasks.task import Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor


class Regression(Task):
    """Squared error on targets that are scaled by the mean and standard deviation of the training rows."""

    name = "regression"
    outputs = "numbers"
    metrics: tuple[str | Metric, ...] = ("r2", "rmse", "mae")
    is_classification = False
    scales_targets = True
    has_row_classes = False

    def num_outputs(self, num_classes: int) -> int:
        """Return 1."""
        return 1

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has a finite number, and not all have the same."""
        classes.check_one_per_row(table)
        classes.check_numbers(table)

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the mean."""
        return np.full(shape, train.mean(dtype=np.float64))

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return ridge regression."""

        def predict(train: Array, targets: Array, test: Array) -> Array:
            return linear.ridge(classes.seen(train, table.vocabulary), targets, classes.seen(test, table.vocabulary))

        return predict

    def target_scale(self, train: Array) -> tuple[Any, Any]:
        """Return mean and standard deviation."""
        numbers = train.astype(np.float64)
        return float(numbers.mean()), float(numbers.std()) or 1.0

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B,)` zeros."""
        import torch

        return torch.zeros(len(inputs), device=inputs.device)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return two times numbers `(B,)`, as `torch.nn.MSELoss` and `PoissonNLLLoss` take them."""
        return outputs.squeeze(-1), targets

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the mean squared error; there are no classes to smooth."""
        from torch.nn import functional as F

        return F.mse_loss(*self.natural(outputs, targets))

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return R²."""
        residual = (outputs.squeeze(-1) - targets).square().mean(-1)
        return 1 - residual / targets.var(-1, correction=0)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the scaled numbers."""
        return outputs.double().squeeze(-1)

    def loss_of(self, predictions: Array, targets: Array, scale: Any) -> float:
        """Return the mean squared error of the scaled numbers."""
        return float(np.square((predictions - targets) / scale).mean())
