import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa

from evalbench.errors import ConfigError, LeaseLostError, StorageError
from evalbench.store import Lease, Link, Store, database
from evalbench.trial import CurvePoint, State, TrialResult, TrialSpec
from postgresql import Server

T = TypeVar("T")
SPECS = [TrialSpec("digits", {"optimizer": {"lr": 0.1}}, 0, seed) for seed in range(3)]
IDS = [spec.trial_id for spec in SPECS]
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


@pytest.fixture(params=["sqlite", "postgresql"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/er/store.sqlite"
    server: Server = request.getfixturevalue("server")
    return server.new_database()


@pytest.mark.slow
def test_written_trials_are_read_back_exactly(url: str) -> None:
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


@pytest.mark.slow
def test_unknown_and_failed_trials_are_missing_and_a_retry_replaces_the_failure(url: str) -> None:
    store = Store(url)
    store.record([(SPECS[0], COMPLETE), (SPECS[1], FAILED)], PROVENANCE)
    assert store.missing(IDS) == IDS[1:]
    store.record([(SPECS[1], COMPLETE)], PROVENANCE)
    assert store.missing(IDS) == IDS[2:]


@pytest.mark.slow
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


def test_mirrors_are_kept_by_evaluation_and_tracker(url: str) -> None:
    store = Store(url)
    store.record([(SPECS[0], COMPLETE), (SPECS[1], FAILED), (SPECS[2], COMPLETE)], PROVENANCE)
    store.link("one", {}, [Link(trial_id, "adam", {}) for trial_id in IDS])
    assert store.unmirrored("one", "wandb") == [IDS[0], IDS[2]]  # trackers get no failed trial
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


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(ConfigError, match=r"store\.url"):
        Store(f"sqlite:///{tmp_path}/store.sqlite")


def side_by_side(count: int, work: Callable[[int], T]) -> list[T]:
    """Run a function in threads that start together; return all results, or raise the first error."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


@pytest.mark.slow
def test_eight_processes_create_the_tables_and_write_the_same_rows_at_once(url: str) -> None:
    links = [Link(f"trial{n}", "adam", {}) for n in range(100)]
    costs = {f"cell{n}": [{"step_seconds": 1.0}] for n in range(20)}

    def work(number: int) -> None:
        store = Store(url)
        orders = [links, links[::-1]]
        for _ in range(3):
            store.link("one", {}, orders[number % 2])
            store.describe("one", {"number": number})
            store.add_links("one", [Link("added", "adam", {})])
            store.record([(spec, FAILED) for spec in SPECS[:: 1 - 2 * (number % 2)]], PROVENANCE)
            store.record_references("w", {(0, "linear"): {"a": 0.5}, (0, "trivial"): {"a": 0.1}})
            store.record_costs(costs, "machine")
        store.close()

    side_by_side(8, work)
    store = Store(url)
    linked = [link.trial_id for link in store.links("one")]
    assert sorted(linked) == sorted({*linked, *(link.trial_id for link in links)})
    assert store.costs(list(costs), "machine") == costs  # all rows of one process
    assert len(store.trials(IDS)) == 3


def test_one_of_eight_processes_claims_a_free_cell(url: str) -> None:
    store = Store(url)
    assert sum(side_by_side(8, lambda _: Lease(store._engine, "cell").claim())) == 1


@pytest.mark.slow
def test_the_store_waits_for_a_server_that_restarts(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    url = server.new_database()
    store = Store(url)
    server.stop()
    with ThreadPoolExecutor() as pool:
        written = pool.submit(store.record, [(SPECS[0], COMPLETE)], PROVENANCE)
        opened = pool.submit(Store, url, patient=True)  # a job that starts during the outage
        with pytest.raises(ConfigError, match=r"^store\.url must be a database that can be opened"):
            Store(url)  # at the start of a command the URL may be mistyped
        server.start()
        written.result()
        assert opened.result().states(IDS) == {IDS[0]: State.COMPLETE}
    server.restart()  # this closes open connections
    assert store.missing(IDS) == IDS[1:]
    assert "does not answer (" in caplog.text
    assert "trying for 300 s" in caplog.text


@pytest.mark.slow
def test_a_server_that_stays_away_is_a_storage_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(server.new_database().replace("evalbench@", "evalbench:secret@"))
    monkeypatch.setattr(database, "OUTAGE_SECONDS", 0.0)
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.01)
    server.stop()
    try:
        with pytest.raises(StorageError, match=r"nothing is lost, the same command goes on") as caught:
            store.states(IDS)
    finally:
        server.start()
    assert "secret" not in str(caught.value)
    assert store.states(IDS) == {}


def test_a_full_disk_is_a_storage_error_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    store.record([(SPECS[0], COMPLETE)], PROVENANCE)
    sa.event.listen(store._engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
    store.close()
    with pytest.raises(StorageError, match="database or disk is full: nothing is lost"):
        store.record([(spec, replace(COMPLETE, message="x" * 10**6)) for spec in SPECS[1:]], PROVENANCE)
    assert store.missing(IDS) == IDS[1:]


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def leases(url: str, seconds: float) -> tuple[Lease, Lease]:
    first, second = Store(url), Store(url)
    return Lease(first._engine, "cell", seconds), Lease(second._engine, "cell", seconds)


def test_one_owner_at_a_time(url: str) -> None:
    first, second = leases(url, 60)
    assert first.claim()
    assert not second.claim()
    first.release()
    assert second.claim()
    first.release()  # releasing a lost lease does nothing
    assert not first.claim()


def test_a_lease_that_is_not_renewed_expires_and_its_results_are_refused(url: str) -> None:
    first, second = leases(url, 0.05)
    assert first.claim()
    time.sleep(0.1)
    assert second.claim()
    with pytest.raises(LeaseLostError):
        Store(url).record([(SPECS[0], COMPLETE)], PROVENANCE, first)
    assert Store(url).missing(IDS) == IDS


@pytest.mark.slow
def test_a_renewed_lease_holds(url: str) -> None:
    store = Store(url)
    first, second = leases(url, 0.05)
    assert first.claim()
    first._seconds = 60
    store.record([(SPECS[0], COMPLETE)], PROVENANCE, first)
    time.sleep(0.1)
    assert not second.claim()


def test_the_lease_of_a_dead_process_on_this_machine_is_free_at_once(url: str) -> None:
    first, second = leases(url, 60)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    first.owner = first.owner.replace(f":{os.getpid()}:", f":{process.pid}:")
    assert first.claim()
    assert second.claim()


def test_waiting_ends_when_the_cell_is_free(url: str) -> None:
    first, _ = leases(url, 0.3)
    assert first.claim()
    with Store(url).lease("cell", poll_seconds=0.05) as lease:
        assert lease.owner != first.owner
    assert first.claim()


def test_a_lease_far_in_the_future_warns_about_clocks_and_is_taken_if_nobody_renews_it(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = leases(url, 0.05)
    first.owner = "elsewhere:17:0"
    first._seconds = 10 * 365 * 86400
    assert first.claim()
    first._seconds = 0.05
    assert not second.claim()
    assert "process 17 on elsewhere" in caplog.text
    assert "the clock of elsewhere is wrong, or that of this machine" in caplog.text
    time.sleep(0.06)
    with first._engine.begin() as connection:
        first.renew(connection)  # with the right clock it is an ordinary lease again
    assert not second.claim()
    time.sleep(0.15)
    assert second.claim()


def test_a_server_keeps_the_time_of_leases(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = leases(server.new_database(), 60)
    assert first.claim()
    monkeypatch.setattr(time, "time", lambda: 1e12)  # this machine's clock is wrong
    assert not second.claim()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("state", "PAUSED", "states of trials .*'PAUSED'"),
        ("result", "{", "JSON"),
        ("result", "{}", "results .*'curve'"),
        ("result", '{"curve": [], "mood": 1}', "results .*mood"),
    ],
)
def test_a_row_that_another_program_wrote_is_refused(tmp_path: Path, column: str, value: str, words: str) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    store.record([(SPECS[0], COMPLETE)], PROVENANCE)
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute(f"update trials set {column} = ?", [value])
    connection.close()
    with pytest.raises(ConfigError, match=f"store.url must hold {words}.*: a newer version wrote it"):
        store.trials(IDS)
    if column == "state":
        with pytest.raises(ConfigError, match=words):
            store.missing(IDS)


def test_another_programs_database_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table mine (a)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="must be a store"):
        Store(f"sqlite:///{path}", make=False)
    assert path.read_bytes() == before
