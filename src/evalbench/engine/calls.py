"""How an optimizer wants to be called: what two steps on a copy of the parameters show.

Some take a closure that computes loss and gradients anew, as often as they like (LBFGS), some after a first move along
gradients that they were given (SAM). Signatures do not tell: `closure=None` stands in all of them.
"""

import json
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn, optim

from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.models import seeded

NUM_STEPS = 2
Make = Callable[[dict[str, nn.Parameter]], optim.Optimizer]


class Calls(NamedTuple):
    """How a class's `step` is called."""

    gradients: bool = True
    """Gradients are there when it is called."""
    closure: bool = False
    """It is given a closure."""
    draws: bool = False
    """It draws from the global generators."""

    def seeded(self, key: Tensor | None) -> AbstractContextManager[None]:
        """Let a member's step draw from its own stream, if it draws at all; another than that of its network."""
        if not self.draws or key is None:
            return nullcontext()
        return seeded((int(key) * 6364136223846793005 + 1442695040888963407) % 2**63, key.device)


OF_TORCH: dict[Any, Calls] = {
    kind: Calls(gradients=kind is not optim.LBFGS, closure=kind is optim.LBFGS)
    for kind in vars(optim).values()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind not in (optim.Optimizer, optim.SparseAdam)
}
"""Torch's own classes."""
FLAGS = frozenset({"fused", "foreach", "capturable", "differentiable"})
"""Settings that choose an implementation, which may not take these parameters."""

_known: dict[str, Calls] = {}
_works: dict[str, Calls] = {}
"""By class and settings, what was found on any parameters."""


def of(target: Any, component: Component, make: Make, values: Mapping[str, Tensor]) -> Calls:
    """Return how the optimizer that `make` makes of parameters is called, given one member's values.

    Raises `ConfigError` for one that cannot step. One that steps on another data set's parameters is left to the
    training, which names the cell that fails.
    """
    flags = FLAGS & component.arguments.keys()
    needs_cuda = "capturable" in flags and torch.cuda.is_available()
    if needs_cuda or (target in OF_TORCH and not flags):
        return OF_TORCH.get(target, Calls())
    spec = json.dumps(component.spec(), default=str)
    key = spec + json.dumps([(name, list(value.shape)) for name, value in values.items()])
    if key not in _known:
        try:
            _known[key] = _works[spec] = _find(component, make, values)
        except ConfigError:
            if spec not in _works:
                raise
            _known[key] = _works[spec]
    return _known[key]


def _find(component: Component, make: Make, values: Mapping[str, Tensor]) -> Calls:
    with_closure, plain = _Trial(make, values, closure=True), _Trial(make, values, closure=False)
    if "made" in (with_closure.drew | plain.drew):
        rule = f"must not draw random numbers when it is made, as {component.target} does"
        raise ConfigError(component.group, rule, remedy="draw them in its steps")
    if plain.error is not None and with_closure.error is not None:
        rule = f"must be an optimizer that can take a step, with a closure or without, unlike {component.target}"
        raise ConfigError(component.group, rule, remedy=plain.why)
    if with_closure.error is None and (any(with_closure.moved) or plain.error is not None):
        at_first = with_closure.moved[:1] != [False]
        return Calls(at_first, True, bool(with_closure.drew))
    return Calls(draws=bool(plain.drew))


class _Trial:
    """A few steps down a bowl, whose gradients can be computed anywhere."""

    def __init__(self, make: Make, values: Mapping[str, Tensor], closure: bool) -> None:
        self.moved: list[bool] = []
        """For each call of the closure, whether the parameters had moved since the step began."""
        self.drew: set[str] = set()
        self.error: Exception | None = None
        start = {name: value.detach().cpu().clone() for name, value in values.items()}
        parameters = {name: nn.Parameter(value.clone()) for name, value in start.items()}
        begun = start

        def descend() -> Tensor:
            for name, parameter in parameters.items():
                parameter.grad = 0.1 * parameter.detach() + 0.001 * torch.ones_like(start[name])
            return sum(
                (p.grad.abs().square().sum() for p in parameters.values() if p.grad is not None), torch.zeros(())
            )

        def called() -> Tensor:
            self.moved.append(any(not torch.equal(p.detach(), begun[name]) for name, p in parameters.items()))
            return descend()

        with seeded(0), torch.enable_grad():
            generators = _generators()
            optimizer = make(parameters)
            if _generators() != generators:
                self.drew.add("made")
            try:
                switch(optimizer, training=True)
                for _ in range(NUM_STEPS):
                    begun = {name: parameter.detach().clone() for name, parameter in parameters.items()}
                    descend()
                    optimizer.step(called) if closure else optimizer.step()  # type: ignore[arg-type]
            except Exception as error:  # whatever a user's optimizer raises
                self.error = error
            if _generators() != generators:
                self.drew.add("stepped")

    @property
    def why(self) -> str:
        """The error in a line."""
        return (str(self.error).strip().splitlines() or [type(self.error).__name__])[0]


def switch(optimizer: optim.Optimizer, training: bool) -> None:
    """Tell an optimizer that wants to know it whether it will step or be evaluated, as schedule-free ones do."""
    told: Any = getattr(optimizer, "train" if training else "eval", None)
    if callable(told):
        told()


def _generators() -> tuple[object, ...]:
    torchs = torch.default_generator.get_state()
    return random.getstate(), repr(np.random.get_state()), bytes(torchs.numpy())
