"""Compute the step of one trial as a pure function, and the same step for C members at once.

Shapes: `C` members, `B` rows, `K` outputs.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from evalbench.engine import attention, compiled, paths, recomputation, tracing
from evalbench.engine.noise import MemberNoise
from evalbench.engine.objective import Loss, Objective
from evalbench.engine.one_by_one import OneByOne, Pass
from evalbench.engine.paths import PathRequest
from evalbench.engine.python_state import Values
from evalbench.engine.state import Stack

log = logging.getLogger(__name__)

Tensors = Sequence[Tensor]
Run = Callable[..., Any]
"""Takes the tensors of a stack by part, then a batch; returns tensors or nested tuples of them."""
Arguments = tuple[Any, ...]
"""Trained, carried, own and shared tensors as lists, then inputs, targets in a step, noise keys, and the row number."""
COMPACT_TRACED, COMPACT_COMPILED = 0.8, 0.4
"""The shares of training members below which ended members are dropped."""
MEMBER_AXES = (0, 0, 0, None, 0, 0, 0, None)
"""The member axis of each argument of a step: shared tensors and the row number have none."""


class MemberStep:
    """Compute one trial's forward pass, loss and gradients, without a member axis."""

    def __init__(self, network: nn.Module, loss: Loss | None, stack: Stack) -> None:
        """Take the network whose code runs (its own tensors are never used), and a stack with its tensors' names.

        The loss is that of outputs; None: the network's own training step.

        A pass is given these tensors in the stack's order: trained, carried, own and shared.
        """
        self._network = _without_values(network)
        self._trained, self._carried = list(stack.trained), list(stack.carried)
        self._constant = [*stack.own, *stack.shared]
        self._objective = Objective(self._network, loss)

    def __call__(self, trained: Tensors, *rest: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """Return gradients, the carried tensors afterwards and the mean loss; `_loss_of` names the arguments.

        Transforms compute the gradients, so that `vmap` can add members.
        """

        def loss_of(trained: Tensors) -> tuple[Tensor, tuple[Tensor, ...]]:
            return self._loss_of(trained, *rest)

        gradients, (loss, after) = grad_and_value(loss_of, has_aux=True)(list(trained))
        return tuple(gradients), after, loss

    def alone(self, trained: Tensors, *rest: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """Do the same by autograd, whose kernels are faster but cannot be batched."""
        leaves = [value.detach().requires_grad_() for value in trained]
        with torch.enable_grad():
            loss, after = self._loss_of(leaves, *rest)
        with torch.autocast(loss.device.type, enabled=False), torch.autograd.set_multithreading_enabled(False):
            gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
        return gradients, tuple(value.detach() for value in after), loss.detach()

    def _loss_of(
        self,
        trained: Tensors,
        carried: Tensors,
        own: Tensors,
        shared: Tensors,
        inputs: Tensor,
        targets: Tensor,
        key: Tensor,
        row: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the mean loss of rows `(B, ...)`, and the carried tensors afterwards.

        The first of the rows is the batch's row number `row`.
        """
        named = self._named(trained, [value.clone() for value in carried], own, shared)
        with MemberNoise(key, row, len(inputs)), recomputation.marked():
            tensors = {f"network.{name}": value for name, value in named.items()}
            loss = functional_call(self._objective.train(), tensors, (inputs, targets))
        return loss, tuple(tensors[f"network.{name}"] for name in self._carried)

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
    """Run a member's step for C members on their path, or one by one if the step cannot be traced."""

    def __init__(self, step: MemberStep, make_one_by_one: Callable[[], OneByOne], request: PathRequest) -> None:
        self._step, self._make_one_by_one, self._request = step, make_one_by_one, request
        self._moves: list[Callable[[Tensor], Tensor]] = []
        self._programs: dict[torch.Size, Run] = {}
        self._forwards: dict[torch.Size, Run | None] = {}  # None: seen once, not traced yet
        self._chosen: tuple[str, str] | None = None  # the type of device, and the path that the rule gives for it
        self._compiles = False
        self._step_bytes: int | None = None  # of one trial, if the rule asked for them
        self._measured: dict[str, Any] = {}  # what compiling cost and saved, for the first shape
        self.why_one_by_one: str | None = None
        """The reason why members have no traced program; None if they have one."""

    @property
    def batched(self) -> bool:
        """Return whether the members have a traced program, unlike networks that train one by one."""
        return self.why_one_by_one is None

    @property
    def path(self) -> dict[str, Any]:
        """The path of the steps so far with its measurements, as plain values."""
        if self.why_one_by_one is not None:
            return {"name": "one by one", "reason": self.why_one_by_one}
        traced = paths.BATCHED if self._chosen is None else self._chosen[1]
        measured = {**({} if self._step_bytes is None else {"step_bytes": self._step_bytes}), **self._measured}
        if self._compiles and "not_compiled" not in self._measured:
            return {"name": paths.COMPILED, "program": traced, **measured}
        return {"name": traced, **measured}

    @property
    def compact_below(self) -> float:
        """Drop ended members once the training members are fewer than this share: each drop costs a new program."""
        return COMPACT_COMPILED if self._compiles else COMPACT_TRACED

    @property
    def _lone(self) -> bool:
        return self._chosen is not None and self._chosen[1] == paths.LONE

    @cached_property
    def one_by_one(self) -> OneByOne:
        """The members' own networks, on the same device and with the same dtype as the stack."""
        networks = self._make_one_by_one()
        for function in self._moves:
            networks.move(function)
        return networks

    def compile_from_now_on(self) -> None:
        """Compile programs if that was asked for; called when nothing is left to check."""
        self._compiles = self._request.path == paths.COMPILED
        self._programs.clear()

    def __call__(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor, row: int) -> Pass:
        """Return the results of all members; every tensor has a leading `C`."""
        if self.batched:
            arguments = (*stack.parts, inputs, targets, keys, _on_device(row, inputs))
            try:
                run = self._run(arguments)
            except Exception as error:  # a model that cannot be traced may raise anything
                self.give_up(reason_of(error))
            else:
                return Pass(*run(*arguments))
        return self.one_by_one(stack, inputs, targets, keys, row)  # raises the model's own errors

    def _run(self, arguments: Arguments) -> Run:
        """Return the function that takes a step with arguments of these shapes; trace and compile it if it is new."""
        inputs = arguments[4]
        if self._chosen is None or self._chosen[0] != inputs.device.type:
            self._chosen = inputs.device.type, self._choose(arguments)
        shape = inputs.shape[1:] if self._lone else inputs.shape
        if shape not in self._programs:
            examples = _first_member(arguments) if self._lone else arguments
            program = self._traced(examples)
            if self._request.own_code:
                program(*_copied_inputs(examples))  # some kernels of autograd run only where it is on, as in a trace
            run: Run = program
            if self._compiles and self._request.folder is not None:
                run, measured = compiled.made(program, examples, self._request.folder)
                self._measured = self._measured or measured
            self._programs[shape] = _in_turn(run) if self._lone else run
        return self._programs[shape]

    def _choose(self, arguments: Arguments) -> str:
        """Return the forced path of traced programs, or the rule's.

        A user's network that cannot be batched has no lone path: `vmap` refuses what a traced program gets wrong,
        such as shapes that depend on values, and tensors outside the network that a pass changes.
        """
        if self._request.own_code:
            self._traced(arguments, alone=False)
        if self._request.path in (paths.BATCHED, paths.LONE):
            return self._request.path
        *parts, inputs, targets, key, row = _first_member(arguments)
        rows = self._request.rows or len(inputs)

        def member_bytes() -> int:
            whole = (values[:1].expand(rows, *values.shape[1:]) for values in (inputs, targets))  # this may be short
            try:
                self._step_bytes = tracing.peak_bytes(self._traced((*parts, *whole, key, row), alone=True))
            except Exception:  # a user's network may raise anything
                return 0
            return self._step_bytes

        return paths.choose(inputs.device.type, self._request.several, member_bytes)

    def _traced(self, arguments: Arguments, alone: bool | None = None) -> tracing.Program:
        """Trace the step of one member, or of all, as the path says."""
        step = self._step.alone if alone or (alone is None and self._lone) else vmap(self._step, in_dims=MEMBER_AXES)

        def contiguous_step(*arguments: Any) -> Any:
            """Return gradients with the memory layout of their parameters, which the CPU's fused optimizers need."""
            gradients, carried, loss = step(*arguments)
            return tuple(gradient.contiguous() for gradient in gradients), carried, loss

        with attention.for_compiler(arguments[4].device.type) if self._compiles else nullcontext():
            return tracing.trace(contiguous_step, _copied_inputs(arguments))

    def forward(self, stack: Stack, inputs: Tensor, keys: Tensor, row: int) -> Tensor:
        """Return the outputs `(C, B, K)` when nothing is learned; inputs of a shape that comes again are traced."""
        if self.batched:
            arguments = (*stack.parts, inputs, keys, _on_device(row, inputs))
            try:
                outputs: Tensor = self._forward_run(arguments)(*arguments)
                return outputs
            except Exception as error:
                self.give_up(reason_of(error))
        return self.one_by_one.forward(stack, inputs, keys, row)

    def _forward_run(self, arguments: Arguments) -> Run:
        shape = arguments[4].shape
        if shape not in self._forwards:
            self._forwards[shape] = None
            return self._forward
        run = self._forwards[shape]
        if run is None and self._lone:
            run = _in_turn(tracing.trace(self._step.forward, _copied_inputs(_first_member(arguments))))
        elif run is None:
            run = tracing.trace(self._forward, _copied_inputs(arguments))
        self._forwards[shape] = run
        return run

    def _forward(self, *arguments: Any) -> Any:
        if self._lone:
            return _in_turn(self._step.forward)(*arguments)
        return vmap(self._step.forward, in_dims=(*MEMBER_AXES[:5], *MEMBER_AXES[6:]))(*arguments)

    def peak_bytes(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor) -> int:
        """Return the peak bytes of one pass beside its arguments, or 0 if it is not traced."""
        if not self.batched:  # trains member by member, so all members fit if one fits
            return 0
        try:
            arguments = (*stack.parts, inputs, targets, keys, _on_device(0, inputs))
            return tracing.peak_bytes(self._traced(arguments, alone=False))
        except Exception:
            return 0

    def forward_peak_bytes(self, stack: Stack, inputs: Tensor, keys: Tensor) -> int:
        """Return `peak_bytes` for a pass without learning."""
        if not self.batched:
            return 0
        try:
            arguments = (*stack.parts, inputs, keys, _on_device(0, inputs))
            return tracing.peak_bytes(tracing.trace(self._forward, arguments))
        except Exception:
            return 0

    def give_up(self, reason: str) -> None:
        """Train member by member from now on, with newly built networks."""
        log.info("%s trains member by member: %s", self._step, reason)
        self.why_one_by_one = reason
        self._programs.clear()
        self._forwards.clear()
        self.__dict__.pop("one_by_one", None)

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Follow tensors that moved: a program holds constants of the device and type that it was traced with."""
        self._programs.clear()
        self._forwards.clear()
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


def _on_device(row: int, like: Tensor) -> Tensor:
    return torch.full((), row, device=like.device)  # needs no copy to the device, unlike torch.tensor


def _copied_inputs(arguments: Arguments) -> Arguments:
    """Return the arguments with a copy of the inputs, into which a network may write."""
    return *arguments[:4], arguments[4].clone(), *arguments[5:]


def _first_member(arguments: Arguments) -> Arguments:
    """Return the arguments of the first member alone, as views."""
    trained, carried, own, shared, *batch, row = arguments
    parts = ([value[0] for value in part] for part in (trained, carried, own))
    return *parts, shared, *(value[0] for value in batch), row


def _in_turn(run: Run) -> Run:
    """Return a function of all members' arguments that runs one member's function for one member after the other."""
    views: list[Any] = [None, []]  # of the tensors of the last stack, whose lists its `parts` keep

    def run_all(trained: Tensors, carried: Tensors, own: Tensors, shared: Tensors, *batch_and_row: Tensor) -> Any:
        *batch, row = batch_and_row
        if views[0] is not trained:
            slots = range(len(batch[0]))
            views[:] = trained, [[[value[s] for value in part] for part in (trained, carried, own)] for s in slots]
        members = zip(views[1], *batch, strict=True)
        return _stacked([run(*parts, shared, *values, row) for parts, *values in members])

    return run_all


def _stacked(results: Sequence[Any]) -> Any:
    """Stack the members' tensors, or nested tuples of them; a single member's are not copied."""
    if isinstance(results[0], Tensor):
        return torch.stack(list(results)) if len(results) > 1 else results[0][None]
    return tuple(_stacked(column) for column in zip(*results, strict=True))


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
