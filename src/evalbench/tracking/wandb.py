"""Write one Weights & Biases run per trial and one per evaluation, offline by default."""

import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalbench.errors import ConfigError
from evalbench.tracking.tracker import REPORT, Conclusion, Run, Table
from evalbench.tracking.wandb_files import is_whole

MODES = ("offline", "online", "disabled")
AXIS_NAMES = {"epoch": "x/epoch", "step": "x/step"}
"""The axes of the curves, under names that W&B's viewer in the terminal sorts after the curves."""
MOST_CHARACTERS = 64
"""The largest number of characters in a W&B tag."""
FLUSH_SECONDS = 30.0
"""How long W&B's service process may take to write the end of a finished run."""
INIT_SECONDS = 30.0
"""How long W&B's server may take to answer; shorter than the patience of a sweep, so that the error is shown."""
FINISH_SECONDS = 60
"""How long a run may take to send its rest to W&B's server, which may be down for a while."""
CONFIRM_SECONDS = 10.0
"""How long W&B's server may take to show the end of a run that it has taken."""
POLL_SECONDS = 0.2
STATS_SECONDS = 2.0
"""Interval between samples of the system metrics."""


class WandbTracker:
    """Mirror trials to W&B; the API key comes only from W&B's own login or environment."""

    def __init__(self, project: str, entity: str | None, mode: str, folder: str) -> None:
        if mode not in MODES:
            raise ConfigError("tracker.wandb.mode", "must be one of " + ", ".join(MODES), mode, "choose one of them")
        self.project, self.entity, self.mode, self.folder = project, entity, mode, Path(folder)
        self._api: Any = None
        self._open: dict[str, Any] = {}
        self._num_logged: dict[str, int] = {}

    def record(self, run: Run) -> None:
        """Write a run: its configuration, its curve over declared axes, and its summary."""
        if run.id not in self._open:
            self._open[run.id] = self._begin(run)
            self._num_logged[run.id] = 0
        record = self._open[run.id]
        for step in range(self._num_logged[run.id], len(run.curve)):
            point = {AXIS_NAMES.get(key, key): value for key, value in run.curve[step].items()}
            record.log(point, step=step)  # W&B skips the steps that a resumed run has
            self._num_logged[run.id] = step + 1
        if not run.running:
            record.summary.update({key: value for key, value in run.summary.items() if value is not None})
            record.summary.update(_tables(run.tables))
            self._finish(run.id)

    def _begin(self, run: Run) -> Any:
        record = self._init(
            run.id,
            run.name,
            stats_of=run.process,
            group=run.group,
            job_type=run.job_type,
            tags=[tag[:MOST_CHARACTERS] for tag in run.tags],
            notes=run.notes,
            config=dict(run.config),
        )
        axis = AXIS_NAMES[run.axis]
        for name in AXIS_NAMES.values():
            record.define_metric(name, hidden=True)  # a chart of its own would be a straight line
        for names in ("train/*", "val/*"):
            record.define_metric(names, step_metric=axis)
        record.define_metric("val/loss", step_metric=axis, summary="min")
        record.define_metric(run.score, step_metric=axis, summary="max" if run.maximize else "min")
        return record

    def _init(self, id: str, name: str, stats_of: int | None = None, **more: Any) -> Any:
        import wandb  # importing wandb takes half a second

        folder = self.folder.resolve()  # W&B's service process may have another working directory
        folder.mkdir(parents=True, exist_ok=True)
        if self.mode == "offline":  # an interrupted mirror may have left a copy
            whole = re.compile(rf"offline-run-\d+_\d+-{re.escape(id)}")  # not another id with the same ending
            for old in folder.glob(f"wandb/offline-run-*-{id}"):
                if whole.fullmatch(old.name):
                    shutil.rmtree(old)
        mode: Any = self.mode
        settings = wandb.Settings(
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            x_disable_stats=stats_of is None,
            x_stats_pid=stats_of or 0,
            x_stats_sampling_interval=STATS_SECONDS,
            x_disable_meta=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            save_code=False,
            console="off",
            silent=True,
        )
        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=mode,
            dir=str(folder),
            id=id,
            name=name,
            resume="allow" if self.mode == "online" else None,
            reinit="create_new",
            settings=settings,
            **more,
        )

    def _finish(self, id: str) -> None:
        """Close a run; wait until the file of an offline run holds its end, which the service writes later."""
        record = self._open.pop(id)
        self._num_logged.pop(id, None)
        record.finish()
        if self.mode == "online":
            self._confirm(record.path)
        if self.mode != "offline":
            return
        path = Path(record.settings.sync_file)
        end = time.monotonic() + FLUSH_SECONDS
        while not is_whole(path):
            if time.monotonic() > end:
                raise OSError(f"{path} lacks the end of the run after {FLUSH_SECONDS:g} s: is the disk full?")
            time.sleep(0.002)

    def _confirm(self, path: str) -> None:
        """Wait until the server has the end of a run: W&B finishes a run without an error if the server refused it."""
        import wandb

        if self._api is None:
            self._api = wandb.Api(timeout=int(INIT_SECONDS))
        end = time.monotonic() + CONFIRM_SECONDS
        taken = self._api.run(path)
        taken.load(force=True)
        while taken.state != "finished":
            if time.monotonic() > end:
                raise ConnectionError(f"the server did not take all of {path}: there the run is {taken.state}")
            time.sleep(POLL_SECONDS)
            taken.load(force=True)

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the evaluation's run: tables, figures, and the report as an artifact that names its runs."""
        import wandb

        record = self._init(
            conclusion.id,
            REPORT,
            group=conclusion.evaluation,
            job_type="evaluation",
            tags=["evaluation"],
            notes=conclusion.notes,
            config=dict(conclusion.config),
        )
        self._open[conclusion.id] = record
        record.log({f"figures/{name}": wandb.Image(str(path)) for name, path in conclusion.figures.items()})
        record.summary.update(dict(conclusion.summary))
        record.summary.update(_tables(conclusion.tables))
        artifact = wandb.Artifact(
            f"{conclusion.evaluation}-report", type="report", metadata={"runs": list(conclusion.run_ids)}
        )
        for path in conclusion.files:
            artifact.add_file(str(path))
        for path in conclusion.figures.values():  # the report shows the figures
            artifact.add_file(str(path), f"figures/{path.name}")
        record.log_artifact(artifact)
        self._finish(conclusion.id)
        if self.mode == "online":
            artifact.wait(FINISH_SECONDS)  # W&B reports a refused artifact here alone

    def close(self) -> None:
        """Finish the open runs."""
        for id in list(self._open):
            self._finish(id)

    def how_to_see(self) -> str | None:
        """Return the commands that show and send the runs."""
        if self.mode == "disabled":
            return None
        if self.mode == "online":
            return f"W&B      project {'/'.join(filter(None, (self.entity, self.project)))}"
        runs = self.folder / "wandb"
        return f"W&B      show the runs: wandb leet {runs}\n         send them:     wandb sync {runs}/offline-run-*"


def _tables(tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return tables for a summary; in the history, W&B's viewer would draw their numbers of rows as curves."""
    import wandb

    return {
        name: wandb.Table(list(table.columns), [list(row) for row in table.rows], allow_mixed_types=True)
        for name, table in tables.items()
    }
