"""Three classes or more, one logit for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalbench.tasks import classes
from evalbench.tasks.task import Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor


class Multiclass(Task):
    """Cross-entropy; targets are indices of classes."""

    name = "multiclass"
    outputs = "a logit per class"
    metrics = ("accuracy", "log_loss", "macro_f1", "auroc")

    def num_outputs(self, num_classes: int) -> int:
        """Return one per class."""
        return num_classes

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
        """Return `(B,)` zeros, as whole numbers."""
        import torch

        return torch.zeros(len(inputs), device=inputs.device, dtype=torch.int64)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(B, K)` and classes `(B,)`, as `torch.nn.CrossEntropyLoss` takes them."""
        return outputs, targets

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy; for few classes four times as fast as through log-softmax."""
        import torch
        from torch.nn import functional as F

        if smoothing:
            return F.cross_entropy(outputs, targets, label_smoothing=smoothing)
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        return (torch.logsumexp(outputs, dim=-1) - outputs.gather(-1, targets[:, None]).squeeze(-1)).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the accuracy."""
        return (outputs.argmax(-1) == targets).to(outputs.dtype).mean(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of all classes."""
        import torch

        return torch.softmax(outputs.double(), dim=-1)
