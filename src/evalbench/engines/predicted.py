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
from evalbench.errors import ConfigError
from evalbench.seeds import Role
from evalbench.tasks import OwnTask
from evalbench.trial import CurvePoint, Entrant, State, TrialResult
from evalbench.workloads import Dataset, Split, fit_scaling, references

TASKS = ("binary", "multiclass", "regression", "ordinal", "multilabel", "multi_output", "count", "ranking")
"""The shipped tasks that estimators and commands know."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """Row numbers `(N,)`, and the predictions for them: probabilities `(N, K)` or numbers `(N,)`, or both `(N, L)`."""

    rows: NDArray[np.int64]
    predictions: NDArray[Any]


def check_predictable(dataset: Dataset, what: str, takes_tokens: bool) -> None:
    """Refuse a data set that does not have classes, labels or numbers to predict; `what` predicts them."""
    fits = dataset.kind.predicts_targets if isinstance(dataset.kind, OwnTask) else dataset.kind.name in TASKS
    if not fits or (dataset.vocabulary is not None and not takes_tokens):
        rule = f"must be a network on {dataset.name} ({dataset.kind.name})"
        remedy = f"{what} take tables of classes, labels or numbers, and tasks that predict their only output"
        raise ConfigError("model", rule, remedy=remedy)


def split_of(config: Config, dataset: Dataset, entrant: Entrant) -> Split:
    """Return the split of a trial."""
    return workloads.split_of(dataset, config.split, config.root_seed, entrant.index(Role.SPLIT), entrant.phase)


def refuse_weights(dataset: Dataset, engine: str) -> None:
    """Raise `ConfigError` if rows have weights, which an engine, named in words, does not take."""
    if dataset.weights is not None:
        rule, remedy = f"must be left out for {engine}", "leave it out, or choose a network or an estimator"
        raise ConfigError("dataset.weight", rule, remedy=remedy)


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
    scaling, targets = fit_scaling(dataset, split.train), dataset.targets[part.rows]
    if isinstance(dataset.kind, OwnTask):
        shift, scale = scaling.target_mean, scaling.target_std
        return dataset.kind.loss_of((part.predictions - shift) / scale, (targets - shift) / scale, 1.0)
    return dataset.kind.loss_of(part.predictions, targets, scaling.target_std)
