from collections.abc import Sequence
from pathlib import Path

import pytest

from contracts.tracker import RUN, TrackerContract
from evalbench.errors import ConfigError
from evalbench.tracking import MemoryTracker, NullTracker, Run, Tracker
from evalbench.tracking.wandb import WandbTracker
from wandb_files import read_run


class TestMemory(TrackerContract):
    def make(self, folder: Path) -> Tracker:
        return MemoryTracker()

    def read(self, tracker: Tracker, folder: Path) -> Sequence[Run]:
        assert isinstance(tracker, MemoryTracker)
        return [
            Run(**{**vars(run), "summary": {key: value for key, value in run.summary.items() if value is not None}})
            for run in tracker.runs.values()
        ]


class TestWandb(TrackerContract):
    def make(self, folder: Path) -> Tracker:
        return WandbTracker("evalbench", None, "offline", str(folder / "runs"))

    def read(self, tracker: Tracker, folder: Path) -> Sequence[Run]:
        return [read_run(path)[0] for path in sorted(folder.glob("runs/wandb/offline-run-*/*.wandb"))]


def test_wandb_curves_have_a_declared_axis(workspace: Path) -> None:
    WandbTracker("evalbench", None, "offline", str(workspace)).record(RUN)
    (path,) = workspace.glob("wandb/offline-run-*/*.wandb")
    _, axes = read_run(path)
    assert {axes[name] for name in ("train/*", "val/*", "val/loss", "val/accuracy")} == {"epoch"}


def test_wandb_knows_three_modes() -> None:
    with pytest.raises(ConfigError, match=r"^tracker\.mode must be one of offline, online, disabled, not 'on'"):
        WandbTracker("evalbench", None, "on", "runs")


def test_the_null_tracker_has_nothing_to_show() -> None:
    tracker = NullTracker()
    tracker.record(RUN)
    tracker.close()
    assert tracker.how_to_see() is None
