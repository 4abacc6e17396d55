"""What every tracker must do; a subclass says how to make one and how to read back what it wrote."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalbench.tracking import Run, Tracker

CURVE: list[dict[str, float]] = [
    {"epoch": 1.0, "step": 34, "train/loss": 0.7, "val/loss": 0.5, "val/accuracy": 0.8},
    {"epoch": 2.0, "step": 68, "train/loss": 0.4, "val/loss": 0.6, "val/accuracy": 0.75},
]
RUN = Run(
    id="optimizers-adam-digits-s0",
    group="optimizers",
    job_type="adam",
    tags=("digits", "adam"),
    config={"optimizer": {"lr": 0.001, "betas": [0.9, 0.999]}, "seed": 0},
    curve=CURVE,
    summary={"test/accuracy": 0.97, "state": "COMPLETE", "diverged_step": None},
    score="val/accuracy",
    maximize=True,
)


class TrackerContract(ABC):
    """Inherit it as `TestX(TrackerContract)`."""

    @abstractmethod
    def make(self, folder: Path) -> Tracker:
        """Return a tracker that writes below a folder."""

    @abstractmethod
    def read(self, tracker: Tracker, folder: Path) -> Sequence[Run]:
        """Return what was written, as the tracker's own files tell it."""

    def test_runs_are_read_back_as_they_were_written(self, workspace: Path) -> None:
        tracker = self.make(workspace)
        other = replace(RUN, id="optimizers-sgd-digits-s1", job_type="sgd", curve=())
        tracker.record(RUN)
        tracker.record(other)
        tracker.close()
        read = {run.id: run for run in self.read(tracker, workspace)}
        assert read.keys() == {RUN.id, other.id}
        for written in (RUN, other):
            run = read[written.id]
            assert (run.group, run.job_type, set(run.tags)) == (written.group, written.job_type, set(written.tags))
            assert run.config == written.config
            assert [dict(point) for point in run.curve] == [pytest.approx(dict(point)) for point in written.curve]
            assert run.summary == {key: value for key, value in written.summary.items() if value is not None}

    def test_a_run_may_be_written_again(self, workspace: Path) -> None:
        tracker = self.make(workspace)
        tracker.record(RUN)
        tracker.record(RUN)
        tracker.close()
        assert {run.id for run in self.read(tracker, workspace)} == {RUN.id}

    def test_it_says_where_to_look(self, workspace: Path) -> None:
        assert self.make(workspace).how_to_see()
