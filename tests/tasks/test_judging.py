"""The metrics that the user chooses: the primary one, and the one that picks the epoch."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk

from conftest import Inline, make_cell
from evalbench import weights
from evalbench.engine import training
from evalbench.errors import ConfigError
from evalbench.seeds import Role, derive
from evalbench.tuning import Study
from evalbench.workloads import draw_split

SMALL = ("dataset=wine", "model.width=4", "optimizer=sgd", "optimizer.lr=0.1", "budget.epochs=8", "budget.patience=3")


def gain(predictions: np.ndarray, targets: np.ndarray, weight: float = 1.0) -> float:
    """Return a metric of a user: the probability of the truth."""
    return float(weight * predictions[np.arange(len(targets)), targets].mean())


GAIN = f"{{_target_:{__name__}.gain,weight:2,direction:maximize,unit:points,best:2}}"


@pytest.mark.slow
def test_metrics_that_the_task_has_anyway_leave_the_identity_alone() -> None:
    plain = make_cell("dataset=iris")
    assert make_cell("dataset=iris", "task.metric=accuracy").id == plain.id
    assert make_cell("dataset=diabetes", "task.metric=r2").id == make_cell("dataset=diabetes").id
    others = [
        make_cell("dataset=iris", *more)
        for more in (
            ["task.metric=macro_f1"],
            ["task.monitor=metric"],
            ["task.monitor=auroc"],
            [f"task.metric={GAIN}"],
            [f"task.metric={GAIN.replace('weight:2', 'weight:3')}"],
        )
    ]
    assert len({plain.id, *(cell.id for cell in others)}) == 6
    assert {cell.dataset.fingerprint for cell in others} == {plain.dataset.fingerprint}
    assert f"{__name__}" in str(others[-1].settings["code"])


@pytest.mark.slow
def test_the_monitored_metric_picks_the_epoch_and_the_primary_one_is_on_the_curve(tmp_path: Path) -> None:
    plain = make_cell(*SMALL)
    cell = make_cell(*SMALL, "task.metric=balanced_accuracy", "task.monitor=auroc", "save=all")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2), keep_in=tmp_path)
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    assert [point.monitored for point in alone.curve] == pytest.approx([point.monitored for point in results[1].curve])
    by_loss = training.train(plain.config, plain.dataset, plain.entrants(0, 1, 2))
    assert any(one.best_epoch != other.best_epoch for one, other in zip(results, by_loss, strict=True))
    for seed, (result, other) in enumerate(zip(results, by_loss, strict=True)):
        both = min(len(result.curve), len(other.curve))
        losses = [[point.val_loss for point in each.curve[:both]] for each in (result, other)]
        assert losses[0] == pytest.approx(losses[1])
        ranks = [math.inf if point.monitored is None else point.monitored for point in result.curve]
        best = int(np.argmin(ranks))
        assert result.best_epoch == best + 1
        assert len(ranks) in (8, best + 4)
        split = draw_split(cell.dataset, 0.2, 0.2, derive(0, "wine", Role.SPLIT, seed))
        model = weights.load(weights.folder(tmp_path, seed))
        valid, test = (
            model(torch.as_tensor(cell.dataset.inputs[rows])).detach().numpy()
            for rows in (split.validation, split.test)
        )
        truth = cell.dataset.targets[split.validation]
        assert ranks[best] == pytest.approx(-sk.roc_auc_score(truth, valid, multi_class="ovr"))
        assert result.curve[best].val_score == pytest.approx(sk.balanced_accuracy_score(truth, valid.argmax(1)))
        expected = sk.balanced_accuracy_score(cell.dataset.targets[split.test], test.argmax(1))
        assert result.metrics["test/balanced_accuracy"] == pytest.approx(expected)


@pytest.mark.slow
def test_metrics_of_the_users_own_are_measured_on_every_split() -> None:
    kappa = "{_target_:torchmetrics.classification.MulticlassCohenKappa,num_classes:3,name:kappa}"
    cell = make_cell(*SMALL, f"task.metric={kappa}", f"task.monitor={GAIN}", "budget.epochs=2")
    assert (cell.dataset.metric.name, cell.dataset.metric.direction) == ("kappa", "maximize")
    assert cell.dataset.monitor is not None
    assert (cell.dataset.monitor.unit, cell.dataset.monitor.best) == ("points", 2.0)
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert {"test/kappa", "test/gain", "test/accuracy"} <= result.metrics.keys()
    assert all(-1 <= point.val_score <= 1 and -2 <= (point.monitored or 0) < 0 for point in result.curve)


def test_a_metric_to_minimize_is_in_the_targets_own_unit() -> None:
    cell = make_cell("dataset=diabetes", "task.metric=mae", "task.monitor=metric", "model.width=4", "budget.epochs=2")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert all(point.val_score == point.monitored for point in result.curve)
    assert 30 < result.curve[-1].val_score < 200
    binary = "{_target_:torchmetrics.classification.BinaryAveragePrecision}"
    assert make_cell("dataset=breast_cancer", f"task.metric={binary}").dataset.metric.direction == "maximize"


def test_a_search_follows_the_choice() -> None:
    cell = make_cell("dataset=diabetes", "task.metric=rmse", "+search=random")
    study = Study(cell, 0)
    assert (study.objectives, study.direction("val/rmse")) == (("val/rmse",), "minimize")


@pytest.mark.parametrize(
    ("overrides", "key", "said"),
    [
        (["task.metric=bleu"], "task.metric", "must be one of accuracy"),
        (["task.metric=loss"], "task.metric", "must be one of accuracy"),
        (["task.monitor=7"], "task.monitor", "must be text"),
        (["task.metric=r2"], "task.metric", "whose task is multiclass"),
        (["task.metric=accuracy", "dataset=diabetes"], "task.metric", "there are r2, rmse, mae"),
        (["+task.other=1"], "task.other", "is not a setting"),
        ([f"task.metric={{_target_:{__name__}.gain}}"], "task.metric.direction", "must be maximize or minimize"),
        ([f"task.metric={{_target_:{__name__}.gain,direction:up}}"], "task.metric.direction", "maximize or minimize"),
        (["task.metric={_target_:nowhere.gain,direction:maximize}"], "task.metric._target_", "must be importable"),
        (["task.metric={_target_:math.pi,direction:maximize}"], "task.metric._target_", "must be callable"),
        (["task.metric={_target_:math.sqrt,direction:maximize}"], "task.metric", "exactly one argument"),
        ([f"task.metric={{_target_:{__name__}.gain,direction:maximize,name:auroc}}"], "task.metric.name", "name of a"),
        ([f"task.metric={GAIN.replace('weight:2', 'weight:nan')}"], "task.metric.weight", "finite"),
    ],
)
@pytest.mark.slow
def test_bad_choices_are_refused_in_one_line(overrides: list[str], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_cell("dataset=iris", *overrides)
    line = str(error.value)
    assert key in line
    assert said in line
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "more", "expected"),
    [
        (GAIN, ["task.monitor=auroc"], {"unit": "points", "best": 2.0, "words": "gain", "monitor": "val/auroc"}),
        (f"{{_target_:{__name__}.gain,direction:maximize}}", ["+evaluation.rope.gain=0.1"], {"best": None}),
        ("log_loss", ["task.monitor=metric"], {"direction": "minimize", "monitor": "val/log_loss"}),
    ],
)
def test_the_report_compares_the_chosen_metric(
    workspace: Path, inline: Inline, metric: str, more: list[str], expected: dict[str, object]
) -> None:
    small = ("tracker=none", "cost.rounds=0", "num_seeds=2", "model.width=4", "budget.epochs=2", "evaluation.name=own")
    inline("-m", "dataset=iris,wine", "optimizer=sgd,adam", *small, f"task.metric={metric}", *more)
    folder = workspace / "reports" / "own"
    workload = json.loads((folder / "evaluation.json").read_text())["workloads"]["wine"]
    name = "log_loss" if metric == "log_loss" else "gain"
    assert (workload["metric"], workload["curve_metric"], workload["target"]) == (f"test/{name}", f"val/{name}", None)
    assert expected.items() <= workload.items()
    rows = pd.read_csv(folder / "results.csv")
    assert (rows["score"] == rows[f"test/{name}"]).all()
    assert name.replace("_", " ") in (folder / "report.md").read_text()


@pytest.mark.slow
def test_a_metric_without_a_best_score_needs_a_smallest_difference(inline: Inline) -> None:
    own = f"task.metric={{_target_:{__name__}.gain,direction:maximize}}"
    with pytest.raises(SystemExit):
        inline("-m", "dataset=iris", "optimizer=sgd,adam", "tracker=none", own)
