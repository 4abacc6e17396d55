"""Hold the tensors of C members: those that train, those that a pass changes, and the constants.

A trial's *state* is its trained parameters and the tensors that a pass carries over to the next pass, for example the
means of BatchNorm. Frozen parameters and all other buffers are constants. Members share one copy of a constant if it is
the same for all of them, else each member has its own.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from evalbench.errors import ConfigError
from evalbench.models import seeded


@dataclass(frozen=True)
class Stack:
    """Hold the tensors of some members by name, each member in a slot."""

    member_indices: Sequence[int]
    """The member index of each slot."""
    trained: dict[str, Tensor]  # (C, *shape), tensors that the optimizer moves
    carried: dict[str, Tensor]  # (C, *shape), tensors that a pass changes
    own: dict[str, Tensor]  # (C, *shape), constants that differ between members
    shared: dict[str, Tensor]  # (*shape), constants of all members

    @property
    def state(self) -> list[Tensor]:
        """The tensors that training changes: the trained, then the carried ones."""
        return [*self.trained.values(), *self.carried.values()]

    @cached_property
    def parts(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """The tensors without their names: trained, carried, own, shared."""
        return tuple(list(part.values()) for part in (self.trained, self.carried, self.own, self.shared))  # type: ignore[return-value]

    def with_state(self, state: Sequence[Tensor]) -> "Stack":
        """Return the stack with another state in the same order."""
        split = len(self.trained)
        trained = dict(zip(self.trained, state[:split], strict=True))
        return replace(self, trained=trained, carried=dict(zip(self.carried, state[split:], strict=True)))

    def not_training(self, names: Collection[str]) -> "Stack":
        """Return the stack with the named trained tensors as constants."""
        trained = {name: value for name, value in self.trained.items() if name not in names}
        constant = {name: value for name, value in self.trained.items() if name in names}
        return replace(self, trained=trained, own={**self.own, **constant})

    def carrying(self, names: Collection[str]) -> "Stack":
        """Return the stack with the named constants as tensors that a pass may change; sparse tensors stay shared."""
        count = len(self.member_indices)
        moved = {name: value for name, value in self.own.items() if name in names}
        for name, value in self.shared.items():
            if name in names and value.layout is torch.strided:
                moved[name] = value.expand(count, *value.shape).clone()
        own, shared = ({k: v for k, v in part.items() if k not in moved} for part in (self.own, self.shared))
        return replace(self, carried={**self.carried, **moved}, own=own, shared=shared)

    def only(self, slot: int) -> "Stack":
        """Return a stack of the member in one slot; its tensors are views."""

        def view(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[slot : slot + 1] for name, value in values.items()}

        return Stack([self.member_indices[slot]], view(self.trained), view(self.carried), view(self.own), self.shared)

    def take(self, slots: Sequence[int]) -> "Stack":
        """Return a stack with copies of the members in some slots; shared tensors are not copied."""
        index = list(slots)

        def copy(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.detach()[index] for name, value in values.items()}

        member_indices = [self.member_indices[slot] for slot in index]
        return Stack(member_indices, copy(self.trained), copy(self.carried), copy(self.own), self.shared)

    def member(self, slot: int) -> dict[str, Tensor]:
        """Return all tensors of the member in a slot by name; its own tensors are views."""
        parts = (self.trained, self.carried, self.own)
        return {name: value[slot] for part in parts for name, value in part.items()} | self.shared


def stack(networks: Iterable[nn.Module], changing: Collection[str]) -> Stack:
    """Stack the tensors of networks with the same shapes; keep no network, so that they can be made one by one.

    `changing` names the buffers and frozen parameters that a pass changes. Raises `ConfigError` if the networks'
    tensors cannot be stacked.
    """
    moving: dict[str, list[Tensor]] = {}
    constant: dict[str, list[Tensor]] = {}
    trained: list[str] = []
    shapes: dict[str, torch.Size] = {}
    count = 0
    for network in networks:
        trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        named = tensors(network)
        _check_shapes(shapes := shapes or _shapes(named), _shapes(named))
        for name, value in named.items():
            values = moving if name in trained or name in changing else constant
            column = values.setdefault(name, [])
            first = column[0] if column else value
            column.append(first if values is constant and same(value, first) else value)
        count += 1
    differing = {name for name, values in constant.items() if any(value is not values[0] for value in values)}
    return Stack(
        range(count),
        {name: torch.stack(moving[name]) for name in trained},
        {name: torch.stack(values) for name, values in moving.items() if name not in trained},
        {name: torch.stack(constant[name]) for name in constant if name in differing},
        {name: values[0] for name, values in constant.items() if name not in differing},
    )


def stack_of(network: nn.Module, values: Mapping[str, Tensor], count: int, changing: Collection[str]) -> Stack:
    """Return `stack` of networks that are equal to this one but for the tensors in `values`, `(C, *shape)` by name."""
    named = tensors(network)
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    moving = {
        name: values[name] if name in values else value.expand(count, *value.shape).clone()
        for name, value in named.items()
        if name in trained or name in changing
    }
    own = {
        name: value
        for name, value in values.items()
        if name not in moving and not all(same(each, value[0]) for each in value[1:])
    }
    return Stack(
        range(count),
        {name: moving[name] for name in trained},
        {name: value for name, value in moving.items() if name not in trained},
        {name: own[name] for name in named if name in own},
        {name: value for name, value in named.items() if name not in moving and name not in own},
    )


def _shapes(named: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in named.items()}


def _check_shapes(first: Mapping[str, torch.Size], shapes: Mapping[str, torch.Size]) -> None:
    for name in {**first, **shapes}:
        if first.get(name) != shapes.get(name):
            rule = f"must have weights of the same shapes for every seed, and {name} differs"
            raise ConfigError("model", rule, remedy="do not draw shapes at random")


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's parameters, then its buffers, by name; tied tensors appear once."""
    return {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}


def constants(network: nn.Module) -> list[str]:
    """Return the names of the tensors that no optimizer moves."""
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    return [*frozen, *(name for name, _ in network.named_buffers())]


def changing(network: nn.Module, inputs: Tensor) -> set[str]:
    """Return the buffers and frozen parameters that a pass in training or evaluation writes or assigns.

    Trained parameters have moved, so that a mean over them that starts at their initial values moves too. Return all
    buffers if the network raises an error for these inputs `(B, ...)`.
    """
    names = constants(network)
    state = {name: value.clone() if name in names else value * 1.1 + 0.01 for name, value in tensors(network).items()}
    before = {name: fingerprint(state[name]) for name in names}
    parameters = [(module, dict(module._parameters)) for module in network.modules()]
    try:
        with torch.no_grad(), seeded(0):
            for training in (True, False):
                functional_call(network.train(training), state, (inputs,))
    except Exception:  # a user's network may raise anything; training reports the error
        return {name for name, _ in network.named_buffers()}
    finally:
        for module, own in parameters:
            module._parameters.update(own)  # `functional_call` leaves tensors in a `ParameterDict`
    return {name for name in names if fingerprint(state[name]) != before[name]}


def same(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors have the same dtype and values."""
    return left.dtype == right.dtype and torch.equal(_dense(left), _dense(right))


def fingerprint(value: Tensor) -> int:
    """Return a checksum of a tensor's values."""
    raw = _dense(value.detach()).resolve_conj().cpu().contiguous().flatten().view(torch.uint8)
    return zlib.crc32(raw.numpy().tobytes(), value.numel())


def check_unchanged(shared: Mapping[str, Tensor], checksums: Mapping[str, int]) -> None:
    """Raise `RuntimeError` if a network that trains alone has written into a shared tensor with a checksum."""
    for name, value in shared.items():
        if checksums and fingerprint(value) != checksums[name]:
            raise RuntimeError(f"the network changed {name}, which does not train, after the checked first steps")


def _dense(value: Tensor) -> Tensor:
    return value if value.layout is torch.strided else value.to_dense()


class Held(nn.Module):
    """Hold tensors that move to another device or dtype with the module that contains this one."""

    def __init__(self, values: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.hold(values)

    def hold(self, values: Iterable[Tensor]) -> None:
        """Hold these tensors instead."""
        self._buffers.clear()
        for index, value in enumerate(values):
            self.register_buffer(str(index), value, persistent=False)

    def __iter__(self) -> Iterator[Tensor]:
        return (value for value in self._buffers.values() if value is not None)

    def __len__(self) -> int:
        return len(self._buffers)


class HeldStack(nn.Module):
    """Hold a stack in the form that Lightning, optimizers and moves to another device need."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.hold(stack)

    def hold(self, stack: Stack) -> None:
        """Hold this stack instead."""
        self._member_indices = stack.member_indices
        self._names = tuple(tuple(part) for part in (stack.trained, stack.carried, stack.own, stack.shared))
        self._trained = nn.ParameterList(nn.Parameter(value) for value in stack.trained.values())
        self._carried, self._own, self._shared = (
            Held(part.values()) for part in (stack.carried, stack.own, stack.shared)
        )

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The trained tensors as parameters, by name."""
        return dict(zip(self._names[0], self._trained, strict=True))

    @property
    def stack(self) -> Stack:
        """The tensors as they are now, sharing memory with this module's tensors."""
        trained = [parameter.data for parameter in self._trained]
        parts: Sequence[Iterable[Tensor]] = (trained, self._carried, self._own, self._shared)
        named = (dict(zip(names, part, strict=True)) for names, part in zip(self._names, parts, strict=True))
        return Stack(self._member_indices, *named)


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(value.numel() * value.element_size() for value in tensors)
