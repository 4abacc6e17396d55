"""Measure all members on their validation rows: loss, score, and the metric that picks the epoch.

Shapes: `C` members, `V` validation rows, `K` outputs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from evalbench.engine.data import Data
from evalbench.engine.members import Validated
from evalbench.tasks import Metric
from evalbench.workloads import Dataset


class Validation:
    """Measure outputs by the task's loss and by the metrics that the data set is judged by."""

    def __init__(self, dataset: Dataset, data: Data) -> None:
        self._dataset, self._data = dataset, data

    def __call__(self, outputs: Tensor, rows: Tensor, member_indices: Sequence[int]) -> list[Validated]:
        """Return the measurements of outputs `(C, V, K)` for rows `(C, V)`, by member.

        Raises `ValueError` if a metric of the user's choice is undefined.
        """
        task, monitor, primary = self._dataset.kind, self._dataset.monitor, self._dataset.primary
        targets = self._data.targets_of(rows, member_indices)
        losses = vmap(task.loss)(outputs, targets).double().tolist()
        if primary is None and monitor is None:
            scores = task.score(outputs, targets).double().tolist()
            return [Validated(*measured) for measured in zip(losses, scores, strict=True)]
        finite = np.isfinite(losses)
        predictions = self._data.unscaled(task.predict(outputs), member_indices).cpu().numpy()
        flat = task.rows_of(predictions, self._dataset.targets[rows.cpu().numpy()])

        def measure(metric: Metric) -> NDArray[np.float64]:
            assert metric.compute is not None
            values = np.full(len(losses), np.nan)
            values[finite] = metric.compute(*(part[finite] for part in flat))
            if np.isnan(values[finite]).any():
                raise ValueError(f"{metric.name} is undefined on validation rows: choose another metric")
            return values

        scores = task.score(outputs, targets).double().tolist() if primary is None else measure(primary).tolist()
        monitored = [None] * len(losses) if monitor is None else (-monitor.sign * measure(monitor)).tolist()
        return [Validated(*measured) for measured in zip(losses, scores, monitored, strict=True)]
