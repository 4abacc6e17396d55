"""Aggregates over runs and data sets with their bootstraps; every bootstrap takes a generator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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


FEWEST_DRAWS, NUMBERS, NUMBERS_AT_ONCE = 200, 2_000_000, 2_000_000


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
        for part in slices(table.size, num_draws):
            sets = generator.integers(0, W, (part, 1, W)) if redraw_sets else np.arange(W)
            drawn = table[generator.integers(0, S, (part, S, W)), sets].reshape(part, -1)
            means.append(np.asarray(stats.trim_mean(drawn, 0.25, axis=1)))
        low, high = np.quantile(np.concatenate(means), tails)
        ends.append((float(low), float(high)))
    return Bootstrapped(iqm(table), ends[0], ends[1])


def iqm_without_pairs(
    columns: Sequence[Floats], generator: np.random.Generator, confidence: float = 0.95, num_draws: int = 2000
) -> Bootstrapped:
    """Return the IQM as `iqm_interval` does, of runs whose numbers differ between the data sets: W arrays (n_w,)."""
    if len({column.size for column in columns}) == 1:
        return iqm_interval(np.stack(columns, axis=1), generator, confidence, num_draws)
    W, size = len(columns), sum(column.size for column in columns)
    draws = sum(slices(size, num_draws // 4))  # one by one, since no two draws have the same shape
    ends = []
    for redraw_sets in (False, True):
        means = np.empty(draws)
        for draw in range(draws):
            sets = generator.integers(0, W, W) if redraw_sets else range(W)
            drawn = [columns[w][generator.integers(0, columns[w].size, columns[w].size)] for w in sets]
            means[draw] = iqm(np.concatenate(drawn))
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
        ends.append((float(low), float(high)))
    return Bootstrapped(iqm(np.concatenate(columns)), ends[0], ends[1])


def slices(size: int, num_draws: int) -> Iterator[int]:
    """Yield numbers of draws of `size` numbers that fit into memory: fewer of many numbers, but at least 200."""
    left = min(num_draws, max(FEWEST_DRAWS, NUMBERS // size))
    while left:
        part = min(left, max(1, NUMBERS_AT_ONCE // size))
        yield part
        left -= part


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


def redrawn(
    scores: npt.ArrayLike, generator: np.random.Generator, redraw_sets: bool = False, num_draws: int = 2000
) -> Floats:
    """Return the equal-weight mean of each technique in resamples of the shared seeds, shape (k, draws).

    Args:
        scores: shape (k, S, W), comparable over the data sets; a seed (row of S) is shared by all techniques, and is
            drawn for all of them at once, within each data set.
        generator: source of the draws.
        redraw_sets: draw the data sets anew too ("data sets like these"); otherwise the answer is about these alone.
        num_draws: resamples.
    """
    table = np.asarray(scores, dtype=np.float64)
    _, S, W = table.shape
    means = []
    for part in slices(table.size, num_draws):
        picks = generator.integers(0, S, (part, S, W))
        sets = generator.integers(0, W, (part, 1, W)) if redraw_sets else np.arange(W)
        means.append(table[:, picks, sets].mean(axis=(2, 3)))
    return np.concatenate(means, axis=1)


def redrawn_without_pairs(
    columns: Sequence[Sequence[Floats]],
    generator: np.random.Generator,
    redraw_sets: bool = False,
    num_draws: int = 2000,
) -> Floats:
    """Return means as `redrawn` does, of runs that are not paired: each technique draws its own; k times W arrays."""
    W = len(columns[0])
    draws = sum(slices(max(sum(column.size for column in mine) for mine in columns), num_draws))
    sets = generator.integers(0, W, (draws, W)) if redraw_sets else np.tile(np.arange(W), (draws, 1))
    means = np.zeros((len(columns), draws))
    for of_one, mine in zip(means, columns, strict=True):
        for w, column in enumerate(mine):
            where = np.nonzero(sets == w)[0]
            done = 0
            for part in slices(column.size, where.size) if where.size else ():
                picks = generator.integers(0, column.size, (part, column.size))
                np.add.at(of_one, where[done : done + part], column[picks].mean(axis=1) / W)
                done += part
            if done < where.size:  # a mean of so many runs is normal
                normal = generator.normal(column.mean(), column.std() / math.sqrt(column.size), where.size - done)
                np.add.at(of_one, where[done:], normal / W)
    return means


def share_best(means: Floats) -> Floats:
    """Return the share of draws in which each technique is best: (k, draws) in, (k,) out; ties count in equal parts."""
    first = np.isclose(means, means.max(axis=0), rtol=1e-12, atol=0)
    shares: Floats = (first / first.sum(axis=0)).mean(axis=1)
    return shares
