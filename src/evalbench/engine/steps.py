"""Compute the step of one trial as a pure function, and the same step for C members at once.

Shapes: `C` members, `B` rows, `K` outputs.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from evalbench.engine import recomputation, tracing
from evalbench.engine.noise import MemberNoise
from evalbench.engine.one_by_one import OneByOne, Pass
from evalbench.engine.python_state import Values
from evalbench.engine.state import Stack

log = logging.getLogger(__name__)

Tensors = Sequence[Tensor]
MEMBER_AXES = (0, 0, 0, None, 0, 0, 0, None)
"""The member axis of each argument of a step: shared tensors and the row number have none."""


class MemberStep:
    """Compute one trial's forward pass, loss and gradients, without a member axis."""

    def __init__(self, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], stack: Stack) -> None:
        """Take the network whose code runs (its own tensors are never used), the loss, and a stack with tensors' names.

        A pass is given these tensors in the stack's order: trained, carried, own and shared.
        """
        self._network = _without_values(network)
        self._trained, self._carried = list(stack.trained), list(stack.carried)
        self._constant = [*stack.own, *stack.shared]
        self._loss = loss

    def __call__(
        self,
        trained: Tensors,
        carried: Tensors,
        own: Tensors,
        shared: Tensors,
        inputs: Tensor,
        targets: Tensor,
        key: Tensor,
        row: Tensor,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """Return gradients, the carried tensors afterwards and the mean loss of rows `(B, ...)`.

        The first of them is the batch's row number `row`.
        """

        def loss_of(trained: Tensors) -> tuple[Tensor, tuple[Tensor, ...]]:
            named = self._named(trained, [value.clone() for value in carried], own, shared)
            with MemberNoise(key, row, len(inputs)), recomputation.marked():
                outputs = functional_call(self._network.train(), named, (inputs,))
            return self._loss(outputs, targets), tuple(named[name] for name in self._carried)

        gradients, (loss, after) = grad_and_value(loss_of, has_aux=True)(list(trained))
        return tuple(gradients), after, loss

    def forward(
        self,
        trained: Tensors,
        carried: Tensors,
        own: Tensors,
        shared: Tensors,
        inputs: Tensor,
        key: Tensor,
        row: Tensor,
    ) -> Tensor:
        """Return the outputs `(B, K)` when nothing is learned."""
        named = self._named(trained, [value.clone() for value in carried], own, shared)
        with MemberNoise(key, row, len(inputs)), recomputation.marked():
            outputs: Tensor = functional_call(self._network.eval(), named, (inputs,))
        return outputs

    def _named(self, trained: Tensors, carried: Tensors, own: Tensors, shared: Tensors) -> dict[str, Tensor]:
        names = (*self._trained, *self._carried, *self._constant)
        return dict(zip(names, (*trained, *carried, *own, *shared), strict=True))

    def __str__(self) -> str:
        return type(self._network).__name__


class Steps:
    """Run a member's step for C members: traced once per shape and replayed, or one by one if that is impossible."""

    def __init__(self, step: MemberStep, make_one_by_one: Callable[[], OneByOne]) -> None:
        self._step, self._make_one_by_one = step, make_one_by_one
        self._moves: list[Callable[[Tensor], Tensor]] = []
        self._programs: dict[torch.Size, Callable[..., Any]] = {}
        self.why_one_by_one: str | None = None
        """The reason why members are not batched; None if they are."""

    @property
    def batched(self) -> bool:
        """Return whether the members are one batched model."""
        return self.why_one_by_one is None

    @cached_property
    def one_by_one(self) -> OneByOne:
        """The members' own networks, on the same device and with the same dtype as the stack."""
        networks = self._make_one_by_one()
        for function in self._moves:
            networks.move(function)
        return networks

    def __call__(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor, row: int) -> Pass:
        """Return the results of all members; every tensor has a leading `C`."""
        if not self.batched:
            return self.one_by_one(stack, inputs, targets, keys, row)
        program = self._programs.get(inputs.shape)
        if program is None:
            try:
                program = self._trace(stack, inputs, targets, keys)
            except Exception as error:  # a model that cannot be batched may raise anything
                self.give_up(reason_of(error))
                return self.one_by_one(stack, inputs, targets, keys, row)  # raises the model's own errors
            self._programs[inputs.shape] = program
        first_row = torch.full((), row, device=inputs.device)  # needs no copy to the device, unlike torch.tensor
        gradients, carried, loss = program(*stack.parts, inputs, targets, keys, first_row)
        return Pass(gradients, carried, loss)

    def _trace(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor) -> tracing.Program:
        row = torch.tensor(0, device=inputs.device)
        step = vmap(self._step, in_dims=MEMBER_AXES)

        def contiguous_step(*arguments: Any) -> Any:
            """Return gradients with the memory layout of their parameters, which the CPU's fused optimizers need."""
            gradients, carried, loss = step(*arguments)
            return tuple(gradient.contiguous() for gradient in gradients), carried, loss

        return tracing.trace(contiguous_step, (*stack.parts, inputs.clone(), targets, keys, row))  # may write inputs

    def forward(self, stack: Stack, inputs: Tensor, keys: Tensor, row: int) -> Tensor:
        """Return the outputs `(C, B, K)` when nothing is learned."""
        if self.batched:
            try:
                return self._forward()(*stack.parts, inputs, keys, torch.tensor(row, device=inputs.device))
            except Exception as error:
                self.give_up(reason_of(error))
        return self.one_by_one.forward(stack, inputs, keys, row)

    def _forward(self) -> Callable[..., Tensor]:
        return vmap(self._step.forward, in_dims=(*MEMBER_AXES[:5], *MEMBER_AXES[6:]))

    def peak_bytes(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor) -> int:
        """Return the peak bytes of one pass beside its arguments, or 0 if it is not batched."""
        if not self.batched:  # trains member by member, so all members fit if one fits
            return 0
        try:
            return tracing.peak_bytes(self._trace(stack, inputs, targets, keys))
        except Exception:
            return 0

    def forward_peak_bytes(self, stack: Stack, inputs: Tensor, keys: Tensor) -> int:
        """Return `peak_bytes` for a pass without learning."""
        if not self.batched:
            return 0
        row = torch.tensor(0, device=inputs.device)
        try:
            return tracing.peak_bytes(tracing.trace(self._forward(), (*stack.parts, inputs, keys, row)))
        except Exception:
            return 0

    def give_up(self, reason: str) -> None:
        """Train member by member from now on, with newly built networks."""
        log.info("%s trains member by member: %s", self._step, reason)
        self.why_one_by_one = reason
        self._programs.clear()
        self.__dict__.pop("one_by_one", None)

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Follow tensors that moved: a program holds constants of the device and type that it was traced with."""
        self._programs.clear()
        self._moves.append(function)
        if "one_by_one" in self.__dict__:
            self.one_by_one.move(function)

    def python_state(self, member_indices: Sequence[int]) -> dict[int, Values]:
        """Return the Python state of these members' networks by member index; empty if they are batched."""
        if self.batched:
            return {}
        return {member_index: self.one_by_one.python_state(member_index) for member_index in member_indices}

    def set_python_state(self, states: Mapping[int, Values]) -> None:
        """Set the Python state of members' networks."""
        for member_index, values in states.items():
            self.one_by_one.set_python_state(member_index, values)


def _without_values(network: nn.Module) -> nn.Module:
    """Move a network's tensors to the meta device, tied ones together."""
    moved: dict[int, Tensor] = {}
    for module in network.modules():
        for held in (module._parameters, module._buffers):
            for key, value in held.items():
                if value is None:
                    continue
                if id(value) not in moved:
                    empty = value.detach().to("meta")
                    is_parameter = isinstance(value, nn.Parameter)
                    moved[id(value)] = nn.Parameter(empty, value.requires_grad) if is_parameter else empty
                held[key] = moved[id(value)]  # type: ignore[assignment]
    return network


def reason_of(error: Exception) -> str:
    """Return in one line why a step cannot be batched."""
    text = str(error).strip()
    if "data-dependent" in text:
        return "its control flow depends on values of tensors"
    return (text.splitlines() or [type(error).__name__])[0]
