"""Restricted means of censored times, equal to references."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from evalbench.statistics.censored import ratio_of_means, restricted_mean, survival

GENERATOR = np.random.default_rng(3)
TIMES = np.round(GENERATOR.exponential(30, 40), 1) + 0.1
REACHED = GENERATOR.random(40) < 0.7


def test_survival_is_that_of_statsmodels() -> None:
    theirs = SurvfuncRight(TIMES, REACHED.astype(int))
    events, deaths, risk, shares = survival(TIMES, REACHED)
    assert events.tolist() == theirs.surv_times.tolist()
    assert shares == pytest.approx(theirs.surv_prob)
    assert (deaths.tolist(), risk.tolist()) == (theirs.n_events.tolist(), theirs.n_risk.tolist())


def test_the_restricted_mean_is_the_area_under_the_curve_of_statsmodels() -> None:
    theirs, horizon = SurvfuncRight(TIMES, REACHED.astype(int)), 25.0
    grid = np.linspace(0, horizon, 250_001)[:-1]
    index = np.searchsorted(theirs.surv_times, grid, side="right")
    curve = np.concatenate([[1.0], theirs.surv_prob])[index]
    assert restricted_mean(TIMES, REACHED, horizon).mean == pytest.approx(curve.mean() * horizon, rel=1e-5)


def test_without_censoring_it_is_the_mean_of_the_cut_times_and_its_error() -> None:
    horizon = 40.0
    cut = np.minimum(TIMES, horizon)
    mine = restricted_mean(TIMES, np.ones(40, dtype=bool), horizon)
    assert (mine.mean, mine.error) == pytest.approx((cut.mean(), stats.sem(cut)))
    missed = restricted_mean(np.where(horizon < TIMES, horizon, TIMES), horizon >= TIMES, horizon)
    assert (missed.mean, missed.error) == pytest.approx((cut.mean(), stats.sem(cut)))


def test_the_textbook_example_of_greenwood() -> None:
    # Klein and Moeschberger's formula by hand: S = 3/4 after 2, 3/8 after 6 (one run was stopped at 4).
    mine = restricted_mean([2, 4, 6, 10], [True, False, True, False], 10)
    assert mine.mean == pytest.approx(2 + 4 * 0.75 + 4 * 0.375)
    areas = (4 * 0.75 + 4 * 0.375, 4 * 0.375)
    variance = areas[0] ** 2 / (4 * 3) + areas[1] ** 2 / (2 * 1)
    assert mine.error == pytest.approx(math.sqrt(variance * 3 / 2))


def test_the_ratio_has_the_interval_of_welch_on_the_logarithm() -> None:
    a, b = (restricted_mean(side, np.ones(6, dtype=bool), 99) for side in (TIMES[:6], TIMES[6:12]))
    ratio = ratio_of_means([a], [b], 0.05)
    parts = [(side.error / side.mean) ** 2 for side in (a, b)]
    freedom = sum(parts) ** 2 / sum(part**2 / 5 for part in parts)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert (ratio.ratio, ratio.freedom) == pytest.approx((a.mean / b.mean, freedom))
    assert (ratio.low, ratio.high) == pytest.approx((ratio.ratio / math.exp(half), ratio.ratio * math.exp(half)))


def test_runs_without_spread_have_no_interval() -> None:
    same = restricted_mean([5, 5, 5], [True, True, True], 9)
    assert (same.mean, same.error) == (5, 0)
    assert math.isnan(ratio_of_means([same], [same], 0.05).low)
    with pytest.raises(ValueError, match="the horizon must be above 0"):
        restricted_mean([1], [True], 0)
