"""The tracker's contract, the tracker that does nothing, and the one that remembers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Run:
    """One trial as a tracker sees it."""

    id: str
    """Readable, unique within a project, the same for the same trial of the same evaluation."""
    group: str
    """The evaluation."""
    job_type: str
    """The technique."""
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    """The whole resolved configuration, plain values."""
    curve: Sequence[Mapping[str, float]]
    """One mapping per validation: `epoch`, `step`, and metrics named `split/name`."""
    summary: Mapping[str, float | int | str | None]
    """The trial's final values."""
    score: str
    """The name of the validation metric in the curve, such as `val/accuracy`."""
    maximize: bool
    """Its direction."""


class Tracker(Protocol):
    """Where runs are mirrored to. A method may raise anything: the caller goes on without the tracker."""

    def record(self, run: Run) -> None:
        """Write one finished run; writing it again replaces it or leaves one more copy of the same content."""

    def close(self) -> None:
        """Finish whatever is open."""

    def how_to_see(self) -> str | None:
        """Return one line for the terminal: where the runs are and how to look at them."""


class NullTracker:
    """Mirrors nothing."""

    def record(self, run: Run) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def how_to_see(self) -> str | None:
        """Return nothing: there is nothing to see."""
        return None


class MemoryTracker:
    """Keeps runs in a list, for tests and notebooks."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}

    def record(self, run: Run) -> None:
        """Keep the run."""
        self.runs[run.id] = run

    def close(self) -> None:
        """Do nothing."""

    def how_to_see(self) -> str | None:
        """Say how many runs there are."""
        return f"{len(self.runs)} runs in memory"
