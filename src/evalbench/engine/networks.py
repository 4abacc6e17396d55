"""Stack the networks of all members, and decide whether they run batched or one by one.

A user's network is compared with plain PyTorch before it is batched.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evalbench.engine import guard, initial, python_state, state
from evalbench.engine.initial import Build
from evalbench.engine.members import Recipe
from evalbench.engine.one_by_one import OneByOne
from evalbench.engine.state import Stack
from evalbench.engine.steps import MemberStep, Steps, reason_of
from evalbench.models import Builder
from evalbench.models.initial import Draw, keys_of

log = logging.getLogger(__name__)

Example = Callable[[int], guard.Example]


@dataclass(frozen=True)
class Networks:
    """Hold the members' networks before the first step."""

    stack: Stack
    steps: Steps
    first_steps: guard.FirstSteps = field(default_factory=guard.FirstSteps)
    checksums: dict[str, int] = field(default_factory=dict)
    """Those of the shared tensors by name if members train one by one, because such a network might write into them."""


class Initial(NamedTuple):
    """Hold the members' tensors, the first one's network, and the Python state of networks that differ if any do."""

    stack: Stack
    first: nn.Module
    observed: list[python_state.Observation]


def build_all(builder: Builder, recipe: Recipe, example: Example) -> Networks:
    """Build and stack the networks of all members; decide whether they are batched.

    `example` returns the batch of an early step. Raises `ConfigError` for a network that cannot be trained correctly,
    if `recipe.verify` asks for the comparison.
    """
    keys = keys_of(torch.tensor(builder.seeds))
    build = _in_precision(builder, recipe)
    initial_values = _drawn(build, keys, recipe, example) or _built(build, len(keys), recipe, example)
    networks = _checked(build, initial_values, recipe, example)
    networks.steps.compile_from_now_on()
    return networks


def _checked(build: Build, initial_values: Initial, recipe: Recipe, example: Example) -> Networks:
    """Return the networks with their steps, compared with plain PyTorch if `recipe.verify` asks for it."""
    stack, first, observed = initial_values

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


def _drawn(build: Build, keys: Tensor, recipe: Recipe, example: Example) -> Initial | None:
    """Draw the initial tensors of all members at once; return None if their networks must be built one by one."""
    if len(keys) < initial.FEWEST:
        return None
    try:
        drawn = initial.draw_all(build, keys, recipe.device)
    except Exception as error:  # a user's network may raise anything
        log.info("networks are built one by one: %s", reason_of(error))
        return None
    observed = [python_state.observe(network) for network in (drawn.first, drawn.last)] if recipe.verify else []
    changing = _changing(drawn.first, recipe, example)
    return Initial(state.stack_of(drawn.first, drawn.values, len(keys), changing), drawn.first, observed)


def _built(build: Build, count: int, recipe: Recipe, example: Example) -> Initial:
    """Build the networks of all members one by one."""
    first = build(0)
    observed = [python_state.observe(first)] if recipe.verify else []

    def built() -> Iterator[nn.Module]:
        yield first
        for member_index in range(1, count):
            network = build(member_index)
            if observed:
                observed.append(python_state.observe(network))
            yield network

    changing = _changing(first, recipe, example)
    return Initial(state.stack(built(), changing), first, observed)


def _changing(network: nn.Module, recipe: Recipe, example: Example) -> set[str]:
    """Return the names of the constants that a pass changes."""
    with recipe.numbers():
        return state.changing(network, example(0).inputs[0]) if state.constants(network) else set()


def _in_precision(build: Build, recipe: Recipe) -> Build:
    """Return `build` so that it draws initial values in 32 bits and holds them in the cohort's precision."""

    def build_in_precision(member_index: int, draw: Draw | None = None) -> nn.Module:
        with recipe.numbers(torch.float32):
            network = build(member_index, draw)
        return network.double() if recipe.dtype is torch.float64 else network

    return build_in_precision
