"""Runs of an MLflow experiment on a server, in a database or in a folder; nothing is written to any of them."""

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
from evalbench.tracking.mlflow import ID

FORM = "--from mlflow takes URI/EXPERIMENT, such as sqlite:///mlflow.db/evalbench"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
WRITE_AHEAD = b"\2\2"
"""In the header of a SQLite file: its journal is a file of its own, which a mere reader makes too."""

EXPERIMENTS = table("experiments", column("experiment_id"), column("name"))
RUNS = table("runs", *map(column, ("run_uuid", "name", "status", "start_time", "experiment_id", "lifecycle_stage")))
PARAMS = table("params", column("run_uuid"), column("key"), column("value"))
TAGS = table("tags", column("run_uuid"), column("key"), column("value"))
METRICS = table("latest_metrics", column("run_uuid"), column("key"), column("value"), column("is_nan"))


def read(where: str) -> Sequence[Row]:
    """Return the runs of `URI/experiment`, such as `sqlite:///outputs/mlflow/mlflow.db/evalbench`."""
    uri, _, name = where.rpartition("/")
    try:
        if not name or not uri.rstrip("/") or uri.rstrip("/").endswith(":"):
            raise ValueError
        scheme, _, path, *_ = urlsplit(uri)
        url = make_url(uri) if scheme.partition("+")[0] in DATABASES else None
    except (ValueError, ArgumentError):
        raise TableError(f"{FORM}, not {where!r}") from None
    if url is not None:
        return _from_database(url, name)
    if scheme in ("", "file"):
        return _from_folder(Path(url2pathname(path)), name)
    return _from_client(uri, name, uri)


def _from_client(uri: str, name: str, who: str) -> Sequence[Row]:
    """Ask MLflow's own client."""
    require("mlflow", "mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing leaves the machine unasked
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # it prints a line for each
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri)
        found = answer(lambda: client.get_experiment_by_name(name), who)
        experiments = answer(client.search_experiments, who) if found is None else [found]
        id = _id_of(name, [(one.name, one.experiment_id) for one in experiments], who)
        rows, token = [], None
        while True:
            page = answer(partial(client.search_runs, [id], page_token=token), who)
            for run in page:
                info, data = run.info, run.data
                about = (info.run_id, info.run_name, info.status, info.start_time)
                rows.append(_row(*about, data.params, data.metrics, data.tags))
            token = page.token
            if not token:
                return rows
    except MlflowException as error:
        raise TableError(f"MLflow did not give the runs of {who}/{name}: {first_line(error)}") from error


def _from_folder(folder: Path, name: str) -> Sequence[Row]:
    """Show MLflow a folder through links: it makes what it misses in the folder that it is given."""
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder that exists: {FORM}")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    with TemporaryDirectory() as view:
        for experiment in folder.iterdir():
            (Path(view) / experiment.name).symlink_to(experiment.resolve())
        return _from_client(view, name, str(folder))


def _from_database(url: URL, name: str) -> Sequence[Row]:
    """Read MLflow's tables: its own client would create them, or bring those of an older MLflow up to date."""
    try:
        if url.get_backend_name() != "sqlite":
            return answer(lambda: _rows(create_engine(url, poolclass=NullPool), str(url), name), str(url))
        path = Path(url.database or "")
        if not path.is_file():
            raise TableError(f"{url} is not a database that exists: {FORM}")
        return _rows(create_engine(url, poolclass=NullPool, creator=partial(_opened, path)), str(url), name)
    except (SQLAlchemyError, OSError, ImportError) as error:  # no such table, no such driver
        raise TableError(f"{url} cannot be read as MLflow's database: {first_line(error)}") from error


def _opened(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for reading, without the journal that a reader would leave beside it."""
    with path.open("rb") as file:
        is_ahead = file.read(20)[18:] == WRITE_AHEAD
    has_journal, is_in_use = Path(f"{path}-wal").exists(), Path(f"{path}-shm").exists()
    if is_ahead and has_journal and not is_in_use:
        raise TableError(f"{path}-wal has changes that are not in {path} yet: open and close it once with sqlite3")
    mode = "ro&immutable=1" if is_ahead and not has_journal else "ro"
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)


def _rows(engine: Engine, who: str, name: str) -> Sequence[Row]:
    with engine.connect() as connection:
        experiments = connection.execute(select(EXPERIMENTS.c.name, EXPERIMENTS.c.experiment_id))
        id = _id_of(name, [(known, id) for known, id in experiments], who)
        active = (RUNS.c.experiment_id == id, RUNS.c.lifecycle_stage == "active")
        about = select(RUNS.c.run_uuid, RUNS.c.name, RUNS.c.status, RUNS.c.start_time).where(*active)
        runs = connection.execute(about).all()
        values = []
        for kind in (PARAMS, METRICS, TAGS):  # after the runs: one that has finished then has all of its values
            of_runs: dict[str, dict[str, Any]] = defaultdict(dict)
            asked = select(kind).where(kind.c.run_uuid.in_(select(RUNS.c.run_uuid).where(*active)))
            for run, key, value, *is_nan in connection.execute(asked):
                of_runs[run][key] = float("nan") if any(is_nan) else value
            values.append(of_runs)
    return [_row(*run, *(of_runs[run[0]] for of_runs in values)) for run in runs]


def _id_of(name: str, experiments: Sequence[tuple[str, Any]], who: str) -> Any:
    ids = [id for known, id in experiments if known == name]
    if not ids:
        raise TableError(f"{who} has no experiment {name!r}: it has {', '.join(known for known, _ in experiments)}")
    if len(ids) > 1:
        raise TableError(f"{who} has {len(ids)} experiments {name!r}, in workspaces of their own: rename all but one")
    return ids[0]


def _row(id: str, name: str, status: str | None, started: int, params: Row, metrics: Row, tags: Row) -> Row:
    own = {"state": tags["state"]} if ID in tags and "state" in tags else {}  # which evalbench's tracker makes a tag
    tagged = {f"tag.{key}": value for key, value in tags.items()}
    return row(id, started, (status or "unknown").lower(), params, {**metrics, **own}, name=name, **tagged)
