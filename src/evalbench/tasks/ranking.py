"""Rows to rank within their group, such as the documents of a query, by a relevance from 0 up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks.regression import Regression
from evalbench.tasks.task import Array, Predictor, Rows

if TYPE_CHECKING:
    from torch import Tensor

MOST_GROUPS = 2**24
"""Numbers up to here are exact in float32."""


class Ranking(Regression):
    """Squared error on the relevance of each row; targets `(N, 2)` are the relevance and the number of the group.

    Regression on relevance is consistent for NDCG (Cossock and Zhang 2006), and needs no batches of whole groups. The
    group is for the metric alone. It is scaled along with the relevance, which does no harm: the loss does not read it.
    """

    name = "ranking"
    metrics = ("ndcg_10",)
    scores_outputs = False

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has a relevance from 0 up and a group, and some group is not all equal."""
        if table.groups is None:
            raise DataError(f"{table.name}: ranking needs the group of each row: say dataset.group=COLUMN")
        targets, rows = table.targets, len(table.inputs)
        if targets.shape != (rows, 2) or not np.array_equal(targets[:, 1], table.groups):
            raise DataError(f"{table.name}: targets must be relevance and group, ({rows}, 2), not {targets.shape}")
        if np.unique(table.groups).size > MOST_GROUPS or table.groups.min() < 0 or table.groups.max() > MOST_GROUPS:
            raise DataError(f"{table.name}: groups must have numbers from 0 to {MOST_GROUPS:,}: number them anew")
        if not np.isfinite(targets).all() or targets[:, 0].min() < 0:
            least = targets[:, 0].min()
            raise DataError(f"{table.name}: relevance must be finite and at least 0, not {least:g}: correct it")
        pairs = np.unique(targets, axis=0)
        if len(pairs) == len(np.unique(pairs[:, 1])):
            raise DataError(f"{table.name}: every group has one relevance only: nothing can be ranked")

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the mean: all rows of a group are tied."""
        return np.full(shape[0], train[:, 0].mean(dtype=np.float64))

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return ridge regression on the relevance."""
        model = super().linear(inputs, targets, size, table)
        return lambda train, targets, test: model(train, targets[..., 0], test)

    def target_scale(self, train: Array) -> tuple[Any, Any]:
        """Return mean and standard deviation of the relevance."""
        return super().target_scale(train[:, 0])

    def fitted_to(self, targets: Array) -> Array:
        """Return the relevance."""
        return targets[..., 0]

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, 2)` zeros."""
        import torch

        return torch.zeros(len(inputs), 2, device=inputs.device)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return two times numbers `(B,)`, outputs and relevance, as `torch.nn.MSELoss` takes them."""
        return outputs.squeeze(-1), targets[..., 0]

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Refuse: NDCG is not that of a scaled relevance."""
        raise AssertionError("NDCG is measured on predictions")

    def loss_of(self, predictions: Array, targets: Array, scale: Any) -> float:
        """Return the mean squared error of the scaled relevance."""
        return super().loss_of(predictions, targets[..., 0], scale)
