import math

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.generality import generality, generalizes

AGREE = np.array([0.10, 0.14, 0.08, 0.12, 0.11])


@pytest.mark.parametrize("side", [-1, 0, 1])
@pytest.mark.parametrize("D", [2, 3, 5, 10])
def test_many_evaluations_at_once_generalize_as_one_by_one(D: int, side: int) -> None:
    means = np.random.default_rng(D).normal(0.5, 0.6, (60, D))
    means[:3] = 0.1  # no spread
    together = generalizes(means, np.full(60, side), 0.975)
    assert together.tolist() == [generality(row, side, 0.975).shown for row in means]
    assert together.any() == (side == 1 and D > 2)


def test_the_interval_is_that_of_the_means_of_the_data_sets() -> None:
    second = generality(AGREE, 1, 0.95)
    half = stats.t.ppf(0.975, 4) * AGREE.std(ddof=1) / math.sqrt(5)
    assert (second.interval.low, second.interval.high) == pytest.approx((0.11 - half, 0.11 + half))
    assert (second.tested, second.shown) == (True, True)


def test_only_the_side_of_the_first_verdict_is_tested() -> None:
    assert not generality(AGREE, -1, 0.95).shown
    none = generality(AGREE, 0, 0.95)
    assert (none.tested, none.shown) == (False, False)


def test_two_data_sets_stand_for_no_others() -> None:
    second = generality(np.array([0.100, 0.101]), 1, 0.95)
    assert second.interval.low > 0
    assert (second.tested, second.shown) == (False, False)


def test_identical_means_are_no_evidence() -> None:
    second = generality(np.full(5, 0.1), 1, 0.95)
    assert (second.tested, second.shown) == (True, False)
    assert not generalizes(np.full((1, 5), 0.1), np.ones(1), 0.95).any()


def test_what_limits_a_claim_on_data_sets_like_these() -> None:
    assert generality(AGREE, 1, 0.95).limits == ("5 data sets, fewer than 6",)
    one_decides = np.array([1.0, -0.1, -0.1, -0.1, -0.1, -0.1])
    assert generality(one_decides, 1, 0.95).limits == ("the sign changes when one data set is left out",)
    assert generality(np.append(AGREE, 0.1), 1, 0.95).limits == ()


def test_the_typical_data_set_is_described_from_eight_on() -> None:
    means = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 9.0])
    assert generality(means[:7], 1, 0.95).typical is None
    second = generality(means, 1, 0.95)
    assert not second.shown  # one data set of another scale widens the interval of the mean
    assert second.typical == pytest.approx((0.45, 2 / 2**8), abs=0.06)
