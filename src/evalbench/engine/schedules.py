"""Compute learning rates over the steps of a trial by any class of `torch.optim.lr_scheduler` that needs no metric."""

import warnings
from typing import Any

from torch import optim

from evalbench.config import Component
from evalbench.errors import ConfigError

Values = dict[str, Any]
"""The settings of a parameter group at a step that the schedule changes, and always the learning rate.

`lr_factor` is relative to the optimizer's own learning rate. It is missing if that rate is 0.
"""
Row = tuple[Values, ...]
"""The values of each group at one step."""


def table(schedule: Component, optimizer: optim.Optimizer, steps: int) -> list[Row]:
    """Return the scheduled settings at each of a number of steps; raise `ConfigError` if they cannot be computed.

    The real scheduler drives this real optimizer, which takes no step itself. The scheduler's settings may be shares of
    the trial's steps, written `30%`, and `lr` for the optimizer's own learning rate, a list if its groups differ in it.
    """
    if any("lr" not in group for group in optimizer.param_groups):
        rule = "must be constant for an optimizer without a learning rate"
        raise ConfigError("schedule", rule, schedule.target, "choose schedule=constant")
    before = [dict(group) for group in optimizer.param_groups]
    rates = [group["lr"] for group in before]
    lr = rates[0] if len(set(rates)) == 1 else rates
    resolved = {key: _resolve(value, steps, lr) for key, value in schedule.arguments.items()}
    changes: list[list[Values]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer took no step
        scheduler = Component(schedule.group, schedule.target, resolved).build(optimizer)
        for _ in range(steps):
            changes.append([_changed(*pair) for pair in zip(before, optimizer.param_groups, strict=True)])
            try:
                scheduler.step()
            except TypeError as error:
                rule = "must be a scheduler that needs no metric"
                raise ConfigError("schedule._target_", rule, schedule.target, str(error)) from error
            except Exception as error:  # a user's scheduler may raise anything
                rule = f"must last for the {steps} steps of a trial"
                reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                raise ConfigError("schedule", rule, dict(resolved), reason) from error
    starts = []
    for group_index, start in enumerate(before):
        scheduled = {"lr", *(key for step_changes in changes for key in step_changes[group_index])}
        starts.append({key: value for key, value in start.items() if key in scheduled})
    return [tuple(map(_with_factor, starts, step_changes)) for step_changes in changes]


def _changed(before: dict[str, Any], after: dict[str, Any]) -> Values:
    """Return the changed settings, without the keys that the scheduler has added for itself."""
    return {key: after[key] for key, value in before.items() if key != "params" and after[key] != value}


def _with_factor(start: Values, changed: Values) -> Values:
    values = {**start, **changed}
    return {**values, "lr_factor": values["lr"] / start["lr"]} if start["lr"] else values


def _resolve(value: Any, steps: int, lr: float | list[float]) -> Any:
    if value == "lr":
        return lr
    if isinstance(value, str) and value.endswith("%"):
        try:
            return max(1, round(float(value[:-1]) / 100 * steps))
        except ValueError:
            raise ConfigError("schedule", "must hold numbers, shares or lr", value, "write a share as 30%") from None
    return [_resolve(item, steps, lr) for item in value] if isinstance(value, list) else value
