"""Estimators with `fit` and `predict`: scikit-learn, its pipelines, and the packages that follow it.

An estimator is fitted on the training rows of a trial, with the inputs that a network gets: categories as indicators,
numbers scaled by the training rows, missing values filled by their means. One that says that it takes missing values
gets them as they are. Targets are class numbers, or numbers in their own unit. An estimator of one target is fitted to
each of several. Validation rows are measured and never fitted, test rows are read once.

Shapes: `N` rows, `D` columns, `K` classes, `L` columns of targets.
"""

import copy
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils import get_tags

from evalbench.config import SEEDS, Component, Config
from evalbench.engines.contract import NOWHERE, Engine, Outlets, TimedTrial, Trained
from evalbench.engines.predicted import Predicted, result_of, split_of
from evalbench.engines.timed_fit import TimedFit
from evalbench.errors import ConfigError
from evalbench.models import seeded
from evalbench.seeds import Role, derive
from evalbench.tasks.metric import FROM_PROBABILITIES
from evalbench.trial import Entrant, TrialResult
from evalbench.workloads import Dataset, Split, fit_scaling

log = logging.getLogger(__name__)

Array = NDArray[Any]
TASKS = ("binary", "multiclass", "regression", "ordinal", "multilabel", "multi_output", "count")
LARGEST_SEED = 2**31 - 1
"""Of a signed integer of 32 bits, which most packages take."""
MOST_FOR_TRAIN_LOSS = 1000
"""Training rows that the training loss is computed on: some estimators predict slowly."""


class EstimatorEngine:
    """Fit one estimator per trial."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Build the estimator once."""
        if dataset.kind.name not in TASKS or dataset.vocabulary is not None:
            rule = f"must be a network on {dataset.name}: estimators take tables of classes, labels or numbers"
            raise ConfigError("model", rule, config.choices.get("model"), "leave this data set out")
        if config.save != "none":
            rule = "must be none for estimators: evalbench keeps weights of networks only"
            raise ConfigError("save", rule, config.save, "leave it out")
        component = _component(config, dataset)
        estimator = _build(component, 0)
        for method in ("fit", "predict"):
            if not callable(getattr(estimator, method, None)):
                raise ConfigError("model._target_", f"must have a method {method}", component.target, "name another")
        _check_kind(component, estimator, dataset)
        _check_settings(component, estimator)
        metric = dataset.metric.name
        if metric in FROM_PROBABILITIES and not hasattr(estimator, "predict_proba"):
            rule = f"must have predict_proba for {metric}, which needs probabilities"
            certain = next((name for name in dataset.kind.metrics if name not in FROM_PROBABILITIES), "accuracy")
            raise ConfigError("model._target_", rule, component.target, f"choose task.metric={certain}")

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Fit the estimators of the trials one after another."""
        said: set[str] = set()
        for entrant in entrants:
            try:
                result = _train(config, dataset, entrant, said)
            except Exception as error:  # what the user chose may raise anything
                log.error(
                    "seed %d failed: %r", entrant.seed, error, exc_info=error if repr(error) not in said else None
                )
                said.add(repr(error))
                yield [entrant], error
                continue
            if outlets.watch is not None and entrant.trial is not None:
                outlets.watch({entrant.spec.trial_id: result.curve}, 0)
            yield [entrant], [result]

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return a fit on the rows of the first seed."""
        split, seed = split_of(config, dataset, Entrant(0)), _seed(config, dataset, Entrant(0))
        component = _component(config, dataset)
        seen = _Seen(_build(component, seed), dataset, split)
        inputs, targets, example = seen.inputs(split.train), dataset.targets[split.train], seen.inputs(split.train[:1])
        return TimedFit(lambda: _for_columns(_build(component, seed), dataset).fit(inputs, targets), example)


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
        self._dataset, self._scaling = dataset, fit_scaling(dataset, split.train)
        self._keeps_missing = _takes_missing(estimator)

    def inputs(self, rows: Array) -> Array:
        """Return the inputs `(N, D)` of some rows."""
        inputs: Array = self._scaling.inputs(self._dataset, rows).astype(np.float64)
        return np.where(np.isnan(self._dataset.inputs[rows]), np.nan, inputs) if self._keeps_missing else inputs


def _takes_missing(estimator: Any) -> bool:
    try:
        return bool(get_tags(estimator).input_tags.allow_nan)
    except Exception:  # no estimator of scikit-learn's
        return False


def _train(config: Config, dataset: Dataset, entrant: Entrant, said: set[str]) -> TrialResult:
    """Return the result of one trial; `said` has the messages that the log has."""
    split, seed = split_of(config, dataset, entrant), _seed(config, dataset, entrant)
    with warnings.catch_warnings(record=True) as caught, seeded(seed):
        warnings.simplefilter("always")
        estimator = _build(_component(config, dataset), seed)
        seen = _Seen(estimator, dataset, split)
        estimator = _for_columns(estimator, dataset)
        estimator.fit(seen.inputs(split.train), dataset.targets[split.train])
        sample = split.train[:: -(-len(split.train) // MOST_FOR_TRAIN_LOSS)]
        predicted = {
            part: Predicted(rows, _predictions(estimator, dataset, seen.inputs(rows)))
            for part, rows in (("train", sample), ("val", split.validation), ("test", split.test))
            if len(rows)
        }
    for text in dict.fromkeys(" ".join(str(warning.message).split())[:200] for warning in caught):
        if text not in said:
            log.warning("%s: %s", type(estimator).__name__, text)
            said.add(text)
    is_sure = dataset.kind.is_classification and not hasattr(estimator, "predict_proba")
    return result_of(dataset, split, predicted, without=FROM_PROBABILITIES if is_sure else ())


def _predictions(estimator: Any, dataset: Dataset, inputs: Array) -> Array:
    """Return class probabilities `(N, K)`, those of a class that is not known being 0, label probabilities, or numbers.

    An estimator without probabilities is sure of the class that it predicts.
    """
    if dataset.kind.per_column and hasattr(estimator, "predict_proba"):
        return _label_probabilities(estimator.predict_proba(inputs), estimator)
    if dataset.kind.per_column or not dataset.kind.is_classification:
        predictions: Array = np.asarray(estimator.predict(inputs), dtype=np.float64)
        return predictions.reshape(len(inputs), *dataset.targets.shape[1:])
    probabilities = np.zeros((len(inputs), len(dataset.classes)))
    if hasattr(estimator, "predict_proba"):
        known = np.asarray(getattr(estimator, "classes_", range(len(dataset.classes)))).astype(np.int64)
        probabilities[:, known] = estimator.predict_proba(inputs)
    else:
        chosen = np.asarray(estimator.predict(inputs)).reshape(len(inputs)).astype(np.int64)
        probabilities[np.arange(len(inputs)), chosen] = 1.0
    return probabilities


def _label_probabilities(given: Any, estimator: Any) -> Array:
    """Return the probabilities of yes `(N, L)`, which some estimators give as a table of no and yes for each label.

    Such a table lacks the column of what no training row has.
    """
    if not isinstance(given, list):
        return np.asarray(given, dtype=np.float64)
    tables = zip(given, estimator.classes_, strict=True)
    return np.column_stack([np.asarray(table) @ (np.asarray(known) == 1) for table, known in tables])


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
    return estimator if takes_all else _PerColumn(estimator)


class _PerColumn:
    """A copy of an estimator for each column of the targets; a column of one value is always predicted to have it.

    That is what scikit-learn's `MultiOutputClassifier` and `MultiOutputRegressor` do, without the latter.
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        if hasattr(estimator, "predict_proba"):
            self.predict_proba = self._probabilities

    def fit(self, inputs: Array, targets: Array) -> None:
        """Fit the copies to targets `(N, L)`."""
        constant = DummyClassifier() if targets.dtype.kind == "i" else DummyRegressor()
        self._fitted = [
            copy.deepcopy(self._estimator if np.ptp(column) else constant).fit(inputs, column) for column in targets.T
        ]

    def predict(self, inputs: Array) -> Array:
        """Return `(N, L)`."""
        return np.column_stack([np.asarray(one.predict(inputs)).reshape(len(inputs)) for one in self._fitted])

    @property
    def classes_(self) -> list[Any]:
        return [getattr(one, "classes_", (0, 1)) for one in self._fitted]

    def _probabilities(self, inputs: Array) -> list[Any]:
        return [one.predict_proba(inputs) for one in self._fitted]
