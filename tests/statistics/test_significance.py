import math
from itertools import product
from typing import Literal

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.significance import (
    asymmetry,
    failure_rates,
    holm,
    sign_flip,
    smallest_attainable,
    wilcoxon,
)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),
        ([0.6, 0.2, 0.9], [1, 0.6, 1]),
        ([1e-06, 2e-06, 3e-06, 4e-06], [4e-06, 6e-06, 6e-06, 6e-06]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([], []),
    ],
)
def test_holm(p: list[float], adjusted: list[float]) -> None:
    assert holm(p) == pytest.approx(adjusted)


def test_a_test_that_could_not_be_made_still_counts_in_the_family() -> None:
    adjusted = holm([0.02, float("nan")])
    assert adjusted[0] == pytest.approx(0.04)
    assert np.isnan(adjusted[1])


@pytest.mark.parametrize("d", [[0.3, -0.1, 0.2], [1.0, 2.0, 3.0, 4.0, 5.0, -0.5], [0.1, 0.1, -0.1, 0.0]])
def test_sign_flips_are_all_enumerated(d: list[float]) -> None:
    sums = [abs(float(np.dot(signs, d))) for signs in product([1, -1], repeat=len(d))]
    assert sign_flip(d) == np.mean([total >= abs(sum(d)) - 1e-12 for total in sums])


def test_many_signs_are_drawn_from_the_generator() -> None:
    d = np.random.default_rng(0).normal(0.4, 1, 20)
    with pytest.raises(ValueError, match="generator"):
        sign_flip(d)
    p = sign_flip(d, np.random.default_rng(1))
    assert p == sign_flip(d, np.random.default_rng(1))
    assert p == pytest.approx(float(stats.ttest_1samp(d, 0).pvalue), abs=0.02)


def test_thousands_of_items_are_drawn_by_their_sizes() -> None:
    d = np.repeat([1.0, 0.0, -1.0], [560, 3000, 440])
    exact = stats.binomtest(560, 1000).pvalue  # of the items that differ, as in McNemar's test
    assert sign_flip(d, np.random.default_rng(0)) == pytest.approx(exact, abs=1e-4)
    assert smallest_attainable(5000) == 0.0


@pytest.mark.parametrize("zeros", ["zsplit", "wilcox"])
def test_wilcoxon_with_ties_is_the_permutation_test_of_scipy(zeros: Literal["zsplit", "wilcox"]) -> None:
    d = np.round(np.random.default_rng(3).normal(0.4, 1, 9)) / 10
    assert {0.0, 0.1} <= set(d)
    assert wilcoxon(d, zeros) == pytest.approx(float(stats.wilcoxon(d, zero_method=zeros).pvalue))


def test_differences_that_are_rounding_are_ties() -> None:
    assert wilcoxon([0.3 - 0.1 - 0.2, 0.0]) == 1.0
    assert sign_flip([0.1 + 0.2 - 0.3] * 5) == 1.0


@pytest.mark.parametrize("n", range(3, 13))
def test_the_smallest_p_of_a_paired_exact_test(n: int) -> None:
    assert smallest_attainable(n) == sign_flip(np.arange(1.0, n + 1)) == wilcoxon(np.arange(1.0, n + 1))


def test_rates_of_failures() -> None:
    assert failure_rates(0, 10, 3, 10) == pytest.approx(0.210526, abs=1e-6)


def test_skewed_differences_are_noticed_and_symmetric_ones_seldom() -> None:
    generator = np.random.default_rng(1)
    skewed = [
        np.mean([asymmetry(list(1 - generator.exponential(size=(5, S)))) < 0.01 for _ in range(200)])
        for S in (5, 10, 20)
    ]
    symmetric = [asymmetry([generator.standard_normal(10) * scale for scale in range(1, 6)]) < 0.01 for _ in range(200)]
    assert skewed[0] < 0.1 < 0.5 < skewed[1] < 0.9 < skewed[2]  # as docs/validity.md says
    assert np.mean(symmetric) < 0.01
    assert math.isnan(asymmetry([np.zeros(40)]))
    assert math.isnan(asymmetry(list(generator.standard_normal((10, 4)))))
