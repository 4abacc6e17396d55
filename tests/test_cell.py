from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from conftest import make_cell
from evalbench import cell as cells
from evalbench import live
from evalbench.engine import training
from evalbench.store import Store
from evalbench.trial import TRAINING_VERSION, State

SMALL = ("dataset=iris", "budget.epochs=2", "model.width=8", "num_seeds=3")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.sqlite")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the seeds of every training that really happens."""
    calls: list[list[int]] = []
    real = training.train

    def train(config, dataset, entrants, *rest):  # type: ignore[no-untyped-def]
        calls.append([entrant.seed for entrant in entrants])
        return real(config, dataset, entrants, *rest)

    monkeypatch.setattr(training, "train", train)
    return calls


@pytest.mark.slow
def test_a_cell_trains_what_the_store_lacks_and_nothing_else(store: Store, trained: list[list[int]]) -> None:
    cells.run(make_cell(*SMALL), store)
    cells.run(make_cell(*SMALL), store)
    cells.run(make_cell(*SMALL, "num_seeds=5"), store)
    cells.run(make_cell(*SMALL, "optimizer.lr=0.01"), store)
    assert trained == [[0, 1, 2], [3, 4], [0, 1, 2]]


@pytest.mark.slow
def test_more_seeds_give_the_same_numbers_for_the_old_ones(tmp_path: Path, store: Store) -> None:
    cells.run(make_cell(*SMALL), store)
    cells.run(make_cell(*SMALL, "num_seeds=5"), store)
    whole, other = make_cell(*SMALL, "num_seeds=5"), Store(f"sqlite:///{tmp_path}/other.sqlite")
    cells.run(whole, other)
    one, two = store.trials(list(whole.specs)), other.trials(list(whole.specs))
    for trial_id in whole.specs:
        assert one[trial_id].result.metrics == pytest.approx(two[trial_id].result.metrics, rel=1e-5)


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("num_seeds=7", True),
        ("reports=elsewhere", True),
        ("store.url=sqlite:///x.sqlite", True),
        ("evaluation.name=other", True),
        ("trainer.accelerator=cpu", True),
        ("trainer.precision=64-true", False),
        ("optimizer.lr=0.1", False),
        ("optimizer.batch_size=8", False),
        ("activation=gelu", False),
        ("activation.gain=1.0", False),
        ("model.depth=3", False),
        ("budget.epochs=3", False),
        ("split.test=0.3", False),
        ("seed=1", False),
        ("dataset=wine", False),
        ("dataset.name=wine", False),
    ],
)
def test_the_identity_holds_what_determines_the_result(override: str, same: bool) -> None:
    assert (make_cell(*SMALL).id == make_cell(*SMALL, override).id) is same


@pytest.mark.slow
def test_what_raises_becomes_failed_trials_that_a_rerun_tries_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, trained: list[list[int]]
) -> None:
    cell = make_cell(*SMALL)
    with monkeypatch.context() as broken:
        broken.setattr(training, "train", lambda *_: 1 / 0)
        cells.run(cell, store)
    results = [trial.result for trial in store.trials(list(cell.specs)).values()]
    assert [(result.state, result.message) for result in results] == [
        (State.FAILED, "ZeroDivisionError: division by zero")
    ] * 3
    cells.run(cell, store)
    assert trained == [[0, 1, 2]]
    assert set(store.states(list(cell.specs)).values()) == {State.COMPLETE}


def test_references_are_there_for_every_seed(store: Store) -> None:
    cell = make_cell(*SMALL)
    cells.run(cell, store)
    references = store.references(cell.workload_id)
    assert references.keys() == {(seed, name) for seed in range(3) for name in ("trivial", "linear")}
    assert all(metrics["test/accuracy"] >= 0.3 for metrics in references.values())


def test_the_statements_of_a_cell_do_not_grow_with_its_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PERIOD_SECONDS", 600)  # a slow machine writes positions, one a second
    counts = []
    for num_seeds in (1, 12):
        store = Store(f"sqlite:///{tmp_path}/{num_seeds}.sqlite")
        statements: list[str] = []
        sa.event.listen(store._engine, "before_cursor_execute", lambda *call, log=statements: log.append(call[2]))
        cells.run(make_cell("dataset=iris", "budget.epochs=1", "model.width=4", f"num_seeds={num_seeds}"), store)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 17  # 7 transactions of 10 statements: claim, references, results, release


def test_another_version_of_the_training_code_computes_references_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_cell(*SMALL).workload_id
    monkeypatch.setattr(cells, "TRAINING_VERSION", TRAINING_VERSION + 1)
    assert make_cell(*SMALL).workload_id != before


@pytest.mark.parametrize("name", ["../../x", "/x", "x" * 300, "a b"])
def test_weights_stay_in_their_folder(name: str) -> None:
    cell = make_cell(*SMALL, "save=all", "weights=w")
    folder = cells.weights_folder(replace(cell, dataset=replace(cell.dataset, name=name)))
    assert folder.parent == Path("w")
    assert len(folder.name) <= 100


@pytest.mark.slow
def test_a_variance_design_crosses_the_sources(store: Store, trained: list[list[int]]) -> None:
    """Whole batches in no order and without dropout: the order carries nothing, weights and split carry something."""
    cell = make_cell(*SMALL, "optimizer=bgd", "evaluation.variance={init: 3, order: 3, split: 4}", "num_seeds=2")
    cells.run(cell, store)
    cells.run(cell, store)
    assert [len(seeds) for seeds in trained] == [2, 36]
    trials = store.trials(list(cell.crossed))
    losses = np.array([trial.result.metrics["test/log_loss"] for trial in trials.values()]).reshape(3, 3, 4)
    seeds = [trial.result.metrics["test/log_loss"] for trial in store.trials(list(cell.specs)).values()]
    assert [losses[0, 0, 0], losses[1, 1, 1]] == pytest.approx(seeds, rel=1e-5)  # equal levels train as that seed
    assert losses[:, :1] == pytest.approx(losses[:, 1:2], rel=1e-5)
    assert losses[:, :1] == pytest.approx(losses[:, 2:], rel=1e-5)
    assert np.ptp(losses[:, 0], axis=0).min() > 1e-3
    assert np.ptp(losses[:, 0], axis=1).min() > 1e-3


@pytest.mark.slow
def test_weights_of_a_variance_design_are_not_kept(workspace: Path, store: Store) -> None:
    cell = make_cell(*SMALL, "evaluation.variance=3", "save=all")
    cells.run(cell, store)
    assert sorted(path.name for path in cells.weights_folder(cell).glob("s*")) == ["s0", "s1", "s2"]
