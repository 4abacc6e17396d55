"""A task of the user's own: tried at the start, trained in cohorts, measured, saved, part of a trial's identity."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

import evalbench
import peoples_tasks
from conftest import Inline, compose_config, make_cell
from evalbench import engines, weights
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.errors import ConfigError, DataError
from evalbench.seeds import Role, derive
from evalbench.tasks import OwnTask, own_metric
from evalbench.workloads import Dataset, dataset_of, draw_split, judged, references

SMALL = ("model.width=4", "optimizer=sgd", "optimizer.lr=0.1", "budget.epochs=3")
QUANTILES = ("dataset=diabetes", "task._target_=peoples_tasks.Quantiles", "+task.levels=[0.2,0.8]", *SMALL)


def pinball(truth: Any, predictions: Any) -> float:
    losses = [mean_pinball_loss(truth, predictions[:, k], alpha=level) for k, level in enumerate((0.2, 0.8))]
    return float(np.mean(losses))


@pytest.mark.slow
def test_quantiles_train_in_a_cohort_and_are_scored_in_the_targets_unit(tmp_path: Path) -> None:
    cell = make_cell(*QUANTILES, "save=all")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path)
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    assert alone.metrics == pytest.approx(results[1].metrics)
    for seed, result in enumerate(results):
        split = draw_split(cell.dataset, 0.2, 0.2, derive(0, "diabetes", Role.SPLIT, seed))
        model = weights.load(weights.folder(tmp_path, seed), packages=["peoples_tasks"])
        predicted = model(torch.as_tensor(cell.dataset.inputs[split.test])).detach().numpy()
        truth = cell.dataset.targets[split.test]
        assert result.metrics["test/pinball"] == pytest.approx(pinball(truth, predicted))
        trivial = np.tile(np.quantile(cell.dataset.targets[split.train], (0.2, 0.8)), (len(truth), 1))
        scores = references.trivial(cell.dataset, {seed: split})[seed]
        assert scores["test/pinball"] == pytest.approx(pinball(truth, trivial))
        assert result.metrics["test/pinball"] < scores["test/pinball"]
        assert result.curve[0].val_score > result.curve[-1].val_score  # the pinball loss, lower is better
    with pytest.raises(evalbench.errors.DataError, match="packages=\\['peoples_tasks'\\]"):
        weights.load(weights.folder(tmp_path, 0))


@pytest.mark.parametrize("model", ["mlp", pytest.param("lightning", marks=pytest.mark.slow)])
def test_survival_has_two_numbers_per_target_and_a_loss_over_the_batch(model: str) -> None:
    lightning = ("model=lightning", "model._target_=peoples_tasks.Risk") if model == "lightning" else ()
    config = compose_config("optimizer=minibatch_sgd", "budget.epochs=4", *lightning)
    cell = Cell(config, judged(peoples_tasks.patients(), config.task))
    ((_, results),) = engines.of(config).train_all(config, cell.dataset, cell.entrants(0), cell.id)
    assert not isinstance(results, Exception)
    assert results[0].metrics["test/concordance"] > 0.7
    split = draw_split(cell.dataset, 0.2, 0.2, 0)
    assert references.trivial(cell.dataset, {0: split}) == {0: {"test/concordance": 0.5}}
    assert references.linear(cell.dataset, {0: split}) == {}


def test_a_loss_of_classes_needs_no_more_than_the_loss() -> None:
    plain, own = (
        make_cell("dataset=iris", *SMALL),
        make_cell("dataset=iris", "task._target_=peoples_tasks.Poly", *SMALL),
    )
    assert list(own.dataset.measured) == list(plain.dataset.measured)
    split = draw_split(own.dataset, 0.2, 0.2, 0)
    assert references.trivial(own.dataset, {0: split}) == references.trivial(plain.dataset, {0: split})
    assert (draw_split(plain.dataset, 0.2, 0.2, 0).test == split.test).all()  # both stratified
    (result,) = training.train(own.config, own.dataset, own.entrants(0))
    assert result.metrics["test/accuracy"] > 0.5


def test_the_task_its_arguments_and_its_code_are_part_of_the_identity() -> None:
    cells = [make_cell(*QUANTILES), make_cell(*QUANTILES[:1], *SMALL)]
    cells += [make_cell(*QUANTILES, "task.levels=[0.1,0.8]"), make_cell(*QUANTILES, "task.metric=covered")]
    assert len({cell.id for cell in cells}) == len({cell.workload_id for cell in cells}) == 4
    expected = {"_target_": "peoples_tasks.Quantiles", "levels": [0.2, 0.8]}
    assert cells[0].settings["task"] == {"own": expected, "metric": "pinball"}
    assert "peoples_tasks" in cells[0].settings["code"]["peoples_tasks.Quantiles"]
    assert "task" not in cells[1].settings


def test_an_estimator_predicts_what_is_one_number_per_row() -> None:
    forest = ("dataset=diabetes", "model=random_forest", "model.n_estimators=5")
    cell = make_cell(*forest, "task._target_=peoples_tasks.Absolute")
    ((_, results),) = engines.of(cell.config).train_all(cell.config, cell.dataset, cell.entrants(0), cell.id)
    assert not isinstance(results, Exception)
    (point,) = results[0].curve
    scale = np.std(cell.dataset.targets[draw_split(cell.dataset, 0.2, 0.2, derive(0, "diabetes", Role.SPLIT, 0)).train])
    assert point.val_loss == pytest.approx(point.val_score / scale)  # the absolute error of scaled targets
    assert list(results[0].metrics) == ["test/mae", "test/r2"]
    quantiles = make_cell(*forest, *QUANTILES[1:3])
    with pytest.raises(ConfigError, match=r"must be a network on diabetes \(Quantiles\)"):
        engines.of(quantiles.config).check(quantiles.config, quantiles.dataset)


@pytest.mark.slow
def test_the_report_has_its_skill_and_says_what_is_not_known(inline: Inline, workspace: Path) -> None:
    said = inline("-m", *QUANTILES, "optimizer=sgd,adam", "num_seeds=2", "cost.rounds=0", "tracker=none")
    assert "diabetes (pinball loss)" in said
    (report,) = workspace.glob("reports/*/report.md")
    text = report.read_text(encoding="utf-8")
    assert "a linear model is not known" in text
    assert "Skill is 0 for the trivial predictor" in text
    assert "| Quantiles |" in text


@pytest.mark.slow
def test_python_gives_the_task_as_an_object(workspace: Path) -> None:
    arguments = ["dataset=diabetes", *SMALL, "optimizer=sgd,adam", "tracker=none", "cost.rounds=0"]
    result = evalbench.evaluate(arguments, task=peoples_tasks.Quantiles([0.2, 0.8]), num_seeds=2)
    assert result.outcome.num_trials == 4
    cell = make_cell(*QUANTILES)
    assert cell.spec(0).settings["task"] == {
        "own": peoples_tasks.Quantiles([0.2, 0.8]).spec(), "metric": "pinball"
    }  # fmt: skip
    with pytest.raises(evalbench.errors.InputError, match=r"task\._target_ must be given once"):
        evalbench.evaluate(["task._target_=a.B"], task=peoples_tasks.Absolute)


# ── what is wrong is said at the start ────────────────────────────────────────────────────────────────────────────────


def numbers(targets: Any = None) -> Dataset:
    inputs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    return dataset_of((inputs, inputs @ np.ones(3) if targets is None else targets), "t", kind="regression")


def with_parts(**parts: Any) -> type[OwnTask]:
    return type("Mine", (peoples_tasks.Absolute,), parts)


def forgets(self: Any, power: int = 1) -> None:
    """Keep the argument under no name."""


def keeps_an_object(self: Any, power: Any = 1) -> None:
    self.power = object()


def nan_metric(predictions: Any, targets: Any) -> float:
    return float("nan")


def undirected(predictions: Any, targets: Any) -> float:
    return 0.0


CALLS = itertools.count(1)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no loss": ({"loss": OwnTask.loss}, "raised NotImplementedError: Mine has no loss"),
    "loss per row": ({"loss": lambda self, o, t: (o[:, 0] - t).abs()}, r"a tensor of the shape \(\), not the shape"),
    "loss of another type": ({"loss": lambda self, o, t: 1.0}, "not float"),
    "loss that is not finite": ({"loss": lambda self, o, t: (o * torch.inf).mean()}, "loss must be finite, not"),
    "loss of the targets": ({"loss": lambda self, o, t: t.mean()}, "loss must depend on the outputs"),
    "loss without a gradient": ({"loss": lambda self, o, t: (0 * o).mean()}, "its gradient is 0"),
    "loss that raises": ({"loss": lambda self, o, t: (o @ t).mean()}, r"outputs of the shape \(16, 1\) and targets of"),
    "loss with an if": ({"loss": lambda self, o, t: o.mean() if o.sum() > 0 else o.sum()}, "several trials at once"),
    "loss that counts its calls": (
        {"loss": lambda self, o, t: (o[:, 0] - t).abs().mean() * next(CALLS)},
        "alone and beside others",
    ),
    "outputs": ({"num_outputs": lambda self, n: 0}, "num_outputs must return a whole number of at least 1, not 0"),
    "predict": ({"predict": lambda self, o: o.mean()}, "predict must keep the leading axes"),
    "trivial shape": ({"trivial_prediction": lambda self, t, n: [1, 2]}, r"of the shape \(\), not \(2,\)"),
    "trivial nan": ({"trivial_prediction": lambda self, t, n: np.nan}, "must return a finite prediction"),
    "no metric": ({"metrics": ()}, "metrics must be names of"),
    "unknown metric": ({"metrics": ("nothing",)}, "not 'nothing'"),
    "metric of classes": ({"metrics": ("auroc",)}, "the metric auroc does not fit what is predicted"),
    "metric without a value": ({"metrics": (own_metric(nan_metric, "minimize"),)}, "nan_metric must be a finite"),
    "metric without a direction": (
        {"metrics": (own_metric(undirected, None),)}, "undirected must have a direction",  # type: ignore[arg-type]
    ),
    "metric with a taken name": ({"metrics": (own_metric(undirected, "minimize", name="mae"),)}, "a name of its own"),
    "forgotten argument": ({"__init__": forgets}, "must keep its argument power"),
    "argument that is no value": ({"__init__": keeps_an_object}, "must keep its argument power as numbers"),
    "scaled predictions": ({"target_shape": (2,), "loss": lambda self, o, t: (o - t).square().mean()}, "scaled back"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_task_is_one_line(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, words = WRONG[case]
    kind = with_parts(**parts)
    monkeypatch.setattr(peoples_tasks, "Mine", kind, raising=False)
    config = compose_config("task._target_=peoples_tasks.Mine")
    dataset = numbers()
    if kind.target_shape:
        dataset = Dataset("t", kind(), dataset.inputs, np.ones((40, 2), np.float32), dataset.features, dataset.numeric)
    with pytest.raises(ConfigError, match=words) as refused:
        judged(dataset, config.task)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("task", "overrides", "words"),
    [
        ("Absolute", ("dataset=iris",), "iris: Absolute needs numbers as targets, not 3 classes: say dataset.kind="),
        ("Poly", ("dataset=diabetes",), "diabetes: Poly needs classes as targets, not numbers"),
        ("Survival", ("dataset=diabetes",), r"diabetes: Survival needs targets of the shape \(442, 2\), not \(442,\)"),
        ("Absolute", ("dataset=diabetes", "task.metric=nothing"), "there are mae, r2"),
        ("Absolute", ("dataset=diabetes", "+task.levels=1"), "accepts"),
        ("patients", ("dataset=diabetes",), "must name a subclass of evalbench.tasks.OwnTask"),
        ("Nothing", ("dataset=diabetes",), "must be importable"),
    ],
)
def test_a_task_that_does_not_fit_is_one_line(task: str, overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=words) as refused:
        make_cell(f"task._target_=peoples_tasks.{task}", *overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("loss", ["loss=mse", "loss.class_weights=balanced", "loss.label_smoothing=0.1"])
def test_a_loss_that_is_not_the_tasks_is_refused(loss: str) -> None:
    cell = make_cell("dataset=iris", "task._target_=peoples_tasks.Poly", loss)
    with pytest.raises(ConfigError, match="Poly"):
        engines.of(cell.config).check(cell.config, cell.dataset)


def test_mixed_rows_are_refused() -> None:
    cell = make_cell("dataset=iris", "task._target_=peoples_tasks.Poly", "augmentation=mixup")
    with pytest.raises(ConfigError, match="augmentation"):
        engines.of(cell.config).check(cell.config, cell.dataset)


@pytest.mark.slow
def test_two_columns_of_a_table_are_the_targets_of_survival(workspace: Path) -> None:
    patients = peoples_tasks.patients()
    table = pd.DataFrame(patients.inputs, columns=list("abcd")).assign(time=patients.targets[:, 0])
    table.assign(event=patients.targets[:, 1]).to_csv("patients.csv", index=False)
    target = ("dataset.target=[time,event]", "dataset.kind=regression", "task._target_=peoples_tasks.Survival")
    cell = make_cell("dataset=csv", "dataset.path=patients.csv", *target, *SMALL)
    assert cell.dataset.num_outputs == 1
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert result.metrics["test/concordance"] > 0.6
