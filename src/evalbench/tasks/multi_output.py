"""Several numbers per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalbench.tasks import classes
from evalbench.tasks.metric import Metric
from evalbench.tasks.regression import Regression
from evalbench.tasks.task import Array, Rows

if TYPE_CHECKING:
    from torch import Tensor


class MultiOutput(Regression):
    """Squared error on targets `(N, L)`, each scaled by its mean and standard deviation over the training rows.

    A metric is its mean over the columns, each in its own unit, as in scikit-learn (`uniform_average`).
    """

    name = "multi_output"
    per_column = True

    def num_outputs(self, num_classes: int) -> int:
        """Return one per column."""
        return num_classes

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has finite numbers, and no column the same everywhere."""
        classes.check_columns(table)
        classes.check_numbers(table)

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the means."""
        return np.broadcast_to(train.mean(0, dtype=np.float64), shape)

    def target_scale(self, train: Array) -> tuple[Any, Any]:
        """Return means and standard deviations `(L,)`."""
        numbers = train.astype(np.float64)
        std = numbers.std(0)
        return numbers.mean(0), np.where(std > 0, std, 1.0)

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, L)` zeros."""
        import torch

        return torch.zeros(len(inputs), num_outputs, device=inputs.device)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return two times numbers `(B * L,)`, as `torch.nn.MSELoss` takes them."""
        return outputs.flatten(), targets.flatten()

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the mean squared error; there are no classes to smooth."""
        from torch.nn import functional as F

        return F.mse_loss(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return R², mean over the columns."""
        residual = (outputs - targets).square().mean(-2)
        return (1 - residual / targets.var(-2, correction=0)).mean(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the scaled numbers `(..., B, L)`."""
        return outputs.double()

    def measure(self, metric: Metric, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the columns of a metric of numbers."""
        import torch

        columns = zip(predictions.unbind(-1), targets.unbind(-1), strict=True)
        return torch.stack([super(MultiOutput, self).measure(metric, *column) for column in columns]).mean(0)
