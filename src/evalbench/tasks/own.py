"""A metric of the user's own: a function of predictions and targets, or a class of torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalbench.tasks.metric import FRACTION, Array, Compute, Direction, Metric, in_words

if TYPE_CHECKING:
    from torch import Tensor


def own_metric(
    function: Callable[..., Any],
    direction: Direction,
    *,
    name: str | None = None,
    unit: str = "",
    best: float | None = None,
    words: str | None = None,
    call: Callable[..., Any] | None = None,
) -> Metric:
    """Return the metric that a function computes, or a class of torchmetrics.

    Args:
        function: called as `function(predictions, targets)` with NumPy arrays, the rows of one trial; returns a number.
        direction: `maximize` or `minimize`.
        name: by default the function's.
        unit: in which the report shows it; `fraction` is shown in percent.
        best: the best possible score; with it data sets are averaged as skill.
        words: the name for people.
        call: calls `function` with more settings; by default it is called as it is.
    """
    name = name or str(getattr(function, "__name__", type(function).__name__))
    return Metric(
        name,
        direction,
        unit,
        best,
        words or in_words(name),
        span=1.0 if unit == FRACTION else None,
        as_skill=best is not None,
        compute=computed_by(function, call or function),
    )


def is_torchmetrics(target: Any) -> bool:
    """Return whether a target is a class with `update` and `compute`, as those of torchmetrics are."""
    return isinstance(target, type) and hasattr(target, "update") and hasattr(target, "compute")


def computed_by(target: Any, call: Callable[..., Any]) -> Compute:
    """Return how a target computes scores; `call` calls it with its settings and the arguments given.

    It sees one member at a time as NumPy arrays: class probabilities `(N, K)` and classes `(N,)`, probabilities of
    labels and 0 or 1, both `(N, L)`, or two times numbers `(N,)`, or what a task of the user's has in their place. A
    class of torchmetrics gets tensors, and one for two classes the probabilities `(N,)` of the second.
    """

    import torch

    def of_one(predictions: Array, targets: Array) -> float:
        value = call(predictions, targets) if not is_torchmetrics(target) else _measured(call(), predictions, targets)
        return float(value)

    def compute(predictions: Tensor, targets: Tensor) -> Tensor:
        members = zip(predictions.cpu().numpy(), targets.cpu().numpy(), strict=True)
        return torch.tensor([of_one(*member) for member in members], dtype=torch.float64)

    return compute


def _measured(metric: Any, predictions: Array, targets: Array) -> Any:
    import torch

    if any(base.__name__.startswith("Binary") for base in type(metric).__mro__):
        predictions = predictions[:, 1]
    metric.update(torch.as_tensor(predictions).contiguous(), torch.as_tensor(targets))
    return metric.compute()
