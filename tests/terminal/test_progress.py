"""What the terminal reads of a training from the store, and what it prints of it."""

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from conftest import compose_config
from evalbench import live
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.store import Store
from evalbench.terminal.failures import FailureLines
from evalbench.terminal.progress import Watch
from evalbench.trial import Position, State, TrialResult

SIZE = ("dataset=iris", "num_seeds=4", "budget.epochs=2", "evaluation.factor=optimizer", "evaluation.baseline=sgd")


@dataclass
class Stepping:
    """A training at a position."""

    position: Position


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.sqlite")


@pytest.fixture
def plan(store: Store) -> Plan:
    """Two cells of four trials, linked."""
    plan = Plan.of([compose_config(*SIZE, f"optimizer={name}") for name in ("sgd", "adam")])
    link(plan, store, "evalbench")
    return plan


def test_progress_moves_within_a_cell_and_counts_what_was_there_before(store: Store, plan: Plan) -> None:
    sgd, adam = plan.cells
    complete = TrialResult(State.COMPLETE)
    store.record([(spec, complete) for spec in sgd.specs.values()], {})
    watch = Watch(plan, store)
    assert (watch.num_trials, watch.num_missing) == (8, 4)
    assert watch.look().shares == [1.0, 0.0]
    with store.lease(adam.id):
        assert watch.look().running == [False, True]
        store.positions.note(adam.id, Position(4, 30, 120))
        sight = watch.look()
        assert (sight.shares, sight.num_done) == ([1.0, 0.25], 4)
        assert sight.now == [("adam on iris", Position(4, 30, 120))]
        store.record([(spec, complete) for spec in [*adam.specs.values()][:2]], {})
        store.positions.note(adam.id, Position(2, 60, 120))  # the other two train together
        assert watch.look().shares == [1.0, 0.75]
        store.positions.forget(adam.id)
    sight = watch.look()
    assert (sight.shares, sight.running, sight.num_done, sight.now) == ([1.0, 0.5], [False, False], 6, [])


def test_a_position_of_a_killed_training_does_not_count(store: Store, plan: Plan) -> None:
    adam = plan.cells[1]
    store.positions.note(adam.id, Position(4, 60, 120))  # nobody holds the lease
    assert Watch(plan, store).look().shares == [0.0, 0.0]


def test_candidates_of_a_search_are_counted_by_study(store: Store) -> None:
    search = ("+search=random", "search.num_candidates=4", "search.num_seeds=1")
    plan = Plan.of([compose_config(*SIZE, *search, f"optimizer={name}") for name in ("sgd", "adam")])
    link(plan, store, "evalbench")
    watch = Watch(plan, store)
    assert watch.num_trials == 2 * (4 + 4 + 4)  # candidates, default, choice
    study = watch.works[0].portions[0]
    with store.lease(study.key or ""):
        store.positions.note(study.key or "", Position(4, 60, 120))
        first, second = watch.look().shares
    assert 0.0 < first < 0.5
    assert second == 0.0


def test_a_thread_writes_the_position_and_the_training_does_nothing(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PERIOD_SECONDS", 600)
    training, cell_id = Stepping(Position(4, 1, 120)), plan.cells[0].id
    with store.lease(cell_id) as lease, live.follower(lease, store) as follower:
        follower.follow(training)
        training.position = Position(4, 90, 120)
        assert store.positions.of([cell_id]) == {cell_id: None}
        follower.write()
        assert store.positions.of([cell_id]) == {cell_id: Position(4, 90, 120)}
        follower.rest()
        follower.write()
        assert store.positions.of([cell_id]) == {cell_id: None}
        follower.follow(training)
        del training  # an error has ended it, and its memory is free
        follower.write()
        assert store.positions.of([cell_id]) == {cell_id: None}
    assert store.positions.of([cell_id]) == {}


def test_a_failed_cell_is_one_line_once_with_its_log(store: Store, plan: Plan, tmp_path: Path) -> None:
    stream = io.StringIO()
    lines = FailureLines(Console(file=stream, width=300))
    sgd, adam = (list(cell.specs.values()) for cell in plan.cells)
    before = TrialResult(State.FAILED, message="RuntimeError: before", log=str(tmp_path / "old.log"))
    store.record([(spec, before) for spec in sgd], {})
    lines.begin(plan, store)
    failed = TrialResult(State.FAILED, message="RuntimeError: [b]\nno", log=str(tmp_path / "new.log"))
    store.record([(spec, failed) for spec in adam], {})
    lines.look(8)
    lines.look(8)
    lines.tell([{"technique": "adam", "workload": "iris", "factors": {}, "message": failed.message, "log": failed.log}])
    assert stream.getvalue().splitlines() == [
        "FAILED   adam, iris: RuntimeError: [b] no",
        f"         log: {tmp_path / 'new.log'}",
    ]
    lines.tell({"technique": f"t{n}", "workload": "w", "factors": {}, "message": "m", "log": None} for n in range(9))
    assert stream.getvalue().count("FAILED") == 5
    assert lines.num_silent == 5
