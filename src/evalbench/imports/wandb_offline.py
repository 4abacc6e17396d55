"""Read offline W&B runs from a folder."""

from collections.abc import Sequence
from pathlib import Path

from evalbench.errors import TableError
from evalbench.imports.rows import FINISHED, Row, row
from evalbench.tracking import wandb_files


def read(location: str) -> Sequence[Row]:
    """Return the runs in or below a folder, a row for each copy of a run."""
    return [_row(path) for path in sorted(Path(location).rglob("*.wandb"))]


def _row(path: Path) -> Row:
    try:
        run = wandb_files.read(path)
    except ValueError as error:
        raise TableError(str(error)) from error
    id = run.id or path.stem.removeprefix("run-")  # a run that was killed at once has an empty file
    state = "unfinished" if not run.ended else "failed" if run.exit_code else FINISHED
    about = {"name": run.name, "group": run.group, "job_type": run.job_type, "project": run.project}
    return row(id, run.started, state, run.config, run.summary, **about)
