"""Instances of optimizer classes: how they are made and scheduled, and the state that they keep."""

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
NOTHING: Settings = {}
Table = Sequence[schedules.Row]
"""A member's schedule: the hyperparameters of every parameter group, step by step."""
CODE = (type, FunctionType, BuiltinFunctionType, MethodType, partial)
_OF_TORCH = frozenset(vars(optim.SGD([nn.Parameter(torch.zeros(0))])))


def make(
    component: Component, parameters: Mapping[str, nn.Parameter], settings: Settings, more: Settings = NOTHING
) -> optim.Optimizer:
    """Call the target with one trial's parameters, and their names if it asks for `named_parameters`."""
    whole = Component(component.group, component.target, {**component.arguments, **settings}) if settings else component
    if "named_parameters" in inspect.signature(component.locate()).parameters:
        made = whole.build(named_parameters=list(parameters.items()), **more)
    else:
        made = whole.build(list(parameters.values()), **more)
    if not isinstance(made, optim.Optimizer):
        raise _no_optimizer(component)
    return made


def nested(optimizers: Sequence[optim.Optimizer]) -> Iterator[optim.Optimizer]:
    """Yield each of the instances, and those that they hold."""
    seen: set[int] = set()
    waiting = list(optimizers)
    while waiting:
        optimizer = waiting.pop(0)
        if id(optimizer) not in seen:
            seen.add(id(optimizer))
            yield optimizer
            waiting += [value for value in vars(optimizer).values() if isinstance(value, optim.Optimizer)]


def own_values(optimizer: optim.Optimizer) -> dict[str, Any]:
    """Return the plain values that an instance holds beside what torch gives it."""
    return {key: value for key, value in vars(optimizer).items() if key not in _OF_TORCH and is_plain(value)}


def can_be_saved(optimizer: optim.Optimizer) -> bool:
    """Return whether `state_dict` and `own_values` hold all that an instance goes by."""
    own = [value for key, value in vars(optimizer).items() if key not in _OF_TORCH]
    knows_itself = type(optimizer).state_dict is not optim.Optimizer.state_dict
    return knows_itself or all(is_plain(value) or isinstance(value, CODE) or is_parameters(value) for value in own)


def is_parameters(value: Any) -> bool:
    """Return whether a value is a list of parameters."""
    return isinstance(value, list | tuple) and all(isinstance(part, nn.Parameter) for part in value)


def located(component: Component) -> Any:
    """Return the class or function that makes the optimizer; raise `ConfigError` where it cannot be one."""
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
    """Return each member's schedule, made once for members with the same settings; raise `ConfigError`.

    Of the stacked parameters the names and shapes count, where the optimizer may group by them.
    """
    if schedule is None:
        return None
    simple = located(optimizer) in calls.OF_TORCH
    tables: dict[str, Table] = {}
    names = [json.dumps(settings, sort_keys=True) for settings in members]
    for name, settings in zip(names, members, strict=True):
        if name not in tables:
            shapes = {"weight": (1, 1)} if simple else {key: value.shape[1:] for key, value in parameters.items()}
            still = {key: nn.Parameter(torch.zeros(shape)) for key, shape in shapes.items()}
            tables[name] = schedules.table(schedule, make(optimizer, still, settings), steps)
    return [tables[name] for name in names]


def uneven(tables: Sequence[Table] | None) -> bool:
    """Return whether members differ in more of their schedules than the learning rate, which instances can share."""
    first, *rest = {id(table): table for table in tables}.values() if tables else [()]
    if not rest or all(key in ("lr", "lr_factor") for values in first[0] for key in values):
        return False

    def others(table: Table) -> list[list[Settings]]:
        return [[{k: v for k, v in group.items() if k not in ("lr", "lr_factor")} for group in row] for row in table]

    return any(others(table) != others(first) for table in rest)
