"""Several yes-or-no labels per row, told apart by a logit each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks import classes
from evalbench.tasks.metric import METRICS
from evalbench.tasks.task import Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor


class MultiLabel(Task):
    """Binary cross-entropy, mean over labels; targets `(N, L)` are 0 or 1."""

    name = "multilabel"
    outputs = "one logit"
    metrics = ("average_precision", "auroc", "macro_f1", "micro_f1", "hamming_loss", "subset_accuracy", "log_loss")
    has_row_classes = False
    per_column = True

    def num_outputs(self, num_classes: int) -> int:
        """Return one per label."""
        return num_classes

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has all labels, and each label enough rows with yes and with no."""
        classes.check_columns(table)
        targets = table.targets
        if targets.dtype != np.int64 or not np.isin(targets, (0, 1)).all():
            raise DataError(f"{table.name}: labels must be int64, 0 for no and 1 for yes: check the loader")
        fewest = np.minimum(targets.sum(0), len(targets) - targets.sum(0))
        if fewest.min() < classes.MIN_ROWS_PER_CLASS:
            rare = table.classes[int(fewest.argmin())]
            raise DataError(
                f"{table.name}: every label needs at least {classes.MIN_ROWS_PER_CLASS} rows with yes and as many with "
                f"no, not {fewest.min()} ({rare!r}): leave it out of dataset.target"
            )

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the shares of yes."""
        return np.broadcast_to(train.mean(0, dtype=np.float64), shape)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return a logistic regression for each label."""
        models = [classes.logistic(inputs, column, size, table, 2) for column in targets.T]

        def predict(train: Array, targets: Array, test: Array) -> Array:
            return np.stack(
                [model(train, targets[..., label], test)[..., 1] for label, model in enumerate(models)], axis=-1
            )

        return predict

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, L)` zeros, as whole numbers."""
        import torch

        return torch.zeros(len(inputs), num_outputs, device=inputs.device, dtype=torch.int64)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(B * L,)` and 0 or 1 in their precision, as `torch.nn.BCEWithLogitsLoss` takes them."""
        return outputs.flatten(), targets.to(outputs.dtype).flatten()

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the binary cross-entropy per label."""
        from torch.nn import functional as F

        if smoothing:
            targets = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(*self.natural(outputs, targets))

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean average precision."""
        compute = METRICS["average_precision"].compute
        assert compute is not None
        return compute(outputs.sigmoid(), targets)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of yes."""
        return outputs.double().sigmoid()
