"""The metrics that a data set is judged by: those of its task, or those that the user names."""

from dataclasses import replace
from typing import Any

import numpy as np

from evalbench.config.judging import LOSS, METRIC, OwnMetric, TaskConfig
from evalbench.errors import ConfigError, InputError
from evalbench.tasks.metric import METRICS, Metric
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.named import NamedWorkload


def judged(dataset: Dataset, config: TaskConfig) -> Dataset:
    """Return the data set with the metrics that the user chose; raise `ConfigError` for one that its task lacks."""
    if isinstance(dataset, NamedWorkload):
        if config.metric is not None or config.monitor != LOSS:
            rule, remedy = "must be left out", f"the scores of {dataset.name} are what dataset.metric says"
            raise ConfigError("task", rule, remedy=remedy)
        return dataset
    metric = dataset.kind.metric if config.metric is None else _chosen(dataset, "metric", config.metric)
    if config.monitor == LOSS:
        monitor = None
    else:
        monitor = metric if config.monitor == METRIC else _chosen(dataset, "monitor", config.monitor)
    primary = None if metric == dataset.kind.metric else metric
    return dataset if primary is None and monitor is None else replace(dataset, primary=primary, monitor=monitor)


def identity(dataset: Dataset, config: TaskConfig) -> dict[str, Any]:
    """Return the entries in the settings that identify a trial: none for the metrics of the task."""
    chosen = {"metric": (dataset.primary, config.metric), "monitor": (dataset.monitor, config.monitor)}
    specs = {
        key: value.spec() if isinstance(value, OwnMetric) else metric.name
        for key, (metric, value) in chosen.items()
        if metric is not None
    }
    return {"task": specs} if specs else {}


def _chosen(dataset: Dataset, key: str, value: str | OwnMetric) -> Metric:
    if isinstance(value, OwnMetric):
        _try(dataset, f"task.{key}", value)
        return value.metric
    task = dataset.kind
    known = (*task.metrics, *(metric.name for metric in METRICS.values() if task.name in metric.on_request))
    if value not in known:
        rule = f"must be a metric of {dataset.name}, whose task is {task.name}"
        raise ConfigError(f"task.{key}", rule, value, "there are " + ", ".join(known))
    return METRICS[value]


def _try(dataset: Dataset, key: str, own: OwnMetric) -> None:
    """Compute a user's metric once, for the trivial predictor."""
    targets = dataset.targets
    try:
        score = dataset.kind.evaluate(
            dataset.kind.trivial(targets, targets.shape, len(dataset.classes)), targets, [own.metric]
        )
        if not np.isfinite(score.get(own.metric.on("test"), np.nan)):
            raise ValueError(f"of the trivial predictor on {dataset.name} it returns none")
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        rule = "must return one finite number, given predictions and targets"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ConfigError(key, rule, own.component.target, reason) from error
