"""How numbers are written: intervals that say nothing, and on which side of zero an end lies."""

import math

import pytest

from evalbench.report.render.units import SKILL, ratio_interval, unit_of
from evalbench.statistics.intervals import Interval, t_interval

ACCURACY = unit_of("accuracy", "fraction", 0.9)


@pytest.mark.parametrize(
    ("low", "high", "printed"),
    [
        (-1.16, 1.02, "no useful interval with 2 data sets"),  # beyond all possible differences
        (-1.01, 0.3, "no useful interval with 2 data sets"),
        (-0.99, 0.98, "[−99.00, +98.00]"),
        (-1.30, -0.2, "[−130.00, −20.00]"),  # it shows a side
    ],
)
def test_an_interval_beyond_the_possible_is_not_printed(low: float, high: float, printed: str) -> None:
    interval = Interval((low + high) / 2, low, high, 0.1, 2, 0.95)
    assert ACCURACY.change_interval(interval, "data set") == printed
    words = printed if printed.startswith("no") else f"95 % CI {printed.strip('[]').replace(', ', ' to ')}"
    assert ACCURACY.in_sentence(interval, "data set") == words


def test_the_span_is_declared_never_guessed() -> None:
    wide = t_interval([-3.0, 3.0], 0.95)
    assert SKILL.span(-3, 3) == "no useful interval"
    assert unit_of("r2", "R²", 0.5).span(-3, 3) == "no useful interval"
    assert unit_of("seconds", "s", 0.5).change_interval(wide) == "[−38.1186, +38.1186]"
    assert unit_of("seconds", "s", 0.5, span=10.0).change_interval(wide) == "no useful interval with 2 pairs"
    assert SKILL.in_sentence(t_interval([1.0], 0.95)) == ""


def test_ratios_that_reach_from_nothing_to_everything_are_not_printed() -> None:
    assert ratio_interval(6.1e-10, 1978652, 2) == "no useful interval with 2 rounds"
    assert ratio_interval(6.1e-10, 1978652) == "no useful interval"
    assert ratio_interval(0.0001, 0.5, 2) == "[0.00010, 0.50]"  # cheaper, however uncertain
    assert ratio_interval(0.07, 15, 2) == "[0.070, 15.00]"
    assert ratio_interval(math.nan, math.nan, 1) == "no interval"


def test_skill_with_other_digits_is_still_skill() -> None:
    assert SKILL.with_digits(0.0125, [0.0001]).is_skill
    assert not unit_of("skill", "", 1.0).is_skill  # a metric of a user's own
    assert SKILL.bounds == (-math.inf, math.inf)
