"""Runs of a W&B project online; a key comes from W&B's own login or environment alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from evalbench.errors import TableError
from evalbench.tracking.tracker import flat


def read(where: str) -> Sequence[Mapping[str, Any]]:
    """Return the runs of `entity/project`."""
    import wandb

    try:
        runs = wandb.Api(timeout=30).runs(where, lazy=False)
        return [
            {
                "id": run.id,
                "name": run.name,
                "group": run.group,
                "job_type": run.job_type,
                **{f"config.{key}": value for key, value in flat(run.config)},
                **{f"summary.{key}": value for key, value in flat(dict(run.summary))},
            }
            for run in runs
        ]
    except Exception as error:  # of many classes: no login, no such project, no network
        raise TableError(f"W&B did not give the runs of {where}: {str(error).strip().splitlines()[0]}") from error
