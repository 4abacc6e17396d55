"""Adjusted p-values for all pairs of k techniques: equal techniques leave only some sets of hypotheses possible."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats
from evalbench.statistics.significance import holm, wilcoxon

MOST_TECHNIQUES = 9  # of Bergmann and Hommel's procedure: 21,146 sets of hypotheses; ten techniques have 115,974


@dataclass(frozen=True)
class PairTest:
    """Wilcoxon's test of one pair over the data sets, and its p-value among those of all pairs."""

    p: float  # zero differences are split (Demšar)
    p_without_ties: float  # zero differences are dropped
    holm: float  # this one and the next are adjusted from `p`
    shaffer: float
    bergmann_hommel: float  # nan: not computed for so many techniques


def pair_tests(scores: npt.ArrayLike) -> dict[tuple[int, int], PairTest]:
    """Return the test of each pair (i, j), i < j, of techniques; scores of shape (D, k), finite."""
    table = np.asarray(scores, dtype=np.float64)
    k = table.shape[1]
    pairs = list(combinations(range(k), 2))
    p, dropped = ([wilcoxon(table[:, i] - table[:, j], zeros) for i, j in pairs] for zeros in ("zsplit", "wilcox"))
    adjusted = (p, dropped, holm(p), shaffer(p, k), bergmann_hommel(p, k))
    return {pair: PairTest(*values) for pair, values in zip(pairs, zip(*adjusted, strict=True), strict=True)}


def rank_pairs(average_ranks: Sequence[float], num_datasets: int) -> list[float]:
    """Return two-sided p of each pair (i, j), i < j: `z = (R_i - R_j) / sqrt(k (k + 1) / (6 D))`.

    Source: Demšar, JMLR 7 (2006), section 3.2.2.
    """
    k = len(average_ranks)
    error = math.sqrt(k * (k + 1) / (6 * num_datasets))
    return [float(2 * stats.norm.sf(abs(a - b) / error)) for a, b in combinations(average_ranks, 2)]


def shaffer(p_values: Sequence[float], k: int) -> tuple[float, ...]:
    """Return Shaffer's static adjusted p-values of all pairs of k techniques, in the order given.

    `p_(i) → max_{j≤i} min(1, t_j p_(j))`, t_j the most hypotheses that can be true once j - 1 are false.

    Raises:
        ValueError: the number of p-values is not k (k - 1) / 2.

    Source: Shaffer, JASA 81 (1986); García and Herrera, JMLR 9 (2008), section 2.1.
    """
    values = _of_all_pairs(p_values, k)
    possible = np.array(sorted(_numbers_of_true(k)))
    most = np.array([possible[possible <= values.size - i].max() for i in range(values.size)])
    factors = np.empty(values.size)
    factors[np.argsort(values, kind="stable")] = np.maximum(most, 1)
    return _monotone(factors * values, values)


def bergmann_hommel(p_values: Sequence[float], k: int) -> tuple[float, ...]:
    """Return Bergmann and Hommel's adjusted p-values of all pairs (i, j), i < j, in the order of `combinations`.

    `p_i → min(1, max_{I ∋ i} |I| min_{j ∈ I} p_j)`, I the exhaustive sets: all pairs within the groups of a partition
    of the techniques; a larger p never gets the smaller one. nan for more than `MOST_TECHNIQUES`.

    Raises:
        ValueError: the number of p-values is not k (k - 1) / 2.

    Source: Bergmann and Hommel (1988); García and Herrera, JMLR 9 (2008), section 2.2.
    """
    values = _of_all_pairs(p_values, k)
    if k > MOST_TECHNIQUES:
        return (math.nan,) * values.size
    sets = exhaustive_sets(k)
    bound = sets.sum(axis=1) * np.where(sets, values, np.inf).min(axis=1)
    return _monotone(np.where(sets, bound[:, None], 0.0).max(axis=0), values)


def _monotone(adjusted: Floats, p_values: Floats) -> tuple[float, ...]:
    """Let no hypothesis have a smaller adjusted p than one with a smaller p; at most 1."""
    order = np.argsort(p_values, kind="stable")
    raised = np.empty(p_values.size)
    raised[order] = np.minimum(1.0, np.maximum.accumulate(adjusted[order]))
    return tuple(map(float, raised))


@cache
def exhaustive_sets(k: int) -> npt.NDArray[np.bool_]:
    """Return the sets of pairs that can be true together, shape (sets, k (k - 1) / 2), without the empty set."""
    groups = np.array(list(_partitions(k)))
    pairs = np.array(list(combinations(range(k), 2)))
    together: npt.NDArray[np.bool_] = groups[:, pairs[:, 0]] == groups[:, pairs[:, 1]]
    return together[together.any(axis=1)]


def _partitions(k: int) -> Iterator[tuple[int, ...]]:
    """Yield the group of each of k techniques, for every partition."""
    if k == 0:
        yield ()
        return
    for groups in _partitions(k - 1):
        for group in range(max(groups, default=-1) + 2):
            yield (*groups, group)


@cache
def _numbers_of_true(k: int) -> frozenset[int]:
    """Return the possible numbers of true hypotheses: `S(k) = ∪_j {C(j, 2) + x : x ∈ S(k - j)}`."""
    if k < 2:
        return frozenset({0})
    return frozenset(math.comb(j, 2) + x for j in range(1, k + 1) for x in _numbers_of_true(k - j))


def _of_all_pairs(p_values: Sequence[float], k: int) -> Floats:
    values = np.asarray(p_values, dtype=np.float64)
    if values.size != math.comb(k, 2):
        raise ValueError(f"{k} techniques have {math.comb(k, 2)} pairs, not {values.size}")
    return values
