import math

import pytest
import torch
from torch import Tensor, nn, optim

from conftest import make_cell
from evalbench.config import Component
from evalbench.engine import checks, instances, schedules
from evalbench.engine.schedules import Values
from evalbench.errors import ConfigError

SGD = Component("optimizer", "torch.optim.SGD", {"lr": 0.2, "momentum": 0.9})


def table(component: Component | None, optimizer: Component, settings: dict[str, float], steps: int) -> list[Values]:
    """Return the rows of one member's only group."""
    weight = {"weight": nn.Parameter(torch.zeros(1, 3, 2))}
    tables = instances.scheduled(component, optimizer, weight, [settings], steps)
    return [] if tables is None else [row[0] for row in tables[0]]


def schedule(name: str, **settings: object) -> Component:
    return Component("schedule", f"torch.optim.lr_scheduler.{name}", settings)


def test_cosine_follows_its_formula_over_shares_of_the_steps() -> None:
    rates = [row["lr"] for row in table(schedule("CosineAnnealingLR", T_max="100%"), SGD, {}, 50)]
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * step / 50)) for step in range(50)])


def test_a_members_own_learning_rate_is_scheduled() -> None:
    rows = table(schedule("StepLR", step_size="50%", gamma=0.1), SGD, {"lr": 4.0}, 4)
    assert [row["lr"] for row in rows] == pytest.approx([4.0, 4.0, 0.4, 0.4])
    assert [row["lr_factor"] for row in rows] == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_one_cycle_moves_the_momentum_against_the_learning_rate() -> None:
    rows = table(schedule("OneCycleLR", max_lr="lr", total_steps="100%"), SGD, {}, 10)
    top = max(range(10), key=lambda step: rows[step]["lr"])
    assert rows[top]["lr"] == pytest.approx(0.2)
    assert rows[top]["momentum"] == min(row["momentum"] for row in rows)
    assert rows[0]["momentum"] == pytest.approx(0.95)


def test_no_schedule_is_an_empty_table() -> None:
    assert table(None, SGD, {}, 10) == []


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        (schedule("ReduceLROnPlateau"), "needs no metric"),
        (schedule("StepLR"), "step_size"),
        (schedule("StepLR", step_size="half%"), "shares or lr"),
        (schedule("OneCycleLR", max_lr="lr", total_steps=2), "4 steps of a trial"),
    ],
)
def test_a_schedule_that_cannot_be_computed_is_refused(component: Component, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        table(component, SGD, {}, 4)


def test_a_schedule_that_torch_accepts_for_the_steps_of_a_trial_is_accepted() -> None:
    """Both fail on two steps: half of two leaves no step to go up, and a rate of 0 has no shares."""
    rows = table(schedule("OneCycleLR", max_lr="lr", total_steps="100%", pct_start=0.5), SGD, {}, 20)
    assert max(row["lr"] for row in rows) == pytest.approx(0.2)
    constant = table(schedule("CosineAnnealingLR", T_max="100%"), SGD, {"lr": 0.0}, 4)
    assert [row["lr"] for row in constant] == [0.0] * 4


def test_each_group_of_parameters_has_its_own_rates_and_other_settings_that_the_scheduler_changes() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": lr} for lr in (1.0, 0.1)]
    rows = schedules.table(Component("schedule", f"{__name__}.Decaying", {}), optim.SGD(groups), 3)
    assert [[values["lr"] for values in row] for row in rows] == [[1.0, 0.1], [0.5, 0.05], [0.25, 0.025]]
    assert [[values["weight_decay"] for values in row] for row in rows] == [[0, 0], [1, 1], [2, 2]]


class Decaying(optim.lr_scheduler.LRScheduler):
    """Halves the learning rate, and counts in the weight decay."""

    def get_lr(self) -> list[float | Tensor]:
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.last_epoch
        return [group["initial_lr"] / 2**self.last_epoch for group in self.optimizer.param_groups]


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (("schedule=one_cycle", "schedule.pct_start=0.5"), False),
        (("schedule=cosine", "optimizer.lr=0"), False),
        (("schedule=one_cycle", "schedule.total_steps=10"), True),
        (("schedule=cosine", "optimizer.lr=0", "optimizer=muon"), True),
    ],
)
def test_a_cell_is_checked_on_the_steps_of_its_trials(overrides: tuple[str, ...], refused: bool) -> None:
    cell = make_cell("dataset=wine", "optimizer=momentum", *overrides)
    if not refused:
        checks.check(cell.config, cell.dataset)
        return
    with pytest.raises(ConfigError, match=r"steps of a trial|others follow"):
        checks.check(cell.config, cell.dataset)
