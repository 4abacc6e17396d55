"""Read the runs of an MLflow experiment from a server, a database or a folder, without writing to any of them."""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy import URL, Engine, column, create_engine, make_url, select, table
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from evalbench.errors import TableError
from evalbench.imports.rows import Row, row
from evalbench.imports.server import answer, first_line
from evalbench.tracking.libraries import require
from evalbench.tracking.mlflow import ID, SUMMARY

FORM = "--from mlflow takes URI/EXPERIMENT, such as sqlite:///mlflow.db/evalbench"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
WRITE_AHEAD = b"\2\2"
"""Bytes of a SQLite header that mark a write-ahead journal: a second file, which even a reader creates."""

EXPERIMENTS = table("experiments", column("experiment_id"), column("name"))
RUNS = table("runs", *map(column, ("run_uuid", "name", "status", "start_time", "experiment_id", "lifecycle_stage")))
PARAMS = table("params", column("run_uuid"), column("key"), column("value"))
TAGS = table("tags", column("run_uuid"), column("key"), column("value"))
METRICS = table("latest_metrics", column("run_uuid"), column("key"), column("value"), column("is_nan"))


def read(location: str) -> Sequence[Row]:
    """Return the runs of `URI/experiment`, such as `sqlite:///outputs/mlflow/mlflow.db/evalbench`."""
    uri, _, name = location.rpartition("/")
    try:
        if not name or not uri.rstrip("/") or uri.rstrip("/").endswith(":"):
            raise ValueError
        scheme, _, path, *_ = urlsplit(uri)
        url = make_url(uri) if scheme.partition("+")[0] in DATABASES else None
    except (ValueError, ArgumentError):
        raise TableError(f"{FORM}, not {location!r}") from None
    if url is not None:
        return _from_database(url, name)
    if scheme in ("", "file"):
        return _from_folder(Path(url2pathname(path)), name)
    return _from_client(uri, name, uri)


def _from_client(uri: str, name: str, address: str) -> Sequence[Row]:
    """Read the runs through MLflow's own client; `address` names the source in errors."""
    require("mlflow", "mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow would send telemetry
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # MLflow prints a line for each retry
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri)
        named = answer(lambda: client.get_experiment_by_name(name), address)
        experiments = answer(client.search_experiments, address) if named is None else [named]
        id = _id_of(name, [(experiment.name, experiment.experiment_id) for experiment in experiments], address)
        rows, token = [], None
        while True:
            page = answer(partial(client.search_runs, [id], page_token=token), address)
            for run in page:
                info, data = run.info, run.data
                about = (info.run_id, info.run_name, info.status, info.start_time)
                rows.append(_row(*about, data.params, data.metrics, data.tags))
            token = page.token
            if not token:
                return rows
    except MlflowException as error:
        raise TableError(f"MLflow did not return the runs of {address}/{name}: {first_line(error)}") from error


def _from_folder(folder: Path, name: str) -> Sequence[Row]:
    """Give MLflow a folder of links, because MLflow creates missing subfolders in the folder that it reads."""
    if not folder.is_dir():
        raise TableError(f"the folder {folder} does not exist: {FORM}")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    with TemporaryDirectory() as view:
        for experiment in folder.iterdir():
            (Path(view) / experiment.name).symlink_to(experiment.resolve())
        return _from_client(view, name, str(folder))


def _from_database(url: URL, name: str) -> Sequence[Row]:
    """Read MLflow's tables directly, because its own client creates missing tables and upgrades old ones."""
    try:
        if url.get_backend_name() != "sqlite":
            return answer(lambda: _rows(create_engine(url, poolclass=NullPool), str(url), name), str(url))
        path = Path(url.database or "")
        if not path.is_file():
            raise TableError(f"the database {url} does not exist: {FORM}")
        return _rows(create_engine(url, poolclass=NullPool, creator=partial(_opened, path)), str(url), name)
    except (SQLAlchemyError, OSError, ImportError) as error:  # no such table, no such driver
        raise TableError(f"{url} cannot be read as MLflow's database: {first_line(error)}") from error


def _opened(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for reading, without creating a journal beside it."""
    with path.open("rb") as file:
        is_ahead = file.read(20)[18:] == WRITE_AHEAD
    has_journal, is_in_use = Path(f"{path}-wal").exists(), Path(f"{path}-shm").exists()
    if is_ahead and has_journal and not is_in_use:
        raise TableError(f"{path}-wal has changes that {path} lacks: open and close {path} once with sqlite3")
    mode = "ro&immutable=1" if is_ahead and not has_journal else "ro"
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)


def _rows(engine: Engine, address: str, name: str) -> Sequence[Row]:
    with engine.connect() as connection:
        experiments = connection.execute(select(EXPERIMENTS.c.name, EXPERIMENTS.c.experiment_id))
        id = _id_of(name, [(known, id) for known, id in experiments], address)
        active = (RUNS.c.experiment_id == id, RUNS.c.lifecycle_stage == "active")
        about = select(RUNS.c.run_uuid, RUNS.c.name, RUNS.c.status, RUNS.c.start_time).where(*active)
        runs = connection.execute(about).all()
        values = []
        for values_table in (PARAMS, METRICS, TAGS):  # after the runs: a finished run then has all of its values
            by_run: dict[str, dict[str, Any]] = defaultdict(dict)
            query = select(values_table).where(values_table.c.run_uuid.in_(select(RUNS.c.run_uuid).where(*active)))
            for run, key, value, *is_nan in connection.execute(query):
                by_run[run][key] = float("nan") if any(is_nan) else value
            values.append(by_run)
    return [_row(*run, *(by_run[run[0]] for by_run in values)) for run in runs]


def _id_of(name: str, experiments: Sequence[tuple[str, Any]], address: str) -> Any:
    ids = [id for known, id in experiments if known == name]
    if not ids:
        raise TableError(f"{address} has no experiment {name!r}: it has {', '.join(known for known, _ in experiments)}")
    if len(ids) > 1:
        raise TableError(f"{address} has {len(ids)} experiments {name!r}, in different workspaces: rename all but one")
    return ids[0]


def _row(id: str, name: str, status: str | None, started: int, params: Row, metrics: Row, tags: Row) -> Row:
    own: dict[str, Any] = {}
    if ID in tags:  # evalbench's own tracker writes the final values as a tag; earlier versions wrote the state alone
        own = json.loads(tags.get(SUMMARY, "{}")) or {key: tags[key] for key in ("state",) if key in tags}
    tagged = {f"tag.{key}": value for key, value in tags.items()}
    return row(id, started, (status or "unknown").lower(), params, {**metrics, **own}, name=name, **tagged)
