"""Try all that a task of the user's own is asked for, before anything trains.

Shapes: `B` examples, `K` outputs, `N` rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from evalbench.errors import ConfigError, InputError
from evalbench.tasks import METRICS, TASKS, OwnTask
from evalbench.tasks.task import Rows

MOST_TRIED = 16
"""Rows with which the loss is tried."""
MEMBERS = 2
"""Trials whose loss is computed at once in a try."""


def check(task: OwnTask, dataset: Rows) -> None:
    """Try all parts of a task on a data set; raise `ConfigError` for the first one that cannot be used."""
    if task.name in TASKS:
        raise _wrong(task, "must not be called like a task of evalbench", "rename the class")
    _check_metrics(task)
    count = _called(task, "num_outputs", lambda: task.num_outputs(len(dataset.classes)))
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise _wrong(task, f"num_outputs must return a whole number of at least 1, not {count!r}")
    _check_loss(task, dataset, count)
    rows = _check_predictions(task, dataset, count)
    _check_shipped_metrics(task, dataset, rows)
    for metric in task.measured:
        what = f"the metric {metric.name}"
        scores = _called(task, what, lambda: task.evaluate(rows, dataset.targets, [metric]))  # noqa: B023
        if not np.isfinite(scores.get(metric.on("test"), np.nan)):
            raise _wrong(task, f"{what} must be a finite number, also for the trivial prediction")


def _check_metrics(task: OwnTask) -> None:
    unknown = [metric for metric in task.metrics if isinstance(metric, str) and metric not in METRICS]
    if not task.metrics or unknown:
        rule = f"metrics must be names of {', '.join(METRICS)}, or results of own_metric"
        raise _wrong(task, f"{rule}, not {unknown[0] if unknown else 'none'!r}")
    for metric in task.measured:
        if metric.direction not in ("maximize", "minimize"):
            rule = f"the metric {metric.name} must have a direction, maximize or minimize, not {metric.direction!r}"
            raise _wrong(task, rule)
        own = METRICS.get(metric.name, metric) is not metric
        if own or "/" in metric.name or "<" in metric.name or metric.compute is None:
            raise _wrong(task, f"the metric {metric.name} must have a name of its own, without '/': give name=")


def _check_shipped_metrics(task: OwnTask, dataset: Rows, rows: Any) -> None:
    """Refuse metrics of classes for numbers, those of numbers for classes, and both for other predictions."""
    alike = [one for one in TASKS.values() if one.is_classification == task.is_classification]
    alike = [one for one in alike if not (one.per_token or one.per_column)]
    kinds = {one.name for one in alike}
    fit = {metric for one in alike for metric in one.metrics}
    fit |= {metric.name for metric in METRICS.values() if kinds & set(metric.on_request)}
    shape = (len(dataset.classes),) if task.is_classification else ()
    what = "probabilities of the classes" if task.is_classification else "one number per row"
    for metric in task.measured:
        if metric.name in METRICS and (metric.name not in fit or rows.shape[1:] != shape):
            raise _wrong(task, f"the metric {metric.name} does not fit what is predicted", f"it needs {what}")


def _check_loss(task: OwnTask, dataset: Rows, count: int) -> None:
    """Compute the loss and its gradient, alone and for two trials at once."""
    import torch
    from torch.func import grad_and_value, vmap

    rows = np.linspace(0, len(dataset.targets) - 1, min(MOST_TRIED, len(dataset.targets))).astype(np.int64)
    targets = torch.as_tensor(dataset.targets[rows])
    if task.scales_targets:
        shift, scale = map(torch.as_tensor, task.target_scale(dataset.targets))
        targets = ((targets - shift) / scale).float()
    shape = task.output_shape(torch.zeros(len(rows), dataset.inputs.shape[1]), count)
    outputs = torch.linspace(-1, 1, MEMBERS * int(np.prod(shape))).view(MEMBERS, *shape).sin()
    both = targets.expand(MEMBERS, *targets.shape)
    given = f"outputs of the shape {shape} and targets of the shape {tuple(targets.shape)}"
    value = _called(task, f"loss, given {given},", lambda: task.loss(outputs[0].requires_grad_(), targets))
    if not isinstance(value, torch.Tensor) or value.shape != ():
        what = f"the shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise _wrong(task, f"loss must return the mean over the examples, a tensor of the shape (), not {what}")
    if not value.isfinite():
        raise _wrong(task, f"loss must be finite, not {value.item()}, given {given}")
    if not value.requires_grad:
        raise _wrong(task, "loss must depend on the outputs, and be computed by operations of PyTorch")
    outputs = outputs.detach()
    step = grad_and_value(task.loss)
    alone = [_called(task, "loss", lambda: step(outputs[m], targets)) for m in range(MEMBERS)]  # noqa: B023
    if not all(gradient.isfinite().all() for gradient, _ in alone):
        raise _wrong(task, "loss must have a finite gradient")
    if not any(gradient.any() for gradient, _ in alone):
        raise _wrong(task, "loss must depend on the outputs: its gradient is 0")
    remedy = "use operations of PyTorch on outputs and targets alone, torch.where instead of if"
    what = "loss, computed for several trials at once by torch.func.vmap,"
    gradients, values = _called(task, what, lambda: vmap(step)(outputs, both), remedy)
    for member, (gradient, one) in enumerate(alone):
        if not (
            torch.allclose(values[member], one, 1e-4, 1e-5) and torch.allclose(gradients[member], gradient, 1e-3, 1e-5)
        ):
            raise _wrong(task, "loss must be the same for a trial alone and beside others", remedy)


def _check_predictions(task: OwnTask, dataset: Rows, count: int) -> Any:
    """Return the trivial prediction for every row; raise `ConfigError` unless it has the shape of predictions."""
    import torch

    shape = (MEMBERS, *task.output_shape(torch.zeros(3, dataset.inputs.shape[1]), count))
    made = _called(task, "predict", lambda: task.predict(torch.zeros(shape)))
    if not isinstance(made, torch.Tensor) or made.shape[:2] != shape[:2]:
        got = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        rule = f"predict must keep the leading axes of outputs of the shape {shape}, and returns {got}"
        raise _wrong(task, rule, "work on the last axis alone, outputs[..., 0], say")
    needed = tuple(made.shape[2:])
    if task.scales_targets and needed != dataset.targets.shape[1:] and dataset.targets.ndim > 1:
        rule = f"predictions must have the shape of targets, {dataset.targets.shape[1:]}, as they are scaled back"
        raise _wrong(task, f"{rule}, not {needed}", "leave scales_targets out")
    one = _called(
        task,
        "trivial_prediction",
        lambda: np.asarray(task.trivial_prediction(dataset.targets, len(dataset.classes)), dtype=np.float64),
    )
    if one.shape != needed or not np.isfinite(one).all():
        rule = f"trivial_prediction must return a finite prediction for one row, of the shape {needed}"
        raise _wrong(task, f"{rule}, not {one.shape if one.shape != needed else one.tolist()}")
    return task.trivial(dataset.targets, dataset.targets.shape, len(dataset.classes))


def _called(task: OwnTask, what: str, call: Callable[[], Any], remedy: str | None = None) -> Any:
    """Return what a part of the task returns; an error of it becomes one line."""
    try:
        return call()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise _wrong(task, f"{what} raised {type(error).__name__}: {reason}", remedy) from error


def _wrong(task: OwnTask, rule: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(f"task {task.name}:", rule, remedy=remedy or "correct the class")
