"""Intervals of ranks of shares of right answers, all of them together."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportions_ztest

from evalbench.statistics.leaders import PossibleRanks, possible_ranks


def misses(truth: np.ndarray, rows: int, confidence: float, repeats: int = 1000) -> float:
    """Return how often an interval misses one of the ranks that a technique may be given by its expected share."""
    best = 1 + (truth > truth[:, None]).sum(axis=1)
    worst = truth.size - (truth < truth[:, None]).sum(axis=1)
    generator, missed = np.random.default_rng(3), 0
    for _ in range(repeats):
        mine = possible_ranks(generator.binomial(rows, truth) / rows, np.full(truth.size, rows), confidence)
        missed += bool(((mine.best > best) | (mine.worst < worst)).any())
    return missed / repeats


@pytest.mark.parametrize(
    ("truth", "rows"),
    [
        (np.full(10, 0.5), 1319),
        (np.full(30, 0.93), 200),
        (np.array([0.3] * 5 + [0.5] * 5 + [0.7] * 5), 500),
        (np.linspace(0.40, 0.55, 12), 1319),
    ],
    ids=["equals", "many near the top", "three groups", "all differ"],
)
def test_all_intervals_hold_together(truth: np.ndarray, rows: int) -> None:
    for confidence in (0.95, 0.8):
        level = 1 - confidence
        assert misses(truth, rows, confidence) <= level + 3 * np.sqrt(level * confidence / 1000)


def test_equal_techniques_err_nearly_as_often_as_allowed() -> None:
    assert misses(np.full(10, 0.5), 1319, 0.8) == pytest.approx(0.2, abs=0.04)


def test_techniques_that_are_right_on_the_same_rows_err_less_often() -> None:
    generator, apart = np.random.default_rng(5), 0
    for _ in range(300):
        hard = generator.normal(size=(400, 1))
        right = (hard + generator.normal(size=(400, 10)) > 0).mean(axis=0)
        apart += possible_ranks(right, np.full(10, 400), 0.8).apart > 0
    assert apart / 300 < 0.05


def test_two_techniques_are_told_apart_by_the_test_of_two_shares() -> None:
    for right in range(30, 46):
        _, p = proportions_ztest([30, right], [60, 70])
        mine = possible_ranks([30 / 60, right / 70], [60, 70])
        assert (mine.apart, mine.known) == ((1, 2) if p < 0.05 else (0, 0))


def test_ranks_are_counted_from_those_that_are_better_and_worse() -> None:
    mine = possible_ranks([0.5, 0.9, 0.51, 0.1], np.full(4, 1000))
    assert (mine.best.tolist(), mine.worst.tolist()) == ([2, 1, 2, 4], [3, 1, 3, 4])
    assert (mine.pairs, mine.apart, mine.known) == (6, 5, 2)


def test_nothing_is_told_apart_without_a_difference() -> None:
    same = possible_ranks([1.0, 1.0, 1.0], [5, 5, 5])
    assert (same.best.tolist(), same.worst.tolist(), same.apart) == ([1, 1, 1], [3, 3, 3], 0)
    alone: PossibleRanks = possible_ranks([0.5], [10])
    assert (alone.best.tolist(), alone.worst.tolist()) == ([1], [1])
