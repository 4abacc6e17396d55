"""The second verdict: does the effect generalize to data sets like these?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalbench.statistics.effects import hodges_lehmann
from evalbench.statistics.intervals import ROUNDING, Floats, Interval, half_width, t_interval
from evalbench.statistics.pooling import sign_is_stable
from evalbench.statistics.significance import wilcoxon
from evalbench.statistics.verdicts import FEWEST_DATASETS

FEWEST = 3
"""Fewest data sets whose spread is worth a test."""
FEWEST_TYPICAL = 8
"""Fewest data sets for the signed rank."""


@dataclass(frozen=True)
class Generality:
    """Whether the side of the first verdict holds for the mean over all data sets that D data sets stand for."""

    interval: Interval  # of the mean over data sets, with t_{D-1}, at the level of the family
    side: int  # of the first verdict: 1, -1, or 0 if it shows none
    num_datasets: int
    stable: bool  # the sign holds leaving one data set out
    typical: tuple[float, float] | None  # Hodges-Lehmann and p of the exact signed rank, with at least 8 data sets

    @property
    def tested(self) -> bool:
        """Return whether there was something to test, and enough data sets."""
        return self.side != 0 and self.num_datasets >= FEWEST

    @property
    def shown(self) -> bool:
        """Return whether the effect generalizes."""
        return self.tested and self.interval.side == self.side

    @property
    def words(self) -> str:
        """Return what the test says, in words."""
        return "not tested" if not self.tested else "generalizes" if self.shown else "not shown"

    @property
    def limits(self) -> tuple[str, ...]:
        """Return what limits a claim on data sets like these."""
        few = f"{self.num_datasets} data sets, fewer than {FEWEST_DATASETS}"
        unstable = "the sign changes when one data set is left out"
        return tuple(
            text for holds, text in ((self.num_datasets < FEWEST_DATASETS, few), (not self.stable, unstable)) if holds
        )


def generality(means: Floats, side: int, confidence: float) -> Generality:
    """Test the side of the first verdict on the means of D data sets, shape (D,).

    It is tested only if the first verdict shows a side, and for that side, so it costs no error rate (a fixed
    sequence). From 8 data sets on, the exact signed rank says how the typical data set differs, which is not the mean.

    Args:
        means: mean difference on each data set that was not generated, in the common unit.
        side: 1, -1, or 0 if the first verdict shows none.
        confidence: level of the family, `1 - alpha/m`.

    Source: Maurer, Hothorn and Lehmacher (1995).
    """
    typical = (hodges_lehmann(means), wilcoxon(means)) if means.size >= FEWEST_TYPICAL else None
    interval = t_interval(means, confidence)
    return Generality(interval, side, int(means.size), sign_is_stable(means), typical)


def generalizes(means: Floats, side: Any, confidence: float) -> npt.NDArray[np.bool_]:
    """Return whether the effect generalizes, elementwise: means of shape (..., D), sides of shape (...)."""
    D = means.shape[-1]
    if D < FEWEST:
        return np.zeros(np.shape(side), dtype=bool)
    spread = means.std(axis=-1, ddof=1)
    half = half_width(spread, D, confidence)
    spreads = spread > ROUNDING * np.abs(means).max(axis=-1)
    return np.asarray(spreads & (np.asarray(side) * means.mean(axis=-1) > half), dtype=bool)
