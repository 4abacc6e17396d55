"""Read the runs of an online W&B project; the API key comes only from W&B's own login or environment."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from evalbench.errors import TableError
from evalbench.imports.rows import Row, row
from evalbench.imports.server import SECONDS, answer, first_line


def read(location: str) -> Sequence[Row]:
    """Return the runs of `entity/project`."""
    import wandb

    rows = []
    with _scratch():
        try:
            runs = answer(lambda: wandb.Api(timeout=int(2 * SECONDS)).runs(location, lazy=False), "W&B")
            while (run := answer(lambda: next(runs, None), "W&B")) is not None:
                rows.append(_row(run))
        except TableError:
            raise
        except Exception as error:  # of many classes: no login, no such project, no network
            raise TableError(f"W&B did not return the runs of {location}: {first_line(error)}") from error
    return rows


@contextmanager
def _scratch() -> Iterator[None]:
    """Give the library a temporary folder, because it creates a folder for each run that it reads."""
    own = {key: os.environ[key] for key in ("WANDB_DIR",) if key in os.environ}
    with TemporaryDirectory() as scratch:
        os.environ["WANDB_DIR"] = scratch
        try:
            yield
        finally:
            del os.environ["WANDB_DIR"]
            os.environ.update(own)


def _row(run: Any) -> Row:
    """Return a run as a row, with the server's plain summary; `run.summary` nests values of its own class."""
    about = {"name": run.name, "group": run.group, "job_type": run.job_type}
    return row(run.id, run.created_at, run.state, run.config, run.summary_metrics, **about)
