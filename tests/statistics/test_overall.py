import pytest

from evalbench.statistics.overall import overall_effect

# Mean differences of eight data sets with five seeds each, and their t interval over the data sets.
MEANS = [0.00746, 0.00482, 0.00022, 0.00132, 0.00222, 0.0009, 0.00442, 0.00902]


def test_equal_weight_mean_over_data_sets() -> None:
    interval = overall_effect(MEANS, 0.95)
    assert interval is not None
    assert interval.mean == pytest.approx(0.0037975)
    assert (interval.low, interval.high) == pytest.approx((0.0011173492121972928, 0.006477650787802703))


@pytest.mark.parametrize("means", [[], [0.1]])
def test_fewer_than_two_data_sets_have_no_overall_effect(means: list[float]) -> None:
    assert overall_effect(means, 0.95) is None


def test_data_sets_that_agree_to_the_last_digit_give_no_interval() -> None:
    interval = overall_effect([0.0, 0.0, 0.0], 0.95)
    assert interval is not None
    assert not interval.computed
