"""C networks, each run by plain PyTorch as it is: for models that cannot be batched, and to check those that can.

A member's network keeps its Python state. Its tensors are set to the member's part of the stack for each pass.
Shapes: `C` members, `B` rows, `K` outputs.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from evalbench.engine.noise import MemberNoise
from evalbench.engine.python_state import Values, copied_values, set_values
from evalbench.engine.state import Stack
from evalbench.errors import ConfigError
from evalbench.models import seeded


class Pass(NamedTuple):
    """Results of one pass over a batch for C members."""

    gradients: "tuple[Tensor, ...]"  # (C, *shape) each
    carried: "tuple[Tensor, ...]"
    """What is carried over to the next pass, `(C, *shape)` each."""
    loss: Tensor  # (C,)
    without: tuple[frozenset[int], ...] = ()
    """For each gradient the places of members whose parameter took no part, which their optimizers skip."""


class OneByOne:
    """The networks of all members, each made when it is first needed."""

    def __init__(self, build: Callable[[int], nn.Module], loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Take what builds a member's network, with its initial values, and the loss of outputs and targets."""
        self._build = build
        self._networks: dict[int, nn.Module] = {}
        self._owners: dict[int, dict[str, list[tuple[nn.Module, str]]]] = {}
        self._moves: list[Callable[[Tensor], Tensor]] = []
        self._loss = loss
        self.drew_from: set[str] | None = None
        """Global generators that networks drew from beside the noise that is ours, once somebody asks for it."""

    def network(self, member: int) -> nn.Module:
        """Return a member's network."""
        if member not in self._networks:
            network = self._build(member)
            for function in self._moves:
                network._apply(function)  # type: ignore[no-untyped-call]
            self._networks[member] = network
            self._owners[member] = _owners(network)
        return self._networks[member]

    def __call__(self, stack: Stack, inputs: Tensor, targets: Tensor, keys: Tensor, row: int) -> Pass:
        """Return the results of all members; carried tensors are changed in place."""
        gradients: list[list[Tensor | None]] = [[] for _ in stack.trained]
        losses_ = []
        for place, member in enumerate(stack.member_indices):
            network = self._bound(stack, place)
            named = dict(network.named_parameters())
            parameters = [named[name] for name in stack.trained]
            for parameter in parameters:
                parameter.grad = None
            with torch.enable_grad(), self._randomness(keys[place], row, len(inputs[place])) as noise:
                outputs = network.train()(inputs[place].clone())  # which the network may write into
                loss = self._loss(outputs, targets[place])
                with _repeated(noise):
                    loss.backward()  # type: ignore[no-untyped-call]
            for column, parameter in zip(gradients, parameters, strict=True):
                column.append(parameter.grad)
                parameter.grad = None
            for name, parameter in named.items():
                if parameter.requires_grad and name not in stack.trained:
                    rule = f"must decide when it is built which parameters train, and not turn on {name} later"
                    raise ConfigError("model", rule, type(network).__name__, "set requires_grad in its constructor")
            losses_.append(loss.detach())
            self._take_back(stack, place, member)
        filled = (
            torch.stack([like[place] * 0 if one is None else one for place, one in enumerate(column)])
            for column, like in zip(gradients, stack.trained.values(), strict=True)
        )
        without = (frozenset(place for place, one in enumerate(column) if one is None) for column in gradients)
        return Pass(tuple(filled), tuple(stack.carried.values()), torch.stack(losses_), tuple(without))

    def forward(self, stack: Stack, inputs: Tensor, keys: Tensor, row: int) -> Tensor:
        """Return the outputs `(C, B, K)` when nothing is learned."""
        outputs = []
        for place, member in enumerate(stack.member_indices):
            network = self._bound(stack, place)
            with torch.no_grad(), self._randomness(keys[place], row, len(inputs[place])):
                outputs.append(network.eval()(inputs[place].clone()))
            self._take_back(stack, place, member)
        return torch.stack(outputs)

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the networks as the stack was moved."""
        self._moves.append(function)
        for network in self._networks.values():
            network._apply(function)  # type: ignore[no-untyped-call]

    def _bound(self, stack: Stack, place: int) -> nn.Module:
        """Return a member's network with its tensors being those of the stack."""
        member = stack.member_indices[place]
        network = self.network(member)
        for name, value in stack.member(place).items():
            for owner, key in self._owners[member][name]:
                holds = owner._parameters if key in owner._parameters else owner._buffers
                now = holds[key]
                if now is None or (holds is owner._buffers and now.grad_fn is not None):
                    holds[key] = value.detach()  # type: ignore[assignment]
                else:
                    now.data = value.detach()
        return network

    def _take_back(self, stack: Stack, place: int, member: int) -> None:
        """Write tensors that the network has assigned anew into the stack."""
        for name, value in stack.member(place).items():
            if name in stack.shared or name in stack.own:
                continue
            owner, key = self._owners[member][name][0]
            now = owner._parameters[key] if key in owner._parameters else owner._buffers[key]
            if now is None or now.shape != value.shape:
                rule = f"must not change the shape of {name} while it trains"
                raise ConfigError(
                    "model", rule, type(self._networks[member]).__name__, "make it as large as it becomes"
                )
            if now.data_ptr() != value.data_ptr():
                value.detach().copy_(now.detach())

    @contextmanager
    def _randomness(self, key: Tensor, row: int, rows: int) -> Iterator[MemberNoise]:
        """Draw everything random from a key, and the global generators' numbers from seeds that are made of it."""
        seed = int(key)
        noise = MemberNoise(key, torch.tensor(row, device=key.device), rows, eager=True)
        with seeded(seed, key.device):
            with noise:
                yield noise
            if self.drew_from is not None:
                self.drew_from |= _drawn(seed, noise)

    def python_state(self, member: int) -> Values:
        """Return a copy of the Python state of a member's modules."""
        return copied_values(self.network(member))

    def set_python_state(self, member: int, values: Values) -> None:
        """Give a member's modules a Python state that they had."""
        set_values(self.network(member), values)


def _drawn(seed: int, noise: MemberNoise) -> set[str]:
    """Return the global generators whose state differs from the one that a seed and our own draws leave."""
    state, untouched = np.random.get_state(legacy=False), np.random.RandomState(seed % 2**32).get_state(legacy=False)
    used = {
        "random": random.getstate() != random.Random(seed).getstate(),
        "numpy.random": repr(state) != repr(untouched),
        "torch's global generator": not torch.equal(torch.default_generator.get_state(), noise.counted(seed)),
    }
    return {name for name, was_used in used.items() if was_used}


@contextmanager
def _repeated(noise: MemberNoise) -> Iterator[None]:
    """Give parts of a pass that `torch.utils.checkpoint` repeats in the backward pass their noise once more.

    Autograd runs them without any mode, but always inside `torch.random.fork_rng`, to wind the generators back.
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
    """Return which modules hold each tensor, and under which key: tied ones have several."""
    names = {id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    owners: dict[str, list[tuple[nn.Module, str]]] = {name: [] for name in names.values()}
    for module in network.modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                owners[names[id(tensor)]].append((module, key))
    return owners
