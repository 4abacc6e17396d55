"""Scores of techniques that depend on the others in the pool: Elo, win rate, mean reciprocal rank, improvability.

Definitions: Erickson et al., TabArena, arXiv 2506.16791 (2025). Scores are averaged over seeds first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalbench.statistics.intervals import Floats
from evalbench.statistics.ranks import rank_rows

SCALE, START = 400.0, 1000.0  # Elo points of odds of 10 to 1, and the mean of all ratings
MOST_STEPS = 100  # of Newton's method, which takes about ten


def win_rates(scores: npt.ArrayLike) -> Floats:
    """Return the share of the others that each of k techniques beats, ties half, over D data sets: (D, k) in, (k,) out.

    It is `1 - (average rank - 1) / (k - 1)`.
    """
    ranks = rank_rows(scores)
    rates: Floats = 1 - (ranks.mean(axis=0) - 1) / (ranks.shape[1] - 1)
    return rates


def reciprocal_ranks(scores: npt.ArrayLike) -> Floats:
    """Return the mean of 1 / rank over the data sets, ties sharing their mean rank: (D, k) in, (k,) out."""
    ranks: Floats = (1 / rank_rows(scores)).mean(axis=0)
    return ranks


def improvability(errors: npt.ArrayLike) -> Floats:
    """Return the mean share of its error that a technique would lose if it were the best: (D, k) in, (k,) out.

    `mean_d (1 - min_j e_dj / e_dk)`, 0 where a technique makes no error.

    Args:
        errors: distances to the best possible score, at least 0.

    Raises:
        ValueError: an error is below 0.
    """
    e = np.asarray(errors, dtype=np.float64)
    if (e < 0).any():
        raise ValueError("an error is at least 0")
    best = np.broadcast_to(e.min(axis=1, keepdims=True), e.shape)
    left = np.divide(best, e, out=np.ones_like(e), where=e > 0)
    shares: Floats = (1 - left).mean(axis=0)
    return shares


@dataclass(frozen=True)
class Elo:
    """Ratings of k techniques with percentile intervals over bootstrapped data sets, arrays of shape (k,)."""

    ratings: Floats
    low: Floats
    high: Floats


def elo(scores: npt.ArrayLike, generator: np.random.Generator, confidence: float = 0.95, num_draws: int = 200) -> Elo:
    """Return Elo ratings from the battles of all pairs on D data sets, with a bootstrap over the data sets.

    Args:
        scores: shape (D, k), larger is better; equal after rounding to 10 decimals is a tie, half a win for each.
        generator: source of the draws.
        confidence: of the percentile intervals.
        num_draws: resamples of the data sets.
    """
    table = np.round(np.asarray(scores, dtype=np.float64), 10)
    wins = (np.sign(table[:, :, None] - table[:, None, :]) + 1) / 2  # (D, k, k)
    drawn = generator.multinomial(len(table), np.full(len(table), 1 / len(table)), num_draws)
    draws = np.stack([elo_ratings(np.tensordot(counts, wins, 1)) for counts in drawn])
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Elo(elo_ratings(wins.sum(axis=0)), low, high)


def elo_ratings(wins: npt.ArrayLike) -> Floats:
    """Return the ratings of the maximum-likelihood Elo model, whose mean is 1000.

    The odds of i against j are `10^((R_i - R_j) / 400)`. Each battle counts twice, so that a tie is a win for each
    side, and half the squared coefficients are added to the negative log-likelihood, so that ratings stay finite:
    as logistic regression does by default in TabArena and Chatbot Arena.

    Args:
        wins: shape (k, k), the battles that the technique of the row won against that of the column, a tie one half;
            the diagonal is ignored.
    """
    won = 2 * np.asarray(wins, dtype=np.float64)
    np.fill_diagonal(won, 0.0)
    k, base = len(won), math.log(10)
    w = np.zeros(k)
    for _ in range(MOST_STEPS):
        chance = 1 / (1 + np.exp(-base * (w[:, None] - w[None, :])))  # of the row against the column
        surprise = won * (1 - chance)
        gradient = w - base * (surprise.sum(axis=1) - surprise.sum(axis=0))
        weight = base**2 * (won + won.T) * chance * (1 - chance)
        step = np.linalg.solve(np.eye(k) + np.diag(weight.sum(axis=1)) - weight, gradient)
        step *= min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-300))  # at most one: the first steps could overshoot
        w -= step
        if float(np.abs(step).max()) < 1e-12:
            break
    ratings: Floats = SCALE * w + START
    return ratings
