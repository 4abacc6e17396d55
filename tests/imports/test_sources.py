"""Read the start and the end of runs from each tracker's files, without changing a file."""

import json
import math
import shutil
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalbench.errors import TableError
from evalbench.imports import load, wandb
from evalbench.tracking.wandb_files import BLOCK_BYTES, CHUNK_HEADER, FILE_HEADER_BYTES, WHOLE


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def by_id(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def offline(path: Path, *records: Mapping[str, Any]) -> Path:
    """Write the file of a W&B run, with one chunk per record."""
    from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
    from wandb.proto import wandb_internal_pb2

    path.parent.mkdir(parents=True)
    data = b":W&B".ljust(FILE_HEADER_BYTES, b"\0")
    for record in records:
        chunk = ParseDict(record, wandb_internal_pb2.Record()).SerializeToString()  # type: ignore[attr-defined]
        checksum = zlib.crc32(chunk, zlib.crc32(bytes([WHOLE])))
        data += CHUNK_HEADER.pack(checksum, len(chunk), WHOLE) + chunk
    assert len(data) < BLOCK_BYTES
    path.write_bytes(data)
    return path


def begin(id: str, at: str = "2026-01-01T00:00:00Z", **config: Any) -> dict[str, Any]:
    changed = [{"key": key, "value_json": json.dumps(value)} for key, value in config.items()]
    return {"run": {"run_id": id, "project": "p", "start_time": at, "config": {"update": changed}}}


def score(value: float) -> dict[str, Any]:
    return {"summary": {"update": [{"nested_key": ["val", "acc"], "value_json": json.dumps(value)}]}}


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ([{"exit": {}}], "finished"),
        ([{"exit": {"exit_code": 1}}], "failed"),
        ([{"exit": {"exit_code": 255}}], "failed"),
        ([{"exit": {"not_complete": True}}], "unfinished"),
        ([{"preempting": {}}], "unfinished"),
        ([], "unfinished"),
    ],
)
@pytest.mark.slow
def test_an_offline_run_has_finished_if_its_file_says_so(tmp_path: Path, end: list[Any], state: str) -> None:
    offline(tmp_path / "a" / "run-r.wandb", begin("r", layers=[64, 64], none=None), score(math.inf), *end)
    (row,) = load("wandb-offline", str(tmp_path))
    assert (row["id"], row["state"], row["summary.val.acc"]) == ("r", state, math.inf)
    assert (row["config.layers"], row["config.none"]) == ([64, 64], None)


def test_copies_of_an_offline_run_differ_in_their_start(tmp_path: Path) -> None:
    for folder, at in (("z", "2026-01-01T00:00:00Z"), ("a", "2026-01-01T00:00:00.500Z")):
        offline(tmp_path / folder / "run-r.wandb", begin("r", at))
    assert [row["started"] % 1 for row in load("wandb-offline", str(tmp_path))] == [0.5, 0]


def test_an_offline_run_that_was_killed_at_once_is_unfinished(tmp_path: Path) -> None:
    offline(tmp_path / "a" / "run-r.wandb")
    assert [(row["id"], row["state"]) for row in load("wandb-offline", str(tmp_path))] == [("r", "unfinished")]


def test_a_value_that_an_offline_run_removed_is_left_out(tmp_path: Path) -> None:
    removed = {"summary": {"remove": [{"nested_key": ["val", "acc"]}]}}
    offline(tmp_path / "a" / "run-r.wandb", begin("r"), score(1.0), removed, {"exit": {}})
    assert "summary.val.acc" not in load("wandb-offline", str(tmp_path))[0]


def test_a_damaged_offline_run_is_refused(tmp_path: Path) -> None:
    path = offline(tmp_path / "a" / "run-r.wandb", begin("r"), score(1.0))
    data = path.read_bytes()
    path.write_bytes(data[:-3] + b"9" + data[-2:])
    with pytest.raises(TableError, match=r"run-r\.wandb is damaged at byte \d+: copy it again$"):
        load("wandb-offline", str(tmp_path))


@pytest.mark.slow
def test_an_online_run_comes_with_its_state_and_nested_summary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import wandb as library

    about = {"name": "n", "group": None, "job_type": None, "created_at": "2026-01-01T00:00:00"}
    run = SimpleNamespace(id="r", state="crashed", config={"a": [1]}, summary_metrics={"acc": {"max": "NaN"}}, **about)
    monkeypatch.setattr(library, "Api", lambda timeout: SimpleNamespace(runs=lambda where, lazy: iter([run])))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    (row,) = wandb.read("entity/project")
    assert (row["state"], row["config.a"], row["summary.acc.max"]) == ("crashed", [1], "NaN")


OLD_SCHEMA = """
create table experiments(experiment_id integer, name text);
create table runs(
    run_uuid text, name text, status text, start_time bigint, experiment_id integer, lifecycle_stage text);
create table params(key text, value text, run_uuid text);
create table tags(key text, value text, run_uuid text);
create table latest_metrics(key text, value float, is_nan boolean, run_uuid text);
insert into experiments values (1, 'theirs'), (2, 'other');
insert into runs values ('a', 'A', 'FINISHED', 1, 1, 'active'), ('b', 'B', 'KILLED', 2, 1, 'active'),
    ('c', 'C', 'SCHEDULED', 3, 1, 'active'), ('d', 'D', 'FINISHED', 4, 1, 'deleted'),
    ('e', 'E', 'FINISHED', 5, 2, 'active'), ('f', 'F', 'FAILED', 6, 1, 'active');
insert into params values ('opt', '[64, 64]', 'a'), ('opt', 'x', 'e');
insert into tags values ('evalbench.run', 'r', 'f'), ('state', 'DIVERGED', 'f'), ('state', 'theirs', 'a');
insert into latest_metrics values ('loss', 1.7976931348623157e308, 0, 'a'), ('loss', 0, 1, 'b'), ('loss', 0, 0, 'c');
"""


@pytest.fixture(params=["delete", "wal"])
def database(request: pytest.FixtureRequest, workspace: Path) -> Path:
    """Return a database of an older MLflow, in each of SQLite's journal modes."""
    path = workspace / "old.db"
    connection = sqlite3.connect(path)
    connection.execute(f"pragma journal_mode={request.param}")
    connection.executescript(OLD_SCHEMA)
    connection.close()
    return path


def test_a_database_of_mlflow_is_read_and_not_changed(workspace: Path, database: Path) -> None:
    before = contents(workspace)
    rows = by_id(load("mlflow", f"sqlite:///{database}/theirs"))
    assert contents(workspace) == before
    states = {"a": "finished", "b": "killed", "c": "scheduled", "f": "failed"}
    assert {id: row["state"] for id, row in rows.items()} == states
    assert (rows["a"]["name"], rows["a"]["config.opt"], rows["a"]["started"]) == ("A", "[64, 64]", 1)
    assert (rows["a"]["summary.loss"], rows["c"]["summary.loss"]) == (1.7976931348623157e308, 0)
    assert math.isnan(rows["b"]["summary.loss"])
    assert rows["f"]["summary.state"] == "DIVERGED"  # evalbench's tracker writes the state as a tag
    assert "summary.state" not in rows["a"]


def test_a_database_is_read_while_another_process_writes(workspace: Path, database: Path) -> None:
    writer = sqlite3.connect(database)
    with writer:
        writer.execute("update runs set status = 'FINISHED' where run_uuid = 'b'")
    before = contents(workspace)
    assert by_id(load("mlflow", f"sqlite:///{database}/theirs"))["b"]["state"] == "finished"
    assert contents(workspace).keys() == before.keys()
    writer.close()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("sqlite:///foreign.db/theirs", r"sqlite:///foreign\.db cannot be read as MLflow's database: .*no such table"),
        ("sqlite:///text.db/theirs", r"sqlite:///text\.db cannot be read as MLflow's database: .*not a database"),
        ("sqlite:///no/no.db/theirs", r"the database sqlite:///no/no\.db does not exist: --from mlflow takes URI/"),
        ("sqlite:///crashed.db/theirs", r"crashed\.db-wal has changes that crashed\.db lacks: open and close"),
        ("mlruns/theirs", r"the folder mlruns does not exist: --from mlflow takes URI/EXPERIMENT"),
        ("sqlite:///foreign.db", r"--from mlflow takes URI/EXPERIMENT, such as .*, not 'sqlite:///foreign\.db'"),
        ("http://localhost:5000", r"--from mlflow takes URI/EXPERIMENT, such as .*, not 'http://localhost:5000'"),
    ],
)
def test_another_programs_files_are_refused_and_unchanged(workspace: Path, where: str, words: str) -> None:
    for name in ("foreign.db", "crashed.db"):
        connection = sqlite3.connect(name)
        connection.execute("create table theirs(a)")
        connection.close()
    connection = sqlite3.connect("crashed.db")
    connection.execute("pragma journal_mode=wal")
    connection.execute("create table more(a)")
    shutil.copy("crashed.db-wal", "copy")
    connection.close()
    Path("copy").rename("crashed.db-wal")
    Path("text.db").write_text("no database " * 100)
    before = contents(workspace)
    with pytest.raises(TableError, match=f"^{words}"):
        load("mlflow", where)
    assert contents(workspace) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's own, of its folders
def test_a_folder_of_mlflow_is_read_and_not_changed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(str(workspace / "mlruns"))
    run = client.create_run(client.create_experiment("theirs")).info.run_id
    client.log_metric(run, "loss", -math.inf)
    client.set_terminated(run, "KILLED")
    shutil.rmtree("mlruns/.trash")  # MLflow creates this folder for each reader
    before = contents(workspace)
    (row,) = load("mlflow", "mlruns/theirs")
    assert (row["state"], row["summary.loss"]) == ("killed", -math.inf)
    with pytest.raises(TableError, match=r"^mlruns has no experiment 'others': it has theirs, Default$"):
        load("mlflow", "mlruns/others")
    assert contents(workspace) == before


def events(folder: Path, name: str, at: float, *summaries: Any) -> Path:
    """Write an event file of TensorBoard."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{name}"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for number, summary in enumerate(summaries):
            event = Event(wall_time=at + number, step=number, summary=summary)
            writer.write(event.SerializeToString())
    return path


def number(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def test_scalars_of_every_format_are_read(tmp_path: Path) -> None:
    import numpy as np
    from tensorboard.plugins.histogram.summary_v2 import histogram_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    before = [number("old", 0.25), number("inf", math.inf), scalar_pb("new", 0.1), scalar_pb("new", 0.2)]
    events(tmp_path, "1", 1.0, *before, histogram_pb("weights", np.arange(3.0), buckets=2))
    (row,) = load("tensorboard", str(tmp_path))
    assert (row["summary.old"], row["summary.inf"]) == (0.25, math.inf)
    assert row["summary.new"] == pytest.approx(0.2)
    assert "summary.weights" not in row
    assert "state" not in row  # the state is not known


@pytest.mark.parametrize(
    ("status", "state"), [("UNKNOWN", None), ("SUCCESS", None), ("FAILURE", "failed"), ("RUNNING", "running")]
)
def test_event_files_tell_a_failure_but_not_a_success(tmp_path: Path, status: str, state: str | None) -> None:
    from tensorboard.plugins.hparams import api_pb2, summary_v2

    end = summary_v2._summary_pb(  # the public function is v1's, which needs TensorFlow
        "_hparams_/session_end_info",
        summary_v2.plugin_data_pb2.HParamsPluginData(
            session_end_info={"status": getattr(api_pb2, f"STATUS_{status}")}, version=0
        ),
    )
    events(tmp_path, "1", 1.0, summary_v2.hparams_pb({"opt": "x", "seed": 3}), end)
    (row,) = load("tensorboard", str(tmp_path))
    assert (row["config.opt"], row["config.seed"], row.get("state")) == ("x", 3, state)


def test_the_event_file_that_began_last_counts(tmp_path: Path) -> None:
    events(tmp_path, "1.host.9", 1.0, number("acc", 0.5), number("first", 1.0))
    events(tmp_path, "1.host.10", 2.0, number("acc", 0.75))  # first in the order of names
    (row,) = load("tensorboard", str(tmp_path))
    assert (row["summary.acc"], row["summary.first"], row["started"]) == (0.75, 1.0, 2.0)


def test_the_latest_of_equal_settings_below_a_run_counts(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    events(tmp_path / "run", "1", 1.0, number("acc", 0.5))
    for folder, at in (("9", 1.0), ("10", 2.0)):
        events(tmp_path / "run" / folder, "1", at, hparams_pb({"opt": "x"}), number("hp", at))
    (row,) = load("tensorboard", str(tmp_path))
    assert (row["id"], row["config.opt"], row["summary.hp"]) == ("run", "x", 2.0)
    events(tmp_path / "run" / "11", "1", 3.0, hparams_pb({"opt": "y"}))  # these are runs of their own
    assert {row["id"] for row in load("tensorboard", str(tmp_path))} == {"run", "run/9", "run/10", "run/11"}


def test_an_event_file_that_was_cut_off_is_unfinished_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = events(tmp_path, "1", 1.0, number("acc", 0.5), number("acc", 0.75))
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    (row,) = load("tensorboard", str(tmp_path))
    assert (row["summary.acc"], row["state"]) == (0.5, "unfinished")
    for position in (len(data) // 2 + 1, len(data) - 8):  # in a length, and in the contents of a record
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(TableError, match=r"tfevents\.1 is damaged at byte \d+: copy it again, or leave it out$"):
            load("tensorboard", str(tmp_path))


def test_a_run_of_evalbench_without_an_end_is_running(tmp_path: Path) -> None:
    from contracts.tracker import RUN
    from evalbench.tracking.tensorboard import TensorBoardTracker

    tracker = TensorBoardTracker(str(tmp_path))
    tracker.record(replace(RUN, running=True, summary={}))
    tracker.close()
    assert load("tensorboard", str(tmp_path))[0]["state"] == "running"
