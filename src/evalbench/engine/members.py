"""Define how the members of a cohort are trained, and record the progress of each member."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evalbench.config import Component, OptimizerConfig
from evalbench.engine.halving import Halving
from evalbench.engine.objective import Loss
from evalbench.engine.paths import PathRequest
from evalbench.parts.hooks import BatchHook, GradientHook
from evalbench.parts.pruning import WeightPruning


class UnfitSnapshotError(Exception):
    """A snapshot does not belong to the cohort that should resume from it."""


class Validated(NamedTuple):
    """Hold one validation of one member."""

    loss: float
    """The task's own loss, which may differ from the training loss."""
    score: float
    """The primary metric."""
    monitored: float | None = None
    """The metric that picks the epoch, negated if larger is better; None: the loss does."""

    @property
    def rank(self) -> float:
        """The value by which epochs are compared; lower is better."""
        return self.loss if self.monitored is None else self.monitored


@dataclass
class Member:
    """Record the progress of one member in plain values, so that it can be saved.

    Field names are stored in checkpoints.
    """

    val_losses: list[float] = field(default_factory=list)
    val_scores: list[float] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)
    monitored: list[float] = field(default_factory=list)
    """The quantity that picks the epoch, lower is better; empty if the loss does."""
    diverged_step: int | None = None
    best_round: int | None = None
    """The index of the best validation."""
    ended: bool = False
    pruned: bool = False
    extra_examples: int = 0
    """Examples that its optimizer evaluated again in closures, beside those of its steps."""

    @property
    def best_rank(self) -> float:
        """The lowest monitored value so far."""
        ranks = self.monitored or self.val_losses
        return float("inf") if self.best_round is None else ranks[self.best_round]

    def note_validation(self, train_loss: float, validated: Validated, step: int, patience: int | None) -> bool:
        """Record a validation after a step; return whether it is the best so far.

        A loss that is not finite is divergence. The member ends `patience` validations after its best one.
        """
        if not math.isfinite(validated.loss):
            self.diverged_step, self.ended = step, True
            return False
        improved = validated.rank < self.best_rank
        if improved:
            self.best_round = len(self.val_losses)
        self.train_losses.append(train_loss)
        self.val_losses.append(validated.loss)
        self.val_scores.append(validated.score)
        if validated.monitored is not None:
            self.monitored.append(validated.monitored)
        validations_since = len(self.val_losses) - 1 - (self.best_round or 0)
        self.ended = patience is not None and validations_since >= patience
        return improved

    def pruning_score(self, by_loss: bool, sign: int) -> float:
        """Return the pruning score (higher is better) at the best validation; `sign` is -1 for scores to minimize."""
        if self.diverged_step is not None or self.best_round is None:
            return float("-inf")
        return -self.val_losses[self.best_round] if by_loss else sign * self.val_scores[self.best_round]


class Tally(nn.Module):
    """Add up the losses of a validation interval on the device, and note when a loss was not finite.

    Nothing is read from the device before the interval ends.
    """

    sums: Tensor  # (C,), float64, of examples
    diverged: Tensor  # (C,), the first step, counted from 1, after which a loss was not finite; 0 for none

    def __init__(self, count: int) -> None:
        super().__init__()
        for name, dtype in (("sums", torch.float64), ("diverged", torch.int64)):
            self.register_buffer(name, torch.zeros(count, dtype=dtype), persistent=False)

    def begin(self, count: int) -> None:
        """Begin an interval of a number of members."""
        self.sums, self.diverged = self.sums.new_zeros(count), self.diverged.new_zeros(count)

    def note(self, losses: Tensor, first_step: int, rows: int) -> None:
        """Note a chunk's losses `(S, C)`, each the mean of a number of rows."""
        self.sums += losses.sum(0) * rows
        infinite = ~torch.isfinite(losses)
        is_first = infinite.any(0) & (self.diverged == 0)
        self.diverged = torch.where(is_first, infinite.int().argmax(0) + first_step + 1, self.diverged)

    def end_diverged(self, members: Sequence[Member]) -> None:
        """End the members whose loss was not finite in this interval."""
        for member, step in zip(members, self.diverged.tolist(), strict=True):
            if step and not member.ended:
                member.diverged_step, member.ended = step, True


@dataclass(frozen=True)
class Recipe:
    """Define how every member is trained."""

    optimizer: OptimizerConfig
    loss: Loss | None
    """The training loss: the mean over one member's outputs and targets. None: the network's own training step."""
    validation_steps: Sequence[int]
    """The steps after which to validate, ascending; the last one ends the trial."""
    on_batch: Mapping[str, BatchHook] = field(default_factory=dict)
    """Changes of the batches by the config group of the part, in this order."""
    row_weights: nn.Module | None = None
    """Attaches the weights of rows to the targets, after the changes of the batches."""
    on_gradients: Sequence[GradientHook] = ()
    """Changes of the gradients, in this order."""
    pruned: tuple[Sequence[str], WeightPruning | None] = ((), None)
    """The names of the weights that are pruned, and how; None: no weights are."""
    schedule: Component | None = None
    patience: int | None = None
    microbatch_size: int | None = None
    """The maximal number of rows of one pass; the gradients of larger batches are accumulated exactly."""
    halving: Halving | None = None
    """The pruning rule, if members compete."""
    verify: bool = False
    """Compare the first steps with plain PyTorch, and train one by one if they differ."""
    path: PathRequest = field(default_factory=PathRequest)
    """How the steps run, as far as the configuration says."""
    dtype: torch.dtype = torch.float32
    """The dtype of all numbers, float32 or float64, unless autocast computes in another dtype."""
    matmul_precision: str = "highest"
    """The precision of products and convolutions of float32 numbers, as `torch.set_float32_matmul_precision` names it.

    With `highest` no number is rounded to TF32 or bfloat16 on its way into a product.
    """
    device: str = "cpu"
    """The device that draws initial values: the bits are the same on any device."""

    on_host: bool = False
    """The inputs stay on the host, and are read ahead of the steps."""

    @property
    def exact(self) -> "Recipe":
        """The same recipe with exact products, to compare two ways to compute the same numbers."""
        return replace(self, matmul_precision="highest")

    @contextmanager
    def numbers(self, dtype: torch.dtype | None = None) -> Iterator[None]:
        """Let a network make tensors in the cohort's dtype, or in the given one, and multiply in its precision."""
        before, rounds = torch.get_default_dtype(), torch.backends.cudnn.allow_tf32
        products = torch.get_float32_matmul_precision()
        torch.set_default_dtype(dtype or self.dtype)
        torch.set_float32_matmul_precision(self.matmul_precision)
        torch.backends.cudnn.allow_tf32 = self.matmul_precision != "highest"  # torch's default is True
        try:
            yield
        finally:
            torch.set_default_dtype(before)
            torch.set_float32_matmul_precision(products)
            torch.backends.cudnn.allow_tf32 = rounds
