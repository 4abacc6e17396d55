"""A cohort gives each trial the results of a cohort of one and of a plain PyTorch loop."""

import numpy as np
import pytest

from conftest import make_cell
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.seeds import Role, derive
from evalbench.trial import State, TrialResult
from evalbench.workloads import draw_split, references

QUICK = ("budget.epochs=4", "model.width=16")


def assert_equal(result: TrialResult, expected: TrialResult, tolerance: float) -> None:
    assert result.metrics == pytest.approx(expected.metrics, rel=tolerance, abs=tolerance)
    assert [point.val_loss for point in result.curve] == pytest.approx(
        [point.val_loss for point in expected.curve], rel=tolerance
    )
    assert (result.state, result.best_epoch, result.steps, result.examples, result.flops) == (
        (expected.state, expected.best_epoch, expected.steps, expected.examples, expected.flops)
    )


def test_repeated_training_gives_the_same_bits() -> None:
    cell = make_cell("dataset=iris", *QUICK)
    first, second = (training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2)) for _ in range(2))
    assert first == second


def test_a_budget_in_steps_ends_there_and_counts_examples() -> None:
    cell = make_cell("dataset=wine", "budget=steps", "budget.steps=10", "budget.validations=4", "model.width=16")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert [point.step for point in result.curve] == [2, 5, 8, 10]
    assert (result.steps, result.num_train) == (10, 106)
    assert result.examples == 2 * 106 + 2 * 32  # four batches an epoch, the last one of ten rows


@pytest.mark.slow
def test_the_test_metric_is_read_at_the_earliest_lowest_validation_loss() -> None:
    cell = make_cell("dataset=diabetes", "optimizer=sgd", "budget.epochs=12")
    for result in training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2)):
        losses = [point.val_loss for point in result.curve]
        assert result.best_epoch == 1 + losses.index(min(losses))
        assert result.best_epoch < 12  # this setting overfits, so the last epoch would be the wrong one


def test_a_diverged_member_gets_the_trivial_metrics_and_other_members_go_on() -> None:
    cell = make_cell("dataset=diabetes", "optimizer=minibatch_sgd", "optimizer.lr=0.45", "activation=relu", *QUICK)
    results = training.train(cell.config, cell.dataset, cell.entrants(*range(10)))
    diverged = [seed for seed, result in enumerate(results) if result.state is State.DIVERGED]
    assert 0 < len(diverged) < 10
    healthy = next(seed for seed in range(10) if seed not in diverged)
    assert_equal(results[healthy], training.train(cell.config, cell.dataset, cell.entrants(healthy))[0], 1e-4)
    for seed in diverged:
        result = results[seed]
        split = draw_split(cell.dataset, 0.2, 0.2, derive(0, "diabetes", Role.SPLIT, seed))
        assert result.metrics == references.trivial(cell.dataset, {seed: split})[seed]
        assert result.diverged_step == result.steps
        assert 1 <= (result.steps or 0) <= 4 * 9
        assert all(np.isfinite([point.val_loss for point in result.curve]))


def test_all_members_diverged_ends_the_training() -> None:
    cell = make_cell("dataset=diabetes", "optimizer.lr=1e30", "optimizer=minibatch_sgd", *QUICK)
    assert {result.state for result in training.train(cell.config, cell.dataset, cell.entrants(0, 1))} == {
        State.DIVERGED
    }


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions_train(precision: str) -> None:
    cell = make_cell("dataset=iris", f"trainer.precision={precision}", "optimizer=sgd", "budget.epochs=10")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert result.metrics["test/accuracy"] > 0.7


@pytest.mark.parametrize("override", ["trainer.accelerator=abacus", "+trainer.nonsense=1"])
def test_a_trainer_that_lightning_refuses_is_refused_early(override: str) -> None:
    cell = make_cell(override)
    with pytest.raises(ConfigError, match=r"^trainer must hold settings that Lightning's Trainer accepts"):
        checks.check(cell.config, cell.dataset)
