"""One optimizer step for C members at once.

Shapes: every stacked parameter and gradient is `(C, *shape)`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn, optim

from evalbench.config import Component, OptimizerConfig
from evalbench.engine import calls, kernels
from evalbench.engine.instances import (
    Settings,
    Table,
    can_be_saved,
    is_parameters,
    located,
    make,
    nested,
    own_values,
    uneven,
)
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

Without = Mapping[str, frozenset[int]]
"""By parameter, the places of members whose gradient is none at all: their optimizers leave it as it is."""
NOBODY: Without = {}
OWN = "on the instance"
Computed = tuple[Mapping[str, Tensor], Tensor, Without]
"""The gradients of some members by name, their losses `(C,)`, and which gradients are none."""


class CohortOptimizer:
    """A real optimizer class applied to stacked parameters."""

    def __init__(
        self,
        component: Component,
        parameters: Mapping[str, nn.Parameter],
        members: Sequence[Settings] | None = None,
        alone: bool = False,
        tables: Sequence[Table] | None = None,
    ) -> None:
        """Take the target, the stacked parameters by name, and each member's own hyperparameters where they differ.

        `alone` gives each member an instance of its own, whatever the class. `tables` are the members' schedules.
        """
        kind = located(component)
        first = next(iter(parameters.values()))
        self._tables = tables
        alone = alone or uneven(tables)
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
        values = {name: value.data[0] for name, value in parameters.items()}
        self.calls = calls.of(kind, component, lambda given: make(component, given, self._members[0]), values)
        """How the instances are called."""
        self._assigns = kind not in calls.OF_TORCH  # may give a parameter another tensor as its `data`
        self._training: bool | None = None
        """What the instances were told last: that they step, or that they are evaluated."""
        self._views: list[list[nn.Parameter]] = []
        self.optimizers: list[optim.Optimizer] = []
        """One instance for all members where their settings allow it, else one each on views."""
        if self._shared:
            self._share(parameters)
        else:
            for place, settings in enumerate(self._members):
                views = {name: nn.Parameter(stacked.data[place]) for name, stacked in parameters.items()}
                self._views.append(list(views.values()))
                self.optimizers.append(make(component, views, settings, self._fused))
        self._go_on_with(parameters)

    def _share(self, parameters: Mapping[str, nn.Parameter]) -> None:
        settings = {**self._members[0], **({} if self._rates is None else {"lr": 1.0})}
        self.optimizers = [make(self._component, parameters, settings, self._fused)]

    def _go_on_with(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Step these stacked parameters from now on; views follow them."""
        self.parameters = parameters
        self._updates: list[kernels.Update] = []  # one per instance, once it has made its state
        self._last: list[Tensor] = []  # gradients: large memory that is freed and taken again costs page faults
        for place, views in enumerate(self._views):
            for view, stacked in zip(views, parameters.values(), strict=True):
                view.grad = None
                view.data = stacked.data[place]
        self._lie_at = [[view.data_ptr() for view in views] for views in self._views]

    def schedule(self, step: int) -> None:
        """Set the hyperparameters of a step, where there is a schedule."""
        if self._tables is None:
            return
        rows = [table[step] for table in self._tables]
        for optimizer, mine in zip(self.optimizers, rows, strict=False):  # one shared instance takes the first's
            for group, values in zip(optimizer.param_groups, mine, strict=True):
                group.update({key: value for key, value in values.items() if key != "lr_factor"})
        if self._rates is not None:
            self._rates = torch.tensor([mine[0]["lr"] for mine in rows], dtype=torch.float64).to(self._rates)
            self.optimizers[0].param_groups[0]["lr"] = 1.0

    def switch(self, training: bool) -> None:
        """Tell instances that want to know it that they will step, or that their parameters will be evaluated."""
        if self._training is not training:
            for optimizer in self.optimizers:
                calls.switch(optimizer, training)
            self._take_back()
            self._training = training

    def step(self, gradients: Mapping[str, Tensor], without: Without = NOBODY, keys: Tensor | None = None) -> None:
        """Update the parameters in place, given gradients by name, and which of them are none.

        `keys` `(C,)` are what instances that draw random numbers draw from.
        """
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
        for place, optimizer in enumerate(self.optimizers):
            with torch.enable_grad(), self.calls.seeded(None if keys is None else keys[place]):
                optimizer.step()
        self._take_back()
        if self._rates is not None:
            for old, parameter in zip(before, self.parameters.values(), strict=True):
                weight = self._rates.view(-1, *[1] * (parameter.ndim - 1))
                parameter.data.copy_(torch.lerp(old, parameter.data, weight))
        if self._direct is not None:
            self._updates = [self._direct(optimizer) for optimizer in self.optimizers]

    def step_with_closures(self, compute: Callable[[int], Computed], keys: Tensor) -> tuple[Tensor, list[int]]:
        """Let each member's instance ask for loss and gradients at its parameters, as often as it likes.

        `compute` takes a member's place. Return the losses `(C,)` that were asked for first, and the number of times
        that each member asked.
        """
        first: list[Tensor] = []
        asked: list[int] = []
        for place, (optimizer, views) in enumerate(zip(self.optimizers, self._views, strict=True)):
            losses: list[Tensor] = []

            def closure(place: int = place, views: list[nn.Parameter] = views, losses: list[Tensor] = losses) -> Tensor:
                with torch.no_grad():
                    self._take_back([place])
                    gradients, loss, without = compute(place)
                    for view, name in zip(views, self.parameters, strict=True):
                        view.grad = None if without.get(name) else gradients[name][0]
                    losses.append(loss[0])
                    return loss[0].clone()

            if self.calls.gradients:
                closure()
            with torch.enable_grad(), self.calls.seeded(keys[place]):
                optimizer.step(closure)  # type: ignore[arg-type]
            if not losses:
                closure()  # it stayed where it is; its loss is asked for all the same
            first.append(losses[0])
            asked.append(len(losses))
        self._take_back()
        return torch.stack(first), asked

    def _take_back(self, places: Iterable[int] | None = None) -> None:
        """Follow instances that have assigned new tensors to their parameters' `data`."""
        if not self._assigns:
            return
        for place in range(len(self._views)) if places is None else places:
            where = zip(self._views[place], self._lie_at[place], self.parameters.values(), strict=True)
            for view, address, stacked in where:
                if view.data_ptr() != address:
                    stacked.data[place].copy_(view.data)
                    view.data = stacked.data[place]

    def keep(self, members: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Go on with some of the members, whose parameters are given anew; their instances go with them."""
        self._members = [self._members[member] for member in members]
        self._tables = None if self._tables is None else [self._tables[member] for member in members]
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
        for optimizer in nested(self.optimizers):
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
            vars(optimizer).update(apply_to_collection(own_values(optimizer), Tensor, function))
            held = {key: value for key, value in vars(optimizer).items() if is_parameters(value)}
            vars(optimizer).update({key: [new.get(one, one) for one in value] for key, value in held.items()})
        self._rates = None if self._rates is None else function(self._rates)
        self._go_on_with(parameters)

    def state(self) -> list[dict[str, Any]]:
        """Return the instances' states, to be saved: also what a class keeps on the instance itself."""
        return [{**optimizer.state_dict(), OWN: own_values(optimizer)} for optimizer in self.optimizers]

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
        return all(map(can_be_saved, self.optimizers))

    @property
    def state_bytes(self) -> int:
        """The size of the instances' states."""
        tensors = (
            value
            for optimizer in nested(self.optimizers)
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
        tables: Sequence[Table] | None = None,
    ) -> None:
        """Take the configuration and the stacked parameters by name; a member's settings go to the main optimizer."""
        if tables and any("lr_factor" not in row[0] for row in tables[0][:1]):
            rule = "must be above 0 where optimizer.others follow its schedule"
            raise ConfigError("optimizer.lr", rule, 0, "give a learning rate, or choose schedule=constant")
        factors = [[row[0]["lr_factor"] for row in table] for table in tables or ()]
        self._factors: list[list[float]] | None = factors if tables else None
        differ = any(mine != factors[0] for mine in factors[1:])
        self._parts: list[CohortOptimizer] = []
        assert config.others is not None
        for component, wanted, own in ((config.component, True, members), (config.others, False, None)):
            part = {name: value for name, value in parameters.items() if (value.ndim == 3) is wanted}
            if part:
                one_each = alone or (differ and not wanted)
                self._parts.append(CohortOptimizer(component, part, own, one_each, tables if wanted else None))
                if self._parts[-1].calls.closure:
                    rule = "must be an optimizer that steps without a closure beside another one"
                    raise ConfigError(component.group, rule, component.target, "leave optimizer.others out")

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

    @property
    def calls(self) -> calls.Calls:
        """How the instances are called."""
        return self._parts[0].calls

    def schedule(self, step: int) -> None:
        """Schedule the main optimizer; the other one's learning rate moves by the same factor."""
        if self._factors is None:
            return
        for part in self._parts:
            part.schedule(step)
        for other in self._parts[1:]:
            for optimizer, factors in zip(other.optimizers, self._factors, strict=False):
                for group in optimizer.param_groups:
                    base = group.setdefault("base_lr", group["lr"])
                    group["lr"] = base * factors[step]

    def switch(self, training: bool) -> None:
        """Tell instances that want to know it what comes; see `CohortOptimizer.switch`."""
        for part in self._parts:
            part.switch(training)

    def step(self, gradients: Mapping[str, Tensor], without: Without = NOBODY, keys: Tensor | None = None) -> None:
        """Update the parameters in place, given gradients by name, and which of them are none."""
        for part in self._parts:
            part.step(gradients, without, keys)

    def step_with_closures(self, compute: Callable[[int], Computed], keys: Tensor) -> tuple[Tensor, list[int]]:
        """Never called: see the constructor."""
        raise NotImplementedError

    def keep(self, members: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Go on with some of the members; see `CohortOptimizer.keep`."""
        self._factors = None if self._factors is None else [self._factors[member] for member in members]
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
    tables: Sequence[Table] | None = None,
) -> CohortOptimizer | SplitOptimizer:
    """Build what the configuration asks for on stacked parameters; raise `ConfigError`. See `CohortOptimizer`."""
    if config.others is None:
        return CohortOptimizer(config.component, parameters, members, alone, tables)
    return SplitOptimizer(config, parameters, members, alone, tables)


def clip_per_member(gradients: Mapping[str, Tensor], most: float) -> dict[str, Tensor]:
    """Scale each member's gradients down to a norm of at most `most`, as `torch.nn.utils.clip_grad_norm_` does."""
    parts = [torch.view_as_real(value) if value.is_complex() else value for value in gradients.values()]
    wide = reduce(torch.promote_types, (part.dtype for part in parts), torch.float32)
    squares = [part.flatten(1).to(wide).square().sum(1) for part in parts]
    norm = torch.stack(squares).sum(0).sqrt()  # (C,)
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    return {name: g * scale.view(-1, *[1] * (g.ndim - 1)).to(g.real.dtype) for name, g in gradients.items()}


def _has_fused(kind: Any, component: Component, parameters: Mapping[str, Tensor]) -> bool:
    """Fused updates are 2.5 times faster on the CPU; they take floating point and no other implementation flag."""
    flags = (calls.FLAGS | {"maximize"}) & component.arguments.keys()
    known = kind in calls.OF_TORCH and "fused" in inspect.signature(kind).parameters
    return known and not flags and all(torch.is_floating_point(p) and not p.is_complex() for p in parameters.values())
