"""Make and schedule instances of optimizer classes; tell which state they keep."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn, optim

from evalbench.config import Component
from evalbench.engine import calls, schedules
from evalbench.engine.python_state import is_plain
from evalbench.errors import ConfigError

Settings = Mapping[str, Any]
NO_SETTINGS: Settings = {}
Table = Sequence[schedules.Row]
"""A member's schedule: the hyperparameters of every parameter group, step by step."""
CODE = (type, FunctionType, BuiltinFunctionType, MethodType, partial)
_OF_TORCH = frozenset(vars(optim.SGD([nn.Parameter(torch.zeros(0))])))


def make(
    component: Component, parameters: Mapping[str, nn.Parameter], settings: Settings, more: Settings = NO_SETTINGS
) -> optim.Optimizer:
    """Call the target with one trial's parameters, and with their names if it takes `named_parameters`."""
    whole = Component(component.group, component.target, {**component.arguments, **settings}) if settings else component
    if "named_parameters" in inspect.signature(component.locate()).parameters:
        optimizer = whole.build(named_parameters=list(parameters.items()), **more)
    else:
        optimizer = whole.build(list(parameters.values()), **more)
    if not isinstance(optimizer, optim.Optimizer):
        raise _no_optimizer(component)
    return optimizer


def nested(optimizers: Sequence[optim.Optimizer]) -> Iterator[optim.Optimizer]:
    """Yield each of the instances, and the instances that they hold."""
    seen: set[int] = set()
    waiting = list(optimizers)
    while waiting:
        optimizer = waiting.pop(0)
        if id(optimizer) not in seen:
            seen.add(id(optimizer))
            yield optimizer
            waiting += [value for value in vars(optimizer).values() if isinstance(value, optim.Optimizer)]


def own_values(optimizer: optim.Optimizer) -> dict[str, Any]:
    """Return the plain values that an instance holds beside torch's own attributes."""
    return {key: value for key, value in vars(optimizer).items() if key not in _OF_TORCH and is_plain(value)}


def can_be_saved(optimizer: optim.Optimizer) -> bool:
    """Return whether `state_dict` and `own_values` hold an instance's whole state."""
    own = [value for key, value in vars(optimizer).items() if key not in _OF_TORCH]
    has_state_dict = type(optimizer).state_dict is not optim.Optimizer.state_dict
    return has_state_dict or all(is_plain(value) or isinstance(value, CODE) or is_parameters(value) for value in own)


def is_parameters(value: Any) -> bool:
    """Return whether a value is a list of parameters."""
    return isinstance(value, list | tuple) and all(isinstance(part, nn.Parameter) for part in value)


def located(component: Component) -> Any:
    """Return the class or function that makes the optimizer; raise `ConfigError` if it is neither."""
    target = component.locate()
    if not callable(target) or (isinstance(target, type) and not issubclass(target, optim.Optimizer)):
        raise _no_optimizer(component)
    return target


def _no_optimizer(component: Component) -> ConfigError:
    rule = "must be a torch.optim.Optimizer, or a function that returns one"
    return ConfigError(f"{component.group}._target_", rule, component.target, "name such a class or function")


def scheduled(
    schedule: Component | None,
    optimizer: Component,
    parameters: Mapping[str, Tensor],
    members: Sequence[Settings],
    steps: int,
) -> list[Table] | None:
    """Return each member's schedule, computed once for members with the same settings; None without a schedule.

    `parameters` are stacked. Only their names and shapes matter, if the optimizer may group by them. Raises
    `ConfigError` for a schedule or an optimizer that cannot be built.
    """
    if schedule is None:
        return None
    simple = located(optimizer) in calls.OF_TORCH
    tables: dict[str, Table] = {}
    names = [json.dumps(settings, sort_keys=True) for settings in members]
    for name, settings in zip(names, members, strict=True):
        if name not in tables:
            shapes = {"weight": (1, 1)} if simple else {key: value.shape[1:] for key, value in parameters.items()}
            zeros = {key: nn.Parameter(torch.zeros(shape)) for key, shape in shapes.items()}
            tables[name] = schedules.table(schedule, make(optimizer, zeros, settings), steps)
    return [tables[name] for name in names]


def uneven(tables: Sequence[Table] | None) -> bool:
    """Return whether members' schedules differ in more than the learning rate, so that they need own instances."""
    first, *rest = {id(table): table for table in tables}.values() if tables else [()]
    if not rest or all(key in ("lr", "lr_factor") for values in first[0] for key in values):
        return False

    def without_rates(table: Table) -> list[list[Settings]]:
        return [[{k: v for k, v in group.items() if k not in ("lr", "lr_factor")} for group in row] for row in table]

    return any(without_rates(table) != without_rates(first) for table in rest)
