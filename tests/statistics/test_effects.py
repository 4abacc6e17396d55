import numpy as np
import pytest

from evalbench.statistics.effects import (
    hodges_lehmann,
    posterior_signed_rank,
    posterior_t,
    probability_of_superiority,
    standardized,
)
from evalbench.statistics.intervals import t_interval
from evalbench.statistics.paired import paired_effect
from evalbench.statistics.significance import equivalence, paired_t, sign_flip, wilcoxon

A = np.array([0.912, 0.915, 0.909, 0.918, 0.911, 0.914, 0.91, 0.916])
B = np.array([0.908, 0.912, 0.907, 0.911, 0.909, 0.909, 0.908, 0.911])
D = A - B


def test_the_paired_example() -> None:
    assert paired_t(D) == pytest.approx(0.0006711542169934334)
    assert (wilcoxon(D), sign_flip(D)) == (0.0078125, 0.0078125)
    sizes = standardized(D)
    assert (sizes.dz, sizes.hedges) == pytest.approx((2.0466630859118076, 1.819256076366051))
    assert hodges_lehmann(D) == pytest.approx(0.0035)
    assert equivalence(D, 0.005) == pytest.approx(0.047488246217888136)
    effect = paired_effect(A, B, 0.95)
    assert effect.correlation == pytest.approx(0.8662783411678132)
    assert (effect.interval.low, effect.interval.high) == pytest.approx((0.0022182000287728322, 0.005281799971227174))
    posterior = posterior_t(float(D.mean()), float(D.std(ddof=1)), 8, 0.002)
    known = (2.333684516849587e-05, 0.01526390450872897, 0.9847127586461025)
    assert (posterior.worse, posterior.same, posterior.better) == pytest.approx(known)


@pytest.mark.parametrize("sample", [[-1.0, 5.0, -3.0], [-1.0, -5.0, 3.0, -5.0]])
def test_resampled_splits_widen_the_posterior_like_the_interval(sample: list[float]) -> None:
    # Nadeau and Bengio: 3 folds have test / training rows of one half.
    d = np.array(sample)
    n, runs = len(d), 1 if len(d) == 3 else 2
    rho = 1 / (n / runs - 1)
    interval = t_interval(d, 0.95, rho)
    variance = interval.sd**2 * (1 / n + rho)
    assert variance == pytest.approx(d.var(ddof=1) * (1 / n + rho))
    posterior = posterior_t(interval.mean, interval.sd, n, 1.0, rho)
    assert posterior.worse + posterior.same + posterior.better == pytest.approx(1)
    narrow = posterior_t(interval.mean, interval.sd, n, 1.0)
    assert abs(narrow.better - narrow.worse) > abs(posterior.better - posterior.worse)


def test_the_corrected_variance_of_three_folds() -> None:
    d = np.array([5.0, 7.0, 3.0]) - np.array([4.0, 2.0, 6.0])
    interval = t_interval(d, 0.95, 1 / 2)
    assert interval.mean == 1.0
    assert interval.sd**2 * (1 / 3 + 1 / 2) == pytest.approx(13.333333333333332)


@pytest.mark.parametrize(
    ("x", "y", "delta"),
    [([1, 2, 3], [10, 11, 12], -1.0), ([1, 2, 3], [2, 3, 4], -0.5555555555555556), ([1, 2, 3], [1, 2, 3], 0.0)],
)
def test_a12(x: list[float], y: list[float], delta: float) -> None:
    assert probability_of_superiority(x, y) == pytest.approx((delta + 1) / 2)


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        probability_of_superiority([], [1.0])


def test_without_spread_there_is_no_standardised_effect() -> None:
    assert np.isnan(standardized([0.1, 0.1, 0.1]).dz)
    assert np.isnan(equivalence([0.1, 0.1], 0.5))
    assert np.isnan(paired_t([0.0, 0.0]))
    assert np.isnan(posterior_t(0.0, 0.0, 5, 0.1).same)
    assert np.isnan(hodges_lehmann([]))


def test_bayesian_signed_rank_is_reproducible_and_takes_the_rope() -> None:
    z = np.array([0.02, 0.03, 0.015, 0.04, 0.025, 0.01, 0.03, 0.02])
    first = posterior_signed_rank(z, 0.005, np.random.default_rng(3))
    assert first == posterior_signed_rank(z, 0.005, np.random.default_rng(3))
    assert first.better > 0.99
    assert posterior_signed_rank(z, 0.1, np.random.default_rng(3)).same > 0.999
    mirrored = posterior_signed_rank(-z, 0.005, np.random.default_rng(3))
    assert (mirrored.worse, mirrored.better) == pytest.approx((first.better, first.worse))


def test_bayesian_signed_rank_of_one_data_set_by_hand() -> None:
    # Weights (w, 1 - w) with w ~ Beta(.5, 1): the mass of "better" is 1 - w² (rope 0), that of "same" is w².
    # Better wins where w² < 1/2, and P(w < sqrt(1/2)) = (1/2)^(1/4).
    posterior = posterior_signed_rank([1.0], 0.0, np.random.default_rng(0), num_draws=200_000)
    assert posterior.better == pytest.approx(0.5**0.25, abs=0.004)
