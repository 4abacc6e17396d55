"""Ranks over data sets: Friedman's test as Iman and Davenport corrected it, and the critical-difference picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats


def rank_rows(scores: npt.ArrayLike) -> Floats:
    """Return ranks of k techniques on each of D data sets, shape (D, k), 1 the largest score; ties share their mean.

    Scores are rounded to 10 decimals, so that a tie is not broken by rounding.
    """
    rounded = np.round(np.asarray(scores, dtype=np.float64), 10)
    ranks: Floats = stats.rankdata(-rounded, axis=1)
    return ranks


@dataclass(frozen=True)
class RankTest:
    """Do the average ranks of k techniques over D data sets differ by more than chance?"""

    average_ranks: tuple[float, ...]
    chi2: float  # Friedman's statistic, without the correction for ties, as in Demšar
    f: float  # Iman and Davenport's; infinite if all data sets agree
    degrees: tuple[int, int]
    p: float  # nan if every data set ties all techniques
    kendalls_w: float  # agreement of the data sets, 0 to 1


def iman_davenport(ranks: npt.ArrayLike) -> RankTest:
    """Test on ranks of shape (D, k), D ≥ 2, k ≥ 2.

    `chi2 = 12 D / (k (k+1)) [Σ R_j² - k (k+1)² / 4]`, `F = (D - 1) chi2 / (D (k - 1) - chi2)` on k - 1 and
    (k - 1)(D - 1) degrees of freedom.

    Raises:
        ValueError: fewer than two data sets or techniques.

    Source: Iman and Davenport, Communications in Statistics 9 (1980); Demšar, JMLR 7 (2006), section 3.2.2.
    """
    table = np.asarray(ranks, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"ranks must cover at least two data sets and two techniques, not {table.shape}")
    D, k = table.shape
    mean = table.mean(axis=0)
    chi2 = 12 * D / (k * (k + 1)) * (float(mean @ mean) - k * (k + 1) ** 2 / 4)
    remainder = D * (k - 1) - chi2
    degrees = (k - 1, (k - 1) * (D - 1))
    if np.allclose(table, table[:, :1]):
        f, p = math.nan, math.nan
    elif remainder <= 1e-9:
        f, p = math.inf, 0.0
    else:
        f = (D - 1) * chi2 / remainder
        p = float(stats.f.sf(f, *degrees))
    return RankTest(tuple(float(x) for x in mean), chi2, f, degrees, p, chi2 / (D * (k - 1)))


def critical_difference(num_techniques: int, num_datasets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's `CD = q_α sqrt(k (k+1) / (6 D))`, q the studentized range over sqrt(2), infinite freedom.

    Source: Demšar, JMLR 7 (2006), section 3.2.2 and Table 5.
    """
    return nemenyi_q(num_techniques, alpha) * _rank_error(num_techniques, num_datasets)


@cache
def nemenyi_q(num_techniques: int, alpha: float = 0.05) -> float:
    """Return the critical value q of Nemenyi's test for k techniques."""
    return float(stats.studentized_range.ppf(1 - alpha, num_techniques, np.inf)) / math.sqrt(2)


def cliques(average_ranks: Sequence[float], difference: float) -> list[tuple[int, ...]]:
    """Return the maximal groups of at least two techniques whose average ranks span less than `difference`, best first.

    Each group holds indices into `average_ranks`, best rank first: the bars of the critical-difference picture.
    """
    order = sorted(range(len(average_ranks)), key=lambda i: average_ranks[i])
    groups: list[tuple[int, ...]] = []
    reached = -1
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and average_ranks[order[end + 1]] - average_ranks[order[start]] < difference:
            end += 1
        if end > start and end > reached:
            groups.append(tuple(order[start : end + 1]))
            reached = end
    return groups


def shared_ranks(beats: npt.ArrayLike) -> tuple[int, ...]:
    """Return the rank of each technique: one more than the number of techniques that beat it; equals share a rank.

    Args:
        beats: shape (k, k), whether the technique of the row was shown to be better than that of the column.
    """
    won = np.asarray(beats, dtype=bool)
    return tuple(int(count) + 1 for count in won.sum(axis=0))


def _rank_error(num_techniques: int, num_datasets: int) -> float:
    return math.sqrt(num_techniques * (num_techniques + 1) / (6 * num_datasets))
