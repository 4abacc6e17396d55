"""Measure all members on their validation rows: loss, score, and the metric that picks the epoch.

Shapes: `C` members, `V` validation rows, `K` outputs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from evalbench.engine.data import Data
from evalbench.engine.members import Validated
from evalbench.tasks import Metric
from evalbench.tasks.task import MOST_NUMBERS
from evalbench.workloads import Dataset


class Validation:
    """Measure outputs by the task's loss and by the metrics that the data set is judged by."""

    def __init__(self, dataset: Dataset, data: Data) -> None:
        self._dataset, self._data = dataset, data
        named = (metric for metric in (dataset.primary, dataset.monitor) if metric is not None)
        self.tests = any(map(dataset.kind.needs_test, named))
        """Whether it takes the outputs of a test."""
        self.written: dict[int, Tensor] = {}
        """The predictions of answers by member index, from the last time that `metrics` measured them."""

    def __call__(self, outputs: Tensor, rows: Tensor, member_indices: Sequence[int]) -> list[Validated]:
        """Return the measurements of outputs `(C, V, K)` for rows `(C, V)`, by member.

        Raises `ValueError` if a metric of the user's choice is undefined.
        """
        task, monitor, primary = self._dataset.kind, self._dataset.monitor, self._dataset.primary
        primary = primary or (None if task.scores_outputs else task.metric)
        targets = self._data.targets_of(rows, member_indices)
        losses = vmap(task.loss)(outputs, targets).double().tolist()
        if primary is None and monitor is None:
            scores = task.score(outputs, targets).double().tolist()
            return [Validated(*measured) for measured in zip(losses, scores, strict=True)]
        finite = torch.tensor(losses).isfinite()
        kept = finite.to(outputs.device)
        predictions = self._data.unscaled(task.predict(outputs), member_indices)[kept]

        def measure(metric: Metric) -> Tensor:
            values = torch.full((len(losses),), math.nan, dtype=torch.float64)
            values[finite] = task.measure(metric, predictions, self._data.targets[rows[kept]])
            if values[finite].isnan().any():
                raise ValueError(f"{metric.name} is undefined on validation rows: choose another metric")
            return values

        scores = task.score(outputs, targets).double().tolist() if primary is None else measure(primary).tolist()
        monitored = [None] * len(losses) if monitor is None else (-monitor.sign * measure(monitor)).tolist()
        return [Validated(*measured) for measured in zip(losses, scores, monitored, strict=True)]

    def metrics(self, outputs: Tensor, rows: Tensor, member_indices: Sequence[int]) -> list[dict[str, float]]:
        """Return the metrics of outputs `(C, V, K)` for rows `(C, V)` by name, such as `test/accuracy`, by member."""
        metrics: list[dict[str, float]] = []
        count = max(1, MOST_NUMBERS // max(1, outputs[:1].numel()))
        for first in range(0, len(outputs), count):
            part = slice(first, first + count)
            predictions = self._data.unscaled(self._dataset.kind.predict(outputs[part]), member_indices[part])
            if self._dataset.kind.answers:
                self.written |= dict(zip(member_indices[part], predictions.cpu(), strict=True))
            metrics += self._dataset.evaluate_all(predictions, self._data.targets[rows[part]])
        return metrics
