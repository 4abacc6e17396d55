import math

import pytest

from evalbench.config import Component
from evalbench.engine.schedules import table
from evalbench.errors import ConfigError

SGD = Component("optimizer", "torch.optim.SGD", {"lr": 0.2, "momentum": 0.9})


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
    ],
)
def test_what_cannot_be_scheduled_is_refused(component: Component, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        table(component, SGD, {}, 4)
