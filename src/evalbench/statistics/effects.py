"""Sizes of an effect other than the mean difference: standardized, robust, and as a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import ROUNDING

MOST_WALSH = 2_000  # differences whose averages in pairs are enumerated
BISECTIONS = 45


@dataclass(frozen=True)
class Standardized:
    """A mean difference in units of the standard deviation of the differences."""

    dz: float  # mean / sd; nan without spread
    hedges: float  # the same, corrected for its bias in small samples


def standardized(differences: npt.ArrayLike) -> Standardized:
    """Return `dz = mean / s_d`, and `g = dz · (1 - 3 / (4 (n - 1) - 1))`, for differences of shape (n,), n ≥ 2.

    Source: Hedges, Journal of Educational Statistics 6 (1981).
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size < 2 or d.std(ddof=1) <= ROUNDING * max(float(np.abs(d).max()), 1e-300):
        return Standardized(math.nan, math.nan)
    dz = float(d.mean() / d.std(ddof=1))
    return Standardized(dz, dz * (1 - 3 / (4 * (d.size - 1) - 1)))


def hodges_lehmann(differences: npt.ArrayLike) -> float:
    """Return the median of the Walsh averages `(d_i + d_j) / 2, i ≤ j` of differences of shape (n,); nan for none.

    Source: Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963).
    """
    d = np.asarray(differences, dtype=np.float64)
    if not d.size:
        return math.nan
    if d.size <= MOST_WALSH:
        i, j = np.triu_indices(d.size)
        return float(np.median((d[i] + d[j]) / 2))
    # By bisection: the averages of thousands of differences would fill the memory.
    values, counts = np.unique(d, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    low, high = float(values[0]), float(values[-1])
    half = d.size * (d.size + 1) / 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        pairs = float((counts * below[np.searchsorted(values, 2 * middle - values, "right")]).sum())
        up_to = (pairs + float(counts[values <= middle].sum())) / 2  # a pair is counted both ways, a value with itself
        low, high = (middle, high) if up_to < half else (low, middle)
    return high


def probability_of_superiority(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return `A12 = P(A > B) + P(A = B) / 2` over all n_a · n_b unpaired pairs of runs, shapes (n_a,) and (n_b,).

    Raises:
        ValueError: one side is empty.

    Source: Vargha and Delaney, Journal of Educational and Behavioral Statistics 25 (2000).
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not x.size or not y.size:
        raise ValueError("both sides need at least one run")
    wins = (x[:, None] > y).mean() + (x[:, None] == y).mean() / 2
    return float(wins)


@dataclass(frozen=True)
class Posterior:
    """Probabilities that the true difference is practically worse, practically the same, or practically better."""

    worse: float
    same: float
    better: float


def posterior_t(mean: float, sd: float, count: int, rope: float, rho: float = 0.0) -> Posterior:
    """Return the shares of the posterior `t_{n-1}(mean, s_d² (1/n + rho))` below -rope, inside, and above rope.

    Args:
        mean, sd, count: of the n ≥ 2 paired differences; sd > 0.
        rope: half the width of the region of practical equivalence, in the unit of the mean.
        rho: see `t_interval`.

    Source: Corani and Benavoli, A Bayesian approach for comparing cross-validated algorithms, Machine Learning 100
    (2015).
    """
    if count < 2 or not sd > 0:
        return Posterior(math.nan, math.nan, math.nan)
    spread = stats.t(count - 1, loc=mean, scale=sd * math.sqrt(1 / count + rho))
    worse, better = float(spread.cdf(-rope)), float(spread.sf(rope))
    return Posterior(worse, 1 - worse - better, better)


def posterior_signed_rank(
    differences: npt.ArrayLike, rope: float, generator: np.random.Generator, num_draws: int = 20_000
) -> Posterior:
    """Return the Bayesian signed rank over data sets: the share of draws in which each region has the most mass.

    Weights `w ~ Dirichlet(0.5, 1, ..., 1)`, the first for a prior observation at 0; then `better = Σ_ij w_i w_j
    [(z_i + z_j)/2 > rope]`, and likewise for the others. A tie of two regions is shared between them.

    Args:
        differences: shape (D,), one mean difference per data set.
        rope: half the width of the region of practical equivalence.
        generator: source of the draws; the same generator gives the same answer.

    Source: Benavoli, Corani, Mangili, Zaffalon and Ruggeri, ICML 2014; Benavoli et al., JMLR 18 (2017).
    """
    z = np.concatenate([[0.0], np.asarray(differences, dtype=np.float64)])
    weights = generator.dirichlet(np.concatenate([[0.5], np.ones(z.size - 1)]), num_draws)
    sums = z[:, None] + z
    mass = np.stack(
        [np.einsum("ki,ij,kj->k", weights, part, weights, optimize=True) for part in _regions(sums, 2 * rope)]
    )
    first = mass >= mass.max(axis=0) - 1e-12
    worse, same, better = (first / first.sum(axis=0)).mean(axis=1)
    return Posterior(float(worse), float(same), float(better))


def _regions(sums: npt.NDArray[np.float64], edge: float) -> list[npt.NDArray[np.float64]]:
    worse, better = sums < -edge, sums > edge
    return [part.astype(np.float64) for part in (worse, ~(worse | better), better)]
