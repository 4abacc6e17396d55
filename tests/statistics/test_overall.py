import pytest

from evalbench.errors import TableError
from evalbench.statistics.overall import best_possible, overall_effect, skill

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


def test_skill_runs_from_the_trivial_predictor_to_a_perfect_one() -> None:
    assert skill(0.6, 0.6) == 0
    assert skill(1.0, 0.6) == 1
    assert skill(0.9, 0.6) == pytest.approx(0.75)
    assert skill(30.0, 40.0, best=0.0) == pytest.approx(0.25)  # an error that shrinks is skill too


def test_skill_needs_room_above_the_trivial_predictor() -> None:
    with pytest.raises(TableError, match="not perfect"):
        skill(1.0, 1.0)


def test_best_possible_is_declared_never_guessed() -> None:
    assert (best_possible("test/r2"), best_possible("test/rmse")) == (1.0, 0.0)
    with pytest.raises(TableError, match="test/bleu"):
        best_possible("test/bleu")
