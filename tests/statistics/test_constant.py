"""One technique against a constant, equal to SciPy."""

import math
from typing import Literal

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.constant import better_than

SCORES = np.random.default_rng(1).normal(3.279, 0.002, 12)


@pytest.mark.parametrize(("sign", "alternative"), [(-1, "less"), (1, "greater")])
def test_it_is_the_one_sided_t_test(sign: int, alternative: Literal["less", "greater"]) -> None:
    claim = better_than(SCORES, 3.28, sign, 0.05)
    test = stats.ttest_1samp(SCORES, 3.28, alternative=alternative)
    assert claim.p == pytest.approx(test.pvalue)
    ends = test.confidence_interval(0.95)
    assert claim.bound == pytest.approx(ends.high if sign < 0 else ends.low)


def test_shared_rows_widen_it_and_no_spread_has_no_test() -> None:
    assert better_than(SCORES, 3.28, -1, 0.05, rho=0.5).p > better_than(SCORES, 3.28, -1, 0.05).p
    assert math.isnan(better_than([3.2, 3.2], 3.28, -1, 0.05).p)
