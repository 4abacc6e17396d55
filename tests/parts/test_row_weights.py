"""Weights of rows: a weight of 2 is a row that stands twice, in the training loss alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import plain
from conftest import Inline, make_cell
from evalbench import cell as cells
from evalbench import engines, models
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.engines.predicted import split_of
from evalbench.errors import ConfigError, DataError, InputError
from evalbench.seeds import Role, derive
from evalbench.tasks.imbalance import majority_share
from evalbench.trial import Entrant
from evalbench.workloads import fit_scaling
from target_tables import TABLES

SMALL = ("model.width=4", "model.depth=1", "budget.epochs=2", "optimizer.batch_size=32")


def weighted(cell: Cell) -> Cell:
    """Return a cell whose rows weigh 1, 2, 3, 0, 1, …"""
    weights = np.array([1, 2, 3, 0], dtype=np.float32)
    return replace(cell, dataset=replace(cell.dataset, weights=np.resize(weights, len(cell.dataset.targets))))


def weighted_cell(*overrides: str) -> Cell:
    return weighted(make_cell(*overrides))


@pytest.mark.parametrize("name", TABLES)
def test_a_weight_of_two_is_a_row_that_stands_twice(name: str) -> None:
    cell = weighted(replace(make_cell("dataset=wine", "optimizer=bgd", *SMALL[:3]), dataset=TABLES[name]))
    cohort, (_, split) = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    (rows,) = cohort.batches.chunks(0, 1, 1)
    gradients, losses, _ = cohort._compute(rows[0], cohort._keys(0, 1)[0])

    assert cell.dataset.weights is not None
    repeated = np.repeat(split.train, cell.dataset.weights[split.train].astype(int))
    inputs, targets = cohort.data.gather(torch.as_tensor(repeated)[None, None], [1])
    seed = derive(cell.config.root_seed, cell.dataset.name, Role.INIT, 1)
    network = models.build_seeded(seed, cell.config.model, cell.config.activation, training.shape_of(cell.dataset))
    expected = cell.dataset.kind.loss(network(inputs[0, 0]), targets[0, 0])
    expected.backward()  # type: ignore[no-untyped-call]
    assert losses[1].item() == pytest.approx(expected.item(), rel=1e-5)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[key][1], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("dataset=breast_cancer",),
        ("dataset=wine", "loss=label_smoothing"),
        ("dataset=diabetes",),
        ("dataset=wine", "resampling=balanced"),
    ],
    ids=" ".join,
)
def test_a_cohort_trains_as_a_plain_loop_does(overrides: tuple[str, ...]) -> None:
    cell = weighted_cell(*overrides, *SMALL)
    cells.check(cell)
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1))[1]
    parts = replace(cell, config=make_cell(*overrides, *SMALL, "trainer.microbatch_size=10").config)
    (in_parts,) = training.train(parts.config, parts.dataset, parts.entrants(1))
    expected = plain.train(cell, 1)
    for result in (alone, together, in_parts):
        assert [point.val_loss for point in result.curve] == pytest.approx(expected.val_losses, rel=2e-4)
        assert result.metrics == pytest.approx(expected.metrics, rel=2e-3)
    assert cell.id != make_cell(*overrides, *SMALL).id


def test_balanced_classes_have_equal_weights_and_all_weights_are_one_on_average() -> None:
    cell = weighted_cell("dataset=breast_cancer", "loss.class_weights=balanced", *SMALL)
    cohort, splits = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    rows = torch.as_tensor(np.stack([split.train for split in splits]))[None]
    _, pairs = cohort._batch(rows, cohort._keys(0, 1))
    classes, weights = pairs[0].double().unbind(-1)
    for member in range(2):
        totals = [float(weights[member][classes[member] == number].sum()) for number in range(2)]
        assert totals == pytest.approx([len(splits[0].train) / 2] * 2, rel=1e-5)


def test_weights_of_classes_by_name_are_one_on_average() -> None:
    cell = make_cell("dataset=wine", "loss.class_weights={class_1:3,class_2:0}", *SMALL)
    cohort, splits = training.make_cohort(cell.config, cell.dataset, cell.entrants(0))
    weights = dict(cohort._on_batch["loss"].named_buffers())["weights"][0].double().numpy()
    counts = np.bincount(cell.dataset.targets[splits[0].train])
    assert weights == pytest.approx(np.array([1, 3, 0]) * counts.sum() / (counts[0] + 3 * counts[1]))
    assert cell.id != make_cell("dataset=wine", *SMALL).id


@pytest.mark.parametrize("target", ["sklearn.linear_model.LogisticRegression", "pipeline"])
def test_an_estimator_gets_the_weights(target: str) -> None:
    step = "{_target_: sklearn.linear_model.LogisticRegression}"
    chosen = (
        ("model._target_=sklearn.pipeline.Pipeline", f"+model.steps=[[last,{step}]]")
        if target == "pipeline"
        else (f"model._target_={target}",)
    )
    cell = weighted_cell("dataset=breast_cancer", "model=estimator", *chosen)
    cells.check(cell)
    ((_, results),) = engines.of(cell.config).train_all(cell.config, cell.dataset, cell.entrants(0), cell.id)
    assert not isinstance(results, Exception)
    data, split = cell.dataset, split_of(cell.config, cell.dataset, Entrant(0))
    assert data.weights is not None
    scaling = fit_scaling(data, split.train)
    weights = data.weights[split.train] / data.weights[split.train].mean()
    model = LogisticRegression().fit(scaling.inputs(data, split.train), data.targets[split.train], weights)
    probabilities = model.predict_proba(scaling.inputs(data, split.test))
    loss = -np.log(probabilities[np.arange(len(split.test)), data.targets[split.test]]).mean()
    assert results[0].metrics["test/log_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("dataset=wine", "augmentation=mixup"), "augmentation must keep rows apart on wine"),
        (("dataset=wine", "model=estimator", "model._target_=peoples_estimators.Nearest"), "must take sample_weight"),
        (("dataset=wine", "model=command", "model.command=[echo,'{data}']"), "must be left out for a command"),
        (("dataset=wine", "model=lightning", "model._target_=peoples_modules.Own"), "for a LightningModule"),
        (
            ("dataset=diabetes", "loss=own", "loss._target_=tests.parts.test_loss.Median"),
            "a loss must be a number per example",
        ),
    ],
)
def test_what_cannot_take_weights_is_refused_in_one_line(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        cells.check(weighted_cell(*overrides))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("weights", "said"), [("{class_9:2}", "must name classes of wine"), ("{class_1:-1}", "numbers of at least 0")]
)
def test_wrong_weights_of_classes_are_refused(weights: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cells.check(make_cell("dataset=wine", f"loss.class_weights={weights}"))


def test_weights_that_are_no_weights_are_refused() -> None:
    data = make_cell("dataset=wine").dataset
    with pytest.raises(DataError, match="weights must be finite numbers of at least 0"):
        replace(data, weights=np.full(len(data.targets), -1, dtype=np.float32))
    cell = weighted_cell("dataset=wine")
    nothing = replace(cell, dataset=replace(data, weights=np.zeros(len(data.targets), dtype=np.float32)))
    with pytest.raises(DataError, match="some training rows must have a weight above 0"):
        cells.check(nothing)


@pytest.mark.slow
def test_the_report_speaks_of_weights_and_of_a_majority_that_accuracy_hides(inline: Inline, workspace: Path) -> None:
    rows = [f"{i % 7},{i % 3 + 1},{'yes' if i % 10 == 0 else 'no'}" for i in range(100)]
    (workspace / "rare.csv").write_text("\n".join(["size,worth,y", *rows, ""]))
    data = ("dataset=csv", "dataset.path=rare.csv", "dataset.weight=worth", "evaluation.name=rare", "num_seeds=2")
    said = inline(
        *("-m", "resampling=none,oversample", *data, "budget.epochs=1", "tracker=none", "cost.rounds=0"),
    )
    assert "the majority class of rare alone has an accuracy of 90 %: consider task.metric=balanced_accuracy" in said
    report = (workspace / "reports" / "rare" / "report.md").read_text()
    assert "The rows of `rare` have weights, which count in the training loss alone" in report
    assert (
        "The majority class alone has an accuracy of 90 % on `rare`: consider `task.metric=balanced_accuracy`" in report
    )
    assert majority_share(np.array([0, 0, 0, 1])) == 0.75
