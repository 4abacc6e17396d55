"""Estimators in the place of networks: the same rows, seeds and metrics."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import accuracy_score, log_loss

from conftest import Inline, compose_config, make_cell
from contracts.engine import EngineContract, trained
from evalbench import cell as cells
from evalbench import tuning
from evalbench.cell import Cell
from evalbench.engines import sklearn
from evalbench.engines.predicted import split_of
from evalbench.errors import ConfigError
from evalbench.store import Store
from evalbench.trial import Entrant, State
from evalbench.workloads import fit_scaling

FOREST = ("model=random_forest", "model.n_estimators=5")


def estimator(target: str, *more: str) -> tuple[str, ...]:
    return ("model=estimator", f"model._target_={target}", *more)


class TestSklearn(EngineContract):
    chosen = FOREST
    refused = ("+model.trees=3",)

    def raising(self) -> tuple[Cell, list[Entrant]]:
        cell = make_cell("dataset=wine", *FOREST)
        bad = sklearn._seed(cell.config, cell.dataset, Entrant(1))
        cell = make_cell("dataset=wine", *estimator("peoples_estimators.FailsOnce", f"+model.bad={bad}"))
        return cell, cell.entrants(0, 1, 2)


def test_a_trial_is_what_scikit_learn_gives_on_its_rows() -> None:
    cell = make_cell("dataset=wine", *estimator("sklearn.ensemble.ExtraTreesClassifier"))
    (result,) = trained(cell, cell.entrants(3)).values()
    data, split = cell.dataset, split_of(cell.config, cell.dataset, Entrant(3))
    scaling, seed = fit_scaling(data, split.train), sklearn._seed(cell.config, data, Entrant(3))
    model = ExtraTreesClassifier(random_state=seed).fit(scaling.inputs(data, split.train), data.targets[split.train])
    probabilities = model.predict_proba(scaling.inputs(data, split.test))
    truth = data.targets[split.test]
    assert result.metrics["test/accuracy"] == accuracy_score(truth, probabilities.argmax(1))
    assert result.metrics["test/log_loss"] == pytest.approx(log_loss(truth, probabilities))
    validation = model.predict_proba(scaling.inputs(data, split.validation))
    assert result.curve[0].val_loss == pytest.approx(log_loss(data.targets[split.validation], validation))


def test_the_regressor_takes_the_place_where_targets_are_numbers() -> None:
    cell = make_cell("dataset=diabetes", *FOREST)
    (result,) = trained(cell, cell.entrants(0)).values()
    assert set(result.metrics) == {"test/r2", "test/rmse", "test/mae"}
    assert 0 < result.metrics["test/r2"] < 1
    assert result.curve[0].val_loss == pytest.approx(1 - result.curve[0].val_score, abs=0.4)  # both are scaled


def test_an_estimator_without_probabilities_has_the_metrics_of_classes_alone() -> None:
    cell = make_cell("dataset=wine", *estimator("peoples_estimators.Nearest"))
    cells.check(cell)
    (result,) = trained(cell, cell.entrants(0)).values()
    assert set(result.metrics) == {"test/accuracy", "test/macro_f1"}
    wanting = make_cell("dataset=breast_cancer", "task.metric=auroc", *estimator("peoples_estimators.Nearest"))
    with pytest.raises(ConfigError, match="must have predict_proba for auroc"):
        cells.check(wanting)


def test_a_class_that_knows_nothing_of_scikit_learn_gets_its_seed() -> None:
    cell = make_cell("dataset=diabetes", *estimator("peoples_estimators.Plain", "+model.noise=1.0"))
    results = trained(cell, cell.entrants(0, 1))
    assert results[0].metrics["test/r2"] != results[1].metrics["test/r2"]


def test_infinite_predictions_are_a_finding() -> None:
    cell = make_cell("dataset=diabetes", *estimator("peoples_estimators.Infinite"))
    (result,) = trained(cell, cell.entrants(0)).values()
    assert result.state is State.DIVERGED
    assert result.metrics["test/r2"] == pytest.approx(0, abs=0.1)  # the trivial predictor's


@pytest.fixture
def gaps(workspace: Path) -> Path:
    rows = [f"{'' if i % 4 == 0 else 1000 * (i % 7)},{'ab'[i % 2]},{i % 7 + i % 2}" for i in range(60)]
    path = workspace / "gaps.csv"
    path.write_text("\n".join(["size,kind,y", *rows, ""]))
    return path


def test_missing_values_are_filled_unless_the_estimator_takes_them(gaps: Path) -> None:
    data = ("dataset=csv", f"dataset.path={gaps}", "dataset.kind=regression")
    picky = make_cell(*data, *estimator("peoples_estimators.Picky"))
    assert trained(picky, picky.entrants(0))[0].state is State.COMPLETE
    boosted = make_cell(*data, "model=boosted_trees")
    split = split_of(boosted.config, boosted.dataset, Entrant(0))
    for cell, keeps in ((picky, False), (boosted, True)):
        built = sklearn._build(sklearn._component(cell.config, cell.dataset), 0)
        inputs = sklearn._Seen(built, cell.dataset, split).inputs(split.train)
        assert np.isnan(inputs).any() == keeps


def test_every_step_of_a_pipeline_draws_from_the_seed() -> None:
    steps = "[{_target_: sklearn.decomposition.PCA, n_components: 2}, {_target_: sklearn.linear_model.SGDClassifier}]"
    target = estimator("sklearn.pipeline.Pipeline", f"+model.steps=[[pca,{steps[1:].split('}')[0]}}}]]")
    config = compose_config("dataset=wine", *target)
    built = sklearn._build(config.estimator.component, 7)
    assert built.get_params()["pca__random_state"] == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("dataset=text", "dataset.path=notes.txt", *FOREST), "must be a network on"),
        (("dataset=diabetes", *estimator("sklearn.svm.SVC")), "must be a regressor on diabetes"),
        (("dataset=wine", *estimator("sklearn.svm.SVR")), "must be a classifier on wine"),
        (("dataset=wine", *estimator("collections.OrderedDict")), "must have a method fit"),
        (("dataset=wine", "model=random_forest", "model.n_estimators=-5"), "must hold settings that .* accepts"),
        (
            ("dataset=wine", "save=best", *estimator("peoples_estimators.Closed")),
            "save must be none for .* skops",
        ),
        (("dataset=wine", *FOREST, "+model.random_state=3"), "model.random_state must be left out"),
        (("dataset=wine", *FOREST, "model.engine=keras"), "model.engine must be one of cohort, sklearn"),
        (
            ("dataset=wine", *FOREST, "+search=random", "search.objectives=[val/log_loss,cost/flops]"),
            "search.objectives must be known of all techniques",
        ),
    ],
)
def test_bad_input_is_refused(overrides: tuple[str, ...], message: str, workspace: Path) -> None:
    (workspace / "notes.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    with pytest.raises(ConfigError, match=message):
        tuning.check(make_cell(*overrides))


def test_identity_has_what_an_estimator_depends_on_and_nothing_else() -> None:
    cell = make_cell("dataset=wine", *FOREST)
    for same in ("optimizer=sgd", "budget.epochs=7", "activation=tanh", "trainer.precision=64-true", "loss=focal"):
        assert make_cell("dataset=wine", *FOREST, same).id == cell.id
    for other in ("model.n_estimators=6", "model.regressor=null", "split.test=0.3"):
        assert make_cell("dataset=wine", *FOREST, other).id != cell.id
    assert cell.id == "ea1813d5772998df3659"
    xgboost = pytest.importorskip("xgboost")
    boosted = make_cell("dataset=wine", *estimator("xgboost.XGBClassifier"))
    assert xgboost.__version__ in str(boosted.settings["code"])


def test_settings_are_searched(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    searched = ("+search=random", "search.num_candidates=3", "search.num_seeds=1", "num_seeds=2")
    cell = make_cell("dataset=iris", *FOREST, *searched, f"search.storage=sqlite:///{tmp_path}/optuna.sqlite")
    tuning.run(cell, store)
    (study,) = tuning.studies(cell)
    assert {dimension.path for dimension in study.search.space} == {"model.max_features", "model.min_samples_leaf"}
    chosen = study.chosen(store)
    assert chosen is not None
    assert {trial.result.state for trial in store.trials(list(chosen.specs)).values()} == {State.COMPLETE}
    assert tuning.is_done(cell, store)


@pytest.mark.slow
def test_a_forest_is_judged_beside_a_network(inline: Inline, workspace: Path) -> None:
    inline(
        *("-m", "model=mlp,random_forest", "dataset=iris", "num_seeds=2", "budget.epochs=1", "tracker=none"),
        *("cost.rounds=1", "evaluation.name=beside"),
    )
    folder = workspace / "reports" / "beside"
    results, costs = pd.read_csv(folder / "results.csv"), pd.read_csv(folder / "costs.csv")
    forest = results[results["technique"] == "random_forest"]
    assert forest["steps"].isna().all()
    assert forest["score"].gt(0.5).all()
    assert set(costs["technique"]) == {"mlp", "random_forest"}
    report = (folder / "report.md").read_text()
    assert "`random_forest`: an estimator, fitted at once to the same training rows" in report
