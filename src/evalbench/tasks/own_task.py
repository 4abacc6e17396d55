"""A task of the user's own: a class with a loss, and whatever of the rest has no sensible default.

Shapes: `B` examples, `K` outputs, `N` rows; `...` stands for any leading axes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evalbench.errors import ConfigError, DataError
from evalbench.tasks import classes
from evalbench.tasks.metric import Metric
from evalbench.tasks.multiclass import Multiclass
from evalbench.tasks.task import Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = (int, float, str, bool, type(None))
SETTINGS = ("metric", "monitor")
"""Keys of the section `task` that are no arguments."""


class OwnTask(Task):
    """A task of your own: subclass it, and choose it with `task._target_=mine.MyTask` or `evaluate(task=MyTask())`.

    Write `loss`. The other members have defaults: squared-error-like tasks on numbers need no more, others say what
    they predict, how predictions are measured, and what is predicted without inputs. An argument of the constructor is
    kept as an attribute of its name, `self.levels` for `levels`: it is part of a trial's identity.
    """

    name = "own"
    outputs = "the outputs of its own loss"
    is_classification = False
    """True: targets are the numbers of classes; False: numbers."""
    scales_targets = False
    """True: the loss sees targets minus the mean, divided by the standard deviation, of the training rows, and
    predictions are scaled back. False: the loss sees the targets as they are."""
    target_shape: ClassVar[tuple[int, ...]] = ()
    """The shape of a row's target: `(2,)` for two numbers, such as a time and an event."""
    metrics: tuple[str | Metric, ...] = ("r2", "rmse", "mae")
    """Names of shipped metrics, and results of `own_metric`, the primary one first. Shipped ones need predictions that
    are numbers `(N,)`, or class probabilities `(N, classes)`; the latter's are the default of classes."""
    scores_outputs = False
    takes_weights = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Name the task by its class."""
        super().__init_subclass__(**keywords)
        cls.name = cls.__name__
        cls.has_row_classes, cls.per_column = cls.is_classification, bool(cls.target_shape)
        if cls.is_classification and cls.metrics is OwnTask.metrics:
            cls.metrics = Multiclass.metrics

    # ── what a task may say ───────────────────────────────────────────────────────────────────────────────────────────

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `()` of outputs `(B, K)` and targets `(B, *target_shape)`, a mean over the examples.

        A pure function of tensors: it is computed for many trials at once by `torch.func.vmap`.
        """
        raise NotImplementedError(f"{self.name} has no loss")

    def num_outputs(self, num_classes: int) -> int:
        """Return the number `K` of outputs per example: 1, or one per class."""
        return num_classes if self.is_classification else 1

    def predict(self, outputs: Tensor) -> Tensor:
        """Return predictions `(..., B, *shape)` of outputs `(..., B, K)`: numbers as they are, or class probabilities.

        One output per example gives predictions `(..., B)`. The leading axes must stay.
        """
        values = outputs.double()
        if self.is_classification:
            return values.softmax(-1)
        return values.squeeze(-1) if values.shape[-1] == 1 else values

    def trivial_prediction(self, targets: Array, num_classes: int) -> Any:
        """Return what is predicted for any row without its inputs, `(*shape,)`, given the training rows' targets.

        By default their mean, or the shares of the classes. Its score is 0 on the scale of skill.
        """
        if self.is_classification:
            return classes.shares(targets, (), num_classes)
        return targets.mean(0, dtype=np.float64)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor | None:
        """Return a linear model to compare with, see `Task.linear`; None: it is not known."""
        return None

    # ── what follows from it ──────────────────────────────────────────────────────────────────────────────────────────

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless targets are those that the task declares."""
        needed, given = (len(table.inputs), *self.target_shape), table.targets.shape
        if given != needed:
            raise DataError(f"{table.name}: {self.name} needs targets of the shape {needed}, not {given}")
        if self.is_classification and not table.classes:
            raise DataError(f"{table.name}: {self.name} needs classes as targets, not numbers: choose other data")
        if self.is_classification:
            classes.check_classes(table)
        elif table.classes and not self.target_shape:  # of several targets, these are the names
            rule = f"{self.name} needs numbers as targets, not {len(table.classes)} classes"
            raise DataError(
                f"{table.name}: {rule}: say dataset.kind=regression, or is_classification = True in the task"
            )
        elif not np.isfinite(table.targets).all():
            raise DataError(f"{table.name}: targets must be finite everywhere: remove those rows")

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the prediction without inputs for each row."""
        one = np.asarray(self.trivial_prediction(train, num_classes), dtype=np.float64)
        return np.tile(one, (shape[0], *[1] * one.ndim))

    def target_scale(self, train: Array) -> tuple[Any, Any]:
        """Return means and standard deviations over the training rows, if targets are scaled."""
        if not self.scales_targets:
            return 0.0, 1.0
        std = train.std(0, dtype=np.float64)
        return train.mean(0, dtype=np.float64), np.where(std > 0, std, 1.0)

    def loss_of(self, predictions: Array, targets: Array, scale: Any) -> float:
        """Return the loss of predictions that are the outputs, `(N,)`, and of targets, both scaled already."""
        import torch

        return float(self.loss(torch.as_tensor(predictions)[:, None], torch.as_tensor(targets)))

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, *target_shape)` zeros."""
        import torch

        dtype = torch.int64 if self.is_classification else torch.float32
        return torch.zeros((len(inputs), *self.target_shape), device=inputs.device, dtype=dtype)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return both as they are."""
        return outputs, targets

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Refuse: the metric is measured on predictions in the target's own unit."""
        raise AssertionError("a data set of an own task names its metric")

    @property
    def predicts_targets(self) -> bool:
        """Return whether predictions are one number per row, the output itself: then any regressor can make them."""
        is_default = type(self).predict is OwnTask.predict and not self.is_classification
        return is_default and not self.target_shape and self.num_outputs(0) == 1

    def spec(self) -> dict[str, Any]:
        """Return the class and its arguments as plain values; raise `ConfigError` if they are not known."""
        kind = type(self)
        target = f"{kind.__module__}.{kind.__qualname__}"
        if "<" in target:
            raise ConfigError("task", "must be a class of a module", target, "write it to a .py file and import it")
        return {"_target_": target, **{name: self._argument(name) for name in self._parameters}}

    @property
    def _parameters(self) -> list[str]:
        return [] if type(self).__init__ is object.__init__ else list(inspect.signature(type(self)).parameters)

    def _argument(self, name: str) -> Any:
        where = f"task {self.name}"
        if name in SETTINGS:
            raise ConfigError(where, "must have no argument that is called metric or monitor", name, "rename it")
        if not hasattr(self, name):
            remedy = f"say self.{name} = {name} in __init__"
            raise ConfigError(
                where, f"must keep its argument {name}, because trials are identified by it", remedy=remedy
            )
        value = _plain(getattr(self, name))
        if value is NotImplemented:
            rule = f"must keep its argument {name} as numbers, texts, or lists of them"
            raise ConfigError(where, rule, getattr(self, name), "keep what is made from it under another name")
        return value


def _plain(value: Any) -> Any:
    """Return a value with lists for tuples; `NotImplemented` if there is something else in it."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return NotImplemented if any(part is NotImplemented for part in parts) else parts
    if isinstance(value, Mapping):
        named = {str(key): _plain(part) for key, part in value.items()}
        return NotImplemented if any(part is NotImplemented for part in named.values()) else named
    return NotImplemented
