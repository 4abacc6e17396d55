"""Tests that every tracker must pass; a subclass makes the tracker and reads its files back."""

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalbench.mirror import conclusion
from evalbench.tracking import Conclusion, Run, Tracker

CURVE: list[dict[str, float]] = [
    {"epoch": 1.0, "step": 34, "train/loss": 0.7, "val/loss": 0.5, "val/accuracy": 0.8},
    {"epoch": 2.0, "step": 68, "train/loss": 0.4, "val/loss": 0.6, "val/accuracy": 0.75},
]
RUN = Run(
    id="adam-digits-s0-0f1e2d3c",
    name="adam-digits-s0",
    group="optimizers",
    job_type="adam",
    tags=("digits", "adam"),
    notes="adam on digits, seed 0",
    config={"optimizer": "adam", "lr": 0.001, "seed": 0, "trial": "f0", "tree": {"optimizer": {"betas": [0.9, 0.999]}}},
    curve=CURVE,
    summary={"test/accuracy": 0.97, "cost/steps": 68, "state": "COMPLETE", "diverged_step": None},
    score="val/accuracy",
    maximize=True,
)
REPORT = "# Which optimizer?\n\nadam: Adopt.\n"


def assert_same(read: Run, written: Run, keeps_steps: bool = True) -> None:
    for name in ("id", "name", "group", "job_type", "notes"):
        assert getattr(read, name) == getattr(written, name), name
    assert set(read.tags) == set(written.tags)
    assert read.config == written.config
    axes = {"epoch", *(["step"] if keeps_steps else [])}  # some trackers keep the axis of the curve alone
    curve = [{key: point[key] for key in point if key in axes or "/" in key} for point in written.curve]
    assert [dict(point) for point in read.curve] == [pytest.approx(point) for point in curve]
    summary = {key: value for key, value in written.summary.items() if value is not None}
    assert read.summary == {k: v if isinstance(v, str) else pytest.approx(v) for k, v in summary.items()}


class TrackerContract(ABC):
    """Test a tracker: inherit as `TestX(TrackerContract)`."""

    keeps_steps = True
    """False if a curve over epochs has no optimizer steps."""

    @abstractmethod
    def make(self, folder: Path) -> Tracker:
        """Return a tracker that writes below a folder."""

    @abstractmethod
    def read(self, folder: Path) -> Sequence[Run]:
        """Return the runs of trials, read from the tracker's own files."""

    @abstractmethod
    def read_reports(self, folder: Path) -> Sequence[str]:
        """Return the written reports."""

    def test_runs_are_read_back_as_they_were_written(self, workspace: Path) -> None:
        tracker = self.make(workspace)
        second = replace(RUN, id="sgd-digits-s1-0f1e2d3c", name="sgd-digits-s1", job_type="sgd", curve=())
        tracker.record(RUN)
        tracker.record(second)
        tracker.close()
        read = {run.id: run for run in self.read(workspace)}
        assert read.keys() == {RUN.id, second.id}
        assert_same(read[RUN.id], RUN, self.keeps_steps)
        assert_same(read[second.id], second, self.keeps_steps)

    def test_a_run_that_is_written_twice_exists_once(self, workspace: Path) -> None:
        for curve in (CURVE[:1], CURVE, CURVE):  # the first tracker ended before the trial
            tracker = self.make(workspace)
            tracker.record(replace(RUN, curve=curve, running=len(curve) == 1))
            tracker.record(replace(RUN, id=f"more-{RUN.id}", name=f"more-{RUN.name}"))
            tracker.close()
        run, longer = sorted(self.read(workspace), key=lambda run: len(run.id))
        assert_same(run, RUN, self.keeps_steps)
        assert_same(longer, replace(RUN, id=f"more-{RUN.id}", name=f"more-{RUN.name}"), self.keeps_steps)

    def test_a_rerun_with_other_settings_does_not_mix_with_the_earlier_run(self, workspace: Path) -> None:
        other = replace(RUN, id="adam-digits-s0-3c2d1e0f", config={**RUN.config, "trial": "e1"}, curve=CURVE[:1])
        elsewhere = replace(RUN, id="adam-digits-s0-aaaaaaaa", group="another-evaluation")
        for runs in ((RUN, elsewhere), (other,)):
            tracker = self.make(workspace)
            for run in runs:
                tracker.record(run)
            tracker.close()
        read = {run.id: run for run in self.read(workspace)}
        assert read.keys() >= {other.id, elsewhere.id}
        for run in (RUN, other, elsewhere):
            if run.id in read:  # a tracker may replace the earlier run, or show both
                assert_same(read[run.id], run, self.keeps_steps)

    def test_a_run_in_training_grows(self, workspace: Path) -> None:
        tracker = self.make(workspace)
        for points in (0, 1, 1, 2):
            tracker.record(replace(RUN, curve=CURVE[:points], running=True, summary={}))
        tracker.record(RUN)
        tracker.close()
        (run,) = self.read(workspace)
        assert_same(run, RUN, self.keeps_steps)

    def test_the_evaluation_is_shown_beside_its_runs_once(self, workspace: Path) -> None:
        self.make(workspace).record(RUN)
        for _ in range(2):
            tracker = self.make(workspace)
            tracker.conclude(drawn(workspace / "report"))
            tracker.close()
        assert self.read_reports(workspace) == [REPORT]
        assert len(self.read(workspace)) == 1

    def test_it_names_the_command_that_shows_the_runs(self, workspace: Path) -> None:
        assert self.make(workspace).how_to_see()


def drawn(folder: Path) -> Conclusion:
    """Return the conclusion of a small report folder."""
    (folder / "numbers").mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "report.md").write_text(REPORT)
    (folder / "results.csv").write_text("technique,seed,score,message\nsgd,0,0.5,\nadam,0,0.75,\n")
    (folder / "numbers" / "verdicts.csv").write_text("technique,ring,effect\nsgd,baseline,\nadam,ADOPT,0.25\n")
    (folder / "figures" / "scores.png").write_bytes(one_pixel())
    asked = {"question": "Which optimizer?", "factor": "optimizer", "baseline": "sgd", "command": "evalbench"}
    return conclusion.read(folder, "optimizers", asked, [RUN.id])


def one_pixel() -> bytes:
    """Return a PNG image of one pixel."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
