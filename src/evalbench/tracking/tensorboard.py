"""Write a TensorBoard folder per run: its curve, its settings and final values for the tab HPARAMS, and a text."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalbench.tracking.libraries import require
from evalbench.tracking.tracker import REPORT, Conclusion, Run, numbers

ABOUT = "trials/evalbench"
"""The tag of a text with the values that no other tag can hold. It sorts after the report."""
FIGURES = "verdict"
"""The group of the report's figures. It sorts after the curves."""


class TensorBoardTracker:
    """Mirror trials to TensorBoard's event files."""

    def __init__(self, folder: str) -> None:
        require("tensorboard", "tensorboard")
        self.folder = Path(folder)
        self._open: dict[str, Any] = {}
        self._num_logged: dict[str, int] = {}

    def record(self, run: Run) -> None:
        """Write new points of the curve, and the final values when the run has ended."""
        from tensorboard.plugins.hparams import summary_v2

        if run.id not in self._open:
            self._open[run.id] = self._writer(run.group, run.name)
            self._num_logged[run.id] = 0
            self._add_text(run.id, run)
        for step, values in run.points(self._num_logged[run.id]):
            self._add_numbers(run.id, numbers(values), step)
        self._num_logged[run.id] = len(run.curve)
        if run.running:
            return
        final = {k: v for k, v in run.summary.items() if k in ("score", "state") or k.startswith("test/")}
        shown = {k: v for k, v in {**run.config, **final}.items() if isinstance(v, bool | int | float | str)}
        self._add(run.id, summary_v2.hparams_pb(shown, trial_id=run.id))  # a scalar would be a chart of one point
        self._add_text(run.id, run)
        self._open.pop(run.id).close()
        self._num_logged.pop(run.id)

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the report as text and its figures as images."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        id = conclusion.id
        self._open[id] = self._writer(conclusion.evaluation, REPORT)
        self._add_markdown(id, REPORT, conclusion.report)
        for name, path in conclusion.figures.items():
            with Image.open(path) as picture:
                width, height = picture.size
            image = Summary.Image(encoded_image_string=path.read_bytes(), width=width, height=height, colorspace=4)
            self._add(id, Summary(value=[Summary.Value(tag=f"{FIGURES}/{name}", image=image)]))
        self._open.pop(id).close()

    def close(self) -> None:
        """Close the open files."""
        for id in list(self._open):
            self._open.pop(id).close()

    def how_to_see(self) -> str | None:
        """Return the command that shows the runs."""
        return f"TBoard   show the runs: tensorboard --logdir {self.folder}"

    def _writer(self, group: str, name: str) -> Any:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = self.folder / group / name
        shutil.rmtree(folder, ignore_errors=True)  # TensorBoard would draw the old curve beside the new one
        return EventFileWriter(str(folder))

    def _add(self, id: str, summary: Any, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._open[id].add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def _add_numbers(self, id: str, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(id, Summary(value=scalars), step)

    def _add_text(self, id: str, run: Run) -> None:
        about = {
            "id": run.id,
            "name": run.name,
            "group": run.group,
            "job_type": run.job_type,
            "tags": run.tags,
            "notes": run.notes,
            "config": run.config,
            "summary": run.summary,
        }
        self._add_markdown(id, ABOUT, "```json\n" + json.dumps(about, indent=1) + "\n```")

    def _add_markdown(self, id: str, tag: str, text: str) -> None:
        from tensorboard.plugins.text.summary import text_pb

        self._add(id, text_pb(tag, text))
