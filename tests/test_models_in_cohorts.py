"""Every shipped model in a cohort gives each trial what it would have got alone, and what a plain PyTorch loop gives.

Weights tied to each other, buffers of BatchNorm, embeddings and attention are where a member axis goes wrong silently.
"""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import Cli, make_cell
from evalbench import models, training
from evalbench.batches import Batches
from evalbench.cell import Cell
from evalbench.cohort import Cohort
from evalbench.seeds import Role, derive
from evalbench.workloads import Kind, draw_split, fit_scaling, metrics

CNN = ("model=cnn", "dataset=digits", "model.width=8")
ATTENTION = ("model.width=16", "model.heads=2", "model.depth=1")
TEXT = ("dataset=python_source", "dataset.num_rows=70", "dataset.length=12")
CASES = {
    "cnn with GroupNorm": CNN,
    "cnn with BatchNorm": (*CNN, "model.norm=batch"),
    "cnn without norm": (*CNN, "model.norm=none"),
    "transformer": ("model=transformer", *TEXT, *ATTENTION),
    "tied transformer": ("model=transformer", "model.tie=true", *TEXT, *ATTENTION),
    "encoder": ("model=encoder", "dataset=iris", *ATTENTION, "model.depth=2"),
    "encoder, regression": ("model=encoder", "dataset=diabetes", *ATTENTION),
}
BUDGET = ("budget=steps", "budget.steps=12", "budget.validations=3")
TOLERANCE = 1e-5
"""Relative, of losses after 12 steps in 32 bits: sums are taken in another order, about 1e-7; an undone tie is 3e-4."""


def cell_of(case: str, optimizer: str) -> Cell:
    return make_cell(*CASES[case], *BUDGET, f"optimizer={optimizer}")


def plain_loop(cell: Cell, seed: int) -> tuple[list[float], dict[str, float]]:
    """One trial as any PyTorch user would write it; validation losses, and test metrics where they are lowest."""
    config, dataset = cell.config, cell.dataset

    def seed_of(role: Role) -> int:
        return derive(config.root_seed, dataset.name, role, seed)

    split = draw_split(dataset, 0.2, 0.2, seed_of(Role.SPLIT))
    scaling = fit_scaling(dataset, split.train)
    numbers = torch.float32 if dataset.vocabulary is None else torch.int64
    inputs = torch.as_tensor(scaling.inputs(dataset, np.arange(len(dataset.targets))), dtype=numbers)
    targets = torch.as_tensor((dataset.targets - scaling.target_mean) / scaling.target_std)
    shape = models.Shape(inputs.shape[1], dataset.num_outputs, dataset.image, dataset.vocabulary)
    network = models.build_seeded(seed_of(Role.INIT), config.model, config.activation, shape)
    optimizer = config.optimizer.component.build(network.parameters())

    def loss_of(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = network(inputs[rows])
        if dataset.kind is Kind.REGRESSION:
            return outputs, F.mse_loss(outputs[:, 0], targets[rows].float())
        return outputs, F.cross_entropy(outputs.movedim(-1, 1), targets[rows].long())

    train = torch.as_tensor(split.train)[None]
    batches = Batches(train, config.optimizer.rows_per_step(train.shape[1]), [seed_of(Role.ORDER)])
    val_losses: list[float] = []
    best: dict[str, torch.Tensor] = {}
    start = 0
    for stop in config.budget.validation_steps(batches.steps_per_epoch):
        network.train()
        for block in batches.blocks(start, stop, 1):
            optimizer.zero_grad()
            loss_of(block[0, 0])[1].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        start = stop
        network.eval()
        with torch.no_grad():
            loss = float(loss_of(torch.as_tensor(split.validation))[1])
        if loss < min(val_losses, default=float("inf")):
            best = copy.deepcopy(network.state_dict())
        val_losses.append(loss)
    network.load_state_dict(best)
    with torch.no_grad():
        outputs = loss_of(torch.as_tensor(split.test))[0].double()
    if dataset.kind is Kind.REGRESSION:
        predictions = outputs[:, 0].numpy() * scaling.target_std + scaling.target_mean
    else:
        predictions = outputs.softmax(-1).numpy()
    return val_losses, metrics.evaluate(dataset, predictions, dataset.targets[split.test])


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("case", CASES)
def test_a_cohort_equals_a_plain_loop_and_a_cohort_of_one(case: str, optimizer: str) -> None:
    cell = cell_of(case, optimizer)
    training.check(cell.config, cell.dataset)
    together = training.train(cell.config, cell.dataset, [0, 1, 2])
    (alone,) = training.train(cell.config, cell.dataset, [1])
    val_losses, tested = plain_loop(cell, 1)
    for result in (together[1], alone):
        assert [point.val_loss for point in result.curve] == pytest.approx(val_losses, rel=TOLERANCE)
        assert result.metrics == pytest.approx(tested, rel=TOLERANCE)
    assert together[0].metrics != together[1].metrics
    assert val_losses[-1] != pytest.approx(val_losses[0], rel=1e-3)  # it has learned something


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
@pytest.mark.parametrize("case", ["cnn with BatchNorm", "tied transformer"])
def test_models_train_in_other_precisions(case: str, precision: str) -> None:
    cell = make_cell(*CASES[case], *BUDGET, f"trainer.precision={precision}")
    (single,) = training.train(cell_of(case, "adam").config, cell.dataset, [0])
    (result, _) = training.train(cell.config, cell.dataset, [0, 1])
    tolerance = 0.1 if precision == "bf16-mixed" else TOLERANCE
    assert result.curve[-1].val_loss == pytest.approx(single.curve[-1].val_loss, rel=tolerance)


def test_tied_weights_are_one_tensor_in_a_cohort() -> None:
    cell = cell_of("tied transformer", "adam")
    dataset = cell.dataset
    shape = models.Shape(dataset.inputs.shape[1], dataset.num_outputs, None, dataset.vocabulary)
    networks = [models.build_seeded(seed, cell.config.model, cell.config.activation, shape) for seed in range(3)]
    splits = [draw_split(dataset, 0.2, 0.2, seed) for seed in range(3)]
    batches = Batches(torch.stack([torch.as_tensor(split.train) for split in splits]), 8, [0, 1, 2])
    cohort = Cohort(networks, dataset, splits, batches, [12], cell.config.optimizer.component)
    shapes = [tuple(parameter.shape[1:]) for parameter in cohort.parameters()]
    assert shapes.count((98, 16)) == 1
    assert sum(parameter.numel() for parameter in cohort.parameters()) == 3 * sum(
        parameter.numel() for parameter in networks[0].parameters()
    )


@pytest.mark.slow
def test_a_sweep_on_text_writes_its_report(cli: Cli) -> None:
    tiny = (*TEXT, *ATTENTION, "budget=steps", "budget.steps=4", "num_seeds=3", "tracker=none")
    process = cli("+sweep=optimizers", "model=transformer", "optimizer=sgd,bgd,adam", *tiny)
    assert process.returncode == 0, process.stderr
    assert "python_source" in process.stdout
