"""Losses to train on: the task's own, shipped ones, any of PyTorch or of the user's, with class weights.

A loss takes outputs and targets as PyTorch's own losses do, and returns a value per example or their mean:
logits `(B,)` and 0 or 1 for two classes, logits `(B, K)` and classes `(B,)` for more, or two times numbers `(B,)`. The
tokens or columns of an example follow one another. Shapes: `C` members, `S` steps in a block, `B` examples, `K`
classes.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from evalbench.config import ANYTHING, LossConfig
from evalbench.errors import ConfigError, InputError
from evalbench.parts.hooks import BatchHook
from evalbench.tasks import Task
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import Dataset, Split

TAKE = {
    "one logit": (nn.BCEWithLogitsLoss, nn.SoftMarginLoss),
    "a logit per class": (nn.CrossEntropyLoss, nn.MultiMarginLoss),
    "numbers": (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss),
    "log rates": (nn.PoissonNLLLoss,),
}
"""What PyTorch's losses take, in the words of `Task.outputs`: a wrong one would often run, and mean nothing."""


class CrossEntropy(nn.Module):
    """Minus the logarithm of the probability of the truth, per example."""

    takes = ("one logit", "a logit per class")

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return `(B,)`."""
        logs, truth = _log_probabilities(outputs, targets)
        return F.nll_loss(logs, truth, reduction="none") * (
            1 - self.label_smoothing
        ) - self.label_smoothing * logs.mean(-1)


class Focal(nn.Module):
    """Cross-entropy times `(1 - p)^gamma`, `p` being the probability of the truth (Lin et al. 2017), per example."""

    takes = ("one logit", "a logit per class")

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError("gamma must not be negative: 0 is cross-entropy")
        self.gamma = gamma

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return `(B,)`."""
        logs, truth = _log_probabilities(outputs, targets)
        right = logs.gather(-1, truth[:, None]).squeeze(-1)
        return -((1 - right.exp()) ** self.gamma) * right


def _log_probabilities(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of all classes' probabilities `(B, K)` and the indices of the true ones `(B,)`."""
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    if outputs.ndim == targets.ndim:  # one logit for two classes
        outputs = torch.stack([torch.zeros_like(outputs), outputs], dim=-1)
    return F.log_softmax(outputs, dim=-1), targets.long()


class TrainingLoss(nn.Module):
    """The loss of one member: the mean over its examples, each a weighted sum over its targets if these have weights.

    Weights of classes and rows are not brought to a sum of 1 in a batch: over all training rows they are 1 on average,
    and parts of a batch add up to the batch. Mixed rows have two targets, whose shares are their weights: for
    cross-entropy this is the loss of the mixed probabilities.
    """

    def __init__(self, config: LossConfig, task: Task, weighted: bool = False) -> None:
        """Build the loss, of targets with weights if `weighted`; raise `ConfigError` for one that does not fit."""
        super().__init__()
        self._config, self._task, self._weighted = config, task, weighted or config.class_weights is not None
        self._loss = _built(config, task, self._weighted)
        """None: the task's own."""
        _check_fits(config, task, self._loss)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `()` of outputs and targets as the cohort has them, see `BatchHook.weighs_targets`."""
        if not self._weighted:
            if self._loss is None:
                return self._of_task(outputs, targets)
            values = self._values(self._loss, outputs, targets)
            return values if values.ndim == 0 else values.mean()
        pairs = torch.unflatten(targets, -1, (-1, 2)).unbind(-2)  # of targets and weights
        return reduce(torch.add, [self._weighed(outputs, *pair.unbind(-1)) for pair in pairs]).mean()

    def _weighed(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return a loss per example times its weight."""
        targets = targets.long() if self._task.is_classification else targets
        if self._loss is None:
            return self._of_each(outputs, targets) * weights.reshape(len(targets), -1)[:, 0]  # all equal in a row
        values = self._values(self._loss, outputs, targets)
        return values * weights.reshape(values.shape)

    def _of_task(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the task's own loss `()`; one of the user's need not know smoothing."""
        smoothing = [share for share in (self._config.label_smoothing,) if share]
        return self._task.loss(outputs, targets, *smoothing)

    def _of_each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the task's own loss of each row, `(B,)`."""
        return vmap(lambda output, target: self._of_task(output[None], target[None]))(outputs, targets)

    def _values(self, loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a number per example, or their mean `()` if targets have no weights."""
        natural = self._task.natural(outputs, targets)
        values: Tensor = loss(*natural)
        if values.shape != natural[1].shape and (self._weighted or values.ndim):
            given = f"{tuple(values.shape)} for {len(natural[1])} examples"
            mean = ", as weights and mixed rows need it" if self._weighted else " or their mean"
            raise ValueError(f"a loss must be a number per example{mean}: {given}")
        return values


def _built(config: LossConfig, task: Task, weighted: bool) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the chosen module or function, per example if targets have weights; None for the task's own loss."""
    if config.component is None:
        return CrossEntropy(config.label_smoothing) if weighted and task.outputs in CrossEntropy.takes else None
    target, given = config.component.locate(), config.component.arguments
    each = weighted and "reduction" not in given and "reduction" in inspect.signature(target).parameters
    more = {"reduction": "none"} if each else {}
    if isinstance(target, type):
        module: Callable[[Tensor, Tensor], Tensor] = config.component.build(**more)
        return module
    return partial(target, **given, **more)


def class_weights(
    config: LossConfig, dataset: Dataset, splits: Sequence[Split], dtype: torch.dtype
) -> BatchHook | None:
    """Return the weights of classes, if the configuration has them; raise `ConfigError` for unknown classes."""
    if config.class_weights is None or dataset.kind.per_column or not dataset.kind.is_classification:
        return None  # `TrainingLoss` refuses weights of classes where there are none
    if isinstance(config.class_weights, str):
        return ClassWeights(dataset, splits, dtype)
    unknown = [name for name in config.class_weights if name not in dataset.classes]
    if unknown:
        classes = ", ".join(dataset.classes[:8]) + (", …" if len(dataset.classes) > 8 else "")
        rule = f"must name classes of {dataset.name} ({classes})"
        raise ConfigError("loss.class_weights", rule, ", ".join(unknown), "correct the name")
    given = np.array([config.class_weights.get(name, 1.0) for name in dataset.classes])
    return ClassWeights(dataset, splits, dtype, given)


class ClassWeights(BatchHook):
    """Attach to each target the weight of its class among the member's training rows; `TrainingLoss` takes it off.

    Weights are 1 on average over the training rows. If rows have weights, they count with them.

    The weights that mixed targets have are multiplied by those of their classes.
    """

    weights: Tensor  # (C, K)
    weighs_targets = True

    def __init__(
        self,
        dataset: Dataset,
        splits: Sequence[Split],
        dtype: torch.dtype,
        given: NDArray[np.float64] | None = None,
    ) -> None:
        """Take the relative weights of the classes `(K,)`; None: those that give all classes the same total weight."""
        super().__init__()
        self._ndim = dataset.targets.ndim + 2
        table = np.stack([self._of_split(dataset, split, given) for split in splits])
        self.register_buffer("weights", torch.tensor(table, dtype=dtype), persistent=False)

    @staticmethod
    def _of_split(dataset: Dataset, split: Split, given: NDArray[np.float64] | None) -> NDArray[np.float64]:
        targets, weights = dataset.targets[split.train].astype(np.int64), None
        counted = targets.ravel() != NO_TARGET
        if dataset.weights is not None:
            weights = np.repeat(dataset.weights[split.train], targets[0].size)[counted]
        counts = np.bincount(targets.ravel()[counted], weights, len(dataset.classes))
        if given is None:
            return balanced(counts)
        total = (given * counts).sum()
        if total == 0:
            rule = f"must leave some training rows of {dataset.name} a weight above 0"
            raise ConfigError("loss.class_weights", rule, remedy="give a class that has rows a weight")
        scale = float(counts.sum() / total)
        return given * scale

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs, and targets `(S, C, B, 2 T)`: classes and weights, T being 2 for mixed targets.

        `TokenWeights` takes out the weights of padding.
        """
        is_mixed = targets.ndim > self._ndim
        pairs = (
            torch.unflatten(targets, -1, (-1, 2)) if is_mixed else torch.stack([targets, torch.ones_like(targets)], -1)
        )
        classes = pairs[..., 0].long()
        index = members.view(-1, *[1] * (classes.ndim - 2))
        weights = self.weights[index, classes.clamp(min=0)] * pairs[..., 1]
        return inputs, torch.stack([classes.to(weights.dtype), weights], dim=-1).flatten(3 if is_mixed else -1)


def balanced(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return a weight per class, inverse to its count, with a mean of 1 over what is counted; 0 for an absent class."""
    total = np.count_nonzero(counts) * np.where(counts > 0, counts, 1)
    return np.where(counts > 0, counts.sum() / total, 0.0)


def check(config: LossConfig, dataset: Dataset, weighted: bool = False) -> None:
    """Compute the loss and its gradient once; raise `ConfigError` if it cannot train on the data set."""
    loss = TrainingLoss(config, dataset.kind, weighted)
    if config.component is None:
        return
    inputs = torch.zeros(5, 2)
    targets = dataset.kind.example_targets(inputs, dataset.num_outputs)
    shape = dataset.kind.output_shape(inputs, dataset.num_outputs)
    outputs = torch.linspace(-1, 1, math.prod(shape), requires_grad=True)
    shaped = outputs.view(shape)
    given = (
        torch.stack([targets.float(), torch.ones_like(targets, dtype=torch.float32)], -1)
        if weighted or config.class_weights is not None
        else targets
    )
    try:
        value = loss(shaped, given)
        value.backward()
        if outputs.grad is None or not torch.isfinite(outputs.grad).all():
            raise ValueError("its gradient is not finite")
    except InputError:
        raise
    except ANYTHING as error:  # the user's own code
        rule = f"must take outputs and targets of {dataset.name} ({dataset.kind.name}) and have a gradient"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError("loss", rule, config.label, reason) from error


def _check_fits(config: LossConfig, task: Task, module: Any) -> None:
    why = "whose targets are not classes" if task.takes_weights else "whose loss is its own"
    if config.class_weights is not None and (task.per_column or not task.is_classification or not task.takes_weights):
        rule = f"must be left out for {task.name}, {why}"
        raise ConfigError("loss.class_weights", rule, config.spec()["class_weights"], "loss.class_weights=null")
    if config.label_smoothing and not (task.is_classification and task.takes_weights):
        rule = f"must be 0 for {task.name}, {why}"
        raise ConfigError("loss.label_smoothing", rule, config.label_smoothing, "choose loss=default")
    takes = getattr(module, "takes", [words for words, kinds in TAKE.items() if isinstance(module, kinds)])
    if takes and task.outputs not in takes:
        rule = f"must take {task.outputs}, as {task.name} has"
        others = {"numbers": ", mse, mae or huber", "log rates": ""}.get(task.outputs, ", cross_entropy or focal")
        remedy = f"choose loss=default{others if task.takes_weights else ''}"
        raise ConfigError("loss", rule, f"{config.label}, which takes {' or '.join(takes)}", remedy)
    if isinstance(module, nn.Module) and any(value.requires_grad for value in module.parameters()):
        raise ConfigError("loss", "must have no parameters that train", config.label, "make them buffers")
