"""Offline W&B runs in a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.errors import TableError
from evalbench.tracking import wandb_files
from evalbench.tracking.tracker import flat


def read(where: str) -> Sequence[Mapping[str, Any]]:
    """Return the runs in or below a folder; of several copies of a run the latest."""
    runs = {}
    for path in sorted(Path(where).rglob("*.wandb")):
        try:
            run = wandb_files.read(path)
        except ValueError as error:
            raise TableError(str(error)) from error
        if run.id:
            runs[run.id] = {
                "id": run.id,
                "name": run.name,
                "group": run.group,
                "job_type": run.job_type,
                **{f"config.{key}": value for key, value in flat(run.config)},
                **{f"summary.{key}": value for key, value in flat(run.summary)},
            }
    return list(runs.values())
