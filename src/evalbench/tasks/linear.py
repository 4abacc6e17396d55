"""Fit the linear references of C splits at once, each to its own optimum, in float64.

No operation mixes splits. So a split's bits depend on the shapes, its own rows and its position among the C, never on
the splits beside it.

Shapes: `C` splits, `N` training rows, `D` columns, `K` classes, `P` weights: `D + 1` for two classes, else
`K (D + 1)`, each class's weights with its intercept at their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from evalbench.tasks.metric import Array

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 3e-7
"""The largest absolute derivative of the mean loss at which a fit ends."""
ROUGH = 1e-4
"""The largest derivative at which a pilot fit ends."""
ACCEPTED = 1e-4
"""The largest derivative of a fit that is used: the one at which scikit-learn ends."""
MOST_EVALUATIONS = 500
MOST_TRAINED = 2**25
"""Inputs of the training rows of a fit: of more rows, evenly spaced ones are taken, so that a fit takes about 1 GiB."""
REMEMBERED = 6
"""Steps from which L-BFGS estimates the curvature."""
MOST_PRECONDITIONED = 1024
"""The largest number of weights for which an inverse Hessian `(P, P)` is computed."""


def ridge(train: Array, targets: Array, test: Array) -> Array:
    """Return predictions of scikit-learn's `Ridge()` for `test`, `(C, rows, D)`: `(C, rows)`, or `(C, rows, L)`.

    `train` is `(C, N, D)`, `targets` `(C, N)`, or `(C, N, L)` for several targets. The smaller one of the systems
    `(D, D)` and `(N, N)` is solved.
    """
    import torch

    inputs, known = torch.as_tensor(train), torch.as_tensor(targets.reshape(*targets.shape[:2], -1)).double()
    center, level = inputs.mean(1, keepdim=True), known.mean(1, keepdim=True)
    inputs, known = inputs - center, known - level
    is_wide = inputs.shape[1] < inputs.shape[2]
    gram = inputs @ inputs.mT if is_wide else inputs.mT @ inputs
    factor = torch.linalg.cholesky(gram + torch.eye(gram.shape[1], dtype=gram.dtype))
    solved = torch.cholesky_solve(known if is_wide else inputs.mT @ known, factor)
    weights = inputs.mT @ solved if is_wide else solved
    predictions: Array = ((torch.as_tensor(test) - center) @ weights + level).numpy()
    return predictions.reshape(*test.shape[:2], *targets.shape[2:])


@dataclass(frozen=True)
class Pilot:
    """A rough fit to rows of the whole table, near which the fits to its splits lie.

    They begin at its weights, and its inverse Hessian preconditions them. Both shorten the way to an optimum, and leave
    the optimum as it is.
    """

    weights: Tensor  # (P,)
    inverse: Tensor | None  # (P, P)

    @classmethod
    def of(cls, inputs: Array, targets: Array, num_classes: int, size: int) -> Pilot:
        """Return the fit to inputs `(N, D)` and targets `(N,)`, with the penalty of a split of `size` training rows.

        Return zeros if the weights are many or a class is absent.
        """
        import torch

        regression = _Regression(torch.as_tensor(inputs)[None], torch.as_tensor(targets)[None], num_classes, size)
        none = cls(regression.inputs.new_zeros(regression.num_weights), None)
        if regression.num_weights > MOST_PRECONDITIONED or len(set(targets.tolist())) < num_classes:
            return none
        weights, _ = minimized(regression, none, ROUGH)
        return cls(weights[0], regression.inverse_hessian(weights))

    def times(self, gradient: Tensor) -> Tensor:
        """Return gradients `(C, P)` times the inverse Hessian."""
        return gradient if self.inverse is None else gradient @ self.inverse


def logistic(train: Array, targets: Array, test: Array, num_classes: int, pilot: Pilot) -> tuple[Array, Array]:
    """Return the class probabilities `(C, rows, K)` of scikit-learn's `LogisticRegression()` at its optimum.

    Also return whether each split has converged, `(C,)`. `train` is `(C, N, D)`, `targets` `(C, N)` with every class in
    each split, `test` `(C, rows, D)`.
    """
    import torch

    regression = _Regression(torch.as_tensor(train), torch.as_tensor(targets), num_classes, train.shape[1])
    weights, largest = minimized(regression, pilot, TOLERANCE)
    inputs = _with_ones(torch.as_tensor(test))  # (C, rows, D + 1)
    logits = [(inputs * of_class[:, None]).sum(-1) for of_class in regression.by_class(weights).unbind(1)]
    probabilities: Array = torch.softmax(torch.stack(logits, dim=-1), dim=-1).numpy()  # equal rows get equal bits
    return probabilities, (largest <= ACCEPTED).numpy()


class PenalizedLoss(Protocol):
    """What a fit to C splits minimizes."""

    inputs: Tensor
    """`(C, N, …)`."""

    def value(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective `(C,)` and its gradient `(C, P)`; a step to no number is not taken."""


class _Regression:
    """The mean cross-entropy of C splits, plus half of the squared weights without intercepts over `size`."""

    def __init__(self, inputs: Tensor, targets: Tensor, num_classes: int, size: int) -> None:
        self.inputs = _with_ones(inputs)  # (C, N, D + 1)
        self._columns = self.inputs.mT.contiguous()  # (C, D + 1, N): products with it are faster
        self._targets = targets[:, None]  # (C, 1, N)
        self._num_logits = 1 if num_classes == 2 else num_classes
        penalty = self.inputs.new_full((self._num_logits, self.inputs.shape[2]), 1 / size)
        penalty[:, -1] = 0
        self._penalty = penalty.flatten()  # (P,)
        self.num_weights = len(self._penalty)

    def by_class(self, weights: Tensor) -> Tensor:
        """Return weights `(C, P)` as `(C, K, D + 1)`: zeros for the first of two classes."""
        import torch

        table = weights.view(len(weights), self._num_logits, -1)
        return torch.cat([torch.zeros_like(table), table], dim=1) if self._num_logits == 1 else table

    def value(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective `(C,)` and its gradient `(C, P)`."""
        logits = self.by_class(weights) @ self._columns
        logits -= logits.amax(1, keepdim=True)
        right = logits.gather(1, self._targets)
        shares = logits.exp_()  # in place: this is most of the time beside the products
        total = shares.sum(1, keepdim=True)
        shares /= total
        shares.scatter_add_(1, self._targets, shares.new_full((), -1).expand_as(self._targets))
        shrunk = self._penalty * weights
        value = (shrunk * weights).sum(1) / 2 + (total.log() - right).mean((1, 2))
        gradient = shares[:, -self._num_logits :] @ self.inputs
        return value, gradient.flatten(1) / self.inputs.shape[1] + shrunk

    def inverse_hessian(self, weights: Tensor) -> Tensor | None:
        """Return `(P, P)` at weights `(1, P)`; None if it is not positive definite."""
        import torch

        shares = torch.softmax(self.by_class(weights) @ self._columns, dim=1)[0, -self._num_logits :]
        inputs, rows = self.inputs[0], []
        for index, share in enumerate(shares):
            mixed = -share * shares  # (M, N)
            mixed[index] += share
            rows.append((mixed[:, None] * inputs.T) @ inputs / len(inputs))  # (M, D + 1, D + 1)
        hessian = torch.stack(rows).transpose(1, 2).reshape(self.num_weights, self.num_weights)
        factor, failed = torch.linalg.cholesky_ex(hessian + torch.diag(self._penalty + 1e-6))  # intercepts may shift
        return None if failed else torch.cholesky_inverse(factor)


def minimized(regression: PenalizedLoss, pilot: Pilot, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the weights at the optimum `(C, P)` and the largest absolute derivative there `(C,)`.

    By L-BFGS (Nocedal and Wright 2006, algorithm 7.5), with steps that are halved until the objective falls by Armijo's
    rule. A split whose derivatives or steps have become small keeps its weights.
    """
    import torch

    weights = pilot.weights.repeat(len(regression.inputs), 1)
    value, gradient = regression.value(weights)
    product, step, history = pilot.times(gradient), torch.ones_like(value), _History(weights)
    for _ in range(MOST_EVALUATIONS):
        ended = (gradient.abs().amax(1) <= tolerance) | (step < 1e-10)
        if ended.all():
            break
        move = -step[:, None] * history.direction(gradient, product)
        reached, slope = regression.value(weights + move)
        allowed = 1e-4 * (gradient * move).sum(1) + 1e-14 * value.abs()
        accepted = (reached <= value + allowed) & ~ended
        chosen, sloped = accepted[:, None], pilot.times(slope)
        history.add(*(torch.where(chosen, new, 0.0) for new in (move, slope - gradient, sloped - product)))
        weights, gradient = torch.where(chosen, weights + move, weights), torch.where(chosen, slope, gradient)
        product, value = torch.where(chosen, sloped, product), torch.where(accepted, reached, value)
        step = torch.where(accepted, 1.0, torch.where(ended, step, step / 2))
    return weights, gradient.abs().amax(1)


class _History:
    """The last steps of C splits, each `(C, P)`; a step that a split did not take is zero there."""

    def __init__(self, weights: Tensor) -> None:
        self._steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # the newest first
        self._scale = weights.new_ones((len(weights), 1))

    def add(self, move: Tensor, change: Tensor, product: Tensor) -> None:
        """Remember a step, the change of the gradient, and the preconditioner times that change."""
        import torch

        curvature = (move * change).sum(1, keepdim=True)
        rate = torch.where(curvature > 0, 1 / curvature, 0.0)
        length = (change * product).sum(1, keepdim=True)
        self._scale = torch.where((rate > 0) & (length > 0), curvature / length, self._scale)
        self._steps = [(move, change, product, rate), *self._steps[: REMEMBERED - 1]]

    def direction(self, gradient: Tensor, product: Tensor) -> Tensor:
        """Return the inverse Hessian as the steps suggest it times the gradient, given the preconditioner times it."""
        factors = []
        for move, change, changed, rate in self._steps:
            factors.append(rate * (move * gradient).sum(1, keepdim=True))
            gradient, product = gradient - factors[-1] * change, product - factors[-1] * changed
        direction = self._scale * product
        for (move, change, _, rate), factor in zip(reversed(self._steps), reversed(factors), strict=True):
            direction = direction + (factor - rate * (change * direction).sum(1, keepdim=True)) * move
        return direction


def _with_ones(inputs: Tensor) -> Tensor:
    """Return inputs with a column of ones at the end, for the intercept."""
    import torch

    return torch.cat([inputs, inputs.new_ones((*inputs.shape[:-1], 1))], dim=-1)
