"""The contract of a kind of problem: outputs, loss, predictions, reference predictors, metrics.

Shapes: `B` examples, `K` outputs, `N` rows, `T` tokens of a row, `L` columns of targets, `D` columns of inputs; `...`
stands for any leading axes. What targets and outputs look like depends on the task alone:

- one class or number per row: targets `(..., B)`, outputs `(..., B, K)`;
- one class per token (`per_token`): targets `(..., B, T)`, outputs `(..., B, T, K)`;
- several labels or numbers per row (`per_column`): targets `(..., B, L)`, outputs `(..., B, K)` with K = L.

Only the methods that take tensors need torch, so that planning, help and the report do without it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numpy.typing import NDArray

from evalbench.tasks.metric import METRICS, Metric

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
Predictor = Callable[[Array, Array, Array], Array]
"""Predictions for the test inputs of C splits, given their training inputs `(C, N, D)` and targets, and test inputs."""
NO_TARGET = -100
"""The target of padding, which is in no loss and no metric: the `ignore_index` of `torch.nn.CrossEntropyLoss`."""
MOST_NUMBERS = 2**22
"""Numbers among the predictions of all members that are measured at a time."""


class Rows(Protocol):
    """The part of a data set that a task checks, see `Dataset`."""

    # fmt: off
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def inputs(self) -> Array: ...  # noqa: D102
    @property
    def targets(self) -> Array: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def vocabulary(self) -> int | None: ...  # noqa: D102
    @property
    def groups(self) -> Array | None: ...  # noqa: D102
    # fmt: on


class Task(ABC):
    """A kind of problem, without a state."""

    name: ClassVar[str]
    """Part of a data set's fingerprint."""
    metrics: tuple[str | Metric, ...]
    """The metrics that are measured on test rows, registered ones by their names, the primary one first."""
    outputs: ClassVar[str]
    """What `natural` returns: `one logit`, `a logit per class`, `numbers` or `log rates`."""
    is_classification: ClassVar[bool] = True
    """Targets are indices of classes, tokens, or labels (0 or 1), and predictions probabilities; otherwise numbers."""
    scales_targets: ClassVar[bool] = False
    """Targets are scaled by those of the training rows, see `target_scale`."""
    has_row_classes: ClassVar[bool] = True
    """Each row has one class, so that splits can keep the shares of the classes."""
    per_token: ClassVar[bool] = False
    """Inputs are tokens, and each has a target of its own."""
    padding: int | None = None
    """The token that fills short rows up, whose target is `NO_TARGET`; None: all rows have one length."""
    per_column: ClassVar[bool] = False
    """Rows have several targets, each in a column of its own; the classes are the names of these columns."""
    scores_outputs: ClassVar[bool] = True
    """`score` tells the primary metric of outputs; otherwise it is measured on predictions."""
    answers: ClassVar[bool] = False
    """Inputs end with texts that a network is to write, see `Generation`."""
    takes_weights: ClassVar[bool] = True
    """Weights of classes, mixed rows, label smoothing and other losses have a meaning."""

    @property
    def measured(self) -> list[Metric]:
        """Return its metrics, the primary one first."""
        return [METRICS[metric] if isinstance(metric, str) else metric for metric in self.metrics]

    @property
    def metric(self) -> Metric:
        """Return the primary metric unless the user names another."""
        return self.measured[0]

    @abstractmethod
    def num_outputs(self, num_classes: int) -> int:
        """Return the number of outputs `K` that a network needs, for each token if targets are tokens."""

    @abstractmethod
    def check(self, table: Rows) -> None:
        """Raise `DataError` for targets of which no split could be used."""

    @abstractmethod
    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the predictions of a predictor without inputs for targets of a shape, given the training targets."""

    def trivial_for(self, train: Array, truth: Array, num_classes: int) -> Array:
        """Return the predictions of a predictor without inputs for rows whose targets are `truth`.

        Their shape alone counts, unless predictions are probabilities of the truth.
        """
        return self.trivial(train, truth.shape, num_classes)

    @abstractmethod
    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor | None:
        """Return the linear model of splits with `size` training rows, of numbers or tokens; None: there is none.

        `inputs` and `targets` are many rows of the whole table: only to begin near the splits' solutions.
        """

    def target_scale(self, train: Array) -> tuple[Any, Any]:
        """Return shift and scale of the targets of training rows: numbers, or one for each column `(L,)`.

        Networks train on `(targets - shift) / scale`.
        """
        return 0.0, 1.0

    def fitted_to(self, targets: Array) -> Array:
        """Return what estimators are fitted to."""
        return targets

    def output_shape(self, inputs: Tensor, num_outputs: int) -> tuple[int, ...]:
        """Return the shape of a network's outputs for inputs `(B, D)`."""
        return (*inputs.shape[: 2 if self.per_token else 1], num_outputs)

    @abstractmethod
    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return targets of zeros for inputs `(B, D)` of a network with `num_outputs` outputs."""

    @abstractmethod
    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and targets of `B` examples in the shapes that PyTorch's own losses take.

        All targets of an example, its tokens or columns, follow one another in the first axis.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss `()` of outputs `(B, K)`.

        If it takes weights, its third argument `smoothing` moves the targets of classes that share of the way to
        uniform (Szegedy et al. 2016).
        """

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the primary metric `(...)` of outputs `(..., B, K)` in their own precision."""

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Return predictions in float64.

        Probabilities of classes `(..., B, classes)` or of labels `(..., B, L)`, or scaled numbers in the shape of the
        targets.
        """

    def tested(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Return the outputs by which a network, a function of inputs `(..., B, D)`, is tested."""
        return forward(inputs)

    def needs_test(self, metric: Metric) -> bool:
        """Return whether a metric means nothing of outputs that are not `tested`."""
        return False

    def loss_of(self, predictions: Array, targets: Array, scale: Any) -> float:
        """Return `loss` of predictions and targets in the target's own unit; `scale` is that of `target_scale`."""
        import torch

        compute = METRICS["log_loss"].compute
        assert compute is not None
        return float(compute(torch.as_tensor(predictions), torch.as_tensor(targets)))

    def rows_of(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and targets of `N` rows or `N` tokens as metrics take them, with the same leading axes."""
        return predictions, targets

    def evaluate(self, predictions: Array, targets: Array, metrics: Sequence[Metric] = ()) -> dict[str, float]:
        """Return metrics on test rows by name, such as `test/accuracy`, the task's if none is given.

        A metric that is undefined there is left out.

        `predictions` and `targets` as `predict` returns them, numbers in the target's own unit.
        """
        return self.evaluate_all(predictions[None], targets[None], metrics)[0]

    def evaluate_all(
        self, predictions: Array | Tensor, targets: Array | Tensor, metrics: Sequence[Metric] = ()
    ) -> list[dict[str, float]]:
        """Return the metrics of C members, see `evaluate`: arrays or tensors with a row per member."""
        import torch

        measured = [metric for metric in metrics or self.measured if metric.compute]
        predictions, targets = torch.as_tensor(predictions), torch.as_tensor(targets)
        scores = {metric.on("test"): self.measure(metric, predictions, targets) for metric in measured}
        members = zip(*(values.tolist() for values in scores.values()), strict=True)
        named = (dict(zip(scores, member, strict=True)) for member in members)
        return [{name: score for name, score in member.items() if not math.isnan(score)} for member in named]

    def measure(self, metric: Metric, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return a metric of C members, `(C,)` in float64 on the CPU; NaN where it is undefined."""
        import torch

        assert metric.compute is not None
        count = max(1, MOST_NUMBERS // max(1, predictions[0].numel()))
        parts = zip(torch.split(predictions, count), torch.split(targets, count), strict=True)
        return torch.cat([metric.compute(*self.rows_of(*part)).double() for part in parts]).cpu()
