"""Paired effects: a challenger minus its comparator, matched by key and never by row order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evalbench.errors import TableError
from evalbench.statistics.intervals import ROUNDING, Interval, clopper_pearson, t_interval


@dataclass(frozen=True)
class Pairs:
    """The complete pairs of two techniques, and the keys that had to be left out.

    table: one row per pair: the keys, `candidate` and `baseline` (scores oriented so that larger is better),
        `difference` (challenger minus baseline), and `decided`: -1 if the challenger alone failed, which is a loss
        whatever the scores, 1 if the baseline alone did, else 0.
    left_out: one row per key without two scores: the keys and the `reason`.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame


@dataclass(frozen=True)
class PairedEffect:
    """What n pairs say about a challenger against its baseline; larger is better for the challenger."""

    interval: Interval  # of the mean difference, widened for redrawn splits: this one decides
    rows_only: Interval  # the same without the widening: holds for these rows, not for new ones
    wins: int
    ties: int
    losses: int
    win_probability: float  # P(challenger > baseline), a tie counting half; nan without pairs
    win_interval: tuple[float, float]  # exact (Clopper-Pearson) interval of it
    correlation: float  # of the two scores over the pairs; nan if one of them does not vary

    @property
    def count(self) -> int:
        """Number of pairs."""
        return self.wins + self.ties + self.losses


def pair(trials: pd.DataFrame, challenger: str, baseline: str, keys: Sequence[str], complete: bool = True) -> Pairs:
    """Match the trials of two techniques by key.

    Args:
        trials: columns `technique`, `state`, `direction`, `score`, `failed` and the keys; a row per trial. `failed` is
            1 for a trial that failed and counts with the score given, which it did not reach; 0 for one that worked.
        challenger: the technique whose gain is positive.
        baseline: the technique that it is compared with.
        keys: what makes two trials comparable, such as workload, seed and the other factors.
        complete: whether every key must be there for both; else what has no partner is listed in `left_out`.

    Raises:
        TableError: a key occurs twice for a technique, or occurs for one of the two and not for the other. A trial
            without a score must be present as a row with its state; such pairs are listed in `left_out`.
    """
    on = list(keys)
    sides = [_side(trials, technique, on) for technique in (challenger, baseline)]
    both = sides[0].merge(sides[1], on=on, how="outer", suffixes=("_a", "_b"), indicator="found", sort=False)
    both = both.sort_values(on, kind="stable", ignore_index=True)
    for label, technique in (("right_only", challenger), ("left_only", baseline)):
        missing = both.loc[both["found"] == label, on]
        if len(missing) and complete:
            raise TableError(
                f"results have no trial of {technique!r} for {_names(missing)}: every pair needs both techniques"
                " (a trial that failed is a row with state FAILED)"
            )
    there = both[["score_a", "score_b"]].notna().all(axis=1)
    sides_of = {"a": challenger, "b": baseline}
    reasons = [
        " and ".join(
            f"{name} {'has no run' if pd.isna(row[f'state_{of}']) else row[f'state_{of}']}"
            for of, name in sides_of.items()
            if pd.isna(row[f"score_{of}"])
        )
        for row in both[~there].to_dict("records")
    ]
    sign = np.where(both["direction_a"] == "minimize", -1.0, 1.0)
    table = both[on].copy()
    table["candidate"] = sign * both["score_a"]
    table["baseline"] = sign * both["score_b"]
    table["decided"] = both["failed_b"] - both["failed_a"]
    table["difference"] = never_gained(table["candidate"] - table["baseline"], table["decided"])
    left_out = both.loc[~there, on].assign(reason=reasons)
    return Pairs(table[there].reset_index(drop=True), left_out.reset_index(drop=True))


def paired_effect(
    challenger: npt.ArrayLike,
    baseline: npt.ArrayLike,
    confidence: float,
    rho: float = 0.0,
    decided: npt.ArrayLike = 0.0,
) -> PairedEffect:
    """Return the effect of a challenger over n pairs.

    Args:
        challenger, baseline: shape (n,), the scores of the pairs, oriented so that larger is better; n may be 0.
        confidence: level of every interval here, already adjusted for the family.
        rho: see `t_interval`.
        decided: shape (n,), below zero for a pair that is lost and above zero for one that is won whatever its scores,
            because one side failed; zero if the scores decide.

    Differences that are rounding alone count as ties.
    """
    a, b = np.asarray(challenger, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    difference = never_gained(a - b, decided)
    scale = float(np.abs(np.concatenate([a, b])).max()) if a.size else 0.0
    difference[np.abs(difference) <= ROUNDING * scale] = 0.0
    outcome = np.where(np.asarray(decided) != 0, decided, difference)
    wins, losses = int((outcome > 0).sum()), int((outcome < 0).sum())
    n = int(difference.size)
    ties = n - wins - losses
    return PairedEffect(
        interval=t_interval(difference, confidence, rho),
        rows_only=t_interval(difference, confidence, 0.0),
        wins=wins,
        ties=ties,
        losses=losses,
        win_probability=(wins + ties / 2) / n if n else math.nan,
        win_interval=clopper_pearson(wins + ties / 2, n, confidence) if n else (math.nan, math.nan),
        correlation=correlation(a, b),
    )


def never_gained(difference: npt.ArrayLike, decided: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the differences, zero if a side that failed would be ahead of one that works.

    Args:
        difference: challenger minus baseline, larger being better.
        decided: of the same shape: -1 if the challenger alone failed, 1 if the baseline alone did.
    """
    d, by = np.asarray(difference, dtype=np.float64), np.asarray(decided, dtype=np.float64)
    return np.where(by <= -1, np.minimum(d, 0.0), np.where(by >= 1, np.maximum(d, 0.0), d))


def correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the Pearson correlation of two arrays of shape (n,); nan for n < 2 or if one of them does not vary."""
    if a.size < 2:
        return math.nan
    x, y = a - a.mean(), b - b.mean()
    if min(_spread(x, a), _spread(y, b)) <= ROUNDING:
        return math.nan
    return float((x @ y) / math.sqrt(float(x @ x) * float(y @ y)))


def _spread(centered: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float:
    largest = float(np.abs(values).max())
    return float(np.abs(centered).max()) / largest if largest else 0.0


def _side(trials: pd.DataFrame, technique: str, on: list[str]) -> pd.DataFrame:
    side = trials.loc[trials["technique"] == technique, [*on, "state", "direction", "score", "failed"]]
    twice = side.loc[side.duplicated(on), on]
    if len(twice):
        raise TableError(f"results have more than one trial of {technique!r} for {_names(twice)}: keep one of each")
    return side


def _names(keys: pd.DataFrame, most: int = 3) -> str:
    """Return the first few keys in words: `workload digits, seed 3`."""
    ordered = keys.drop_duplicates().sort_values(list(keys.columns), kind="stable")
    texts = [
        ", ".join(f"{name} {value}" for name, value in row.items()) for row in ordered.head(most).to_dict("records")
    ]
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return "; ".join(texts) + more
