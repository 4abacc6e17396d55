"""Two classes, told apart by one logit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalbench.tasks import classes
from evalbench.tasks.task import Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor


class Binary(Task):
    """Binary cross-entropy on one logit; targets are 0 or 1."""

    name = "binary"
    outputs = "one logit"
    metrics = ("accuracy", "log_loss", "macro_f1", "auroc")

    def num_outputs(self, num_classes: int) -> int:
        """Return 1."""
        return 1

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has a class, and each class enough rows."""
        classes.check_classes(table)

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the shares of the classes."""
        return classes.shares(train, shape, num_classes)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return logistic regression."""
        return classes.logistic(inputs, targets, size, table)

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B,)` zeros, in floating point."""
        import torch

        return torch.zeros(len(inputs), device=inputs.device)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(B,)` and 0 or 1 in their precision, as `torch.nn.BCEWithLogitsLoss` takes them."""
        return outputs.squeeze(-1), targets.to(outputs.dtype)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the binary cross-entropy."""
        from torch.nn import functional as F

        if smoothing:
            targets = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(*self.natural(outputs, targets))

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the accuracy."""
        chosen = (outputs.squeeze(-1) > 0).long()
        return (chosen == targets).to(outputs.dtype).mean(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of both classes."""
        import torch

        positive = torch.sigmoid(outputs.double())
        return torch.cat([1 - positive, positive], dim=-1)
