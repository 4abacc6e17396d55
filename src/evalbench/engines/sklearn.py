"""Estimators with `fit` and `predict`: scikit-learn, its pipelines, and the packages that follow it.

An estimator is fitted on the training rows of a trial, with the inputs that a network gets: categories as indicators,
numbers scaled by the training rows, missing values filled by their means. One that says that it takes missing values
gets them as they are. Tokens become columns of `log(1 + count)` in the row. Targets are class numbers, or numbers in
their own unit. An estimator of one target is fitted to each of several. Validation rows are measured and never fitted,
test rows are read once.

Shapes: `N` rows, `D` columns, `K` classes, `L` columns of targets.
"""

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from evalbench import weights
from evalbench.config import SEEDS, Component, Config
from evalbench.engines.contract import NOWHERE, Engine, Outlets, TimedTrial, Trained
from evalbench.engines.fits import each
from evalbench.engines.predicted import Predicted, check_predictable, result_of, split_of
from evalbench.engines.timed_fit import TimedFit
from evalbench.errors import ConfigError
from evalbench.models import seeded
from evalbench.parts import epoch_rows
from evalbench.seeds import Role, derive, derive_epoch
from evalbench.tasks.classes import seen as counted
from evalbench.tasks.metric import FROM_PROBABILITIES
from evalbench.trial import Entrant, State, TrialResult
from evalbench.weights.estimators import PerColumn, check_can_be_saved, predictions
from evalbench.workloads import Dataset, Split, fit_scaling, weight_scale

log = logging.getLogger(__name__)

Array = NDArray[Any]
LARGEST_SEED = 2**31 - 1
"""Of a signed integer of 32 bits, which most packages take."""
MOST_FOR_TRAIN_LOSS = 1000
"""Training rows that the training loss is computed on: some estimators predict slowly."""


class EstimatorEngine:
    """Fit one estimator per trial."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Build the estimator once."""
        check_predictable(dataset, "estimators", takes_tokens=True)
        component = _component(config, dataset)
        estimator = _build(component, 0)
        for method in ("fit", "predict"):
            if not callable(getattr(estimator, method, None)):
                raise ConfigError("model._target_", f"must have a method {method}", component.target, "name another")
        _check_kind(component, estimator, dataset)
        _check_settings(component, estimator)
        if config.save != "none":
            check_can_be_saved(estimator, component.target)
        epoch_rows(config, dataset, len(dataset.targets))
        if dataset.weights is not None and _weight_name(_for_columns(estimator, dataset)) is None:
            rule = f"must take sample_weight in fit on {dataset.name}, whose rows have weights"
            raise ConfigError("model._target_", rule, component.target, "leave dataset.weight out, or name another")
        metric = dataset.metric.name
        if metric in FROM_PROBABILITIES and not hasattr(estimator, "predict_proba"):
            rule = f"must have predict_proba for {metric}, which needs probabilities"
            certain = next((name for name in dataset.kind.metrics if name not in FROM_PROBABILITIES), "accuracy")
            raise ConfigError("model._target_", rule, component.target, f"choose task.metric={certain}")

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Fit the estimators of the trials."""
        return each(config, entrants, lambda entrant, folder: _train(config, dataset, entrant, folder), outlets)

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return a fit on the rows of the first seed."""
        split, seed = split_of(config, dataset, Entrant(0)), _seed(config, dataset, Entrant(0))
        component = _component(config, dataset)
        seen = _Seen(_build(component, seed), dataset, split)
        rows, example = _rows(config, dataset, split, Entrant(0)), seen.inputs(split.train[:1])
        inputs, targets = seen.inputs(rows), dataset.kind.fitted_to(dataset.targets[rows])
        weights = _weights(_for_columns(_build(component, seed), dataset), dataset, split, rows)

        def fit() -> Any:
            estimator = _for_columns(_build(component, seed), dataset)
            estimator.fit(inputs, targets, **weights)
            return estimator  # a user's `fit` may return nothing

        return TimedFit(fit, example)


ENGINE: Engine = EstimatorEngine()


def _component(config: Config, dataset: Dataset) -> Component:
    """Return the class of estimators for a data set."""
    estimator = config.estimator
    numbers = not dataset.kind.is_classification
    return estimator.regressor if numbers and estimator.regressor is not None else estimator.component


def _check_kind(component: Component, estimator: Any, dataset: Dataset) -> None:
    """Refuse a classifier for numbers, and a regressor for classes; an estimator that declares nothing is taken."""
    kind, needed = _type_of(estimator), "classifier" if dataset.kind.is_classification else "regressor"
    if kind in ("classifier", "regressor") and kind != needed:
        other = "add model.regressor=package.ItsRegressor" if needed == "regressor" else "keep it as model.regressor"
        rule = f"must be a {needed} on {dataset.name}, whose task is {dataset.kind.name}"
        raise ConfigError("model._target_", rule, component.target, other)


def _check_settings(component: Component, estimator: Any) -> None:
    """Refuse settings that an estimator of scikit-learn's would refuse when it is fitted."""
    if not hasattr(estimator, "_parameter_constraints"):
        return
    try:
        estimator._validate_params()
    except ValueError as error:
        rule, reason = f"must hold settings that {component.target} accepts", " ".join(str(error).split())
        raise ConfigError("model", rule, dict(component.arguments), reason) from error


def _type_of(estimator: Any) -> str | None:
    """Return `classifier`, `regressor` or another type that an estimator declares; None if it declares none."""
    try:
        declared: str | None = get_tags(estimator).estimator_type
    except Exception:  # no estimator of scikit-learn's
        declared = "classifier" if hasattr(estimator, "predict_proba") else None
    return declared


def _seed(config: Config, dataset: Dataset, entrant: Entrant) -> int:
    """Return the `random_state` of a trial: the seed of the initial values of networks."""
    index = entrant.roles.get(Role.INIT, entrant.seed)
    return derive(config.root_seed, dataset.name, Role.INIT, index, entrant.phase) % LARGEST_SEED


def _rows(config: Config, dataset: Dataset, split: Split, entrant: Entrant) -> Array:
    """Return the rows that a trial is fitted to: its training rows, or the first epoch of a resampling of them."""
    resampled = epoch_rows(config, dataset, len(split.train))
    if resampled is None:
        return split.train
    seed = derive(config.root_seed, dataset.name, Role.ORDER, entrant.index(Role.ORDER), entrant.phase)
    return resampled(split.train, torch.Generator().manual_seed(derive_epoch(seed, 0)))


def _build(component: Component, seed: int) -> Any:
    """Build an estimator that draws its random numbers from a seed, those of the steps of a pipeline too."""
    signature = _parameters(component.locate())
    constructed = {key: seed for key in SEEDS[:1] if key in signature}
    estimator = component.build(**(constructed or {key: seed for key in SEEDS[1:] if key in signature}))
    if hasattr(estimator, "get_params"):
        names = [name for name in estimator.get_params() if name.rpartition("__")[2] == SEEDS[0]]
        if names:
            estimator.set_params(**dict.fromkeys(names, seed))
    return estimator


def _parameters(target: Any) -> set[str]:
    try:
        return set(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # compiled
        return set()


class _Seen:
    """The inputs of an estimator."""

    def __init__(self, estimator: Any, dataset: Dataset, split: Split) -> None:
        self._dataset, self.scaling = dataset, fit_scaling(dataset, split.train)
        self.keeps_missing = _takes_missing(estimator)

    def inputs(self, rows: Array) -> Array:
        """Return the inputs `(N, D)` of some rows."""
        if self._dataset.vocabulary is not None:
            return counted(self._dataset.inputs[rows], self._dataset.vocabulary)
        inputs: Array = self.scaling.inputs(self._dataset, rows).astype(np.float64)
        return np.where(np.isnan(self._dataset.inputs[rows]), np.nan, inputs) if self.keeps_missing else inputs


def _weights(estimator: Any, dataset: Dataset, split: Split, rows: Array) -> dict[str, Array]:
    """Return the argument of `fit` with the weights `(N,)` of some training rows; empty if rows have none."""
    if dataset.weights is None:
        return {}
    return {str(_weight_name(estimator)): dataset.weights[rows] * weight_scale(dataset, split.train)}


def _weight_name(estimator: Any) -> str | None:
    """Return the name of the argument of `fit` for weights, that of the last step of a pipeline; None if it has none.

    A pipeline passes it on to the last step alone.
    """
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        inner = _weight_name(last)
        return None if inner is None else f"{step}__{inner}"
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def _takes_missing(estimator: Any) -> bool:
    try:
        return bool(get_tags(estimator).input_tags.allow_nan)
    except Exception:  # no estimator of scikit-learn's
        return False


def _train(config: Config, dataset: Dataset, entrant: Entrant, folder: Path | None) -> tuple[TrialResult, list[str]]:
    """Return the result of one trial and the warnings of its estimator, which is kept in a folder."""
    split, seed = split_of(config, dataset, entrant), _seed(config, dataset, entrant)
    component = _component(config, dataset)
    with warnings.catch_warnings(record=True) as caught, seeded(seed):
        warnings.simplefilter("always")
        estimator = _build(component, seed)
        seen = _Seen(estimator, dataset, split)
        estimator, rows = _for_columns(estimator, dataset), _rows(config, dataset, split, entrant)
        estimator.fit(
            seen.inputs(rows),
            dataset.kind.fitted_to(dataset.targets[rows]),
            **_weights(estimator, dataset, split, rows),
        )
        sample = split.train[:: -(-len(split.train) // MOST_FOR_TRAIN_LOSS)]
        predicted = {
            part: Predicted(rows, predictions(estimator, dataset.kind, len(dataset.classes), seen.inputs(rows)))
            for part, rows in (("train", sample), ("val", split.validation), ("test", split.test))
            if len(rows)
        }
    told = [" ".join(str(warning.message).split())[:200] for warning in caught]
    is_sure = dataset.kind.is_classification and not hasattr(estimator, "predict_proba")
    result = result_of(dataset, split, predicted, without=FROM_PROBABILITIES if is_sure else ())
    if folder is not None and result.state is State.COMPLETE:
        fitted = weights.FittedEstimator(component, estimator, seen.keeps_missing)
        with weights.writing(folder):
            weights.save_estimator(folder, config, dataset, split, seen.scaling, fitted, result, entrant.trial)
    return result, [f"{component.target.rpartition('.')[2]}: {text}" for text in told]


def _for_columns(estimator: Any, dataset: Dataset) -> Any:
    """Return an estimator for the targets of a data set: as it is, unless these are several and it takes one."""
    if not dataset.kind.per_column:
        return estimator
    try:
        tags = get_tags(estimator)
        labels = tags.classifier_tags is not None and tags.classifier_tags.multi_label
        takes_all = labels if dataset.kind.is_classification else tags.target_tags.multi_output
    except Exception:  # no estimator of scikit-learn's
        takes_all = False
    return estimator if takes_all else PerColumn(estimator)
