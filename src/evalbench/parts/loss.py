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
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench.config import ANYTHING, LossConfig
from evalbench.errors import ConfigError, InputError
from evalbench.parts.hooks import BatchHook
from evalbench.tasks import Task
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

    Weights of classes are not brought to a sum of 1 in a batch: over all training rows they are 1 on average, and parts
    of a batch add up to the batch. Mixed rows have two targets, whose shares are their weights: for cross-entropy this
    is the loss of the mixed probabilities.
    """

    def __init__(self, config: LossConfig, task: Task, weighted: bool = False) -> None:
        """Build the loss, of targets with weights if `weighted`; raise `ConfigError` for one that does not fit."""
        super().__init__()
        self._config, self._task, self._weighted = config, task, weighted or config.balanced
        self._loss = _built(config, self._weighted)
        """None: the task's own."""
        _check_fits(config, task, self._loss)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `()` of outputs and targets as the cohort has them, see `BatchHook.weighs_targets`."""
        if self._loss is None:
            return self._task.loss(outputs, targets, self._config.label_smoothing)
        if not self._weighted:
            values = self._values(self._loss, outputs, targets)
            return values if values.ndim == 0 else values.mean()
        pairs = torch.unflatten(targets, -1, (-1, 2)).unbind(-2)  # of targets and weights
        weighed = [self._values(self._loss, outputs, pair[..., 0].long()) * pair[..., 1].flatten() for pair in pairs]
        return reduce(torch.add, weighed).mean()

    def _values(self, loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a number per example, or their mean `()` if targets have no weights."""
        natural = self._task.natural(outputs, targets)
        values: Tensor = loss(*natural)
        if values.shape != natural[1].shape and (self._weighted or values.ndim):
            given = f"{tuple(values.shape)} for {len(natural[1])} examples"
            mean = ", as class weights and mixed rows need it" if self._weighted else " or their mean"
            raise ValueError(f"a loss must be a number per example{mean}: {given}")
        return values


def _built(config: LossConfig, weighted: bool) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the chosen module or function, per example if targets have weights; None for the task's own loss."""
    if config.component is None:
        return CrossEntropy(config.label_smoothing) if weighted else None
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
    """Return the weights of classes, if the configuration has them."""
    return ClassWeights(dataset, splits, dtype) if config.balanced else None


class ClassWeights(BatchHook):
    """Attach to each target the weight of its class among the member's training rows; `TrainingLoss` takes it off.

    The weights that mixed targets have are multiplied by those of their classes.
    """

    weights: Tensor  # (C, K)
    weighs_targets = True

    def __init__(self, dataset: Dataset, splits: Sequence[Split], dtype: torch.dtype) -> None:
        super().__init__()
        self._ndim = dataset.targets.ndim + 2
        table = np.stack([balanced(dataset.targets[split.train], len(dataset.classes)) for split in splits])
        self.register_buffer("weights", torch.tensor(table, dtype=dtype), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs, and targets `(S, C, B, 2 T)`: classes and weights, T being 2 for mixed targets."""
        is_mixed = targets.ndim > self._ndim
        pairs = (
            torch.unflatten(targets, -1, (-1, 2)) if is_mixed else torch.stack([targets, torch.ones_like(targets)], -1)
        )
        classes = pairs[..., 0].long()
        index = members.view(-1, *[1] * (classes.ndim - 2))
        weights = self.weights[index, classes] * pairs[..., 1]
        return inputs, torch.stack([classes.to(weights.dtype), weights], dim=-1).flatten(3 if is_mixed else -1)


def balanced(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return a weight per class, inverse to its count, with a mean of 1 over the targets; 0 for an absent class."""
    counts = np.bincount(targets.astype(np.int64).ravel(), minlength=num_classes)
    return np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * np.maximum(1, counts)), 0.0)


def check(config: LossConfig, dataset: Dataset, weighted: bool = False) -> None:
    """Compute the loss and its gradient once; raise `ConfigError` if it cannot train on the data set."""
    loss = TrainingLoss(config, dataset.kind, weighted)
    if config.component is None:
        return
    inputs = torch.zeros(5, 2)
    targets, shape = (
        dataset.kind.example_targets(inputs, dataset.num_outputs),
        dataset.kind.output_shape(inputs, dataset.num_outputs),
    )
    outputs = torch.linspace(-1, 1, math.prod(shape), requires_grad=True)
    shaped = outputs.view(shape)
    given = (
        torch.stack([targets.float(), torch.ones_like(targets, dtype=torch.float32)], -1)
        if weighted or config.balanced
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
    if config.balanced and (task.per_column or not task.is_classification):
        rule = f"must be left out for {task.name}, whose targets are not classes"
        raise ConfigError("loss.class_weights", rule, "balanced", "loss.class_weights=null")
    if config.label_smoothing and not task.is_classification:
        rule = f"must be 0 for {task.name}, which has no classes"
        raise ConfigError("loss.label_smoothing", rule, config.label_smoothing, "choose loss=default")
    takes = getattr(module, "takes", [words for words, kinds in TAKE.items() if isinstance(module, kinds)])
    if takes and task.outputs not in takes:
        rule = f"must take {task.outputs}, as {task.name} has"
        others = {"numbers": ", mse, mae or huber", "log rates": ""}.get(task.outputs, ", cross_entropy or focal")
        remedy = f"choose loss=default{others}"
        raise ConfigError("loss", rule, f"{config.label}, which takes {' or '.join(takes)}", remedy)
    if isinstance(module, nn.Module) and any(value.requires_grad for value in module.parameters()):
        raise ConfigError("loss", "must have no parameters that train", config.label, "make them buffers")
