"""The contract of a tracker: the records that a tracker gets, and a tracker in memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

AXES = ("epoch", "step")
"""The positions of a point of a curve, which are no curves themselves."""
REPORT = "report"
"""The name of the evaluation's own run."""


@dataclass(frozen=True)
class Table:
    """A table of plain values."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[float | int | str | None]]


@dataclass(frozen=True)
class Run:
    """The record of one trial in a tracker, in training or ended."""

    id: str
    """Unique within a project: the name and a hash of the evaluation and the trial, whose settings it thus follows."""
    name: str
    """Readable, and unique within the evaluation, such as `adam-digits-s3`; a trial with other settings may have it."""
    group: str
    """The evaluation."""
    job_type: str
    """The technique."""
    tags: tuple[str, ...]
    notes: str
    """Markdown."""
    config: Mapping[str, Any]
    """Flat values to filter and group by; `tree` holds the whole resolved configuration."""
    curve: Sequence[Mapping[str, float]]
    """One mapping per validation: `epoch`, `step`, and metrics named `split/name`."""
    summary: Mapping[str, float | int | str | None]
    """The trial's final values."""
    score: str
    """The name of the validation metric in the curve, such as `val/accuracy`."""
    maximize: bool
    """True if a higher score is better."""
    axis: str = "epoch"
    """The horizontal axis of the curve: `epoch`, or `step` if the budget is in steps."""
    running: bool = False
    """True during training, when the curve is incomplete and the summary is empty."""
    process: int | None = None
    """The process on this machine that trains the trial's cohort, if this run represents the cohort."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """Tables of the run, by name, for trackers that show tables."""

    def points(self, first: int = 0) -> list[tuple[int, dict[str, float]]]:
        """Return the curve from its point `first` on, each with its position on the axis and its measured values."""
        return [(int(p[self.axis]), {k: v for k, v in p.items() if k not in AXES}) for p in self.curve[first:]]


@dataclass(frozen=True)
class Conclusion:
    """The results of an evaluation, shown beside its runs."""

    evaluation: str
    notes: str
    config: Mapping[str, Any]
    """The question, the factor and the baseline, as flat values."""
    summary: Mapping[str, float | int | str]
    tables: Mapping[str, Table]
    """`results` with a row per trial, and `verdicts` with a row per technique if there are verdicts."""
    figures: Mapping[str, Path]
    files: Sequence[Path]
    """`report.md` and `results.csv`."""
    run_ids: Sequence[str]
    """The runs behind the results."""

    @property
    def id(self) -> str:
        """Return the identity of the evaluation's own run."""
        return f"{REPORT}-{self.evaluation}"

    @property
    def report(self) -> str:
        """Return the text of `report.md`."""
        return next(path for path in self.files if path.suffix == ".md").read_text(encoding="utf-8")


class Tracker(Protocol):
    """The interface of a tracker. A method may raise any error; its record is then sent again later."""

    def record(self, run: Run) -> None:
        """Write a run, replacing its earlier state.

        A `running` run comes again with a longer curve, or ended; the tracker may keep the run open until then. A run
        with the same group and name but another id is the same seed with other settings: its curve is another one.
        """

    def conclude(self, conclusion: Conclusion) -> None:
        """Write the evaluation's own run, replacing its earlier state."""

    def close(self) -> None:
        """Close everything that is open."""

    def how_to_see(self) -> str | None:
        """Return lines for the terminal: the location of the runs and the command that shows them."""


class MemoryTracker:
    """Keep all records in memory, for tests and notebooks."""

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
        """Return the number of runs."""
        return f"{len(self.runs)} runs in memory"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values with dotted names; lists stay whole."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers, which a tracker can plot."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
