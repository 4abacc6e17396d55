"""Write one run per trial to trackio, a local dashboard similar to W&B."""

import os
import re
from pathlib import Path
from typing import Any

from evalbench.errors import ConfigError
from evalbench.tracking.libraries import require
from evalbench.tracking.tracker import REPORT, Conclusion, Run

STEP = "x/step"
"""The name of optimizer steps if the curve is over epochs, which sorts after the curves.

trackio's own `step` is the position on the axis.
"""
UNDRAWN = re.compile(r"^(\||!\[|\*[^*\s]).*\n?", re.MULTILINE)
"""Lines of Markdown that trackio shows as they are: tables, pictures and their captions."""


class TrackioTracker:
    """Mirror trials to trackio's SQLite file."""

    def __init__(self, project: str, folder: str) -> None:
        require("trackio", "trackio")
        self.project, self.folder = project, Path(folder)
        self._num_logged: dict[str, int] = {}
        self._earlier: list[Any] | None = None

    def record(self, run: Run) -> None:
        """Write new points of the curve, and the final values when the run has ended."""
        new = run.id not in self._num_logged
        first, points = self._num_logged.get(run.id, 0), run.points()
        final = {key: value for key, value in run.summary.items() if value is not None}
        about = {"job_type": run.job_type, "tags": list(run.tags), "notes": run.notes, "summary": final}
        record = self._init(run.id, run.name, run.group, {**run.config, **about}, new)
        for (position, values), point in zip(points[first:], run.curve[first:], strict=True):
            record.log({**values, STEP: point["step"]} if run.axis == "epoch" else values, step=position)
        self._num_logged[run.id] = len(run.curve)
        if not run.running:
            texts = {key: value for key, value in final.items() if isinstance(value, str)}
            record.log(texts, step=points[-1][0] if points else 0)  # the summary is stored with this row
            self._num_logged.pop(run.id)
        record.finish()

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the evaluation's run: the first screen of its report, tables and figures."""
        import trackio

        record = self._init(conclusion.id, REPORT, conclusion.evaluation, dict(conclusion.config), new=True)
        for name, table in conclusion.tables.items():
            rows = [list(row) for row in table.rows]
            record.log({name: trackio.Table(columns=list(table.columns), data=rows)}, step=0)
        for name, path in conclusion.figures.items():
            record.log({f"figures/{name}": trackio.Image(str(path))}, step=0)
        text = f"# {conclusion.evaluation}\n\n{UNDRAWN.sub('', conclusion.notes)}"
        record.log({REPORT: trackio.Markdown(text)}, step=0)
        record.finish()

    def _init(self, id: str, name: str, group: str, config: dict[str, Any], new: bool) -> Any:
        """Open a run; if `new`, replace an earlier run of the same name in the same group.

        The run is shown by its id, because trackio takes runs of the same name for one.
        """
        folder = self.folder.resolve()
        os.environ["TRACKIO_DIR"] = str(folder)  # read once, when trackio is imported
        import trackio

        if Path(trackio.TRACKIO_DIR) != folder:
            rule = f"must be the folder that this process gave trackio first, {trackio.TRACKIO_DIR}"
            raise ConfigError("tracker.trackio.folder", rule, str(folder), "use one folder per process")
        if new:
            self._delete(id, name, group)
        return trackio.init(
            project=self.project,
            name=id,
            group=group,
            config={**config, "name": name},
            resume="never" if new else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def _delete(self, id: str, name: str, group: str) -> None:
        """Delete earlier runs of the same seed; list the earlier runs once."""
        import trackio

        if self._earlier is None:
            known = self.project in trackio.SQLiteStorage.get_projects()
            self._earlier = list(trackio.Api().runs(self.project)) if known else []
        for earlier in [run for run in self._earlier if run.name.startswith(name)]:
            same_seed = (earlier.config.get("name"), earlier.config.get("_Group")) == (name, group)
            if earlier.name == id or same_seed:
                earlier.delete()
                self._earlier.remove(earlier)

    def close(self) -> None:
        """Do nothing, because no run stays open."""

    def how_to_see(self) -> str | None:
        """Return the command that shows the runs."""
        return f"trackio  show the runs: TRACKIO_DIR={self.folder} trackio show --project {self.project}"
