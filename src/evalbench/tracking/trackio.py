"""Write one run per trial to trackio, a local dashboard similar to W&B."""

import os
from pathlib import Path
from typing import Any

from evalbench.errors import ConfigError
from evalbench.tracking.libraries import require
from evalbench.tracking.tracker import Conclusion, Run, numbers

STEP = "trainer/global_step"
"""The name of optimizer steps if the curve is over epochs; trackio's own `step` is the position on the axis."""


class TrackioTracker:
    """Mirror trials to trackio's SQLite file."""

    def __init__(self, project: str, folder: str) -> None:
        require("trackio", "trackio")
        self.project, self.folder = project, Path(folder)
        self._num_logged: dict[str, int] = {}
        self._earlier: dict[str, Any] | None = None

    def record(self, run: Run) -> None:
        """Write new points of the curve, and the final values when the run has ended."""
        new = run.id not in self._num_logged
        about = {"job_type": run.job_type, "tags": list(run.tags), "notes": run.notes}
        record = self._init(run.id, run.group, {**run.config, **about}, new)
        for position, values in run.points(self._num_logged.get(run.id, 0)):
            record.log({STEP if key == "step" else key: value for key, value in values.items()}, step=position)
        self._num_logged[run.id] = len(run.curve)
        if not run.running:
            texts = {key: value for key, value in run.summary.items() if isinstance(value, str)}
            record.log({**numbers(run.summary), **texts}, step=run.last)
            self._num_logged.pop(run.id)
        record.finish()

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the evaluation's run: its report, tables and figures."""
        import trackio

        record = self._init(conclusion.id, conclusion.evaluation, dict(conclusion.config), new=True)
        for name, table in conclusion.tables.items():
            rows = [list(row) for row in table.rows]
            record.log({name: trackio.Table(columns=list(table.columns), data=rows)}, step=0)
        for name, path in conclusion.figures.items():
            record.log({f"figures/{name}": trackio.Image(str(path))}, step=0)
        report = next(path for path in conclusion.files if path.suffix == ".md")
        record.log({"report": trackio.Markdown(report.read_text(encoding="utf-8"))}, step=0)
        record.finish()

    def _init(self, id: str, group: str, config: dict[str, Any], new: bool) -> Any:
        """Open a run; if `new`, replace an earlier run of the same id."""
        folder = self.folder.resolve()
        os.environ["TRACKIO_DIR"] = str(folder)  # read once, when trackio is imported
        import trackio

        if Path(trackio.TRACKIO_DIR) != folder:
            rule = f"must be the folder that this process gave trackio first, {trackio.TRACKIO_DIR}"
            raise ConfigError("tracker.trackio.folder", rule, str(folder), "use one folder per process")
        if new:
            self._delete(id)
        return trackio.init(
            project=self.project,
            name=id,
            group=group,
            config=config,
            resume="never" if new else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def _delete(self, id: str) -> None:
        """Delete an earlier run of this id; list the earlier runs once."""
        import trackio

        if self._earlier is None:
            known = self.project in trackio.SQLiteStorage.get_projects()
            self._earlier = {run.name: run for run in trackio.Api().runs(self.project)} if known else {}
        if id in self._earlier:
            self._earlier.pop(id).delete()

    def close(self) -> None:
        """Do nothing, because no run stays open."""

    def how_to_see(self) -> str | None:
        """Return the command that shows the runs."""
        variables = f"TRACKIO_DIR={self.folder} TRACKIO_PLOT_ORDER='val/*,train/*'"  # curves first, then single values
        return f"trackio  show the runs: {variables} trackio show --project {self.project}"
