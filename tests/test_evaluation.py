import json
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from conftest import compose_config
from evalbench import cell as cells
from evalbench import provenance
from evalbench.config import Config, parse_plain
from evalbench.errors import ConfigError
from evalbench.evaluation.checks import check_trainable
from evalbench.evaluation.conclude import Outcome, conclude
from evalbench.evaluation.design import link
from evalbench.evaluation.naming import name_for
from evalbench.evaluation.plan import Plan
from evalbench.store import Store
from evalbench.trial import State, TrialResult

SMALL = ("dataset=iris", "budget.epochs=2", "model.width=8", "num_seeds=3")


def cell_of(*overrides: str) -> Config:
    """Return a cell's configuration that remembers its overrides, as a sweep's do."""
    config = compose_config(*SMALL, *overrides)
    pairs = dict(text.split("=", 1) for text in overrides)
    return parse_plain(config.tree, config.choices, pairs)


COMPARED = ("evaluation.name=small", "evaluation.factor=optimizer", "evaluation.baseline=sgd")


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        ((), True),
        (("+sweep=optimizers", "num_seeds=20", "tracker=none", "store.url=x", "trainer.accelerator=cpu"), True),
        (("reports=elsewhere", "evaluation.question=Why?"), True),
        (("optimizer=sgd,adam",), False),
        (("dataset=iris",), False),
        (("budget.epochs=3",), False),
        (("trainer.precision=64-true",), False),
        (("evaluation.factor=activation",), False),
        (("optimizer=sgd,adam", "evaluation.name=optimizers"), True),
    ],
)
def test_a_sweep_that_was_changed_is_another_evaluation(overrides: tuple[str, ...], same: bool) -> None:
    name = name_for("optimizers", overrides)
    assert (name == "optimizers") is same
    assert name.startswith("optimizers")
    assert name == name_for("optimizers", reversed(overrides))


def test_the_plan_knows_techniques_and_the_other_factors() -> None:
    plan = Plan.of(
        [
            cell_of(*COMPARED, f"optimizer={optimizer}", f"model.depth={depth}")
            for optimizer in ("sgd", "adam")
            for depth in (1, 2)
        ]
    )
    assert plan.techniques == ("sgd", "adam")
    assert plan.factors == {"model.depth": ("1", "2")}
    assert len(plan.links()) == 12


def test_a_setting_that_varies_within_an_option_lists_its_values(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    plan = Plan.of([cell_of("evaluation.name=depths", f"model.depth={depth}") for depth in (1, 4)])
    link(plan, store, "command")
    settings = store.design("depths")["settings"]
    assert settings["model"]["mlp"] == {"_target_": "evalbench.models.mlp.MLP", "depth": "1, 4 (varied)", "width": 8}
    assert settings["optimizer"]["adam"]["lr"] == 0.001


def test_without_a_declared_factor_the_first_that_varies_is_compared() -> None:
    plan = Plan.of([cell_of("activation=relu"), cell_of("activation=tanh")])
    assert (plan.factor, plan.baseline, plan.techniques) == ("activation", "relu", ("relu", "tanh"))
    asked = [cell_of(f"activation={name}", "evaluation.baseline=tanh") for name in ("relu", "tanh")]
    assert Plan.of(asked).baseline == "tanh"


@pytest.mark.parametrize(
    ("optimizers", "more", "key"),
    [
        (("adam", "adamw"), (), "evaluation.baseline"),
        (("sgd",), (), "optimizer"),
        (("sgd", "adam"), ("evaluation.factor=dataset",), "evaluation.factor"),
        (("sgd", "adam"), ("evaluation.factor=nothing",), "evaluation.factor"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    optimizers: tuple[str, ...], more: tuple[str, ...], key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Plan.of([cell_of(*COMPARED, *more, f"optimizer={name}") for name in optimizers])
    assert refused.value.key == key


def test_the_root_seed_is_no_other_factor() -> None:
    cells = [cell_of(*COMPARED, f"optimizer={name}", f"seed={seed}") for name in ("sgd", "adam") for seed in (0, 1)]
    with pytest.raises(ConfigError, match=r"^seed must be the same in all cells, not '0, 1'"):
        Plan.of(cells)


def test_a_technique_under_two_names_is_refused() -> None:
    same = ("optimizer=minibatch_sgd", "optimizer.batch_size=1", "optimizer.lr=0.01")
    assert cell_of("optimizer=sgd").optimizer == cell_of(*same).optimizer
    with pytest.raises(
        ConfigError, match=r"^optimizer must differ in more than its name from sgd, not 'minibatch_sgd'"
    ):
        Plan.of([cell_of(*COMPARED, "optimizer=sgd"), cell_of(*COMPARED, *same)])


@pytest.mark.slow
def test_a_cell_that_several_jobs_train_is_one_cell() -> None:
    ways = (("trainer.devices=1",), ("trainer.devices=2", "trainer.strategy=ddp"), ("trainer.devices=1",))
    plan = Plan.of([cell_of(*COMPARED, f"optimizer={name}", *way) for name in ("sgd", "adam") for way in ways])
    assert [plan.technique(cell) for cell in plan.cells] == ["sgd", "adam"]
    assert [plan.technique(cell) for cell in plan.jobs] == ["sgd"] * 3 + ["adam"] * 3
    assert len(plan.links()) == 2 * plan.config.num_seeds


def test_two_data_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder, last in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        lines = [f"{row},{row % 2}" for row in range(20)] + [f"5,{last}"]
        (tmp_path / folder / "same.csv").write_text("\n".join(["x,y", *lines]))
    with pytest.raises(ConfigError, match=r"^dataset\.name"):
        Plan.of([cell_of("dataset=csv", f"dataset.path={tmp_path}/{folder}/same.csv") for folder in "ab"])


@pytest.mark.slow
def test_an_evaluation_whose_every_cell_failed_has_a_report_all_the_same(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    plan = Plan.of([cell_of(*COMPARED, f"reports={tmp_path}", f"optimizer={name}") for name in ("sgd", "adam")])
    link(plan, store, "command")
    for cell in plan.cells:
        cells.fail(cell, store, RuntimeError("nothing works"))
    report = conclude(plan, store).page
    assert report is not None
    assert "nothing works" in report.read_text()
    assert "**Which optimizer is better than sgd?**" in report.read_text()  # nobody has asked one
    assert len(pd.read_csv(tmp_path / "small" / "references.csv")) == 3 * 2  # no job lived to compute them


@pytest.mark.slow
def test_the_folder_holds_what_the_store_holds(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    configs = [cell_of(*COMPARED, f"reports={tmp_path}", f"optimizer={name}") for name in ("sgd", "adam")]
    plan = Plan.of(configs)
    link(plan, store, "evalbench")
    assert conclude(plan, store).report is None  # nothing has ended yet
    cells.run(plan.cells[0], store)
    cells.fail(plan.cells[1], store, RuntimeError("killed by signal 9"))
    outcome = conclude(plan, store)

    assert outcome.states == {State.COMPLETE: 3, State.FAILED: 3}
    assert [failure["technique"] for failure in outcome.failures] == ["adam"]
    content = json.loads((tmp_path / "small" / "evaluation.json").read_text())
    assert (content["techniques"], content["baseline"]) == (["sgd", "adam"], "sgd")
    assert content["settings"]["optimizer"]["adam"]["lr"] == 0.001
    results = pd.read_csv(tmp_path / "small" / "results.csv")
    trials = store.trials([link.trial_id for link in plan.links()])
    assert results["score"].dropna().tolist() == [
        trial.result.metrics["test/accuracy"] for trial in trials.values() if trial.result.state is State.COMPLETE
    ]
    assert results["state"].tolist() == ["COMPLETE"] * 3 + ["FAILED"] * 3
    assert len(pd.read_csv(tmp_path / "small" / "curves.csv")) == 3 * 2
    assert len(pd.read_csv(tmp_path / "small" / "references.csv")) == 3 * 2
    assert outcome.page is not None
    assert "killed by signal 9" in outcome.page.read_text()


@pytest.mark.slow
def test_what_is_declared_reaches_the_folder_and_stays(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    common = (*COMPARED, f"reports={tmp_path}")
    plan = Plan.of([cell_of(*common, f"optimizer={name}") for name in ("sgd", "adam")])
    link(plan, store, "evalbench")
    for cell in plan.cells:
        cells.run(cell, store)
    conclude(plan, store)
    content = json.loads((tmp_path / "small" / "evaluation.json").read_text())
    assert content["rope"] == {"accuracy": 0.005, "skill": 0.01}
    assert content["workloads"]["iris"]["target"] == 0.95
    assert content["tuning"] is None
    assert content["declared"]
    assert (content["looks"], content["judged_before"]) == ([3], [])
    assert set(pd.read_csv(tmp_path / "small" / "results.csv")["look"]) == {1}
    assert "](small/report.md)" in (tmp_path / "index.md").read_text()
    assert all("small/report.html" in (tmp_path / name).read_text() for name in ("index.html", "radar.html"))

    for altered, refusal in (
        ("evaluation.rope.accuracy=0.05", r"^evaluation\.rope must stay as declared"),
        ("num_seeds=5", r"^num_seeds must stay as declared .* \(3\), not 5: give evaluation\.name=OTHER"),
    ):
        with pytest.raises(ConfigError, match=refusal):
            check_trainable(
                Plan.of([cell_of(*common, f"optimizer={name}", altered) for name in ("sgd", "adam")]), store
            )

    before = {key: value for key, value in store.design("small").items() if key not in ("looks", "judged_before")}
    store.link("small", {**before, "pilot_seeds": 2}, plan.links())  # version 0.1.0 let a third seed be added
    check_trainable(plan, store)
    link(plan, store, "evalbench")
    report = conclude(plan, store).report
    assert report is not None
    assert report.findings.evaluation.judged_before is None  # not known
    assert "The seeds from 2 on were added after a look that was not declared." in report.markdown


@pytest.mark.slow
def test_two_processes_that_end_together_write_one_after_the_other(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan.of([cell_of(*COMPARED, "optimizer=sgd"), cell_of(*COMPARED, "optimizer=adam")])
    store = Store(plan.config.store_url)
    link(plan, store, "a command")
    writing: list[bool] = []

    def write(plan: Plan, store: Store) -> Outcome:
        assert not writing
        writing.append(True)
        time.sleep(0.05)
        writing.clear()
        return Outcome(plan, {}, 6, None, None, ())

    monkeypatch.setattr("evalbench.evaluation.conclude._write_tables", write)
    ended: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda: ended.append(conclude(plan, Store(plan.config.store_url)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 2


@pytest.mark.slow
def test_a_variance_design_is_complete_or_refused_and_trains_only_what_is_missing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    names = ("sgd", "adam")
    common = (*COMPARED, f"reports={tmp_path}", "num_seeds=2")
    plan = Plan.of([cell_of(*common, "evaluation.variance=3", f"optimizer={name}") for name in names])
    link(plan, store, "evalbench")
    assert conclude(plan, store).num_trials == 2 * (2 + 27)
    for cell in plan.cells:
        cells.run(cell, store)
    lost = list(plan.cells[1].crossed.values())[5]
    store.record([(lost, TrialResult(State.FAILED, message="no memory"))], provenance.collect())

    assert plan.untrained(store) == [1]
    outcome = conclude(plan, store)
    assert outcome.states == {State.COMPLETE: 57, State.FAILED: 1}
    assert [(each["technique"], each["message"]) for each in outcome.failures] == [("adam", "no memory")]
    table = pd.read_csv(tmp_path / "small" / "variance.csv")
    assert len(table) == 54
    assert outcome.page is not None
    page = outcome.page.read_text()
    assert "`adam` on `iris` is not decomposed: 1 of 27 trials failed or are missing" in page
    assert set(pd.read_csv(tmp_path / "small" / "figures" / "variance.csv")["technique"]) == {"sgd"}

    cells.run(plan.cells[1], store)
    assert plan.untrained(store) == []
    assert not conclude(plan, store).failures
    again = pd.read_csv(tmp_path / "small" / "variance.csv")
    assert again["score"].isna().sum() == 0
    assert again.iloc[:27].equals(table.iloc[:27])
    conclude(Plan.of([cell_of(*common, f"optimizer={name}") for name in names]), store)
    assert not (tmp_path / "small" / "variance.csv").exists()
    assert "noise comes from" not in outcome.page.read_text()
