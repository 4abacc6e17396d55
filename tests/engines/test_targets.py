"""Labels, several numbers, ordered classes and counts through every engine."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from conftest import make_cell
from contracts.engine import trained
from evalbench import cell as cells
from evalbench import weights
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.engines import sklearn
from evalbench.engines.predicted import split_of
from evalbench.engines.timed_fit import TimedFit
from evalbench.errors import ConfigError
from evalbench.seeds import Role, derive
from evalbench.trial import Entrant, State
from evalbench.workloads import draw_split, fit_scaling, references
from target_tables import TABLES

KINDS = ("ordinal", "multilabel", "multi_output", "count")


def cell_of(kind: str, *overrides: str) -> Cell:
    cell = replace(make_cell("dataset=iris", *overrides), dataset=TABLES[kind])
    cells.check(cell)
    return cell


def estimator(target: str, *more: str) -> tuple[str, ...]:
    return ("model=estimator", f"model._target_={target}", *more)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_learns_and_its_saved_weights_repeat_its_test(kind: str, tmp_path: Path) -> None:
    cell = cell_of(kind, "optimizer=adam", "optimizer.lr=0.02", "budget.epochs=12", "save=all", "model.width=8")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path)
    metric = cell.dataset.metric
    for seed, result in enumerate(results):
        split = draw_split(cell.dataset, 0.2, 0.2, derive(0, cell.dataset.name, Role.SPLIT, seed))
        predictor = weights.load(weights.folder(tmp_path, seed))
        predictions = predictor(torch.as_tensor(cell.dataset.inputs[split.test])).detach().numpy()
        again = cell.dataset.evaluate(predictions, cell.dataset.targets[split.test])
        assert again == pytest.approx(result.metrics, rel=1e-4)
        trivial = references.trivial(cell.dataset, {0: split})[0]
        assert metric.sign * (result.metrics[metric.on("test")] - trivial[metric.on("test")]) > 0.05


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("ordinal", estimator("sklearn.linear_model.LogisticRegression")),
        ("multilabel", estimator("sklearn.linear_model.LogisticRegression")),  # one target
        ("multilabel", estimator("sklearn.ensemble.RandomForestClassifier", "+model.n_estimators=9")),  # all of them
        ("multilabel", estimator("sklearn.neural_network.MLPClassifier")),  # one table of probabilities
        ("multi_output", estimator("sklearn.linear_model.Ridge")),  # all of them
        ("multi_output", estimator("sklearn.linear_model.HuberRegressor")),  # one target
        ("count", estimator("sklearn.linear_model.PoissonRegressor", "+model.alpha=0.02")),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_estimator_is_fitted_to_all_targets(kind: str, overrides: tuple[str, ...]) -> None:
    cell = cell_of(kind, *overrides)
    (result,) = trained(cell, cell.entrants(0)).values()
    assert result.state is State.COMPLETE
    assert set(result.metrics) == {f"test/{name}" for name in cell.dataset.kind.metrics}
    split = split_of(cell.config, cell.dataset, Entrant(0))
    linear = references.linear(cell.dataset, {0: split})[0]
    assert result.metrics[cell.dataset.metric.on("test")] == pytest.approx(
        linear[cell.dataset.metric.on("test")], abs=0.3
    )
    (point,) = result.curve
    assert 0 < point.val_loss < 1.5


def test_a_label_that_all_training_rows_have_is_always_predicted() -> None:
    cell = cell_of("multilabel", *estimator("sklearn.linear_model.LogisticRegression"))
    data, split = cell.dataset, split_of(cell.config, cell.dataset, Entrant(0))
    targets = data.targets.copy()
    targets[:, 1] = 1
    targets[split.test[:5], 1] = 0
    data = replace(data, targets=targets)
    (result,) = trained(replace(cell, dataset=data), cell.entrants(0)).values()
    inputs = fit_scaling(data, split.train).inputs
    expected = np.ones((len(split.test), 3))
    for label in (0, 2):
        model = LogisticRegression().fit(inputs(data, split.train), targets[split.train, label])
        expected[:, label] = model.predict_proba(inputs(data, split.test))[:, 1]
    assert result.metrics == pytest.approx(data.evaluate(expected, targets[split.test]))
    assert references.linear(data, {0: split})[0] == pytest.approx(result.metrics, abs=1e-3)


def test_what_is_timed_is_a_fit_to_all_targets() -> None:
    cell = cell_of("multilabel", *estimator("sklearn.linear_model.LogisticRegression"))
    timed = sklearn.ENGINE.timed(cell.config, cell.dataset)
    assert isinstance(timed, TimedFit)
    timed.warm_up()
    assert timed._fitted.predict(timed._example).shape == (1, 3)


@pytest.mark.parametrize(
    ("kind", "overrides", "said"),
    [
        ("multilabel", estimator("sklearn.svm.LinearSVC"), "choose task.metric=macro_f1"),
        ("multilabel", ("loss.class_weights=balanced",), "must be left out for multilabel"),
        ("multilabel", ("augmentation=mixup",), "needs one class or numbers"),
        ("multi_output", estimator("sklearn.linear_model.LogisticRegression"), "must be a regressor"),
        ("multi_output", ("loss=label_smoothing",), "must be 0 for multi_output"),
        ("count", ("loss=mse",), "must take log rates, as count has"),
        ("count", ("loss=own", "loss._target_=torch.nn.L1Loss"), "choose loss=default"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        cell_of(kind, *overrides)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("ordinal", ("loss=focal", "loss.class_weights=balanced")),
        ("multilabel", ("loss=focal",)),
        ("multilabel", ("loss=label_smoothing",)),
        ("multi_output", ("loss=huber", "augmentation=mixup")),
        ("count", ("loss=own", "loss._target_=torch.nn.PoissonNLLLoss", "augmentation=mixup")),
    ],
)
@pytest.mark.slow
def test_losses_and_augmentations_that_fit_train(kind: str, overrides: tuple[str, ...]) -> None:
    cell = cell_of(kind, *overrides, "budget.epochs=1", "model.width=4")
    assert trained(cell, cell.entrants(0))[0].state is State.COMPLETE


@pytest.mark.slow
def test_a_command_sees_and_predicts_every_column(workspace: Path) -> None:
    script = workspace / "means.py"
    script.write_text("""
import pandas as pd, sys
folder = sys.argv[1]
train = pd.read_csv(folder + "/train.csv")
means = train.filter(like="target: ").mean()
assert list(means.index) == ["target: rain", "target: snow", "target: fog"]
for part in ("validation", "test"):
    rows = len(pd.read_csv(f"{folder}/{part}.csv"))
    pd.DataFrame([means] * rows).to_csv(f"{folder}/{part}_predictions.csv", index=False)
""")
    cell = cell_of("multilabel", "model=command", f"model.command=[{sys.executable},{script},'{{data}}']")
    (result,) = trained(cell, cell.entrants(0)).values()
    trivial = references.trivial(cell.dataset, {0: split_of(cell.config, cell.dataset, Entrant(0))})[0]
    assert result.metrics == pytest.approx(trivial)


def test_a_lightning_module_has_an_output_per_label() -> None:
    cell = cell_of("multilabel", "model=lightning", "model._target_=peoples_modules.Labels", "budget.epochs=1")
    (result,) = trained(cell, cell.entrants(0)).values()
    assert set(result.metrics) == {f"test/{name}" for name in cell.dataset.kind.metrics}
