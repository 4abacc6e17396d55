"""What the rows of a foreign table repeat, how much of their rows two repetitions share, and which rows are pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
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


PAIRINGS = ("seed", "item", "fold", "none")
"""What makes two runs a pair: the same number of a seed, item or fold. `none`: runs of two techniques share nothing."""
ESTABLISHED = {"split": "seed", "fold": "fold", "item": "item"}
"""The pairing that a unit establishes by itself: the same split, fold or item is the same rows for all techniques."""


def pairing_of(declared: str | None, unit: str | None, same_seeds: bool) -> str:
    """Return how the runs of two techniques belong together: as declared, else as established, else `none`.

    Args:
        declared: by the user.
        unit: what a row repeats, a key of `UNITS`.
        same_seeds: whether the table is known to draw split, initial weights and order from the seed.
    """
    return declared or ESTABLISHED.get(unit or "") or ("seed" if same_seeds else "none")


def unit_of_column(name: object) -> str | None:
    """Return the unit that the name of a column says: `fold` of `Fold`, `item` of `question_id`; None if it says none.

    `seed` says nothing: whether seeds share test rows is not in the name.
    """
    bare = str(name).lower().removesuffix("_id").removesuffix("_number").removesuffix("s")
    return COLUMNS.get(bare)


def repetition_column(columns: Iterable[object], unit: str | None) -> str | None:
    """Return the first column whose name says a unit: this one, or any if it is None; None if there is none."""
    named = ((str(column), unit_of_column(column)) for column in columns)
    return next((name for name, said in named if said is not None and unit in (None, said)), None)


COLUMNS = {"fold": "fold", "cv_fold": "fold", "split": "split", "item": "item", "question": "item", "example": "item"}
COLUMNS |= {"doc": "item", "run": "run", "trial": "run", "study": "study", "studie": "study"}

NEW, SAME = "new rows of the same kind", "these test rows"
UNITS: Mapping[str, Repetition] = {
    "split": Repetition("a split, drawn anew from one pool of rows", NEW, RowScope.NEW_ROWS, _share),
    "seed": Repetition("a seed, with the same test rows for all seeds", SAME, RowScope.THESE_ROWS, _none),
    "fold": Repetition("a fold of cross-validation", NEW, RowScope.NEW_ROWS, _share_of_fold),
    "run": Repetition("a new run, tested on the same rows as the other runs", SAME, RowScope.THESE_ROWS, _none),
    "study": Repetition(
        "a whole study, tuning included, tested on the same rows as others", SAME, RowScope.THESE_ROWS, _none
    ),
    "item": Repetition("a test item", f"{NEW} and these trained models", RowScope.NEW_ROWS, _none),
}
"""By the name that `--unit` takes. Repeated k folds have the term of k folds."""
