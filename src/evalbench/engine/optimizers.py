"""Take an optimizer step for C members at once.

Shapes: every stacked parameter and gradient is `(C, *shape)`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
"""Classes whose update treats every number by itself, so that one instance on stacked parameters equals C instances.

Tests check each class. Any other class gets one instance per member, on views of the stacked parameters.
"""

LINEAR_IN_LR = ELEMENTWISE - {optim.Rprop}
"""Classes whose update is proportional to the learning rate: members that differ in it can still share an instance.

The instance steps with learning rate 1, and each member moves its own fraction of the step.
"""

Without = Mapping[str, frozenset[int]]
"""By parameter, the slots of members without a gradient, whose optimizers leave the parameter as it is."""
NO_SLOTS: Without = {}
OWN = "on the instance"
Computed = tuple[Mapping[str, Tensor], Tensor, Without]
"""The gradients of some members by name, their losses `(C,)`, and the missing gradients."""


class CohortOptimizer:
    """Apply a real optimizer class to stacked parameters."""

    def __init__(
        self,
        component: Component,
        parameters: Mapping[str, nn.Parameter],
        members: Sequence[Settings] | None = None,
        alone: bool = False,
        tables: Sequence[Table] | None = None,
    ) -> None:
        """Take the target, the stacked parameters by name, and each member's own hyperparameters if they differ.

        `alone` gives each member an instance of its own, for any class. `tables` are the members' schedules.
        """
        optimizer_class = located(component)
        first = next(iter(parameters.values()))
        self._tables = tables
        alone = alone or uneven(tables)
        self._component = component
        self._members = [dict(member) for member in members] if members else [{} for _ in range(len(first))]
        self._flags = kernels.flags(optimizer_class, component, parameters, fused=not alone)
        direct = "fused" in self._flags and first.device.type == "cpu"
        self._direct = kernels.update_maker(optimizer_class) if direct else None
        keys = {key for settings in self._members for key in settings}
        differing = {key for key in keys if any(own.get(key) != self._members[0].get(key) for own in self._members)}
        by_rate = differing == {"lr"} and optimizer_class in LINEAR_IN_LR and self._direct is None
        self._shared = optimizer_class in ELEMENTWISE and (not differing or by_rate) and not alone
        self._rates: Tensor | None = None  # (C,), if members share an instance and differ in the learning rate
        if self._shared and differing:
            rates = [member.get("lr", component.arguments.get("lr")) for member in self._members]
            self._rates = torch.tensor(rates, dtype=first.dtype, device=first.device)
        values = {name: value.data[0] for name, value in parameters.items()}
        self.calls = calls.observe(
            optimizer_class, component, lambda parameters: make(component, parameters, self._members[0]), values
        )
        """How the instances are called."""
        self._assigns = optimizer_class not in calls.OF_TORCH  # may give a parameter another tensor as its `data`
        self._training: bool | None = None
        """The mode that the instances were last switched to; None before the first."""
        self._views: list[list[nn.Parameter]] = []
        self.optimizers: list[optim.Optimizer] = []
        """One instance for all members if their settings allow it, else one per member on views."""
        if self._shared:
            self._share(parameters)
        else:
            for slot, settings in enumerate(self._members):
                views = {name: nn.Parameter(stacked.data[slot]) for name, stacked in parameters.items()}
                self._views.append(list(views.values()))
                self.optimizers.append(make(component, views, settings, self._flags))
        self._go_on_with(parameters)

    def _share(self, parameters: Mapping[str, nn.Parameter]) -> None:
        settings = {**self._members[0], **({} if self._rates is None else {"lr": 1.0})}
        self.optimizers = [make(self._component, parameters, settings, self._flags)]

    def _go_on_with(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Step these stacked parameters from now on; let the views point to them."""
        self.parameters = parameters
        self._updates: list[kernels.Update] = []  # one per instance, once it has made its state
        self._static_rates: Tensor | None = None  # (R,), the learning rates of the groups if a graph sets them
        self._last: list[Tensor] = []  # the last gradients: freeing and allocating large memory costs page faults
        for slot, views in enumerate(self._views):
            for view, stacked in zip(views, parameters.values(), strict=True):
                view.grad = None
                view.data = stacked.data[slot]
        self._addresses = [[view.data_ptr() for view in views] for views in self._views]

    def schedule(self, step: int) -> None:
        """Set the hyperparameters of a step, if there is a schedule."""
        if self._tables is None:
            return
        rows = [table[step] for table in self._tables]
        for optimizer, row in zip(self.optimizers, rows, strict=False):  # a shared instance takes the first row
            for group, values in zip(optimizer.param_groups, row, strict=True):
                group.update({key: value for key, value in values.items() if key != "lr_factor"})
        if self._rates is not None:
            self._rates = torch.tensor([row[0]["lr"] for row in rows], dtype=torch.float64).to(self._rates)
            self.optimizers[0].param_groups[0]["lr"] = 1.0

    @property
    def why_not_captured(self) -> str | None:
        """The reason why a CUDA graph cannot hold the step, which may then change only in its learning rates."""
        changing = {key for table in self._tables or () for values in table[0] for key in values}
        if not changing <= {"lr", "lr_factor"}:
            return f"the schedule changes {', '.join(sorted(changing - {'lr', 'lr_factor'}))}"
        return kernels.why_not_captured(located(self._component), self._component)

    def rates(self, first_step: int, num_steps: int) -> Tensor | None:
        """Return the scheduled learning rates of a chunk, `(S, R)` on the device; None without a schedule."""
        if self._tables is None:
            return None
        tables = self._tables if self._rates is not None else self._tables[: len(self.optimizers)]
        steps = range(first_step, first_step + num_steps)
        rates = [[group["lr"] for table in tables for group in table[step]] for step in steps]
        device = next(iter(self.parameters.values())).device
        dtype = torch.float64 if device.type == "cpu" else torch.float32  # fused updates on CUDA take no other
        dtype = dtype if self._rates is None else self._rates.dtype
        return torch.tensor(rates, dtype=dtype).to(device, non_blocking=True)

    def set_rates(self, rates: Tensor) -> None:
        """Set the learning rates `(R,)` of a step by operations on the device alone; see `rates`."""
        if self._rates is not None:
            self._rates.copy_(rates)
            return
        if self._static_rates is None:
            self._static_rates = torch.empty_like(rates)
        self._static_rates.copy_(rates)
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        for group, rate in zip(groups, self._static_rates, strict=True):
            group["lr"] = rate

    def switch(self, training: bool) -> None:
        """Switch instances that have modes to stepping, or to the evaluation of their parameters."""
        if self._training is not training:
            for optimizer in self.optimizers:
                calls.switch(optimizer, training)
            self._take_back()
            self._training = training

    def step(self, gradients: Mapping[str, Tensor], without: Without = NO_SLOTS, keys: Tensor | None = None) -> None:
        """Update the parameters in place, given gradients by name and the missing gradients.

        `keys` `(C,)` seed the instances that draw random numbers.
        """
        if self._updates:
            stacked = [gradients[name] for name in self.parameters]
            parts = [stacked] if self._shared else zip(*(column.unbind() for column in stacked), strict=True)
            for update, part in zip(self._updates, parts, strict=True):
                update(list(part))
            self._last = stacked
            return
        if self._views:
            for slot, views in enumerate(self._views):
                for view, name in zip(views, self.parameters, strict=True):
                    view.grad = None if slot in without.get(name, ()) else gradients[name][slot]
        else:
            for name, parameter in self.parameters.items():
                parameter.grad = gradients[name]
        before = [] if self._rates is None else [parameter.data.clone() for parameter in self.parameters.values()]
        for slot, optimizer in enumerate(self.optimizers):
            with torch.enable_grad(), self.calls.seeded(None if keys is None else keys[slot]):
                optimizer.step()
        self._take_back()
        if self._rates is not None:
            for old, parameter in zip(before, self.parameters.values(), strict=True):
                weight = self._rates.view(-1, *[1] * (parameter.ndim - 1))
                parameter.data.copy_(torch.lerp(old, parameter.data, weight))
        if self._direct is not None:
            self._updates = [self._direct(optimizer) for optimizer in self.optimizers]

    def step_with_closures(self, compute: Callable[[int], Computed], keys: Tensor) -> tuple[Tensor, list[int]]:
        """Let each member's instance request loss and gradients at its parameters, any number of times.

        `compute` takes a member's slot. Return the first losses `(C,)` of the step, and each member's number of
        requests.
        """
        first_losses: list[Tensor] = []
        num_calls: list[int] = []
        for slot, (optimizer, views) in enumerate(zip(self.optimizers, self._views, strict=True)):
            losses: list[Tensor] = []

            def closure(slot: int = slot, views: list[nn.Parameter] = views, losses: list[Tensor] = losses) -> Tensor:
                with torch.no_grad():
                    self._take_back([slot])
                    gradients, loss, without = compute(slot)
                    for view, name in zip(views, self.parameters, strict=True):
                        view.grad = None if without.get(name) else gradients[name][0]
                    losses.append(loss[0])
                    return loss[0].clone()

            if self.calls.gradients:
                closure()
            with torch.enable_grad(), self.calls.seeded(keys[slot]):
                optimizer.step(closure)  # type: ignore[arg-type]
            if not losses:
                closure()  # the instance made no request; its loss is still needed
            first_losses.append(losses[0])
            num_calls.append(len(losses))
        self._take_back()
        return torch.stack(first_losses), num_calls

    def _take_back(self, slots: Iterable[int] | None = None) -> None:
        """Copy tensors that instances have assigned to their parameters' `data` into the stacked parameters."""
        if not self._assigns:
            return
        for slot in range(len(self._views)) if slots is None else slots:
            views = zip(self._views[slot], self._addresses[slot], self.parameters.values(), strict=True)
            for view, address, stacked in views:
                if view.data_ptr() != address:
                    stacked.data[slot].copy_(view.data)
                    view.data = stacked.data[slot]

    def keep(self, slots: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Keep the members in some slots, given their new parameters; their instances keep their state."""
        self._members = [self._members[slot] for slot in slots]
        self._tables = None if self._tables is None else [self._tables[slot] for slot in slots]
        if self._shared:
            self._rates = None if self._rates is None else self._rates[list(slots)]
            (old,), before = self.optimizers, self.parameters
            self._share(parameters)
            for previous, parameter in zip(before.values(), parameters.values(), strict=True):
                for key, value in old.state.get(previous, {}).items():
                    stacked = isinstance(value, Tensor) and value.shape[:1] == previous.shape[:1]
                    self.optimizers[0].state[parameter][key] = value[list(slots)] if stacked else value
        else:
            self._views = [self._views[slot] for slot in slots]
            self.optimizers = [self.optimizers[slot] for slot in slots]
        self._go_on_with(parameters)

    def move(self, function: Callable[[Tensor], Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """Move the instances and their state to the parameters' new device or dtype."""
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
            vars(optimizer).update(
                {key: [new.get(parameter, parameter) for parameter in value] for key, value in held.items()}
            )
        self._rates = None if self._rates is None else function(self._rates)
        self._go_on_with(parameters)

    def state(self) -> list[dict[str, Any]]:
        """Return the instances' states to save, including the plain values on the instances themselves."""
        return [{**optimizer.state_dict(), OWN: own_values(optimizer)} for optimizer in self.optimizers]

    def load_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Load saved states of the same members in the same order."""
        self._updates = []
        for optimizer, saved in zip(self.optimizers, states, strict=True):
            state = dict(saved)
            vars(optimizer).update(state.pop(OWN))
            optimizer.load_state_dict(state)

    @property
    def can_be_saved(self) -> bool:
        """Return whether the states hold everything that the instances need, which may be objects of any class."""
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
    """Apply an optimizer to the matrices and another to all other parameters, as Muon needs it.

    It has the interface of `CohortOptimizer`.
    """

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
            rule = "must be above 0 if optimizer.others follow its schedule"
            raise ConfigError("optimizer.lr", rule, 0, "give a learning rate, or choose schedule=constant")
        factors = [[row[0]["lr_factor"] for row in table] for table in tables or ()]
        self._factors: list[list[float]] | None = factors if tables else None
        differ = any(member_factors != factors[0] for member_factors in factors[1:])
        self._parts: list[CohortOptimizer] = []
        assert config.others is not None
        for component, is_main, own in ((config.component, True, members), (config.others, False, None)):
            part = {name: value for name, value in parameters.items() if (value.ndim == 3) is is_main}
            if part:
                one_each = alone or (differ and not is_main)
                self._parts.append(CohortOptimizer(component, part, own, one_each, tables if is_main else None))
                if self._parts[-1].calls.closure:
                    rule = "must be an optimizer that steps without a closure if optimizer.others is set"
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
        """Return whether the states hold everything that the instances need."""
        return all(part.can_be_saved for part in self._parts)

    @property
    def calls(self) -> calls.Calls:
        """The calls of the main optimizer's instances."""
        return self._parts[0].calls

    def schedule(self, step: int) -> None:
        """Schedule the main optimizer; scale the other optimizer's learning rate by the same factor."""
        if self._factors is None:
            return
        for part in self._parts:
            part.schedule(step)
        for part in self._parts[1:]:
            for optimizer, factors in zip(part.optimizers, self._factors, strict=False):
                for group in optimizer.param_groups:
                    base = group.setdefault("base_lr", group["lr"])
                    group["lr"] = base * factors[step]

    @property
    def why_not_captured(self) -> str:
        """The reason why a CUDA graph cannot hold the step."""
        return "two optimizers share the parameters"

    def rates(self, first_step: int, num_steps: int) -> None:
        """Return None: no graph sets the learning rates."""

    def set_rates(self, rates: Tensor) -> None:
        """Never called: no graph sets the learning rates."""
        raise NotImplementedError

    def switch(self, training: bool) -> None:
        """Switch the instances that have modes; see `CohortOptimizer.switch`."""
        for part in self._parts:
            part.switch(training)

    def step(self, gradients: Mapping[str, Tensor], without: Without = NO_SLOTS, keys: Tensor | None = None) -> None:
        """Update the parameters in place, given gradients by name and the missing gradients."""
        for part in self._parts:
            part.step(gradients, without, keys)

    def step_with_closures(self, compute: Callable[[int], Computed], keys: Tensor) -> tuple[Tensor, list[int]]:
        """Never called: the constructor refuses optimizers that need closures."""
        raise NotImplementedError

    def keep(self, slots: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Keep the members in some slots; see `CohortOptimizer.keep`."""
        self._factors = None if self._factors is None else [self._factors[slot] for slot in slots]
        for part in self._parts:
            part.keep(slots, {name: parameters[name] for name in part.parameters})

    def move(self, function: Callable[[Tensor], Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """Move to another device or dtype; see `CohortOptimizer.move`."""
        for part in self._parts:
            part.move(function, {name: parameters[name] for name in part.parameters})

    def state(self) -> list[dict[str, Any]]:
        """Return the instances' states to save."""
        return [state for part in self._parts for state in part.state()]

    def load_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Load saved states of the same members in the same order."""
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
    """Build the configured optimizer on stacked parameters; raise `ConfigError`. See `CohortOptimizer`."""
    if config.others is None:
        return CohortOptimizer(config.component, parameters, members, alone, tables)
    return SplitOptimizer(config, parameters, members, alone, tables)
