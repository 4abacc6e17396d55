"""Run C networks one by one in plain PyTorch: if they cannot be batched, and to check batched networks.

A member's network keeps its Python state. Its tensors are set to the member's part of the stack for each pass.
Shapes: `C` members, `B` rows, `K` outputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evalbench.engine.noise import MemberNoise
from evalbench.engine.objective import Loss, Objective
from evalbench.engine.python_state import Values, copied_values, set_values
from evalbench.engine.state import Stack
from evalbench.errors import ConfigError
from evalbench.models import generators_used, seeded


class Pass(NamedTuple):
    """Hold the results of one pass over a batch for C members."""

    gradients: "tuple[Tensor, ...]"  # (C, *shape) each
    carried: "tuple[Tensor, ...]"
    """The tensors that are carried over to the next pass, `(C, *shape)` each."""
    loss: Tensor  # (C,)
    without: tuple[frozenset[int], ...] = ()
    """For each gradient, the slots of members whose parameter took no part, which their optimizers skip."""


class OneByOne:
    """Hold the networks of all members, each made when it is first needed."""

    def __init__(self, build: Callable[[int], nn.Module], loss: Loss | None) -> None:
        """Take the function that builds the network of a member index, and the loss of outputs, see `Objective`."""
        self._build = build
        self._networks: dict[int, nn.Module] = {}
        self._owners: dict[int, dict[str, list[tuple[nn.Module, str]]]] = {}
        self._moves: list[Callable[[Tensor], Tensor]] = []
        self._loss = loss
        self.drew_from: set[str] | None = None
        """The global generators that networks drew from beside `MemberNoise`; None if they are not recorded."""

    def network(self, member_index: int) -> nn.Module:
        """Return a member's network."""
        if member_index not in self._networks:
            network = self._build(member_index)
            for function in self._moves:
                network._apply(function)  # type: ignore[no-untyped-call]
            self._networks[member_index] = network
            self._owners[member_index] = _owners(network)
        return self._networks[member_index]

    def __call__(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor, row: int) -> Pass:
        """Return the results of all members; carried tensors are changed in@@slot."""
        gradients: list[list[Tensor | None]] = [[] for _ in stack.trained]
        losses = []
        for slot, member_index in enumerate(stack.member_indices):
            network = self._bound(stack, slot)
            named = dict(network.named_parameters())
            parameters = [named[name] for name in stack.trained]
            for parameter in parameters:
                parameter.grad = None
            with torch.enable_grad(), self._randomness(keys[slot], row, len(inputs[slot])) as noise:
                objective = Objective(network.train(), self._loss)
                loss = objective(inputs[slot].clone(), targets[slot])  # the network may write into its inputs
                with _repeated(noise):
                    loss.backward()
            for column, parameter in zip(gradients, parameters, strict=True):
                column.append(parameter.grad)
                parameter.grad = None
            for name, parameter in named.items():
                if parameter.requires_grad and name not in stack.trained:
                    rule = f"must decide when it is built which parameters train, and not turn on {name} later"
                    raise ConfigError("model", rule, type(network).__name__, "set requires_grad in its constructor")
            losses.append(loss.detach())
            self._take_back(stack, slot, member_index)
        filled = (
            torch.stack([value[slot] * 0 if gradient is None else gradient for slot, gradient in enumerate(column)])
            for column, value in zip(gradients, stack.trained.values(), strict=True)
        )
        without = (frozenset(slot for slot, gradient in enumerate(column) if gradient is None) for column in gradients)
        return Pass(tuple(filled), tuple(stack.carried.values()), torch.stack(losses), tuple(without))

    def forward(self, stack: Stack, inputs: Tensor, keys: Tensor, row: int) -> Tensor:
        """Return the outputs `(C, B, K)` when nothing is learned."""
        outputs = []
        for slot, member_index in enumerate(stack.member_indices):
            network = self._bound(stack, slot)
            with torch.no_grad(), self._randomness(keys[slot], row, len(inputs[slot])):
                outputs.append(network.eval()(inputs[slot].clone()))
            self._take_back(stack, slot, member_index)
        return torch.stack(outputs)

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the networks as the stack was moved."""
        self._moves.append(function)
        for network in self._networks.values():
            network._apply(function)  # type: ignore[no-untyped-call]

    def _bound(self, stack: Stack, slot: int) -> nn.Module:
        """Return a member's network, bound to the tensors of its slot in the stack."""
        member_index = stack.member_indices[slot]
        network = self.network(member_index)
        for name, value in stack.member(slot).items():
            for owner, key in self._owners[member_index][name]:
                held = owner._parameters if key in owner._parameters else owner._buffers
                tensor = held[key]
                if tensor is None or (held is owner._buffers and tensor.grad_fn is not None):
                    held[key] = value.detach()  # type: ignore[assignment]
                else:
                    tensor.data = value.detach()
        return network

    def _take_back(self, stack: Stack, slot: int, member_index: int) -> None:
        """Write tensors that the network has assigned anew into the stack."""
        for name, value in stack.member(slot).items():
            if name in stack.shared or name in stack.own:
                continue
            owner, key = self._owners[member_index][name][0]
            tensor = owner._parameters[key] if key in owner._parameters else owner._buffers[key]
            if tensor is None or tensor.shape != value.shape:
                rule = f"must not change the shape of {name} while it trains"
                raise ConfigError(
                    "model", rule, type(self._networks[member_index]).__name__, "build it with its final shape"
                )
            if tensor.data_ptr() != value.data_ptr():
                value.detach().copy_(tensor.detach())

    @contextmanager
    def _randomness(self, key: Tensor, row: int, rows: int) -> Iterator[MemberNoise]:
        """Draw noise from a key, and seed the global generators with it."""
        seed = int(key)
        noise = MemberNoise(key, torch.tensor(row, device=key.device), rows, eager=True)
        with seeded(seed, key.device):
            with noise:
                yield noise
            if self.drew_from is not None:
                self.drew_from |= generators_used(seed, noise.counted(seed))

    def python_state(self, member_index: int) -> Values:
        """Return a copy of the Python state of a member's modules."""
        return copied_values(self.network(member_index))

    def set_python_state(self, member_index: int, values: Values) -> None:
        """Set the Python state of a member's modules."""
        set_values(self.network(member_index), values)


@contextmanager
def _repeated(noise: MemberNoise) -> Iterator[None]:
    """Repeat the noise of parts of a pass that `torch.utils.checkpoint` repeats in the backward pass.

    Autograd runs these parts without any mode, but always inside `torch.random.fork_rng`, to reset the generators.
    """
    fork = torch.random.fork_rng

    @contextmanager
    def fork_with_noise(*arguments: Any, **more: Any) -> Iterator[None]:
        with fork(*arguments, **more), noise:
            yield

    torch.random.fork_rng = fork_with_noise
    try:
        with torch.autograd.set_multithreading_enabled(False):
            yield
    finally:
        torch.random.fork_rng = fork


def _owners(network: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Return the modules that hold each tensor, with its key in them; tied tensors have several."""
    names = {id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    owners: dict[str, list[tuple[nn.Module, str]]] = {name: [] for name in names.values()}
    for module in network.modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                owners[names[id(tensor)]].append((module, key))
    return owners
