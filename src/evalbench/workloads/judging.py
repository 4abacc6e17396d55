"""The metrics that a data set is judged by: those of its task, or those that the user names."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from evalbench.config.component import Component
from evalbench.config.judging import LOSS, METRIC, OwnMetric, TaskConfig
from evalbench.errors import ConfigError, InputError
from evalbench.tasks import OwnTask, tried
from evalbench.tasks.metric import METRICS, Metric
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.named import NamedWorkload

_tried: dict[str, Dataset] = {}
"""Data sets whose task is the user's own, by their content."""


def judged(dataset: Dataset, config: TaskConfig) -> Dataset:
    """Return the data set with the metrics that the user chose; raise `ConfigError` for one that its task lacks."""
    if isinstance(dataset, NamedWorkload):
        if config.metric is not None or config.monitor != LOSS or config.own is not None:
            rule, remedy = "must be left out", f"the scores of {dataset.name} are what dataset.metric says"
            raise ConfigError("task", rule, remedy=remedy)
        return dataset
    dataset = _with_own_task(dataset, config.own)
    metric = dataset.metric if config.metric is None else _chosen(dataset, "metric", config.metric)
    if config.monitor == LOSS:
        monitor = None
    else:
        monitor = metric if config.monitor == METRIC else _chosen(dataset, "monitor", config.monitor)
    if monitor is None and metric == dataset.metric:
        return dataset
    primary = None if metric == dataset.kind.metric and dataset.primary is None else metric
    return replace(dataset, primary=primary, monitor=monitor)


def _with_own_task(dataset: Dataset, chosen: Component | None) -> Dataset:
    """Return the data set with the task that the user chose, which has been tried, and its metric as the primary one.

    Raises `ConfigError` or `DataError` for a task that cannot be used on it.
    """
    if chosen is not None:
        task = chosen.build() if callable(chosen.locate()) else None
        if not isinstance(task, OwnTask):
            rule = "must name a subclass of evalbench.tasks.OwnTask"
            raise ConfigError("task._target_", rule, chosen.target, "see docs/own-code.md")
        dataset = replace(dataset, kind=task, primary=None, monitor=None)
    task = dataset.kind
    if not isinstance(task, OwnTask):
        return dataset
    key = json.dumps([dataset.name, dataset.fingerprint, task.spec()])
    if key not in _tried:
        tried.check(task, dataset)
        _tried[key] = replace(dataset, primary=dataset.primary or task.metric)
    return _tried[key]


def identity(dataset: Dataset, config: TaskConfig) -> dict[str, Any]:
    """Return the entries in the settings that identify a trial: none for the metrics of the task."""
    chosen = {"metric": (dataset.primary, config.metric), "monitor": (dataset.monitor, config.monitor)}
    specs = {
        key: value.spec() if isinstance(value, OwnMetric) else metric.name
        for key, (metric, value) in chosen.items()
        if metric is not None
    }
    if isinstance(dataset.kind, OwnTask):
        specs["own"] = dataset.kind.spec()
    return {"task": specs} if specs else {}


def code(dataset: Dataset, config: TaskConfig) -> dict[str, dict[str, str]]:
    """Return the user's own code that the task and the metrics run."""
    own = dict(dataset.kind.spec()) if isinstance(dataset.kind, OwnTask) else None
    task = {} if own is None else Component("task", own.pop("_target_"), own).code()
    return {**config.code(), **task}


def _chosen(dataset: Dataset, key: str, value: str | OwnMetric) -> Metric:
    if isinstance(value, OwnMetric):
        _try(dataset, f"task.{key}", value)
        return value.metric
    task = dataset.kind
    asked = (metric for metric in METRICS.values() if task.name in metric.on_request)
    known = {metric.name: metric for metric in (*task.measured, *asked)}
    if value not in known:
        rule = f"must be a metric of {dataset.name}, whose task is {task.name}"
        raise ConfigError(f"task.{key}", rule, value, "there are " + ", ".join(known))
    return known[value]


def _try(dataset: Dataset, key: str, own: OwnMetric) -> None:
    """Compute a user's metric once, for the trivial predictor."""
    targets = dataset.targets
    try:
        score = dataset.kind.evaluate(
            dataset.kind.trivial_for(targets, targets, len(dataset.classes)), targets, [own.metric]
        )
        if not np.isfinite(score.get(own.metric.on("test"), np.nan)):
            raise ValueError(f"of the trivial predictor on {dataset.name} it returns none")
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        rule = "must return one finite number, given predictions and targets"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ConfigError(key, rule, own.component.target, reason) from error
