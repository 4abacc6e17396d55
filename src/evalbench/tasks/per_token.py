"""What the tasks with a target for every token share; `T` tokens of a row.

A target of `NO_TARGET` is in no loss and in no metric: that of padding, or of a token that stands for no word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalbench.tasks import classes
from evalbench.tasks.metric import Metric
from evalbench.tasks.task import NO_TARGET, Array, Task

if TYPE_CHECKING:
    from torch import Tensor


class PerToken(Task):
    """Cross-entropy per token; outputs are `(B, T, K)`, targets `(B, T)`."""

    outputs = "a logit per class"
    has_row_classes = False
    per_token = True

    def num_outputs(self, num_classes: int) -> int:
        """Return one per class: a tag, or a token of the vocabulary."""
        return num_classes

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the shares of the classes among the targets, of which the most frequent one is the prediction."""
        return classes.shares(train[train != NO_TARGET], shape, num_classes)

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, T)` zeros, as whole numbers."""
        import torch

        return torch.zeros(inputs.shape, device=inputs.device, dtype=torch.int64)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(B * T, K)` and classes `(B * T,)`, as `torch.nn.CrossEntropyLoss` takes them."""
        return outputs.flatten(0, 1), targets.flatten()

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy per token, a mean over the tokens of all rows that have a target."""
        from torch.nn import functional as F

        return F.cross_entropy(*self.natural(outputs, targets), ignore_index=NO_TARGET, label_smoothing=smoothing)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of all classes of every token, `(..., B, T, K)`."""
        import torch

        return torch.softmax(outputs.double(), dim=-1)

    def loss_of(self, predictions: Array, targets: Array, scale: float) -> float:
        """Return the cross-entropy per token of probabilities `(N, T, K)`."""
        has_target = targets != NO_TARGET
        return super().loss_of(predictions[has_target], targets[has_target], scale)

    def measure(self, metric: Metric, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return a metric of C members, `(C,)` in float64 on the CPU, over the tokens that have a target."""
        import torch

        if self.padding is None:
            return super().measure(metric, predictions, targets)
        assert metric.compute is not None
        tokens = [targets[member] != NO_TARGET for member in range(len(targets))]
        members = zip(predictions, targets, tokens, strict=True)
        scores = [metric.compute(rows[None, kept], classes[None, kept]) for rows, classes, kept in members]
        return torch.cat(scores).double().cpu()
