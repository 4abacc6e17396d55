"""The rows of a trial, and its result from predictions for them, the same for all engines that predict.

Shapes: `N` rows, `K` classes, `L` columns of targets.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench import workloads
from evalbench.config import Config
from evalbench.seeds import Role
from evalbench.trial import CurvePoint, Entrant, State, TrialResult
from evalbench.workloads import Dataset, Split, fit_scaling, references


@dataclass(frozen=True, eq=False)
class Predicted:
    """Row numbers `(N,)`, and the predictions for them: probabilities `(N, K)` or numbers `(N,)`, or both `(N, L)`."""

    rows: NDArray[np.int64]
    predictions: NDArray[Any]


def split_of(config: Config, dataset: Dataset, entrant: Entrant) -> Split:
    """Return the split of a trial."""
    return workloads.split_of(dataset, config.split, config.root_seed, entrant.index(Role.SPLIT), entrant.phase)


def result_of(
    dataset: Dataset, split: Split, predicted: Mapping[str, Predicted], without: Container[str] = ()
) -> TrialResult:
    """Return the result of a trial that is trained at once, with one point of its curve.

    Args:
        dataset: its data.
        split: its rows.
        predicted: what is predicted for the parts `train` (if it is known), `val` and, unless candidates are tuned,
            `test`.
        without: names of metrics that the predictions say nothing of.
    """
    scored = "test" if "test" in predicted else "val"
    num_train, num_test = len(split.train), len(split.test) or None
    counts: dict[str, Any] = {"num_train": num_train, "num_test": num_test}
    if not all(np.isfinite(part.predictions).all() for part in predicted.values()):
        trivial = references.trivial(dataset, {0: Split(split.train, split.validation, predicted[scored].rows)})[0]
        return TrialResult(State.DIVERGED, _named(trivial, scored), diverged_step=1, **counts)
    measured = {
        part: dataset.evaluate(predicted[part].predictions, dataset.targets[predicted[part].rows])
        for part in dict.fromkeys(("val", scored))
    }
    metrics = {name: value for name, value in measured[scored].items() if name.split("/")[1] not in without}
    train_loss = _loss(dataset, predicted["train"], split) if "train" in predicted else None
    point = CurvePoint(
        1.0, 1, train_loss, _loss(dataset, predicted["val"], split), measured["val"][dataset.metric.on("test")]
    )
    return TrialResult(State.COMPLETE, _named(metrics, scored), (point,), **counts)


def _named(metrics: Mapping[str, float], part: str) -> dict[str, float]:
    return {f"{part}/{name.split('/')[1]}": value for name, value in metrics.items()}


def _loss(dataset: Dataset, part: Predicted, split: Split) -> float:
    """Return the loss of a task as networks report it: of probabilities, or of numbers scaled by the training rows."""
    scale = fit_scaling(dataset, split.train).target_std
    return dataset.kind.loss_of(part.predictions, dataset.targets[part.rows], scale)
