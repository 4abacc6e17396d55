"""Learning rates over the steps of a trial, by any class of `torch.optim.lr_scheduler` that needs no metric."""

import warnings
from typing import Any

from torch import optim

from evalbench.config import Component
from evalbench.errors import ConfigError

Values = dict[str, Any]
"""What a group of parameters has at a step: the settings that the schedule changes, the learning rate always.

`lr_factor` is relative to the optimizer's own; it is missing where that is 0.
"""
Row = tuple[Values, ...]
"""The values of each group at one step."""


def table(schedule: Component, optimizer: optim.Optimizer, steps: int) -> list[Row]:
    """Return the scheduled settings at each of a number of steps; raise `ConfigError` where there are none.

    The real scheduler drives this real optimizer, which takes no step itself. The scheduler's settings may be shares of
    the trial's steps, written `30%`, and `lr` for the optimizer's own learning rate, a list where its groups differ.
    """
    if any("lr" not in group for group in optimizer.param_groups):
        rule = "must be constant for an optimizer without a learning rate"
        raise ConfigError("schedule", rule, schedule.target, "choose schedule=constant")
    before = [dict(group) for group in optimizer.param_groups]
    rates = [group["lr"] for group in before]
    lr = rates[0] if len(set(rates)) == 1 else rates
    resolved = {key: _resolve(value, steps, lr) for key, value in schedule.arguments.items()}
    seen: list[list[Values]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about steps of an optimizer that has nothing to do
        scheduler = Component(schedule.group, schedule.target, resolved).build(optimizer)
        for _ in range(steps):
            seen.append([_changed(*pair) for pair in zip(before, optimizer.param_groups, strict=True)])
            try:
                scheduler.step()
            except TypeError as error:
                rule = "must be a scheduler that needs no metric"
                raise ConfigError("schedule._target_", rule, schedule.target, str(error)) from error
            except Exception as error:  # what the user chose may raise anything
                rule = f"must last for the {steps} steps of a trial"
                reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                raise ConfigError("schedule", rule, dict(resolved), reason) from error
    starts = []
    for place, start in enumerate(before):
        moved = {"lr", *(key for now in seen for key in now[place])}
        starts.append({key: value for key, value in start.items() if key in moved})
    return [tuple(map(_row, starts, now)) for now in seen]


def _changed(before: dict[str, Any], now: dict[str, Any]) -> Values:
    """Return the settings that are not what they were; what a scheduler notes for itself is none."""
    return {key: now[key] for key, value in before.items() if key != "params" and now[key] != value}


def _row(start: Values, changed: Values) -> Values:
    now = {**start, **changed}
    return {**now, "lr_factor": now["lr"] / start["lr"]} if start["lr"] else now


def _resolve(value: Any, steps: int, lr: float | list[float]) -> Any:
    if value == "lr":
        return lr
    if isinstance(value, str) and value.endswith("%"):
        try:
            return max(1, round(float(value[:-1]) / 100 * steps))
        except ValueError:
            raise ConfigError("schedule", "must hold numbers, shares or lr", value, "for example 30%") from None
    return [_resolve(item, steps, lr) for item in value] if isinstance(value, list) else value
