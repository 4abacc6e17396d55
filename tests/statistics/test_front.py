import numpy as np
import pytest

from evalbench.statistics.aggregates import redrawn
from evalbench.statistics.costs import cost_ratio
from evalbench.statistics.front import front_probability, on_front


def test_dominated_techniques_are_off_the_front() -> None:
    assert on_front([0.9, 0.8, 0.85], [2.0, 1.0, 3.0]).tolist() == [True, True, False]
    assert on_front([0.9, 0.9], [1.0, 1.0]).tolist() == [True, True]  # equals do not dominate each other


def test_how_surely() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 10, 2))
    scores = np.array([0.9, 0.8, 0.8])[:, None, None] + noise
    costs = np.array([[2.0, 2.1], [1.0, 1.1], [1.5, 1.6]])
    chance, again = (
        front_probability(redrawn(scores, generator), costs, generator)
        for generator in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert chance[0] == 1
    assert chance[1] == 1
    assert 0 < chance[2] < 1
    assert (chance == again).all()


def test_the_cost_ratio_is_paired_by_round() -> None:
    load = np.array([1.0, 3.0, 0.5, 2.0, 1.0])[:, None]  # a machine whose speed changes from round to round
    jitter = np.array([1.0, 1.01, 0.99, 1.0, 1.0])[:, None]
    ratio = cost_ratio(2.0 * load * jitter, load)
    assert ratio.value == pytest.approx(2.0, rel=0.005)
    assert 1.98 < ratio.low < 2.0 < ratio.high < 2.02
    assert cost_ratio(np.ones((5, 2)) * [2.0, 8.0], np.ones((5, 2))).value == pytest.approx(4.0)
    assert np.isnan(cost_ratio([[1.0]], [[2.0]]).low)


@pytest.mark.parametrize(("a", "b"), [([[1.0]], [[0.0]]), ([[1.0]], [[1.0, 2.0]])])
def test_costs_that_cannot_be_compared(a: list[list[float]], b: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="cost"):
        cost_ratio(a, b)
