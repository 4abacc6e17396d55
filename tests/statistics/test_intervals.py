import math

import pytest

from evalbench.statistics.intervals import (
    clopper_pearson,
    family_confidence,
    fewest_decisive,
    t_interval,
)


def test_t_interval_of_known_differences() -> None:
    # 0.912 - 0.908 and so on: scipy's paired t test gives this interval.
    differences = [0.004, 0.003, 0.002, 0.007, 0.002, 0.005, 0.002, 0.005]
    interval = t_interval(differences, 0.95)
    assert interval.mean == pytest.approx(0.00375)
    assert interval.sd == pytest.approx(0.0018322507626258103)
    assert (interval.low, interval.high) == pytest.approx((0.0022182000287728322, 0.005281799971227174))
    assert interval.side == 1


def test_redrawn_splits_widen_the_interval_and_leave_the_mean() -> None:
    plain, wide = t_interval([1.0, 5.0, -3.0], 0.95), t_interval([1.0, 5.0, -3.0], 0.95, rho=0.5)
    assert wide.mean == plain.mean == 1.0
    assert (wide.high - wide.low) / (plain.high - plain.low) == pytest.approx(math.sqrt((1 / 3 + 0.5) * 3))


def test_corrected_variance_of_a_published_case() -> None:
    # Three folds: n_test / n_train = 1/2; the corrected variance of the mean is on record as 13.333.
    interval = t_interval([1.0, 5.0, -3.0], 0.95, rho=0.5)
    assert interval.sd**2 * (1 / 3 + 0.5) == pytest.approx(13.333333333333332)
    assert (interval.high - interval.mean) / math.sqrt(13.333333333333332) == pytest.approx(4.302652729911275)


@pytest.mark.parametrize(("values", "why"), [([], "n = 0"), ([1.0], "n = 1"), ([0.1, 0.1, 0.1], "no spread")])
def test_without_spread_there_is_no_interval(values: list[float], why: str) -> None:
    interval = t_interval(values, 0.95, rho=0.3)
    assert not interval.computed
    assert interval.side == 0
    assert interval.why_not == why


def test_rounding_is_no_spread() -> None:
    assert not t_interval([0.3 - 0.1, 0.2, 0.4 - 0.2], 0.95).computed


@pytest.mark.parametrize(("confidence", "rho"), [(1.0, 0.0), (0.95, -0.1)])
def test_bad_arguments_are_refused(confidence: float, rho: float) -> None:
    with pytest.raises(ValueError, match="confidence must be inside"):
        t_interval([1.0, 2.0], confidence, rho)


def test_missing_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        t_interval([1.0, math.nan], 0.95)


@pytest.mark.parametrize(
    ("wins", "n", "low", "high"),
    [
        (3, 3, 0.2924017738212866, 1.0),
        (4, 5, 0.2835820638819105, 0.9949492366205319),
        (6, 6, 0.5407418735600995, 1.0),
        (9, 10, 0.5549838829718047, 0.9974714214555382),
        (22, 29, 0.5645996540114667, 0.8970164492273827),
    ],
)
def test_clopper_pearson_against_known_answers(wins: int, n: int, low: float, high: float) -> None:
    assert clopper_pearson(wins, n, 0.95) == pytest.approx((low, high))
    assert clopper_pearson(n - wins, n, 0.95) == pytest.approx((1 - high, 1 - low))


def test_a_tie_counts_half_and_keeps_the_interval_symmetric() -> None:
    low, high = clopper_pearson(2.5, 5, 0.95)
    assert low == pytest.approx(1 - high)


def test_family_of_two() -> None:
    assert family_confidence(0.95, 2) == pytest.approx(0.975)
    with pytest.raises(ValueError, match="at least one"):
        family_confidence(0.95, 0)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975, 0.99])
def test_fewest_decisive_is_where_all_wins_exclude_one_half(confidence: float) -> None:
    n = fewest_decisive(confidence)
    assert clopper_pearson(n, n, confidence)[0] > 0.5 >= clopper_pearson(n - 1, n - 1, confidence)[0]


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="within"):
        clopper_pearson(3, 2, 0.95)
