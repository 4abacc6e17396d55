"""Observe how an optimizer must be called, by two steps on a copy of the parameters.

Some optimizers call a closure that computes loss and gradients anew, any number of times (LBFGS). Some do so after a
first move along gradients that they are given (SAM). Signatures do not tell: all of them have `closure=None`.
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
    """Describe how a class's `step` is called."""

    gradients: bool = True
    """Whether gradients must be set before the call."""
    closure: bool = False
    """Whether it needs a closure."""
    draws: bool = False
    """Whether it draws from the global generators."""

    def seeded(self, key: Tensor | None) -> AbstractContextManager[None]:
        """Seed a member's step, if it draws at all, with a stream of its own that is not its network's."""
        if not self.draws or key is None:
            return nullcontext()
        return seeded((int(key) * 6364136223846793005 + 1442695040888963407) % 2**63, key.device)


OF_TORCH: dict[Any, Calls] = {
    cls: Calls(gradients=cls is not optim.LBFGS, closure=cls is optim.LBFGS)
    for cls in vars(optim).values()
    if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls not in (optim.Optimizer, optim.SparseAdam)
}
"""The calls of torch's own classes."""
FLAGS = frozenset({"fused", "foreach", "capturable", "differentiable"})
"""Settings that choose an implementation, which may not support these parameters."""

_by_shapes: dict[str, Calls] = {}
"""The calls by class, settings and parameter shapes."""
_by_settings: dict[str, Calls] = {}
"""The calls by class and settings, observed on any parameters."""


def observe(target: Any, component: Component, make: Make, values: Mapping[str, Tensor]) -> Calls:
    """Return the calls of the optimizer that `make` makes of parameters, observed on one member's values.

    Raises `ConfigError` if the optimizer cannot step. If it can step on the parameters of another data set, it is left
    to the training, which names the cell that fails.
    """
    flags = FLAGS & component.arguments.keys()
    needs_cuda = "capturable" in flags and torch.cuda.is_available()
    if needs_cuda or (target in OF_TORCH and not flags):
        return OF_TORCH.get(target, Calls())
    spec = json.dumps(component.spec(), default=str)
    key = spec + json.dumps([(name, list(value.shape)) for name, value in values.items()])
    if key not in _by_shapes:
        try:
            _by_shapes[key] = _by_settings[spec] = _probe(component, make, values)
        except ConfigError:
            if spec not in _by_settings:
                raise
            _by_shapes[key] = _by_settings[spec]
    return _by_shapes[key]


def _probe(component: Component, make: Make, values: Mapping[str, Tensor]) -> Calls:
    with_closure, plain = _Probe(make, values, closure=True), _Probe(make, values, closure=False)
    if "made" in (with_closure.drew | plain.drew):
        rule = f"must not draw random numbers when it is made, as {component.target} does"
        raise ConfigError(component.group, rule, remedy="draw them in its steps")
    if plain.error is not None and with_closure.error is not None:
        rule = f"must be an optimizer that can take a step, with a closure or without, unlike {component.target}"
        raise ConfigError(component.group, rule, remedy=plain.reason)
    if with_closure.error is None and (any(with_closure.moved) or plain.error is not None):
        needs_gradients = with_closure.moved[:1] != [False]
        return Calls(needs_gradients, True, bool(with_closure.drew))
    return Calls(draws=bool(plain.drew))


class _Probe:
    """Take a few steps on a quadratic loss, whose gradients can be computed at any parameters."""

    def __init__(self, make: Make, values: Mapping[str, Tensor], closure: bool) -> None:
        self.moved: list[bool] = []
        """For each call of the closure, whether the parameters had moved since the step began."""
        self.drew: set[str] = set()
        """When it drew from the global generators: "made" or "stepped"."""
        self.error: Exception | None = None
        start = {name: value.detach().cpu().clone() for name, value in values.items()}
        parameters = {name: nn.Parameter(value.clone()) for name, value in start.items()}
        step_start = start

        def compute() -> Tensor:
            for name, parameter in parameters.items():
                parameter.grad = 0.1 * parameter.detach() + 0.001 * torch.ones_like(start[name])
            return sum(
                (p.grad.abs().square().sum() for p in parameters.values() if p.grad is not None), torch.zeros(())
            )

        def closure_of_step() -> Tensor:
            self.moved.append(any(not torch.equal(p.detach(), step_start[name]) for name, p in parameters.items()))
            return compute()

        with seeded(0), torch.enable_grad():
            generators = _generators()
            optimizer = make(parameters)
            if _generators() != generators:
                self.drew.add("made")
            try:
                switch(optimizer, training=True)
                for _ in range(NUM_STEPS):
                    step_start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
                    compute()
                    optimizer.step(closure_of_step) if closure else optimizer.step()  # type: ignore[arg-type]
            except Exception as error:  # a user's optimizer may raise anything
                self.error = error
            if _generators() != generators:
                self.drew.add("stepped")

    @property
    def reason(self) -> str:
        """The error in one line."""
        return (str(self.error).strip().splitlines() or [type(self.error).__name__])[0]


def switch(optimizer: optim.Optimizer, training: bool) -> None:
    """Call the optimizer's `train` or `eval`, if it has them, as schedule-free optimizers do."""
    method: Any = getattr(optimizer, "train" if training else "eval", None)
    if callable(method):
        method()


def _generators() -> tuple[object, ...]:
    torch_state = torch.default_generator.get_state()
    return random.getstate(), repr(np.random.get_state()), bytes(torch_state.numpy())
