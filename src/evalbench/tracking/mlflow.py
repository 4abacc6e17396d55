"""Write one MLflow run per trial, to a SQLite file or a server."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from evalbench.names import file_name
from evalbench.tracking.libraries import command, require
from evalbench.tracking.tracker import REPORT, Conclusion, Run, numbers

T = TypeVar("T")
ID, GROUP, JOB_TYPE, TAGS, SUMMARY = (
    f"evalbench.{name}" for name in ("run", "evaluation", "technique", "tags", "summary")
)
"""Tags; the summary has the final values under the names that they have in other trackers."""
MOST_METRICS = 1000
MOST_PARAMETERS = 100
"""The largest numbers of metrics and parameters in one call."""


class MlflowTracker:
    """Mirror trials to MLflow; an existing run is continued, so that no run is written twice."""

    def __init__(self, uri: str, experiment: str, artifacts: str | None) -> None:
        require("mlflow", "mlflow")
        self.uri, self.experiment, self.artifacts = uri, experiment, artifacts
        self._client: Any = None
        self._experiment_id = ""
        self._open: dict[str, Any] = {}
        self._num_logged: dict[str, int] = {}

    def record(self, run: Run) -> None:
        """Write parameters, new points of the curve, and the final values when the run has ended."""
        from mlflow.entities import Metric

        if run.id not in self._open:
            self._open[run.id] = self._begin(run)
            self._num_logged[run.id] = 0
        info = self._open[run.id].info
        first = self._num_logged[run.id]
        points = [
            Metric(key, value, info.start_time + number, step)  # a fixed time for each point
            for number, (step, values) in enumerate(run.points(first), first)
            for key, value in numbers(values).items()
        ]
        for chunk in _chunks(points, MOST_METRICS):
            self._client.log_batch(info.run_id, metrics=chunk)
        self._num_logged[run.id] = len(run.curve)
        if run.running:
            return
        # MLflow draws bars of values at step 0, and shows names without a `/` after the curves.
        final = {key.replace("/", "_"): value for key, value in numbers(run.summary).items()}
        self._client.log_batch(info.run_id, metrics=[Metric(*item, info.start_time, 0) for item in final.items()])
        texts = {key: value for key, value in run.summary.items() if isinstance(value, str)}
        for key, value in {**texts, SUMMARY: json.dumps(dict(run.summary))}.items():
            self._client.set_tag(info.run_id, key, value)
        status = "FINISHED" if run.summary.get("state") == "COMPLETE" else "FAILED"
        self._client.set_terminated(info.run_id, status)
        del self._open[run.id], self._num_logged[run.id]

    def _begin(self, run: Run) -> Any:
        from mlflow.entities import Param

        tags = {
            ID: run.id,
            GROUP: run.group,
            JOB_TYPE: run.job_type,
            TAGS: json.dumps(run.tags),
            "mlflow.note.content": run.notes,
        }
        record = self._run(run.name, tags)
        parameters = [
            Param(key, value if isinstance(value, str) else json.dumps(value))
            for key, value in run.config.items()
            if not isinstance(value, Mapping)
        ]
        for chunk in _chunks(parameters, MOST_PARAMETERS):
            self._client.log_batch(record.info.run_id, params=chunk)
        self._client.log_dict(record.info.run_id, dict(run.config), "config.json")
        return record

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the evaluation's run: its report, tables and figures as artifacts."""
        record = self._run(
            REPORT,
            {
                ID: conclusion.id,
                GROUP: conclusion.evaluation,
                JOB_TYPE: "evaluation",
                "mlflow.note.content": conclusion.notes,
                "evalbench.runs": json.dumps(conclusion.run_ids)[:5000],
                **{"/".join(map(file_name, key.split("/", 1))): str(v) for key, v in conclusion.summary.items()},
            },
        )
        run_id = record.info.run_id
        for path in conclusion.files:
            self._client.log_artifact(run_id, str(path))
        for path in conclusion.figures.values():
            self._client.log_artifact(run_id, str(path), "figures")
        for name, table in conclusion.tables.items():
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            self._client.log_dict(run_id, {"columns": table.columns, "rows": rows}, f"tables/{name}.json")
        self._client.set_terminated(run_id)

    def _run(self, name: str, tags: Mapping[str, str]) -> Any:
        """Return the run of this name: reuse a run of the same identity, and delete runs of another identity."""
        self._connect()
        query = f"tags.`{GROUP}` = '{tags[GROUP]}' AND attributes.run_name = '{name}'"
        known = self._client.search_runs([self._experiment_id], query)
        same = [run for run in known if run.data.tags.get(ID) == tags[ID]]
        for run in known:
            if run is not (same[0] if same else None):
                self._client.delete_run(run.info.run_id)
        if not same:
            return self._client.create_run(self._experiment_id, tags=dict(tags), run_name=name)
        for key, value in tags.items():
            self._client.set_tag(same[0].info.run_id, key, value)
        self._client.update_run(same[0].info.run_id, status="RUNNING")
        return same[0]

    def _connect(self) -> None:
        if self._client is not None:
            return
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow would send telemetry
        from mlflow import MlflowClient

        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(self.uri)
        known = client.get_experiment_by_name(self.experiment)
        if known is not None:
            self._experiment_id = known.experiment_id
        else:
            location = None if self.artifacts is None else Path(self.artifacts).resolve().as_uri()
            self._experiment_id = client.create_experiment(self.experiment, location)
        self._client = client

    def close(self) -> None:
        """Mark the open runs as killed."""
        for id in list(self._open):
            self._client.set_terminated(self._open.pop(id).info.run_id, "KILLED")

    def how_to_see(self) -> str | None:
        """Return the command that shows the runs."""
        if self.uri.startswith("http"):
            return f"MLflow   experiment {self.experiment} at {self.uri}"
        first = "" if find_spec("flask") else f"{command('mlflow')} && "  # mlflow-skinny has no web interface
        show = f"MLflow   show the runs: {first}mlflow ui --backend-store-uri {self.uri}"
        return f"{show}\n         in the browser: Model training, {self.experiment}, Chart view"


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
