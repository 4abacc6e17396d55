"""Write with every tracker's real library, and read its files back."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from wandb.errors import CommError

from contracts.tracker import REPORT, RUN, TrackerContract, drawn
from evalbench.errors import ConfigError
from evalbench.tracking import MemoryTracker, Run, Table, Tracker
from evalbench.tracking import mlflow as mlflow_tracker
from evalbench.tracking import wandb as wandb_tracker
from evalbench.tracking.csv import CsvTracker, read_rows
from evalbench.tracking.libraries import require
from evalbench.tracking.mlflow import GROUP, ID, JOB_TYPE, SUMMARY, TAGS, MlflowTracker
from evalbench.tracking.tensorboard import ABOUT, TensorBoardTracker
from evalbench.tracking.tracker import numbers
from evalbench.tracking.trackio import STEP, TrackioTracker
from evalbench.tracking.wandb import WandbTracker
from evalbench.tracking.wandb_files import OfflineRun, read
from wandb_server import WandbServer

SHARED = Path(tempfile.gettempdir()) / f"evalbench-trackers-{os.getpid()}"
"""A folder for libraries that allow one folder per process, or need seconds to create a database."""


@pytest.fixture(autouse=True, scope="module")
def _clean() -> Iterator[None]:
    yield
    shutil.rmtree(SHARED, ignore_errors=True)


def in_order(point: dict[str, Any]) -> dict[str, Any]:
    return {key: point[key] for key in ("epoch", "step", "train/loss", "val/loss", "val/accuracy") if key in point}


class TestMemory(TrackerContract):
    @pytest.fixture(autouse=True)
    def _shared_tracker(self) -> None:
        self.tracker = MemoryTracker()

    def make(self, folder: Path) -> Tracker:
        return self.tracker

    def read(self, folder: Path) -> Sequence[Run]:
        runs = self.tracker.runs.values()
        return [Run(**{**vars(r), "summary": {k: v for k, v in r.summary.items() if v is not None}}) for r in runs]

    def read_reports(self, folder: Path) -> Sequence[str]:
        return [conclusion.files[0].read_text() for conclusion in self.tracker.conclusions.values()]


def offline_runs(folder: Path) -> list[OfflineRun]:
    return [read(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


@pytest.mark.slow
class TestWandb(TrackerContract):
    def make(self, folder: Path) -> Tracker:
        return WandbTracker("evalbench", None, "offline", str(folder / "runs"))

    def read(self, folder: Path) -> Sequence[Run]:
        return [self.as_run(run) for run in offline_runs(folder / "runs") if run.job_type != "evaluation"]

    def as_run(self, run: OfflineRun) -> Run:
        assert run.ended
        curve = [{key.removeprefix("x/"): value for key, value in point.items()} for point in run.curve]
        summary = {key: value for key, value in run.summary.items() if key.removeprefix("x/") not in RUN.curve[0]}
        about = (run.id, run.name, run.group, run.job_type, tuple(run.tags), run.notes, run.config)
        return Run(*about, [in_order(point) for point in curve], summary, "", True)

    def read_reports(self, folder: Path) -> Sequence[str]:
        runs = [run for run in offline_runs(folder / "runs") if run.job_type == "evaluation"]
        artifacts = [artifact for run in runs for artifact in run.artifacts if artifact["type"] == "report"]
        paths = ("figures/scores.png", "report.md", "results.csv")
        assert {tuple(sorted(artifact["paths"])) for artifact in artifacts} == {paths}
        assert {tuple(artifact["metadata"]["runs"]) for artifact in artifacts} == {(RUN.id,)}
        kept = [path.read_text() for path in folder.glob("wandb-data/**/staging/*") if b"Adopt" in path.read_bytes()]
        return kept[: len(artifacts)]


@pytest.mark.slow
def test_wandb_curves_have_a_declared_axis_and_a_best_value(workspace: Path) -> None:
    tracker = WandbTracker("evalbench", None, "offline", str(workspace))
    for axis in ("epoch", "step"):
        tracker.record(replace(RUN, id=f"in-{axis}s", axis=axis))
    runs = offline_runs(workspace)
    assert {run.id for run in runs} == {"in-epochs", "in-steps"}
    for run in runs:
        axes = {run.axes[name] for name in ("train/*", "val/*", "val/loss", "val/accuracy")}
        assert axes == {"x/" + run.id.removeprefix("in-").removesuffix("s")}
        assert run.hidden == {"x/epoch", "x/step"}
        assert (run.summary["val/loss"], run.summary["val/accuracy"]) == ({"min": 0.5}, {"max": 0.8})
        assert run.num_stats == 0


@pytest.mark.slow
def test_wandb_samples_the_machine_for_the_first_run_of_a_cohort(workspace: Path) -> None:
    tracker = WandbTracker("evalbench", None, "offline", str(workspace))
    tracker.record(Run(**{**vars(RUN), "running": True, "process": os.getpid()}))
    time.sleep(1.5)  # W&B takes a sample at the start, and then at intervals
    tracker.record(RUN)
    (run,) = offline_runs(workspace)
    assert run.num_stats >= 1


@pytest.mark.slow
def test_wandb_shows_tables_and_figures(workspace: Path) -> None:
    WandbTracker("evalbench", None, "offline", str(workspace)).conclude(drawn(workspace / "report"))
    (run,) = offline_runs(workspace)
    assert (run.id, run.name, run.group) == ("report-optimizers", "report", "optimizers")
    assert run.job_type == "evaluation"
    assert run.summary["ring/adam"] == "ADOPT"
    assert {name.split(".")[0] for point in run.curve for name in point} == {"figures/scores"}  # no table, no curve
    assert run.summary["verdicts"]["nrows"] == 2
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in workspace.rglob("*.table.json")}
    assert tables["verdicts"]["columns"] == ["technique", "ring", "effect"]
    assert tables["results"]["data"] == [["sgd", 0, 0.5], ["adam", 0, 0.75]]
    assert [path.name.split("_")[0] for path in workspace.rglob("files/media/images/figures/*.png")] == ["scores"]


@pytest.mark.slow
def test_wandb_keeps_the_tables_of_a_run(workspace: Path) -> None:
    table = Table(("candidate", "optimizer.batch_size", "val/accuracy"), [[0, "full", 0.5], [1, 32, 0.75]])
    WandbTracker("evalbench", None, "offline", str(workspace)).record(replace(RUN, tables={"candidates": table}))
    (run,) = offline_runs(workspace)
    assert (run.summary["candidates"]["nrows"], len(run.curve)) == (2, len(RUN.curve))
    (path,) = workspace.rglob("candidates*.table.json")
    assert json.loads(path.read_text())["data"] == table.rows


def test_wandb_refuses_an_unknown_mode() -> None:
    with pytest.raises(ConfigError, match=r"^tracker\.wandb\.mode must be one of offline, online, disabled, not 'on'"):
        WandbTracker("evalbench", None, "on", "runs")


@pytest.mark.slow
def test_wandb_online_sends_each_run_once_and_notices_what_the_server_refuses(
    workspace: Path, wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> WandbTracker:
        return WandbTracker("evalbench", None, "online", str(workspace / "runs"))

    first = make()
    first.record(replace(RUN, curve=RUN.curve[:1], running=True))
    first.close()  # the sweep was stopped; a later one resumes the run
    for _ in range(2):
        make().record(RUN)
    tracker = make()
    tracker.conclude(drawn(workspace / "report"))
    run, report = wandb_server.runs.values()
    assert (run.id, run.fields["displayName"], run.fields["groupName"]) == (RUN.id, RUN.name, RUN.group)
    assert run.curve("x/epoch", "val/loss") == [{"x/epoch": 1, "val/loss": 0.5}, {"x/epoch": 2, "val/loss": 0.6}]
    assert (run.summary["test/accuracy"], run.summary["state"], run.exit_code) == (0.97, "COMPLETE", 0)
    assert report.id == "report-optimizers"
    files = wandb_server.artifacts["optimizers-report"]
    assert files["report.md"].decode() == REPORT
    assert files.keys() >= {"results.csv", "figures/scores.png"}

    monkeypatch.setattr(wandb_tracker, "CONFIRM_SECONDS", 0.5)
    wandb_server.faults["file_stream"] = 404  # W&B itself finishes such a run without an error
    with pytest.raises(ConnectionError, match=r"the server did not take all of lab/evalbench/other: .* running"):
        tracker.record(replace(RUN, id="other", name="other"))
    wandb_server.faults = {"CreateArtifact": 400}
    with pytest.raises(ValueError, match="fault 400"):
        tracker.conclude(drawn(workspace / "report"))
    wandb_server.faults = {"*": 401}
    with pytest.raises(CommError, match="401"):
        make().record(RUN)
    assert not wandb_server.unknown


class TestCsv(TrackerContract):
    def make(self, folder: Path) -> Tracker:
        return CsvTracker(str(folder / "runs"))

    def read(self, folder: Path) -> Sequence[Run]:
        return [self.as_run(row, folder / "runs") for row in read_rows(folder / "runs" / "runs.csv")]

    def as_run(self, row: dict[str, str], folder: Path) -> Run:
        curve = [{k: float(v) for k, v in point.items()} for point in read_rows(folder / "curves" / f"{row['id']}.csv")]
        config: dict[str, Any] = {}
        for key, text in row.items():
            *parents, name = key.removeprefix("config.").split(".")
            group = config
            if key.startswith("config."):
                for parent in parents:
                    group = group.setdefault(parent, {})
                group[name] = json.loads(text)
        summary = {k.removeprefix("summary."): json.loads(v) for k, v in row.items() if k.startswith("summary.")}
        tags = tuple(json.loads(row["tags"]))
        return Run(
            row["id"], row["name"], row["group"], row["job_type"], tags, row["notes"], config, curve, summary, "", True
        )

    def read_reports(self, folder: Path) -> Sequence[str]:
        return [path.read_text() for path in folder.glob("runs/evaluations/*/report.md")]


class TestTensorBoard(TrackerContract):
    keeps_steps = False

    def make(self, folder: Path) -> Tracker:
        return TensorBoardTracker(str(folder / "runs"))

    def loaded(self, folder: Path) -> Iterator[Any]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        for path in sorted((folder / "runs").glob("*/*")):
            events = EventAccumulator(str(path), size_guidance={"tensors": 0, "images": 0})
            events.Reload()
            yield events

    def text(self, events: Any, tag: str) -> str:
        return str(events.Tensors(tag)[-1].tensor_proto.string_val[0].decode())

    def read(self, folder: Path) -> Sequence[Run]:
        return [self.as_run(e) for e in self.loaded(folder) if ABOUT in e.Tags()["tensors"]]

    def as_run(self, events: Any) -> Run:
        about = json.loads(self.text(events, ABOUT).removeprefix("```json").removesuffix("```"))
        points: dict[int, dict[str, Any]] = {}
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                points.setdefault(event.step, {"epoch": event.step})[tag] = event.value
        summary = {key: value for key, value in about["summary"].items() if value is not None}
        shown = self.shown_in_hparams(events)
        assert (shown["test/accuracy"], shown["state"]) == (summary["test/accuracy"], summary["state"])
        about |= {"tags": tuple(about["tags"]), "summary": summary, "curve": list(points.values())}
        return Run(**about, score="", maximize=True)

    def shown_in_hparams(self, events: Any) -> dict[str, Any]:
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        (content,) = events.PluginTagToContent("hparams").values()
        values = HParamsPluginData.FromString(content).session_start_info.hparams
        return {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}

    def read_reports(self, folder: Path) -> Sequence[str]:
        runs = [events for events in self.loaded(folder) if "report" in events.Tags()["tensors"]]
        assert all(events.Tags()["images"] == ["verdict/scores"] for events in runs)
        return [self.text(events, "report") for events in runs]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's use of SQLAlchemy
class TestMlflow(TrackerContract):
    keeps_steps = False

    def make(self, folder: Path) -> Tracker:
        database = SHARED / "mlflow.db"
        return MlflowTracker(f"sqlite:///{database}", folder.name, str(folder / "artifacts"))

    def runs(self, folder: Path) -> Iterator[tuple[Any, Any]]:
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{SHARED}/mlflow.db")
        experiment = client.get_experiment_by_name(folder.name)
        assert experiment is not None
        for run in client.search_runs([experiment.experiment_id]):
            yield client, run

    def artifact(self, run: Any, name: str) -> str:
        return (Path(run.info.artifact_uri.removeprefix("file://")) / name).read_text()

    def read(self, folder: Path) -> Sequence[Run]:
        return [self.as_run(c, run) for c, run in self.runs(folder) if run.data.tags[JOB_TYPE] != "evaluation"]

    def as_run(self, client: Any, run: Any) -> Run:
        tags, id = run.data.tags, run.info.run_id
        points: dict[int, dict[str, Any]] = {}
        for key in filter(RUN.curve[0].__contains__, run.data.metrics):
            for metric in client.get_metric_history(id, key):
                points.setdefault(metric.step, {"epoch": metric.step})[key] = metric.value
        summary = {key: value for key, value in json.loads(tags[SUMMARY]).items() if value is not None}
        for key, value in numbers(summary).items():  # shown after the curves, as bars
            (metric,) = client.get_metric_history(id, key.replace("/", "_"))
            assert (metric.value, metric.step) == (value, 0)
        assert tags["state"] == summary["state"]
        assert (run.info.status, run.data.params["lr"], run.data.params["optimizer"]) == ("FINISHED", "0.001", "adam")
        return Run(
            tags[ID],
            run.info.run_name,
            tags[GROUP],
            tags[JOB_TYPE],
            tuple(json.loads(tags[TAGS])),
            tags["mlflow.note.content"],
            json.loads(self.artifact(run, "config.json")),
            [in_order(points[step]) for step in sorted(points)],
            summary,
            "",
            True,
        )

    def read_reports(self, folder: Path) -> Sequence[str]:
        runs = [run for _, run in self.runs(folder) if run.data.tags[JOB_TYPE] == "evaluation"]
        for run in runs:
            assert json.loads(self.artifact(run, "tables/verdicts.json"))["rows"][1]["ring"] == "ADOPT"
        return [self.artifact(run, "report.md") for run in runs]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestTrackio(TrackerContract):
    def make(self, folder: Path) -> Tracker:
        return TrackioTracker(folder.name[:40], str(SHARED / "trackio"))

    def runs(self, folder: Path) -> Iterator[Any]:
        import trackio

        yield from trackio.Api().runs(folder.name[:40])

    def rows(self, run: Any) -> list[dict[str, Any]]:
        import trackio

        rows = trackio.SQLiteStorage.get_logs(run.project, run.name)
        return [{k: v for k, v in row.items() if k not in ("timestamp",)} for row in rows]

    def read(self, folder: Path) -> Sequence[Run]:
        return [self.as_run(run) for run in self.runs(folder) if run.config["name"] != "report"]

    def as_run(self, run: Any) -> Run:
        config = {key: value for key, value in run.config.items() if not key.startswith("_")}
        about = [config.pop(key) for key in ("name", "job_type", "tags", "notes", "summary")]
        rows = self.rows(run)
        curve = [in_order({**row, "epoch": row["step"], "step": row[STEP]}) for row in rows if "val/loss" in row]
        assert {key for row in rows for key in row} - {*RUN.curve[0], STEP} == {"state"}
        name, job_type, tags, notes, final = about
        head = (run.name, name, run.config["_Group"], job_type, tuple(tags), notes)
        return Run(*head, config, curve, final, "", True)

    def read_reports(self, folder: Path) -> Sequence[str]:
        runs = [run for run in self.runs(folder) if run.config["name"] == "report"]
        texts = [row["report"]["_value"] for run in runs for row in self.rows(run) if "report" in row]
        assert set(texts) == {"# optimizers\n\nadam: Adopt.\n\n`evalbench`"}  # without a title of its own
        return [REPORT for _ in texts]


def test_a_missing_library_gets_the_command_that_installs_it() -> None:
    line = r"^tracker=aim needs the package no_such_library, .*: pip install 'evalbench-dl\[aim\]'$"
    with pytest.raises(ConfigError, match=line):
        require("no_such_library", "aim")


def test_the_hint_of_mlflow_works_with_and_without_its_web_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shutil.which("mlflow", path=str(Path(sys.executable).parent))
    assert find_spec("flask")  # `make` installs it
    tracker = MlflowTracker("sqlite:///runs.db", "evalbench", None)
    assert "show the runs: mlflow ui --backend-store-uri sqlite:///runs.db\n" in str(tracker.how_to_see())
    monkeypatch.setattr(mlflow_tracker, "find_spec", lambda library: None)
    assert "show the runs: pip install 'evalbench-dl[mlflow]' && mlflow ui" in str(tracker.how_to_see())
