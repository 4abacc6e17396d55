"""Tests and their p-values: the second line of a report, printed beside the intervals that decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import ROUNDING, Floats

MOST_DRAWS_AT_ONCE = 2**24  # numbers: those of thousands of differences, such as test items, would need gigabytes
EXACT_RANKS = 13  # up to 2^13 sign vectors of ranks are enumerated, with or without ties
DRAWN_SIGNS = 2**14  # of stratified differences
FEWEST_NORMAL = 1_000  # values of about one size, from which on a sum with random signs is normal
EXACT_SIGNS = 16  # up to 2^16 sign vectors are enumerated; beyond, the same number is drawn


def _differences(values: npt.ArrayLike) -> Floats:
    # Differences of equal scores differ in their last bits: without rounding Wilcoxon sees ranks where there are ties.
    return np.asarray(np.round(np.asarray(values, dtype=np.float64), 10), dtype=np.float64)


def paired_t(differences: npt.ArrayLike) -> float:
    """Return the two-sided p of `t = mean / (s_d / sqrt(n))`, n - 1 degrees of freedom; nan without spread."""
    d = np.asarray(differences, dtype=np.float64)
    if d.size < 2 or d.std(ddof=1) <= ROUNDING * float(np.abs(d).max()):
        return math.nan
    return float(stats.ttest_1samp(d, 0.0).pvalue)


def sign_flip(differences: npt.ArrayLike, generator: np.random.Generator | None = None) -> float:
    """Return the two-sided p of the mean under all 2^n changes of sign of the differences, shape (n,).

    All sign vectors are enumerated up to n = 16. Beyond it, differences of one size, as of items that score 0 or 1,
    have an exact p (McNemar), thousands of differences a normal one, and of others 2^16 sign vectors are drawn from the
    generator, and the observed one is added to both counts, so that the p-value stays valid.

    Raises:
        ValueError: n > 16 and no generator.

    Source: Fisher, The Design of Experiments (1935); McNemar, Psychometrika 12 (1947).
    """
    d = _differences(differences)
    n = d.size
    if not n or not d.any():
        return 1.0
    if n <= EXACT_SIGNS:
        # The sign of the first difference may stay: the other half of the vectors are mirror images.
        signs = 1.0 - 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
        return _as_far(signs @ d, d) / len(signs)
    if generator is None:
        raise ValueError(f"{n} differences have too many signs to enumerate: give a generator")
    return _flips(d, 2**EXACT_SIGNS, generator)


def _flips(values: Floats, draws: int, generator: np.random.Generator) -> float:
    """Return the two-sided p of a sum under all changes of sign, without enumerating them.

    Exact (McNemar's test) if all values have one size. Normal if no value carries much of the variance; otherwise
    `draws` sign vectors are drawn, and the observed one is added to both counts.
    """
    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    if sizes.size == 1:
        return float(min(1.0, 2 * stats.binom.cdf(min((values > 0).sum(), (values < 0).sum()), counts[0], 0.5)))
    squares = values**2
    if float((squares**2).sum()) * FEWEST_NORMAL <= float(squares.sum()) ** 2:
        return float(2 * stats.norm.sf(abs(float(values.sum())) / math.sqrt(float(squares.sum()))))
    # Of c values of one size, the number that keeps its sign is binomial.
    hits, part = 1, min(draws, max(1, MOST_DRAWS_AT_ONCE // sizes.size))
    for first in range(0, draws, part):
        kept = generator.binomial(counts, 0.5, (min(part, draws - first), sizes.size))
        hits += _as_far((2.0 * kept - counts) @ sizes, values)
    return float(hits / (draws + 1))


def _as_far(sums: Floats, differences: Floats) -> int:
    """Return the number of sums that are at least as far from zero as the observed one."""
    return int((np.abs(sums) >= abs(float(differences.sum())) * (1 - 1e-9)).sum())


def asymmetry(differences: Sequence[Floats]) -> float:
    """Return p of D'Agostino's test of skewness on arrays of differences, each standardized by itself; nan is left out.

    nan below 20 of them in arrays with at least 5 and a spread.

    Source: D'Agostino, Belanger and D'Agostino, The American Statistician 44 (1990).
    """
    parts = []
    for column in differences:
        d = column[np.isfinite(column)]
        if d.size >= 5 and d.std() > ROUNDING * float(np.abs(d).max()):
            parts.append((d - d.mean()) / d.std(ddof=1))
    pooled = np.concatenate(parts) if parts else np.empty(0)
    return float(stats.skewtest(pooled).pvalue) if pooled.size >= 20 else math.nan


def stratified_flip(differences: Floats, generator: np.random.Generator) -> tuple[float, float]:
    """Return the two-sided p of the mean of W means under changes of sign of all pairs, and the smallest p possible.

    As in `sign_flip`, with 2^14 sign vectors if they are drawn.

    Args:
        differences: shape (S, W), nan if a seed has no pair on a workload.
        generator: draws the signs.

    Source: Fisher, The Design of Experiments (1935); stratified by workload.
    """
    d = np.nan_to_num(_differences(differences))
    weights = (d / np.maximum(np.isfinite(differences).sum(axis=0), 1)).ravel()
    weights = weights[weights != 0]
    if not weights.size:
        return 1.0, 1.0
    return _flips(weights, DRAWN_SIGNS, generator), max(2.0 ** (1 - weights.size), 1 / (DRAWN_SIGNS + 1))


def wilcoxon(differences: npt.ArrayLike, zeros: Literal["zsplit", "wilcox"] = "zsplit") -> float:
    """Return the two-sided p of Wilcoxon's signed rank test on differences of shape (n,), rounded to 10 decimals.

    `zeros`: `zsplit` shares the ranks of zero differences between the two sides (Demšar); `wilcox` drops them. Exact
    for n ≤ 13, and for n ≤ 50 without ties; 1 if all differences are zero.

    Source: Wilcoxon, Biometrics Bulletin 1 (1945); Demšar, JMLR 7 (2006), section 3.1.3.
    """
    d = _differences(differences)
    if not d.any():
        return 1.0
    d = d[d != 0] if zeros == "wilcox" else d
    if d.size > EXACT_RANKS:
        return float(stats.wilcoxon(d, zero_method=zeros, method="auto").pvalue)
    ranks, there = stats.rankdata(np.abs(d)), d != 0
    sums = ((np.arange(2 ** int(there.sum()))[:, None] >> np.arange(there.sum())) & 1) @ ranks[there]
    positive = float(ranks[d > 0].sum())
    return min(1.0, 2 * min(float((sums <= positive + 1e-9).mean()), float((sums >= positive - 1e-9).mean())))


def signed_rank_sums(differences: npt.ArrayLike, zeros: Literal["zsplit", "wilcox"] = "zsplit") -> tuple[float, float]:
    """Return the sums of the ranks of positive and of negative differences, rounded and treated as in `wilcoxon`."""
    d = _differences(differences)
    d = d[d != 0] if zeros == "wilcox" else d
    ranks = stats.rankdata(np.abs(d))
    split = float(ranks[d == 0].sum()) / 2
    return float(ranks[d > 0].sum()) + split, float(ranks[d < 0].sum()) + split


def equivalence(differences: npt.ArrayLike, rope: float, rho: float = 0.0) -> float:
    """Return p of two one-sided t tests (TOST): the larger of those against -rope and +rope; nan without spread.

    Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987); `rho` as in `t_interval`.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size < 2 or d.std(ddof=1) <= ROUNDING * float(np.abs(d).max()):
        return math.nan
    error = d.std(ddof=1) * math.sqrt(1 / d.size + rho)
    lower = stats.t.sf((d.mean() + rope) / error, d.size - 1)
    upper = stats.t.cdf((d.mean() - rope) / error, d.size - 1)
    return float(max(lower, upper))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values, in the order given: `p_(i) → max_{j≤i} min(1, (m - j + 1) p_(j))`.

    A p-value that is nan stays nan and counts in m, being a test that was planned.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not values.size:
        return ()
    known = np.where(np.isnan(values), 1.0, values)
    order = np.argsort(known, kind="stable")
    steps = known[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return tuple(float(x) for x in np.where(np.isnan(values), math.nan, adjusted))


def smallest_attainable(count: int) -> float:
    """Return the smallest two-sided p that a paired exact test can give with n pairs: `2 / 2^n`, and 1 for none."""
    return 2.0 ** (1 - count) if count else 1.0


def failure_rates(failed_a: int, count_a: int, failed_b: int, count_b: int) -> float:
    """Return Fisher's exact two-sided p for two rates of failure.

    Source: Fisher, Statistical Methods for Research Workers (1934).
    """
    table = np.array([[failed_a, count_a - failed_a], [failed_b, count_b - failed_b]])
    return float(stats.fisher_exact(table)[1])
