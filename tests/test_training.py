"""A cohort gives each trial what it would have got alone, and what a plain PyTorch loop gives."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import make_cell
from evalbench import models, training
from evalbench.batches import Batches
from evalbench.cell import Cell
from evalbench.errors import ConfigError
from evalbench.seeds import Role, derive
from evalbench.trial import CurvePoint, State, TrialResult
from evalbench.workloads import Kind, draw_split, fit_scaling, metrics, references

QUICK = ("budget.epochs=4", "model.width=16")


def plain_loop(cell: Cell, seed: int) -> tuple[list[CurvePoint], dict[str, float]]:
    """One trial as any PyTorch user would write it; the curve, and the test metrics at the lowest validation loss."""
    config, dataset = cell.config, cell.dataset

    def seed_of(role: Role) -> int:
        return derive(config.root_seed, dataset.name, role, seed)

    split = draw_split(dataset, 0.2, 0.2, seed_of(Role.SPLIT))
    scaling = fit_scaling(dataset, split.train)
    inputs = torch.tensor(scaling.inputs(dataset, np.arange(len(dataset.targets))), dtype=torch.float32)
    targets = torch.as_tensor((dataset.targets - scaling.target_mean) / scaling.target_std, dtype=torch.float32)
    network = models.build_seeded(
        seed_of(Role.INIT), config.model, config.activation, (inputs.shape[1], dataset.num_outputs)
    )
    optimizer = config.optimizer.component.build(network.parameters())

    def loss_of(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = network(inputs[rows])
        if dataset.kind is Kind.MULTICLASS:
            return outputs, F.cross_entropy(outputs, targets[rows].long())
        if dataset.kind is Kind.BINARY:
            return outputs, F.binary_cross_entropy_with_logits(outputs[:, 0], targets[rows])
        return outputs, F.mse_loss(outputs[:, 0], targets[rows])

    train = torch.as_tensor(split.train)[None]
    batches = Batches(train, config.optimizer.rows_per_step(train.shape[1]), [seed_of(Role.ORDER)])
    curve: list[CurvePoint] = []
    best: dict[str, torch.Tensor] = {}
    for epoch, stop in enumerate(config.budget.validation_steps(batches.steps_per_epoch)):
        for block in batches.blocks(stop - batches.steps_per_epoch, stop, 1):
            optimizer.zero_grad()
            loss_of(block[0, 0])[1].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            outputs, loss = loss_of(torch.as_tensor(split.validation))
        if not curve or loss < min(point.val_loss for point in curve):
            best = copy.deepcopy(network.state_dict())
        curve.append(CurvePoint(epoch + 1, stop, float("nan"), float(loss), float("nan")))
    network.load_state_dict(best)
    with torch.no_grad():
        outputs = loss_of(torch.as_tensor(split.test))[0].double()
    if dataset.kind is Kind.MULTICLASS:
        predictions = outputs.softmax(-1).numpy()
    elif dataset.kind is Kind.BINARY:
        predictions = torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], 1).numpy()
    else:
        predictions = outputs[:, 0].numpy() * scaling.target_std + scaling.target_mean
    return curve, metrics.evaluate(dataset, predictions, dataset.targets[split.test])


def assert_alike(one: TrialResult, other: TrialResult, tolerance: float) -> None:
    assert one.metrics == pytest.approx(other.metrics, rel=tolerance, abs=tolerance)
    assert [point.val_loss for point in one.curve] == pytest.approx(
        [point.val_loss for point in other.curve], rel=tolerance
    )
    assert (one.state, one.best_epoch, one.steps, one.examples, one.flops) == (
        (other.state, other.best_epoch, other.steps, other.examples, other.flops)
    )


@pytest.mark.parametrize("optimizer", ["sgd", "bgd", "adam", "momentum", "adamw"])
@pytest.mark.parametrize("dataset", ["wine", "breast_cancer", "diabetes"])
def test_the_whole_path_equals_a_plain_loop(dataset: str, optimizer: str) -> None:
    cell = make_cell(f"dataset={dataset}", f"optimizer={optimizer}", *QUICK)
    for seed, result in zip((0, 3), training.train(cell.config, cell.dataset, [0, 3]), strict=True):
        curve, tested = plain_loop(cell, seed)
        assert [point.val_loss for point in result.curve] == pytest.approx([p.val_loss for p in curve], rel=1e-4)
        assert [(point.epoch, point.step) for point in result.curve] == [(p.epoch, p.step) for p in curve]
        assert result.metrics == pytest.approx(tested, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_trial_does_not_depend_on_its_cohort(optimizer: str) -> None:
    cell = make_cell("dataset=wine", f"optimizer={optimizer}", *QUICK)
    together = training.train(cell.config, cell.dataset, [0, 1, 2, 3, 4])
    backwards = training.train(cell.config, cell.dataset, [4, 2])
    alone = training.train(cell.config, cell.dataset, [2])
    assert_alike(together[2], alone[0], 1e-5)
    assert_alike(together[2], backwards[1], 1e-5)
    assert_alike(together[4], backwards[0], 1e-5)
    assert together[0].metrics != together[1].metrics


def test_repeated_training_gives_the_same_bits() -> None:
    cell = make_cell("dataset=iris", *QUICK)
    one, two = (training.train(cell.config, cell.dataset, [0, 1, 2]) for _ in range(2))
    assert one == two


def test_a_budget_in_steps_ends_there_and_counts_examples() -> None:
    cell = make_cell("dataset=wine", "budget=steps", "budget.steps=10", "budget.validations=4", "model.width=16")
    (result,) = training.train(cell.config, cell.dataset, [0])
    assert [point.step for point in result.curve] == [2, 5, 8, 10]
    assert (result.steps, result.num_train) == (10, 106)
    assert result.examples == 2 * 106 + 2 * 32  # four batches an epoch, the last one of ten rows


def test_the_test_metric_is_read_at_the_earliest_lowest_validation_loss() -> None:
    cell = make_cell("dataset=diabetes", "optimizer=sgd", "budget.epochs=12")
    for result in training.train(cell.config, cell.dataset, [0, 1, 2]):
        losses = [point.val_loss for point in result.curve]
        assert result.best_epoch == 1 + losses.index(min(losses))
        assert result.best_epoch < 12  # this setting overfits, so the last epoch would be the wrong one


def test_a_diverged_member_is_a_value_and_its_neighbours_go_on() -> None:
    cell = make_cell("dataset=diabetes", "optimizer=minibatch_sgd", "optimizer.lr=0.45", "activation=relu", *QUICK)
    results = training.train(cell.config, cell.dataset, range(10))
    diverged = [seed for seed, result in enumerate(results) if result.state is State.DIVERGED]
    assert 0 < len(diverged) < 10
    healthy = next(seed for seed in range(10) if seed not in diverged)
    assert_alike(results[healthy], training.train(cell.config, cell.dataset, [healthy])[0], 1e-4)
    for seed in diverged:
        result = results[seed]
        split = draw_split(cell.dataset, 0.2, 0.2, derive(0, "diabetes", Role.SPLIT, seed))
        assert result.metrics == references.trivial(cell.dataset, split)
        assert result.diverged_step == result.steps
        assert 1 <= (result.steps or 0) <= 4 * 9
        assert all(np.isfinite([point.val_loss for point in result.curve]))


def test_all_members_diverged_ends_the_training() -> None:
    cell = make_cell("dataset=diabetes", "optimizer.lr=1e30", "optimizer=minibatch_sgd", *QUICK)
    assert {result.state for result in training.train(cell.config, cell.dataset, [0, 1])} == {State.DIVERGED}


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions_train(precision: str) -> None:
    cell = make_cell("dataset=iris", f"trainer.precision={precision}", "optimizer=sgd", "budget.epochs=10")
    (result,) = training.train(cell.config, cell.dataset, [0])
    assert result.metrics["test/accuracy"] > 0.7


@pytest.mark.parametrize("override", ["trainer.accelerator=abacus", "+trainer.nonsense=1"])
def test_a_trainer_that_lightning_refuses_is_refused_early(override: str) -> None:
    cell = make_cell(override)
    with pytest.raises(ConfigError, match=r"^trainer must hold settings that Lightning's Trainer accepts"):
        training.check(cell.config, cell.dataset)
