"""Where the variance of scores comes from: a balanced crossed design of random sources, decomposed with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from evalbench.statistics.intervals import ROUNDING, Floats

WIDEST = 0.5
"""The widest interval of a share that counts as resolved: half of the range from 0 to 1."""
NUM_DRAWS = 10_000
SEED = 20_260_101


@dataclass(frozen=True)
class VarianceComponent:
    """The part of the variance that some sources carry together; the one of all sources is the rest."""

    sources: tuple[str, ...]
    variance: float  # the analysis of variance estimate, in squared units; it may be negative
    share: float  # of the sum of all parts, negative ones taken as 0
    low: float
    high: float
    largest: float  # share of the draws behind the interval in which no other part is larger: 0 to 1

    @property
    def resolved(self) -> bool:
        """Return whether the interval is narrow enough to say anything."""
        return self.high - self.low <= WIDEST


def decompose(values: Floats, sources: Sequence[str], confidence: float = 0.95) -> tuple[VarianceComponent, ...] | None:
    """Return the parts of the variance by source, by two sources together and so on, and the rest at the end.

    The model is `y = mean + Σ effects`, with a random effect for every set of sources, independent and normal. With
    one value per combination, the interaction of all sources cannot be told from noise of another kind: it is the rest.
    A part is estimated from the mean squares of the sets that contain its own, by inclusion and exclusion (for three
    sources: `(MS_A - MS_AB - MS_AC + MS_ABC) / (b c)`). Negative estimates count as 0 in the shares.

    The intervals are generalized ones: each mean square is divided by a draw of `χ²_df / df`, the shares are computed
    from the result in the same way, and the interval holds all but α/2 of the draws on each side.

    Args:
        values: a score per combination, an axis per source with at least two levels; for three sources (a, b, c).
        sources: names of the axes.
        confidence: 1 - α, of each interval by itself.

    Returns:
        None if the values have no spread.

    Raises:
        ValueError: a value is not finite, or an axis is missing or has one level.

    Source: Searle, Casella and McCulloch, Variance Components (1992), ch. 4, for the estimates; Weerahandi, Journal of
    the American Statistical Association 88 (1993), and Burdick, Borror and Montgomery, Design and Analysis of Gauge R&R
    Studies (2005), for the intervals.
    """
    if values.ndim != len(sources) or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError("a variance design needs a finite value for each combination, and two levels of each source")
    if float(np.ptp(values)) <= ROUNDING * float(np.abs(values).max()):
        return None
    sets = _sets(values.ndim)
    squares = np.array([_mean_square(values, axes) for axes in sets])
    matrix = _from_mean_squares(values.shape)
    variances = matrix @ squares
    pivots = matrix @ (squares / _chi_squares(values.shape)).T  # (sets, draws)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.clip(pivots / pivots.sum(axis=0), 0.0, 1.0), (tail, 1 - tail), axis=1)
    largest = (pivots == pivots.max(axis=0)).mean(axis=1)
    positive = np.maximum(variances, 0.0)
    numbers = zip(variances, positive / positive.sum(), low, high, largest, strict=True)
    return tuple(
        VarianceComponent(tuple(sources[axis] for axis in axes), *map(float, part))
        for axes, part in zip(sets, numbers, strict=True)
    )


def _sets(num_sources: int) -> list[tuple[int, ...]]:
    """Return all sets of axes: those of one first, the one of all last."""
    return [axes for size in range(1, num_sources + 1) for axes in combinations(range(num_sources), size)]


def _mean_square(values: Floats, axes: tuple[int, ...]) -> float:
    """Return the mean square of one set: the interaction of its axes, averaged over the other axes."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    effects: Floats = values.mean(axis=others, keepdims=True)
    for axis in axes:
        effects = effects - effects.mean(axis=axis, keepdims=True)
    per_effect: int = math.prod(values.shape[axis] for axis in others)
    return per_effect * float((effects**2).sum()) / _freedom(values.shape, axes)


def _freedom(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod(shape[axis] - 1 for axis in axes)


def _from_mean_squares(shape: tuple[int, ...]) -> Floats:
    """Return the matrix that turns mean squares into variances, both in the order of the sets.

    `σ²_S = Σ_{T ⊇ S} (-1)^{|T|-|S|} MS_T / Π_{i ∉ S} n_i`
    """
    sets = _sets(len(shape))
    matrix = np.zeros((len(sets), len(sets)))
    for row, axes in enumerate(sets):
        per_effect = math.prod(size for axis, size in enumerate(shape) if axis not in axes)
        for column, larger in enumerate(sets):
            if set(axes) <= set(larger):
                matrix[row, column] = (-1) ** (len(larger) - len(axes)) / per_effect
    return matrix


@cache
def _chi_squares(shape: tuple[int, ...]) -> Floats:
    """Return draws of `χ²_df / df` for each set, (draws, sets), the same ones every time."""
    freedoms = np.array([_freedom(shape, axes) for axes in _sets(len(shape))])
    draws: Floats = np.random.default_rng(SEED).chisquare(freedoms, (NUM_DRAWS, len(freedoms))) / freedoms
    return draws
