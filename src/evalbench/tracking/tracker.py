"""The tracker's contract: what a tracker is told, and the tracker that remembers it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Table:
    """A table of plain values."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[float | int | str | None]]


@dataclass(frozen=True)
class Run:
    """One trial as a tracker sees it, in training or ended."""

    id: str
    """Readable, unique within a project, the same for the same trial of the same evaluation."""
    group: str
    """The evaluation."""
    job_type: str
    """The technique."""
    tags: tuple[str, ...]
    notes: str
    """Markdown."""
    config: Mapping[str, Any]
    """Flat values to filter and group by; below `tree` the whole resolved configuration."""
    curve: Sequence[Mapping[str, float]]
    """One mapping per validation: `epoch`, `step`, and metrics named `split/name`."""
    summary: Mapping[str, float | int | str | None]
    """The trial's final values."""
    score: str
    """The name of the validation metric in the curve, such as `val/accuracy`."""
    maximize: bool
    """Its direction."""
    axis: str = "epoch"
    """What the curve is drawn over: `epoch`, or `step` where the budget is in steps."""
    running: bool = False
    """In training: the curve so far, no summary yet."""
    process: int | None = None
    """The process on this machine that trains the trial's cohort, where this run stands for the cohort."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """What belongs to the run and is no curve, by name, for trackers that show tables."""

    def points(self, first: int = 0) -> list[tuple[int, dict[str, float]]]:
        """Return the curve from its point `first` on: each place on the axis, and what was measured there."""
        return [(int(p[self.axis]), {k: v for k, v in p.items() if k != self.axis}) for p in self.curve[first:]]

    @property
    def last(self) -> int:
        """The place on the axis of the curve's last point."""
        return int(self.curve[-1][self.axis]) if self.curve else 0


@dataclass(frozen=True)
class Conclusion:
    """What an evaluation came to, to be shown beside its runs."""

    evaluation: str
    notes: str
    config: Mapping[str, Any]
    """What was asked, flat."""
    summary: Mapping[str, float | int | str]
    tables: Mapping[str, Table]
    """`results`, a row per trial, and `verdicts`, a row per technique, where there are any."""
    figures: Mapping[str, Path]
    files: Sequence[Path]
    """`report.md` and `results.csv`."""
    run_ids: Sequence[str]
    """The runs that it was drawn from."""

    @property
    def id(self) -> str:
        """The identity of the run that shows it."""
        return f"{self.evaluation}-evaluation"


class Tracker(Protocol):
    """Where runs are mirrored to. A method may raise anything: what it was given is sent again another time."""

    def record(self, run: Run) -> None:
        """Write a run as it stands, over what is there of it.

        One that is `running` comes again with a longer curve, or ended; the tracker may keep it open until then.
        """

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the evaluation's own run, over what is there of it."""

    def close(self) -> None:
        """Let go of whatever is open."""

    def how_to_see(self) -> str | None:
        """Return one line or more for the terminal: where the runs are and how to look at them."""


class MemoryTracker:
    """Keeps what it is told, for tests and notebooks."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.conclusions: dict[str, Conclusion] = {}

    def record(self, run: Run) -> None:
        """Keep the run."""
        self.runs[run.id] = run

    def conclude(self, conclusion: Conclusion) -> None:
        """Keep the conclusion."""
        self.conclusions[conclusion.id] = conclusion

    def close(self) -> None:
        """Do nothing."""

    def how_to_see(self) -> str | None:
        """Say how many runs there are."""
        return f"{len(self.runs)} runs in memory"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values with dotted names; lists stay whole."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that a curve can be drawn of."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
