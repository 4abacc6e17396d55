"""What the rows of a foreign table repeat, and how much of their rows two repetitions share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class RowScope(StrEnum):
    """The rows that an interval over repetitions speaks of."""

    NEW_ROWS = "new rows"
    THESE_ROWS = "these test rows"  # every repetition was tested on them
    UNKNOWN = "these rows"  # whether repetitions share rows is not known: nothing is claimed beyond them


@dataclass(frozen=True)
class Repetition:
    """One value of `--unit`.

    rho: the correlation term that is added to 1/n (Nadeau and Bengio, 2003), from test rows / training rows and the
        number of folds, each nan where it is not known.
    """

    meaning: str
    scope: str  # what the intervals hold for, in words
    rows: RowScope
    rho: Callable[[float, float], float]


def _none(share: float, folds: float) -> float:
    return 0.0


def _share(share: float, folds: float) -> float:
    return share


def _share_of_fold(share: float, folds: float) -> float:
    return share if math.isfinite(share) else 1 / (folds - 1)


NEW, SAME = "new rows of the same kind", "these test rows"
UNITS: Mapping[str, Repetition] = {
    "split": Repetition("a split, drawn anew from one pool of rows", NEW, RowScope.NEW_ROWS, _share),
    "seed": Repetition("a seed, with the same test rows for all seeds", SAME, RowScope.THESE_ROWS, _none),
    "fold": Repetition("a fold of cross-validation", NEW, RowScope.NEW_ROWS, _share_of_fold),
    "run": Repetition("a new run, tested on the same rows as the other runs", SAME, RowScope.THESE_ROWS, _none),
    "item": Repetition("a test item", f"{NEW} and these trained models", RowScope.NEW_ROWS, _none),
}
"""By the name that `--unit` takes. Repeated k folds have the term of k folds."""
