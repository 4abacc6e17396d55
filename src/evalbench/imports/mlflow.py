"""Runs of an MLflow experiment."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.errors import TableError
from evalbench.tracking.libraries import require


def read(where: str) -> Sequence[Mapping[str, Any]]:
    """Return the runs of `URI/experiment`, such as `sqlite:///outputs/mlflow/mlflow.db/evalbench`."""
    require("mlflow", "mlflow")
    uri, _, name = where.rpartition("/")
    if not uri or not name:
        raise TableError(f"--from mlflow takes URI/EXPERIMENT, such as sqlite:///mlflow.db/evalbench, not {where!r}")
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise TableError(f"{uri} is not a database that exists")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing leaves the machine unasked
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            known = ", ".join(one.name for one in client.search_experiments())
            raise TableError(f"{uri} has no experiment {name!r}: it has {known}")
        rows, token = [], None
        while True:
            page = client.search_runs([experiment.experiment_id], page_token=token)
            rows += [_row(run) for run in page]
            token = page.token
            if not token:
                return rows
    except MlflowException as error:
        raise TableError(f"MLflow did not give the runs of {where}: {str(error).splitlines()[0]}") from error


def _row(run: Any) -> Mapping[str, Any]:
    return {
        "id": run.info.run_id,
        "name": run.info.run_name,
        **{f"config.{key}": value for key, value in run.data.params.items()},
        **{f"summary.{key}": value for key, value in run.data.metrics.items()},
        **{f"tag.{key}": value for key, value in run.data.tags.items()},
    }
