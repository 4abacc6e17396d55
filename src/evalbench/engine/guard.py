"""Decide whether a user's network may be batched, by comparing its first steps with plain PyTorch.

A traced program does not see a network's Python code. So the networks of two members and the batched program take the
same few steps, and every number that both compute must agree.
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
"""The largest allowed difference of a batched number, as a share of its tensor's largest: sums have another order."""
SMALLEST = 1e-3
"""Differences of a small gradient are compared with at least this share of the largest gradient."""
RATE = 0.05
"""The step length along the gradients between passes, so that values kept from an earlier pass show up.

Gradients with a sum above 1 are scaled down to 1, because a long step would amplify rounding differences.
"""
NUM_EXAMPLES = 3


class Example(NamedTuple):
    """Hold the batch of one step."""

    inputs: Tensor  # (C, B, ...)
    targets: Tensor  # (C, B, ...)
    keys: Tensor  # (C,)


@dataclass(frozen=True)
class FirstSteps:
    """Hold the findings of the first steps."""

    why_one_by_one: str | None = None
    """The reason why the members must train one by one; None if they may be batched."""
    written: frozenset[str] = frozenset()
    """Constant tensors that a pass has changed."""
    idle: frozenset[str] = frozenset()
    """Parameters without a gradient in every pass: optimizers leave them alone."""
    python_state: bool = False
    """Whether the network changes its Python state, which saved weights would lack."""
    can_be_saved: bool = True
    """Whether its changing Python state consists of plain values."""


@dataclass(frozen=True)
class PlainRun:
    """Hold the passes and evaluations of one member by plain PyTorch."""

    passes: list[Pass]
    outputs: list[Tensor]
    values: list[dict[str, object]]
    """Python state by path: initially, then after each pass and each evaluation."""
    written: frozenset[str]
    moved: list[str]
    """Parameters that a forward pass has changed."""

    def without_gradient(self, parameters: Sequence[str]) -> frozenset[str]:
        """Return the parameters that got no gradient in any pass."""
        return frozenset(
            name for index, name in enumerate(parameters) if all(result.without[index] for result in self.passes)
        )


def verify(
    network: nn.Module,
    observed: Sequence[python_state.Observation],
    one_by_one: Callable[[], OneByOne],
    steps: Steps,
    stack: Stack,
    examples: Sequence[Example],
) -> FirstSteps:
    """Take the first steps both ways; raise `ConfigError` for a network that cannot be trained correctly at all.

    `network` has not been run yet. `observed` is the initial Python state of all members' networks. `one_by_one` makes
    the networks anew. The stack is not changed.
    """
    _check_storage(network)
    slots = sorted({0, len(stack.member_indices) - 1})
    plain = one_by_one()
    drew_from: set[str] = set()
    plain.drew_from = drew_from
    try:
        runs = {slot: _run(plain, stack, slot, examples) for slot in slots}
        repeated = _run(one_by_one(), stack, 0, examples)
    except ConfigError:
        raise
    except Exception as error:  # a user's network may raise anything; training reports the error in full
        return FirstSteps(f"it raised {type(error).__name__} in its first steps")
    first = runs[0]
    _check_repeatable(first, repeated)
    idle = frozenset.intersection(*(run.without_gradient(list(stack.trained)) for run in runs.values()))
    written = frozenset().union(*(run.written for run in runs.values()))
    changed = _changed_paths(first.values)
    reason = (
        ("it has hooks on gradients" if has_gradient_hooks(network) else None)
        or _between_members(observed)
        or _kept_in_python(first.values)
        or _outside_torch(drew_from)
        or (f"its forward pass changes {min(written)}, which does not train" if written else None)
        or (f"its forward pass changes {first.moved[0]}" if first.moved else None)
        or _difference(steps, stack, examples, runs)
    )
    trained = plain.network(stack.member_indices[0])
    can_be_saved = not any(python_state.cannot_be_saved(trained, path) for path in changed)
    return FirstSteps(reason, written, idle, bool(changed), can_be_saved)


def has_gradient_hooks(network: nn.Module) -> bool:
    """Return whether a network has hooks on gradients, which a batched step computes without autograd's tensors."""
    hooks = [parameter._backward_hooks for parameter in network.parameters()]
    hooks += [getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in network.parameters()]
    for module in network.modules():
        hooks += [module._backward_hooks, module._backward_pre_hooks]
    return any(hooks)


def _check_storage(network: nn.Module) -> None:
    owners: dict[int, str] = {}
    for name, parameter in network.named_parameters():
        if parameter.layout is torch.strided and parameter.numel():
            first = owners.setdefault(parameter.untyped_storage().data_ptr(), name)
            if first != name:
                rule = f"must not have two parameters over one memory, as {first} and {name}"
                raise ConfigError("model", rule, type(network).__name__, "use one parameter under both names")


def _run(plain: OneByOne, stack: Stack, slot: int, examples: Sequence[Example]) -> PlainRun:
    """Run one member's own network: pass, pass, evaluate, pass, evaluate."""
    member = stack.take([slot])
    member = replace(member, shared={name: value.clone() for name, value in member.shared.items()})
    constant = {**member.own, **member.shared}
    before = {name: fingerprint(value) for name, value in constant.items()}
    network = plain.network(member.member_indices[0])
    initial, _ = python_state.observe(network)
    passes: list[Pass] = []
    outputs: list[Tensor] = []
    values = [initial]
    moved: list[str] = []
    for number, example in enumerate(examples):
        inputs, targets, key = (part[slot : slot + 1] for part in example)
        start = {name: value.clone() for name, value in member.trained.items()}
        result = plain(member, inputs, targets, key, 0)
        passes.append(result._replace(carried=tuple(value.clone() for value in result.carried)))
        moved += [
            name for name, value in member.trained.items() if not same(value.nan_to_num(), start[name].nan_to_num())
        ]
        values.append(python_state.observe(network)[0])
        _descend(member, result.gradients)
        if number:
            outputs.append(plain.forward(member, inputs, key, 0))
            values.append(python_state.observe(network)[0])
    written = frozenset(name for name, value in constant.items() if fingerprint(value) != before[name])
    return PlainRun(passes, outputs, values, written, moved)


def _descend(stack: Stack, gradients: Sequence[Tensor]) -> None:
    finite = [gradient.nan_to_num(0, 0, 0) for gradient in gradients]
    largest = (
        torch.stack([gradient.abs().reshape(len(gradient), -1).sum(1) for gradient in finite]).amax(0).clamp(min=1)
    )  # (C,)
    for value, gradient in zip(stack.trained.values(), finite, strict=True):
        value -= RATE * gradient / largest.view(-1, *[1] * (gradient.ndim - 1))


def _check_repeatable(run: PlainRun, repeated: PlainRun) -> None:
    pairs = [
        *zip(run.outputs, repeated.outputs, strict=True),
        *((a.loss, b.loss) for a, b in zip(run.passes, repeated.passes, strict=True)),
    ]
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
        rule, modules = "must give the same numbers from the same seed", "torch, random or numpy.random"
        raise ConfigError("model", rule, remedy=f"draw random numbers from {modules}, or seed your own generator")


def _between_members(observed: Sequence[python_state.Observation]) -> str | None:
    """Return the reason if members' networks differ in a value that is neither a parameter nor a buffer."""
    first_values, first_checksums = observed[0]
    for values, checksums in observed[1:]:
        for path in (*_differing(first_checksums, checksums), *_differing(first_values, values)):
            return f"{path}, which is neither a parameter nor a buffer, differs between its members"
    return None


def _kept_in_python(values: Sequence[Mapping[str, object]]) -> str | None:
    """Return the reason if Python state differs between two passes, or between two evaluations."""
    _, first_pass, second_pass, first_evaluation, third_pass, second_evaluation = values
    pairs = ((first_pass, second_pass), (second_pass, third_pass), (first_evaluation, second_evaluation))
    for earlier, later in pairs:
        for path in _differing(earlier, later):
            return f"it keeps state in Python ({path})"
    return None


def _changed_paths(values: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the paths whose values are no longer the initial ones, apart from tensors, which are checked elsewhere."""
    initial, *later = values
    return [path for state in later for path in _differing(initial, state) if state.get(path) != python_state.TENSOR]


def _differing(left: Mapping[str, object], right: Mapping[str, object]) -> list[str]:
    return [path for path in {**left, **right} if left.get(path) != right.get(path)]


def _outside_torch(drew_from: Collection[str]) -> str | None:
    names = " and ".join(sorted(drew_from))
    return f"it draws from {names} in a way that cannot be batched" if names else None


def _difference(steps: Steps, stack: Stack, examples: Sequence[Example], runs: Mapping[int, PlainRun]) -> str | None:
    """Return how the batched program differs from the plain runs by slot, or why it cannot run; else None."""
    batch = stack.take(range(len(stack.member_indices)))
    for number, example in enumerate(examples):
        batched = steps(batch, example.inputs.clone(), example.targets, example.keys, 0)
        reason = _gave_up(steps)
        for slot, run in runs.items():
            reason = reason or _step_difference(stack, batched, slot, run.passes[number], number + 1)
        if reason is not None:
            return reason
        for value, after in zip(batch.carried.values(), batched.carried, strict=True):
            value.copy_(after)
        _descend(batch, batched.gradients)
        if number:
            outputs = steps.forward(batch, example.inputs.clone(), example.keys, 0)
            if (reason := _gave_up(steps)) is not None:
                return reason
            if not all(_close(outputs[slot], run.outputs[number - 1][0]) for slot, run in runs.items()):
                return "its outputs in evaluation differ from those of a plain loop"
    return None


def _step_difference(stack: Stack, batched: Pass, slot: int, plain: Pass, step: int) -> str | None:
    """Return how a slot of a batched step differs from the plain step of its member, or None."""
    largest = _largest(plain.gradients)
    if not _close(batched.loss[slot], plain.loss[0]):
        return f"its loss differs from that of a plain loop in step {step}"
    for name, value, expected in zip(stack.trained, batched.gradients, plain.gradients, strict=True):
        if not _close(value[slot], expected[0], SMALLEST * largest):
            return f"the gradient of {name} differs from that of a plain loop in step {step}"
    for name, value, expected in zip(stack.carried, batched.carried, plain.carried, strict=True):
        if not _close(value[slot], expected[0]):
            return f"the buffer {name} differs from that of a plain loop after step {step}"
    return None


def _gave_up(steps: Steps) -> str | None:
    return steps.why_one_by_one


def _largest(tensors: Sequence[Tensor]) -> float:
    return max((float(value.abs().max()) for value in tensors if value.numel()), default=0.0)


def _close(value: Tensor, expected: Tensor, min_scale: float = 0.0) -> bool:
    if value.shape != expected.shape:
        return False
    if not value.numel() or torch.equal(value, expected):
        return True
    value, expected = (part.to(torch.complex128 if part.is_complex() else torch.float64) for part in (value, expected))
    if not bool((torch.isfinite(value) == torch.isfinite(expected)).all()):
        return False
    value, expected = value.nan_to_num(), expected.nan_to_num()
    scale = max(float(expected.abs().max()), min_scale)
    return float((value - expected).abs().max()) <= TOLERANCE * scale


def why_not_in_parts(plain: OneByOne, stack: Stack, example: Example) -> str | None:
    """Return why a batch cannot be split into parts if the gradients of its halves do not add up, else None.

    Every member is asked, because one of them may have units that none of its rows reaches.
    """
    rows = example.inputs.shape[1] // 2 * 2
    if rows < 2:
        return None

    def gradients(slot: int, first: int, stop: int) -> Sequence[Tensor]:
        inputs, targets = (part[slot : slot + 1, first:stop] for part in example[:2])
        return plain(stack.take([slot]), inputs, targets, example.keys[slot : slot + 1], first).gradients

    for slot in range(len(stack.member_indices)):
        parts = (gradients(slot, *part) for part in ((0, rows), (0, rows // 2), (rows // 2, rows)))
        whole, left, right = map(list, parts)
        for name, expected, *halves in zip(stack.trained, whole, left, right, strict=True):
            if not _close((halves[0] + halves[1]) / 2, expected, SMALLEST * _largest(whole)):
                return f"the gradients of {name} over the two halves of a batch do not average to that over the batch"
    return None
