"""Tune, then measure: on the iris table with a small network, which takes a second or two."""

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import Inline, Start, compose_config, make_cell
from evalbench import provenance, search, tuning
from evalbench.cell import Cell
from evalbench.config import Config
from evalbench.engine import training
from evalbench.errors import ConfigError
from evalbench.evaluation.conclude import conclude
from evalbench.evaluation.costs import mean_cost
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.mirror import Mirror
from evalbench.record import write
from evalbench.seeds import Phase
from evalbench.store import Store
from evalbench.tracking import MemoryTracker
from evalbench.trial import Candidate, CurvePoint, Entrant, State, TrialResult
from evalbench.tuning import Study
from evalbench.workloads import Dataset, bundled, draw_split

SMALL = ("dataset=iris", "budget.epochs=2", "model.width=8", "num_seeds=3")
RANDOM = ("+search=random", "search.num_candidates=4")


@pytest.fixture
def store(workspace: Path) -> Store:
    return Store("sqlite:///outputs/store.sqlite")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, list[Entrant]]]:
    """Return the entrants of every training that really happens."""
    calls: list[tuple[Config, list[Entrant]]] = []
    real = training.train

    def train(config: Config, dataset: Any, seeds: Any, *more: Any) -> list[TrialResult]:
        calls.append((config, list(seeds)))
        return real(config, dataset, seeds, *more)

    monkeypatch.setattr(training, "train", train)
    return calls


def searched(*overrides: str) -> Cell:
    return make_cell(*SMALL, *RANDOM, *overrides)


def only_study(cell: Cell) -> Study:
    (study,) = tuning.studies(cell)
    return study


def table(cell: Cell, store: Store) -> list[Any]:
    """Everything that the tuner has seen and said."""
    return [
        (dict(one.candidate.values), one.result, [trial.result for trial in one.trials])
        for study in tuning.studies(cell)
        for one in study.history(store)
    ]


# ── two phases ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_candidates_train_together_and_the_best_is_measured_beside_the_default(
    store: Store, trained: list[tuple[Config, list[Entrant]]]
) -> None:
    cell = searched("optimizer=sgd")
    tuning.run(cell, store)
    (_, tune), (_, default), (config, best) = trained
    assert len(tune) == 4 * 2  # one graph: all candidates times their seeds
    assert {(one.seed, one.phase) for one in tune} == {(0, Phase.TUNE), (1, Phase.TUNE)}
    assert [[one.seed for one in each] for each in (default, best)] == [[0, 1, 2]] * 2
    chosen = only_study(cell).best(store)
    assert chosen is not None
    assert config.optimizer.component.arguments["lr"] == chosen.candidate.values["optimizer.lr"]
    assert chosen.result is not None
    assert chosen.result.values == max(outcome.values for _, outcome, _ in table(cell, store))
    assert tuning.is_done(cell, store)


@pytest.mark.slow
def test_nothing_is_trained_twice(store: Store, trained: list[tuple[Config, list[Entrant]]]) -> None:
    tuning.run(searched("optimizer=sgd"), store)
    del trained[:]
    tuning.run(searched("optimizer=sgd"), store)
    assert trained == []
    tuning.run(searched("optimizer=sgd", "search.num_candidates=6"), store)
    assert len(trained[0][1]) == 2 * 2  # the two new candidates
    del trained[:]
    Path("outputs/studies.journal").unlink()  # the store is the truth
    tuning.run(searched("optimizer=sgd", "search.num_candidates=6"), store)
    assert trained == []


@pytest.mark.slow
def test_a_smaller_budget_does_not_see_what_a_larger_one_has_found(store: Store) -> None:
    small, large = searched("optimizer=sgd"), searched("optimizer=sgd", "search.num_candidates=8")
    tuning.run(small, store)
    before = table(small, store), only_study(small).best(store)
    tuning.run(large, store)
    assert (table(small, store), only_study(small).best(store)) == before
    assert table(large, store)[:4] == before[0]
    assert tuning.is_done(small, store)


@pytest.mark.slow
def test_what_changes_the_graph_goes_to_another_cohort(
    store: Store, trained: list[tuple[Config, list[Entrant]]]
) -> None:
    width = "++search.space.model.width={choices: [4, 8]}"
    tuning.run(searched("search.num_candidates=8", width, "num_seeds=1"), store)
    graphs = [(config.model.arguments["width"], config.optimizer.batch_size) for config, _ in trained[:-2]]
    assert len(graphs) == len(set(graphs)) > 2
    assert sum(len(entrants) for _, entrants in trained[:-2]) == 16


@pytest.mark.slow
def test_candidates_of_one_cohort_are_what_they_would_be_alone(store: Store) -> None:
    cell = searched("optimizer=momentum", "optimizer.space.batch_size=null", "budget.epochs=4")
    tuning.run(cell, store)
    for one in only_study(cell).history(store)[:2]:
        tuned = cell.at(one.candidate.values, Phase.TUNE)
        (alone,) = training.train(tuned.config, tuned.dataset, tuned.entrants(1))
        together = one.trials[1].result
        assert [p.val_loss for p in together.curve] == pytest.approx([p.val_loss for p in alone.curve], rel=1e-4)


def test_the_untuned_are_what_they_were() -> None:
    """A search is not part of a measured trial's identity, the split that it asks for is."""
    plain, tuned = make_cell(*SMALL), searched()
    assert plain.settings["data"].keys() == {"fingerprint", "validation", "test"}
    assert tuned.settings["data"].keys() == {"fingerprint", "validation", "development"}
    assert {**plain.settings, "data": None} == {**tuned.settings, "data": None}
    assert searched("search.num_seeds=5", "search.sampler._target_=optuna.samplers.QMCSampler").id == tuned.id


# ── no leak ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def held_out(cell: Cell) -> list[int]:
    assert cell.dataset.held_out is not None
    rows: list[int] = cell.dataset.held_out.tolist()
    return rows


def corrupted(cell: Cell) -> Cell:
    """The same cell with nonsense in every row that is held out."""
    rows, inputs, targets = held_out(cell), cell.dataset.inputs.copy(), cell.dataset.targets.copy()
    inputs[rows] = 1e6
    targets[rows] = (targets[rows] + 1) % len(cell.dataset.classes)
    return Cell(cell.config, replace(cell.dataset, inputs=inputs, targets=targets))


@pytest.mark.slow
def test_no_row_that_is_held_out_reaches_the_tuner(store: Store, workspace: Path) -> None:
    cell, other = searched(), Store("sqlite:///other/store.sqlite")
    nonsense = corrupted(cell)
    nonsense = replace(nonsense, config=replace(nonsense.config, store_url="sqlite:///other/store.sqlite"))
    tuning.run(cell, store)
    tuning.run(nonsense, other)
    assert table(cell, store) == table(nonsense, other)  # bit for bit
    tests = [
        [trial.result.metrics["test/accuracy"] for trial in where.trials(list(one.specs)).values()]
        for one, where in ((cell, store), (nonsense, other))
    ]
    assert tests[0] != tests[1]  # while the test rows are what they are


@pytest.mark.slow
def test_no_test_value_and_no_seed_of_a_measured_trial_reaches_the_tuner(store: Store) -> None:
    cell = searched()
    tuning.run(cell, store)
    tried = [trial for one in only_study(cell).history(store) for trial in one.trials]
    assert all(name.startswith("val/") for trial in tried for name in trial.result.metrics)
    assert {trial.result.num_test for trial in tried} == {None}
    tuned = cell.at({}, Phase.TUNE)
    tune, _ = training.make_cohort(tuned.config, tuned.dataset, tuned.entrants(0))
    measure, splits = training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(3)))
    assert not {int(seed) for seed in tune.noise_seeds} & {int(seed) for seed in measure.noise_seeds}
    assert tune.data.test_rows.numel() == 0
    assert len(tune.data.inputs) == len(cell.dataset.targets) - len(splits[0].test) == 105
    assert all(split.test.tolist() == held_out(cell) for split in splits)


def test_every_technique_meets_the_same_rows_and_splits() -> None:
    one, two = searched("optimizer=sgd"), searched("optimizer=adam")
    assert held_out(one) == held_out(two) != held_out(searched("seed=1"))


def every_third(name: str, start: int) -> Dataset:
    return replace(bundled.load(name), held_out=np.arange(start, 150, 3))


def test_a_search_keeps_the_test_rows_that_the_data_set_gives() -> None:
    load = "dataset._target_=test_tuning.every_third"
    cell, other = (searched(load, f"+dataset.start={start}") for start in (0, 1))
    assert held_out(cell) == [*range(0, 150, 3)]
    assert cell.settings["data"] == {"fingerprint": cell.dataset.fingerprint, "validation": 0.2}
    tune = cell.at({}, Phase.TUNE)
    split = draw_split(tune.dataset, tune.config.split.validation, tune.config.split.test, 0)
    assert [len(split.train), len(split.validation), len(split.test)] == [70, 30, 0]
    assert other.id != cell.id
    assert only_study(other).id != only_study(cell).id


# ── what may happen on the way ────────────────────────────────────────────────────────────────────────────────────────


HALVING = ("search.pruning={eta: 2, first_rung: 1}", "budget.epochs=6", "search.num_candidates=6")
ONE_GRAPH = ("optimizer=minibatch_sgd", "optimizer.space.batch_size=null")
EACH_ITS_OWN = (*ONE_GRAPH, "++search.space.model.width={low: 4, high: 400, integer: true}")


def lengths(cell: Cell, store: Store) -> list[list[int]]:
    """How many validations each trial of each candidate counts with."""
    return [[len(trial.result.curve) for trial in one.trials] for one in only_study(cell).history(store)]


PLAIN: dict[str, Sequence[CurvePoint]] = {}
"""The curves of trials that were trained to the end, by identity: the tests below share their candidates."""


def halved_plainly(cell: Cell, store: Store) -> list[list[int]]:
    """The same from candidates that are trained one by one, all to the end."""
    curves = []
    for one in only_study(cell).history(store):
        tuned = cell.at(one.candidate.values, Phase.TUNE)
        lacking = [trial for trial in one.trials if trial.id not in PLAIN]
        alone = [replace(tuned.entrants(trial.seed)[0], stop=6) for trial in lacking]
        results = training.train(tuned.config, tuned.dataset, alone) if alone else []
        PLAIN.update({trial.id: result.curve for trial, result in zip(lacking, results, strict=True)})
        curves.append([PLAIN[trial.id] for trial in one.trials])
    going, ends = list(range(len(curves))), [6] * len(curves)
    for rung in (1, 2, 4):
        best = [[min(curve[:rung], key=lambda point: point.val_loss).val_score for curve in each] for each in curves]
        going.sort(key=lambda candidate: (-sum(best[candidate]), candidate))
        keep = math.ceil(len(going) / 2)
        for loser in going[keep:]:
            ends[loser] = rung
        going = going[:keep]
    return [[end] * 2 for end in ends]


@pytest.mark.slow
@pytest.mark.parametrize("space", [ONE_GRAPH, EACH_ITS_OWN], ids=["one graph", "each its own"])
def test_candidates_that_were_asked_for_together_compete_whatever_their_graphs(
    store: Store, trained: list[tuple[Config, list[Entrant]]], space: tuple[str, ...]
) -> None:
    cell = searched(*HALVING, *space)
    tuning.run(cell, store)
    assert len(trained) == (1 if space is ONE_GRAPH else 6 + 3 + 2 + 1) + 2  # with the two that are measured
    history = only_study(cell).history(store)
    assert sorted(one.state.value for one in history) == ["COMPLETE", *["PRUNED"] * 5]
    best = only_study(cell).best(store)
    assert best is not None
    assert best.state is State.COMPLETE
    assert lengths(cell, store) == halved_plainly(cell, store)


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, 1])
def test_it_does_not_matter_how_many_candidates_fit_into_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    cell = searched(*HALVING, *ONE_GRAPH)
    monkeypatch.setattr(training, "_max_members", lambda *_: most)  # the seeds of a candidate are torn apart
    tuning.run(cell, store)
    assert lengths(cell, store) == halved_plainly(cell, store)
    assert tuning.is_done(cell, store)


@pytest.mark.slow
def test_a_study_that_grew_is_the_one_that_was_large_at_once(store: Store) -> None:
    small, large = searched(*HALVING, *ONE_GRAPH, "search.num_candidates=3"), searched(*HALVING, *ONE_GRAPH)
    tuning.run(small, store)
    before = lengths(small, store)
    tuning.run(large, store)
    assert lengths(large, store) == halved_plainly(large, store)
    assert sorted(lengths(large, store)) == [[1, 1], [1, 1], [1, 1], [2, 2], [4, 4], [6, 6]]
    assert lengths(small, store) == before
    assert tuning.is_done(small, store)


@pytest.mark.slow
def test_halving_goes_on_where_it_was_broken_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, real, left = searched(*HALVING, *EACH_ITS_OWN), training.train, iter(range(8))

    def train(*arguments: Any) -> list[TrialResult]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(training, "train", train)
        with pytest.raises(KeyboardInterrupt):
            tuning.run(cell, store)
    tuning.run(cell, store)
    assert lengths(cell, store) == halved_plainly(cell, store)


@pytest.mark.slow
def test_the_next_best_goes_on_where_the_best_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, real = searched(*HALVING, *EACH_ITS_OWN), training.train
    unlucky: set[str] = set()

    def train(config: Config, dataset: Any, seeds: Any, *more: Any) -> list[TrialResult]:
        if seeds[0].stop == 6 and (not unlucky or str(config) in unlucky):
            unlucky.add(str(config))
            raise RuntimeError("no luck")
        return real(config, dataset, seeds, *more)

    with monkeypatch.context() as broken:
        broken.setattr(training, "train", train)
        tuning.run(cell, store)
    states = [one.state for one in only_study(cell).history(store)]
    assert Counter(states) == {State.COMPLETE: 1, State.FAILED: 1, State.PRUNED: 4}
    tuning.run(cell, store)  # it is tried again
    assert lengths(cell, store) == halved_plainly(cell, store)


@pytest.mark.slow
def test_a_study_is_another_one_where_its_candidates_would_be_others() -> None:
    def ids(*overrides: str) -> list[str]:
        cells = [searched(*overrides, more) for more in ("search.batch=4", "search.batch=8", "search.num_candidates=8")]
        return [only_study(cell).id for cell in cells]

    assert len(set(ids())) == 1  # each is drawn by itself
    assert len(set(ids("search.sampler._target_=optuna.samplers.TPESampler", "search.batch=4"))) == 2
    assert len(set(ids(HALVING[0], "budget.epochs=6", "search.batch=4"))) == 2


@pytest.mark.slow
def test_a_candidate_that_diverges_scores_as_the_trivial_predictor(store: Store) -> None:
    grid = ("+search=grid", "++optimizer.space.lr={choices: [0.1, 1e30]}")
    cell = make_cell(*SMALL, "optimizer=sgd", *grid)
    tuning.run(cell, store)
    by_lr = {one.candidate.values["optimizer.lr"]: one for one in only_study(cell).history(store)}
    assert by_lr[1e30].state is State.DIVERGED
    assert by_lr[1e30].result is not None
    assert by_lr[1e30].result.values == pytest.approx((1 / 3,), abs=0.04)


@pytest.mark.slow
def test_a_candidate_is_not_cheaper_for_having_diverged(store: Store) -> None:
    grid = (
        "+search=grid",
        "++optimizer.space.lr={choices: [0.1, 1e30]}",
        "search.objectives=[val/log_loss,cost/flops]",
    )
    for budget in ("budget.epochs=2", "budget=steps budget.steps=20"):
        small = ("dataset=iris", "model.width=8", "num_seeds=1")
        cell = make_cell(*small, "optimizer=minibatch_sgd", "optimizer.space.batch_size=null", *grid, *budget.split())
        tuning.run(cell, store)
        bad, good = sorted(only_study(cell).history(store), key=lambda one: one.state is State.COMPLETE)
        assert (bad.state, good.state) == (State.DIVERGED, State.COMPLETE)
        assert (bad.trials[0].result.flops or 0) < (good.trials[0].result.flops or 0)
        assert bad.result is not None
        assert good.result is not None
        assert bad.result.values is not None
        assert good.result.values is not None
        assert bad.result.values[1] == pytest.approx(good.result.values[1], rel=0.05)


@pytest.mark.slow
def test_a_candidate_that_fails_is_left_out_and_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = searched("optimizer=minibatch_sgd", "optimizer.space.batch_size.choices=[8,16]", "search.num_candidates=6")
    real = training.train

    def train(config: Config, *more: Any) -> list[TrialResult]:
        if config.optimizer.batch_size == 8:
            raise RuntimeError("no luck")
        return real(config, *more)

    with monkeypatch.context() as broken:
        broken.setattr(training, "train", train)
        tuning.run(cell, store)
    states = {one.candidate.values["optimizer.batch_size"]: one.state for one in only_study(cell).history(store)}
    assert states == {8: State.FAILED, 16: State.COMPLETE}
    assert not tuning.is_done(cell, store)
    tuning.run(cell, store)
    assert {one.state for one in only_study(cell).history(store)} == {State.COMPLETE}
    assert tuning.is_done(cell, store)


@pytest.mark.slow
def test_where_every_candidate_fails_the_measured_trials_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = searched("optimizer=sgd")
    monkeypatch.setattr(training, "train", lambda *_: 1 / 0)
    tuning.run(cell, store)
    (specs,) = tuning.measured(cell, store)
    results = [trial.result for trial in store.trials(list(specs)).values()]
    assert [result.state for result in results] == [State.FAILED] * 3
    assert results[0].message == "no candidate could be trained: ZeroDivisionError: division by zero"


def test_a_job_that_cannot_begin_to_tune_says_why(store: Store) -> None:
    cell = searched("optimizer=sgd")
    tuning.fail(cell, store, OSError("no space left\non the disk"))
    (specs,) = tuning.measured(cell, store)
    said = {trial.result.message for trial in store.trials(list(specs)).values()}
    assert said == {"no candidate could be trained: OSError: no space left"}


@pytest.mark.slow
def test_repeated_studies_use_other_candidates_and_other_seeds(
    store: Store, trained: list[tuple[Config, list[Entrant]]]
) -> None:
    cell = searched("optimizer=sgd", "search.num_studies=2")
    tuning.run(cell, store)
    one, two = tuning.studies(cell)
    assert one.id != two.id
    assert {trial.seed for tried in two.history(store) for trial in tried.trials} == {2, 3}
    assert [t.candidate.values for t in one.history(store)] != [t.candidate.values for t in two.history(store)]
    (default, first, second) = ([entrant.seed for entrant in entrants] for _, entrants in trained[2:])
    assert first == list(range(3))  # what one study has too
    assert not set(first) & set(second)
    assert default == first + second  # so that each study is paired with the default
    assert [[spec.seed for spec in specs.values()] for specs in tuning.measured(cell, store)] == [first, second]
    assert {seed for seed, _ in store.references(cell.workload_id)} == set(default)
    assert tuning.is_done(cell, store)
    more = searched("optimizer=sgd", "search.num_studies=2", "num_seeds=4")
    assert set(cell.specs) < set(more.specs)  # seeds that are added take none away


@pytest.mark.slow
def test_a_storage_that_was_deleted_is_written_anew_though_nothing_is_left_to_train(store: Store) -> None:
    plan = Plan.of([compose_config(*SMALL, *RANDOM, f"reports={Path.cwd()}/reports")])
    link(plan, store, "command")
    (cell,) = plan.cells
    tuning.run(cell, store)
    study, journal = only_study(cell), Path("outputs/studies.journal")
    broken = study.specs(study.history(store)[1].candidate)[0]
    store.record([(broken, TrialResult(State.FAILED, message="RuntimeError: no"))], provenance.collect())
    journal.unlink()
    (failure,) = conclude(plan, store).failures
    assert (failure["technique"], failure["message"]) == ("mlp-adam", "1 of 4 candidates: RuntimeError: no")
    storage = search.open_storage(str(journal))
    trials = storage.get_all_trials(storage.get_all_studies()[0]._study_id)
    assert [trial.params for trial in trials] == [dict(one.candidate.values) for one in study.history(store)]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert set(pd.read_csv("reports/single/tuning.csv")["message"].dropna()) == {"RuntimeError: no"}


@pytest.mark.slow
def test_two_objectives_are_both_told_and_the_first_chooses(store: Store) -> None:
    cell = searched("search.objectives=[val/log_loss,cost/seconds]", "search.num_candidates=3", "num_seeds=1")
    tuning.run(cell, store)
    history = only_study(cell).history(store)
    assert all(one.result is not None and len(one.result.values or ()) == 2 for one in history)
    best = only_study(cell).best(store)
    assert best is not None
    assert best.result is not None
    assert best.result.values is not None
    assert best.result.values[0] == min(one.result.values[0] for one in history if one.result and one.result.values)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("search.objectives=[val/r2]", "search.objectives"),
        ("search.objectives=[speed]", "search.objectives"),
        ("search.objectives=[cost/flops,val/log_loss]", "search.objectives"),
        ("search.objectives=[val/auroc] search.pruning={eta: 2, first_rung: 1}", "search.objectives"),
        ("search.pruning={eta: 2, first_rung: 2}", "search.pruning.first_rung"),
        ("search.batch=1 search.pruning={eta: 2, first_rung: 1}", "search.batch"),
        ("search.num_studies=2 num_seeds=1000001", "num_seeds"),
        ("++search.space.model.height={low: 1, high: 2}", "search space"),
        ("++search.space.model.width={low: -1, high: 2, integer: true}", "model.width"),
        ("++search.space.model.width={choices: [4, nothing, 8]}", "model.width"),
        ("++search.space.activation={choices: [relu, gelu]}", "search space"),
        ("search.development=0.08 split.validation=0.02", "search.development"),
        ("++search.space.schedule.pct_start={choices: [0.3, 2.0, 0.5]} schedule=one_cycle", "schedule"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_searched_is_refused_before_anything_trains(override: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        tuning.check(searched(*re.split(r" (?=search|split|num_seeds|schedule)", override)))
    assert refused.value.key == key


UNCOUNTED = """
import torch

class Net(torch.nn.Module):
    def __init__(self, in_features, out_features, depth, width):
        super().__init__()
        self.layer = torch.nn.Linear(in_features, out_features)

    def forward(self, x):
        if x.sum().item() == 0 and torch.is_grad_enabled():  # what FLOPs are counted with
            raise ValueError
        return self.layer(x)
"""


def test_flops_that_cannot_be_counted_choose_nothing(
    store: Store, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "uncounted.py").write_text(UNCOUNTED)
    monkeypatch.syspath_prepend(workspace)
    own = ("optimizer=sgd", "model._target_=uncounted.Net", "trainer.verify=false")
    cell = searched(*own, "search.objectives=[val/accuracy,cost/flops]")
    with pytest.raises(ConfigError, match=r"^search\.objectives must be countable for this model, not 'cost/flops'"):
        tuning.check(cell)


def test_what_a_pruned_trial_took_is_not_known_where_the_whole_is_not(store: Store) -> None:
    point = CurvePoint(1.0, 4, 0.5, 0.5, 0.5)
    study = only_study(searched("search.pruning={eta: 2, first_rung: 1}", "optimizer.batch_size=10"))
    result = TrialResult(State.COMPLETE, curve=(point, point), steps=8, examples=80, flops=None, num_train=40)
    cut = study._as_of(1, Candidate(0, {}), result)
    assert (cut.state, cut.steps, cut.flops) == (State.PRUNED, 4, None)
    assert study._as_of(1, Candidate(0, {}), replace(result, flops=800)).flops == 400
    assert write._total([3, None]) is None
    assert mean_cost([{"steps": 2, "step_seconds": 1.0, "round": 0, "flops_per_step": None}] * 2) == {
        "steps": 2, "step_seconds": 1.0, "round": 0, "flops_per_step": None,
    }  # fmt: skip


# ── the mirror ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(("runs_up_to", "studies", "trials"), [(0, 1, 0), (8, 0, 8)])
def test_a_study_is_mirrored_once_as_one_run_or_as_its_trials(
    store: Store, runs_up_to: int, studies: int, trials: int
) -> None:
    overrides = ("optimizer=sgd", "tracker=csv", "evaluation.name=e", f"search.runs_up_to={runs_up_to}")
    plan = Plan.of([compose_config(*SMALL, *RANDOM, *overrides, f"reports={Path.cwd()}/reports")])
    link(plan, store, "command")
    tuning.run(plan.cells[0], store)
    conclude(plan, store)
    tracker, again = MemoryTracker(), MemoryTracker()
    for one in (tracker, again):
        mirror = Mirror(store, "e", "csv", one)
        mirror.send()
        mirror.conclude()
    names = [run.name for run in tracker.runs.values()]
    assert not again.runs
    assert not again.conclusions
    assert len([name for name in names if name.endswith("-study0")]) == studies
    assert len([name for name in names if "-study0-c" in name]) == trials
    assert len([name for name in names if "-default-s" in name]) == 3
    assert len([name for name in names if "-tuned-" in name]) == 3
    (conclusion,) = tracker.conclusions.values()
    assert sorted(conclusion.run_ids) == sorted(run.id for run in tracker.runs.values() if "study0" not in run.name)
    kinds = Counter(run.config["hyperparameters"] for run in tracker.runs.values() if not run.name.endswith("-study0"))
    assert kinds == Counter(default=3, tuned=3, study0=trials)
    assert len({run.config["trial"] for run in tracker.runs.values() if "trial" in run.config}) == 6 + trials
    for run in tracker.runs.values():
        if run.name.endswith("-study0"):
            assert [row["candidate"] for row in run.curve] == [0, 1, 2, 3]
            assert all("val/accuracy" in row and "optimizer.lr" in row for row in run.curve)
            assert run.tables["candidates"].columns[:3] == ("candidate", "seed", "optimizer.lr")
            assert run.tables["candidates"].columns[-2:] == ("state", "val/accuracy")
            assert {row[-2] for row in run.tables["candidates"].rows} == {"COMPLETE"}
            assert len(run.tables["candidates"].rows) == 8


# ── the terminal ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_terminal_says_whether_a_study_goes_on_or_is_another_one(inline: Inline) -> None:
    small = ("dataset=iris", "optimizer=sgd", "budget.epochs=1", "num_seeds=1", "search.num_seeds=1", "cost.rounds=0")

    def said(*overrides: str) -> str:
        out = inline(*small, "tracker=none", "reports=reports", *overrides)
        (line,) = (line for line in out.splitlines() if line.endswith(("known", "used")))
        return line

    assert said("+search=tpe", "search.num_candidates=2") == "Tuning   1 study, 0 of 2 candidates known"
    assert said("+search=tpe", "search.num_candidates=3") == "Tuning   1 study, 2 of 3 candidates known"
    other = said("+search=tpe", "search.num_candidates=3", "search.batch=2")
    assert other.startswith("Tuning   1 study, 0 of 3 candidates known; the store has other studies of the same cells")


# ── killed ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ARGUMENTS = (
    "budget.epochs=20",
    "dataset=iris",
    *RANDOM,
    "search.num_candidates=6",
    "search.batch=3",
    "optimizer.space.batch_size=null",
    "num_seeds=2",
    "cost.rounds=0",
)


def num_trials(path: Path) -> int:
    """Return how many trials another process has written so far."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.OperationalError:  # the file or its tables are not made yet
        return 0


@pytest.mark.slow
def test_a_study_that_was_killed_ends_with_the_same_table(
    inline: Inline, start: Start, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*ARGUMENTS, "tracker=none", "reports=reports"]
    whole, cut = workspace / "whole", workspace / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    monkeypatch.chdir(whole)
    inline(*arguments)
    program = start(*arguments, "hydra/launcher=basic", folder=cut)
    while num_trials(cut / "outputs/store.sqlite") < 6:
        assert program.poll(0.01) is None, "it ended before it was killed"
    program.kill()
    monkeypatch.chdir(cut)
    inline(*arguments)
    cell = Cell.of(compose_config(*ARGUMENTS))
    one, two = (table(cell, Store(f"sqlite:///{folder}/outputs/store.sqlite")) for folder in (whole, cut))
    assert len(one) == 6
    assert one == two
    assert (whole / "reports/single/results.csv").read_bytes() == (cut / "reports/single/results.csv").read_bytes()
