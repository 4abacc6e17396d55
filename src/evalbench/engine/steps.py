"""The step of one trial, pure, and the same step for C members at once.

Shapes: `C` members, `B` rows, `K` outputs; a member's state is its parameters, then its buffers, in a fixed order.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from evalbench.engine import tracing
from evalbench.engine.noise import MemberNoise
from evalbench.workloads import Kind, losses

log = logging.getLogger(__name__)


class StepResult(NamedTuple):
    """What one pass over a batch gives: gradients per parameter, buffers afterwards, mean loss."""

    gradients: tuple[Tensor, ...]
    buffers: tuple[Tensor, ...]
    loss: Tensor


class MemberStep:
    """One trial's forward pass, loss and gradients; no member axis anywhere."""

    def __init__(
        self, network: nn.Module, kind: Kind, names: Sequence[str], buffers: Sequence[str], label_smoothing: float
    ) -> None:
        """Take the network whose code runs (its own weights are never used) and the order of its state."""
        self._network = network
        self._names, self._buffers = list(names), list(buffers)
        self._loss = losses.training_loss(kind, label_smoothing)

    def __call__(
        self, state: Sequence[Tensor], inputs: Tensor, targets: Tensor, key: Tensor, row: Tensor
    ) -> StepResult:
        """Return the step's result for rows `(B, ...)`, of which the first is the batch's row number `row`."""
        parameters = dict(zip(self._names, state, strict=False))
        old_buffers = state[len(self._names) :]

        def loss_of(parameters: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
            buffers = {name: value.clone() for name, value in zip(self._buffers, old_buffers, strict=True)}
            with MemberNoise(key, row):
                outputs = functional_call(self._network.train(), {**parameters, **buffers}, (inputs,))
            return self._loss(outputs, targets), tuple(buffers.values())

        gradients, (loss, buffers) = grad_and_value(loss_of, has_aux=True)(parameters)
        return StepResult(tuple(gradients[name] for name in self._names), buffers, loss)

    def forward(self, state: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """Return the outputs `(B, K)` when nothing is learned."""
        named = dict(zip(self._names + self._buffers, state, strict=True))
        outputs: Tensor = functional_call(self._network.eval(), named, (inputs,))
        return outputs

    def __str__(self) -> str:
        return type(self._network).__name__


class StepProgram:
    """A member's step for C members: traced once per shape and replayed; member by member where that is impossible."""

    def __init__(self, step: MemberStep) -> None:
        self._step = step
        self._programs: dict[torch.Size, Callable[..., Any]] = {}
        self._batched = True

    def __call__(self, state: Sequence[Tensor], inputs: Tensor, targets: Tensor, key: Tensor, row: int) -> StepResult:
        """Return the results of all members; every tensor has a leading `C`."""
        arguments = (list(state), inputs, targets, key, torch.tensor(row, device=inputs.device))
        if self._batched:
            program = self._programs.get(inputs.shape)
            if program is not None:
                return program(*arguments)  # type: ignore[no-any-return]
            try:
                program = tracing.trace(vmap(self._step, in_dims=(0, 0, 0, 0, None)), arguments)
            except Exception as error:  # whatever a model does that cannot be batched
                result = self._one_by_one(*arguments)  # a fault of the model itself is raised here, as it is
                self._give_up(error)
                return result
            self._programs[inputs.shape] = program
            return program(*arguments)  # type: ignore[no-any-return]
        return self._one_by_one(*arguments)

    def peak_bytes(self, state: Sequence[Tensor], inputs: Tensor, targets: Tensor, key: Tensor) -> int:
        """Return the most memory that one pass holds beside its arguments, or 0 where it cannot be traced."""
        row = torch.tensor(0, device=inputs.device)
        try:
            step = vmap(self._step, in_dims=(0, 0, 0, 0, None))
            return tracing.peak_bytes(tracing.trace(step, (list(state), inputs, targets, key, row)))
        except Exception:  # trains member by member, and so fits if one fits
            return 0

    def why_not_batched(self, state: Sequence[Tensor], inputs: Tensor, targets: Tensor, key: Tensor) -> str | None:
        """Return why the step cannot be batched, if it cannot; nothing is learned."""
        row = torch.tensor(0, device=inputs.device)
        try:
            tracing.trace(vmap(self._step, in_dims=(0, 0, 0, 0, None)), (list(state), inputs, targets, key, row))
        except Exception as error:  # whatever a model does that cannot be batched
            with suppress(Exception):  # a fault of the model itself is not about batches
                self._one_by_one(state, inputs, targets, key, row)
                return _why(error)
        return None

    def forward_peak_bytes(self, state: Sequence[Tensor], inputs: Tensor) -> int:
        """Return the same for a pass in which nothing is learned."""
        try:
            return tracing.peak_bytes(tracing.trace(vmap(self._step.forward), (list(state), inputs)))
        except Exception:
            return 0

    def forward(self, state: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """Return the outputs `(C, B, K)` when nothing is learned."""
        if self._batched:
            try:
                return vmap(self._step.forward)(list(state), inputs)
            except Exception as error:
                outputs = self._forward_one_by_one(state, inputs)
                self._give_up(error)
                return outputs
        return self._forward_one_by_one(state, inputs)

    def _one_by_one(
        self, state: Sequence[Tensor], inputs: Tensor, targets: Tensor, key: Tensor, row: Tensor
    ) -> StepResult:
        results = []
        for member in range(len(inputs)):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(int(key[member]))  # for noise that `MemberNoise` does not know
                mine = [value[member] for value in state]
                results.append(self._step(mine, inputs[member], targets[member], key[member], row))
        gradients, buffers, losses_ = zip(*results, strict=True)
        stacked = [tuple(torch.stack(parts) for parts in zip(*each, strict=True)) for each in (gradients, buffers)]
        return StepResult(stacked[0], stacked[1], torch.stack(losses_))

    def _forward_one_by_one(self, state: Sequence[Tensor], inputs: Tensor) -> Tensor:
        members = range(len(inputs))
        return torch.stack([self._step.forward([value[m] for value in state], inputs[m]) for m in members])

    def _give_up(self, error: Exception) -> None:
        log.info("%s trains member by member: %s", self._step, _why(error))
        self._batched = False


def _why(error: Exception) -> str:
    """Say in a line why a step cannot be batched."""
    text = str(error).strip()
    if "data-dependent" in text:
        return "its control flow depends on values of tensors"
    return (text.splitlines() or [type(error).__name__])[0]
