"""Loss, score and prediction of a network's outputs, per kind of problem; plain torch functions for one trial.

Shapes: outputs `(B, K)`, targets `(B,)`; `B` examples, `K` outputs. Language: outputs `(B, T, K)`, targets `(B, T)`;
`T` places in a window.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from evalbench.workloads.dataset import Kind


def loss_function(kind: Kind) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean training loss: binary cross-entropy on one logit, cross-entropy (per token), squared error."""
    return {
        Kind.BINARY: _binary,
        Kind.MULTICLASS: _multiclass,
        Kind.REGRESSION: _regression,
        Kind.LANGUAGE: _language,
    }[kind]


def training_loss(kind: Kind, label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss to train on; smoothing moves targets that share of the way to uniform (Szegedy et al. 2016)."""
    if label_smoothing == 0 or kind is Kind.REGRESSION:
        return loss_function(kind)

    def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
        if kind is Kind.BINARY:
            return _binary(outputs, targets * (1 - label_smoothing) + label_smoothing / 2)
        classes = outputs.shape[-1]
        return F.cross_entropy(outputs.reshape(-1, classes), targets.flatten(), label_smoothing=label_smoothing)

    return smoothed


def score(kind: Kind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return what is watched on validation rows: accuracy, or R². Outputs with any leading axes, the result's."""
    if kind is Kind.REGRESSION:
        residual = (outputs.squeeze(-1) - targets).square().mean(-1)
        return 1 - residual / targets.var(-1, correction=0)
    chosen = (outputs.squeeze(-1) > 0).long() if kind is Kind.BINARY else outputs.argmax(-1)
    right = (chosen == targets).to(outputs.dtype)
    return right.mean((-2, -1)) if kind is Kind.LANGUAGE else right.mean(-1)


def predict(kind: Kind, outputs: Tensor) -> Tensor:
    """Return class probabilities `(..., B, classes)`, token probabilities `(..., B, T, K)` or numbers `(..., B)`.

    In float64, with any leading axes.
    """
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
    """Cross-entropy without care for ignored targets; for few classes four times as fast as through log-softmax."""
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return (torch.logsumexp(outputs, dim=-1) - outputs.gather(-1, targets[:, None]).squeeze(-1)).mean()


def _regression(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs.squeeze(-1), targets)


def _language(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
