"""Stack the networks of all members, and decide whether they run batched or one by one.

A user's network is compared with plain PyTorch before it is batched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from evalbench.engine import guard, python_state, state
from evalbench.engine.members import Recipe
from evalbench.engine.one_by_one import OneByOne
from evalbench.engine.state import Stack
from evalbench.engine.steps import MemberStep, Steps


@dataclass(frozen=True)
class Networks:
    """Hold the members' networks before the first step."""

    stack: Stack
    steps: Steps
    first_steps: guard.FirstSteps = field(default_factory=guard.FirstSteps)
    checksums: dict[str, int] = field(default_factory=dict)
    """Those of the shared tensors by name if members train one by one, because such a network might write into them."""


def build_all(
    build: Callable[[int], nn.Module],
    count: int,
    recipe: Recipe,
    example: Callable[[int], guard.Example],
) -> Networks:
    """Build and stack `count` networks; decide whether they are batched.

    `example` returns the batch of an early step. Raises `ConfigError` for a network that cannot be trained correctly,
    if `recipe.verify` asks for the comparison.
    """
    build = _in_precision(build, recipe)
    first = build(0)
    observed = [python_state.observe(first)] if recipe.verify else []

    def built() -> Iterator[nn.Module]:
        yield first
        for member_index in range(1, count):
            network = build(member_index)
            if observed:
                observed.append(python_state.observe(network))
            yield network

    with recipe.numbers():
        changing = state.changing(first, example(0).inputs[0]) if state.constants(first) else set()
    stack = state.stack(built(), changing)

    def one_by_one() -> OneByOne:
        return OneByOne(build, recipe.loss)

    steps = Steps(MemberStep(first, recipe.loss, stack), one_by_one, recipe.path)
    if not recipe.verify:
        return Networks(stack, steps)
    examples = [example(number) for number in range(guard.NUM_EXAMPLES)]
    with torch.no_grad(), recipe.exact.numbers():
        first_steps = guard.verify(build(0), observed, one_by_one, steps, stack, examples)
    checksums = {}
    if first_steps.why_one_by_one is not None:
        steps.give_up(first_steps.why_one_by_one)
        stack = stack.carrying({*first_steps.written, *(name for name, _ in first.named_buffers())})
        checksums = {name: state.fingerprint(value) for name, value in stack.shared.items()}
    elif first_steps.idle:
        stack = stack.not_training(first_steps.idle)
        steps = Steps(MemberStep(first, recipe.loss, stack), one_by_one, recipe.path)
    return Networks(stack, steps, first_steps, checksums)


def _in_precision(build: Callable[[int], nn.Module], recipe: Recipe) -> Callable[[int], nn.Module]:
    """Return `build` so that it draws initial values in 32 bits and holds them in the cohort's precision."""

    def build_in_precision(member_index: int) -> nn.Module:
        with recipe.numbers(torch.float32):
            network = build(member_index)
        return network.double() if recipe.dtype is torch.float64 else network

    return build_in_precision
