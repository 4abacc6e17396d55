"""Whether a user's network may be batched: what the first steps show, compared with plain PyTorch.

A program that was traced once knows nothing of what a network does in Python. So a few steps are taken by each of two
members' own networks and by the batched program, and everything that both can see must be the same.
Shapes: `C` members, `B` rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evalbench.engine import python_state
from evalbench.engine.one_by_one import OneByOne, Pass
from evalbench.engine.state import Stack, fingerprint, same
from evalbench.engine.steps import Steps
from evalbench.errors import ConfigError

TOLERANCE = 1e-3
"""Most that a batched number may differ by, as a share of its tensor's largest: sums are taken in another order."""
SMALLEST = 1e-3
"""Tensors of gradients that are smaller than this share of the largest gradient are compared with that share of it."""
RATE = 0.05
"""How far parameters move along their gradients between passes, so that what is kept from an earlier one shows.

Large gradients count as 1: a step that is too long would blow up differences of rounding.
"""
NUM_EXAMPLES = 3


class Example(NamedTuple):
    """The batch of one step."""

    inputs: Tensor  # (C, B, ...)
    targets: Tensor  # (C, B, ...)
    keys: Tensor  # (C,)


@dataclass(frozen=True)
class Verdict:
    """What the first steps have shown."""

    why_one_by_one: str | None = None
    """Why the members must train one by one, if they must."""
    written: frozenset[str] = frozenset()
    """Tensors that a pass has changed although nothing trains them."""
    idle: frozenset[str] = frozenset()
    """Parameters that no pass gives a gradient: optimizers leave them alone."""
    python_state: bool = False
    """The network changes what it keeps in Python, which saved weights would lack."""
    can_be_saved: bool = True
    """What it keeps in Python are plain values."""


@dataclass(frozen=True)
class Seen:
    """What plain PyTorch did with one member: passes and evaluations in turn."""

    passes: list[Pass]
    outputs: list[Tensor]
    values: list[dict[str, object]]
    """Python state by path: at first, then after each pass and each evaluation."""
    written: frozenset[str]
    moved: list[str]
    """Parameters that a forward pass has changed."""


def verify(
    network: nn.Module,
    observed: Sequence[python_state.Observation],
    one_by_one: Callable[[], OneByOne],
    steps: Steps,
    stack: Stack,
    examples: Sequence[Example],
) -> Verdict:
    """Take the first steps both ways; raise `ConfigError` for a network that cannot be trained rightly at all.

    `network` is one that nobody has run, and `observed` what all members' networks kept in Python when they were made.
    `one_by_one` makes them anew. The stack is not changed.
    """
    _check_storage(network)
    places = sorted({0, len(stack.members) - 1})
    plain = one_by_one()
    drew_from: set[str] = set()
    plain.drew_from = drew_from
    try:
        seen = [_run(plain, stack, place, examples) for place in places]
        again = _run(one_by_one(), stack, 0, examples)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's network raises: training will say so, and where
        return Verdict(f"it raised {type(error).__name__} in its first steps")
    _check_repeatable(seen[0], again)
    idle = frozenset.intersection(*(frozenset(_without(stack, one)) for one in seen))
    written = frozenset().union(*(one.written for one in seen))
    changed = _changed_paths(seen[0].values)
    reason = (
        ("it has hooks on gradients" if has_gradient_hooks(network) else None)
        or _between_members(observed)
        or _kept_in_python(seen[0].values)
        or _outside_torch(drew_from)
        or (f"its forward pass changes {min(written)}, which does not train" if written else None)
        or (f"its forward pass changes {seen[0].moved[0]}" if seen[0].moved else None)
        or _differs(steps, stack, examples, seen, places)
    )
    trained = plain.network(stack.members[0])
    can_be_saved = not any(python_state.cannot_be_saved(trained, path) for path in changed)
    return Verdict(reason, written, idle, bool(changed), can_be_saved)


def has_gradient_hooks(network: nn.Module) -> bool:
    """Return whether hooks wait for gradients, which a batched step computes without autograd's tensors."""
    hooks = [parameter._backward_hooks for parameter in network.parameters()]
    hooks += [getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in network.parameters()]
    for module in network.modules():
        hooks += [module._backward_hooks, module._backward_pre_hooks]
    return any(hooks)


def _check_storage(network: nn.Module) -> None:
    places: dict[int, str] = {}
    for name, parameter in network.named_parameters():
        if parameter.layout is torch.strided and parameter.numel():
            other = places.setdefault(parameter.untyped_storage().data_ptr(), name)
            if other != name:
                rule = f"must not have two parameters over one memory, as {other} and {name}"
                raise ConfigError("model", rule, type(network).__name__, "use one parameter in both places")


def _run(plain: OneByOne, stack: Stack, place: int, examples: Sequence[Example]) -> Seen:
    """Pass, pass, evaluate, pass, evaluate: by one member's own network."""
    mine = stack.take([place])
    mine = replace(mine, shared={name: value.clone() for name, value in mine.shared.items()})
    constant = {**mine.own, **mine.shared}
    before = {name: fingerprint(value) for name, value in constant.items()}
    network = plain.network(mine.members[0])
    at_first, _ = python_state.observe(network)
    passes: list[Pass] = []
    outputs: list[Tensor] = []
    values = [at_first]
    moved: list[str] = []
    for number, example in enumerate(examples):
        inputs, targets, key = (part[place : place + 1] for part in example)
        start = {name: value.clone() for name, value in mine.trained.items()}
        result = plain(mine, inputs, targets, key, 0)
        passes.append(result._replace(carried=tuple(value.clone() for value in result.carried)))
        moved += [
            name for name, value in mine.trained.items() if not same(value.nan_to_num(), start[name].nan_to_num())
        ]
        values.append(python_state.observe(network)[0])
        _descend(mine, result.gradients)
        if number:
            outputs.append(plain.forward(mine, inputs, key, 0))
            values.append(python_state.observe(network)[0])
    written = frozenset(name for name, value in constant.items() if fingerprint(value) != before[name])
    return Seen(passes, outputs, values, written, moved)


def _descend(stack: Stack, gradients: Sequence[Tensor]) -> None:
    finite = [gradient.nan_to_num(0, 0, 0) for gradient in gradients]
    largest = (
        torch.stack([gradient.abs().reshape(len(gradient), -1).sum(1) for gradient in finite]).amax(0).clamp(min=1)
    )  # (C,)
    for value, gradient in zip(stack.trained.values(), finite, strict=True):
        value -= RATE * gradient / largest.view(-1, *[1] * (gradient.ndim - 1))


def _without(stack: Stack, one: Seen) -> list[str]:
    """Return the parameters to which no pass gave a gradient."""
    return [name for index, name in enumerate(stack.trained) if all(result.without[index] for result in one.passes)]


def _check_repeatable(one: Seen, other: Seen) -> None:
    pairs = [
        *zip(one.outputs, other.outputs, strict=True),
        *((a.loss, b.loss) for a, b in zip(one.passes, other.passes, strict=True)),
    ]
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
        rule, remedy = "must give the same numbers from the same seed", "torch, random or numpy.random"
        raise ConfigError("model", rule, remedy=f"draw random numbers from {remedy}, or seed your own generator")


def _between_members(observed: Sequence[python_state.Observation]) -> str | None:
    """Return what a network holds that is no parameter or buffer and differs between its members."""
    values, checksums = observed[0]
    for other_values, other_checksums in observed[1:]:
        for path in (*_differing(checksums, other_checksums), *_differing(values, other_values)):
            return f"{path}, which is neither a parameter nor a buffer, differs between its members"
    return None


def _kept_in_python(values: Sequence[Mapping[str, object]]) -> str | None:
    """Return what goes on changing: a pass must leave behind what the pass before it did, and so an evaluation."""
    _, first, second, evaluated, third, again = values
    for one, other in ((first, second), (second, third), (evaluated, again)):
        for path in _differing(one, other):
            return f"it keeps state in Python ({path})"
    return None


def _changed_paths(values: Sequence[Mapping[str, object]]) -> list[str]:
    """Return where a network keeps other values than at first; tensors that it keeps are looked at elsewhere."""
    at_first = values[0]
    return [path for now in values[1:] for path in _differing(at_first, now) if now.get(path) != python_state.TENSOR]


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [path for path in {**one, **other} if one.get(path) != other.get(path)]


def _outside_torch(drew_from: Collection[str]) -> str | None:
    names = " and ".join(sorted(drew_from))
    return f"it draws from {names} in a way that cannot be batched" if names else None


def _different(stack: Stack, batched: Pass, place: int, plain: Pass) -> str | None:
    """Return the first result of a step in which a member of the batched program and its lone network differ."""
    if not _close(batched.loss[place], plain.loss[0]):
        return "its loss"
    smallest = SMALLEST * _largest(plain.gradients)
    for name, ours, theirs in zip(stack.trained, batched.gradients, plain.gradients, strict=True):
        if not _close(ours[place], theirs[0], smallest):
            return f"the gradient of {name}"
    for name, ours, theirs in zip(stack.carried, batched.carried, plain.carried, strict=True):
        if not _close(ours[place], theirs[0]):
            return f"the buffer {name}"
    return None


def _differs(
    steps: Steps, stack: Stack, examples: Sequence[Example], seen: Sequence[Seen], places: Sequence[int]
) -> str | None:
    """Return where the batched program and plain PyTorch part."""
    whole = stack.take(range(len(stack.members)))
    for number, example in enumerate(examples):
        batched = steps(whole, example.inputs.clone(), example.targets, example.keys, 0)
        if (reason := _gave_up(steps)) is not None:
            return reason
        for one, place in zip(seen, places, strict=True):
            different = _different(stack, batched, place, one.passes[number])
            if different is not None:
                return f"{different} differs from that of a plain loop in step {number + 1}"
        for value, after in zip(whole.carried.values(), batched.carried, strict=True):
            value.copy_(after)
        _descend(whole, batched.gradients)
        if number:
            outputs = steps.forward(whole, example.inputs.clone(), example.keys, 0)
            if (reason := _gave_up(steps)) is not None:
                return reason
            if not all(
                _close(outputs[place], one.outputs[number - 1][0]) for one, place in zip(seen, places, strict=True)
            ):
                return "its outputs in evaluation differ from those of a plain loop"
    return None


def _gave_up(steps: Steps) -> str | None:
    return steps.why_one_by_one


def _largest(tensors: Sequence[Tensor]) -> float:
    return max((float(value.abs().max()) for value in tensors if value.numel()), default=0.0)


def _close(ours: Tensor, theirs: Tensor, at_least: float = 0.0) -> bool:
    if ours.shape != theirs.shape:
        return False
    if not ours.numel() or torch.equal(ours, theirs):
        return True
    ours, theirs = (value.to(torch.complex128 if value.is_complex() else torch.float64) for value in (ours, theirs))
    if not bool((torch.isfinite(ours) == torch.isfinite(theirs)).all()):
        return False
    ours, theirs = ours.nan_to_num(), theirs.nan_to_num()
    scale = max(float(theirs.abs().max()), at_least)
    return float((ours - theirs).abs().max()) <= TOLERANCE * scale


def why_not_in_parts(one: OneByOne, stack: Stack, example: Example) -> str | None:
    """Return why a batch cannot be cut into parts, if its two halves do not add up to it."""
    rows = example.inputs.shape[1] // 2 * 2
    if rows < 2:
        return None
    inputs, targets = example.inputs[:1, :rows], example.targets[:1, :rows]
    whole = one(stack.take([0]), inputs, targets, example.keys[:1], 0)
    half = rows // 2
    parts = [
        one(stack.take([0]), inputs[:, first : first + half], targets[:, first : first + half], example.keys[:1], first)
        for first in (0, half)
    ]
    largest = _largest(whole.gradients)
    for name, together, *halves in zip(
        stack.trained, whole.gradients, *(part.gradients for part in parts), strict=True
    ):
        if not _close((halves[0] + halves[1]) / 2, together, SMALLEST * largest):
            return f"the gradient of {name} over half a batch and the other half is not that over the batch"
    return None
