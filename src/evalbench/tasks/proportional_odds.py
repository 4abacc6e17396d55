"""Fit proportional odds to C splits at once: the linear model of classes that have an order (McCullagh 1980).

The logit of being at most in class `k` is `threshold[k] - inputs @ weights`. Weights have the penalty of scikit-learn's
`LogisticRegression()`; statsmodels' `OrderedModel` has none, and no optimum if columns are many or dependent.

Shapes: `C` splits, `N` training rows, `D` columns, `K` classes, `P = K - 1 + D` weights, the thresholds first.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from evalbench.tasks.linear import ACCEPTED, MOST_PRECONDITIONED, ROUGH, TOLERANCE, Pilot, minimized
from evalbench.tasks.metric import Array

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


def pilot(inputs: Array, targets: Array, num_classes: int, size: float) -> Pilot:
    """Return the rough fit to inputs `(N, D)` and targets `(N,)`, with the penalty of a split of `size` rows."""
    import torch

    odds = _ProportionalOdds(torch.as_tensor(inputs)[None], torch.as_tensor(targets)[None], num_classes, size)
    start = Pilot(odds.start()[0], odds.inverse_hessian(odds.start()))
    weights, _ = minimized(odds, start, ROUGH)
    return Pilot(weights[0], odds.inverse_hessian(weights))


def probabilities(name: str, train: Array, targets: Array, test: Array, num_classes: int, begin: Pilot) -> Array:
    """Return the probabilities of the classes `(C, rows, K)` for `test`, `(C, rows, D)`.

    `train` is `(C, N, D)`, `targets` `(C, N)`. A class that a split lacks has none there. The log says whether a fit to
    the table `name` did not converge.
    """
    import torch

    odds = _ProportionalOdds(torch.as_tensor(train), torch.as_tensor(targets), num_classes, train.shape[1])
    weights, largest = minimized(odds, begin, TOLERANCE)
    fitted: Array = odds.probabilities(weights, torch.as_tensor(test)).numpy()
    for split in range(len(train)):
        present = np.unique(targets[split])
        if len(present) < num_classes:
            fitted[split] = _of_some(name, train[split], targets[split], test[split], present, num_classes)
        elif largest[split] > ACCEPTED:
            log.warning("%s: a linear reference did not converge: it is where its fit ended", name)
    return fitted


def _of_some(name: str, train: Array, targets: Array, test: Array, present: Array, num_classes: int) -> Array:
    """Return the probabilities `(rows, K)` of a split with some of the classes."""
    every = np.zeros((len(test), num_classes))
    if len(present) == 1:
        every[:, present] = 1.0
        return every
    codes, count = np.searchsorted(present, targets), len(present)
    begin = pilot(train, codes, count, len(train))
    every[:, present] = probabilities(name, train[None], codes[None], test[None], count, begin)[0]
    return every


class _ProportionalOdds:
    """The mean negative log-likelihood of C splits, plus half of the squared weights without thresholds over `size`.

    With `u` and `l`, the logits of being at most in a row's class and in the one below, the probability of the class is
    `F(u) - F(l) = F(u) F(-l) (1 - exp(l - u))`, whose last factor is that of two thresholds.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, num_classes: int, size: float) -> None:
        from torch.nn import functional as F

        self.inputs = inputs  # (C, N, D)
        self._num_thresholds = num_classes - 1
        self._is_class = F.one_hot(targets, num_classes).double()  # (C, N, K)
        self._shares = self._is_class.mean(1)  # (C, K)
        self._upper = targets.clamp(max=num_classes - 2)  # (C, N), the threshold above a row's class
        self._lower = (targets - 1).clamp(min=0)
        self._penalty = inputs.new_full((self._num_thresholds + inputs.shape[2],), 1 / size)  # (P,)
        self._penalty[: self._num_thresholds] = 0

    def start(self) -> Tensor:
        """Return the weights `(C, P)` without inputs: thresholds as the shares of the classes say."""
        import torch

        shares = (self._shares + 1e-3) / (1 + 1e-3 * self._shares.shape[1])  # so that thresholds are apart
        thresholds = torch.logit(shares.cumsum(1)[:, :-1])
        return torch.cat([thresholds, self.inputs.new_zeros(len(shares), self.inputs.shape[2])], dim=1)

    def probabilities(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Return those of the classes `(C, rows, K)` for inputs `(C, rows, D)`; equal rows get equal bits."""
        import torch

        thresholds, slopes = weights[:, : self._num_thresholds], weights[:, self._num_thresholds :]
        shift = (inputs * slopes[:, None]).sum(-1, keepdim=True)
        infinity = weights.new_full((len(weights), 1), torch.inf)
        bounds = torch.cat([-infinity, thresholds, infinity], dim=1)[:, None] - shift  # (C, rows, K + 1)
        between = -torch.expm1(-bounds.diff(dim=-1))
        return bounds[..., 1:].sigmoid() * (-bounds[..., :-1]).sigmoid() * between

    def value(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective `(C,)`, not a number for thresholds out of order, and its gradient `(C, P)`."""
        import torch
        from torch.nn import functional as F

        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            upper, lower = self._bounds(weights)
            told = self._is_class[..., 1:-1].sum(-1)
            inside = F.logsigmoid(upper) * (self._is_class[..., 0] + told)
            inside = inside + F.logsigmoid(-lower) * (self._is_class[..., -1] + told)  # (C, N)
            apart = torch.log(-torch.expm1(-weights[:, : self._num_thresholds].diff()))  # (C, K - 2)
            value = (self._penalty * weights.square()).sum(1) / 2 - (self._shares[:, 1:-1] * apart).sum(1)
            value = value - inside.mean(1)
            (gradient,) = torch.autograd.grad(value.sum(), weights)
        return value.detach(), gradient

    def _bounds(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits `(C, N)` of being at most in the class of each row, and in the one below."""
        thresholds, slopes = weights[:, : self._num_thresholds], weights[:, self._num_thresholds :]
        shift = (self.inputs @ slopes[..., None]).squeeze(-1)
        return thresholds.gather(1, self._upper) - shift, thresholds.gather(1, self._lower) - shift

    def inverse_hessian(self, weights: Tensor) -> Tensor | None:
        """Return `(P, P)` at weights `(1, P)`; None if weights are many, or it is not positive definite."""
        import torch

        if weights.shape[1] > MOST_PRECONDITIONED:
            return None
        hessian = torch.diag(self._penalty + 1e-6)  # thresholds of classes without rows may shift
        sides = zip(self._bounds(weights), (self._is_class[0, :, :-1], self._is_class[0, :, 1:]), strict=True)
        for bound, chosen in sides:
            design = torch.cat([chosen, -self.inputs[0] * chosen.sum(1, keepdim=True)], dim=1)  # (N, P)
            curvature = bound[0].sigmoid() * (-bound[0]).sigmoid()
            hessian += (design * curvature[:, None]).T @ design / len(design)
        thresholds = weights[0, : self._num_thresholds]
        steps = torch.eye(len(thresholds), dtype=weights.dtype).diff(dim=0)  # (K - 2, K - 1)
        curvature = self._shares[0, 1:-1] / (4 * torch.sinh(thresholds.diff() / 2).square())
        hessian[: len(thresholds), : len(thresholds)] += (steps * curvature[:, None]).T @ steps
        factor, failed = torch.linalg.cholesky_ex(hessian)
        return None if failed else torch.cholesky_inverse(factor)
