"""The records that trackers get from the store."""

import os
import re
from pathlib import Path

import pytest

from conftest import compose_config
from evalbench import cell as cells
from evalbench import live, sync
from evalbench.cell import Cell
from evalbench.errors import InputError
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.mirror import Mirror
from evalbench.store import Store
from evalbench.tracking import MemoryTracker, Run, libraries
from evalbench.tracking.csv import read_rows
from evalbench.trial import CurvePoint

SMALL = ("dataset=iris", "budget.epochs=2", "model.width=8", "num_seeds=3", "tracker=csv", "evaluation.name=e")


@pytest.fixture
def store(workspace: Path) -> Store:
    return Store(f"sqlite:///{workspace}/store.sqlite")


def linked(store: Store, *overrides: str) -> Cell:
    """Return an untrained cell of an evaluation."""
    plan = Plan.of([compose_config(*SMALL, f"reports={Path.cwd()}/reports", *overrides)])
    link(plan, store, "command")
    return plan.cells[0]


def mirror_of(store: Store, tracker: MemoryTracker) -> Mirror:
    return Mirror(store, "e", "csv", tracker)


def names(tracker: MemoryTracker) -> list[str]:
    return [run.name for run in tracker.runs.values()]


class BrokenTracker(MemoryTracker):
    """Take two runs and then raise."""

    def record(self, run: Run) -> None:
        if len(self.runs) == 2:
            raise ConnectionError("the other side hung up")
        super().record(run)


def test_every_trial_is_mirrored_once_with_its_stored_values(store: Store) -> None:
    cell, tracker, again = linked(store), MemoryTracker(), MemoryTracker()
    cells.run(cell, store)
    assert mirror_of(store, tracker).send() == 3
    assert mirror_of(store, again).send() == 0
    assert not again.runs
    trials = store.trials(list(cell.specs))
    assert names(tracker) == [f"mlp-adam-iris-s{seed}" for seed in range(3)]
    for run, trial in zip(tracker.runs.values(), trials.values(), strict=True):
        assert (run.group, run.job_type, run.config["trial"]) == ("e", "mlp-adam", trial.id)
        assert [point["val/accuracy"] for point in run.curve] == [point.val_score for point in trial.result.curve]
        assert run.summary["test/accuracy"] == run.summary["score"] == trial.result.metrics["test/accuracy"]


def test_the_id_of_a_run_follows_the_settings_of_its_trial(store: Store) -> None:
    tracker = MemoryTracker()
    for width in (8, 8, 16):
        cells.run(linked(store, f"model.width={width}", "num_seeds=1"), store)
        mirror_of(store, tracker).send()
    assert names(tracker) == ["mlp-adam-iris-s0"] * 2
    assert [run.config["width"] for run in tracker.runs.values()] == [8, 16]
    assert all(re.fullmatch(r"mlp-adam-iris-s0-[0-9a-f]{8}", id) for id in tracker.runs)


def test_a_run_can_be_filtered_by_flat_values(store: Store) -> None:
    cell, tracker = (
        linked(store, "activation=tanh", "model.depth=3", "optimizer=sgd", "optimizer.lr=0.2"),
        MemoryTracker(),
    )
    cells.run(cell, store)
    mirror_of(store, tracker).send()
    (config,) = [run.config for run in tracker.runs.values() if run.name == "mlp-sgd-iris-s1"]
    flat = {
        "optimizer": "sgd",
        "lr": 0.2,
        "batch_size": 1,
        "activation": "tanh",
        "model": "mlp",
        "depth": 3,
        "width": 8,
    }
    flat |= {"data": "species of iris from 4 measurements of a flower"}
    flat |= {"dataset": "iris", "seed": 1, "epochs": 2, "technique": "mlp-sgd", "evaluation": "e"}
    assert {key: config[key] for key in flat} == flat
    assert config["tree"]["optimizer"]["lr"] == 0.2
    assert not {"store", "tracker", "reports"} & config["tree"].keys()


def test_runs_that_a_broken_tracker_refused_are_sent_the_next_time(store: Store) -> None:
    cells.run(linked(store), store)
    healthy = MemoryTracker()
    with pytest.raises(ConnectionError):
        mirror_of(store, BrokenTracker()).send()
    assert mirror_of(store, healthy).waiting() == 1
    mirror_of(store, healthy).send()
    assert names(healthy) == ["mlp-adam-iris-s2"]


def test_a_cohort_in_training_shows_its_first_run_and_live_all_runs(store: Store) -> None:
    for override, seen in (("tracker.live=false", ["s0"]), ("tracker.live=true", ["s0", "s1"])):
        cell, tracker = linked(store, override), MemoryTracker()
        mirror = mirror_of(store, tracker)
        mirror.follow()
        assert not tracker.runs
        first, second, _ = cell.specs
        with store.lease(cell.id):
            store.add_points(
                {first: [CurvePoint(1.0, 3, 0.9, 0.8, 0.5)], second: [CurvePoint(1.0, 3, 0.9, 0.8, 0.5)]}, 0
            )
            store.add_points({second: [CurvePoint(3.0, 9, 0.9, 0.8, 0.5)]}, 2)  # the point before it is missing
            mirror.follow()
            mirror.follow()
        assert names(tracker) == [f"mlp-adam-iris-{name}" for name in seen]
        assert all(run.running for run in tracker.runs.values())
        processes = [run.process for run in tracker.runs.values()]
        assert processes == [os.getpid(), None][: len(seen)]
        assert {len(run.curve) for run in tracker.runs.values()} == {1 if len(seen) > 1 else 0}


def test_training_writes_its_curves_validation_by_validation(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = linked(store, "tracker.live=true", "budget.epochs=4")
    told: list[tuple[int, dict[str, list[CurvePoint]]]] = []
    monkeypatch.setattr(store, "add_points", lambda curves, first: told.append((first, curves)))
    cells.run(cell, store)
    assert [first for first, _ in told] == [0, 1, 2, 3]
    for trial_id, trial in store.trials(list(cell.specs)).items():
        assert [point for _, curves in told for point in curves[trial_id]] == list(trial.result.curve)


def test_points_are_removed_when_training_has_ended(store: Store) -> None:
    cell = linked(store, "tracker.live=true")
    with live.watch(cell.config, list(cell.specs), store) as watch:
        assert watch is not None
        watch({next(iter(cell.specs)): [CurvePoint(1.0, 3, 0.9, 0.8, 0.5)]}, 0)
    assert not store.points(list(cell.specs))
    with live.watch(linked(store).config, list(cell.specs), store) as unwatched:
        assert unwatched is None


def test_nothing_is_watched_without_a_tracker(store: Store) -> None:
    cell = linked(store, "tracker=none", "tracker.live=true")
    with live.watch(cell.config, list(cell.specs), store) as watch:
        assert watch is None


def test_sync_sends_missing_trials_from_the_store(
    store: Store, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.run(linked(store), store)
    url = f"sqlite:///{workspace}/store.sqlite"
    assert sync.main(["--store", url]) == 0
    assert capsys.readouterr().out == "e, csv: 3 trials sent\n"
    assert len(read_rows(workspace / "outputs/csv/runs.csv")) == 3
    assert sync.main(["e", "--store", url]) == 0
    assert capsys.readouterr().out == "e, csv: 0 trials sent\n"
    assert sync.main(["f", "--store", url]) == 2
    assert capsys.readouterr().err == "error: the store has no evaluation 'f': it has e\n"
    assert sync.main(["--store", "sqlite:///none.sqlite"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no store none.sqlite: change to its folder")
    assert not (workspace / "none.sqlite").exists()


def test_sync_reports_missing_trials(store: Store, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "outputs").mkdir()
    (workspace / "outputs" / "csv").write_text("a file where a folder should be")
    cells.run(linked(store), store)
    assert sync.main(["e", "--store", f"sqlite:///{workspace}/store.sqlite"]) == 1
    assert "e, csv: 0 trials sent; 3 are still missing (NotADirectoryError" in capsys.readouterr().out


@pytest.mark.slow
def test_sync_goes_on_if_a_tracker_cannot_be_built(
    store: Store, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.run(linked(store, "tracker=[trackio,csv]"), store)
    monkeypatch.setattr(libraries, "find_spec", lambda library: None)
    assert sync.main(["--store", f"sqlite:///{workspace}/store.sqlite"]) == 1
    missing, sent = capsys.readouterr().out.splitlines()
    assert missing.startswith("e, trackio: nothing sent; tracker=trackio needs the package trackio")
    assert sent == "e, csv: 3 trials sent"


def test_a_tracker_that_the_evaluation_does_not_have_is_refused(store: Store) -> None:
    linked(store)
    with pytest.raises(InputError, match="e has no tracker 'wandb': it has csv"):
        Mirror(store, "e", "wandb")
