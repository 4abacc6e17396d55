"""Loss, score and prediction of a network's outputs, per kind of problem; plain torch functions for one trial.

Shapes: outputs `(B, K)`, targets `(B,)`; `B` examples, `K` outputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from evalbench.workloads.dataset import Kind


def loss_function(kind: Kind) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean training loss: binary cross-entropy on one logit, cross-entropy, or squared error."""
    return {Kind.BINARY: _binary, Kind.MULTICLASS: _multiclass, Kind.REGRESSION: _regression}[kind]


def score(kind: Kind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return what is watched on validation rows: accuracy, or R². Outputs `(..., B, K)`, result `(...)`."""
    if kind is Kind.REGRESSION:
        residual = (outputs.squeeze(-1) - targets).square().mean(-1)
        return 1 - residual / targets.var(-1, correction=0)
    chosen = (outputs.squeeze(-1) > 0).long() if kind is Kind.BINARY else outputs.argmax(-1)
    return (chosen == targets).float().mean(-1)


def predict(kind: Kind, outputs: Tensor) -> Tensor:
    """Return class probabilities `(..., B, classes)` in float64, or numbers `(..., B)`."""
    outputs = outputs.double()
    if kind is Kind.REGRESSION:
        return outputs.squeeze(-1)
    if kind is Kind.BINARY:
        positive = torch.sigmoid(outputs)
        return torch.cat([1 - positive, positive], dim=-1)
    return torch.softmax(outputs, dim=-1)


def _binary(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets.to(outputs.dtype))


def _multiclass(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy; batched and traced, the same bits as `F.cross_entropy` without its care for ignored targets."""
    return -torch.log_softmax(outputs, dim=-1).gather(-1, targets[:, None]).mean()


def _regression(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs.squeeze(-1), targets)
