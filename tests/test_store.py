import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from evalbench.errors import ConfigError, LeaseLostError
from evalbench.store import Lease, Link, Store
from evalbench.trial import CurvePoint, State, TrialResult, TrialSpec

SPECS = [TrialSpec("digits", {"optimizer": {"lr": 0.1}}, 0, seed) for seed in range(3)]
IDS = [spec.trial_id() for spec in SPECS]
COMPLETE = TrialResult(
    State.COMPLETE,
    {"test/accuracy": 1 / 3},
    (CurvePoint(1.0, 34, 0.1 + 0.2, 1e-300, 0.5),),
    best_epoch=1.0,
    steps=34,
    examples=1078,
    flops=10**12,
    parameters=9,
    num_train=10,
    num_test=5,
)
FAILED = TrialResult(State.FAILED, message="RuntimeError: no", log="job.log")
PROVENANCE = {"commit": "abc"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/er/store.sqlite"


def test_what_is_written_is_read_back_exactly(url: str) -> None:
    Store(url).record([(SPECS[0], COMPLETE), (SPECS[1], FAILED)], PROVENANCE)
    trials = Store(url).trials(IDS)
    assert [trial.result for trial in trials.values()] == [COMPLETE, FAILED]
    first = trials[IDS[0]]
    assert (first.workload, first.seed, first.settings, first.provenance) == (
        "digits",
        0,
        SPECS[0].settings,
        PROVENANCE,
    )


def test_unknown_and_failed_trials_are_missing_and_a_retry_replaces_the_failure(url: str) -> None:
    store = Store(url)
    store.record([(SPECS[0], COMPLETE), (SPECS[1], FAILED)], PROVENANCE)
    assert store.missing(IDS) == IDS[1:]
    store.record([(SPECS[1], COMPLETE)], PROVENANCE)
    assert store.missing(IDS) == IDS[2:]


def test_evaluations_link_to_trials_that_they_share(url: str) -> None:
    store = Store(url)
    store.record([(spec, COMPLETE) for spec in SPECS], PROVENANCE)
    store.link("one", {"question": "?"}, [Link(trial_id, "adam", {}) for trial_id in IDS])
    store.link("two", {}, [Link(IDS[2], "0.1", {"activation": "relu"})])
    store.link("two", {"new": 1}, [Link(trial_id, "0.1", {"activation": "relu"}) for trial_id in reversed(IDS[:2])])
    assert store.links("one") == [Link(trial_id, "adam", {}) for trial_id in IDS]
    assert [link.trial_id for link in store.links("two")] == IDS[1::-1]
    assert store.links("one", [IDS[1]]) == [Link(IDS[1], "adam", {})]
    assert store.design("two") == {"new": 1}
    assert store.count_states("one") == {State.COMPLETE: 3}


def test_mirrors_are_told_apart_by_evaluation_and_tracker(url: str) -> None:
    store = Store(url)
    store.record([(SPECS[0], COMPLETE), (SPECS[1], FAILED), (SPECS[2], COMPLETE)], PROVENANCE)
    store.link("one", {}, [Link(trial_id, "adam", {}) for trial_id in IDS])
    assert store.unmirrored("one", "wandb") == [IDS[0], IDS[2]]  # a failed trial is nothing to look at
    store.note_mirrored("one", [IDS[0]], "wandb")
    store.note_mirrored("one", [IDS[0]], "wandb")
    assert store.unmirrored("one", "wandb") == [IDS[2]]
    assert store.unmirrored("one", "other") == [IDS[0], IDS[2]]


def test_reference_rows_are_written_once(url: str) -> None:
    store = Store(url)
    store.record_references("w", {(0, "linear"): {"test/accuracy": 0.5}})
    store.record_references("w", {(0, "linear"): {"test/accuracy": 0.9}, (1, "linear"): {"test/accuracy": 0.6}})
    assert store.references("w") == {(0, "linear"): {"test/accuracy": 0.5}, (1, "linear"): {"test/accuracy": 0.6}}
    assert store.references("other") == {}


@pytest.mark.parametrize("bad", ["nonsense", "sqlite:////proc/none/store.sqlite", "oracle+none://x/y"])
def test_a_database_that_cannot_be_opened_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"^store\.url must be a database that can be opened"):
        Store(bad)


def test_a_new_store_may_be_opened_while_another_process_makes_it(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.1, other.execute, ["COMMIT"])
    end.start()
    Store(f"sqlite:///{tmp_path}/store.sqlite").close()
    end.join()
    other.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(ConfigError, match=r"store\.url"):
        Store(f"sqlite:///{tmp_path}/store.sqlite")


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def leases(url: str, seconds: float) -> tuple[Lease, Lease]:
    one, two = Store(url), Store(url)
    return Lease(one._engine, "cell", seconds), Lease(two._engine, "cell", seconds)


def test_one_owner_at_a_time(url: str) -> None:
    one, two = leases(url, 60)
    assert one.claim()
    assert not two.claim()
    one.release()
    assert two.claim()
    one.release()  # releasing what is no longer held does nothing
    assert not one.claim()


def test_a_lease_that_is_not_renewed_expires_and_its_results_are_refused(url: str) -> None:
    one, two = leases(url, 0.05)
    assert one.claim()
    time.sleep(0.1)
    assert two.claim()
    with pytest.raises(LeaseLostError):
        Store(url).record([(SPECS[0], COMPLETE)], PROVENANCE, one)
    assert Store(url).missing(IDS) == IDS


def test_a_renewed_lease_holds(url: str) -> None:
    store = Store(url)
    one, two = leases(url, 0.05)
    assert one.claim()
    one._seconds = 60
    store.record([(SPECS[0], COMPLETE)], PROVENANCE, one)
    time.sleep(0.1)
    assert not two.claim()


def test_the_lease_of_a_dead_process_on_this_machine_is_free_at_once(url: str) -> None:
    one, two = leases(url, 60)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    one.owner = one.owner.replace(f":{os.getpid()}:", f":{process.pid}:")
    assert one.claim()
    assert two.claim()


def test_waiting_ends_when_the_cell_is_free(url: str) -> None:
    one, _ = leases(url, 0.3)
    assert one.claim()
    with Store(url).lease("cell", poll_seconds=0.05) as lease:
        assert lease.owner != one.owner
    assert one.claim()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("state", "PAUSED", "states of trials .*'PAUSED'"),
        ("result", "{", "JSON"),
        ("result", "{}", "results .*'curve'"),
        ("result", '{"curve": [], "mood": 1}', "results .*mood"),
    ],
)
def test_a_row_that_another_program_wrote_is_refused(url: str, column: str, value: str, words: str) -> None:
    store = Store(url)
    store.record([(SPECS[0], COMPLETE)], PROVENANCE)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute(f"update trials set {column} = ?", [value])
    connection.close()
    with pytest.raises(ConfigError, match=f"store.url must hold {words}.*: a newer version wrote it"):
        store.trials(IDS)
    if column == "state":
        with pytest.raises(ConfigError, match=words):
            store.missing(IDS)


def test_another_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table mine (a)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="must be a store"):
        Store(f"sqlite:///{path}", make=False)
    assert path.read_bytes() == before
