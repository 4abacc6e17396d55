"""Whether a user's network may be batched: what the first steps show, compared with plain PyTorch.

A program that was traced once knows nothing of what a network does in Python. So a few steps are taken by each of two
members' own networks and by the batched program, and everything that both can see must be the same.
Shapes: `C` members, `B` rows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evalbench.engine import python_state
from evalbench.engine.one_by_one import OneByOne, Pass
from evalbench.engine.state import Stack, same
from evalbench.engine.steps import Steps
from evalbench.errors import ConfigError

TOLERANCE = 1e-3
"""Most that a batched number may differ by, as a share of its tensor's largest: sums are taken in another order."""
SMALLEST = 1e-3
"""Tensors of gradients that are smaller than this share of the largest gradient are compared with that share of it."""
REMEDY = "use buffers and torch's own functions, or trainer.verify=false to train it without this check"


class Example(NamedTuple):
    """The batch of one step."""

    inputs: Tensor  # (C, B, ...)
    targets: Tensor  # (C, B, ...)
    keys: Tensor  # (C,)


class Reason(NamedTuple):
    """Why members must train one by one."""

    text: str
    python_state: bool = False
    """They keep in Python what changes while they train."""


class Seen(NamedTuple):
    """What plain PyTorch did with a member in a few steps and one evaluation."""

    passes: list[Pass]
    outputs: Tensor
    stack: Stack
    """Of this member, as the passes have left it."""
    values: list[dict[str, object]]
    """Python state at first and after each step, by path."""
    tensors: dict[str, int]
    """Checksums of tensors that are neither parameters nor buffers, at first."""


def has_gradient_hooks(network: nn.Module) -> bool:
    """Return whether hooks wait for gradients, which a batched step computes without autograd's tensors."""
    hooks = [parameter._backward_hooks for parameter in network.parameters()]
    hooks += [getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in network.parameters()]
    for module in network.modules():
        hooks += [module._backward_hooks, module._backward_pre_hooks]
    return any(hooks)


def why_not_batched(
    build: Callable[[int], nn.Module],
    one_by_one: Callable[[], OneByOne],
    steps: Steps,
    stack: Stack,
    examples: Sequence[Example],
) -> Reason | None:
    """Return why the members must train one by one, if they must; raise `ConfigError` where not even that is right.

    `one_by_one` makes networks anew. The stack is not changed.
    """
    if has_gradient_hooks(build(stack.members[0])):
        return Reason("it has hooks on gradients")
    places = sorted({0, len(stack.members) - 1})
    plain = one_by_one()
    try:
        seen = [_run(plain, stack, place, examples) for place in places]
        again = _run(one_by_one(), stack, 0, examples)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's network raises: training will say so, and where
        return Reason(f"it raised {type(error).__name__} in its first steps")
    _check_repeatable(seen[0], again)
    kept = _kept_in_python(plain.network(stack.members[0]), seen)
    if kept is not None:
        return kept
    text = _outside_torch(plain) or _changed(seen, stack, places) or _differs(steps, stack, examples, seen, places)
    return None if text is None else Reason(text)


def _run(plain: OneByOne, stack: Stack, place: int, examples: Sequence[Example]) -> Seen:
    mine = stack.take([place])
    network = plain.network(mine.members[0])
    flags = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    at_first, tensors = python_state.observe(network)
    passes, values = [], [at_first]
    for example in examples:
        batch = (part[place : place + 1] for part in example)
        inputs, targets, key = batch
        result = plain(mine, inputs, targets, key, 0)
        passes.append(result._replace(carried=tuple(value.clone() for value in result.carried)))
        values.append(python_state.observe(network)[0])
    for name, parameter in network.named_parameters():
        if flags.get(name) is not parameter.requires_grad:
            rule = f"must not change which parameters train ({name}) while it trains"
            raise ConfigError("model", rule, type(network).__name__, "set requires_grad when it is built")
    outputs = plain.forward(mine, examples[0].inputs[place : place + 1], examples[0].keys[place : place + 1], 0)
    return Seen(passes, outputs, mine, values, tensors)


def _check_repeatable(one: Seen, other: Seen) -> None:
    pairs = [(one.outputs, other.outputs), *((a.loss, b.loss) for a, b in zip(one.passes, other.passes, strict=True))]
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
        rule = "must give the same numbers from the same seed"
        raise ConfigError(
            "model", rule, remedy="draw random numbers from torch, random or numpy.random, without own seeds"
        )


def _kept_in_python(network: nn.Module, seen: Sequence[Seen]) -> Reason | None:
    """Return what a network keeps in Python that goes on changing; refuse what could not be saved."""
    for path, checksum in seen[0].tensors.items():
        if seen[-1].tensors.get(path) != checksum:
            return Reason(f"{path}, which is neither a parameter nor a buffer, differs between its members")
    if seen[0].values[0] != seen[-1].values[0]:
        return Reason(f"{_first_change(seen[0].values[0], seen[-1].values[0])} differs between its members")
    for before, after in zip(seen[0].values[1:], seen[0].values[2:], strict=False):
        if before != after:
            path = _first_change(before, after)
            if python_state.cannot_be_saved(network, path):
                raise ConfigError(
                    "model", f"must not keep what changes in {path}, where it cannot be saved", remedy=REMEDY
                )
            return Reason(f"it keeps state in Python ({path})", python_state=True)
    return None


def _first_change(one: dict[str, object], other: dict[str, object]) -> str:
    return next(path for path in {**one, **other} if one.get(path) != other.get(path))


def _outside_torch(plain: OneByOne) -> str | None:
    names = {"torch": "torch's global generator", "random": "random", "numpy.random": "numpy.random"}
    drawn = [text for name, text in names.items() if name in plain.drew_from]
    return f"it draws from {' and '.join(drawn)} in a way that cannot be batched" if drawn else None


def _changed(seen: Sequence[Seen], stack: Stack, places: Sequence[int]) -> str | None:
    """Return which tensors a pass has changed that only an optimizer may change."""
    for one, place in zip(seen, places, strict=True):
        before = stack.take([place])
        for now, then in ((one.stack.trained, before.trained), (one.stack.own, before.own)):
            for name, value in now.items():
                if not same(value.nan_to_num(), then[name].nan_to_num()):
                    return f"its forward pass changes {name}"
    return None


def _differs(
    steps: Steps, stack: Stack, examples: Sequence[Example], seen: Sequence[Seen], places: Sequence[int]
) -> str | None:
    """Return where the batched program and plain PyTorch part."""
    whole = stack.take(range(len(stack.members)))
    for number, example in enumerate(examples):
        batched = steps(whole, example.inputs, example.targets, example.keys, 0)
        if steps.why_one_by_one is not None:
            return steps.why_one_by_one
        for one, place in zip(seen, places, strict=True):
            plain = one.passes[number]
            largest = max((float(gradient.abs().max()) for gradient in plain.gradients), default=0.0)
            if not _close(batched.loss[place], plain.loss[0], 0.0):
                return f"its loss differs from that of a plain loop in step {number + 1}"
            for name, ours, theirs in zip(stack.trained, batched.gradients, plain.gradients, strict=True):
                if not _close(ours[place], theirs[0], SMALLEST * largest):
                    return f"the gradient of {name} differs from that of a plain loop in step {number + 1}"
            for name, ours, theirs in zip(stack.carried, batched.carried, plain.carried, strict=True):
                if not _close(ours[place], theirs[0], 0.0):
                    return f"the buffer {name} differs from that of a plain loop after step {number + 1}"
        for value, after in zip(whole.carried.values(), batched.carried, strict=True):
            value.copy_(after)
    outputs = steps.forward(whole, examples[0].inputs, examples[0].keys, 0)
    if steps.why_one_by_one is not None:
        return steps.why_one_by_one
    if not all(_close(outputs[place], one.outputs[0], 0.0) for one, place in zip(seen, places, strict=True)):
        return "its outputs in evaluation differ from those of a plain loop"
    return None


def _close(ours: Tensor, theirs: Tensor, at_least: float) -> bool:
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
    largest = max((float(gradient.abs().max()) for gradient in whole.gradients), default=0.0)
    for name, together, *halves in zip(
        stack.trained, whole.gradients, *(part.gradients for part in parts), strict=True
    ):
        if not _close((halves[0] + halves[1]) / 2, together, SMALLEST * largest):
            return f"the gradient of {name} over half a batch and the other half is not that over the batch"
    return None
