"""C trials trained as one batched model in one Lightning fit.

The step of one trial is a pure function; `vmap` adds the member axis, and the result is traced once per batch shape
into a graph of plain tensor operations, which is replayed: neither autograd nor vmap is paid for in each step.

Shapes: `C` members, `S` steps in a block, `B` rows in a batch, `D` features, `K` outputs, `N` rows of the data set.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from evalbench import tracing
from evalbench.batches import Batches
from evalbench.config import Component
from evalbench.optimizers import CohortOptimizer
from evalbench.workloads import Dataset, Split, fit_scaling, losses

BLOCK_NUMBERS = 2**20
"""Numbers gathered for one block of steps: small enough to stay near the processor."""
EVALUATION_ROWS = 4096
"""Rows of one member that one forward pass takes when nothing is learned."""


@dataclass
class Member:
    """What is known of one member while it trains."""

    val_losses: list[float] = field(default_factory=list)
    val_scores: list[float] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)
    diverged_step: int | None = None
    best_round: int | None = None

    @property
    def best_loss(self) -> float:
        """The lowest validation loss so far."""
        return float("inf") if self.best_round is None else self.val_losses[self.best_round]


class Cohort(pl.LightningModule):
    """The members' networks, stacked; a Lightning batch is a block of steps, a Lightning epoch ends in a validation."""

    inputs: Tensor  # (N, D), whole numbers where they are tokens
    targets: Tensor  # (N,), or (N, D) for language
    mean: Tensor  # (C, D), as is the next
    std: Tensor
    target_mean: Tensor  # (C,), as is the next
    target_std: Tensor
    validation_rows: Tensor  # (C, rows), as is the next
    test_rows: Tensor

    def __init__(
        self,
        networks: Sequence[nn.Module],
        dataset: Dataset,
        splits: Sequence[Split],
        batches: Batches,
        validation_steps: Sequence[int],
        optimizer: Component,
    ) -> None:
        """Take one network and one split per member, and the steps after which to validate, ascending."""
        super().__init__()
        self.automatic_optimization = False
        self.kind = dataset.kind
        self.batches = batches
        self.validation_steps = list(validation_steps)
        self.members = [Member() for _ in networks]
        self._component = optimizer
        parameters, buffers = stack_module_state(list(networks))
        self._names = list(parameters)
        self._buffer_names = list(buffers)
        self._stacked = nn.ParameterList(nn.Parameter(value.detach()) for value in parameters.values())
        for index, value in enumerate(buffers.values()):
            self.register_buffer(f"_buffer{index}", value)
        self._network = _Unregistered(networks[0])
        self._best: list[Tensor] = []
        self._register_data(dataset, splits)
        self._programs: dict[torch.Size, Callable[..., Any]] = {}
        self._loss_sums = torch.zeros(len(networks))

    def _register_data(self, dataset: Dataset, splits: Sequence[Split]) -> None:
        """The data lie on the device once; a batch is an index, scaled by its member's own statistics at the gather."""
        scalings = [fit_scaling(dataset, split.train) for split in splits]
        floats = {
            "mean": np.stack([scaling.mean for scaling in scalings]),
            "std": np.stack([scaling.std for scaling in scalings]),
            "target_mean": np.array([scaling.target_mean for scaling in scalings]),
            "target_std": np.array([scaling.target_std for scaling in scalings]),
        }
        for name, value in floats.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)
        self._has_tokens = dataset.vocabulary is not None
        kind = torch.int64 if self._has_tokens else torch.float32
        self.register_buffer("inputs", torch.tensor(dataset.inputs, dtype=kind), persistent=False)
        self.register_buffer("targets", torch.tensor(dataset.targets), persistent=False)
        self.register_buffer("validation_rows", _stack(splits, "validation"), persistent=False)
        self.register_buffer("test_rows", _stack(splits, "test"), persistent=False)
        self._has_missing = bool(np.isnan(dataset.inputs).any())

    # ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def train_dataloader(self) -> "_Rounds":
        """Return an iterable over the blocks up to the next validation."""
        return _Rounds(self)

    def configure_optimizers(self) -> list[optim.Optimizer]:
        """Build the optimizer when the parameters are on their device."""
        self._cohort_optimizer = CohortOptimizer(self._component, dict(zip(self._names, self._stacked, strict=True)))
        self._best = [value.detach().clone() for value in self._state()]
        return self._cohort_optimizer.optimizers

    def round_steps(self, number: int) -> tuple[int, int]:
        """Return the first step of a round and the one behind its last; a round ends with a validation."""
        return (self.validation_steps[number - 1] if number else 0), self.validation_steps[number]

    @torch.no_grad()
    def training_step(self, rows: Tensor, batch_idx: int) -> None:
        """Take S optimizer steps for every member; `rows` is `(S, C, B)`."""
        inputs, targets = self.gather(rows)
        if batch_idx == 0:
            self._step = self.round_steps(self.current_epoch)[0]
            self._loss_sums = torch.zeros(len(self.members), device=self.device, dtype=torch.float64)
        block = []
        for step_inputs, step_targets in zip(inputs.unbind(), targets.unbind(), strict=True):
            gradients, loss = self._gradients(step_inputs, step_targets)
            self._cohort_optimizer.step(gradients)
            block.append(loss)
        step_losses = torch.stack(block).double()  # (S, C)
        self._note_divergence(step_losses)
        self._step += len(block)
        self._loss_sums += step_losses.sum(0) * rows.shape[2]

    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the gradients by name, each `(C, *shape)`, and the losses `(C,)` of one step."""
        arguments = (*self._state(), inputs, targets)
        program = self._programs.get(inputs.shape)
        if program is None:
            program = self._programs[inputs.shape] = tracing.trace(vmap(self._member_step), arguments)
        gradients, buffers, loss = program(*arguments)
        for name, buffer in zip(self._buffers_now(), buffers, strict=True):
            name.copy_(buffer)
        return dict(zip(self._names, gradients, strict=True)), loss

    def _member_step(self, *arguments: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """One trial's gradients, its buffers afterwards, and its loss: pure, without a member axis."""
        *state, inputs, targets = arguments
        parameters = dict(zip(self._names, state, strict=False))
        old_buffers = dict(zip(self._buffer_names, state[len(self._names) :], strict=True))

        def loss_of(parameters: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            buffers = {name: value.clone() for name, value in old_buffers.items()}
            outputs = functional_call(self._network.train(), {**parameters, **buffers}, (inputs,))
            return losses.loss_function(self.kind)(outputs, targets), buffers

        gradients, (loss, buffers) = grad_and_value(loss_of, has_aux=True)(parameters)
        return tuple(gradients[name] for name in self._names), tuple(buffers.values()), loss

    def _note_divergence(self, step_losses: Tensor) -> None:
        """A member whose loss is not finite has diverged; its neighbours go on. `step_losses` is `(S, C)`."""
        bad = ~torch.isfinite(step_losses)
        if not bad.any():
            return
        first = bad.int().argmax(0)
        for index in bad.any(0).nonzero().flatten().tolist():
            if self.members[index].diverged_step is None:
                self.members[index].diverged_step = self._step + int(first[index]) + 1

    # ── validation, test ──────────────────────────────────────────────────────────────────────────────────────────────

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Validate every member; remember its state where the validation loss is the lowest so far."""
        start, stop = self.round_steps(self.current_epoch)
        seen = self.batches.examples(stop) - self.batches.examples(start)
        with self.trainer.precision_plugin.val_step_context():
            outputs = self._evaluate(self._state(), self.validation_rows)  # (C, rows, K)
        targets = self._targets(self.validation_rows)
        val_losses = vmap(losses.loss_function(self.kind))(outputs, targets).double().tolist()
        val_scores = losses.score(self.kind, outputs, targets).double().tolist()
        train_losses = (self._loss_sums / seen).tolist()
        improved = []
        for index, member in enumerate(self.members):
            if member.diverged_step is None and not np.isfinite(val_losses[index]):
                member.diverged_step = stop
            if member.diverged_step is not None:
                continue
            if val_losses[index] < member.best_loss:
                member.best_round = len(member.val_losses)
                improved.append(index)
            member.val_losses.append(val_losses[index])
            member.val_scores.append(val_scores[index])
            member.train_losses.append(train_losses[index])
        for best, now in zip(self._best, self._state(), strict=True):
            best[improved] = now[improved]
        if all(member.diverged_step is not None for member in self.members):
            self.trainer.should_stop = True

    @torch.no_grad()
    def test_predictions(self) -> list[NDArray[np.float64]]:
        """Return every member's predictions on its test rows, from the state with the lowest validation loss.

        Class probabilities `(rows, classes)`, token probabilities `(rows, D, tokens)`, or numbers `(rows,)` in the
        target's own unit.
        """
        outputs = losses.predict(self.kind, self._evaluate(self._best, self.test_rows))
        if self.kind == "regression":
            outputs = outputs * self.target_std[:, None] + self.target_mean[:, None]
        return list(outputs.cpu().numpy())

    def _evaluate(self, state: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Return the outputs `(C, rows, K)` for rows `(C, rows)`."""

        def forward(state: list[Tensor], inputs: Tensor) -> Tensor:
            named = dict(zip(self._names + self._buffer_names, state, strict=True))
            outputs: Tensor = functional_call(self._network.eval(), named, (inputs,))
            return outputs

        parts = [
            vmap(forward)(list(state), self.gather(part[None])[0][0])
            for part in torch.split(rows, EVALUATION_ROWS, dim=1)
        ]
        return torch.cat(parts, dim=1).float()

    # ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled inputs `(S, C, B, D)` and targets `(S, C, B)` of rows `(S, C, B)`.

        Tokens are not scaled; the targets of language are `(S, C, B, D)`.
        """
        if self._has_tokens:
            return self.inputs[rows], self._targets(rows)
        inputs = (self.inputs[rows] - self.mean[:, None]) / self.std[:, None]
        if self._has_missing:
            inputs = torch.nan_to_num(inputs, nan=0.0)
        return inputs, self._targets(rows)

    def _targets(self, rows: Tensor) -> Tensor:
        """Return the targets, scaled for regression, in the shape of `rows`, whose last axes are `(C, B)`.

        For language an axis of places follows.
        """
        if self.kind == "regression":
            return (self.targets[rows] - self.target_mean[:, None]) / self.target_std[:, None]
        return self.targets[rows]

    def steps_in_block(self) -> int:
        """Return the most steps S that one block takes."""
        numbers = len(self.members) * self.batches.batch_size * self.inputs.shape[1]
        return max(1, BLOCK_NUMBERS // numbers)

    def _buffers_now(self) -> list[Tensor]:
        return [getattr(self, f"_buffer{index}") for index in range(len(self._buffer_names))]

    def _state(self) -> list[Tensor]:
        return [*(parameter.data for parameter in self._stacked), *self._buffers_now()]


class _Rounds:
    """What Lightning iterates over: the blocks of the current round."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort

    def __iter__(self) -> Iterator[Tensor]:
        cohort = self._cohort
        return cohort.batches.blocks(*cohort.round_steps(cohort.current_epoch), cohort.steps_in_block())


class _Unregistered:
    """The network whose code all members share, kept from Lightning's eyes: it holds no weights of the cohort."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def train(self) -> nn.Module:
        return self._network.train()

    def eval(self) -> nn.Module:
        return self._network.eval()


def _stack(splits: Sequence[Split], part: str) -> Tensor:
    return torch.as_tensor(np.stack([getattr(split, part) for split in splits]))
