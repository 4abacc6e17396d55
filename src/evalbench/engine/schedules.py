"""Learning rates over the steps of a trial, by any class of `torch.optim.lr_scheduler` that needs no metric."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from evalbench.config import Component
from evalbench.errors import ConfigError

Values = dict[str, float | tuple[float, float]]
"""What a scheduler may change at a step: `lr` (`lr_factor` relative to the optimizer's), `momentum`, `betas`."""


def table(schedule: Component | None, optimizer: Component, settings: Mapping[str, Any], steps: int) -> list[Values]:
    """Return the scheduled hyperparameters of each of so many steps, empty where there is no schedule.

    The real scheduler drives a real optimizer on a parameter that never moves. Its settings may be shares of the
    trial's steps, written `30%`, and `lr` for the optimizer's own learning rate. Raises `ConfigError`.
    """
    if schedule is None:
        return []
    moving = _Stepper(optimizer, settings)
    lr = moving.optimizer.param_groups[0]["lr"]
    resolved = {key: _resolve(value, steps, lr) for key, value in schedule.arguments.items()}
    rows: list[Values] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about steps of an optimizer that has nothing to do
        scheduler = Component(schedule.group, schedule.target, resolved).build(moving.optimizer)
        for _ in range(steps):
            now = moving.optimizer.param_groups[0]
            rows.append({**{key: now[key] for key in moving.scheduled}, "lr_factor": now["lr"] / lr})
            try:
                scheduler.step()
            except TypeError as error:
                rule = "must be a scheduler that needs no metric"
                raise ConfigError("schedule._target_", rule, schedule.target, str(error)) from error
    return rows


class _Stepper:
    """An optimizer of the configured class on one number."""

    def __init__(self, component: Component, settings: Mapping[str, Any]) -> None:
        whole = Component(component.group, component.target, {**component.arguments, **settings})
        self.optimizer: torch.optim.Optimizer = whole.build([nn.Parameter(torch.zeros(1, 1))])
        group = self.optimizer.param_groups[0]
        self.scheduled = [key for key in ("lr", "momentum", "betas") if key in group]


def _resolve(value: Any, steps: int, lr: float) -> Any:
    if value == "lr":
        return lr
    if isinstance(value, str) and value.endswith("%"):
        try:
            return max(1, round(float(value[:-1]) / 100 * steps))
        except ValueError:
            raise ConfigError("schedule", "must hold numbers, shares or lr", value, "for example 30%") from None
    return [_resolve(item, steps, lr) for item in value] if isinstance(value, list) else value
