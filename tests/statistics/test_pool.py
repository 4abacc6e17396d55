"""Scores that depend on the pool, against TabArena's definitions."""

import math
from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evalbench.statistics.pool import elo, elo_ratings, improvability, reciprocal_ranks, win_rates
from evalbench.statistics.ranks import rank_rows

SCORES = np.array([[0.9, 0.8, 0.7], [0.6, 0.6, 0.5], [0.4, 0.7, 0.9], [0.8, 0.7, 0.7]])


def test_win_rate_and_reciprocal_rank() -> None:
    beaten = [[2.0, 1.0, 0.0], [1.5, 1.5, 0.0], [0.0, 1.0, 2.0], [2.0, 0.5, 0.5]]  # of two others, a tie one half
    assert win_rates(SCORES) == pytest.approx(np.mean(beaten, axis=0) / 2)
    assert win_rates(SCORES) == pytest.approx(1 - (rank_rows(SCORES).mean(axis=0) - 1) / 2)
    ranks = [[1, 2, 3], [1.5, 1.5, 3], [3, 2, 1], [1, 2.5, 2.5]]
    assert reciprocal_ranks(SCORES) == pytest.approx(np.mean(1 / np.array(ranks), axis=0))


def test_improvability_is_the_share_of_the_error_that_the_best_does_not_make() -> None:
    errors = [[0.1, 0.2, 0.4], [0.3, 0.3, 0.6], [0.0, 0.0, 0.5]]
    assert improvability(errors) == pytest.approx([0, 0.5 / 3, (0.75 + 0.5 + 1) / 3])
    with pytest.raises(ValueError, match="at least 0"):
        improvability([[-0.1, 0.2]])


def battles(scores: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return the rows of TabArena's logistic regression: each battle twice, a tie won once by each side."""
    rows, won = [], []
    for on_a_set in scores:
        for i, j in combinations(range(scores.shape[1]), 2):
            row = np.zeros(scores.shape[1])
            row[[i, j]] = math.log(10), -math.log(10)
            tie = on_a_set[i] == on_a_set[j]
            rows += [row, row]
            won += [1.0, 0.0] if tie else [float(on_a_set[i] > on_a_set[j])] * 2
    return np.array(rows), won


@pytest.mark.parametrize("seed", range(4))
def test_elo_is_the_logistic_regression_of_tabarena(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.round(generator.normal(np.linspace(0, 2, 5), 1, (20, 5)), 1)  # with ties
    regression = LogisticRegression(fit_intercept=False, tol=1e-12, max_iter=10_000).fit(*battles(scores))
    wins = (np.sign(scores[:, :, None] - scores[:, None, :]) + 1) / 2
    ratings = elo_ratings(wins.sum(axis=0))
    assert ratings == pytest.approx(400 * regression.coef_[0] + 1000, abs=0.01)
    assert ratings.mean() == pytest.approx(1000)


def test_ratings_stay_finite_if_one_wins_everything() -> None:
    ratings = elo_ratings([[0, 100, 100], [0, 0, 100], [0, 0, 0]])
    assert np.isfinite(ratings).all()
    assert ratings[0] > ratings[1] > ratings[2]


def test_the_bootstrap_of_elo_is_over_the_data_sets() -> None:
    found = elo(SCORES, np.random.default_rng(1))
    again = elo(SCORES, np.random.default_rng(1))
    assert found.low.tolist() == again.low.tolist()
    assert (found.low <= found.ratings).all()
    assert (found.ratings <= found.high).all()
    alike = elo(np.tile(SCORES[:1], (6, 1)), np.random.default_rng(1))
    assert alike.high == pytest.approx(alike.low)  # all data sets agree: a draw changes nothing
