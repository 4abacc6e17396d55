"""Three classes or more that have an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalbench.errors import DataError
from evalbench.tasks import classes, proportional_odds
from evalbench.tasks.metric import METRICS
from evalbench.tasks.task import Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor


class Ordinal(Task):
    """Cross-entropy of a continuation-ratio model; targets are the numbers of the classes, the lowest being 0.

    Output `k` of K - 1 is the logit of being above class `k`, given at least class `k` (Fienberg 1980; in networks
    CORN: Shi, Cao and Raschka 2023). So any network gives a distribution over the classes, and its cumulative
    probabilities are in order.
    """

    name = "ordinal"
    outputs = "a logit per class"
    metrics = ("quadratic_kappa", "rank_mae", "accuracy", "log_loss")

    def num_outputs(self, num_classes: int) -> int:
        """Return one per step from a class to the next."""
        return num_classes - 1

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless each row has a class, each class enough rows, and there are three or more."""
        classes.check_classes(table)
        if len(table.classes) < 3:
            raise DataError(f"{table.name}: two classes have no order that matters: say dataset.kind=classification")

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the shares of the classes."""
        return classes.shares(train, shape, num_classes)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return proportional odds."""
        num_classes, vocabulary = len(table.classes), table.vocabulary
        begin = proportional_odds.pilot(classes.seen(inputs, vocabulary), targets, num_classes, size)

        def predict(train: Array, targets: Array, test: Array) -> Array:
            train, test = classes.seen(train, vocabulary), classes.seen(test, vocabulary)
            return proportional_odds.probabilities(table.name, train, targets, test, num_classes, begin)

        return predict

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B,)` zeros, as whole numbers."""
        import torch

        return torch.zeros(len(inputs), device=inputs.device, dtype=torch.int64)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities `(B, K)` and classes `(B,)`, as `torch.nn.CrossEntropyLoss` takes them."""
        return _log_probabilities(outputs), targets

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy."""
        from torch.nn import functional as F

        return F.cross_entropy(*self.natural(outputs, targets), label_smoothing=smoothing)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the quadratic weighted kappa."""
        compute = METRICS["quadratic_kappa"].compute
        assert compute is not None
        return compute(self.predict(outputs), targets)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of all classes."""
        return _log_probabilities(outputs.double()).exp()


def _log_probabilities(outputs: Tensor) -> Tensor:
    """Return the logarithms of the probabilities of classes `(..., K)`, given outputs `(..., K - 1)`."""
    import torch
    from torch.nn import functional as F

    steps, none = outputs.shape[-1], torch.zeros_like(outputs[..., :1])
    passed = torch.ones(steps + 1, steps, device=outputs.device, dtype=outputs.dtype).tril(-1)  # [k, j]: j < k
    reached = (F.logsigmoid(outputs)[..., None, :] * passed).sum(-1)
    return reached + torch.cat([F.logsigmoid(-outputs), none], dim=-1)
