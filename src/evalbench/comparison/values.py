"""What changed between two evaluations: one technique, and all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalbench.statistics.verdicts import Quality

WORSE = (Quality.INFERIOR,)
BETTER = (Quality.SUPERIOR,)


@dataclass(frozen=True)
class Change:
    """One technique, new minus old, in the common unit."""

    technique: str
    mean: float
    low: float
    high: float
    quality: Quality  # of new against old
    paired: bool  # the same seeds on the same data; otherwise seeds are independent and the interval is Welch's
    recommendations: tuple[str, str]  # old and new; "baseline" for the baseline
    ranks: tuple[int, int]
    cost: tuple[float, float]  # ratios to the baseline, old and new; nan if not measured
    worse_on: tuple[str, ...] = ()  # workloads on which it got worse beyond the ROPE, corrected for all of them

    @property
    def words(self) -> str:
        """Return the change in a few words."""
        if self.quality in WORSE:
            return "got worse"
        if self.worse_on:
            return f"got worse on {', '.join(self.worse_on)}"
        if self.quality in BETTER:
            return "got better"
        return {
            Quality.EQUIVALENT: "practically the same",
            Quality.MIXED: "better on some data sets, worse on others",
            Quality.BETTER: "slightly better",
            Quality.WORSE: "slightly worse",
        }.get(self.quality, "within noise")


@dataclass(frozen=True)
class Comparison:
    """Two evaluations against each other."""

    changes: tuple[Change, ...]
    only_old: tuple[str, ...]  # techniques
    only_new: tuple[str, ...]
    workloads: tuple[str, ...]  # those that both have
    dropped: tuple[str, ...]  # workloads that only one of them has
    provenance: Mapping[str, tuple[str, str]]  # what differs: old and new
    rope: float
    unit: str
    scale: float  # from a change of which larger is better to the printed one: below zero if lower is better
    confidence: float  # of each interval
    reach: float  # the largest possible change in size, infinite if it is not known
    decimals: int  # of a printed change
    of_effects: bool = False  # changes of effects against the baseline, since the scores are not there

    @property
    def worse(self) -> tuple[str, ...]:
        """Return the techniques that evidently got worse beyond the ROPE, over the data sets or on one of them."""
        return tuple(change.technique for change in self.changes if change.quality in WORSE or change.worse_on)
