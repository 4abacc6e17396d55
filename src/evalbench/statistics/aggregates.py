"""Aggregates over runs and data sets with their bootstraps; every bootstrap takes a generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats


def iqm(values: npt.ArrayLike) -> float:
    """Return the interquartile mean, the mean of the middle half of all values, of any shape; nan is left out."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    return float(stats.trim_mean(flat, 0.25)) if flat.size else math.nan


@dataclass(frozen=True)
class Bootstrapped:
    """An aggregate with percentile intervals for two claims."""

    value: float
    these: tuple[float, float]  # "these data sets": runs drawn anew within each
    like_these: tuple[float, float]  # "data sets like these": the data sets drawn anew too


def iqm_interval(
    scores: npt.ArrayLike, generator: np.random.Generator, confidence: float = 0.95, num_draws: int = 2000
) -> Bootstrapped:
    """Return the IQM of normalized scores with both bootstraps.

    Args:
        scores: shape (S, W), comparable over the columns (skill, or accuracy if all have it), no nan.
        generator: source of the draws.
        confidence: of the percentile intervals.
        num_draws: resamples of each kind.

    Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021.
    """
    table = np.asarray(scores, dtype=np.float64)
    S, W = table.shape
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = []
    for redraw_sets in (False, True):
        # The draws go in slices: a large table must not need num_draws times its memory at once.
        means: list[Floats] = []
        left = num_draws
        while left:
            part = min(left, max(1, 2_000_000 // table.size))
            sets = generator.integers(0, W, (part, 1, W)) if redraw_sets else np.arange(W)
            drawn = table[generator.integers(0, S, (part, S, W)), sets].reshape(part, -1)
            means.append(np.asarray(stats.trim_mean(drawn, 0.25, axis=1)))
            left -= part
        low, high = np.quantile(np.concatenate(means), tails)
        ends.append((float(low), float(high)))
    return Bootstrapped(iqm(table), ends[0], ends[1])


def paired_improvement(differences: npt.ArrayLike) -> float:
    """Return the mean over W data sets of the share of pairs won, ties half; differences (S, W), nan is left out.

    Preferred if seeds are shared: pairs are compared under the same split, weights and order.
    """
    d = np.round(np.asarray(differences, dtype=np.float64), 10)
    there = np.isfinite(d)
    wins = np.where(there, (d > 0) + (d == 0) / 2, 0.0).sum(axis=0)
    return float(np.mean(wins / there.sum(axis=0)))


def score_profile(scores: npt.ArrayLike, thresholds: npt.ArrayLike) -> Floats:
    """Return the share of (data set, run) pairs above each threshold: shapes (S, W) and (T,) in, (T,) out."""
    flat = np.asarray(scores, dtype=np.float64).ravel()
    flat = np.sort(flat[np.isfinite(flat)])
    above: Floats = 1 - np.searchsorted(flat, np.asarray(thresholds, dtype=np.float64), side="right") / flat.size
    return above


def probability_best(
    scores: npt.ArrayLike, generator: np.random.Generator, redraw_sets: bool = False, num_draws: int = 2000
) -> Floats:
    """Return the share of resamples of the shared seeds in which each technique has the best equal-weight mean.

    Args:
        scores: shape (k, S, W), comparable over the data sets; a seed (row of S) is shared by all techniques, and is
            drawn for all of them at once, within each data set.
        generator: source of the draws.
        redraw_sets: draw the data sets anew too ("data sets like these"); otherwise the answer is about these alone.
        num_draws: resamples.

    Returns:
        Shape (k,), sums to 1; a draw that ties counts for each of the tied in equal parts.
    """
    table = np.asarray(scores, dtype=np.float64)
    k, S, W = table.shape
    wins = np.zeros(k)
    left = num_draws
    while left:
        part = min(left, max(1, 2_000_000 // table.size))
        picks = generator.integers(0, S, (part, S, W))
        sets = generator.integers(0, W, (part, 1, W)) if redraw_sets else np.arange(W)
        means = table[:, picks, sets].mean(axis=(2, 3))
        first = np.isclose(means, means.max(axis=0), rtol=1e-12, atol=0)
        wins += (first / first.sum(axis=0)).sum(axis=1)
        left -= part
    return wins / num_draws
