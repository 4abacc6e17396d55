"""One optimizer step for C members at once.

Shapes: every stacked parameter and gradient is `(C, *shape)`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn, optim

from evalbench.config import Component, OptimizerConfig
from evalbench.engine import kernels
from evalbench.engine.python_state import is_plain
from evalbench.engine.schedules import Values
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

LINEAR_IN_LR = ELEMENTWISE - {optim.Rprop}
"""Classes whose update is the learning rate times something without it: members may then differ in it and still share
an instance, which steps with 1 and is followed by each member its own fraction of the way."""

Settings = Mapping[str, Any]
Without = Mapping[str, frozenset[int]]
"""By parameter, the places of members whose gradient is none at all: their optimizers leave it as it is."""
NOBODY: Without = {}
OWN = "on the instance"
_OF_TORCH = frozenset(vars(optim.SGD([nn.Parameter(torch.zeros(0))])))


class CohortOptimizer:
    """A real optimizer class applied to stacked parameters."""

    def __init__(
        self,
        component: Component,
        parameters: Mapping[str, nn.Parameter],
        members: Sequence[Settings] | None = None,
        alone: bool = False,
    ) -> None:
        """Take the class, the stacked parameters by name, and each member's own hyperparameters where they differ.

        `alone` gives each member an instance of its own, whatever the class.
        """
        kind = check_class(component)
        first = next(iter(parameters.values()))
        self._component = component
        self._members = [dict(member) for member in members] if members else [{} for _ in range(len(first))]
        fused = not alone and _has_fused(kind, component, parameters)  # it takes no parameter without a gradient
        self._fused = {"fused": True} if fused else {}
        self._direct = kernels.of(kind) if self._fused and first.device.type == "cpu" else None
        differing = {key for one in self._members for key in one if any(o.get(key) != one[key] for o in self._members)}
        by_rate = differing == {"lr"} and kind in LINEAR_IN_LR and self._direct is None
        self._shared = kind in ELEMENTWISE and (not differing or by_rate) and not alone
        self._rates: Tensor | None = None  # (C,), where members share an instance and differ in the learning rate
        if self._shared and differing:
            rates = [member.get("lr", component.arguments.get("lr")) for member in self._members]
            self._rates = torch.tensor(rates, dtype=first.dtype, device=first.device)
        self._views: list[list[nn.Parameter]] = []
        self.optimizers: list[optim.Optimizer] = []
        """One instance for all members where their settings allow it, else one each on views."""
        if self._shared:
            self._share(parameters)
        else:
            for place, settings in enumerate(self._members):
                self._views.append([nn.Parameter(stacked.data[place]) for stacked in parameters.values()])
                self.optimizers.append(self._make(self._views[place], settings))
        self._go_on_with(parameters)

    def _share(self, parameters: Mapping[str, nn.Parameter]) -> None:
        settings = {**self._members[0], **({} if self._rates is None else {"lr": 1.0})}
        self.optimizers = [self._make(list(parameters.values()), settings)]

    def _go_on_with(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Step these stacked parameters from now on; views follow them."""
        self.parameters = parameters
        self._updates: list[kernels.Update] = []  # one per instance, once it has made its state
        self._last: list[Tensor] = []  # gradients: large memory that is freed and taken again costs page faults
        for place, views in enumerate(self._views):
            for view, stacked in zip(views, parameters.values(), strict=True):
                view.grad = None
                view.data = stacked.data[place]

    def _make(self, parameters: list[nn.Parameter], settings: Settings) -> optim.Optimizer:
        optimizer: optim.Optimizer = self._component.build(parameters, **{**settings, **self._fused})
        return optimizer

    def schedule(self, values: Sequence[Values]) -> None:
        """Set the scheduled hyperparameters of the coming step, one mapping per member."""
        for optimizer, mine in zip(self.optimizers, values, strict=False):  # one shared instance takes the first's
            optimizer.param_groups[0].update({key: value for key, value in mine.items() if key != "lr_factor"})
        if self._rates is not None:
            self._rates = torch.tensor([mine["lr"] for mine in values]).to(self._rates)
            self.optimizers[0].param_groups[0]["lr"] = 1.0

    def step(self, gradients: Mapping[str, Tensor], without: Without = NOBODY) -> None:
        """Update the parameters in place, given gradients by name, and which of them are none."""
        if self._updates:
            stacked = [gradients[name] for name in self.parameters]
            parts = [stacked] if self._shared else zip(*(column.unbind() for column in stacked), strict=True)
            for update, part in zip(self._updates, parts, strict=True):
                update(list(part))
            self._last = stacked
            return
        if self._views:
            for member, views in enumerate(self._views):
                for view, name in zip(views, self.parameters, strict=True):
                    view.grad = None if member in without.get(name, ()) else gradients[name][member]
        else:
            for name, parameter in self.parameters.items():
                parameter.grad = gradients[name]
        before = [] if self._rates is None else [parameter.data.clone() for parameter in self.parameters.values()]
        for optimizer in self.optimizers:
            optimizer.step()
        if self._rates is not None:
            for old, parameter in zip(before, self.parameters.values(), strict=True):
                weight = self._rates.view(-1, *[1] * (parameter.ndim - 1))
                parameter.data.copy_(torch.lerp(old, parameter.data, weight))
        if self._direct is not None:
            self._updates = [self._direct(optimizer) for optimizer in self.optimizers]

    def keep(self, members: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Go on with some of the members, whose parameters are given anew; their instances go with them."""
        self._members = [self._members[member] for member in members]
        if self._shared:
            self._rates = None if self._rates is None else self._rates[list(members)]
            (old,), before = self.optimizers, self.parameters
            self._share(parameters)
            for one, other in zip(before.values(), parameters.values(), strict=True):
                for key, value in old.state.get(one, {}).items():
                    stacked = isinstance(value, Tensor) and value.shape[:1] == one.shape[:1]
                    self.optimizers[0].state[other][key] = value[list(members)] if stacked else value
        else:
            self._views = [self._views[member] for member in members]
            self.optimizers = [self.optimizers[member] for member in members]
        self._go_on_with(parameters)

    def move(self, function: Callable[[Tensor], Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """Follow the parameters to another device or type, state and all."""
        new: dict[Tensor, nn.Parameter] = dict(zip(self.parameters.values(), parameters.values(), strict=True))
        for views in self._views:
            new |= {view: nn.Parameter(function(view.data)) for view in views}
        self._views = [[new[view] for view in views] for views in self._views]
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["params"] = [new.get(parameter, parameter) for parameter in group["params"]]
                rest = {key: value for key, value in group.items() if key != "params"}
                group.update(apply_to_collection(rest, Tensor, function))
            states = {
                new.get(key, key): apply_to_collection(value, Tensor, function)
                for key, value in optimizer.state.items()
            }
            optimizer.state.clear()
            optimizer.state.update(states)
            vars(optimizer).update(apply_to_collection(_own(optimizer), Tensor, function))
        self._rates = None if self._rates is None else function(self._rates)
        self._go_on_with(parameters)

    def state(self) -> list[dict[str, Any]]:
        """Return the instances' states, to be saved: also what a class keeps on the instance itself."""
        return [{**optimizer.state_dict(), OWN: _own(optimizer)} for optimizer in self.optimizers]

    def load_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Take up saved states, of the same members in the same order."""
        self._updates = []
        for optimizer, saved in zip(self.optimizers, states, strict=True):
            state = dict(saved)
            vars(optimizer).update(state.pop(OWN))
            optimizer.load_state_dict(state)

    @property
    def can_be_saved(self) -> bool:
        """Whether the states hold all that the instances go by: an object of a class of its own may be on them."""
        return all(map(_can_be_saved, self.optimizers))

    @property
    def state_bytes(self) -> int:
        """The size of the instances' states."""
        tensors = (
            value
            for optimizer in self.optimizers
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        )
        return sum(value.numel() * value.element_size() for value in tensors)


class SplitOptimizer:
    """Two optimizers: one for the matrices, one for all else, as Muon wants it. Same interface as `CohortOptimizer`."""

    def __init__(
        self,
        config: OptimizerConfig,
        parameters: Mapping[str, nn.Parameter],
        members: Sequence[Settings] | None = None,
        alone: bool = False,
    ) -> None:
        """Take the configuration and the stacked parameters by name; a member's settings go to the main optimizer."""
        self._parts: list[CohortOptimizer] = []
        assert config.others is not None
        for component, wanted, own in ((config.component, True, members), (config.others, False, None)):
            part = {name: value for name, value in parameters.items() if (value.ndim == 3) is wanted}
            if part:
                self._parts.append(CohortOptimizer(component, part, own, alone))

    @property
    def optimizers(self) -> list[optim.Optimizer]:
        """The real instances."""
        return [optimizer for part in self._parts for optimizer in part.optimizers]

    @property
    def state_bytes(self) -> int:
        """The size of the instances' states."""
        return sum(part.state_bytes for part in self._parts)

    @property
    def can_be_saved(self) -> bool:
        """Whether the states hold all that the instances go by."""
        return all(part.can_be_saved for part in self._parts)

    def schedule(self, values: Sequence[Values]) -> None:
        """Schedule the main optimizer; the other one's learning rate moves by the same factor."""
        main, *rest = self._parts
        main.schedule(values)
        for other in rest:
            for optimizer in other.optimizers:
                group = optimizer.param_groups[0]
                base = group.setdefault("base_lr", group["lr"])
                group["lr"] = base * float(values[0]["lr_factor"])  # type: ignore[arg-type]

    def step(self, gradients: Mapping[str, Tensor], without: Without = NOBODY) -> None:
        """Update the parameters in place, given gradients by name, and which of them are none."""
        for part in self._parts:
            part.step(gradients, without)

    def keep(self, members: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Go on with some of the members; see `CohortOptimizer.keep`."""
        for part in self._parts:
            part.keep(members, {name: parameters[name] for name in part.parameters})

    def move(self, function: Callable[[Tensor], Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """Follow the parameters to another device or type; see `CohortOptimizer.move`."""
        for part in self._parts:
            part.move(function, {name: parameters[name] for name in part.parameters})

    def state(self) -> list[dict[str, Any]]:
        """Return the instances' states, to be saved."""
        return [state for part in self._parts for state in part.state()]

    def load_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Take up saved states."""
        rest = list(states)
        for part in self._parts:
            part.load_state(rest[: len(part.optimizers)])
            rest = rest[len(part.optimizers) :]


def build(
    config: OptimizerConfig,
    parameters: Mapping[str, nn.Parameter],
    members: Sequence[Settings] | None = None,
    alone: bool = False,
) -> CohortOptimizer | SplitOptimizer:
    """Build what the configuration asks for on stacked parameters; raise `ConfigError`. See `CohortOptimizer`."""
    if config.others is None:
        return CohortOptimizer(config.component, parameters, members, alone)
    return SplitOptimizer(config, parameters, members, alone)


def _own(optimizer: optim.Optimizer) -> dict[str, Any]:
    """Return the plain values that an instance holds beside what torch gives it."""
    return {key: value for key, value in vars(optimizer).items() if key not in _OF_TORCH and is_plain(value)}


def _can_be_saved(optimizer: optim.Optimizer) -> bool:
    own = [value for key, value in vars(optimizer).items() if key not in _OF_TORCH]
    knows_itself = type(optimizer).state_dict is not optim.Optimizer.state_dict
    return knows_itself or all(is_plain(value) or callable(value) or _is_parameters(value) for value in own)


def _is_parameters(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, nn.Parameter) for part in value)


def clip_per_member(gradients: Mapping[str, Tensor], most: float) -> dict[str, Tensor]:
    """Scale each member's gradients down to a norm of at most `most`, as `torch.nn.utils.clip_grad_norm_` does."""
    squares = [gradient.flatten(1).float().square().sum(1) for gradient in gradients.values()]
    norm = torch.stack(squares).sum(0).sqrt()  # (C,)
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    return {name: g * scale.view(-1, *[1] * (g.ndim - 1)).to(g.dtype) for name, g in gradients.items()}


def check_class(component: Component) -> type[optim.Optimizer]:
    """Return the optimizer class that the configuration names; raise `ConfigError` where it cannot be used."""
    kind = component.locate()
    if not (isinstance(kind, type) and issubclass(kind, optim.Optimizer)):
        rule = "must be a torch.optim.Optimizer"
        raise ConfigError(f"{component.group}._target_", rule, component.target, "name such a class")
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        rule = "must be an optimizer that steps without a closure"
        raise ConfigError(f"{component.group}._target_", rule, component.target, "use for example torch.optim.Adam")
    return kind


def _has_fused(kind: type, component: Component, parameters: Mapping[str, Tensor]) -> bool:
    """Fused updates are 2.5 times faster on the CPU; they take floating point and no other implementation flag."""
    flags = {"fused", "foreach", "capturable", "differentiable", "maximize"} & component.arguments.keys()
    known = "fused" in inspect.signature(kind).parameters
    return known and not flags and all(torch.is_floating_point(p) and not p.is_complex() for p in parameters.values())
