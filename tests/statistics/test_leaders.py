"""Ties with the best score, from the number of test rows alone."""

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from evalbench.statistics.leaders import leaders, wilson


def test_the_bound_is_that_of_newcombe() -> None:
    shares, rows = np.array([660, 640, 528]) / 1319, np.array([1319, 1319, 1319])
    mine = leaders(shares, rows, 0.95)
    for other in (1, 2):
        counts = [round(shares[index] * rows[index]) for index in (0, other)]
        low, _ = confint_proportions_2indep(counts[0], 1319, counts[1], 1319, method="newcomb", alpha=2 * 0.05 / 2)
        assert mine.behind_low[other] == pytest.approx(low)
    assert (mine.leader, mine.tied.tolist()) == (0, [True, True, False])


def test_the_intervals_are_those_of_statsmodels() -> None:
    assert wilson(np.array([0.3]), np.array([50.0]), 1.959963984540054) == pytest.approx(
        np.array(proportion_confint(15, 50, method="wilson"))[:, None]
    )
    mine = leaders([0.3, 0.2], [50, 50])
    assert (mine.low[0], mine.high[0]) == pytest.approx(proportion_confint(15, 50, method="beta"))


def test_the_best_is_among_the_ties_as_often_as_promised() -> None:
    generator, misses = np.random.default_rng(7), 0
    truth = np.full(10, 0.7)
    for _ in range(400):
        mine = leaders(generator.binomial(500, truth) / 500, np.full(10, 500))
        misses += not mine.tied[0]  # all are the best
    assert misses / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
